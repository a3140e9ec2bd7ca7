#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/machine.h"

namespace client {

/// The rooms that a person is in, one of them on the screen; what came in the others waits here. Pure.
class JoinedRooms {
 public:
  static constexpr std::size_t rooms_max = 32;
  static constexpr std::size_t kept_max = 200;                           ///< messages of each
  static constexpr std::size_t kept_bytes_max = std::size_t{512} << 10;  ///< of their texts, likewise
  static constexpr std::size_t shown_again = 5;  ///< old ones, when a room comes back to the screen

  struct Room {
    std::string name;
    std::uint64_t unread = 0;
    std::uint64_t mentions = 0;  ///< among them
    std::uint64_t visit = 0;     ///< tells this joining from an earlier one of the same room
    std::deque<chat::Message> recent;
    std::size_t recent_bytes = 0;
  };

  /// Nothing where there are too many. One that is joined already stays as it is.
  std::optional<std::size_t> join(const std::string& name);
  /// Requires: it is not the only one. Another one comes to the screen if it was there.
  void leave(std::size_t at);
  [[nodiscard]] std::optional<std::size_t> find(std::string_view name) const;
  [[nodiscard]] Room* of_visit(std::uint64_t visit);
  [[nodiscard]] const std::vector<Room>& all() const { return rooms_; }
  [[nodiscard]] const Room& current() const { return rooms_.at(current_); }
  [[nodiscard]] std::size_t current_index() const { return current_; }

  /// What is to be shown when a room comes to the screen; nothing of it is unread any more.
  struct Entered {
    std::vector<chat::Message> old;
    std::vector<chat::Message> fresh;
    std::uint64_t left_out = 0;  ///< unread ones that are not kept here
  };
  Entered go(std::size_t at);
  /// Where the next one to look at is: who was called first, then what is unread, then simply the next.
  [[nodiscard]] std::size_t next() const;

  enum class Came : std::uint8_t { show, wait, ring };
  /// A message of the joining `visit`: to be shown now, or counted; rings where `me` is called for the first
  /// time since that room was looked at. `old`: of before the room was joined.
  Came take(std::uint64_t visit, const chat::Message& message, std::string_view me, bool old);
  /// The person is there: the next call rings again.
  void looked() { rung_ = false; }

  /// "[2 dev 3, 3 db 1!] ops> "; short enough for a line that is still to be written.
  [[nodiscard]] std::string prompt() const;

 private:
  std::vector<Room> rooms_;
  std::size_t current_ = 0;
  std::uint64_t visits_ = 0;
  bool rung_ = false;
};

}  // namespace client
