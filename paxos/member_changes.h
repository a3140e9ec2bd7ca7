#pragma once

#include <optional>
#include <string>

#include "paxos/configuration.h"

namespace paxos {

/// What a leader knows when it is asked for a change.
struct ChangeSurroundings {
  const Configuration& now;
  ReplicaId self;
  std::optional<Incarnation> newcomer;  ///< a directory that announces itself for the change's id
  ReplicaSet counted;    ///< voters that can vote in the configuration in force, this one among them
  ReplicaSet connected;  ///< whoever is heard, whatever its directory
  ReplicaSet keep_up;    ///< members that could vote in the next configuration at once, this one among them
  std::size_t capacity = 0;  ///< ids are below it
};

/// What comes of a wish to change who belongs to the cluster: the next configuration, or why there is none.
/// Pure (DESIGN.md section 4, Configurations).
struct Planned {
  std::string refused;  ///< what, why, and what to do; empty: `next` is it
  Configuration next;   ///< without its `begins`
};
[[nodiscard]] Planned plan_change(const MemberChange& change, const ChangeSurroundings& around);

}  // namespace paxos
