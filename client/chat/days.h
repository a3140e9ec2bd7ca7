#pragma once

#include <cstdint>
#include <optional>
#include <string>

/// Days and zones, for what people read.
namespace client {

/// "Saturday, 28 November 2026", in the local zone.
[[nodiscard]] std::string day_text(std::int64_t time_ms);

/// " (written 12:01:10)" for a message that waited for more than a few seconds before it was posted, with the
/// day where that is another one; empty where nothing is to be said: not known, or one of the two clocks is
/// wrong.
[[nodiscard]] std::string written_note(std::int64_t written_ms, std::int64_t posted_ms);

/// A line wherever the day changes between one message and the next. The first one gets a line too unless it
/// is of today: a time alone would be taken for today's.
class Days {
 public:
  explicit Days(std::int64_t now_ms) : day_(day_text(now_ms)) {}
  /// "--- Saturday, 28 November 2026 ---" before a message of this time, or nothing.
  [[nodiscard]] std::optional<std::string> before(std::int64_t time_ms);

 private:
  std::string day_;
};

/// What is wrong with a $TZ of this value: the C library would take the times of UTC and say nothing. Empty:
/// nothing is. `zones`: the folder of the zones' files.
[[nodiscard]] std::string zone_fault(const std::string& zone,
                                     const std::string& zones = "/usr/share/zoneinfo");
/// zone_fault() of this process' environment.
[[nodiscard]] std::string zone_fault_here();

[[nodiscard]] std::int64_t wall_clock_ms();

}  // namespace client
