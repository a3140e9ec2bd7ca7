#include <algorithm>
#include <utility>

#include "paxos/proposer.h"

/// Skip, the fault injection (DESIGN.md section 4): slots are left empty, each with a chosen one above it,
/// until another ballot fills them.
namespace paxos {

std::string Proposer::refusal(const std::vector<Slot>& slots) const {
  if (!leading() || flights_.next() <= adopted_max_)
    return "this replica does not lead, or has only just begun to";
  if (closing()) return "the configuration is being changed; try again when it is";
  if (!env_.room.proposes) return "the disks of too many replicas are full to decide anything new";
  if (slots.empty()) return "no slot was named";
  if (slots.front() < flights_.next())
    return "slot " + std::to_string(slots.front().n) + " was already proposed; the next free one is " +
           std::to_string(flights_.next().n);
  // Each skipped slot needs one above it that the window still takes.
  const Slot last_skippable = log_.applied() + (env_.options.bounds.window_slots - 1);
  if (slots.back() > last_skippable)
    return "slot " + std::to_string(slots.back().n) + " is beyond the window: at most slot " +
           std::to_string(last_skippable.n) + " can be skipped now";
  return {};
}

SkipResult Proposer::skip(std::vector<Slot> slots) {
  std::sort(slots.begin(), slots.end());
  slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
  SkipResult result{.refused = refusal(slots), .next_free = flights_.next(), .slots = {}};
  if (!result.refused.empty()) return result;
  const Slot top = slots.back() + 1;
  if (!window_open(top)) {
    result.refused = "too much is proposed and not yet applied; try again when it is";
    return result;
  }
  while (flights_.next() <= top) {
    if (std::binary_search(slots.begin(), slots.end(), flights_.next()))
      flights_.pass(Flight::State::left_empty);
    else
      propose_in(flights_.next(), Decree{});
  }
  result.next_free = flights_.next();
  result.slots = std::move(slots);
  env_.event("skipped",
             "left slots empty from " + std::to_string(result.slots.front().n) + " to " +
                 std::to_string(result.slots.back().n),
             ballot_, result.slots.front());
  note_chosen();
  return result;
}

bool Proposer::has_holes() const {
  for (Slot slot = std::max(flights_.first(), log_.chosen_prefix() + 1); slot < flights_.next(); ++slot)
    if (flights_.find(slot)->state == Flight::State::left_empty) return true;
  return false;
}

std::optional<Slot> Proposer::hole() const {
  const Slot slot = log_.chosen_prefix() + 1;  // never below first()
  if (!leading() || slot >= flights_.next()) return std::nullopt;
  return flights_.find(slot)->state == Flight::State::left_empty ? std::optional(slot) : std::nullopt;
}

}  // namespace paxos
