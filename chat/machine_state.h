#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "chat/access.h"
#include "chat/machine.h"
#include "chat/retention.h"
#include "chat/sessions.h"
#include "chat/touch_order.h"

/// The inside of Machine: machine.cc applies, machine_rows.cc turns it into rows and back.
namespace chat {

struct RoomHead {
  std::string_view name;  ///< its key in the table
  std::uint64_t seq = 0;  ///< of its last message
  paxos::Slot active_slot;
  std::size_t run = 0;  ///< which of State::runs, while active_slot is being applied
  // What stands in its row 'n'. Always: 1 <= first <= seq + 1.
  std::uint64_t first = 1;            ///< of the messages that it keeps
  std::optional<RetentionRule> rule;  ///< nothing: State::for_all
  RoomMarks marks;
  bool kept_changed = false;  ///< since its row was written
  paxos::Slot kept_slot;      ///< the last one in which it was
  TouchOrder<RoomHead>::Place place;
};

struct Machine::State {
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  std::uint16_t rules = 1;
  std::uint16_t rules_known = rules_released;
  MachineBounds bounds;
  BoundsReached reached;
  std::optional<paxos::Configuration> configuration;  ///< nothing: the one of birth
  paxos::Slot applied;
  paxos::Hash hash;
  std::int64_t clock_ms = 0;  ///< session clock
  std::int64_t stamp_ms = 0;  ///< of the last batch
  SessionTable sessions;
  std::set<std::pair<std::uint64_t, SessionId>> changed;  ///< sessions with changes, by row_phase()
  std::unordered_map<std::string, RoomHead, TextHash, std::equal_to<>> rooms;  ///< its nodes never move
  TouchOrder<RoomHead> room_order;
  KeyTable keys;
  AccessTable access;
  RetentionRule for_all;  ///< of rooms that have no rule of their own
  /// In which order what rooms keep is looked at: by a hash of their names, the same everywhere.
  std::map<std::pair<std::uint32_t, std::string_view>, RoomHead*> by_phase;

  // Of the slot that is being applied; kept here to use their memory again.

  /// The messages that this slot put into one room, as they are written.
  struct Run {
    RoomHead* room = nullptr;
    std::uint64_t first_seq = 0;
    std::uint64_t count = 0;
    std::string bytes;
    std::string stamps;         ///< of those that have one: place in the run, when it was written
    std::uint64_t stamped = 0;  ///< how many have
    std::string posters;        ///< of those that came under a key: place in the run, key, proven
    std::uint64_t keyed = 0;    ///< how many did
  };
  std::vector<Run> runs;  ///< the first `runs_used` count
  std::size_t runs_used = 0;
  std::vector<SessionId> touched;  ///< in the order of their first touch; some may be gone again
  std::vector<SessionId> gone;
  std::vector<SessionId> gone_rows;  ///< those of `gone` that have a session row
  std::vector<std::string> gone_keys;
  std::vector<std::string> new_keys;
  std::vector<Row> new_topics;
  std::vector<Row> new_access;
  std::vector<Poster> posters;
  std::vector<Row> new_redactions;
  std::vector<MessageName> redactions;
  std::vector<RoomHead*> kept;  ///< whose rows 'n' this slot writes
  std::vector<MessageName> kept_from;
  bool for_all_changed = false;
  std::string scratch;
  std::vector<Row> erasures;  ///< as load() found them

  void advance_clock(std::int64_t stamp);
  Outcome run(const CommandView& command, paxos::Slot slot, std::uint32_t index, std::int64_t time_ms);
  Outcome open(const Open& open, paxos::Slot slot, std::uint32_t index, std::int64_t time_ms);
  void post(const CommandView& command, const PostView& post, const Credential& whose, Outcome& outcome);
  void redact(const RedactView& redact, Outcome& outcome);
  void retain(const RetainView& retain, Outcome& outcome);
  void set_access(const SetAccessView& wanted, Outcome& outcome);
  /// done, or why a command of a session under that key must not run.
  [[nodiscard]] Verdict allowed(const Credential& whose, const CommandView& command) const;
  [[nodiscard]] Verdict names_itself(const Credential& whose, const CommandView& command) const;
  [[nodiscard]] static std::uint32_t phase_of(std::string_view room);
  void keep(RoomHead& room);
  void keep_some(paxos::Slot slot);
  /// True when the post's key decided what becomes of it.
  bool keyed(const PostView& post, Outcome& outcome) const;
  void touch(Session& session, paxos::Slot slot, std::uint32_t index);
  void erase(const Session& session);
  void chain(paxos::Slot slot, const paxos::Decree& decree, const Applied& applied_now);

  /// Rows of the slot just applied.
  void write_rows(Applied& out, std::int64_t time_ms);
  void write_session(Applied& out, Session& session);
  /// Of sessions and rooms, in time: before the journal loses what is in no row.
  void write_rows_of_their_own(Applied& out);
  [[nodiscard]] std::string journal_row(paxos::Slot slot);
};

/// An outcome as it is hashed and kept: docs/ROWS.md.
void encode_outcome(std::string& out, const Outcome& outcome);

}  // namespace chat
