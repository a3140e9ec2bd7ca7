#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "paxos/ready.h"

/// Log lines of one process: to the journal with fields (REPLICA, EVENT, SLOT, BALLOT) when systemd started
/// it, else to standard error. Any thread. Between begin() and the end of the process nobody waits for
/// whoever takes them.
namespace daemon_log {

/// First thing in main(), before other threads: from now on a thread of its own (daemon/spool) writes the
/// lines, and those that can't be got rid of are lost and counted. What others write to descriptor 2 (an
/// assertion, a library) goes the same way, and a crash waits a moment for it. Before, and in tests, lines
/// are written at once.
void begin();
/// Until everything that was said has left, but only for a moment; whether it has. Before the process ends.
bool finish();
/// finish(), and the end: no destructor runs.
[[noreturn]] void exit_now(int code);

/// Lines that were lost since begin().
[[nodiscard]] std::uint64_t lines_lost();
/// How long whoever takes the lines has not taken the present one; zero while nothing waits.
[[nodiscard]] std::chrono::milliseconds stuck_for();

enum class Level { error = 0, warning = 1, info = 2, debug = 3 };

/// "error", "warning", "info" or "debug"; false for anything else.
[[nodiscard]] bool set_level(std::string_view name);
void set_replica(unsigned id);

/// What a line is about besides its words: paxos::Event's name, ballot and slot, as fields of the journal.
struct About {
  std::string_view event;
  paxos::Ballot ballot;
  paxos::Slot slot;
};
void write(Level level, const About& about, std::string_view line);

/// One line of the core's, at level info.
void tell(const paxos::Event& event);

template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::error, {}, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::warning, {}, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::info, {}, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::debug, {}, fmt::format(format, std::forward<Args>(args)...));
}

/// How many lines of one kind a second may be said: a token bucket for each kind. Pure.
class LineLimit {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr unsigned burst = 50;
  static constexpr unsigned per_second = 10;
  static constexpr std::size_t kinds_max = 64;

  /// Whether a line of this kind may be said at `now`; `left_out` lines of it were not since the last one
  /// that was.
  struct Verdict {
    bool say = false;
    std::uint64_t left_out = 0;
  };
  [[nodiscard]] Verdict ask(std::string_view kind, Time now);

 private:
  struct Bucket {
    double tokens = burst;
    Time filled{};
    std::uint64_t left_out = 0;
  };
  std::map<std::string, Bucket, std::less<>> buckets_;
};

}  // namespace daemon_log
