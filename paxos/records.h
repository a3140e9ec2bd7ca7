#pragma once

#include <optional>
#include <variant>
#include <vector>

#include "paxos/configuration.h"
#include "paxos/types.h"

/// What a replica writes to its log, and what it finds there on start. storage/ owns the bytes.
namespace paxos {

/// The acceptor promised `ballot`. Never goes back (I6).
struct PromiseRecord {
  Ballot ballot;
  friend bool operator==(const PromiseRecord&, const PromiseRecord&) = default;
};

/// The acceptor voted for `decree` in `slot` at `ballot`; replaces an earlier vote of the slot.
/// Implies a promise of `ballot`: recovery takes the highest of both.
struct VoteRecord {
  Slot slot;
  Ballot ballot;
  Decree decree;
  friend bool operator==(const VoteRecord&, const VoteRecord&) = default;
};

/// The slot's chosen decree, learned without voting for it here; replaces a vote of the slot.
struct ChosenRecord {
  Slot slot;
  Ballot ballot;
  Decree decree;
  friend bool operator==(const ChosenRecord&, const ChosenRecord&) = default;
};

/// Every slot up to here is chosen and its record here holds the chosen decree. A hint that saves work
/// after a restart; never needs a sync of its own.
struct ChosenPrefixRecord {
  Slot slot;
  friend bool operator==(const ChosenPrefixRecord&, const ChosenPrefixRecord&) = default;
};

/// The cluster's incarnations by replica id, collected (born = false) or final. A directory that takes a lost
/// one's place is born into a later configuration, and knows those before it by the log, or by nothing.
struct BirthRecord {
  std::vector<Incarnation> members;
  bool born = false;
  std::uint32_t configuration = 1;  ///< whose incarnations they are
  friend bool operator==(const BirthRecord&, const BirthRecord&) = default;
};

/// The log begins with `first` from now on: the records of slots below it are gone with this write. Their
/// decrees were applied here, and the state that they made is on this replica's disk.
struct TrimRecord {
  Slot first;
  friend bool operator==(const TrimRecord&, const TrimRecord&) = default;
};

/// What is known of a peer's directory: before the first word of a life of it counts (paxos/lives.h).
struct PeerRecord {
  ReplicaId peer;
  Origin origin;             ///< the latest life that counts
  std::uint64_t groups = 0;  ///< of its log that it is known to have had on its disk
  Life refused;              ///< the last one that was found to be an older copy's; none: no number
  friend bool operator==(const PeerRecord&, const PeerRecord&) = default;
};

/// A peer knows a later life of this directory: it is an older copy, and says nothing that counts for ever.
struct OutdatedRecord {
  ReplicaId by;
  std::uint64_t known_boot = 0;
  std::uint64_t known_groups = 0;
  friend bool operator==(const OutdatedRecord&, const OutdatedRecord&) = default;
};

using Record = std::variant<PromiseRecord, VoteRecord, ChosenRecord, ChosenPrefixRecord, BirthRecord,
                            TrimRecord, PeerRecord, OutdatedRecord>;

/// One slot as the log holds it.
struct LogEntry {
  Slot slot;
  Ballot ballot;
  bool chosen = false;  ///< a ChosenRecord, or at or below the recovered chosen prefix
  Decree decree;
  friend bool operator==(const LogEntry&, const LogEntry&) = default;
};

/// What storage/ hands to a starting replica. Everything in here was flushed and synced again after it
/// was read (DESIGN.md section 5).
struct Recovered {
  Incarnation incarnation;
  std::uint64_t boot = 0;  ///< already raised and synced for this start
  std::optional<BirthRecord> birth;
  Ballot promised;     ///< highest of promises and votes
  Slot chosen_prefix;  ///< at least the state's applied slot
  Slot applied;        ///< what the state machine holds durably
  /// Slots above `applied` up to here are chosen, and on this replica's disk alone: it reads and applies them
  /// in pages while it takes part. None, or not above `applied`: there are no such slots.
  Slot redo_to{};
  Hash hash;  ///< chain at `applied`
  /// In which the state stands at `applied`: of the slot after it. None: the one of birth.
  std::optional<Configuration> configuration = {};
  Slot first_slot{1};  ///< lowest slot in the log; above `applied` + 1: the state has to come from a peer
  std::uint64_t log_bytes = 0;  ///< of what the log holds, about
  std::uint64_t last_group = 0;
  std::vector<Life> lives;        ///< of this directory, this one the last: at most limits::lives_max
  std::vector<PeerRecord> peers;  ///< at most one of each
  std::optional<OutdatedRecord> outdated;
  std::vector<LogEntry> entries;  ///< ascending, every slot above those that the log has
};

}  // namespace paxos
