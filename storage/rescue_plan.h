#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "paxos/types.h"

/// What `paxosd rescue` decides out of what is left of a cluster, without a file: from which directory a new
/// one begins, and what stands in each slot above. Pure.
namespace storage {

/// What one surviving directory says of itself.
struct Standing {
  paxos::Slot first_slot{1};  ///< below it the log was trimmed
  paxos::Slot applied;        ///< of the latest state in it; none: it has no state
  paxos::Slot chosen;         ///< it knows every slot up to here to be chosen
  paxos::Slot last;           ///< the highest one with a record; none: it has none
};

/// Whether a state can be made of it alone: it has one, or its log goes back to slot 1; and the log goes on
/// where the state ends.
[[nodiscard]] bool can_begin(const Standing& standing);
/// From which one the new cluster begins: of those that can, the one that knows the most slots to be chosen;
/// then the one with less to apply; then the one that voted furthest; then the first. Nothing: none can.
[[nodiscard]] std::optional<std::size_t> best_of(std::span<const Standing> all);
/// Whether the log of another one goes on where the best one's state ends. A log that begins further up
/// says nothing that could be applied: what lies between is gone.
[[nodiscard]] bool helps(const Standing& other, const Standing& best);

/// What one directory holds of a slot.
struct SlotWord {
  paxos::Ballot ballot;
  bool chosen = false;
};
/// Which of them stands, as for a leader whom these directories promise its ballot: one that is known to be
/// chosen, else the vote of the highest ballot, else nothing (a leader puts a no-op there). Of equals the
/// first.
[[nodiscard]] std::optional<std::size_t> standing_word(std::span<const std::optional<SlotWord>> words);

}  // namespace storage
