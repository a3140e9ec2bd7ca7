#pragma once

#include <bit>
#include <chrono>
#include <cstdint>

#include "paxos/types.h"

namespace paxos {

/// Whether a thread that has nothing to do should look for a while before it sleeps. Waking a thread on a
/// halted (virtual) processor costs 20 to 50 us, and one commit takes five such wake-ups in a row, longer
/// than its way through the code; looking costs processor time. So a thread looks only while what it waits
/// for has lately come within the time that it would look: under a steady load of small commits, and not at
/// rest. Hypervisors decide by the same rule whether to halt a processor. Pure; one thread each.
class Patience {
 public:
  /// `longest`: how long to look at most; zero: never.
  explicit Patience(Duration longest) : longest_(longest) {}

  /// How long to look this time before sleeping.
  [[nodiscard]] Duration look() const {
    return std::popcount(short_) >= short_waits_needed ? longest_ : Duration{0};
  }
  /// What was waited for has come after `gap`, whether looked or slept for.
  void came_after(Duration gap) {
    short_ = static_cast<std::uint8_t>(short_ << 1 | (gap <= longest_ ? 1 : 0));
  }

  static constexpr int short_waits_needed = 5;  ///< of the last eight
  /// Who looks gives the processor away all the time. Not to get it back for so long means that others have
  /// work for it, which is not to be shared with somebody who only looks.
  static constexpr Duration crowded_after{std::chrono::microseconds{100}};

 private:
  Duration longest_;
  std::uint8_t short_ = 0;  ///< a bit a wait, the newest lowest: it was short
};

}  // namespace paxos
