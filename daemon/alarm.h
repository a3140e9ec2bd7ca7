#pragma once

#include "net/loop.h"
#include "paxos/types.h"

namespace paxosd {

/// Wakes the loop at one moment, the last one that was set. Loop thread only; lives as long as the loop runs.
class Alarm {
 public:
  explicit Alarm(net::Loop& loop) : loop_(loop) {}
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;

  /// paxos::time_never: not at all.
  void set(paxos::Time at) {
    if (at == at_) return;
    loop_.cancel_timer(timer_);
    at_ = at;
    if (at != paxos::time_never) timer_ = loop_.add_timer(at, [this] { at_ = paxos::time_never; });
  }

 private:
  net::Loop& loop_;
  paxos::Time at_ = paxos::time_never;
  net::TimerId timer_{};
};

}  // namespace paxosd
