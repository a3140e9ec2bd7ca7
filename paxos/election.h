#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "paxos/env.h"
#include "paxos/messages.h"
#include "paxos/slot_log.h"

namespace paxos {

// clang-format off
/// Ballot leader election by connectivity.
/// Source: Ng, Haridi, Carbone, Omni-Paxos (EuroSys 2023), section 5. Its states, spelled out:
///
/// | State            | of               | when                                                                 |
/// | ---------------- | ---------------- | -------------------------------------------------------------------- |
/// | connected        | a peer           | it answered a nonce of ours that is at most one election timeout old |
/// | counted          | a connected peer | it is a voter of this replica's configuration, and has come to it,   |
/// |                  |                  | or is at most a window short of where it begins                      |
/// | working          | a connected peer | its oldest unfinished sync is younger than an election timeout       |
/// | ticking          | a connected peer | it sent a heartbeat of its own within two election timeouts          |
/// | healthy          | this replica     | its oldest unfinished sync is younger than an election timeout       |
/// | quorum-connected | this replica     | the counted working peers, and itself where healthy, are a quorum    |
/// | full             | a replica        | its disk has no room for new decrees, as it says                     |
/// | roomy            | a connected peer | counted, working and not full                                        |
/// | able             | this replica     | healthy, not full, and neither redoing more than a window of its own |
/// |                  |                  | log nor in need of a snapshot; and connected to a quorum of roomy    |
/// |                  |                  | ones, unless the full that it hears of leave nobody such a quorum    |
/// | entitled         | this replica     | a voter of its configuration, of which it does not know that it is   |
/// |                  |                  | closed, nor that somebody leads in a later one                       |
/// | candidate        | a replica        | quorum-connected, entitled and able; a peer only while it is counted |
/// |                  |                  | and ticking                                                          |
/// | followed         | a ballot         | the highest that it promised or accepted at, or that a peer named    |
/// |                  |                  | who proposes with it, or is happy with it                            |
/// | happy            | a leader         | it proposes with the followed ballot; with it, counted working peers |
/// |                  |                  | that follow nothing higher are a quorum; unless it is not able, and  |
/// |                  |                  | connected to a candidate                                             |
/// | happy            | a follower       | the leader is connected, and says that it is happy; unless that one  |
/// |                  |                  | is full, not working, or not ticking, and this replica is a          |
/// |                  |                  | candidate, or connected to one                                       |
/// | vouched          | a follower       | a ticking peer is happy with the leader that is followed             |
/// | fresh            | a follower       | it took up the followed ballot less than an election timeout ago     |
/// | resting          | whose own ballot | its proposer was stopped less than an election timeout ago, by a     |
/// |                  | is followed      | Nack, or by the loss of its quorum                                   |
/// | content          | a replica        | happy, vouched, fresh or resting: Mood                               |
/// | eligible         | a replica        | quorum-connected and entitled, and able or connected to no candidate |
///
/// One rule: who is eligible and not content raises its ballot above every one that it has seen, after a short patience,
/// and takes over. Nothing else raises a ballot; a Nack never does. Why the states are what they are:
///  - connected: so that a link counts only when it works both ways, and nothing from an earlier boot counts.
///  - followed: it never goes back. Only who proposes names a ballot of its own: the one that a replica promised itself
///    before a restart is nobody's.
///  - happy: a leader with a sick disk yields to a candidate, and so does everyone who follows it and is connected to a
///    candidate, or is one: the leader may not hear that candidate. The same holds for one whose clock stands still.
///  - able: who lags votes as any other, but as a leader it would keep everybody waiting. Where all lag, one leads.
///  - full: it promises and confirms reads as any other, so that one leads, and is read from, though the disks of all
///    are full. It waits half an election timeout longer before it runs: who has room may be about to. And a leader
///    whose quorum has a full one in it, and so decides nothing, yields to a candidate that has a quorum without.
///  - ticking: who answers, but sends no heartbeats, has timers that don't run. Its word that it is happy, or a
///    candidate, counts for nothing, since it can't judge any more; its vote counts as any other. Two timeouts: one is
///    what loss and leaps of our own clock cost now and then.
///  - vouched: keeps a flapping or missing link between a follower and the leader from costing a leader change. One hop
///    only, so that two replicas can't vouch to each other for a dead leader. One hop is enough: the quorums of two
///    quorum-connected replicas share a replica.
///  - fresh: its owner has not had the time to say that it is happy, and to depose it for that would never end.
///  - counted: who is still in an earlier configuration can't vote yet; but most are only about to apply the last slot of
///    it, and whoever led it begins at once.
///  - resting: each new ballot would be fresh to the others, and keep everyone quiet for ever. After a Nack, too: whoever
///    got ahead may be one that is not heard here, needs time for phase 1, and is vouched for only some heartbeats later.
// clang-format on
class Election {
 public:
  Election(Env& env, Ballot promised);

  /// Why this replica leaves the leadership alone: the first of these that holds.
  enum class Mood : std::uint8_t { happy, vouched, fresh, resting, discontent };

  /// What the rest of the replica contributes to each evaluation. Only who votes is asked to evaluate at all.
  struct Surroundings {
    bool proposing = false;  ///< the proposer runs (phase 1 or 2) with own_ballot()
    Ballot promised;
    Slot chosen_prefix;
    Slot applied;
    Hash hash;
    Duration sync_age{};
    bool lags = false;         ///< see Replica::Parts
    std::uint64_t groups = 0;  ///< to be told: see HeartbeatReply
    bool entitled = false;
    bool voting = false;
    bool full = false;
    bool tells_full = false;  ///< whoever is answered reads it
  };

