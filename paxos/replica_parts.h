#pragma once

#include <optional>
#include <string>

#include "paxos/acceptor.h"
#include "paxos/birth.h"
#include "paxos/election.h"
#include "paxos/env.h"
#include "paxos/hash_watch.h"
#include "paxos/learner.h"
#include "paxos/lives.h"
#include "paxos/member_changes.h"
#include "paxos/proposer.h"
#include "paxos/reads.h"
#include "paxos/replica.h"
#include "paxos/slot_log.h"
#include "paxos/trimmer.h"
#include "paxos/wait_watch.h"

/// What a Replica is made of: the roles, and how they are joined. Internal: replica.cc, and tests that hold
/// whole states of a replica against each other (tests/explore).
namespace paxos {

struct Replica::Parts {
  Env env;
  Introduction introduction;  ///< of this life; without lives: it has no number
  SlotLog log;
  Acceptor acceptor;
  Learner learner;
  Proposer proposer;
  Election election;
  Reads reads;
  BirthProtocol birth;
  Lives lives;
  HashWatch hashes;
  Trimmer trimmer;
  std::uint64_t trim_group = 0;  ///< that lets go of the slots below first_slot()
  Hash applied_hash;
  Duration sync_age{};
  Slot prefix_recorded;
  Slot redo_from;            ///< the first slot to be redone at the start
  bool redoes_much = false;  ///< people were told, and are told when it is done
  Slot cried_for;            ///< people were told that this slot can't be had
  std::optional<std::string> diverged;
  std::string withdrawn;  ///< why its words do not count any more; empty: they do
  bool outdated = false;  ///< since a peer knows a later life of this directory
  Origin asker;           ///< of the message that is handled
  WaitWatch waits;

  Parts(const Options& options, Recovered recovered, Time now);

  /// It hears the others, and follows. Whether its words count in a quorum is voting().
  [[nodiscard]] bool takes_part() const { return birth.born() && !diverged && withdrawn.empty(); }
  [[nodiscard]] bool voting() const {
    return takes_part() && env.configuration.voter(env.options.self, birth.incarnation());
  }
  /// Why not, of one that takes part.
  [[nodiscard]] std::string why_no_voter() const;
  [[nodiscard]] Election::Surroundings around() const;
  [[nodiscard]] std::optional<ReplicaId> leader() const;
  /// As a leader it could propose nothing for a while: its state is far behind its own log, or can't follow.
  [[nodiscard]] bool lags() const;

  /// By links alone, whatever their disks do.
  [[nodiscard]] bool quorum_connected() const;
  void take_over(const std::string& why);
  /// The slot before `next.begins` was applied: from here on this configuration decides.
  void enter(Configuration next);
  ChangeResult propose_change(const MemberChange& change);
  /// A leader's: the first of the learners that keep up, and wait for nobody's word, becomes a voter.
  void promote_learners();
  /// Whose disks are full, itself among them, as far as it hears.
  [[nodiscard]] ReplicaSet full() const;
  /// What follows from full disks for this replica. Says when they begin and cease to keep everybody from
  /// deciding anything.
  void judge_room();
  /// After every input: lets each role draw its conclusions from what the others did.
  void conclude();
  void watch_waits();
  /// Lets go of what the state and the slow ones do not need any more.
  void trim();
  /// Where nobody has the next slot: says so, and who has a state that helps.
  void cry();
  [[nodiscard]] SnapshotWish snapshot_wish() const;
  /// Says what is new about disagreements; outvoted, this replica stops.
  void judge_hashes();

  /// A message of another member, to a replica that votes: what each role makes of it.
  void handle(ReplicaId from, const Origin& origin, const PeerMessage& message);
  /// The same of a directory that is not in this configuration: it belongs to a later one, of which this
  /// replica has to learn; or it was replaced, and has to be told.
  void hear_stranger(ReplicaId from, const Origin& origin, const PeerMessage& message);
  /// Why it never votes again.
  void be_outdated(const OutdatedRecord& record);

 private:
  void on(ReplicaId from, const HeartbeatRequest& m);
  void on(ReplicaId from, const HeartbeatReply& m);
  void on(ReplicaId from, const HandOver& m);
  void on(ReplicaId from, const Prepare& m);
  void on(ReplicaId from, const Promise& m);
  void on(ReplicaId from, const Accept& m);
  void on(ReplicaId from, const Accepted& m);
  void on(ReplicaId from, const Nack& m);
  void on(ReplicaId from, const Commit& m);
  void on(ReplicaId from, const LearnRequest& m);
  void on(ReplicaId from, const LearnReply& m);
  void on(ReplicaId from, const ReadConfirm& m);
  void on(ReplicaId from, const ReadConfirmed& m);
  void on(ReplicaId from, const ReadRequest& m);
  void on(ReplicaId from, const ReadReply& m);
  void on(ReplicaId from, const Birth& m);
  void on(ReplicaId from, const Forward& m);
  void on(ReplicaId from, const Outdated& m);
  void on(ReplicaId from, const Introduce& m);
  void on(ReplicaId from, const Introduction& m);
};

}  // namespace paxos
