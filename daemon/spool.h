#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "daemon/log.h"

namespace daemon_log {

/// One line on its way out.
struct Line {
  std::chrono::system_clock::time_point at{};  ///< when it was said
  Level level = Level::info;
  std::string event;  ///< what it is about, as fields of the journal; empty: nothing
  std::string ballot;
  std::string slot;
  std::string text;
};

/// Lines in front of a sink that may block for ever: standard error whose pipe nobody reads, a journal that
/// hangs. A thread of its own carries them there; whoever says one never waits. Above the bounds new lines
/// are lost and counted, and the sink is told how many at the place where they are missing. Any thread.
class Spool {
 public:
  static constexpr std::size_t lines_max = 1024;
  static constexpr std::size_t bytes_max = 512 * 1024;
  /// May block, and is called by the spool's thread alone.
  using Sink = std::function<void(const Line&)>;

  explicit Spool(Sink sink);
  /// Waits for nothing: lines that are still there are lost, and a thread that hangs in the sink is left
  /// behind.
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  /// False: it was lost.
  bool push(Line line);
  /// Nothing waits and nothing is on its way. Async-signal-safe.
  [[nodiscard]] bool empty() const;
  /// Lines lost since the beginning.
  [[nodiscard]] std::uint64_t lost() const;
  /// How long the sink has been at its present line; zero when it is at none.
  [[nodiscard]] std::chrono::milliseconds stuck_for() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  ///< the thread's, too
};

}  // namespace daemon_log