  void on_request(ReplicaId from, const HeartbeatRequest& m, const Surroundings& around);
  /// Returns true when the nonce was ours and fresh.
  /// `strange`: the sender is in a later configuration, and this one does not have its directory.
  bool on_reply(ReplicaId from, const HeartbeatReply& m, bool strange = false);
  /// This acceptor promised or accepted at `ballot`.
  void follow(Ballot ballot);
  /// A Nack, or the loss of its quorum, stopped this replica's proposer.
  void yield() { yielded_ = env_.now; }
  /// Sends heartbeats when they are due; true when this replica should take over with own_ballot().
  [[nodiscard]] bool tick(const Surroundings& around);
  /// Raises the own ballot above everything seen, at once (hand-over, tests). Requires may_campaign().
  void campaign(const Surroundings& around);
  [[nodiscard]] bool may_campaign(const Surroundings& around) const {
    return around.entitled && leader_.configuration <= env_.configuration.number;
  }
  /// This replica is in no configuration any more: it is happy with nobody, and no candidate.
  void leave() {
    mood_ = Mood::discontent;
    candidate_ = false;
  }
  /// Another configuration is in force, in which these ids stand for other directories than before, and those
  /// learners, which keep up, vote from now on: their last word was of before.
  void entered(const ReplicaSet& changed, const ReplicaSet& promoted);

  [[nodiscard]] Time deadline() const;
  [[nodiscard]] Ballot own_ballot() const { return own_; }
  [[nodiscard]] Ballot leader() const { return leader_; }
  [[nodiscard]] bool content() const { return mood_ != Mood::discontent; }
  [[nodiscard]] bool connected(ReplicaId id) const;
  [[nodiscard]] ReplicaSet connected() const;
  /// Connected, a voter of this replica's configuration, and no further behind than it may be.
  [[nodiscard]] bool counted(ReplicaId id) const;
  /// In this configuration, its disk working, at most a window behind `applied`: it can take part in the next
  /// one at once.
  [[nodiscard]] bool keeps_up(ReplicaId id, Slot applied) const;
  /// Counted, and keeps up.
  [[nodiscard]] bool caught_up(ReplicaId id, Slot applied) const {
    return counted(id) && keeps_up(id, applied);
  }
  /// The leadership can be handed over to it.
  [[nodiscard]] bool candidate(ReplicaId id) const;
  /// Connected voters that say that their disks are full.
  [[nodiscard]] ReplicaSet full() const;
  /// Peers that can vote for something new; see the table.
  [[nodiscard]] ReplicaSet roomy() const;
  /// What it said last; requires connected(id).
  [[nodiscard]] Slot applied_of(ReplicaId id) const { return peers_[id.n].last.applied; }
  /// False: a leader stops proposing.
  [[nodiscard]] bool quorum_connected() const { return quorum_connected_; }
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
    bool strange = false;   ///< `last` came from a directory that is not in this configuration
    bool promoted = false;  ///< it votes, though `last`, of the configuration before, says otherwise
  };
  /// What the connected peers say now.
  struct Survey {
    ReplicaSet working;         ///< and counted
    ReplicaSet followers;       ///< of those, the ones that follow nothing above own_
    bool candidate = false;     ///< one of them is
    bool leader_happy = false;  ///< says the leader, and that it proposes
    bool leader_sick = false;   ///< it says so, and is full, not working, or not ticking
    bool vouched = false;
  };
  void evaluate(const Surroundings& around);
  [[nodiscard]] Survey survey() const;
  [[nodiscard]] Mood mood_of_leader(const Surroundings& around, const Survey& seen) const;
  [[nodiscard]] Mood mood_of_follower(const Survey& seen) const;
  [[nodiscard]] Duration draw_patience(const Surroundings& around);
  void set_leader(Ballot ballot);
  [[nodiscard]] bool lately(Time when) const;  ///< less than an election timeout ago
  [[nodiscard]] bool healthy(const Surroundings& around) const;
  [[nodiscard]] bool able(const Surroundings& around) const {
    return healthy(around) && !around.lags && !around.full && roomy_quorum_;
  }
  [[nodiscard]] bool working(ReplicaId id) const;  ///< requires connected(id)
  [[nodiscard]] bool ticking(ReplicaId id) const;  ///< requires connected(id)

  Env& env_;
  std::vector<Peer> peers_;
  Ballot own_;
  Ballot leader_;  ///< the followed one
  Mood mood_ = Mood::discontent;
  bool candidate_ = false;
  bool quorum_connected_ = false;
  /// The roomy ones, itself among them, are a quorum; or nobody's can be, as far as it hears who is full.
  bool roomy_quorum_ = true;
  Time leader_since_ = Time::min();  ///< fresh since
  Time yielded_ = Time::min();       ///< resting since; of no ballot but own_
  std::optional<Time> discontent_since_;
  Duration patience_{};  ///< this time's wait before taking over
  Time next_heartbeat_{};
  Time evaluated_ = Time::min();  ///< when all of this was judged last
  std::uint64_t leader_changes_ = 0;
};

}  // namespace paxos
