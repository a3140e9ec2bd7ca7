#pragma once

#include <chrono>
#include <filesystem>

namespace paxosd {

/// How long a start waits after so many lives that ended early, one after the other: 0, 0, 0, 1 s, 2 s, ...
/// 30 s. systemd 252 restarts at one pace only (RestartSteps= came with 254), fast enough for a crash; a disk
/// that is broken or a config with a mistake in it would have it start twice a second for days.
[[nodiscard]] std::chrono::milliseconds start_delay(unsigned early_ends);

/// Counts such lives in the folder that the service manager keeps over its own restarts ($RUNTIME_DIRECTORY);
/// without one, nothing is counted and nothing waits. What goes wrong with the file is as if it were not
/// there.
class StartCounter {
 public:
  /// This life counts as one that ended early, until lived().
  StartCounter();
  /// How many the lives before this one were.
  [[nodiscard]] unsigned early_ends() const { return early_ends_; }
  /// It lasted, or it ended as it was told to.
  void lived();

  static constexpr std::chrono::minutes long_enough{1};

 private:
  std::filesystem::path file_;
  unsigned early_ends_ = 0;
};

}  // namespace paxosd
