#include "paxos/slot_log.h"

#include <algorithm>
#include <utility>

#include "paxos/invariant.h"

namespace paxos {

SlotLog::SlotLog(const Recovered& recovered, const Bounds& bounds, BoundsReached& reached)
    : bounds_(bounds),
      reached_(reached),
      base_(std::max(recovered.applied, recovered.redo_to) + 1),
      first_slot_(recovered.first_slot),
      redo_to_(recovered.redo_to),
      chosen_prefix_{base_.n - 1},
      chosen_max_(chosen_prefix_),
      accepted_max_(chosen_prefix_),
      applied_(recovered.applied) {
  for (const LogEntry& entry : recovered.entries) {
    PAXOS_ASSERT(entry.slot >= base_);
    const bool chosen = entry.chosen || entry.slot <= recovered.chosen_prefix;
    const std::uint32_t configuration = recovered.configuration ? recovered.configuration->number : 1;
    if (!chosen && entry.ballot.configuration < configuration) continue;  // see forget_votes()
    if (chosen)
      put_chosen(entry.slot, entry.ballot, entry.decree, recovered.last_group);
    else
      put_vote(entry.slot, entry.ballot, entry.decree, recovered.last_group);
  }
}

SlotEntry& SlotLog::at(Slot slot) {
  PAXOS_ASSERT(slot >= base_);
  const std::size_t index = slot - base_;
  unchecked_ = std::min(unchecked_, slot);
  if (index >= entries_.size()) entries_.resize(index + 1);
  return entries_[index];
}

void SlotLog::account(const SlotEntry& entry, bool add) {
  const std::size_t bytes = entry.decree.value.size();
  bytes_total_ = add ? bytes_total_ + bytes : bytes_total_ - bytes;
}

bool SlotLog::has_room(Slot slot, std::size_t bytes) const {
  if (slot == applied_ + 1) return true;
  if (slot.n > floor().n + bounds_.unapplied_slots) {
    reached_(Bound::unapplied_slots);
    return false;
  }
  const SlotEntry* entry = find(slot);
  const std::size_t replaced = entry == nullptr ? 0 : entry->decree.value.size();
  if (bytes_unapplied() - replaced + bytes <= bounds_.unapplied_bytes) return true;
  reached_(Bound::unapplied_bytes);
  return false;
}

bool SlotLog::wants_more() const {
  return applied_ == chosen_prefix_ || (chosen_prefix_ - floor() < (bounds_.unapplied_slots + 1) / 2 &&
                                        bytes_unapplied() < bounds_.unapplied_bytes / 2);
}

void SlotLog::put_vote(Slot slot, Ballot ballot, Decree decree, std::uint64_t group) {
  PAXOS_ASSERT(slot > chosen_prefix_);
  SlotEntry& entry = at(slot);
  PAXOS_ASSERT(!entry.chosen && (!entry.present || entry.ballot < ballot));
  account(entry, false);
  entry = {.present = true,
           .voted = true,
           .chosen = false,
           .ballot = ballot,
           .group = group,
           .decree = std::move(decree)};
  account(entry, true);
  accepted_max_ = std::max(accepted_max_, slot);
}

void SlotLog::put_chosen(Slot slot, Ballot ballot, Decree decree, std::uint64_t group) {
  PAXOS_ASSERT(slot > chosen_prefix_);
  SlotEntry& entry = at(slot);
  PAXOS_ASSERT(!entry.chosen);
  account(entry, false);
  entry = {.present = true,
           .voted = false,
           .chosen = true,
           .ballot = ballot,
           .group = group,
           .decree = std::move(decree)};
  account(entry, true);
  accepted_max_ = std::max(accepted_max_, slot);
  chosen_max_ = std::max(chosen_max_, slot);
  advance();
}

void SlotLog::replace_applied(Slot slot, Decree decree, std::uint64_t group) {
  PAXOS_ASSERT(slot <= applied_);
  if (find(slot) == nullptr) return;
  SlotEntry& entry = entries_[slot - base_];
  bytes_hot_ -= entry.decree.value.size();
  account(entry, false);
  entry.group = group;
  entry.decree = std::move(decree);
  account(entry, true);
  bytes_hot_ += entry.decree.value.size();
}

void SlotLog::mark_chosen(Slot slot) {
  if (slot <= chosen_prefix_) return;
  SlotEntry& entry = at(slot);
  PAXOS_ASSERT(entry.present);
  entry.chosen = true;
  chosen_max_ = std::max(chosen_max_, slot);
  advance();
}

std::vector<std::pair<Slot, Ballot>> SlotLog::chosen_ahead() const {
  std::vector<std::pair<Slot, Ballot>> out;
  for (Slot slot = chosen_prefix_ + 1; slot <= chosen_max_; ++slot)
    if (const SlotEntry* entry = find(slot); entry != nullptr && entry->chosen)
      out.emplace_back(slot, entry->ballot);
  return out;
}

void SlotLog::advance() {
  unchecked_ = std::min(unchecked_, chosen_prefix_ + 1);
  for (;;) {
    const SlotEntry* next = find(chosen_prefix_ + 1);
    if (next == nullptr || !next->chosen) return;
    ++chosen_prefix_;
    if (next->decree.kind == DecreeKind::configuration) change_ = chosen_prefix_;
  }
}

void SlotLog::set_applied(Slot slot) {
  PAXOS_ASSERT(slot == applied_ + 1 && slot <= chosen_prefix_);
  if (slot > redo_to_) {
    const SlotEntry* entry = find(slot);
    PAXOS_ASSERT(entry != nullptr && entry->chosen);
    bytes_hot_ += entry->decree.value.size();
  }
  applied_ = slot;
  unchecked_ = std::min(unchecked_, slot);
  trim();
}

void SlotLog::forget_votes(std::uint32_t configuration) {
  for (Slot slot = chosen_prefix_ + 1; slot <= accepted_max_; ++slot) {
    const SlotEntry* found = find(slot);
    if (found == nullptr || found->chosen || found->ballot.configuration >= configuration) continue;
    account(*found, false);
    at(slot) = {};
  }
  while (accepted_max_ > chosen_prefix_ && find(accepted_max_) == nullptr) --accepted_max_.n;
}

void SlotLog::spill(std::uint64_t synced_group) {
  const auto much = [&] {
    return chosen_prefix_ - redo_to_ > bounds_.unapplied_slots / 2 ||
           bytes_total_ > bounds_.unapplied_bytes / 2;
  };
  while (redoing() && redo_to_ < chosen_prefix_ && much() && entries_.front().group <= synced_group) {
    PAXOS_ASSERT(base_ == redo_to_ + 1);
    reached_(Bound::redo_spill);
    bytes_total_ -= entries_.front().decree.value.size();
    entries_.pop_front();
    ++base_;
    ++redo_to_;
  }
}

void SlotLog::set_first(Slot first) {
  PAXOS_ASSERT(first_slot_ <= first && first <= applied_);
  first_slot_ = first;
}

void SlotLog::trim() {
  while (bytes_hot_ > bounds_.hot_bytes || applied_.n >= base_.n + bounds_.hot_slots) {
    reached_(bytes_hot_ > bounds_.hot_bytes ? Bound::hot_bytes : Bound::hot_slots);
    const std::size_t bytes = entries_.front().decree.value.size();
    bytes_hot_ -= bytes;
    bytes_total_ -= bytes;
    entries_.pop_front();
    ++base_;
  }
}

void SlotLog::check_invariants() const {
  if (unchecked_ > accepted_max_) return;
  PAXOS_ASSERT(base_ <= floor() + 1);
  PAXOS_ASSERT(applied_ <= chosen_prefix_);
  PAXOS_ASSERT(chosen_prefix_ <= chosen_max_ && chosen_max_ <= accepted_max_);
  for (Slot slot = std::max(floor() + 1, unchecked_); slot <= chosen_prefix_; ++slot) {
    const SlotEntry* entry = find(slot);
    PAXOS_ASSERT(entry != nullptr && entry->chosen);
  }
  const SlotEntry* next = find(chosen_prefix_ + 1);
  PAXOS_ASSERT(next == nullptr || !next->chosen);
}

}  // namespace paxos
