#include "daemon/log.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <ctime>
#include <string>

namespace daemon_log {

namespace {
std::atomic<Level> level_max{Level::info};
std::atomic<int> replica{-1};
constexpr std::array<std::string_view, 4> names{"error", "warning", "info", "debug"};
}  // namespace

bool set_level(std::string_view name) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] != name) continue;
    level_max = static_cast<Level>(i);
    return true;
  }
  return false;
}

void set_replica(unsigned id) { replica = static_cast<int>(id); }

void write(Level level, std::string_view text) {
  if (level > level_max.load(std::memory_order_relaxed)) return;
  std::string line;
  if (std::getenv("JOURNAL_STREAM") != nullptr) {
    // The journal stamps the time itself and understands the kernel's priority prefix.
    static constexpr std::array<int, 4> priority{3, 4, 6, 7};
    line = fmt::format("<{}>", priority[static_cast<std::size_t>(level)]);
  } else {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    tm local{};
    localtime_r(&now.tv_sec, &local);
    line = fmt::format("{:02}:{:02}:{:02}.{:03} ", local.tm_hour, local.tm_min, local.tm_sec,
                       now.tv_nsec / 1'000'000);
  }
  if (replica >= 0) line += fmt::format("replica {}: ", replica.load());
  if (level != Level::info) line += fmt::format("{}: ", names[static_cast<std::size_t>(level)]);
  line += text;
  line += '\n';
  // One write a line, so that lines of several threads don't mix.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace daemon_log
