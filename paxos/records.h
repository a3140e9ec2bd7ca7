#pragma once

#include <optional>
#include <variant>
#include <vector>

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

/// The cluster's incarnations by replica id, collected (born = false) or final.
struct BirthRecord {
  std::vector<Incarnation> members;
  bool born = false;
  friend bool operator==(const BirthRecord&, const BirthRecord&) = default;
};

/// The log begins with `first` from now on: the records of slots below it are gone with this write. Their
/// decrees were applied here, and the state that they made is on this replica's disk.
struct TrimRecord {
  Slot first;
  friend bool operator==(const TrimRecord&, const TrimRecord&) = default;
};

using Record =
    std::variant<PromiseRecord, VoteRecord, ChosenRecord, ChosenPrefixRecord, BirthRecord, TrimRecord>;

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
  Hash hash;           ///< chain at `applied`
  Slot first_slot{1};  ///< lowest slot in the log; above `applied` + 1: the state has to come from a peer
  std::uint64_t log_bytes = 0;  ///< of what the log holds, about
  std::uint64_t last_group = 0;
  std::vector<LogEntry> entries;  ///< ascending, every slot above those that the log has
};

}  // namespace paxos
