#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "paxos/configuration.h"
#include "paxos/messages.h"
#include "paxos/ready.h"
#include "paxos/records.h"
#include "paxos/trimmer.h"
#include "paxos/types.h"
#include "paxos/wait_watch.h"

namespace paxos {

struct Options {
  ReplicaId self;
  std::size_t replicas = 3;  ///< of the config, which the cluster is born with: ids 0 .. replicas - 1
  bool founds = true;   ///< with that config a cluster can be born; false: it waits until it is added to one
  std::size_t ids = 0;  ///< how many ids members that are added later may have; 0: no more than these
  Duration heartbeat{std::chrono::milliseconds{50}};
  Duration election_timeout{std::chrono::milliseconds{250}};
  std::uint16_t rules =
      1;  ///< the highest rules of the state machine that this program knows; told to the peers
  Bounds bounds;
  std::uint64_t seed = 1;  ///< for nonces and jitter; from outside, so that a simulator owns it

  /// Replica ids are below this.
  [[nodiscard]] std::size_t capacity() const { return std::max(replicas, ids); }
};

enum class Role : std::uint8_t { follower, candidate, leader, unborn, dormant, learner, removed };
[[nodiscard]] const char* to_string(Role role);

/// A copy of what operators see.
struct Status {
  Role role = Role::follower;
  bool voting = false;
  std::string reason;  ///< why it does not vote; empty when it does
  Ballot ballot;       ///< the highest it promised
  Ballot leader_ballot;
  std::optional<ReplicaId> leader;  ///< whom it takes for the leader
  Slot first_slot;
  Slot accepted;  ///< highest slot with a vote
  Slot chosen;    ///< contiguous chosen prefix
  Slot applied;
  Slot chosen_max;                 ///< highest slot known chosen, out of order included
  std::optional<Slot> hole;        ///< a skipped slot that applying waits for
  std::optional<Waiting> waiting;  ///< the oldest slot known here and not applied
  std::size_t inflight = 0;
  bool ready_to_lead = false;  ///< leader with phase 1 done and every older slot learned
  /// Slots of its own log that it applies again since its start, where it found any; `first` to `last` is the
  /// way, applied() tells how far it is.
  std::optional<SlotRange> redoing;
  std::optional<SnapshotWish> snapshot_wanted;  ///< it can't catch up by the log: see SnapshotWish
  std::vector<ReplicaId> connected;
  std::vector<ReplicaId> missing_at_birth;
  Configuration configuration;         ///< of the slot after the applied one; without members: not known here
  std::vector<ReplicaId> keep_up;      ///< of a leader: the learners that could vote at once
  bool announces = false;              ///< this directory is in none, and could take a lost one's place
  std::vector<ReplicaId> newcomers;    ///< for whom a directory announces itself that is in no configuration
  std::vector<ReplicaId> disagreeing;  ///< peers whose hash chain is another than the one here (HashWatch)
  Slot disagrees_since;                ///< the lowest slot in which that was seen; none when all agree
  bool disputed = false;               ///< no quorum is known to agree with this replica against one of them
  DiskRoom room = DiskRoom::enough;    ///< on its own disk
  std::vector<ReplicaId> full;         ///< voters whose disks are full, itself among them, as far as it hears
  bool blocked = false;                ///< those leave no quorum: nothing new is decided
  std::uint64_t leader_changes = 0;
  std::uint64_t retransmissions = 0;
};

/// What a front desk asks about at every turn; cheap, unlike Status.
struct Outlook {
  bool leading = false;  ///< phase 1 done: may propose
  bool voting = false;
  bool diverged = false;
  ReplicaSet disagreeing;  ///< as in Status
  Slot disagrees_since;
  bool disputed = false;
  bool behind =
      false;  ///< it knows of chosen slots that it must learn, or apply, first (see Replica::outlook)
  std::uint64_t round = 0;          ///< of the promised ballot
  std::optional<ReplicaId> leader;  ///< whom it takes for the leader
  std::optional<Slot> hole;         ///< a skipped slot that applying waits for
  ReplicaSet connected;             ///< without itself
  bool quorum_connected = false;    ///< with itself, those that can vote with it are a quorum
  ReplicaSet full;                  ///< as in Status
  bool blocked = false;             ///< likewise
  bool stands_still = false;        ///< its disk is full, and it does not even follow
  bool short_of_room = false;       ///< those whose disks have room are no quorum, as far as it hears
};

/// Result of a skip: `slots` holds the named slots when `refused` is empty.
struct SkipResult {
  std::string refused;  ///< why; empty when it was taken
  Slot next_free;       ///< lowest slot that could be skipped now
  std::vector<Slot> slots;
};

/// Result of a change of the configuration: under way when `refused` is empty, in force when the slot is
/// applied.
struct ChangeResult {
  std::string refused;  ///< why; empty when it was taken
  Slot slot = {};
  std::uint32_t configuration = 0;  ///< its number
};

/// One replica of the protocol: messages in, effects out. Pure: no I/O, clock, thread or randomness
/// of its own. Not thread-safe; the daemon calls it from the loop thread only.
class Replica {
 public:
  Replica(const Options& options, Recovered recovered, Time now);
  ~Replica();
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  /// A message that passed wire validation. `from` must be another configured replica.
  /// `origin` is the datagram's: an acceptor outside the cluster's vector counts nowhere, nor does a life of
  /// it that is outdated or not known yet (paxos/lives.h).
  void step(Time now, ReplicaId from, const Origin& origin, const PeerMessage& message);
  /// What to tell whoever asks in the name of `from`, but is an older copy of that replica's directory: to be
  /// sent back to where it came from, and nothing else be done with it. Nothing: it is none.
  [[nodiscard]] std::optional<Outdated> outdated(ReplicaId from, const Origin& origin) const;
  /// To be called when `deadline()` has passed (earlier is harmless).
  void tick(Time now);
  [[nodiscard]] Time deadline() const;

