#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "paxos/types.h"

/// What replicas say to each other: one plain struct a message. The sender is known from the
/// envelope. Receivers treat every one as possibly lost, repeated, late or reordered.
namespace paxos {

// --- election (Omni-Paxos, EuroSys 2023, section 5: ballot leader election) ---

/// "Do you hear me, and what do you see?" The nonce is fresh: only its own echo proves a link both ways.
struct HeartbeatRequest {
  std::uint64_t nonce = 0;
  std::uint32_t configuration = 1;  ///< in which the sender is: see HeartbeatReply
  friend bool operator==(const HeartbeatRequest&, const HeartbeatRequest&) = default;
};

struct HeartbeatReply {
  std::uint64_t nonce = 0;  ///< echo of the request's
  Ballot ballot;            ///< that the sender's proposer runs with, phase 1 or 2; round 0: it does not run
  Ballot leader;            ///< ballot of the leader it follows; none if it knows of none
  bool happy = false;       ///< it has, or is, a leader that can work: see Election
  bool candidate = false;   ///< quorum-connected, voting, disk healthy: could lead
  Slot chosen_prefix;       ///< every slot up to here is known chosen
  Slot applied;
  Hash hash;                        ///< chain at `applied`
  std::uint16_t rules = 1;          ///< the highest that the sender's program knows
  std::uint32_t sync_age_ms = 0;    ///< age of its oldest unfinished sync
  std::uint64_t groups = 0;         ///< that are on its disk; 0: to whoever speaks the first datagram format
  std::uint32_t configuration = 1;  ///< of the slot after its applied one: in which it votes, if at all
  bool voting = true;               ///< false: its directory took a lost one's place, and still catches up
  bool full = false;                ///< its disk has no room for new decrees; said in format 2 only

