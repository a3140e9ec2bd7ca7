#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "chat/node.h"
#include "tests/sim/disk.h"
#include "tests/sim/queue.h"
#include "tests/sim/versioned_rows.h"

namespace sim {

/// A broken invariant (DESIGN.md section 9): which, and what was seen.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A client's message as the observer knows it: from its posting to its place.
struct Posted {
  std::uint32_t room = 0;
  paxos::Slot after;      ///< highest slot that was acknowledged to anyone when it was posted
  paxos::Slot slot;       ///< where it was applied; none: not yet
  std::uint64_t seq = 0;  ///< in its room
  bool acknowledged = false;
  bool refused = false;   ///< for want of a room, or since somebody else uses its session: it must never run
  bool untold = false;    ///< its client may have died between remembering its fate and telling it
  paxos::Slot told_slot;  ///< acknowledged there before any live replica had applied it
  std::uint64_t told_seq = 0;
};

/// Sees everything from outside, shares no code with the protocol, and throws Violation. What is chosen it
/// finds out by itself: a quorum of modelled disks that hold votes of one ballot.
class Observer {
 public:
  /// `rooms_may_fill`: there are more than the state machine takes.
  Observer(std::size_t replicas, std::size_t clients, std::size_t rooms, bool rooms_may_fill = false,
           std::uint64_t journal_slots = chat::limits::journal_slots);

  // Disks and replicas.
  void group_durable(std::uint8_t replica, const chat::GroupWrite& group, const Disk& disk_before);
  void directory_wiped(std::uint8_t replica);
  /// An older copy takes its place: nothing that it says may count.
  void directory_rolled_back(std::uint8_t replica);
  void directory_restored(std::uint8_t replica, const Disk& disk);
  void started(std::uint8_t replica, const Disk& disk, const chat::Node& node);
  void leaves(std::uint8_t replica, const paxos::Envelope& envelope, const Disk& disk, bool wiped);
  void applied(std::uint8_t replica, chat::StateWrite write, const Disk& disk);
  /// By one that is known to apply otherwise than the rest: what it applied must be right, what came of it is
  /// not looked at.
  void misapplied(std::uint8_t replica, paxos::Slot slot, const Disk& disk);
  void after_turn(std::uint8_t replica, const chat::Node& node, bool misapplies);

  // Clients. A message's text carries its mark: this, and 16 hexadecimal digits of client and number.
  static constexpr std::string_view marker = "{message ";
  [[nodiscard]] std::string mark(std::uint32_t client, std::uint32_t n) const;
  void posted(std::uint32_t client, std::uint32_t room);
  /// The client died before it had stored those from the `count`th on: they were never taken in.
  void taken_back(std::uint32_t client, std::size_t count);
  /// The client's state file was copied, or is a copy: it may be told that its session is in use elsewhere.
  void shares_session(std::uint32_t client) { shares_[client] = true; }
  /// The client's journal says that it knows the message's fate, and gives up the session that could tell it
  /// again.
  void may_stay_untold(std::uint32_t client, std::uint64_t ticket) {
    messages_.at(client).at(ticket - 1).untold = true;
  }
  void delivered(std::uint32_t client, std::uint64_t ticket, const std::string& refused,
                 const chat::Message& message);
  struct ReadFloor {
    std::uint64_t head = 0;
  };
  [[nodiscard]] std::uint64_t read_floor(std::uint32_t room) const { return room_floor_[room]; }
  /// `redacted`: so many redactions were acknowledged before it was asked for (redacted()).
  void read_served(std::uint32_t room, std::uint64_t floor, bool linearizable, const chat::HistoryPage& page,
                   std::size_t redacted = 0);

  // Redactions.
  /// Somebody asks for one: from now on the text may be missing.
  void redaction_asked(std::uint32_t room, std::uint64_t seq) { redaction_asked_.insert({room, seq}); }
  /// It was acknowledged: no read that begins from now on shows the text.
  void redaction_told(std::uint32_t room, std::uint64_t seq, paxos::Slot slot);
  [[nodiscard]] std::size_t redacted() const { return redacted_.size(); }
  /// The replica says that what was redacted in these records is gone.
  void erased(std::uint8_t replica, const Disk& disk, const chat::Erasure& erasure);
  // What rooms keep (observer_retention.cc).
  /// A client was told that what stood below is forgotten.
  void forgotten_told(std::uint32_t room, std::uint64_t first) {
    kept_[room].claimed = std::max(kept_[room].claimed, first);
  }
  /// At the end: the replica's disk and machine have nothing else of any room than what it keeps.
  void nothing_below(std::uint8_t replica, const chat::RowReader& rows, const chat::Node& node) const;

  /// At the end: no log and no state that is in use holds a text whose redaction was acknowledged.
  void nothing_left(std::uint8_t replica, const Disk& disk, const chat::Node& node);