  /// True when a decree handed to propose() now would be taken.
  [[nodiscard]] bool can_propose() const;
  /// Proposes in the next free slot. Requires can_propose().
  Slot propose(Time now, Decree decree);
  /// Leaves the slots empty, with no-ops as far as needed above them (DESIGN.md section 4, skip).
  SkipResult skip(Time now, std::vector<Slot> slots);
  /// The same for the next `count` slots.
  SkipResult skip_next(Time now, std::size_t count);

  /// A linearizable read; its index comes in Ready::reads, or its id in reads_failed.
  void read(Time now, std::uint64_t id);
  /// Passes commands on to the leader; false when none is known (or this is it).
  bool forward(std::vector<Bytes> commands);
  /// Asks the best-placed replica to take over, or this one. False when this is not the leader or nobody can.
  bool hand_over(Time now, std::optional<ReplicaId> to = std::nullopt);
  /// Proposes the configuration that this change makes of the one in force. What is refused is not tried
  /// later; a learner that keeps up is promoted without being asked for.
  ChangeResult change(Time now, const MemberChange& change);
  /// Of the slot after the applied one; without members: not known here.
  [[nodiscard]] const Configuration& configuration() const;
  /// An operator took it out of the cluster. It votes never again, and serves only what others have to learn.
  [[nodiscard]] bool removed() const;
  /// And a quorum of the voters that there are now says that it has come to a configuration without it.
  [[nodiscard]] bool may_leave() const;
  /// A directory that is in no configuration and has lately announced itself for `id`.
  [[nodiscard]] std::optional<Incarnation> newcomer(ReplicaId id) const;
  /// Becomes a candidate at once. For tests and the hand-over; safe at any time.
  void campaign(Time now);

