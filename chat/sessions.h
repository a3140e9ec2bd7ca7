#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "chat/command.h"
#include "chat/machine.h"

namespace chat {

/// What a session's command gave, kept until the client says that it has the answer.
struct StoredAnswer {
  std::uint64_t seq = 0;
  std::uint64_t content = 0;  ///< XXH3-64 of the operation's bytes
  Verdict verdict = Verdict::done;
  paxos::Slot slot;
  std::uint32_t index = 0;
  std::uint64_t room_seq = 0;
  std::int64_t time_ms = 0;
};

struct Session {
  SessionId id;
  Nonce nonce{};
  std::uint64_t last_seq = 0;
  std::uint64_t answered_below = 1;
  std::int64_t active_ms = 0;  ///< session clock when it last did something
  paxos::Slot active_slot;     ///< where it last did something: orders the idle list on reload
  std::uint32_t active_index = 0;
  std::deque<StoredAnswer> answers;  ///< ascending by seq, all >= answered_below
};

/// All sessions, by id, by nonce, and by how long they have been idle. Deterministic: the idle order is the
/// order of application.
class SessionTable {
 public:
  [[nodiscard]] Session* find(const SessionId& id);
  [[nodiscard]] const Session* find(const SessionId& id) const;
  [[nodiscard]] Session* find(const Nonce& nonce);
  Session& insert(Session session);
  void erase(const SessionId& id);
  /// Now the least idle one.
  void touch(Session& session, std::int64_t clock_ms, paxos::Slot slot, std::uint32_t index);
  [[nodiscard]] const Session* longest_idle() const;
  [[nodiscard]] std::size_t size() const { return by_id_.size(); }

 private:
  struct Hasher {
    std::size_t operator()(const SessionId& id) const {
      return static_cast<std::size_t>((id.slot.n * 0x9e3779b97f4a7c15ULL) ^
                                      (id.index * 0xc2b2ae3d27d4eb4fULL));
    }
  };
  struct Entry {
    Session session;
    std::list<SessionId>::iterator idle;
  };
  std::unordered_map<SessionId, Entry, Hasher> by_id_;
  std::map<Nonce, SessionId> by_nonce_;
  std::list<SessionId> idle_;  ///< longest idle first
};

[[nodiscard]] std::string encode_session(const Session& session);
[[nodiscard]] std::optional<Session> decode_session(const SessionId& id, std::string_view bytes);

}  // namespace chat
