#include "paxos/proposer.h"

#include <algorithm>
#include <utility>

#include "paxos/invariant.h"

namespace paxos {

namespace {
/// A Commit of its own waits this long for an Accept that would carry it.
constexpr Duration commit_patience{std::chrono::milliseconds{1}};
}  // namespace

Proposer::Proposer(Env& env, SlotLog& log, Acceptor& acceptor, Learner& learner)
    : env_(env), log_(log), acceptor_(acceptor), learner_(learner), rtt_(env.links) {}

// --- phase 1 ---

void Proposer::prepare(Ballot ballot) {
  PAXOS_ASSERT(ballot.replica == env_.options.self && ballot > acceptor_.promised());
  if (active()) stop("a higher ballot of its own");
  phase_ = Phase::preparing;
  ballot_ = ballot;
  own_promise_group_ = acceptor_.promise_self(ballot);
  adopted_.clear();
  learn_to_ = {};
  adopted_max_ = {};
  skipped_.clear();
  pages_.assign(env_.options.replicas, Page{});
  const Slot from = log_.chosen_prefix() + 1;
  env_.each_peer([&](ReplicaId id) {
    pages_[id.n].next = from;
    pages_[id.n].repeat.start(env_.now, timeout());
    // Only after the sync: a restart must never use this ballot for another phase 1.
    env_.send_synced(id, Prepare{ballot, from});
  });
  env_.event("candidate", "candidate with ballot " + to_string(ballot), ballot);
}

void Proposer::stop(const std::string& why) {
  PAXOS_ASSERT(active());
  if (phase_ == Phase::leading)
    env_.event("deposed", "no longer leader with ballot " + to_string(ballot_) + ": " + why, ballot_);
  else
    env_.event("candidacy_ended", "candidacy with ballot " + to_string(ballot_) + " ended: " + why, ballot_);
  phase_ = Phase::idle;
  adopted_.clear();
  flights_.clear();
  own_votes_.clear();
  skipped_.clear();
  unchosen_ = 0;
  unchosen_bytes_ = 0;
  repeat_at_ = time_never;
  commit_at_ = time_never;
}

void Proposer::adopt(const PromiseEntry& entry) {
  if (entry.slot <= log_.chosen_prefix()) return;
  if (entry.chosen) {
    learner_.learn({entry.slot, entry.ballot, entry.decree});
    adopted_max_ = std::max(adopted_max_, entry.slot);
    // The learner drops what is too far ahead of it, so it is kept here as well: whoever voted for it may
    // tell it as chosen only, and a no-op must not go where it was.
    adopted_.insert_or_assign(entry.slot, entry);
    return;
  }
  auto [at, fresh] = adopted_.try_emplace(entry.slot, entry);
  if (!fresh && !at->second.chosen && at->second.ballot < entry.ballot) at->second = entry;
}

void Proposer::on_promise(ReplicaId from, const Promise& m) {
  if (phase_ != Phase::preparing || m.ballot != ballot_) return;
  Page& page = pages_[from.n];
  if (page.complete || m.from != page.next) return;  // a repeat of an earlier page
  for (const PromiseEntry& entry : m.entries) adopt(entry);
  page.chosen_prefix = std::max(page.chosen_prefix, m.chosen_prefix);
  learner_.peer_prefix(from, m.chosen_prefix);
  if (!m.next.none()) {
    page.next = m.next;
    page.repeat.start(env_.now, timeout());
    env_.send(from, Prepare{ballot_, m.next});
    return;
  }
  page.complete = true;
  page.repeat.stop();
  promised_by_quorum();
}

void Proposer::promised_by_quorum() {
  if (phase_ != Phase::preparing || own_promise_group_ > env_.synced_group) return;
  std::size_t promises = 1;  // ours
  env_.each_peer([&](ReplicaId id) { promises += pages_[id.n].complete ? 1 : 0; });
  if (promises < env_.options.quorum()) return;
  // Our own votes are part of the quorum's answer.
  for (Slot slot = log_.chosen_prefix() + 1; slot <= log_.accepted_max(); ++slot) {
    const SlotEntry* entry = log_.find(slot);
    if (entry != nullptr) adopt({slot, entry->ballot, entry->chosen, entry->decree});
  }
  learn_to_ = log_.chosen_prefix();
  ReplicaId knows_most = env_.options.self;
  env_.each_peer([&](ReplicaId id) {
    if (!pages_[id.n].complete || pages_[id.n].chosen_prefix <= learn_to_) return;
    learn_to_ = pages_[id.n].chosen_prefix;
    knows_most = id;
  });
  if (!adopted_.empty()) adopted_max_ = std::max(adopted_max_, adopted_.rbegin()->first);
  // Slots that its acceptors know as chosen count as adopted, for reads too.
  adopted_max_ = std::max(adopted_max_, learn_to_);
  phase_ = Phase::learning;
  learning_since_ = env_.now;
  learning_prefix_ = log_.chosen_prefix();
  // Of it, at once: what the learner asked before may be waiting for an answer from behind a cut.
  if (knows_most != env_.options.self) learner_.pull_from(knows_most);
  advance();
}

void Proposer::lead() {
  phase_ = Phase::leading;
  next_ = log_.chosen_prefix() + 1;
  flights_.clear();
  flights_base_ = next_;
  unchosen_ = 0;
  unchosen_bytes_ = 0;
  own_votes_.clear();
  commit_sent_ = {};
  commit_at_ = env_.now;
  repeat_at_ = time_never;
  env_.event("leader", "leader with ballot " + to_string(ballot_) + " from slot " + std::to_string(next_.n) + " on",
             ballot_, next_);
}

// --- phase 2 ---

bool Proposer::window_open(Slot slot) const {
  if (slot.n > log_.applied().n + env_.options.bounds.window_slots) {
    env_.reached(Bound::window_slots);
    return false;
  }
  if (log_.bytes_unapplied() < env_.options.bounds.window_bytes) return true;
  env_.reached(Bound::window_bytes);
  return false;
}

/// The window is for new work. What phase 1 found was within an earlier leader's window, and may all stand above a hole
/// that only this one can fill: that it is not applied is no reason to wait. What is under way is bounded, so that it does
/// not leave in one burst; its lowest slot follows the chosen prefix, so it never waits for anything but itself.
bool Proposer::may_finish(std::size_t bytes) const {
  if (unchosen_ == 0) return true;
  if (unchosen_ >= env_.options.bounds.window_slots) {
    env_.reached(Bound::finish_slots);
    return false;
  }
  if (unchosen_bytes_ + bytes <= env_.options.bounds.window_bytes) return true;
  env_.reached(Bound::finish_bytes);
  return false;
}

Proposer::Flight* Proposer::flight(Slot slot) {
  PAXOS_ASSERT(slot < next_);
  if (slot < flights_base_) return nullptr;  // chosen, and forgotten
  return &flights_[slot - flights_base_];
}

bool Proposer::can_propose() const {
  if (phase_ != Phase::leading || next_ <= adopted_max_) return false;
  if (unchosen_ >= env_.options.bounds.pipeline_slots) {
    env_.reached(Bound::pipeline_slots);
    return false;
  }
  return window_open(next_);
}

Slot Proposer::propose(Decree decree) {
  PAXOS_ASSERT(can_propose());
  const Slot slot = next_;
  propose_in(slot, std::move(decree));
  return slot;
}

void Proposer::propose_in(Slot slot, Decree decree) {
  PAXOS_ASSERT(slot == next_ && slot > log_.chosen_prefix());
  const std::uint64_t group = acceptor_.vote_self(slot, ballot_, decree);
  own_votes_.push_back({group, slot});
  flights_.push_back(
      {.used = true, .chosen = false, .decree = decree, .votes = {}, .first_sent = env_.now, .repeat = {}});
  flights_.back().repeat.start(env_.now, timeout());
  repeat_at_ = std::min(repeat_at_, flights_.back().repeat.at());
  ++unchosen_;
  unchosen_bytes_ += decree.value.size();
  ++next_;
  commit_sent_ = log_.chosen_prefix();
  commit_at_ = time_never;
  // At the same time as our own sync (DESIGN.md section 3): the vote counts here only when it is durable.
  env_.broadcast(Accept{ballot_, slot, log_.chosen_prefix(), std::move(decree)});
}

SkipResult Proposer::skip(std::vector<Slot> slots) {
  SkipResult result{.refused = {}, .next_free = next_, .slots = {}};
  if (phase_ != Phase::leading || next_ <= adopted_max_) {
    result.refused = "this replica does not lead, or has only just begun to";
    return result;
  }
  std::sort(slots.begin(), slots.end());
  slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
  if (slots.empty()) {
    result.refused = "no slot was named";
    return result;
  }
  if (slots.front() < next_) {
    result.refused = "slot " + std::to_string(slots.front().n) +
                     " was already proposed; the next free one is " + std::to_string(next_.n);
    return result;
  }
  // Each skipped slot needs one above it that the window still takes.
  const Slot last_skippable = log_.applied() + (env_.options.bounds.window_slots - 1);
  if (slots.back() > last_skippable) {
    result.refused = "slot " + std::to_string(slots.back().n) + " is beyond the window: at most slot " +
                     std::to_string(last_skippable.n) + " can be skipped now";
    return result;
  }
  const Slot top = slots.back() + 1;
  if (!window_open(top)) {
    result.refused = "too much is proposed and not yet applied; try again when it is";
    return result;
  }
  while (next_ <= top) {
    if (std::binary_search(slots.begin(), slots.end(), next_)) {
      skipped_.insert(next_);
      flights_.push_back({});
      ++next_;
    } else {
      propose_in(next_, Decree{});
    }
  }
  result.next_free = next_;
  result.slots = std::move(slots);
  env_.event("skipped",
             "left slots empty from " + std::to_string(result.slots.front().n) + " to " +
                 std::to_string(result.slots.back().n),
             ballot_, result.slots.front());
  settle();
  return result;
}

void Proposer::on_accepted(ReplicaId from, const Accepted& m) {
  if (phase_ != Phase::leading || m.ballot != ballot_) return;
  for (const SlotRange& range : m.slots) {
    const Slot last = std::min(range.last, Slot{next_.n - 1});
    for (Slot slot = std::max(range.first, flights_base_); slot <= last; ++slot) vote(from, slot);
  }
  settle();
}

void Proposer::vote(ReplicaId from, Slot slot) {
  Flight* f = flight(slot);
  if (f == nullptr || !f->used || f->votes.contains(from)) return;
  if (from != env_.options.self && f->repeat.attempts() == 1) rtt_[from.n].measured(env_.now - f->first_sent);
  f->votes.insert(from);
  if (f->chosen || f->votes.size() < env_.options.quorum()) return;
  learner_.chosen(slot);
}

/// Takes note of what became chosen, by votes or by word of others, and forgets what is done.
void Proposer::settle() {
  // Above the highest chosen slot there is nothing to settle.
  for (std::size_t i = 0; i < flights_.size() && flights_base_ + i <= log_.chosen_max(); ++i) {
    Flight& f = flights_[i];
    if (!f.used || f.chosen) continue;
    const Slot slot = flights_base_ + i;
    const SlotEntry* entry = log_.find(slot);
    PAXOS_ASSERT(entry != nullptr);  // our vote, or what replaced it
    if (!entry->chosen) continue;
    if (!entry->voted) {
      // Another decree than ours: a higher ballot leads, and its Nack is lost or late. Our next Commit would
      // tell those who voted at our ballot that what they voted for is chosen.
      stop("slot " + std::to_string(slot.n) + " was chosen otherwise under another leader");
      return;
    }
    f.chosen = true;
    f.repeat.stop();
    --unchosen_;
    unchosen_bytes_ -= f.decree.value.size();
    f.decree = {};
  }
  while (!flights_.empty() && flights_base_ <= log_.chosen_prefix()) {
    flights_.pop_front();
    ++flights_base_;
  }
  if (!skipped_.empty()) skipped_.erase(skipped_.begin(), skipped_.upper_bound(log_.chosen_prefix()));
  if (phase_ == Phase::leading && commit_sent_ < log_.chosen_prefix() && commit_at_ == time_never)
    commit_at_ = env_.now + commit_patience;
}

void Proposer::on_nack(ReplicaId from, const Nack& m) {
  if (!active() || m.refused != ballot_ || m.promised <= ballot_) return;
  stop("replica " + std::to_string(from.n) + " promised ballot " + to_string(m.promised));
}

void Proposer::on_synced() {
  promised_by_quorum();
  if (phase_ != Phase::leading) return;
  bool counted = false;
  while (!own_votes_.empty() && own_votes_.front().group <= env_.synced_group) {
    vote(env_.options.self, own_votes_.front().slot);
    own_votes_.pop_front();
    counted = true;
  }
  if (counted) settle();
}

bool Proposer::waits_for_sync() const {
  if (phase_ != Phase::leading) return active();
  // The lowest one decides: nothing above it can be applied before it.
  for (const OwnVote& own : own_votes_) {
    const Flight* f = flight(own.slot);
    if (f != nullptr && !f->chosen) return f->votes.size() + 1 >= env_.options.quorum();
  }
  return false;
}

void Proposer::advance() {
  if (phase_ == Phase::learning) {
    if (log_.chosen_prefix() > learning_prefix_) {
      learning_prefix_ = log_.chosen_prefix();
      learning_since_ = env_.now;
    }
    if (log_.chosen_prefix() >= learn_to_) lead();
  }
  if (phase_ != Phase::leading) return;
  settle();
  if (phase_ != Phase::leading) return;
  if (log_.chosen_max() > adopted_max_ && log_.chosen_max() >= next_) {
    // A slot that we never proposed in was chosen: a higher ballot leads, and its Nack is still under way.
    stop("slot " + std::to_string(log_.chosen_max().n) + " was chosen under another leader");
    return;
  }
  if (next_ > adopted_max_) {
    adopted_.clear();
    return;
  }
  // Phase 1's slots first: the decree of the highest accepted ballot, no-ops into the holes.
  while (next_ <= adopted_max_) {
    const SlotEntry* entry = log_.find(next_);
    if (next_ <= log_.chosen_prefix() || (entry != nullptr && entry->chosen)) {
      flights_.push_back({});  // known chosen: nothing to propose
      ++next_;
      continue;
    }
    const auto found = adopted_.find(next_);
    Decree decree = found == adopted_.end() ? Decree{} : found->second.decree;
    if (!may_finish(decree.value.size())) break;
    if (found == adopted_.end())
      env_.event("noop", "slot " + std::to_string(next_.n) + " was empty: filled with a no-op", ballot_, next_);
    propose_in(next_, std::move(decree));
  }
  if (next_ > adopted_max_) adopted_.clear();
  settle();
}

void Proposer::flush() {
  if (phase_ != Phase::leading || env_.now < commit_at_) return;
  commit_at_ = time_never;
  commit_sent_ = log_.chosen_prefix();
  if (!commit_sent_.none()) env_.broadcast(Commit{ballot_, commit_sent_});
}

// --- repeating until answered ---

Duration Proposer::timeout() const {
  // As slow as the peer whose answer completes a quorum; slower ones repeat more than they need. An answer waits for a sync
  // besides; where the path is longer than what was ever measured with it, only heartbeats can tell.
  return env_.quorum_round_trip([&](ReplicaId id) {
    const Duration answered = rtt_[id.n].timeout();
    return env_.links[id.n].seen() ? std::max(answered, env_.round_trip(id)) : answered;
  });
}

void Proposer::tick() {
  if (phase_ == Phase::preparing) {
    env_.each_peer([&](ReplicaId id) {
      Page& page = pages_[id.n];
      if (page.complete || !page.repeat.due(env_.now)) return;
      page.repeat.again(env_.now);
      ++retransmissions_;
      env_.send_synced(id, Prepare{ballot_, page.next});
    });
  } else if (phase_ == Phase::learning) {
    // Who knew these slots is gone. Another quorum's votes will tell; that takes a new phase 1.
    if (env_.now - learning_since_ >= 2 * env_.options.election_timeout)
      stop("nobody answers with slot " + std::to_string(log_.chosen_prefix().n + 1));
  } else if (phase_ == Phase::leading && env_.now >= repeat_at_) {
    repeat_at_ = time_never;
    for (std::size_t i = 0; i < flights_.size(); ++i) {
      Flight& f = flights_[i];
      if (!f.used || f.chosen) continue;
      if (f.repeat.due(env_.now)) {
        f.repeat.again(env_.now);
        const Accept accept{ballot_, flights_base_ + i, log_.chosen_prefix(), f.decree};
        env_.each_peer([&](ReplicaId id) {
          if (f.votes.contains(id)) return;
          ++retransmissions_;
          env_.send(id, accept);
        });
      }
      repeat_at_ = std::min(repeat_at_, f.repeat.at());
    }
  }
}

Time Proposer::deadline() const {
  switch (phase_) {
    case Phase::idle:
      return time_never;
    case Phase::preparing: {
      Time at = time_never;
      env_.each_peer([&](ReplicaId id) {
        if (!pages_[id.n].complete) at = std::min(at, pages_[id.n].repeat.at());
      });
      return at;
    }
    case Phase::learning:
      return learning_since_ + 2 * env_.options.election_timeout;
    case Phase::leading:
      return std::min(repeat_at_, commit_at_);
  }
  return time_never;
}

Slot Proposer::read_index() const {
  return std::max(adopted_max_, log_.chosen_prefix());
}

std::optional<Slot> Proposer::hole() const {
  const Slot next = log_.chosen_prefix() + 1;
  if (phase_ == Phase::leading && skipped_.contains(next)) return next;
  return std::nullopt;
}

void Proposer::check_invariants() const {
  if (!active()) {
    PAXOS_ASSERT(flights_.empty() && unchosen_ == 0);
    return;
  }
  PAXOS_ASSERT(ballot_ == acceptor_.promised());
  if (phase_ != Phase::leading) return;
  PAXOS_ASSERT(flights_base_ + flights_.size() == next_);
  std::size_t unchosen = 0;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < flights_.size(); ++i) {
    const Flight& f = flights_[i];
    if (!f.used || f.chosen) continue;
    ++unchosen;
    bytes += f.decree.value.size();
  }
  PAXOS_ASSERT(unchosen == unchosen_ && bytes == unchosen_bytes_);
  PAXOS_ASSERT(next_ <= adopted_max_ || log_.chosen_max() < next_);  // else another leads: advance() stopped
}

}  // namespace paxos
