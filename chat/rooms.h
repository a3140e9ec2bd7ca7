#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "chat/machine.h"

/// The list of rooms, as the rows have it: the machine itself remembers neither times nor topics.
namespace chat {

struct RoomLine {
  std::string name;
  std::uint64_t messages = 0;  ///< that it had, which is the number of its last one
  std::int64_t last_ms = 0;    ///< its last message's time; 0: that is forgotten
  std::string topic;           ///< empty: none
  std::string topic_by;
  std::int64_t topic_ms = 0;
  std::uint64_t first = 1;                 ///< of the messages that it keeps
  std::optional<RetentionRule> rule = {};  ///< its own
  friend bool operator==(const RoomLine&, const RoomLine&) = default;
};

/// Rooms in the order of their rows: by length, then by bytes.
struct RoomsPage {
  std::vector<RoomLine> rooms;
  std::string next;       ///< the room to go on with; empty: there are no more
  RetentionRule for_all;  ///< of those that have none of their own
  friend bool operator==(const RoomsPage&, const RoomsPage&) = default;
};

/// From room `from` on (empty: the first), at most `limit` (0: as many as a page holds). Some seeks a room.
[[nodiscard]] tl::expected<RoomsPage, std::string> read_rooms(const RowReader& rows, std::string_view from,
                                                              std::size_t limit);

/// The row that takes the room's topic away where this message set it; nothing where it did not.
[[nodiscard]] std::optional<Row> topic_row_set_by(const RowReader& rows, const MessageName& message);
/// The row that a message which sets the topic leaves. Requires: `post.topic`.
[[nodiscard]] Row topic_row(const PostView& post, const Outcome& outcome);

}  // namespace chat