  /// Group `group` and all before it are on disk.
  void synced(Time now, std::uint64_t group);
  /// True when something here waits for synced(): a vote or promise of its own, or chosen slots to apply.
  /// False: the next input is early enough to be told, and nobody has to be woken for it.
  [[nodiscard]] bool waits_for_sync() const;
  /// How long the oldest unfinished sync has been under way; zero when there is none.
  void set_sync_age(Time now, Duration age);
  /// What its disk has room for. Full, it takes part in elections and reads as before, proposes nothing new,
  /// and hands over to who can. It votes, and learns what was chosen, only where those with room are no
  /// quorum without it, so that what is under way is finished; and not with the reserve used up.
  void set_room(Time now, DiskRoom room);
  /// While held, no chosen slot is given to to_apply: what applies them has no room. The window closes by
  /// itself.
  void hold_applying(Time now, bool held);
  /// From now on this replica says nothing that counts, until it is started again: its disk does not hold its
  /// words any more.
  void withdraw(Time now, std::string why);
  /// Why, or nothing.
  [[nodiscard]] const std::string& withdrawn() const;
  /// The state machine applied the slot (given by to_apply) with this hash chain value.
  void applied(Time now, Slot slot, const Hash& hash);
  /// Puts another decree in place of one that was applied here, in memory and on the disk. To the state
  /// machine it is the same: it has the same outcomes and the same hash (chat::redacted). `chosen.ballot`: as
  /// the record has it. Gives the group that the new record is in; 0: the log has been trimmed beyond it, and
  /// has none. Requires: the slot is applied. What
  /// replicas say of it is no vote any more, only that it is chosen, which everybody who is told of a slot at
  /// or below the chosen prefix knows it to be.
  std::uint64_t replace_applied(Time now, ChosenDecree chosen);
  /// How much of the log is kept for those that are slow; none, which is the default: all of it. A TrimRecord
  /// lets go of the rest.
  void set_slack(Time now, std::optional<TrimSlack> slack);
  /// What applying the slots up to here gave is on the disk, and a crash leaves it there. Without that word
  /// nothing is trimmed. Requires: applied here, and given to the disk.
  void state_durable(Time now, Slot slot);
  /// Slots below `first` do not read any more: the log is trimmed to begin there, once that is so (Trimmer).
  void cut_log(Time now, Slot first);
  /// Slots from `from` on stay in the log until then, for a peer that takes a snapshot and goes on behind it.
  void hold_log(Time now, ReplicaId peer, Slot from, Time until);
  /// Answer to a LogReadWish: consecutive chosen decrees from `wish.from` on, maybe fewer.
  void log_read(Time now, const LogReadWish& wish, std::vector<ChosenDecree> decrees);

  /// Everything that is to be done since the last call; to be called at the end of every turn, since a
  /// role may hold back what it packs (one Accepted for many votes, one round for many reads).
  [[nodiscard]] Ready take_ready();
  /// The same into `out`, which must be empty. False: there is nothing to do, and `out` was not touched.
  [[nodiscard]] bool take_ready(Ready& out);
  [[nodiscard]] Status status() const;
  /// Behind is who is a window or more short of what it knows to be chosen, and a new leader that learns what
  /// its quorum knows.
  [[nodiscard]] Outlook outlook() const;
  /// See Election.
  [[nodiscard]] std::optional<std::uint16_t> rules_known_by_all() const;
  [[nodiscard]] Slot chosen() const;      ///< contiguous prefix
  [[nodiscard]] Slot chosen_max() const;  ///< out of order included
  /// See SlotLog.
  [[nodiscard]] std::vector<std::pair<Slot, Ballot>> chosen_ahead() const;
  [[nodiscard]] std::uint64_t round()
      const;                             ///< of the promised ballot: of the leadership, while is_leader()
  [[nodiscard]] bool is_leader() const;  ///< phase 1 done: may propose
  [[nodiscard]] std::optional<ReplicaId> leader() const;
  /// Set when this replica's hash disagrees with a quorum at an equal slot: it stopped serving.
  [[nodiscard]] std::optional<std::string> diverged() const;

  /// What of it is held in memory; each within its bound, but for what phase 1 found.
  struct Held {
    std::uint64_t unapplied_slots = 0;
    std::size_t unapplied_bytes = 0;
    std::size_t unsynced_bytes = 0;
    std::size_t after_sync_bytes = 0;
    std::uint64_t handed_out_slots = 0;
    bool redoing = false;  ///< then a page more is handed out
  };
  [[nodiscard]] Held held() const;
  [[nodiscard]] const BoundsReached& bounds_reached() const;

  /// Aborts when an invariant of the state is broken. Run after every simulated step.
  void check_invariants() const;

 private:
  friend struct StateAccess;  // tests/explore: saves and loads whole states
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace paxos
