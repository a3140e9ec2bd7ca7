#include "paxos/proposer.h"

#include "paxos/invariant.h"

/// The way of a leadership: what moves it on, and what ends it. Its phases are in the files beside this one.
namespace paxos {

Proposer::Proposer(Env& env, SlotLog& log, Acceptor& acceptor, Learner& learner)
    : env_(env), log_(log), acceptor_(acceptor), learner_(learner), rtt_(env.links) {}

void Proposer::stop(const std::string& why) {
  PAXOS_ASSERT(active());
  if (leading())
    env_.event("deposed", "no longer leader with ballot " + to_string(ballot_) + ": " + why, ballot_);
  else
    env_.event("candidacy_ended", "candidacy with ballot " + to_string(ballot_) + " ended: " + why, ballot_);
  phase_ = Phase::idle;
  adopted_.clear();
  closing_ = {};
  flights_.end();
  own_votes_.clear();
  repeat_at_ = time_never;
  commit_at_ = time_never;
}

void Proposer::advance() {
  if (phase_ == Phase::learning) watch_learning();
  if (!leading()) return;
  if (log_.applied() >= closing_) closing_ = {};  // it changed nothing: else this leadership were over
  note_chosen();
  if (!leading()) return;
  if (log_.chosen_max() > adopted_max_ && log_.chosen_max() >= flights_.next()) {
    // A slot that we never proposed in was chosen: a higher ballot leads, and its Nack is still under way.
    stop("slot " + std::to_string(log_.chosen_max().n) + " was chosen under another leader");
    return;
  }
  finish_adopted();
}

void Proposer::on_nack(ReplicaId from, const Nack& m) {
  if (!active() || m.refused != ballot_ || m.promised <= ballot_) return;
  stop("replica " + std::to_string(from.n) + " promised ballot " + to_string(m.promised));
}

void Proposer::on_synced() {
  count_promises();
  if (leading()) count_own_votes();
}

bool Proposer::waits_for_sync() const {
  if (!leading()) return active();
  // The lowest one decides: nothing above it can be applied before it.
  for (const OwnVote& own : own_votes_) {
    const Flight* flight = flights_.find(own.slot);
    if (flight != nullptr && flight->state == Flight::State::proposed)
      return env_.configuration.is_quorum(with_self(flight->votes));
  }
  return false;
}

void Proposer::check_invariants() const {
  flights_.check_invariants();
  if (!active()) {
    PAXOS_ASSERT(flights_.first() == flights_.next() && flights_.under_way() == 0);
    return;
  }
  PAXOS_ASSERT(ballot_ == acceptor_.promised() && ballot_.configuration == env_.configuration.number);
  PAXOS_ASSERT(closing_.none() || !leading() || flights_.next() <= closing_ + 1);
  if (leading())
    PAXOS_ASSERT(flights_.next() <= adopted_max_ ||
                 log_.chosen_max() < flights_.next());  // else another leads: advance() stopped
}

}  // namespace paxos
