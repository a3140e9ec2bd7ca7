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
/// So a wiped directory can never vote: its new incarnation is in no born vector.
class BirthProtocol {
 public:
  enum class State : std::uint8_t { collecting, announced, born, dormant };

  BirthProtocol(Env& env, const Incarnation& self, const std::optional<BirthRecord>& recovered);

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool born() const { return state_ == State::born; }
  /// May a message of this sender count? Only members of the born vector do. Requires born().
  [[nodiscard]] bool member(ReplicaId id, const Incarnation& incarnation) const;
  void on_birth(ReplicaId from, const Incarnation& from_incarnation, const paxos::Birth& m);
  void on_synced();
  void tick();
  [[nodiscard]] Time deadline() const;
  [[nodiscard]] std::string reason() const;              ///< why it is not born; empty when it is
  [[nodiscard]] std::vector<ReplicaId> missing() const;  ///< whom it waits for

 private:
  friend struct StateAccess;  // tests/explore: saves and loads whole states
  void collected();
  void be_born();

  Env& env_;
  State state_ = State::collecting;
  std::vector<Incarnation> members_;
  std::uint64_t vector_group_ = 0;  ///< the group that holds the complete vector; 0: none yet
  ReplicaSet announced_;            ///< who announced exactly our vector
  std::optional<ReplicaId> conflict_;
  std::size_t other_size_ =
      0;  ///< replicas of the cluster that the directory belongs to, where it is not this one
  Time next_{};
};

}  // namespace paxos
