#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "client/terminal/say.h"
#include "paxos/types.h"

namespace client {

/// How far a long verb is, on one line of standard error that is written over; only on a terminal.
class ProgressLine {
 public:
  /// A few times a second, however often it is called.
  template <class... Args>
  void show(paxos::Time now, fmt::format_string<detail::Shown<Args>...> text, const Args&... args) {
    if (!on_terminal_ || now < next_) return;
    next_ = now + std::chrono::milliseconds{200};
    clear();
    shown_ = true;
    say<Args...>(stderr, text, args...);
    std::fflush(stderr);
  }
  /// Before anything else is said.
  void clear() {
    if (shown_) say(stderr, "{}", Own{"\r\x1b[K"});
    shown_ = false;
  }

 private:
  const bool on_terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
  paxos::Time next_{};
};

}  // namespace client
