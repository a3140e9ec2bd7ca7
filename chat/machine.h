#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/bounds.h"
#include "chat/command.h"
#include "chat/keys.h"
#include "chat/versions.h"
#include "paxos/configuration.h"
#include "paxos/types.h"

/// The replicated state machine: sessions and rooms in memory, messages as rows for the state store.
/// Deterministic: the same decrees in the same order give the same rows, outcomes and hashes everywhere.
namespace chat {

/// Persisted and hashed: numbers are never reused; 0 stays reserved.
enum class Verdict : std::uint8_t {
  done = 1,             ///< ran now
  repeat = 2,           ///< ran before: its stored answer
  conflict = 3,         ///< same seq, other content: session in use elsewhere
  receipt_gone = 4,     ///< ran before, below the answered mark: delivered, receipt gone
  early = 5,            ///< above last + 1: changed nothing
  session_unknown = 6,  ///< expired, closed or never opened
  rooms_full = 7,       ///< 65,536 rooms exist
  invalid = 8,          ///< content out of range (a client of another version)
  key_conflict = 9,     ///< another text stands under the same key in this room
  keys_full = 10,       ///< no more keys can be remembered now
  no_message = 11,      ///< what was to be redacted does not stand
  no_room = 12,         ///< what a room keeps was to be said, and there is no such room
  kept_too_short = 13,  ///< a rule by age below the time after which an idle session expires
  forgotten = 14,       ///< what was to be redacted stands no more: its room has forgotten it
  key_unknown = 15,     ///< the key under which the session was opened is revoked, or was never issued
  key_may_not = 16,     ///< its role does not allow that
  name_owned = 17,      ///< the name, or one that looks like it, belongs to another key
  name_bound = 18,      ///< the key has a name of its own, and this is another
  names_closed = 19,    ///< only keys with a name may post
  key_exists = 20,      ///< such a key was issued before, or the name belongs to one that is not revoked
  access_full = 21,     ///< no more keys can be issued
  no_such_key = 22,     ///< what was to be revoked was never issued
  rotation_open = 23,   ///< the secret is changing, or was changed meanwhile
  no_rotation = 24,     ///< what was to be retired is not the secret before
};
inline constexpr std::size_t verdicts_end = 25;  ///< above the last Verdict
[[nodiscard]] const char* to_string(Verdict verdict);

/// What became of one command. For done and repeat of a post, slot/index/room_seq/time_ms name where
/// the message stands (for a repeat: where it first ran, or where the message of its key stands); of a
/// redaction room_seq names the message, the rest the redaction itself; of a rule about a room it is the
/// first message that the room has once the slot is applied, of the rule for all 0. For an open, `session` is
/// the one opened.
struct Outcome {
  Verdict verdict = Verdict::done;
  SessionId session;
  std::uint64_t client_seq = 0;
  paxos::Slot slot;
  std::uint32_t index = 0;
  std::uint64_t room_seq = 0;
  std::int64_t time_ms = 0;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

/// Who took a message's text out, and why.
struct Redaction {
  std::string by;
  std::string reason;
  std::int64_t time_ms = 0;  ///< 0: not known yet
  friend bool operator==(const Redaction&, const Redaction&) = default;
};

/// Which messages stay: those that both limits allow. Without either, all of them.
struct RetentionRule {
  std::uint64_t count = 0;  ///< the last so many (retention_slack()); 0: however many
  std::int64_t age_ms =
      0;  ///< those not older by the session clock, and some that are a little; 0: however old
  std::int64_t time_ms = 0;  ///< when it was said; 0: never
  std::string by;            ///< who said it
  [[nodiscard]] bool keeps_all() const { return count == 0 && age_ms == 0; }
  friend bool operator==(const RetentionRule&, const RetentionRule&) = default;
};

/// A message by where it stands in its room.
struct MessageName {
  std::string room;
  std::uint64_t seq = 0;
  friend auto operator<=>(const MessageName&, const MessageName&) = default;
};

/// A message as history and follow show it.
struct Message {
  std::string room;
  std::uint64_t seq = 0;
  paxos::Slot slot;
  std::uint32_t index = 0;
  std::string name;
  SessionId session;
  std::uint64_t client_seq = 0;
  std::int64_t time_ms = 0;
  std::string text;
  std::int64_t written_ms =
      0;  ///< the sender's wall clock when it was written, of one that waited; 0: not said
  std::optional<Redaction> redacted = {};  ///< then the text is empty
  std::uint32_t key = 0;                   ///< under which it came; 0: none with a role
  bool proven = false;                     ///< its name is that key's own
  friend bool operator==(const Message&, const Message&) = default;
};

/// One put or delete in the state store's ordered key space; chat/rows.h owns the bytes of both.
struct Row {
  std::string key;
  std::optional<std::string> value;  ///< nothing: delete
  friend bool operator==(const Row&, const Row&) = default;
};

/// Under which key a command came.
struct Poster {
  std::uint32_t key = 0;  ///< 0: none with a role
  bool proven = false;    ///< its name is that key's own
};

/// What applying one slot gave. `rows` move together with (applied slot, hash), which are in them.
struct Applied {
  paxos::Slot slot;
  paxos::Hash hash;  ///< chain over slot, decree and outcomes
  bool noop = false;
  std::string
      refused;  ///< not empty: it raised the rules above those that this program knows. Nothing was applied
  std::vector<CommandView> commands;  ///< for whoever answers and pushes
  std::vector<Outcome> outcomes;      ///< one a command
  std::vector<Poster> posters;        ///< likewise; none where no command came under a key
  std::vector<Row> rows;
  bool configured = false;              ///< another configuration begins with the next slot
  std::vector<MessageName> redactions;  ///< asked for by this slot
  std::vector<MessageName> kept_from;   ///< of rooms that forget messages: the first one that they keep
  paxos::Bytes value;                   ///< of the decree: `commands` point into it
};

/// Ordered read access to rows, at one point of time. Implemented by storage/ and by the simulator.
class RowReader {
 public:
  virtual ~RowReader() = default;
  /// Calls `visit(key, value)` for keys in [from, to) ascending, until it returns false.
  virtual void scan(std::string_view from, std::string_view to,
                    const std::function<bool(std::string_view, std::string_view)>& visit) const = 0;
  /// The same, descending from the last key below `to` down to `from`.
  virtual void scan_back(std::string_view from, std::string_view to,
                         const std::function<bool(std::string_view, std::string_view)>& visit) const = 0;
  [[nodiscard]] virtual std::optional<std::string> get(std::string_view key) const = 0;
};

class AccessTable;

/// Loop thread only. Memory is bounded by limits.h.
class Machine {
 public:
  explicit Machine(std::uint16_t rules_known = rules_released, const MachineBounds& bounds = {});
  ~Machine();
  Machine(Machine&&) noexcept;
  Machine& operator=(Machine&&) noexcept;

