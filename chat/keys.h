#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "chat/command.h"
#include "paxos/types.h"

namespace chat {

/// The message that stands under a key, and what its receipt says.
struct KeyedMessage {
  std::uint64_t content = 0;  ///< XXH3-64 of the text
  std::string name;           ///< of its sender
  SessionId session;
  std::uint64_t client_seq = 0;
  paxos::Slot slot;
  std::uint32_t index = 0;
  std::uint64_t room_seq = 0;
  std::int64_t time_ms = 0;
  std::int64_t clock_ms = 0;  ///< session clock when it was posted
};

/// Messages that were posted under a key: `paxoschat send --key`. Each stands for limits::key_kept_ms of the
/// session clock; above a bound a new one is refused. Deterministic: they go in the order in which they came.
/// Loop thread only.
class KeyTable {
 public:
  [[nodiscard]] const KeyedMessage* find(std::string_view room, std::string_view key) const;
  /// Room for one more of that size?
  [[nodiscard]] bool takes(std::string_view room, std::string_view key, std::size_t sender_bytes) const;
  /// Requires: takes(), and that it is not there. The clock never goes back from one to the next.
  void insert(std::string_view room, std::string_view key, KeyedMessage message) {
    insert(name_of(room, key), std::move(message));
  }
  /// `name` as name_of() makes it.
  void insert(std::string name, KeyedMessage message);
  [[nodiscard]] const KeyedMessage* find(const std::string& name) const;
  /// The name (as name_of() makes it) of the oldest one when it is older than allowed, which is gone then.
  [[nodiscard]] std::optional<std::string> expire(std::int64_t clock_ms);

  [[nodiscard]] std::size_t size() const { return by_name_.size(); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

  /// Room and key as one: the room's length (1 byte), room, key.
  [[nodiscard]] static std::string name_of(std::string_view room, std::string_view key);

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  using Map = std::unordered_map<std::string, KeyedMessage, Hash, std::equal_to<>>;
  [[nodiscard]] static std::size_t weight(std::size_t name_bytes, std::size_t sender_bytes);

  Map by_name_;                      ///< its nodes never move
  std::deque<Map::iterator> order_;  ///< oldest first
  std::size_t bytes_ = 0;
};

/// The value of a key's row, without its version byte: docs/ROWS.md.
void encode_keyed(std::string& out, const KeyedMessage& message);
[[nodiscard]] std::optional<KeyedMessage> decode_keyed(std::string_view bytes);

}  // namespace chat
