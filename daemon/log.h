#pragma once

#include <fmt/format.h>

#include <string_view>

/// Log lines of one process, to standard error; under systemd they go to the journal as they are.
namespace daemon_log {

enum class Level { error = 0, warning = 1, info = 2, debug = 3 };

/// "error", "warning", "info" or "debug"; false for anything else.
[[nodiscard]] bool set_level(std::string_view name);
void set_replica(unsigned id);
void write(Level level, std::string_view line);

template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace daemon_log