  [[nodiscard]] static std::string room_name(std::uint32_t room) { return "room" + std::to_string(room); }

  // At the end.
  void all_equal(const std::vector<paxos::Slot>& applied) const;
  [[nodiscard]] std::uint64_t room_head(std::uint32_t room) const { return room_log_[room].size(); }
  [[nodiscard]] paxos::Slot applied_max() const { return {digests_.size()}; }
  [[nodiscard]] std::uint64_t changes() const {
    return configurations_.empty() ? 0 : configurations_.size() - 1;
  }
  [[nodiscard]] std::uint64_t chosen_count() const { return chosen_count_; }
  [[nodiscard]] paxos::Ballot chosen_ballot_max() const { return chosen_ballot_max_; }
  [[nodiscard]] std::size_t acknowledged() const { return acknowledged_; }
  /// The highest one of a message that was acknowledged to anyone.
  [[nodiscard]] paxos::Slot acknowledged_slot() const { return acknowledged_slot_; }
  [[nodiscard]] std::size_t posted() const { return posted_count_; }
  VersionedRows& rows() { return rows_; }

 private:
  struct Vote {
    paxos::Ballot ballot;
    std::uint32_t replicas = 0;  ///< whose disk has held it
    paxos::Decree decree;
  };
  struct SlotFacts {
    std::vector<Vote> votes;
    std::optional<paxos::Decree> chosen;
    std::uint32_t chosen_in = 0;  ///< the latest configuration whose quorum chose it
  };
  SlotFacts& facts(paxos::Slot slot);
  void vote_durable(std::uint8_t replica, const paxos::Incarnation& incarnation, paxos::Slot slot,
                    paxos::Ballot ballot, const paxos::Decree& decree);
  /// The ballot is one of the slot's configuration, and the replica votes in it.
  void may_vote(std::uint8_t replica, const paxos::Incarnation& incarnation, paxos::Slot slot,
                const paxos::Ballot& ballot) const;
  void configured(paxos::Slot slot, const paxos::Decree& decree);
  void claim(std::uint8_t replica, const char* how, paxos::Slot slot, const paxos::Decree& decree) const;
  /// The same rows, but for texts of messages that were redacted in the decree that gave one of the two.
  [[nodiscard]] bool same_rows(const std::vector<chat::Row>& rows, paxos::Slot slot) const;
  void promise_is_whole(std::uint8_t replica, const paxos::Promise& promise) const;
  void messages_applied(paxos::Slot slot, const std::vector<chat::Row>& rows);
  void kept_applied(paxos::Slot slot, const std::vector<chat::Row>& rows, const paxos::Decree& decree);
  [[nodiscard]] std::uint32_t room_of(const std::string& name) const;

  std::size_t replicas_;
  bool rooms_may_fill_;
  std::vector<SlotFacts> slots_;                      ///< [i] is slot i + 1
  std::vector<paxos::Configuration> configurations_;  ///< [i] has number i + 1; empty before birth
  std::uint64_t chosen_count_ = 0;
  paxos::Ballot chosen_ballot_max_;
  std::vector<std::uint64_t> digests_;         ///< of every applied slot's rows
  std::vector<paxos::Slot> applied_;           ///< by replica, this boot
  std::vector<std::uint64_t> chosen_checked_;  ///< by replica: prefix records were compared up to here
  std::uint32_t old_copies_ = 0;               ///< replicas that run from one
  std::vector<paxos::Ballot> promised_sent_;   ///< by replica: highest ballot it told anyone it promised
  VersionedRows rows_;

  std::vector<std::vector<Posted>> messages_;         ///< [client][n]
  std::vector<bool> shares_;                          ///< by client
  std::vector<std::vector<std::uint64_t>> room_log_;  ///< [room][seq - 1]: client << 32 | n
  std::vector<std::vector<std::uint32_t>> next_of_;   ///< [client][room]: its messages go up in a room
  struct Kept {
    std::uint64_t first = 1;
    std::uint64_t claimed = 1;                ///< the highest first one that anybody was told
    std::optional<chat::RetentionRule> rule;  ///< nothing: that for all
    std::vector<std::int64_t> clocks;         ///< [seq - 1]: session clock when it came
  };
  std::vector<Kept> kept_;  ///< by room
  chat::RetentionRule kept_by_all_;
  std::vector<std::uint64_t> room_floor_;  ///< by room: what a read must show from now on
  std::set<std::pair<std::uint32_t, std::uint64_t>> redaction_asked_;  ///< room, seq
  std::vector<std::pair<std::uint32_t, std::uint64_t>> redacted_;      ///< as they were acknowledged
  std::vector<std::set<paxos::Slot>> erased_;  ///< by replica: records whose texts it says to be off its disk
  paxos::Slot acknowledged_slot_;
  std::size_t acknowledged_ = 0;
  std::size_t posted_count_ = 0;
};

}  // namespace sim
