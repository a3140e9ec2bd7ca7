#include <algorithm>
#include <utility>

#include "paxos/invariant.h"
#include "paxos/proposer.h"

/// Phase 2: proposing, first what phase 1 found, then what is new; counting votes; telling what is chosen.
namespace paxos {

namespace {
/// A Commit of its own waits this long for an Accept that would carry it.
constexpr Duration commit_patience{std::chrono::milliseconds{1}};
}  // namespace

void Proposer::lead() {
  phase_ = Phase::leading;
  if (log_.chosen_prefix() >= closing_) closing_ = {};  // another's decree was chosen there
  flights_.begin(log_.chosen_prefix() + 1);
  own_votes_.clear();
  commit_sent_ = {};
  commit_at_ = env_.now;
  repeat_at_ = time_never;
  const Slot first = flights_.next();
  env_.event("leader",
             "leader with ballot " + to_string(ballot_) + " from slot " + std::to_string(first.n) + " on",
             ballot_, first);
}

/// Before anything new, in each slot up to the highest that phase 1 found: the decree of the highest accepted
/// ballot, or a no-op in a hole. As far as there is room; the rest follows when something is chosen.
void Proposer::finish_adopted() {
  if (flights_.next() > adopted_max_) {
    adopted_.clear();
    return;
  }
  // Each takes a vote of its own. (A reserve is there for just this.)
  while (flights_.next() <= adopted_max_ && env_.room.own != DiskRoom::none) {
    const Slot slot = flights_.next();
    const SlotEntry* entry = log_.find(slot);
    if (slot <= log_.chosen_prefix() || (entry != nullptr && entry->chosen)) {
      flights_.pass(Flight::State::chosen_before);
      continue;
    }
    const auto found = adopted_.find(slot);
    Decree decree = found == adopted_.end() ? Decree{} : found->second.decree;
    if (!may_finish(decree.value.size())) break;
    if (found == adopted_.end())
      env_.event("noop", "slot " + std::to_string(slot.n) + " was empty: filled with a no-op", ballot_, slot);
    propose_in(slot, std::move(decree));
  }
  if (flights_.next() > adopted_max_) adopted_.clear();
  note_chosen();
}

bool Proposer::window_open(Slot slot) const {
  if (slot.n > log_.applied().n + env_.options.bounds.window_slots) {
    env_.reached(Bound::window_slots);
    return false;
  }
  if (log_.bytes_unapplied() < env_.options.bounds.window_bytes) return true;
  env_.reached(Bound::window_bytes);
  return false;
}

/// The window is for new work. What phase 1 found was within an earlier leader's window, and may all stand
/// above a hole that only this one can fill: that it is not applied is no reason to wait. What is under way
/// is bounded, so that it does not leave in one burst; its lowest slot follows the chosen prefix, so it never
/// waits for anything but itself.
bool Proposer::may_finish(std::size_t bytes) const {
  if (flights_.under_way() == 0) return true;
  if (flights_.under_way() >= env_.options.bounds.window_slots) {
    env_.reached(Bound::finish_slots);
    return false;
  }
  if (flights_.bytes_under_way() + bytes <= env_.options.bounds.window_bytes) return true;
  env_.reached(Bound::finish_bytes);
  return false;
}

bool Proposer::can_propose() const {
  if (!leading() || flights_.next() <= adopted_max_ || closing()) return false;
  if (flights_.under_way() >= env_.options.bounds.pipeline_slots) {
    env_.reached(Bound::pipeline_slots);
    return false;
  }
  return env_.room.proposes && window_open(flights_.next());
}

Slot Proposer::propose(Decree decree) {
  PAXOS_ASSERT(can_propose());
  const Slot slot = flights_.next();
  propose_in(slot, std::move(decree));
  return slot;
}

Slot Proposer::propose_change(Decree decree) {
  closing_ = propose(std::move(decree));
  return closing_;
}

void Proposer::propose_in(Slot slot, Decree decree) {
  PAXOS_ASSERT(slot == flights_.next() && slot > log_.chosen_prefix());
  const std::uint64_t group = acceptor_.vote_self(slot, ballot_, decree);
  own_votes_.push_back({group, slot});
  const Flight& flight = flights_.propose(decree, env_.now, timeout());
  repeat_at_ = std::min(repeat_at_, flight.repeat.at());
  commit_sent_ = log_.chosen_prefix();
  commit_at_ = time_never;
  // At the same time as our own sync (DESIGN.md section 3): the vote counts here only when it is durable.
  env_.broadcast(Accept{ballot_, slot, log_.chosen_prefix(), std::move(decree)});
}

void Proposer::on_accepted(ReplicaId from, const Accepted& m) {
  if (!leading() || m.ballot != ballot_) return;
  for (const SlotRange& range : m.slots) {
    const Slot last = std::min(range.last, Slot{flights_.next().n - 1});
    for (Slot slot = std::max(range.first, flights_.first()); slot <= last; ++slot) count_vote(from, slot);
  }
  note_chosen();
}

void Proposer::count_own_votes() {
  bool counted = false;
  while (!own_votes_.empty() && own_votes_.front().group <= env_.synced_group) {
    count_vote(env_.options.self, own_votes_.front().slot);
    own_votes_.pop_front();
    counted = true;
  }
  if (counted) note_chosen();
}

void Proposer::count_vote(ReplicaId from, Slot slot) {
  Flight* flight = flights_.find(slot);
  if (flight == nullptr || flight->votes.contains(from)) return;
  const bool proposed = flight->state == Flight::State::proposed;
  // Late ones still tell how long the way is.
  if (!proposed && flight->state != Flight::State::chosen) return;
  if (from != env_.options.self && flight->repeat.attempts() == 1)
    rtt_[from.n].measured(env_.now - flight->first_sent);
  flight->votes.insert(from);
  if (proposed && env_.configuration.is_quorum(flight->votes)) learner_.chosen(slot);
}

void Proposer::note_chosen() {
  for (Slot slot = flights_.first(); slot < flights_.next() && slot <= log_.chosen_max(); ++slot) {
    Flight& flight = *flights_.find(slot);
    if (flight.state != Flight::State::proposed) continue;
    const SlotEntry* entry = log_.find(slot);
    PAXOS_ASSERT(entry != nullptr);  // our vote, or what replaced it
    if (!entry->chosen) continue;
    if (!entry->voted) {
      // Another decree than ours: a higher ballot leads, and its Nack is lost or late. Our next Commit would
      // tell those who voted at our ballot that what they voted for is chosen.
      stop("slot " + std::to_string(slot.n) + " was chosen otherwise under another leader");
      return;
    }
    flights_.chosen(flight);
  }
  flights_.forget(log_.chosen_prefix());
  if (leading() && commit_sent_ < log_.chosen_prefix() && commit_at_ == time_never)
    commit_at_ = env_.now + commit_patience;
}

void Proposer::send_commit() {
  if (!leading() || env_.now < commit_at_) return;
  commit_at_ = time_never;
  commit_sent_ = log_.chosen_prefix();
  if (!commit_sent_.none()) env_.broadcast(Commit{ballot_, commit_sent_});
}

}  // namespace paxos
