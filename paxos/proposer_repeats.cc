#include <algorithm>

#include "paxos/proposer.h"

/// Everything is said again until it is answered, after the time that answers take.
namespace paxos {

Duration Proposer::timeout() const {
  // As slow as the peer whose answer completes a quorum; slower ones repeat more than they need. An answer
  // waits for a sync besides; where the path is longer than what was ever measured with it, only heartbeats
  // can tell.
  return env_.quorum_round_trip([&](ReplicaId id) {
    const Duration answered = rtt_[id.n].timeout();
    return env_.links[id.n].seen() ? std::max(answered, env_.round_trip(id)) : answered;
  });
}

void Proposer::tick() {
  switch (phase_) {
    case Phase::idle:
      return;
    case Phase::preparing:
      return repeat_prepares();
    case Phase::learning:
      // Who knew these slots is gone. Another quorum's votes will tell; that takes a new phase 1.
      if (env_.now - learning_since_ >= 2 * env_.options.election_timeout)
        stop("nobody answers with slot " + std::to_string(log_.chosen_prefix().n + 1));
      return;
    case Phase::leading:
      return repeat_accepts();
  }
}

void Proposer::repeat_prepares() {
  env_.each_peer([&](ReplicaId id) {
    Page& page = pages_[id.n];
    if (page.complete || !page.repeat.due(env_.now)) return;
    page.repeat.again(env_.now);
    ++retransmissions_;
    env_.send_synced(id, Prepare{ballot_, page.next});
  });
}

void Proposer::repeat_accepts() {
  if (env_.now < repeat_at_) return;
  repeat_at_ = time_never;
  for (Slot slot = flights_.first(); slot < flights_.next(); ++slot) {
    Flight& flight = *flights_.find(slot);
    if (flight.state != Flight::State::proposed) continue;
    if (flight.repeat.due(env_.now)) {
      flight.repeat.again(env_.now);
      const Accept accept{ballot_, slot, log_.chosen_prefix(), flight.decree};
      env_.each_peer([&](ReplicaId id) {
        if (flight.votes.contains(id)) return;
        ++retransmissions_;
        env_.send(id, accept);
      });
    }
    repeat_at_ = std::min(repeat_at_, flight.repeat.at());
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

}  // namespace paxos