  /// Rebuilds the machine from rows; an empty store gives slot 0. Errors name the damaged row.
  /// So does the one of rules above `rules_known`, which only a newer program can apply.
  [[nodiscard]] static tl::expected<Machine, std::string> load(const RowReader& rows,
                                                               std::uint16_t rules_known = rules_released,
                                                               const MachineBounds& bounds = {});

  /// Applies the next slot: requires slot == applied() + 1. A value that does not decode is applied as
  /// a no-op with verdicts none (all replicas see the same bytes).
  [[nodiscard]] Applied apply(paxos::Slot slot, const paxos::Decree& decree);

  /// By which commands are applied; raised by decrees.
  [[nodiscard]] std::uint16_t rules() const;
  /// Of the slot after the applied one; nothing: the one of birth.
  [[nodiscard]] const std::optional<paxos::Configuration>& configuration() const;
  [[nodiscard]] paxos::Slot applied() const;
  [[nodiscard]] paxos::Hash hash() const;
  [[nodiscard]] std::uint64_t room_head(std::string_view room) const;  ///< last seq; 0: no such room
  /// The first message that it keeps; above its head: it keeps none. 1: no such room, or all of them.
  [[nodiscard]] std::uint64_t room_first(std::string_view room) const;
  /// Of all rooms that have forgotten some.
  [[nodiscard]] std::vector<MessageName> kept_from() const;
  [[nodiscard]] std::size_t sessions() const;
  [[nodiscard]] std::size_t answer_bytes() const;  ///< memory of the stored answers
  [[nodiscard]] std::size_t rooms() const;
  [[nodiscard]] std::int64_t clock_ms() const;  ///< session clock
  [[nodiscard]] const BoundsReached& bounds_reached() const;

