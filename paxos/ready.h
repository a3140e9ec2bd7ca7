#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "paxos/configuration.h"
#include "paxos/messages.h"
#include "paxos/records.h"
#include "paxos/types.h"

namespace paxos {

/// A message to one replica, or to all others (encoded and sealed once) when `to` is empty.
struct Envelope {
  std::optional<ReplicaId> to;
  PeerMessage message;
};

/// A wish to read chosen decrees from the log, answered by Replica::log_read. All of them were applied here,
/// or are at or below the chosen prefix that a start found, so that the chosen decree is what the disk holds.
struct LogReadWish {
  ReplicaId to;  ///< whom the LearnReply will go to; this replica itself: to be redone here
  Slot from;
  Slot last;
};

/// Nobody reachable has the slot any more that this replica has to learn, or redo, next: only a snapshot of a
/// peer's state helps. A snapshot is of use when its slot is `above` or higher.
struct SnapshotWish {
  Slot above;                   ///< the lowest slot that is missing for good here
  std::vector<ReplicaId> from;  ///< connected ones whose state is past it, best first: up-to-date followers,
                                ///< the leader, others; empty: none just now
  Configuration voters = {};    ///< a quorum of these confirms the state's hash
  friend bool operator==(const SnapshotWish&, const SnapshotWish&) = default;
};

/// Outcome of a linearizable read: serve it when the state machine has applied `index`.
struct ReadIndex {
  std::uint64_t id = 0;
  Slot index;
};

/// Something that an operator wants to know: a role change with its cause, and the like.
struct Event {
  std::string_view name;  ///< what kind, one word; a literal
  std::string text;       ///< one line, for people
  Ballot ballot;          ///< that it is about; none() when it is about none
  Slot slot;              ///< likewise
};

/// What the core wants done; the caller drains it after a batch of steps.
///
/// Order of work: hand `records` (one atomic group, numbered `group`) to the log thread, send
/// `send_now`, apply `to_apply`; send `send_after_sync` once group `group` is synced, and then call
/// Replica::synced(group). With no records the group number is that of the last one handed out, and
/// `send_after_sync` waits for it all the same.
struct Ready {
  std::uint64_t group = 0;
  std::vector<Record> records;
  std::vector<Envelope> send_now;
  /// Promise, Accepted, and a new ballot's Prepare: what they say must be on disk first.
  std::vector<Envelope> send_after_sync;
  std::vector<ChosenDecree> to_apply;  ///< consecutive slots, ascending, each synced here
  std::vector<LogReadWish> log_reads;
  /// Said again now and then for as long as it is true. What helps is a new core, made of a Recovered that
  /// keeps this replica's promise, incarnation and votes.
  std::optional<SnapshotWish> snapshot_wanted;
  /// The log does not give this slot, which has to be redone next, and was there: the disk is damaged. This
  /// replica can't go on.
  std::optional<Slot> lost;
  std::vector<ReadIndex> reads;
  std::vector<std::uint64_t> reads_failed;  ///< no confirmation could be had; the client asks again
  std::vector<Bytes> forwarded;             ///< commands that other replicas passed on to this leader
  std::vector<Event> events;

  [[nodiscard]] bool empty() const {
    return records.empty() && send_now.empty() && send_after_sync.empty() && to_apply.empty() &&
           log_reads.empty() && !snapshot_wanted && !lost && reads.empty() && reads_failed.empty() &&
           forwarded.empty() && events.empty();
  }
  /// Keeps its memory.
  void clear() {
    records.clear();
    send_now.clear();
    send_after_sync.clear();
    to_apply.clear();
    log_reads.clear();
    snapshot_wanted.reset();
    lost.reset();
    reads.clear();
    reads_failed.clear();
    forwarded.clear();
    events.clear();
  }
  void swap(Ready& other) {
    std::swap(group, other.group);
    records.swap(other.records);
    send_now.swap(other.send_now);
    send_after_sync.swap(other.send_after_sync);
    to_apply.swap(other.to_apply);
    log_reads.swap(other.log_reads);
    snapshot_wanted.swap(other.snapshot_wanted);
    lost.swap(other.lost);
    reads.swap(other.reads);
    reads_failed.swap(other.reads_failed);
    forwarded.swap(other.forwarded);
    events.swap(other.events);
  }
};

}  // namespace paxos
