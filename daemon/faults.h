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

  /// Whether this received datagram is to be dropped by the configured loss.
  [[nodiscard]] bool drop() {
    if (loss_ <= 0) return false;
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<double>(state_ >> 11) * 0x1.0p-53 < loss_;
  }

 private:
  double loss_;
  std::uint64_t state_;
  paxos::Time isolated_until_ = paxos::Time::min();
};

}  // namespace paxosd
