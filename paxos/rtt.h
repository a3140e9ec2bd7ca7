#pragma once

#include <algorithm>

#include "paxos/types.h"

namespace paxos {

/// Retransmission time-out from measured round trips. Source: Jacobson and Karels, Congestion Avoidance
/// and Control (1988), appendix A; RFC 6298 for the constants. Only answers to messages sent once are
/// measured (Karn's rule): the caller sees to that.
class RttEstimator {
 public:
  /// `longest`: that it ever says; what its owner can wait for.
  explicit RttEstimator(Duration longest = timeout_max) : longest_(longest) {}

  void measured(Duration rtt) {
    if (!seen_) {
      seen_ = true;
      smoothed_ = rtt;
      variation_ = rtt / 2;
      return;
    }
    const Duration error = rtt > smoothed_ ? rtt - smoothed_ : smoothed_ - rtt;
    variation_ = (variation_ * 3 + error) / 4;
    smoothed_ = (smoothed_ * 7 + rtt) / 8;
  }
  [[nodiscard]] Duration timeout() const {
    if (!seen_) return initial_timeout;
    return std::clamp(smoothed_ + 4 * variation_, timeout_min, longest_);
  }
  [[nodiscard]] bool seen() const { return seen_; }

  /// A sync is part of the round trip; below this, noise of the disk would look like loss.
  static constexpr Duration timeout_min{std::chrono::milliseconds{10}};
  static constexpr Duration timeout_max{std::chrono::milliseconds{500}};
  static constexpr Duration initial_timeout{std::chrono::milliseconds{50}};

 private:
  Duration longest_;
  bool seen_ = false;
  Duration smoothed_{};
  Duration variation_{};
};

/// When to say something again: doubles from the estimate up to a bound, or to the estimate where that is
/// longer.
class Backoff {
 public:
  void start(Time now, Duration timeout) {
    attempts_ = 1;
    wait_ = timeout;
    longest_ = std::max(timeout, RttEstimator::timeout_max);
    at_ = now + wait_;
  }
  void again(Time now) {
    ++attempts_;
    wait_ = std::min(wait_ * 2, longest_);
    at_ = now + wait_;
  }
  void stop() { at_ = time_never; }
  [[nodiscard]] Time at() const { return at_; }
  [[nodiscard]] bool due(Time now) const { return now >= at_; }
  [[nodiscard]] unsigned attempts() const { return attempts_; }

 private:
  Time at_ = time_never;
  Duration wait_{};
  Duration longest_{};
  unsigned attempts_ = 0;
};

}  // namespace paxos
