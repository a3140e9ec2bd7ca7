#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "chat/command.h"
#include "chat/machine.h"
#include "chat/touch_order.h"

namespace chat {

/// What a session's command gave, kept until the client says that it has the answer.
struct StoredAnswer {
  std::uint64_t content = 0;  ///< XXH3-64 of the operation's bytes
  paxos::Slot slot;
  std::uint64_t room_seq = 0;
  std::int64_t time_ms = 0;
  std::uint32_t index = 0;
  Verdict verdict = Verdict::done;
};

/// The answers of consecutive commands, in one piece of memory: a deque would take 600 bytes a session even
/// when empty, and 100,000 of them are allowed. The memory follows what is stored, down too: a session that
/// had 256 answers once holds no more than others. Always: capacity <= max(capacity_min, 2 * size + 1).
class Answers {
 public:
  static constexpr std::size_t capacity_min = 4;

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::span<const StoredAnswer> view() const { return {items_.get() + head_, size_}; }
  [[nodiscard]] std::size_t bytes_held() const { return capacity_ * sizeof(StoredAnswer); }
  void push(const StoredAnswer& answer);
  /// Requires: there are so many.
  void drop_front(std::size_t count);

 private:
  /// Moves what is stored to the front of memory for so many.
  void move_to(std::size_t capacity);

  std::unique_ptr<StoredAnswer[]> items_;
  std::uint32_t capacity_ = 0;
  std::uint32_t head_ = 0;
  std::uint32_t size_ = 0;
};

/// Always: `answers` are those of the seqs answered_below .. last_seq, so there are
/// last_seq + 1 - answered_below of them, at most limits::outstanding_max.
struct Session {
  SessionId id;
  Nonce nonce{};
  Credential whose;  ///< under which it was opened, and all of its commands come
  std::uint64_t last_seq = 0;
  std::uint64_t answered_below = 1;
  std::int64_t active_ms = 0;  ///< session clock when it last did something
  paxos::Slot active_slot;     ///< where it last did something: orders the idle on reload
  std::uint32_t active_index = 0;
  paxos::Slot row_slot;          ///< `active_slot` as its row has it; none: it has no row
  std::uint64_t seq_before = 0;  ///< last_seq before `active_slot`, while that one is being applied
  /// What the journal says of it since its row is not all changes: a row of version 1 begins anew.
  bool journalled_whole = false;
  Answers answers;
  TouchOrder<Session>::Place place;  ///< the table's
};

/// All sessions, by id, by nonce, and by how long they have been idle. Deterministic: the idle order is the
/// order of application. Loop thread only.
class SessionTable {
 public:
  [[nodiscard]] Session* find(const SessionId& id);
  [[nodiscard]] const Session* find(const SessionId& id) const;
  [[nodiscard]] Session* find(const Nonce& nonce);
  /// Requires: no session of that id. It is now the least idle one.
  Session& insert(Session session);
  /// Requires: there is one.
  void erase(const SessionId& id);
  /// Now the least idle one.
  void touch(Session& session, std::int64_t clock_ms, paxos::Slot slot, std::uint32_t index);
  /// Stores the answer to last_seq + 1, which becomes last_seq.
  void answer(Session& session, const StoredAnswer& answer);
  /// The client has the answers of all seqs below `seq`. A mark above what ran is cut.
  void answered(Session& session, std::uint64_t seq);

  [[nodiscard]] const Session* longest_idle() const { return order_.oldest(); }
  [[nodiscard]] TouchOrder<Session>& order() { return order_; }
  [[nodiscard]] std::size_t size() const { return by_id_.size(); }
  [[nodiscard]] std::size_t answers() const { return answers_; }  ///< of all sessions
  /// Memory of all stored answers, as it is really held; at most limits::answer_bytes_max.
  [[nodiscard]] std::size_t answer_bytes() const { return answer_bytes_; }

 private:
  struct IdHash {
    std::size_t operator()(const SessionId& id) const;
  };
  struct NonceHash {
    std::size_t operator()(const Nonce& nonce) const;
  };
  std::unordered_map<SessionId, Session, IdHash> by_id_;  ///< its nodes never move
  std::unordered_map<Nonce, Session*, NonceHash> by_nonce_;
  TouchOrder<Session> order_;
  std::size_t answers_ = 0;
  std::size_t answer_bytes_ = 0;
};

namespace limits {
/// What answers_max and sessions_max come to, by Answers' own rule.
inline constexpr std::size_t answer_bytes_max =
    (2 * answers_max + (Answers::capacity_min + 1) * sessions_max) * sizeof(StoredAnswer);
static_assert(answer_bytes_max <= 128u << 20);
}  // namespace limits

/// Whether something about it stands in the journal only.
[[nodiscard]] inline bool has_changes(const Session& session) {
  return session.active_slot > session.row_slot;
}
/// At which place in a ring of `ring` slots a session with changes gets its row. Spread, so that sessions
/// that are touched together don't get theirs together.
[[nodiscard]] std::uint64_t row_phase(const SessionId& id, std::uint64_t ring);

/// What `active_slot` did to a session that was there before: docs/ROWS.md. Requires: that slot has just been
/// applied, at session clock `clock_ms`.
void encode_change(std::string& out, const Session& session);
/// Does the same to the session as it was before that slot. False when the bytes are not exactly a change of
/// it; it is then good for nothing.
[[nodiscard]] bool apply_change(Session& session, paxos::Slot slot, std::int64_t clock_ms,
                                std::string_view bytes);

/// Everything but the id: docs/ROWS.md.
void encode_session(std::string& out, const Session& session);
/// Nothing when the bytes are not exactly a session's.
[[nodiscard]] std::optional<Session> decode_session(const SessionId& id, std::string_view bytes);

}  // namespace chat
