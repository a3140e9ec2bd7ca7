#include "paxos/birth.h"

#include <algorithm>
#include <utility>

#include "paxos/invariant.h"

namespace paxos {

namespace {
/// In election timeouts: how often a dormant directory says that it is there, and how long that is believed.
constexpr int announce_every = 1;
constexpr int announced_for = 4;
}  // namespace

BirthProtocol::BirthProtocol(Env& env, const Incarnation& self, const std::optional<BirthRecord>& recovered)
    : env_(env), self_(self), members_(env.options.replicas), newcomers_(env.options.replicas) {
  members_[env.options.self.n] = self;
  if (recovered) {
    // Under another number of replicas its quorums would not meet those that voted before.
    if (recovered->members.size() != env.options.replicas) {
      state_ = State::dormant;
      other_size_ = recovered->members.size();
      return;
    }
    if (recovered->members[env.options.self.n] != self) {
      state_ = State::dormant;
      if (recovered->configuration > 1) replaced_in_ = recovered->configuration;
      return;
    }
    members_ = recovered->members;
    configuration_ = recovered->configuration;
    if (recovered->born) {
      state_ = State::born;
      know_configuration();
      return;
    }
    // The vector was synced before the restart; the announcements of the others are asked for again.
    state_ = State::announced;
    vector_group_ = env.last_group;
    announced_.insert(env.options.self);
  }
  collected();
}

void BirthProtocol::know_configuration() {
  if (!env_.configuration.members.empty()) return;  // the state, which came as a snapshot, says it
  // What came before a later one than the first, the log will tell, or a snapshot: until then nobody is known
  // to vote.
  env_.configuration = configuration_ == 1 ? Configuration::of_birth(members_) : Configuration{};
}

std::optional<Incarnation> BirthProtocol::newcomer(ReplicaId id) const {
  const Newcomer& newcomer = newcomers_[id.n];
  if (newcomer.incarnation.none() ||
      env_.now - newcomer.heard > announced_for * env_.options.election_timeout)
    return std::nullopt;
  return newcomer.incarnation;
}

paxos::Birth BirthProtocol::told() const {
  paxos::Birth out{.members = members_, .synced = true, .born = true, .configuration = configuration_};
  if (env_.configuration.number <= configuration_) return out;
  out.configuration = env_.configuration.number;
  for (std::uint8_t id = 0; id < out.members.size(); ++id) {
    const Member* member = env_.configuration.find({id});
    out.members[id] = member == nullptr ? Incarnation{} : member->incarnation;
  }
  return out;
}

void BirthProtocol::judge() {
  const Configuration& now = env_.configuration;
  if (!born() || now.members.empty() || now.number < configuration_) return;
  if (!now.member(env_.options.self, self_)) be_replaced(now.number, told().members);
}

void BirthProtocol::be_replaced(std::uint32_t number, const std::vector<Incarnation>& members) {
  PAXOS_ASSERT(state_ == State::born);
  state_ = State::dormant;
  replaced_in_ = number;
  env_.record(BirthRecord{members, true, number});  // or it would come back, and vote with those that sleep
  env_.event("replaced", "dormant: " + reason());
}

void BirthProtocol::collected() {
  if (state_ != State::collecting) return;
  if (std::any_of(members_.begin(), members_.end(), [](const Incarnation& i) { return i.none(); })) return;
  PAXOS_ASSERT(vector_group_ == 0);  // nobody changes the vector once it is on its way to the disk
  vector_group_ = env_.record(BirthRecord{members_, false});
}

void BirthProtocol::on_synced() {
  if (state_ != State::collecting || vector_group_ == 0 || vector_group_ > env_.synced_group) return;
  state_ = State::announced;
  announced_.insert(env_.options.self);
  next_ = env_.now;
  if (announced_.size() == env_.options.replicas) be_born();
}

void BirthProtocol::be_born() {
  state_ = State::born;
  env_.record(BirthRecord{members_, true, configuration_});
  know_configuration();
  // Tell them at once rather than at their next question.
  env_.broadcast(told());
  if (configuration_ == 1)
    env_.event("born", "born: all replicas announced the same incarnations");
  else
    env_.event("joined", "joined: this directory takes the lost one's place in configuration " +
                             std::to_string(configuration_) + ", and votes once it has caught up with it");
  judge();
}

void BirthProtocol::on_birth(ReplicaId from, const Incarnation& from_incarnation, const paxos::Birth& m) {
  if (m.members.size() != env_.options.replicas) return;
  if (state_ == State::born) {
    if (!m.born) {
      const paxos::Birth answer = told();
      if (answer.members[from.n] != from_incarnation) newcomers_[from.n] = {from_incarnation, env_.now};
      env_.send(from, answer);
    } else if (m.configuration > told().configuration && m.members[env_.options.self.n] != self_) {
      be_replaced(m.configuration, m.members);
    }
    return;
  }
  if (state_ == State::dormant && !announces_) return;
  if (m.born) {
    if (m.members[from.n] != from_incarnation) return;
    if (m.members[env_.options.self.n] != self_) {
      if (std::exchange(announces_, true)) return;
      state_ = State::dormant;
      env_.event("dormant", "dormant: " + reason());
      return;
    }
    members_ = m.members;
    configuration_ = m.configuration;
    announces_ = false;
    be_born();
    return;
  }
  if (state_ == State::dormant) return;
  if (members_[from.n] != from_incarnation) {
    // Its own datagram is the only evidence of an incarnation. Once our vector is on its way to the disk it
    // stays: a replica that was wiped in between is a conflict for the operator, not for us to paper over.
    if (vector_group_ != 0) {
      conflict_ = from;
      return;
    }
    members_[from.n] = from_incarnation;
    collected();
  }
  if (m.synced && m.members == members_) {
    announced_.insert(from);
    if (state_ == State::announced && announced_.size() == env_.options.replicas) be_born();
  }
}

void BirthProtocol::tick() {
  if (born() || (state_ == State::dormant && !announces_) || env_.now < next_) return;
  if (state_ == State::dormant) {
    next_ = env_.now + announce_every * env_.options.election_timeout;
    env_.broadcast(paxos::Birth{.members = members_});
    return;
  }
  // Alone, and back from a crash between the vector and the birth: nobody else will say anything.
  if (state_ == State::announced && announced_.size() == env_.options.replicas) return be_born();
  next_ = env_.now + env_.options.heartbeat;
  env_.broadcast(paxos::Birth{.members = members_, .synced = state_ == State::announced});
}

Time BirthProtocol::deadline() const {
  return born() || (state_ == State::dormant && !announces_) ? time_never : next_;
}

std::vector<ReplicaId> BirthProtocol::missing() const {
  std::vector<ReplicaId> out;
  if (state_ != State::collecting && state_ != State::announced) return out;
  env_.each_peer([&](ReplicaId id) {
    if (state_ == State::collecting ? members_[id.n].none() : !announced_.contains(id)) out.push_back(id);
  });
  return out;
}

std::string BirthProtocol::reason() const {
  if (born()) return {};
  if (other_size_ != 0)
    return "this data directory belongs to a cluster of " + std::to_string(other_size_) +
           " replicas, the config names " + std::to_string(env_.options.replicas) +
           ": start it with the config it was made with";
  if (replaced_in_ != 0)
    return "another data directory has taken the place of this one, in configuration " +
           std::to_string(replaced_in_) +
           ": it never votes again. To have a replica here, start it with an empty directory";
  if (state_ == State::dormant)
    return "this data directory is not one that the cluster was born with (it was empty, or replaced): it "
           "does not vote. If its own was only moved or not mounted, put that back, never an older copy";
  if (conflict_)
    return "replica " + std::to_string(conflict_->n) +
           " lost its data directory before the cluster was born: stop all, empty every data directory, "
           "start again";
  const std::vector<ReplicaId> absent = missing();
  std::string out =
      "the cluster is not born yet: its first start needs every replica once; waiting for replica";
  if (absent.size() != 1) out += "s";
  for (std::size_t i = 0; i < absent.size(); ++i)
    out += (i == 0 ? " " : i + 1 == absent.size() ? " and " : ", ") + std::to_string(absent[i].n);
  return out;
}

}  // namespace paxos
