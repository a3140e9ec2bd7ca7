#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "paxos/birth.h"
#include "paxos/proposer.h"
#include "tests/paxos/cluster.h"

/// Every state that a replica can stand in, each built by real inputs: the rows of the matrix
/// (matrix_test.cc).
namespace paxos_test {

enum class Stand : std::uint8_t {
  unborn_collecting,     ///< an empty directory of a new cluster, one peer not heard of yet
  unborn_announced,      ///< its vector is synced and announced, one peer's announcement is missing
  dormant,               ///< an empty directory of a born cluster
  diverged,              ///< its state disagrees with a quorum's
  follower,              ///< of 1, with a vote that is not known to be chosen
  follower_of_another,   ///< of 2: the speaker is nobody special
  follower_syncing,      ///< promise and vote are not on the disk yet
  follower_reading,      ///< asked the leader for a read index
  follower_catching_up,  ///< asked 1 for slots that it lacks
  follower_held,         ///< the state machine takes nothing for now
  deposed,               ///< led until a Nack; follows nobody new yet
  candidate_syncing,     ///< its own promise is not on the disk yet
  candidate_preparing,   ///< pulls promises
  candidate_paging,      ///< has the first page of a promise and asked for the next
  candidate_learning,    ///< has a quorum's promises and learns what its acceptors know
  leader_adopting,       ///< proposes what phase 1 adopted
  leader_idle,
  leader_proposing,     ///< a slot is under way, its own vote synced
  leader_syncing,       ///< a slot is under way, its own vote not synced
  leader_with_hole,     ///< left a slot empty
  leader_reading,       ///< waits for confirmations of a read
  leader_handing_over,  ///< told a successor to take over
};
inline constexpr std::size_t stands = 22;

/// What a role is called here and in status(), and the states inside it that nobody else sees.
struct Inside {
  Role role = Role::follower;
  Proposer::Phase phase = Proposer::Phase::idle;
  BirthProtocol::State birth = BirthProtocol::State::born;
  bool diverged = false;
  friend bool operator==(const Inside&, const Inside&) = default;
};
[[nodiscard]] Inside look_inside(const Replica& replica);

/// What a stand must look like inside, decided beside how it is built.
[[nodiscard]] const char* name_of(Stand stand);
[[nodiscard]] Inside inside_of(Stand stand);

/// A cluster of three whose replica 0 stands so, with nothing under way; 1 will speak to it.
struct Scene {
  Stand stand{};
  std::unique_ptr<Cluster> cluster;
  std::uint64_t nonce = 0;       ///< of a heartbeat that 0 asked 1 and that is not answered
  std::uint64_t read_nonce = 0;  ///< of its read round
  std::uint64_t read_id = 0;     ///< of what it asked the leader

  [[nodiscard]] Ballot promised() const { return cluster->status(0).ballot; }
  [[nodiscard]] Slot prefix() const { return cluster->status(0).chosen; }
  [[nodiscard]] Slot top() const { return cluster->status(0).accepted; }
  [[nodiscard]] bool voting() const { return cluster->status(0).voting; }
  [[nodiscard]] Inside inside() const { return look_inside((*cluster)[0]); }
  [[nodiscard]] bool leads() const { return inside().phase == Proposer::Phase::leading; }
  [[nodiscard]] bool active() const { return inside().phase != Proposer::Phase::idle; }
  /// Whose ballot it promised.
  [[nodiscard]] bool promised_to(std::uint8_t id) const { return promised().replica == ReplicaId{id}; }
};
[[nodiscard]] Scene scene(Stand stand);

}  // namespace paxos_test
