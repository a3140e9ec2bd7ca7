#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "paxos/bounds.h"
#include "paxos/records.h"
#include "paxos/types.h"

namespace paxos {

/// One slot as this replica holds it in memory.
struct SlotEntry {
  bool present = false;  ///< has a decree: voted for, or learned
  bool voted = false;    ///< the decree was voted for at `ballot` (else learned under it)
  bool chosen = false;   ///< known chosen
  Ballot ballot;
  std::uint64_t group = 0;  ///< the group its record is in; it may be applied when that is synced
  Decree decree;
};

/// Votes and learned decrees by slot: all above the applied slot, and a hot tail below it for peers that
/// are just behind. The acceptor and the learner both work on it.
///
/// A replica that starts far behind its own log does not hold the slots that it has to redo: up to redo_to()
/// they are chosen, synced, and on the disk only; floor() is the higher of that and the applied one.
///
/// Invariants: base <= floor + 1; every slot in (floor, chosen_prefix] is present and chosen;
/// chosen_prefix + 1 is not known chosen.
class SlotLog {
 public:
  /// `reached`: counts what leaves the hot tail.
  SlotLog(const Recovered& recovered, const Bounds& bounds, BoundsReached& reached);

  /// The entry, or nullptr when nothing is held in memory for the slot.
  [[nodiscard]] const SlotEntry* find(Slot slot) const {
    if (slot < base_ || slot.n >= base_.n + entries_.size()) return nullptr;
    const SlotEntry& entry = entries_[slot - base_];
    return entry.present ? &entry : nullptr;
  }
  void put_vote(Slot slot, Ballot ballot, Decree decree, std::uint64_t group);
  void put_chosen(Slot slot, Ballot ballot, Decree decree, std::uint64_t group);
  /// Another decree in place of an applied one, which means the same to the state machine. Nothing where the
  /// slot is not in memory.
  void replace_applied(Slot slot, Decree decree, std::uint64_t group);
  /// Requires a present entry. Advances the chosen prefix as far as it goes.
  void mark_chosen(Slot slot);
  void set_applied(Slot slot);
  /// Lets go of the votes above the applied slot that were cast in an earlier configuration: what they are
  /// for can't be chosen any more. (Those of a later one were cast before a start that redoes the way to it.)
  void forget_votes(std::uint32_t configuration);

  [[nodiscard]] Slot first_slot() const { return first_slot_; }  ///< lowest on disk
  /// The lowest one that peers can have from here: some are still in memory when they are off the disk.
  [[nodiscard]] Slot first_served() const { return std::min(first_slot_, base_); }
  /// The log begins with `first` from now on. Requires first_slot() <= first <= applied().
  void set_first(Slot first);
  /// What is chosen up to here, and not applied, is on the disk alone.
  [[nodiscard]] Slot redo_to() const { return redo_to_; }
  [[nodiscard]] Slot floor() const { return std::max(applied_, redo_to_); }
  [[nodiscard]] bool redoing() const { return applied_ < redo_to_; }
  /// While it redoes what is below, what was chosen meanwhile and is synced goes the same way, rather than
  /// fill the memory: then votes have room, however long redoing takes. Does so above half of the bounds.
  void spill(std::uint64_t synced_group);
  [[nodiscard]] Slot chosen_prefix() const { return chosen_prefix_; }
  [[nodiscard]] Slot chosen_max() const { return chosen_max_; }
  /// Above the chosen prefix, ascending: what is known chosen there, and under which ballot it is held.
  [[nodiscard]] std::vector<std::pair<Slot, Ballot>> chosen_ahead() const;
  [[nodiscard]] Slot accepted_max() const { return accepted_max_; }  ///< highest present
  [[nodiscard]] Slot applied() const { return applied_; }
  /// The slot that closes this replica's configuration is chosen, and not applied yet. (While it redoes what
  /// is on the disk, it can't know.)
  [[nodiscard]] bool change_ahead() const { return change_ > applied_; }
  [[nodiscard]] Slot change() const { return change_; }
  [[nodiscard]] Slot hot_first() const { return base_; }  ///< lowest in memory
  /// Bytes of decrees held that are not yet applied.
  [[nodiscard]] std::size_t bytes_unapplied() const { return bytes_total_ - bytes_hot_; }
  /// Whether a decree that comes from others may be held for the slot, in place of what is held there: within
  /// the bounds on what is not applied, and always in the slot that is applied next.
  [[nodiscard]] bool has_room(Slot slot, std::size_t bytes) const;
  /// Whether it is worth it to pull more: half of those bounds is left, or all that is chosen is applied.
  [[nodiscard]] bool wants_more() const;

  /// Walks only what changed since checked(): of the rest nothing can have become wrong.
  void check_invariants() const;
  /// Entries below this, as far as they are above the applied slot, are as they were at the last checked();
  /// above accepted_max(): so is everything.
  [[nodiscard]] Slot unchecked() const { return unchecked_; }
  /// Everything up to here was looked at, and found well.
  void checked() const { unchecked_ = accepted_max_ + 1; }

 private:
  friend struct StateAccess;  // tests/explore: saves and loads whole states
  /// The only way to an entry that may be changed.
  SlotEntry& at(Slot slot);
  void account(const SlotEntry& entry, bool add);
  void advance();
  void trim();

  const Bounds& bounds_;
  BoundsReached& reached_;
  std::deque<SlotEntry> entries_;  ///< entries_[i] is slot base_ + i
  Slot base_{1};
  Slot first_slot_{1};
  Slot redo_to_;
  Slot chosen_prefix_;
  Slot chosen_max_;
  Slot accepted_max_;
  Slot applied_;
  Slot
      change_;  ///< the last one at or below chosen_prefix_, of those held here, that decides a configuration
  std::size_t bytes_total_ = 0;
  std::size_t bytes_hot_ = 0;  ///< at or below applied_
  mutable Slot unchecked_;     ///< see unchecked()
};

}  // namespace paxos
