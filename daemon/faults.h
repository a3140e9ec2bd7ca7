#pragma once

#include <cstdint>

#include "paxos/types.h"

namespace paxosd {

/// Fault injection of one process: what operators switch on to see the cluster survive it. Refused unless
/// the config says fault_injection. Loop thread only.
class Faults {
 public:
  Faults(double loss, std::uint64_t seed) : loss_(loss), state_(seed | 1) {}

  void set_loss(double share) { loss_ = share; }
  [[nodiscard]] double loss() const { return loss_; }
  void isolate_until(paxos::Time until) { isolated_until_ = until; }
  [[nodiscard]] bool isolated(paxos::Time now) const { return now < isolated_until_; }
  [[nodiscard]] paxos::Time isolated_until() const { return isolated_until_; }

  /// Whether this received datagram is to be dropped by the configured loss; counted.
  [[nodiscard]] bool drop() {
    if (loss_ <= 0) return false;
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    const bool dropped = static_cast<double>(state_ >> 11) * 0x1.0p-53 < loss_;
    if (dropped) ++dropped_by_loss_;
    return dropped;
  }
  /// Whether this received message is to be dropped since it is isolated; counted.
  [[nodiscard]] bool drop_isolated(paxos::Time now) {
    if (isolated(now)) ++dropped_by_isolation_;
    return isolated(now);
  }
  [[nodiscard]] std::uint64_t dropped_by_loss() const { return dropped_by_loss_; }
  [[nodiscard]] std::uint64_t dropped_by_isolation() const { return dropped_by_isolation_; }

 private:
  double loss_;
  std::uint64_t state_;
  paxos::Time isolated_until_ = paxos::Time::min();
  std::uint64_t dropped_by_loss_ = 0;
  std::uint64_t dropped_by_isolation_ = 0;
};

}  // namespace paxosd
