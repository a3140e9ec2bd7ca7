#pragma once

#include <chrono>

namespace paxosd {

/// A leader's hand-over takes a few round trips; longer than this a stop does not wait for it, whatever the
/// election timeout.
inline constexpr std::chrono::seconds hand_over_max{5};
/// From the signal to the end, hand-over included: what the storage threads have still to write. The unit's
/// TimeoutStopSec is longer, so that the replica itself says why it did not wait.
inline constexpr std::chrono::seconds stop_max{25};

/// From now on this process ends, one way or the other: with status 1 once `stop_max` is over (a disk that
/// hangs), or at once on a second SIGTERM or SIGINT. Nothing is lost by either: what was synced is synced,
/// and the log redoes the rest. Those signals must be blocked in every thread.
void guard_stop();

}  // namespace paxosd
