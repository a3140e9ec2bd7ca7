#include "paxos/birth.h"

#include <algorithm>
#include <utility>

#include "paxos/invariant.h"

namespace paxos {

namespace {
/// In election timeouts: how often a dormant directory says that it is there, and how long that is believed.
constexpr int announce_every = 1;
constexpr int announced_for = 4;
constexpr int listened_for = 2;
}  // namespace

BirthProtocol::BirthProtocol(Env& env, const Incarnation& self, const std::optional<BirthRecord>& recovered,
                             bool changed)
    : env_(env), self_(self), members_(env.options.replicas), newcomers_(env.options.capacity()) {
  members_[env.options.self.n] = self;
  if (recovered) {
    // Who votes is counted by the configuration. But what was begun with another config can't be born with
    // this one; and a config that names fewer than were born together, where nobody was taken out since, is
    // another cluster's.
    changed = changed || recovered->configuration > 1 || env.configuration.number > 1;
    if (recovered->born ? recovered->members.size() > env.options.replicas && !changed
                        : recovered->members.size() != env.options.replicas) {
      state_ = State::dormant;
      other_size_ = recovered->members.size();
      return;
    }
    if (own_place(recovered->members) != self) {
      state_ = State::dormant;
      if (recovered->configuration > 1) {
        replaced_in_ = recovered->configuration;
        removed_ = own_place(recovered->members).none();
      }
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
  if (!listens()) collected();
}

void BirthProtocol::overheard(ReplicaId from) {
  if (state_ != State::collecting) return;
  env_.send(from, paxos::Birth{.members = members_});
}

Incarnation BirthProtocol::own_place(const std::vector<Incarnation>& members) const {
  return env_.options.self.n < members.size() ? members[env_.options.self.n] : Incarnation{};
}

void BirthProtocol::know_configuration() {
  for (std::uint8_t id = 0; id < members_.size() && id < env_.options.capacity(); ++id)
    if (!members_[id].none()) env_.named.insert({id});
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
  out.members.assign(std::max(out.members.size(), env_.configuration.members.size()), Incarnation{});
  for (std::uint8_t id = 0; id < out.members.size(); ++id)
    if (env_.configuration.holds({id})) out.members[id] = env_.configuration.find({id})->incarnation;
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
  removed_ = own_place(members).none();
  env_.record(BirthRecord{members, true, number});  // or it would come back, and vote with those that sleep
  env_.event(removed_ ? "removed" : "replaced", (removed_ ? "removed: " : "dormant: ") + reason());
}

void BirthProtocol::collected() {
  if (state_ != State::collecting || !env_.options.founds) return;
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
    env_.event("joined", "joined: this directory is in configuration " + std::to_string(configuration_) +
                             ", and catches up with it");
  judge();
}

void BirthProtocol::on_birth(ReplicaId from, const Incarnation& from_incarnation, const paxos::Birth& m) {
  const auto senders_place = [&](const std::vector<Incarnation>& members) {
    return from.n < members.size() ? members[from.n] : Incarnation{};
  };
  if (state_ == State::born) {
    if (!m.born) {
      paxos::Birth answer = told();
      if (senders_place(answer.members) != from_incarnation)
        newcomers_[from.n] = {from_incarnation, env_.now};
      env_.send(from, std::move(answer));
    } else if (m.configuration > told().configuration && own_place(m.members) != self_) {
      be_replaced(m.configuration, m.members);
    }
    return;
  }
  if (removed() && m.born && m.configuration >= replaced_in_ && senders_place(m.members) == from_incarnation)
    arrived_.insert(from);
  if (state_ == State::dormant && !announces_) return;
  if (m.born) {
    if (senders_place(m.members) != from_incarnation) return;
    if (own_place(m.members) != self_) {
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
  // A config of another size: its replicas can't be born together with these.
  if (state_ == State::dormant || m.members.size() != members_.size() || from.n >= members_.size()) return;
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
  if (removed() && env_.now >= next_) {
    // Who is in the configuration without it answers with that.
    next_ = env_.now + announce_every * env_.options.election_timeout;
    return env_.broadcast(HeartbeatRequest{env_.random.next(), replaced_in_});
  }
  if (born() || (state_ == State::dormant && !announces_) || env_.now < next_) return;
  if (state_ == State::dormant) {
    next_ = env_.now + announce_every * env_.options.election_timeout;
    env_.broadcast(paxos::Birth{.members = members_});
    return;
  }
  if (state_ == State::collecting && listens()) {
    if (listens_until_ == time_never)
      listens_until_ = env_.now + listened_for * env_.options.election_timeout;
    next_ = listens_until_;
    if (env_.now >= listens_until_) collected();
    if (vector_group_ != 0) next_ = time_never;
    return;
  }
  // Alone, and back from a crash between the vector and the birth: nobody else will say anything.
  if (state_ == State::announced && announced_.size() == env_.options.replicas) return be_born();
  next_ = env_.now + env_.options.heartbeat;
  env_.broadcast(paxos::Birth{.members = members_, .synced = state_ == State::announced});
}

Time BirthProtocol::deadline() const {
  if (removed()) return next_;
  return born() || (state_ == State::dormant && !announces_) ? time_never : next_;
}

std::vector<ReplicaId> BirthProtocol::missing() const {
  std::vector<ReplicaId> out;
  if (state_ != State::collecting && state_ != State::announced) return out;
  env_.each_peer([&](ReplicaId id) {
    if (id.n >= members_.size()) return;
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
  if (removed())
    return "this replica was taken out of the cluster, in configuration " + std::to_string(replaced_in_) +
           ": its directory never votes again. To have it back, start it with an empty directory, and say "
           "`paxosctl member add`";
  if (replaced_in_ != 0)
    return "another data directory has taken the place of this one, in configuration " +
           std::to_string(replaced_in_) +
           ": it never votes again. To have a replica here, start it with an empty directory";
  if (state_ == State::dormant)
    return "this data directory is not one that the cluster was born with (it was empty, or replaced): it "
           "does not vote. If its own was only moved or not mounted, put that back, never an older copy; a "
           "new replica waits for `paxosctl member add`";
  if (conflict_)
    return "replica " + std::to_string(conflict_->n) +
           " lost its data directory before the cluster was born: stop all, empty every data directory, "
           "start again";
  if (!env_.options.founds)
    return "it waits until `paxosctl member add` takes it into the cluster: none is born with the " +
           std::to_string(env_.options.replicas) + " replicas of its config, an even number";
  const std::vector<ReplicaId> absent = missing();
  if (absent.empty() && listens()) return "it listens for a moment whether its cluster has grown meanwhile";
  std::string out =
      "the cluster is not born yet: its first start needs every replica once; waiting for replica";
  if (absent.size() != 1) out += "s";
  for (std::size_t i = 0; i < absent.size(); ++i)
    out += (i == 0 ? " " : i + 1 == absent.size() ? " and " : ", ") + std::to_string(absent[i].n);
  return out;
}

}  // namespace paxos
