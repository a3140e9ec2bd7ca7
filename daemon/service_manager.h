#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace paxosd {

/// The unit has RestartForceExitStatus= with this number (EX_TEMPFAIL).
inline constexpr int exit_restart = 75;

/// What the service manager hears of this process (sd_notify(3)); without one all of it does nothing.
/// Loop thread only.
class ServiceManager {
 public:
  /// Whether one started this process and listens.
  [[nodiscard]] static bool present();
  /// From here on others may depend on this replica: its log is open, its socket bound.
  void ready() const;
  /// A signal asked to read the config again; ready() ends it.
  void reloading() const;
  void stopping() const;
  /// The line that `systemctl status` shows; repeats of the last one are not sent.
  void status(const std::string& line);
  /// Alive: to be called at least twice in each watchdog().
  void alive() const;
  /// After this long without alive() the manager kills the process; none when it watches nothing.
  [[nodiscard]] static std::optional<std::chrono::microseconds> watchdog();

 private:
  std::string status_;
};

}  // namespace paxosd
