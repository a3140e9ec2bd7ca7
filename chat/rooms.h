#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "chat/machine.h"

/// The list of rooms, as the rows have it: the machine itself remembers neither times nor topics.
namespace chat {

struct RoomLine {
  std::string name;
  std::uint64_t messages = 0;
  std::int64_t last_ms = 0;  ///< its last message's time
  std::string topic;         ///< empty: none
  std::string topic_by;
  std::int64_t topic_ms = 0;
  friend bool operator==(const RoomLine&, const RoomLine&) = default;
};

/// Rooms in the order of their rows: by length, then by bytes.
struct RoomsPage {
  std::vector<RoomLine> rooms;
  std::string next;  ///< the room to go on with; empty: there are no more
  friend bool operator==(const RoomsPage&, const RoomsPage&) = default;
};

/// From room `from` on (empty: the first), at most `limit` (0: as many as a page holds). Two seeks a room.
[[nodiscard]] tl::expected<RoomsPage, std::string> read_rooms(const RowReader& rows, std::string_view from,
                                                              std::size_t limit);

/// The row that a message which sets the topic leaves. Requires: `post.topic`.
[[nodiscard]] Row topic_row(const PostView& post, const Outcome& outcome);

}  // namespace chat
