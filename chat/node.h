#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "chat/desk.h"
#include "chat/forgetter.h"
#include "chat/machine.h"
#include "chat/redactor.h"
#include "paxos/replica.h"

/// One whole replica, pure: protocol, state machine and front desk joined. The daemon and the simulator run
/// this same class; around it is only I/O.
namespace chat {

/// One atomic group for the log thread, and what may leave once it is synced.
struct GroupWrite {
  std::uint64_t group = 0;
  std::vector<paxos::Record> records;  ///< empty: only wait for `group`, which was handed out before
  std::vector<paxos::Envelope> send_after_sync;
};

/// Rows of one applied slot, for the state thread. In slot order; each slot's log record is synced already.
struct StateWrite {
  paxos::Slot slot;
  std::vector<Row> rows;
};

/// What a turn wants done. All of it must be carried out, in any order between the members: `send_now`
/// goes out while the groups are being synced.
struct NodeOutput {
  std::vector<GroupWrite> groups;  ///< ascending
  std::vector<paxos::Envelope> send_now;
  std::vector<StateWrite> state;
  std::vector<Reply> replies;
  std::vector<HistoryWish> history;           ///< read after all of `state`; answer with history_read()
  std::vector<paxos::LogReadWish> log_reads;  ///< answer with log_read()
  std::optional<paxos::SnapshotWish> snapshot_wanted;  ///< see paxos::Ready
  std::optional<paxos::Slot> hashes_below;  ///< storage::Storage::drop_hashes(), after all of `state`
  std::vector<MessageName> forget;          ///< storage::Storage::forget_messages(), likewise
  std::vector<ErasePlan> erase_plans;       ///< advance() them after all of `state` until they are complete;
                                            ///< answer with erase_planned()
  std::vector<Erasure> erasures;            ///< answer with erased()
  std::vector<Row> own_rows;                ///< this replica's own, to be written after all of `state`
  std::vector<paxos::Event> events;
  std::string
      stop;  ///< not empty: this replica can't go on, and why; nothing after this output is to be asked of it
  /// Of slots proposed here and applied now: how long it took from the one to the other.
  std::vector<paxos::Duration> commits;

  /// Keeps its memory.
  void clear();
};

/// Loop thread only. Inputs may be many a turn; turn() ends it and gives the effects.
class Node {
 public:
  Node(const paxos::Options& options, paxos::Recovered recovered, Machine machine, paxos::Time now,
       const NodeBounds& bounds = {});

  void peer_message(paxos::Time now, paxos::ReplicaId from, const paxos::Origin& origin,
                    const paxos::PeerMessage& message);
  /// See paxos::Replica. To be asked before peer_message().
  [[nodiscard]] std::optional<paxos::Outdated> outdated(paxos::ReplicaId from,
                                                        const paxos::Origin& origin) const {
    return replica_.outdated(from, origin);
  }
  /// `whose`: the key under which it came.
  void client_message(paxos::Time now, const ClientAddress& from, const Credential& whose,
                      const ClientMessage& message);
  void synced(paxos::Time now, std::uint64_t group);
  /// See paxos::Replica. To be asked after turn().
  [[nodiscard]] bool waits_for_sync() const { return replica_.waits_for_sync(); }
  /// While held, nothing is applied: the rows of what was applied wait for a disk that does not keep up.
  void hold_applying(paxos::Time now, bool held);
  void set_sync_age(paxos::Time now, paxos::Duration age);
  /// See paxos::Replica.
  void set_room(paxos::Time now, paxos::DiskRoom room);
  /// See paxos::Replica.
  void withdraw(paxos::Time now, std::string why);
  [[nodiscard]] const std::string& withdrawn() const { return replica_.withdrawn(); }
  void history_read(paxos::Time now, std::uint64_t token, tl::expected<Page, std::string> page);
  void erase_planned(paxos::Time now, ErasePlan plan);
  /// `fault`: why it was not done; empty: it was.
  void erased(paxos::Time now, std::uint64_t token, const std::string& fault);
  void log_read(paxos::Time now, const paxos::LogReadWish& wish, std::vector<paxos::ChosenDecree> decrees);
  /// See paxos::Replica. In force once the disk holds rules whose log may be trimmed (chat/versions.h).
  void set_slack(paxos::Time now, std::optional<paxos::TrimSlack> slack);
  void cut_log(paxos::Time now, paxos::Slot first);
  void state_durable(paxos::Time now, paxos::Slot slot);
  void hold_log(paxos::Time now, paxos::ReplicaId peer, paxos::Slot from, paxos::Time until);
  /// To be called when deadline() has passed.
  void tick(paxos::Time now);
  [[nodiscard]] paxos::Time deadline() const;

  paxos::SkipResult skip(paxos::Time now, std::vector<paxos::Slot> slots);
  paxos::SkipResult skip_next(paxos::Time now, std::size_t count);
  bool hand_over(paxos::Time now, std::optional<paxos::ReplicaId> to = std::nullopt);
  /// See paxos::Replica.
  paxos::ChangeResult change(paxos::Time now, const paxos::MemberChange& change);
  [[nodiscard]] const paxos::Configuration& configuration() const { return replica_.configuration(); }
  [[nodiscard]] bool removed() const { return replica_.removed(); }
  [[nodiscard]] bool may_leave() const { return replica_.may_leave(); }
  void campaign(paxos::Time now);

