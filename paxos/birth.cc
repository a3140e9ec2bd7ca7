#include "paxos/birth.h"

#include <algorithm>

#include "paxos/invariant.h"

namespace paxos {

BirthProtocol::BirthProtocol(Env& env, const Incarnation& self, const std::optional<BirthRecord>& recovered)
    : env_(env), members_(env.options.replicas) {
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
      return;
    }
    members_ = recovered->members;
    if (recovered->born) {
      state_ = State::born;
      return;
    }
    // The vector was synced before the restart; the announcements of the others are asked for again.
    state_ = State::announced;
    vector_group_ = env.last_group;
    announced_.insert(env.options.self);
  }
  collected();
}

bool BirthProtocol::member(ReplicaId id, const Incarnation& incarnation) const {
  return members_[id.n] == incarnation;
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
  env_.record(BirthRecord{members_, true});
  // Tell them at once rather than at their next question.
  env_.broadcast(paxos::Birth{members_, true, true});
  env_.event("born", "born: all replicas announced the same incarnations");
}

void BirthProtocol::on_birth(ReplicaId from, const Incarnation& from_incarnation, const paxos::Birth& m) {
  if (m.members.size() != env_.options.replicas) return;
  if (state_ == State::born) {
    if (!m.born) env_.send(from, paxos::Birth{members_, true, true});
    return;
  }
  if (state_ == State::dormant) return;
  if (m.born) {
    if (m.members[from.n] != from_incarnation) return;
    if (m.members[env_.options.self.n] != members_[env_.options.self.n]) {
      state_ = State::dormant;
      env_.event("dormant", "dormant: " + reason());
      return;
    }
    members_ = m.members;
    be_born();
    return;
  }
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
  if (born() || state_ == State::dormant || env_.now < next_) return;
  // Alone, and back from a crash between the vector and the birth: nobody else will say anything.
  if (state_ == State::announced && announced_.size() == env_.options.replicas) return be_born();
  next_ = env_.now + env_.options.heartbeat;
  env_.broadcast(paxos::Birth{members_, state_ == State::announced, false});
}

Time BirthProtocol::deadline() const { return born() || state_ == State::dormant ? time_never : next_; }

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
