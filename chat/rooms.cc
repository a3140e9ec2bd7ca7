#include "chat/rooms.h"

#include <algorithm>

#include "chat/rows.h"
#include "paxos/coding.h"

namespace chat {

namespace {

/// The room in the key of a run of messages; nothing where that is no such key.
std::string_view room_in(std::string_view key) {
  if (key.size() < 2) return {};
  const std::size_t length = static_cast<unsigned char>(key[1]);
  return key.size() == 2 + length + 8 ? key.substr(2, length) : std::string_view();
}

/// What the last run of a room says.
bool read_last_run(const RowReader& rows, RoomLine& line) {
  bool whole = false;
  rows.scan_back(rows::message(line.name, 0), rows::message(line.name, UINT64_MAX),
                 [&](std::string_view key, std::string_view value) {
                   paxos::ByteReader r(value);
                   const auto version = r.fixed<std::uint8_t>();
                   r.raw(8);  // the slot
                   line.last_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
                   const std::uint64_t count = r.varint();
                   line.messages = paxos::ByteReader(key.substr(key.size() - 8)).key64() + count - 1;
                   whole = r.ok() && (version == rows::row_version || version == rows::stamped_run_version) &&
                           count > 0;
                   return false;
                 });
  return whole;
}

bool read_topic(const RowReader& rows, RoomLine& line) {
  const auto row = rows.get(rows::topic(line.name));
  if (!row) return true;
  paxos::ByteReader r{std::string_view(*row)};
  const auto version = r.fixed<std::uint8_t>();
  r.raw(8);  // the slot
  line.topic_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  line.topic_by = r.sized_view(limits::name_bytes_max);
  line.topic = r.sized_view(limits::topic_bytes_max);
  return r.done() && version == rows::row_version;
}

}  // namespace

Row topic_row(const PostView& post, const Outcome& outcome) {
  Row row{.key = rows::topic(post.room), .value = std::nullopt};
  if (post.topic->empty()) return row;
  std::string& value = row.value.emplace();
  paxos::ByteWriter w(value);
  w.fixed(rows::row_version);
  w.fixed(outcome.slot.n);
  w.fixed(static_cast<std::uint64_t>(outcome.time_ms));
  w.sized(post.name);
  w.sized(*post.topic);
  return row;
}

tl::expected<RoomsPage, std::string> read_rooms(const RowReader& rows, std::string_view from,
                                                std::size_t limit) {
  RoomsPage page;
  if (from.size() > limits::room_bytes_max) return page;
  limit = limit == 0 ? limits::page_rooms_max : std::min(limit, limits::page_rooms_max);
  std::string start = from.empty() ? rows::family_begin(rows::family_message) : rows::message(from, 0);
  std::size_t bytes = 0;
  for (;;) {
    RoomLine line;
    bool damaged = false;
    rows.scan(start, rows::family_end(rows::family_message), [&](std::string_view key, std::string_view) {
      line.name = room_in(key);
      damaged = line.name.empty();
      return false;
    });
    if (damaged) return tl::make_unexpected(std::string("a row of messages has a damaged key"));
    if (line.name.empty()) return page;
    bytes += line.name.size() + limits::name_bytes_max + limits::topic_bytes_max + 64;
    if (page.rooms.size() == limit || (!page.rooms.empty() && bytes > limits::page_bytes_max)) {
      page.next = line.name;
      return page;
    }
    if (!read_last_run(rows, line))
      return tl::make_unexpected("the messages of room '" + line.name + "' are damaged");
    if (!read_topic(rows, line))
      return tl::make_unexpected("the topic of room '" + line.name + "' is damaged");
    start = rows::message(line.name, UINT64_MAX);
    page.rooms.push_back(std::move(line));
  }
}

}  // namespace chat
