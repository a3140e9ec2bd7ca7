#pragma once

#include <optional>
#include <string>
#include <vector>

#include "paxos/env.h"
#include "paxos/messages.h"
#include "paxos/records.h"

namespace paxos {

/// Birth and incarnations (DESIGN.md section 4). An empty directory is unborn: it collects the incarnations
/// of all configured replicas, syncs that vector, announces it, and is born once all have announced the same.
/// So a wiped directory can never vote: its new incarnation is in no born vector. It goes on announcing
/// itself, and joins once a later configuration has its incarnation (paxos/configuration.h).
///
/// Writes down in Env::configuration what a birth decided.
class BirthProtocol {
 public:
  enum class State : std::uint8_t { collecting, announced, born, dormant };

  /// `changed`: it has promised something in a later configuration than the first.
  BirthProtocol(Env& env, const Incarnation& self, const std::optional<BirthRecord>& recovered, bool changed);

  [[nodiscard]] const Incarnation& incarnation() const { return self_; }
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool born() const { return state_ == State::born; }
  /// Its directory is in no configuration, and could take a lost one's place.
  [[nodiscard]] bool announces() const { return state_ == State::dormant && announces_; }
  /// The operator took this replica out of the cluster: its directory never votes again.
  [[nodiscard]] bool removed() const { return state_ == State::dormant && replaced_in_ != 0 && removed_; }
  /// Nobody needs anything of it any more: a quorum of the configuration that took it out has come to that
  /// one, or it slept through it.
  [[nodiscard]] bool may_leave() const {
    return removed() && (env_.configuration.number < replaced_in_ || env_.configuration.is_quorum(arrived_));
  }
  /// A directory that is in no configuration, and has lately announced itself for `id`.
  [[nodiscard]] std::optional<Incarnation> newcomer(ReplicaId id) const;
  /// What is told to whoever asks who belongs to the cluster.
  [[nodiscard]] paxos::Birth told() const;
  /// The configuration is another one than before: does it still have this directory?
  void judge();
  /// Another directory stands for `id` from now on: whatever announced itself before is older, or is this
  /// one.
  void replaced(ReplicaId id) { newcomers_[id.n] = {}; }
  /// Somebody who is born speaks to this one, which is not: it asks who belongs to the cluster.
  void overheard(ReplicaId from);
  void on_birth(ReplicaId from, const Incarnation& from_incarnation, const paxos::Birth& m);
  void on_synced();
  void tick();
  [[nodiscard]] Time deadline() const;
  [[nodiscard]] std::string reason() const;              ///< why it is not born; empty when it is
  [[nodiscard]] std::vector<ReplicaId> missing() const;  ///< whom it waits for

 private:
  friend struct StateAccess;  // tests/explore: saves and loads whole states
  struct Newcomer {
    Incarnation incarnation;
    Time heard = Time::min();
  };
  void collected();
  /// Its config names it alone, and others may have joined since: so an empty directory listens for a while
  /// before it is born, or a lost disk of a grown cluster would begin another one.
  [[nodiscard]] bool listens() const { return env_.options.replicas == 1 && env_.options.capacity() > 1; }
  void be_born();
  /// In configuration `number` another directory has the place of this one, or none: it never votes again.
  void be_replaced(std::uint32_t number, const std::vector<Incarnation>& members);
  /// Who stands for this replica there; none: nobody.
  [[nodiscard]] Incarnation own_place(const std::vector<Incarnation>& members) const;
  void know_configuration();

  Env& env_;
  const Incarnation self_;
  State state_ = State::collecting;
  std::vector<Incarnation> members_;
  std::uint32_t configuration_ = 1;  ///< whose they are
  std::uint32_t replaced_in_ = 0;    ///< a configuration that has not this directory; 0: none is known
  bool removed_ = false;             ///< and no other in its place
  ReplicaSet arrived_;               ///< who says that it is in that one, or a later one
  bool announces_ = false;           ///< dormant, and could take this replica's place
  std::vector<Newcomer> newcomers_;  ///< by replica id
  std::uint64_t vector_group_ = 0;   ///< the group that holds the complete vector; 0: none yet
  ReplicaSet announced_;             ///< who announced exactly our vector
  std::optional<ReplicaId> conflict_;
  std::size_t other_size_ =
      0;  ///< replicas of the cluster that the directory belongs to, where it is not this one
  Time next_{};
  Time listens_until_ = time_never;
};

}  // namespace paxos