  /// The sender itself proposes with the ballot that it follows.
  [[nodiscard]] bool proposing() const { return !ballot.none() && ballot == leader; }
  friend bool operator==(const HeartbeatReply&, const HeartbeatReply&) = default;
};

/// Clean hand-over: the leader asks `to` to take a ballot above `ballot` at once.
struct HandOver {
  Ballot ballot;
  friend bool operator==(const HandOver&, const HandOver&) = default;
};

// --- phase 1 ---

/// 1a, and the pull of a further page: everything from slot `from` on.
struct Prepare {
  Ballot ballot;
  Slot from;
  friend bool operator==(const Prepare&, const Prepare&) = default;
};

struct PromiseEntry {
  Slot slot;
  Ballot ballot;        ///< of the vote, or under which it was learned
  bool chosen = false;  ///< known chosen, voted or not
  Decree decree;
  friend bool operator==(const PromiseEntry&, const PromiseEntry&) = default;
};

/// 1b, one page. The acceptor counts only when the page with `next` none has come.
struct Promise {
  Ballot ballot;
  Slot from;                          ///< echo: the page asked for
  Slot chosen_prefix;                 ///< w: the sender knows every slot up to here to be chosen
  std::vector<PromiseEntry> entries;  ///< ascending, all above w and >= from
  Slot next;                          ///< ask on from here; none: this was the last page
  friend bool operator==(const Promise&, const Promise&) = default;
};

// --- phase 2 ---

struct Accept {
  Ballot ballot;
  Slot slot;
  Slot chosen_prefix;  ///< the leader's; see Commit
  Decree decree;
  friend bool operator==(const Accept&, const Accept&) = default;
};

/// 2b for each slot in the ranges, at exactly this ballot. Sent after the votes are synced.
struct Accepted {
  Ballot ballot;
  std::vector<SlotRange> slots;
  friend bool operator==(const Accepted&, const Accepted&) = default;
};

/// Refusal of a Prepare or an Accept. Stops the proposer; never raises anyone's ballot.
struct Nack {
  Ballot refused;
  Ballot promised;
  friend bool operator==(const Nack&, const Nack&) = default;
};

/// Every slot up to `chosen_prefix` is chosen. A receiver may take its own vote for the chosen decree
/// only where it voted at exactly `ballot`; elsewhere it pulls.
struct Commit {
  Ballot ballot;
  Slot chosen_prefix;
  friend bool operator==(const Commit&, const Commit&) = default;
};

// --- catch-up: pull chosen slots from any peer ---

struct LearnRequest {
  Slot from;
  Slot to;  ///< last one wanted
  friend bool operator==(const LearnRequest&, const LearnRequest&) = default;
};

/// Chosen decrees, ascending; also the answer to an Accept at or below the chosen prefix. Without any, and
/// with a `first_slot` above what was asked for, it says that the sender has trimmed those slots: who needs
/// them asks somebody else, or takes a snapshot.
struct LearnReply {
  std::vector<ChosenDecree> decrees;
  Slot first_slot;     ///< lowest slot that the sender still has; none: it says nothing about it
  Slot chosen_prefix;  ///< the sender's
  friend bool operator==(const LearnReply&, const LearnReply&) = default;
};

// --- linearizable reads ---

/// Leader to acceptors: "is your promise still my ballot?"
struct ReadConfirm {
  Ballot ballot;
  std::uint64_t nonce = 0;
  friend bool operator==(const ReadConfirm&, const ReadConfirm&) = default;
};
struct ReadConfirmed {
  Ballot ballot;
  std::uint64_t nonce = 0;
  friend bool operator==(const ReadConfirmed&, const ReadConfirmed&) = default;
};
/// Any replica to the leader: a read index for all reads that arrived before this was sent.
struct ReadRequest {
  std::uint64_t id = 0;
  friend bool operator==(const ReadRequest&, const ReadRequest&) = default;
};
struct ReadReply {
  std::uint64_t id = 0;
  Slot index;
  friend bool operator==(const ReadReply&, const ReadReply&) = default;
};

// --- birth ---

/// What the sender knows of everyone's incarnation, by replica id; none where unknown.
struct Birth {
  std::vector<Incarnation> members;
  bool synced = false;  ///< `members` is complete and on the sender's disk: an announcement
  bool born = false;    ///< the sender is past birth: `members` is the cluster's vector as of `configuration`
  std::uint32_t configuration = 1;
  friend bool operator==(const Birth&, const Birth&) = default;
};

// --- lives ---

/// "I don't know this life of your directory: where does it come from?"
struct Introduce {
  friend bool operator==(const Introduce&, const Introduce&) = default;
};

struct Introduction {
  std::uint64_t groups_at_start = 0;  ///< of its log, when this life of it began
  std::vector<Life> lives;            ///< the sender's latest, ascending, this one the last
  friend bool operator==(const Introduction&, const Introduction&) = default;
};

/// The sender knows a later life of the receiver's directory: this one was rolled back, or is a copy.
struct Outdated {
  Life meant;                      ///< the receiver's
  std::uint64_t known_boot = 0;    ///< the latest that the sender knows
  std::uint64_t known_groups = 0;  ///< that it was heard to have synced
  friend bool operator==(const Outdated&, const Outdated&) = default;
};

// --- commands ---

/// Client commands on their way to the leader, encoded as chat/ encodes them; opaque here.
struct Forward {
  std::vector<Bytes> commands;
  friend bool operator==(const Forward&, const Forward&) = default;
};

// --- all of them ---

/// Persistent numbers of the types stand in net/'s codec and docs/WIRE.md, not here.
using PeerMessage = std::variant<HeartbeatRequest, HeartbeatReply, HandOver, Prepare, Promise, Accept,
                                 Accepted, Nack, Commit, LearnRequest, LearnReply, ReadConfirm, ReadConfirmed,
                                 ReadRequest, ReadReply, Birth, Forward, Outdated, Introduce, Introduction>;

}  // namespace paxos
