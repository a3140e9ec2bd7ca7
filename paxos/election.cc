#include "paxos/election.h"

#include <algorithm>
#include <utility>

#include "paxos/invariant.h"

namespace paxos {

Election::Election(Env& env, Ballot promised)
    : env_(env),
      peers_(env.options.capacity()),
      // After a restart nobody leads with an old ballot: the proposer does not run, so it is not happy.
      own_(promised.replica == env.options.self ? promised : Ballot{0, env.options.self}),
      leader_(promised) {}

bool Election::connected(ReplicaId id) const {
  const Peer& peer = peers_[id.n];
  return peer.heard != Time::min() && env_.now - peer.heard <= env_.options.election_timeout;
}

bool Election::working(ReplicaId id) const {
  return std::chrono::milliseconds{peers_[id.n].last.sync_age_ms} < env_.options.election_timeout;
}

bool Election::ticking(ReplicaId id) const {
  PAXOS_ASSERT(peers_[id.n].asked != Time::min());
  return env_.now - peers_[id.n].asked <= 2 * env_.options.election_timeout;
}

bool Election::counted(ReplicaId id) const {
  const Peer& peer = peers_[id.n];
  const Configuration& ours = env_.configuration;
  if (peer.strange || !ours.votes(id) || !connected(id) || peer.last.configuration > ours.number)
    return false;
  // Who took a lost one's place may be far behind, and stay so: a leader that waits for its promise waits for
  // ever.
  if (!peer.last.voting && !(peer.promoted && peer.last.configuration < ours.number)) return false;
  return peer.last.configuration == ours.number ||
         peer.last.applied.n + env_.options.bounds.window_slots + 1 >= ours.begins.n;
}

bool Election::keeps_up(ReplicaId id, Slot applied) const {
  const Peer& peer = peers_[id.n];
  const HeartbeatReply& last = peer.last;
  return connected(id) && !peer.strange && working(id) && !last.full &&
         last.configuration == env_.configuration.number &&
         last.applied.n + env_.options.bounds.window_slots >= applied.n;
}

bool Election::candidate(ReplicaId id) const {
  const HeartbeatReply& last = peers_[id.n].last;
  return counted(id) && last.candidate && last.configuration == env_.configuration.number;
}

ReplicaSet Election::full() const {
  ReplicaSet out;
  env_.each_peer([&](ReplicaId id) {
    if (peers_[id.n].last.full && !peers_[id.n].strange && env_.configuration.votes(id) && connected(id))
      out.insert(id);
  });
  return out;
}

ReplicaSet Election::roomy() const {
  ReplicaSet out;
  env_.each_peer([&](ReplicaId id) {
    if (counted(id) && working(id) && !peers_[id.n].last.full) out.insert(id);
  });
  return out;
}

void Election::entered(const ReplicaSet& changed, const ReplicaSet& promoted) {
  for (std::uint8_t id = 0; id < peers_.size(); ++id) {
    if (changed.contains({id})) peers_[id] = {};
    peers_[id].promoted = promoted.contains({id});
  }
  discontent_since_.reset();
}

ReplicaSet Election::connected() const {
  ReplicaSet out;
  env_.each_peer([&](ReplicaId id) {
    if (connected(id)) out.insert(id);
  });
  return out;
}

bool Election::lately(Time when) const {
  return when != Time::min() && env_.now - when < env_.options.election_timeout;
}

bool Election::healthy(const Surroundings& around) const {
  return around.sync_age < env_.options.election_timeout;
}

void Election::set_leader(Ballot ballot) {
  PAXOS_ASSERT(ballot > leader_);
  leader_ = ballot;
  leader_since_ = env_.now;
  ++leader_changes_;
  discontent_since_.reset();
}

void Election::follow(Ballot ballot) {
  if (ballot > leader_) set_leader(ballot);
}

void Election::on_request(ReplicaId from, const HeartbeatRequest& m, const Surroundings& around) {
  peers_[from.n].asked = env_.now;
  const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(around.sync_age).count();
  env_.send(from, HeartbeatReply{
                      .nonce = m.nonce,
                      // After a restart `own_` and `leader_` are what was promised last, and nobody proposes
                      // with it: who took that for a leader would depose the one that there is.
                      .ballot = around.proposing ? own_ : Ballot{0, own_.replica},
                      .leader = leader_,
                      // At once when its proposer stops, not at the next evaluation: a happy
                      // leader's prefix is taken for a Commit.
                      .happy = mood_ == Mood::happy && (leader_ != own_ || around.proposing),
                      .candidate = candidate_,
                      .chosen_prefix = around.chosen_prefix,
                      .applied = around.applied,
                      .hash = around.hash,
                      .rules = env_.options.rules,
                      .sync_age_ms = static_cast<std::uint32_t>(std::clamp<std::int64_t>(age, 0, UINT32_MAX)),
                      .groups = around.groups,
                      .configuration = env_.configuration.number,
                      .voting = around.voting,
                      .full = around.full && around.tells_full});
}

bool Election::on_reply(ReplicaId from, const HeartbeatReply& m, bool strange) {
  Peer& peer = peers_[from.n];
  const auto nonce =
      std::find_if(peer.sent.begin(), peer.sent.end(), [&](const Nonce& n) { return n.value == m.nonce; });
  if (nonce == peer.sent.end() || env_.now - nonce->sent > env_.options.election_timeout) return false;
  env_.links[from.n].measured(env_.now - nonce->sent);
  if (!connected(from)) peer.asked = env_.now;  // it has an election timeout to be heard asking
  if (nonce->sent >= peer.heard) {
    peer.heard = nonce->sent;
    peer.last = m;
    peer.strange = strange;
  }
  peer.sent.erase(nonce);
  // A ballot that nobody proposes with or is happy with is not worth following.
  if (m.leader > leader_ && (m.happy || m.proposing())) set_leader(m.leader);
  return true;
}

std::optional<std::uint16_t> Election::rules_known_by_all() const {
  std::uint16_t rules = env_.options.rules;
  bool all = true;
  env_.each_peer([&](ReplicaId id) {
    if (const Member* m = env_.configuration.find(id); m == nullptr || m->role == MemberRole::removed) return;
    all = all && connected(id) && !peers_[id.n].strange;
    rules = std::min(rules, peers_[id.n].last.rules);
  });
  return all ? std::optional(rules) : std::nullopt;
}

Election::Survey Election::survey() const {
  Survey seen;
  env_.each_peer([&](ReplicaId id) {
    if (!connected(id)) return;
    const HeartbeatReply& last = peers_[id.n].last;
    if (counted(id) && working(id)) {
      seen.working.insert(id);
      if (last.leader <= own_) seen.followers.insert(id);
    }
    // What it says of itself and of the leader was true when its clock stood still.
    const bool current = ticking(id);
    if (candidate(id) && current) seen.candidate = true;
    if (!last.happy || last.leader != leader_) return;
    if (current) seen.vouched = true;
    if (leader_.replica == id && last.proposing()) {
      seen.leader_happy = true;
      seen.leader_sick = last.full || !working(id) || !current;
    }
  });
  return seen;
}

Election::Mood Election::mood_of_leader(const Surroundings& around, const Survey& seen) const {
  // Its own vote counts towards the quorum only with a working disk.
  ReplicaSet votes = seen.followers;
  if (healthy(around)) votes.insert(env_.options.self);
  if (around.proposing && env_.configuration.is_quorum(votes) && (able(around) || !seen.candidate))
    return Mood::happy;
  return lately(yielded_) ? Mood::resting : Mood::discontent;
}

Election::Mood Election::mood_of_follower(const Survey& seen) const {
  if (leader_.none()) return Mood::discontent;
  // Who hears both tells neither that all is well: the candidate may be one that the leader does not hear.
  if (seen.leader_happy && !(seen.leader_sick && (seen.candidate || candidate_))) return Mood::happy;
  if (seen.vouched) return Mood::vouched;
  return lately(leader_since_) ? Mood::fresh : Mood::discontent;
}

void Election::evaluate(const Surroundings& around) {
  evaluated_ = env_.now;
  const Survey seen = survey();
  ReplicaSet working = seen.working;
  if (healthy(around)) working.insert(env_.options.self);
  quorum_connected_ = env_.configuration.is_quorum(working);
  roomy_quorum_ = true;
  if (full().size() != 0 || around.full) {
    ReplicaSet with_room = roomy();
    ReplicaSet perhaps = env_.configuration.voters();
    if (healthy(around) && !around.full) with_room.insert(env_.options.self);
    if (around.full) perhaps.erase(env_.options.self);
    env_.each_peer([&, full = full()](ReplicaId id) {
      if (full.contains(id)) perhaps.erase(id);
    });
    roomy_quorum_ = env_.configuration.is_quorum(with_room) || !env_.configuration.is_quorum(perhaps);
  }
  candidate_ = quorum_connected_ && may_campaign(around) && able(around);
  const bool own = leader_ == own_ && !own_.none();
  mood_ = own ? mood_of_leader(around, seen) : mood_of_follower(seen);

  const bool eligible = quorum_connected_ && may_campaign(around) && (able(around) || !seen.candidate);
  if (content() || !eligible) {
    discontent_since_.reset();
    return;
  }
  if (discontent_since_) return;
  discontent_since_ = env_.now;
  patience_ = draw_patience(around);
}

Duration Election::draw_patience(const Surroundings& around) {
  // Who knows less waits for those who know more, and a little chance keeps equals from duelling.
  bool behind = false;
  env_.each_peer([&](ReplicaId id) {
    if (candidate(id) && ticking(id) &&
        peers_[id.n].last.chosen_prefix > around.chosen_prefix + env_.options.bounds.window_slots)
      behind = true;
  });
  const Duration half = env_.options.heartbeat / 2;
  const Duration chance{
      static_cast<std::int64_t>(env_.random.below(static_cast<std::uint64_t>(half.count())))};
  return chance + (behind || around.full ? env_.options.election_timeout / 2 : Duration{0});
}

bool Election::tick(const Surroundings& around) {
  evaluate(around);
  if (env_.now >= next_heartbeat_) {
    next_heartbeat_ = env_.now + env_.options.heartbeat;
    env_.each_peer([&](ReplicaId id) {
      Peer& peer = peers_[id.n];
      std::erase_if(peer.sent,
                    [&](const Nonce& n) { return env_.now - n.sent > env_.options.election_timeout; });
      peer.sent.push_back({env_.random.next(), env_.now});
      env_.send(id, HeartbeatRequest{peer.sent.back().value, env_.configuration.number});
    });
  }
  if (!discontent_since_ || env_.now - *discontent_since_ < patience_) return false;
  campaign(around);
  return true;
}

void Election::campaign(const Surroundings& around) {
  PAXOS_ASSERT(may_campaign(around));
  // Rounds go on from one configuration to the next: so a round alone names a leadership of this replica.
  std::uint64_t round = std::max({own_.round, leader_.round, around.promised.round});
  env_.each_peer([&](ReplicaId id) {
    if (!connected(id)) return;
    round = std::max({round, peers_[id.n].last.ballot.round, peers_[id.n].last.leader.round});
  });
  own_ = {round + 1, env_.options.self, env_.configuration.number};
  yielded_ = Time::min();
  set_leader(own_);
  mood_ = Mood::fresh;  // a chance for the new ballot, until the next evaluation says otherwise
}

Time Election::deadline() const {
  Time at = next_heartbeat_;
  if (discontent_since_) at = std::min(at, *discontent_since_ + patience_);
  // What runs out is due until it was judged, not until somebody told the core a later time.
  for (const Time since : {leader_since_, yielded_})
    if (since != Time::min() && evaluated_ < since + env_.options.election_timeout)
      at = std::min(at, since + env_.options.election_timeout);
  // A connection that lapses is noticed when it does, not at the next heartbeat; so is a leader whose clock
  // stands still.
  const auto lapses = [&](Time last, int timeouts) {
    const Time when = last + timeouts * env_.options.election_timeout + Duration{1};
    if (when > evaluated_) at = std::min(at, when);
  };
  for (const Peer& peer : peers_)
    if (peer.heard != Time::min()) lapses(peer.heard, 1);  // not this replica's own place
  if (const Peer& leader = peers_[leader_.replica.n]; leader.heard != Time::min()) lapses(leader.asked, 2);
  return at;
}

std::optional<ReplicaId> Election::successor() const {
  std::optional<ReplicaId> best;
  env_.each_peer([&](ReplicaId id) {
    if (!candidate(id)) return;
    const auto merit = [&](ReplicaId of) { return std::pair(ticking(of), peers_[of.n].last.chosen_prefix); };
    if (!best || merit(id) > merit(*best)) best = id;
  });
  return best;
}

}  // namespace paxos