  /// Ends the turn: proposes what waits, applies what is chosen and synced, packs the answers.
  /// `wall_ms`: the wall clock, Unix milliseconds, stamped on what is proposed.
  [[nodiscard]] NodeOutput turn(paxos::Time now, std::int64_t wall_ms);
  /// The same into `out`, whose memory is used again; what it held is gone.
  void turn(paxos::Time now, std::int64_t wall_ms, NodeOutput& out);

  [[nodiscard]] paxos::Status status() const { return replica_.status(); }
  /// As of the last tick(), or what came from a client since: at most a heartbeat old.
  [[nodiscard]] const Standing& last_standing() const { return standing_; }
  [[nodiscard]] paxos::Slot chosen() const { return replica_.chosen(); }
  [[nodiscard]] paxos::Slot chosen_max() const { return replica_.chosen_max(); }
  [[nodiscard]] std::vector<std::pair<paxos::Slot, paxos::Ballot>> chosen_ahead() const {
    return replica_.chosen_ahead();
  }
  [[nodiscard]] bool is_leader() const { return replica_.is_leader(); }
  [[nodiscard]] std::optional<std::string> diverged() const { return replica_.diverged(); }
  [[nodiscard]] const Machine& machine() const { return machine_; }
  [[nodiscard]] Desk::Figures desk_figures() const { return desk_.figures(); }
  [[nodiscard]] Redactor::Figures redactions() const { return redactor_.figures(); }
  /// Rooms that have forgotten messages which may still be on this disk.
  [[nodiscard]] std::size_t forgetting() const { return forgetter_.waiting(); }
  /// Since the start.
  struct Figures {
    std::uint64_t proposed = 0;                          ///< batches of commands that this replica proposed
    std::uint64_t noops = 0;                             ///< applied
    std::array<std::uint64_t, verdicts_end> verdicts{};  ///< commands applied, by Verdict
  };
  [[nodiscard]] const Figures& figures() const { return figures_; }
  [[nodiscard]] paxos::Replica::Held held() const { return replica_.held(); }
  [[nodiscard]] const paxos::BoundsReached& core_bounds_reached() const { return replica_.bounds_reached(); }
  /// Of the desk and the turns; the machine has its own.
  [[nodiscard]] const BoundsReached& bounds_reached() const { return desk_.bounds_reached(); }
  void check_invariants() const { replica_.check_invariants(); }

 private:
  [[nodiscard]] const Standing& standing();
  /// The rules in force as of `slot` may be those that trim.
  void rules_as_of(paxos::Slot slot);
  void drop_hashes(NodeOutput& out);
  /// Proposes the next rules once every replica knows them (chat/versions.h).
  void raise_rules(paxos::Time now);
  void note_proposed(paxos::Time now, paxos::Slot slot);
  void note_applied(paxos::Time now, const Applied& applied, NodeOutput& out);
  /// Applies what was handed out, as far as this turn may. True when it applied something.
  bool apply(paxos::Time now, NodeOutput& out);
  /// This turn has applied as much as one may.
  [[nodiscard]] std::optional<Bound> enough() const;
  bool drain_replica(paxos::Time now, NodeOutput& out);
  void drain_redactor(paxos::Time now, NodeOutput& out);
  void drain_forgetter(paxos::Time now, NodeOutput& out);
  bool drain_desk(paxos::Time now, NodeOutput& out);

  paxos::Options options_;
  NodeBounds bounds_;
  Machine machine_;
  paxos::Replica replica_;
  Desk desk_;
  Redactor redactor_;
  Forgetter forgetter_;
  std::optional<ErasePlan> again_;  ///< has to be advanced further
  std::vector<Row> own_rows_;       ///< for the next output
  paxos::DiskRoom room_ = paxos::DiskRoom::enough;
  std::vector<MessageName> erased_;  ///< likewise
  paxos::Ready ready_;               ///< of the turn; kept for its memory
  Standing standing_;
  bool standing_stale_ = true;
  paxos::Slot raise_slot_;  ///< where the last raise was proposed
  std::optional<paxos::TrimSlack> slack_;
  paxos::Slot may_trim_from_;  ///< once the disk holds the state at this slot; none: not under these rules
  bool trims_ = false;         ///< it does
  paxos::Slot cut_;            ///< what cut_log() was told last
  struct Trim {
    std::uint64_t group = 0;
    paxos::Slot first;
  };
  std::uint64_t synced_ = 0;                  ///< the last group that is
  std::optional<Trim> trim_;                  ///< whose hashes are to go once the group is synced
  std::deque<paxos::ChosenDecree> to_apply_;  ///< handed out, and left by a turn that had applied enough
  bool held_ = false;
  struct Done {
    std::size_t slots = 0;
    std::size_t bytes = 0;
    std::size_t rows_bytes = 0;
  };
  Done done_;  ///< applied in this turn
  paxos::Time unfinished_at_ =
      paxos::time_never;  ///< when a turn ended that left something to do; never: it left nothing
  struct Proposed {
    paxos::Slot slot;
    paxos::Time at;
  };
  std::deque<Proposed>
      proposed_;  ///< ascending; by the present leadership, not applied yet: at most a window
  Figures figures_;
};

}  // namespace chat
