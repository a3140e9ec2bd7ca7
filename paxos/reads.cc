#include "paxos/reads.h"

#include <algorithm>
#include <utility>

#include "paxos/invariant.h"

namespace paxos {

namespace {
/// A question is asked again after this, or after the time that its answer takes to come, where that is
/// longer.
constexpr Duration first_repeat{std::chrono::milliseconds{20}};
}  // namespace

void Reads::read(std::uint64_t id) {
  if (fresh_.size() >= env_.options.bounds.reads_waiting) {
    env_.reached(Bound::reads_waiting);
    fail({id});
    return;
  }
  fresh_.push_back(id);
}

void Reads::on_request(ReplicaId from, const ReadRequest& m) {
  if (!proposer_.leading()) return;  // it asks again, maybe someone else
  const auto same = [&](const Remote& r) { return r.from == from && r.id == m.id; };
  if (std::any_of(fresh_remote_.begin(), fresh_remote_.end(), same)) return;
  if (fresh_remote_.size() >= env_.options.bounds.remote_rounds) return env_.reached(Bound::remote_rounds);
  fresh_remote_.push_back({from, m.id});
}

void Reads::start_round(std::optional<ReplicaId> leader) {
  // A later leadership needs a sync, which ends the turn: a round never meets another ballot than its own.
  if (round_ && !proposer_.leading()) drop_round();
  PAXOS_ASSERT(!round_ || proposer_.ballot() == round_->ballot);
  if (fresh_.empty() && fresh_remote_.empty()) return;
  if (proposer_.leading()) {
    // While the configuration is being changed, those who vote in the next one may be past that already: what
    // this one's members confirm says nothing of it. (A round that began before is older than the change.)
    if (round_ || proposer_.closing()) return;
    // The index is taken now, after every one of these reads arrived.
    round_.emplace(Round{.ballot = proposer_.ballot(),
                         .nonce = env_.random.next(),
                         .index = proposer_.read_index(),
                         .confirmed = {},
                         .local = std::exchange(fresh_, {}),
                         .remote = std::exchange(fresh_remote_, {}),
                         .repeat = {}});
    round_->confirmed.insert(env_.options.self);  // active() implies that our own promise equals the ballot
    const Duration answered = env_.quorum_round_trip([&](ReplicaId id) { return env_.round_trip(id); });
    round_->repeat.start(env_.now, std::max(first_repeat, answered));
    if (env_.configuration.is_quorum(round_->confirmed)) {
      finish(*round_);
      return;
    }
    env_.broadcast(ReadConfirm{round_->ballot, round_->nonce});
    return;
  }
  fresh_remote_.clear();
  if (fresh_.empty()) return;
  if (!leader) {
    fail(std::exchange(fresh_, {}));
    return;
  }
  if (asked_.size() >= env_.options.bounds.read_rounds)
    return env_.reached(Bound::read_rounds);  // they go with the next one that ends
  const std::uint64_t id = env_.random.next();
  Asked asked{.ids = std::exchange(fresh_, {}), .leader = *leader, .since = env_.now, .repeat = {}};
  // The leader ends the round that it is in, and asks the others in one for this: about two more round trips.
  asked.repeat.start(env_.now, std::max(first_repeat, 3 * env_.round_trip(*leader)));
  env_.send(*leader, ReadRequest{id});
  asked_.emplace(id, std::move(asked));
}

void Reads::on_confirmed(ReplicaId from, const ReadConfirmed& m) {
  if (!round_ || m.ballot != round_->ballot) return;
  if (m.nonce != round_->nonce) return;
  if (!proposer_.leading()) return;
  round_->confirmed.insert(from);
  if (env_.configuration.is_quorum(round_->confirmed)) finish(*round_);
}

void Reads::finish(Round& round) {
  for (std::uint64_t id : round.local) env_.ready.reads.push_back({id, round.index});
  for (const Remote& r : round.remote) env_.send(r.from, ReadReply{r.id, round.index});
  round_.reset();
}

void Reads::drop_round() {
  fail(round_->local);
  round_.reset();
}

void Reads::on_reply(ReplicaId from, const ReadReply& m) {
  const auto found = asked_.find(m.id);
  if (found == asked_.end() || found->second.leader != from) return;
  for (std::uint64_t id : found->second.ids) env_.ready.reads.push_back({id, m.index});
  asked_.erase(found);
}

void Reads::fail(const std::vector<std::uint64_t>& ids) {
  env_.ready.reads_failed.insert(env_.ready.reads_failed.end(), ids.begin(), ids.end());
}

void Reads::tick(std::optional<ReplicaId> leader) {
  if (round_ && round_->repeat.due(env_.now)) {
    round_->repeat.again(env_.now);
    env_.each_peer([&](ReplicaId id) {
      if (!round_->confirmed.contains(id)) env_.send(id, ReadConfirm{round_->ballot, round_->nonce});
    });
  }
  for (auto at = asked_.begin(); at != asked_.end();) {
    Asked& asked = at->second;
    if (!asked.repeat.due(env_.now)) {
      ++at;
      continue;
    }
    // A new leader's index serves as well: it is taken later. After a while the client is told.
    if (!leader || *leader == env_.options.self ||
        env_.now - asked.since > 2 * env_.options.election_timeout) {
      fail(asked.ids);
      at = asked_.erase(at);
      continue;
    }
    asked.leader = *leader;
    asked.repeat.again(env_.now);
    env_.send(*leader, ReadRequest{at->first});
    ++at;
  }
}

Time Reads::deadline() const {
  Time at = round_ ? round_->repeat.at() : time_never;
  for (const auto& [id, asked] : asked_) at = std::min(at, asked.repeat.at());
  return at;
}

}  // namespace paxos
