#include <algorithm>

#include "paxos/invariant.h"
#include "paxos/proposer.h"

/// Phase 1: the promises of a quorum, page by page, what they hold adopted, and what its acceptors know as
/// chosen learned.
namespace paxos {

void Proposer::prepare(Ballot ballot) {
  PAXOS_ASSERT(ballot.replica == env_.options.self && ballot > acceptor_.promised() &&
               ballot.configuration == env_.configuration.number);
  if (active()) stop("a higher ballot of its own");
  phase_ = Phase::preparing;
  ballot_ = ballot;
  own_promise_group_ = acceptor_.promise_self(ballot);
  adopted_.clear();
  learn_to_ = {};
  adopted_max_ = {};
  closing_ = {};
  pages_.assign(env_.options.capacity(), Page{});
  const Slot from = log_.chosen_prefix() + 1;
  env_.each_peer([&](ReplicaId id) {
    pages_[id.n].next = from;
    pages_[id.n].repeat.start(env_.now, timeout());
    // Only after the sync: a restart must never use this ballot for another phase 1.
    env_.send_synced(id, Prepare{ballot, from});
  });
  env_.event("candidate", "candidate with ballot " + to_string(ballot), ballot);
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
  // A vote of an earlier configuration above its last slot: that was chosen for nothing, and never will be.
  if (entry.ballot.configuration != ballot_.configuration) return;
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
  count_promises();
}

void Proposer::count_promises() {
  if (phase_ != Phase::preparing || own_promise_group_ > env_.synced_group) return;
  ReplicaSet promises;
  promises.insert(env_.options.self);
  env_.each_peer([&](ReplicaId id) {
    if (pages_[id.n].complete) promises.insert(id);
  });
  if (!env_.configuration.is_quorum(promises)) return;
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
  settle_change();
  phase_ = Phase::learning;
  learning_since_ = env_.now;
  learning_prefix_ = log_.chosen_prefix();
  // Of it, at once: what the learner asked before may be waiting for an answer from behind a cut.
  if (knows_most != env_.options.self) learner_.pull_from(knows_most);
  advance();
}

/// The leader that proposed a change proposed nothing above it, and no later one does that finds it. So where
/// a quorum's answer has a vote above it at a higher ballot, or a slot above it that was chosen, that one's
/// leader did not find it: it was not chosen below that ballot, and nothing proposed it again since, or that
/// would be the vote that is known of it. Then it must not be chosen now, with slots of its configuration
/// chosen above it already; a no-op goes in its place. Otherwise nothing above it was chosen by this
/// configuration, nor can be: what was voted for there is left.
void Proposer::settle_change() {
  for (auto at = adopted_.upper_bound(learn_to_); at != adopted_.end();) {
    const auto& [slot, change] = *at;
    if (change.decree.kind != DecreeKind::configuration) {
      ++at;
      continue;
    }
    const auto passed = [&](const auto& above) {
      const PromiseEntry& e = above.second;
      return e.ballot.configuration == ballot_.configuration && (e.chosen || e.ballot > change.ballot);
    };
    if (!change.chosen && std::any_of(std::next(at), adopted_.end(), passed)) {
      at = adopted_.erase(at);
      continue;
    }
    closing_ = slot;
    adopted_max_ = slot;
    adopted_.erase(std::next(at), adopted_.end());
    return;
  }
}

void Proposer::watch_learning() {
  // Whether what is redone closes this configuration is not known before it is: nothing goes above it.
  if (log_.redoing()) learning_since_ = env_.now;
  if (log_.chosen_prefix() > learning_prefix_) {
    learning_prefix_ = log_.chosen_prefix();
    learning_since_ = env_.now;
  }
  if (log_.chosen_prefix() >= learn_to_ && !log_.redoing() && !log_.change_ahead()) lead();
}

Slot Proposer::read_index() const { return std::max(adopted_max_, log_.chosen_prefix()); }

}  // namespace paxos
