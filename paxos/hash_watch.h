#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "paxos/bounds.h"
#include "paxos/configuration.h"
#include "paxos/types.h"

namespace paxos {

/// Compares the hash chain here with the peers' at equal slots (I7), and judges what a disagreement means.
///
/// A peer that computed something else *parted* from this replica in some slot above the last one in which
/// both agreed, and not above the first one in which they were seen to differ. Chains that parted never meet
/// again by themselves, so that one agreement at or above that slot shows that the peer was repaired, and the
/// disagreement is forgotten.
class HashWatch {
 public:
  /// `reached`: counts the hashes that leave the memory.
  HashWatch(ReplicaId self, std::size_t replicas, const Configuration& configuration, const Bounds& bounds,
            BoundsReached& reached)
      : self_(self), configuration_(configuration), bounds_(bounds), reached_(reached), peers_(replicas) {}

  /// A disagreement that began, or ended.
  struct News {
    ReplicaId peer;
    bool disagrees = false;
    Slot slot;  ///< where it was seen
    Hash own;
    Hash theirs;
  };

  /// The state machine here stands at `slot` with this hash. Requires the slot after the last one.
  void applied(Slot slot, const Hash& hash);
  /// So does a peer's. Its word about a slot that is not applied here yet is kept until it is.
  void heard(ReplicaId from, Slot slot, const Hash& hash);
  /// Another directory stands for this id from now on: what the one before said is forgotten.
  void replaced(ReplicaId id) { peers_[id.n] = {}; }
  /// What changed since the last call.
  [[nodiscard]] std::vector<News> take_news();

  [[nodiscard]] ReplicaSet disagreeing() const;
  /// The lowest slot in which a present disagreement was seen; none without one.
  [[nodiscard]] Slot since() const;
  /// A quorum of peers disagrees, and can have parted from this replica in one and the same slot: then it is
  /// this one that parted. Peers that parted in different slots don't make a majority against it.
  [[nodiscard]] bool outvoted() const;
  /// Some peer disagrees, and no quorum with this replica in it is known to have agreed in that slot: nobody
  /// can tell which of the two is right.
  [[nodiscard]] bool disputed() const;

 private:
  friend struct StateAccess;  // tests/explore
  struct Mark {
    Slot slot;
    Hash hash;
  };
  /// Always: agreed < *parted.
  struct Peer {
    std::optional<Mark> pending;  ///< its word about a slot that is not applied here yet
    Slot agreed;                  ///< the highest slot in which both had the same hash
    std::optional<Slot> parted;   ///< it disagrees: the lowest slot in which that was seen
  };
  [[nodiscard]] Slot last() const { return recent_.empty() ? Slot{} : recent_.back().slot; }
  void compare(std::size_t id);

  /// Those of the peers for which it holds.
  template <class F>
  [[nodiscard]] ReplicaSet those(F&& holds) const {
    ReplicaSet out;
    for (std::uint8_t id = 0; id < peers_.size(); ++id)
      if (holds(peers_[id])) out.insert(ReplicaId{id});
    return out;
  }

  ReplicaId self_;
  const Configuration& configuration_;  ///< whose quorums judge
  const Bounds& bounds_;
  BoundsReached& reached_;
  std::deque<Mark> recent_;  ///< of consecutive slots
  std::vector<Peer> peers_;
  std::vector<News> news_;
};

/// For people: "computed another state than this one by slot 7".
[[nodiscard]] std::string to_string(const HashWatch::News& news);

}  // namespace paxos
