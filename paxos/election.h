#pragma once

#include <optional>
#include <string>
#include <vector>

#include "paxos/env.h"
#include "paxos/messages.h"
#include "paxos/slot_log.h"

namespace paxos {

/// Ballot leader election by connectivity.
///
/// Source: Ng, Haridi, Carbone, Omni-Paxos (EuroSys 2023), section 5, with these rules spelled out:
///  1. *Connected* to a peer: it answered a nonce of ours that is at most one election timeout old. So a
///     link counts only when it works both ways, and nothing from an earlier boot counts.
///  2. *Working* peer: connected, and its oldest unfinished sync is younger than an election timeout.
///     *Quorum-connected*: a quorum of working replicas, this one included.
///  3. Every replica follows a leader ballot; it takes a higher one from a peer that proposes with it, that
///     is happy with it, or whose Prepare or Accept it accepted. It never goes back. Only who proposes names a ballot of its
///     own: the one that a replica promised itself before a restart is nobody's.
///  4. *Happy*: I lead, my proposer runs, and working peers that follow nothing higher make a quorum
///     with me; or I am connected to my leader and it says that it is happy.
///  5. *Content*: happy, or a connected peer is happy with the leader that I follow. One hop only, so
///     that two replicas can't vouch to each other for a dead leader. One hop is enough: the quorums of
///     two quorum-connected replicas share a replica.
///  6. Only a replica that is not content and quorum-connected raises its ballot, above every ballot it has
///     seen. A Nack never does.
///  7. A leader with a sick disk is unhappy while a connected candidate has a healthy one, and so is everyone who follows
///     it and is connected to a candidate, or is one: the leader may not hear that candidate.
///     The same holds for a leader that answers heartbeats, but sent none of its own for two election timeouts (one is
///     what loss and leaps of our own clock cost now and then): its timers don't run, its clock stands still. Whoever
///     sends none, its word that it is happy, or a candidate, counts for nothing, since it can't judge any more; its vote
///     counts as any other.
///  8. A leader ballot that was taken up less than an election timeout ago counts as content: its owner has
///     not had the time to say that it is happy, and to depose it for that would never end.
///  9. Whose proposer stopped because it lost its quorum, or its own disk did, is content for an election timeout: each new
///     ballot of it would count as fresh (rule 8), and keep everyone else quiet for ever. So is a candidate whom a Nack
///     stopped: whoever got ahead of it may be one that it does not hear, needs time for phase 1, and is vouched for only
///     some heartbeats later (rules 3 and 5).
/// Rule 5 keeps a flapping or missing link between a follower and the leader from costing a leader change.
class Election {
 public:
  Election(Env& env, Ballot promised);

  /// What the rest of the replica contributes to each evaluation. Only who votes is asked to evaluate at all.
  struct Surroundings {
    bool proposing = false;  ///< the proposer runs (phase 1 or 2) with own_ballot()
    Ballot promised;
    Slot chosen_prefix;
    Slot applied;
    Hash hash;
    Duration sync_age{};
  };

  void on_request(ReplicaId from, const HeartbeatRequest& m, const Surroundings& around);
  /// Returns true when the nonce was ours and fresh.
  bool on_reply(ReplicaId from, const HeartbeatReply& m);
  /// This acceptor promised or accepted at `ballot`.
  void follow(Ballot ballot);
  /// A Nack, or the loss of its quorum, stopped this replica's proposer.
  void yield() { yielded_ = env_.now; }
  /// Sends heartbeats when they are due; true when this replica should take over with own_ballot().
  [[nodiscard]] bool tick(const Surroundings& around);
  /// Raises the own ballot above everything seen, at once (hand-over, tests).
  void campaign(const Surroundings& around);

  [[nodiscard]] Time deadline() const;
  [[nodiscard]] Ballot own_ballot() const { return own_; }
  [[nodiscard]] Ballot leader() const { return leader_; }
  [[nodiscard]] bool content() const { return content_; }
  [[nodiscard]] bool connected(ReplicaId id) const;
  [[nodiscard]] ReplicaSet connected() const;
  [[nodiscard]] bool quorum_connected() const { return quorum_connected_; }
  /// Lost its quorum for good: a leader stops proposing.
  [[nodiscard]] bool healthy_disk(const Surroundings& around) const;
  /// The connected candidate that knows most; for a hand-over.
  [[nodiscard]] std::optional<ReplicaId> successor() const;
  /// The highest rules that every replica's program knows; none while one of them isn't connected.
  [[nodiscard]] std::optional<std::uint16_t> rules_known_by_all() const;
  [[nodiscard]] std::uint64_t leader_changes() const { return leader_changes_; }

 private:
  friend struct StateAccess;  // tests/explore: saves and loads whole states
  struct Nonce {
    std::uint64_t value = 0;
    Time sent{};
  };
  struct Peer {
    std::vector<Nonce> sent;   ///< of the last election timeout
    Time heard = Time::min();  ///< when the newest answered nonce was sent
    Time asked = Time::min();  ///< when its last heartbeat came, or when we were connected again
    HeartbeatReply last;
  };
  void evaluate(const Surroundings& around);
  void set_leader(Ballot ballot);
  [[nodiscard]] bool working(ReplicaId id) const;  ///< its disk; requires connected(id)
  [[nodiscard]] bool ticking(ReplicaId id) const;  ///< its clock; requires connected(id)

  Env& env_;
  std::vector<Peer> peers_;
  Ballot own_;
  Ballot leader_;
  bool happy_ = false;
  bool content_ = false;
  bool candidate_ = false;
  bool quorum_connected_ = false;
  Time leader_since_ = Time::min();
  Time yielded_ = Time::min();  ///< rule 9; of no ballot but own_
  std::optional<Time> discontent_since_;
  Duration patience_{};  ///< this time's wait before taking over
  Time next_heartbeat_{};
  Time evaluated_ = Time::min();  ///< when all of this was judged last
  std::uint64_t leader_changes_ = 0;
};

}  // namespace paxos
