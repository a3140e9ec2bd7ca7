#include "paxos/acceptor.h"

#include <algorithm>

#include "paxos/invariant.h"

namespace paxos {

void Acceptor::raise(Ballot ballot, bool with_record) {
  PAXOS_ASSERT(ballot > promised_);
  send_accepted();  // votes at the lower ballot are acknowledged as what they were
  promised_ = ballot;
  if (with_record) env_.record(PromiseRecord{ballot});
}

std::optional<Nack> Acceptor::refusal(Ballot ballot) const {
  if (ballot < promised_) return Nack{ballot, promised_};
  if (ballot.configuration >= env_.configuration.number) return std::nullopt;
  // Closed: whoever asks has to learn that, and would find nobody to vote with.
  return Nack{ballot,
              {std::max<std::uint64_t>(promised_.round, 1), promised_.replica, env_.configuration.number}};
}

std::uint64_t Acceptor::promise_self(Ballot ballot) {
  raise(ballot, true);
  return env_.pending_group();
}

std::uint64_t Acceptor::vote_self(Slot slot, Ballot ballot, const Decree& decree) {
  PAXOS_ASSERT(ballot == promised_);
  const std::uint64_t group = env_.record(VoteRecord{slot, ballot, decree});
  log_.put_vote(slot, ballot, decree, group);
  return group;
}

void Acceptor::on_prepare(ReplicaId from, const Prepare& m) {
  if (m.ballot.replica != from) return;  // nobody prepares for another
  if (const auto nack = refusal(m.ballot)) {
    // Sent after the sync: a Nack names our promise, and someone may act on it.
    env_.send_synced(from, *nack);
    return;
  }
  if (!takes_part_in(m.ballot)) return;
  if (m.ballot > promised_) raise(m.ballot, true);
  env_.send_synced(from, page(m.ballot, m.from));
}

Promise Acceptor::page(Ballot ballot, Slot from) const {
  Promise out{
      .ballot = ballot, .from = from, .chosen_prefix = log_.chosen_prefix(), .entries = {}, .next = {}};
  std::size_t bytes = 0;
  for (Slot slot = std::max(from, log_.chosen_prefix() + 1); slot <= log_.accepted_max(); ++slot) {
    const SlotEntry* entry = log_.find(slot);
    if (entry == nullptr) continue;
    const std::size_t size = entry->decree.value.size();
    const bool full = out.entries.size() == env_.options.bounds.promise_entries;
    if (!out.entries.empty() && (full || bytes + size > env_.options.bounds.page_bytes)) {
      env_.reached(full ? Bound::promise_entries : Bound::page_bytes);
      out.next = slot;
      break;
    }
    bytes += size;
    out.entries.push_back({slot, entry->ballot, entry->chosen, entry->decree});
  }
  return out;
}

void Acceptor::on_accept(ReplicaId from, const Accept& m) {
  if (m.ballot.replica != from) return;
  if (const auto nack = refusal(m.ballot)) {
    env_.send_synced(from, *nack);
    return;
  }
  if (!takes_part_in(m.ballot)) return;
  const SlotEntry* entry = log_.find(m.slot);
  if (entry != nullptr && entry->voted && entry->ballot == m.ballot) {
    acknowledge(from, m.ballot, m.slot);  // a repeat: our answer was lost
    return;
  }
  if (m.slot <= log_.chosen_prefix() || (entry != nullptr && entry->chosen)) {
    LearnReply reply{.decrees = {}, .first_slot = log_.first_served(), .chosen_prefix = log_.chosen_prefix()};
    if (entry != nullptr)
      reply.decrees.push_back({m.slot, entry->ballot, entry->decree});
    else if (m.slot >= log_.first_slot())
      return static_cast<void>(env_.read_log({from, m.slot, m.slot}));
    env_.send(from, std::move(reply));  // without the decree it says that the slot was trimmed
    return;
  }
  // Its sender says it again; when there is room, or the slot was chosen without this vote, it goes on.
  if (!log_.has_room(m.slot, m.decree.value.size()) || !env_.room_for_records()) return;
  // The vote's record implies the promise, so no record of its own.
  if (m.ballot > promised_) raise(m.ballot, false);
  const std::uint64_t group = env_.record(VoteRecord{m.slot, m.ballot, m.decree});
  log_.put_vote(m.slot, m.ballot, m.decree, group);
  acknowledge(from, m.ballot, m.slot);
}

void Acceptor::acknowledge(ReplicaId to, Ballot ballot, Slot slot) {
  PAXOS_ASSERT(ballot == promised_);  // so that all votes of a turn are for one proposer: see raise()
  accepted_to_ = to;
  accepted_ballot_ = ballot;
  accepted_slots_.push_back(slot);
}

void Acceptor::send_accepted() {
  if (accepted_slots_.empty()) return;
  std::sort(accepted_slots_.begin(), accepted_slots_.end());
  Accepted message{.ballot = accepted_ballot_, .slots = {}};
  const auto send = [&] {
    env_.send_synced(*accepted_to_, message);
    message.slots.clear();
  };
  for (Slot slot : accepted_slots_) {
    if (!message.slots.empty() && slot <= message.slots.back().last + 1) {
      message.slots.back().last = slot;
      continue;
    }
    if (message.slots.size() == env_.options.bounds.accepted_ranges) {
      env_.reached(Bound::accepted_ranges);
      send();
    }
    message.slots.push_back({slot, slot});
  }
  send();
  accepted_slots_.clear();
  accepted_to_.reset();
}

void Acceptor::on_read_confirm(ReplicaId from, const ReadConfirm& m) {
  if (m.ballot.replica != from) return;
  // Equal, not "at least": above it a newer leader may have got something chosen already; below it we
  // owe that leader nothing. In memory is enough: a promise above it is there before it is synced.
  if (m.ballot == promised_ && takes_part_in(m.ballot))
    env_.send(from, ReadConfirmed{m.ballot, m.nonce});
  else if (const auto nack = refusal(m.ballot))
    env_.send_synced(from, *nack);
}

void Acceptor::check_invariants() const {
  PAXOS_ASSERT(checked_promise_ <= promised_);
  checked_promise_ = promised_;
  // Votes that were below an earlier promise are below this one: only those are looked at that changed.
  if (log_.unchecked() > log_.accepted_max()) return;
  for (Slot slot = std::max(log_.chosen_prefix() + 1, log_.unchecked()); slot <= log_.accepted_max();
       ++slot) {
    const SlotEntry* entry = log_.find(slot);
    if (entry != nullptr && entry->voted) PAXOS_ASSERT(entry->ballot <= promised_);
  }
}

}  // namespace paxos