  /// What the gate needs to know of a session; nothing when there is none.
  struct SessionView {
    std::uint64_t last_seq = 0;
    Credential whose;  ///< under which it was opened
  };
  [[nodiscard]] std::optional<SessionView> session(const SessionId& id) const;
  /// content_of() the command of a session whose answer is kept; nothing: none of that seq is.
  [[nodiscard]] std::optional<std::uint64_t> answered_content(const SessionId& id, std::uint64_t seq) const;
  /// The message that stands under a key; nullptr: none, or not any more. Valid until the next apply().
  [[nodiscard]] const KeyedMessage* keyed(std::string_view room, std::string_view key) const;
  [[nodiscard]] std::size_t keys() const;
  /// The keys that were issued, and whose the names are. Valid until the next apply().
  [[nodiscard]] const AccessTable& access() const;
  /// What the log would say now of this command of a session that was opened under that key, as far as keys
  /// and names go: done where it may run.
  [[nodiscard]] Verdict access_verdict(const Credential& whose, const CommandView& command) const;
  /// What load() found of the redactions that this replica carries out, or carried out: rows 'y', by key. To
  /// be asked once.
  [[nodiscard]] std::vector<Row> take_erasures();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// --- reading rows back (state thread; each call is bounded by page_messages_max / page_bytes_max) ---

struct HistoryPage {
  std::vector<Message> messages;  ///< ascending by seq
  std::uint64_t next = 0;         ///< ask on from here; 0: nothing above (as of the rows read)
  std::uint64_t head = 0;         ///< the room's last seq as of the rows read
  std::uint64_t first = 1;        ///< what stood below it is forgotten
  friend bool operator==(const HistoryPage&, const HistoryPage&) = default;
};
/// Messages of `room` with seq >= from, or from the first one that it keeps on, at most `limit`.
[[nodiscard]] tl::expected<HistoryPage, std::string> read_history(const RowReader& rows,
                                                                  std::string_view room, std::uint64_t from,
                                                                  std::size_t limit);
/// Where a message stands in the log, and whose it is.
struct MessagePlace {
  paxos::Slot slot;
  std::uint32_t index = 0;
  SessionId session;
  std::uint64_t client_seq = 0;
  friend bool operator==(const MessagePlace&, const MessagePlace&) = default;
};
/// The run of messages that holds this one, as it is stored once that message's text is out: the row is the
/// same where it is out already.
struct RunWithout {
  MessagePlace place;
  Row row;
  std::string name;  ///< the message's, and its text as it stands
  std::string text;
};
[[nodiscard]] tl::expected<RunWithout, std::string> run_without_text(const RowReader& rows,
                                                                     const MessageName& message);
/// (applied slot, hash) that the rows stand at.
struct AppliedMark {
  paxos::Slot slot;
  paxos::Hash hash;
  std::uint16_t rules = 1;
};
[[nodiscard]] tl::expected<AppliedMark, std::string> read_applied(const RowReader& rows);
/// Hash chain at a retained slot (all slots, for now).
[[nodiscard]] std::optional<paxos::Hash> read_hash(const RowReader& rows, paxos::Slot slot);
/// Which commands of a slot were repeats or refused, for `paxosctl log`: one verdict a command.
[[nodiscard]] std::vector<Outcome> read_outcomes(const RowReader& rows, paxos::Slot slot);

}  // namespace chat
