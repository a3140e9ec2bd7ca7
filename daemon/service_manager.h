#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <deque>
#include <optional>
#include <string>

namespace paxosd {

/// The unit has RestartForceExitStatus= with this number (EX_TEMPFAIL).
inline constexpr int exit_restart = 75;

/// What the service manager hears of this process (the protocol of sd_notify(3)); without one all of it does
/// nothing. Its socket never blocks us: a manager that hangs must not take the replica along. What must come
/// is said again by flush(); of signs of life and status lines only the next one counts. Loop thread only.
class ServiceManager {
 public:
  ServiceManager();
  ~ServiceManager();
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  /// Whether one started this process and listens.
  [[nodiscard]] static bool present();
  /// From here on others may depend on this replica: its log is open, its socket bound.
  void ready();
  /// A signal asked to read the config again; ready() ends it.
  void reloading();
  void stopping();
  /// The line that `systemctl status` shows; repeats of the last one are not sent.
  void status(const std::string& line);
  /// Alive: to be called at least twice in each watchdog().
  void alive();
  /// Says again what found no room.
  void flush();
  /// After this long without alive() the manager kills the process; none when it watches nothing.
  [[nodiscard]] static std::optional<std::chrono::microseconds> watchdog();

 private:
  /// False: there was no room for it.
  bool say(const std::string& text) const;
  void must_say(std::string text);

  int fd_ = -1;
  sockaddr_un name_{};
  socklen_t name_bytes_ = 0;
  std::string status_;
  std::deque<std::string> unsaid_;  ///< in order; at most a handful in a life
};

}  // namespace paxosd
