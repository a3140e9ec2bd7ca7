#include "daemon/stop_guard.h"

#include <cerrno>
#include <csignal>
#include <ctime>
#include <thread>

#include "daemon/log.h"

namespace paxosd {

void guard_stop() {
  std::thread([] {
    sigset_t signals;
    sigemptyset(&signals);
    for (int signal : {SIGTERM, SIGINT}) sigaddset(&signals, signal);
    const auto until = std::chrono::steady_clock::now() + stop_max;
    for (;;) {
      const auto left =
          std::chrono::duration_cast<std::chrono::nanoseconds>(until - std::chrono::steady_clock::now())
              .count();
      const timespec wait{.tv_sec = left > 0 ? left / 1'000'000'000 : 0,
                          .tv_nsec = left > 0 ? left % 1'000'000'000 : 0};
      const int signal = ::sigtimedwait(&signals, nullptr, &wait);
      if (signal < 0 && errno == EINTR) continue;
      if (signal > 0)
        daemon_log::warning(
            "told to stop again: ends at once; the next start applies again what is not written yet");
      else
        daemon_log::error(
            "not done {} s after it was told to stop: the disk does not get its writes done. Ends without "
            "them; what was "
            "acknowledged is synced, and the next start applies the rest again",
            stop_max.count());
      daemon_log::exit_now(1);
    }
  }).detach();
}

}  // namespace paxosd
