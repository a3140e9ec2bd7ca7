#pragma once

#include <cstdint>
#include <vector>

#include "paxos/env.h"
#include "paxos/messages.h"
#include "paxos/records.h"

namespace paxos {

/// Which life of each peer's directory counts: so that one that was rolled back, or copied, never votes on
/// what it has forgotten where anybody here knows better (DESIGN.md section 5).
///
/// Each start of a directory is a life: boot + 1, and a random number; the directory keeps the latest ones. A
/// peer's word counts once it has said which lives are behind this one, and that is on this replica's disk. A
/// copy is found out by its descent or by its log:
///  - the life that is known here is not among those before it: it comes from an earlier state than that one,
///    and so do all that come from it;
///  - its log had fewer groups when it began than a life before it was heard to have synced.
/// Neither counts, whatever it says, and it is told. What nobody here has seen can't be noticed.
///
/// A life without a number is one of the first datagram format, which has none: nothing is looked at.
class Lives {
 public:
  enum class Word : std::uint8_t {
    counts,
    not_yet,   ///< its life is not known here, or not on the disk yet
    outdated,  ///< a later life of the same directory is known here
  };

  Lives(Env& env, const std::vector<PeerRecord>& recovered);

  [[nodiscard]] Word judge(ReplicaId from, const Origin& origin) const;
  /// It is to be asked where it comes from.
  [[nodiscard]] bool wonders(ReplicaId from, const Origin& origin) const;
  /// A member tells where it comes from: its life is made known, or refused. Not `settled`: the log may yet
  /// tell that it is no member any more, so nobody takes another's place.
  void introduced(ReplicaId from, const Origin& origin, const Introduction& m, bool settled);
  /// A member says how many groups of its log are on its disk; 0: it does not.
  void heard(ReplicaId from, const Origin& origin, std::uint64_t groups);
  /// Records are written anyway: how far a peer's log goes takes a free ride, where it has grown by so much.
  void ride_along(std::uint64_t stride);
  /// A life that was heard of is not on the disk yet.
  [[nodiscard]] bool waits_for_sync() const { return last_group_ > env_.synced_group; }
  /// What an outdated one is told.
  [[nodiscard]] Outdated outdated(ReplicaId from, const Origin& origin) const;

 private:
  struct Peer {
    PeerRecord known;          ///< its life has no number: nothing is
    std::uint64_t group = 0;   ///< that holds the life
    std::uint64_t groups = 0;  ///< the highest heard of this incarnation
  };
  /// Why it is an older copy; empty: it is none.
  [[nodiscard]] std::string fault_of(const Peer& peer, const Introduction& m) const;
  std::uint64_t record(ReplicaId from, Peer& peer);

  Env& env_;
  std::vector<Peer> peers_;       ///< by replica id
  std::uint64_t last_group_ = 0;  ///< that holds a life
};

}  // namespace paxos
