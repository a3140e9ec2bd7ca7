#include "chat/rooms.h"

#include <algorithm>
#include <utility>

#include "chat/retention.h"
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

/// The room in the key of a row 'n'; nothing where that is no such key.
std::string_view kept_room_in(std::string_view key) {
  if (key.size() < 2) return {};
  const std::size_t length = static_cast<unsigned char>(key[1]);
  return key.size() == 2 + length ? key.substr(2) : std::string_view();
}

/// Of two rooms, or of one where the other's name is empty, the first in the order of their rows.
bool comes_first(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) return !a.empty();
  return std::pair(a.size(), a) < std::pair(b.size(), b);
}

/// What the last run of a room says; where it keeps none, `line.first` says it.
bool read_last_run(const RowReader& rows, RoomLine& line) {
  line.messages = line.first - 1;
  bool whole = line.first > 1;
  rows.scan_back(rows::message(line.name, 0), rows::message(line.name, UINT64_MAX),
                 [&](std::string_view key, std::string_view value) {
                   paxos::ByteReader r(value);
                   const auto version = r.fixed<std::uint8_t>();
                   r.raw(8);  // the slot
                   line.last_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
                   const std::uint64_t count = r.varint();
                   line.messages = paxos::ByteReader(key.substr(key.size() - 8)).key64() + count - 1;
                   whole = r.ok() && version >= rows::row_version && version <= rows::keyed_run_version &&
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
  const std::uint64_t seq = r.varint();
  const auto time_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  const std::string_view by = r.sized_view(limits::name_bytes_max);
  const std::string_view topic = r.sized_view(limits::topic_bytes_max);
  if (!r.done() || version != rows::row_version) return false;
  // It goes with the message that set it.
  if (rows.get(rows::redaction(line.name, seq))) return true;
  line.topic_ms = time_ms;
  line.topic_by = by;
  line.topic = topic;
  return true;
}

}  // namespace

Row topic_row(const PostView& post, const Outcome& outcome) {
  Row row{.key = rows::topic(post.room), .value = std::nullopt};
  if (post.topic->empty()) return row;
  std::string& value = row.value.emplace();
  paxos::ByteWriter w(value);
  w.fixed(rows::row_version);
  w.fixed(outcome.slot.n);
  w.varint(outcome.room_seq);
  w.fixed(static_cast<std::uint64_t>(outcome.time_ms));
  w.sized(post.name);
  w.sized(*post.topic);
  return row;
}

std::optional<Row> topic_row_set_by(const RowReader& rows, const MessageName& message) {
  const std::string key = rows::topic(message.room);
  const auto row = rows.get(key);
  if (!row) return std::nullopt;
  paxos::ByteReader r{std::string_view(*row)};
  r.raw(1 + 8);
  return r.varint() == message.seq && r.ok() ? std::optional(Row{key, std::nullopt}) : std::nullopt;
}

tl::expected<RoomsPage, std::string> read_rooms(const RowReader& rows, std::string_view from,
                                                std::size_t limit) {
  RoomsPage page;
  if (from.size() > limits::room_bytes_max) return page;
  limit = limit == 0 ? limits::page_rooms_max : std::min(limit, limits::page_rooms_max);
  const auto for_all = read_rule_for_all(rows);
  if (!for_all) return tl::make_unexpected(for_all.error());
  page.for_all = *for_all;
  std::string start = from.empty() ? rows::family_begin(rows::family_message) : rows::message(from, 0);
  // A room that keeps none of its messages has only the row that says so. The first key is that of no room.
  std::string start_kept = from.empty() ? rows::kept({}) + '\0' : rows::kept(from);
  std::size_t bytes = 0;
  for (;;) {
    RoomLine line;
    bool damaged = false;
    rows.scan(start, rows::family_end(rows::family_message), [&](std::string_view key, std::string_view) {
      line.name = room_in(key);
      damaged = line.name.empty();
      return false;
    });
    rows.scan(start_kept, rows::family_end(rows::family_kept), [&](std::string_view key, std::string_view) {
      const std::string_view name = kept_room_in(key);
      damaged = damaged || name.empty();
      if (comes_first(name, line.name)) line.name = name;
      return false;
    });
    if (damaged)
      return tl::make_unexpected(
          std::string("a row of messages, or of what a room keeps, has a damaged key"));
    if (line.name.empty()) return page;
    bytes += line.name.size() + limits::name_bytes_max + limits::topic_bytes_max + 64;
    if (page.rooms.size() == limit || (!page.rooms.empty() && bytes > limits::page_bytes_max)) {
      page.next = line.name;
      return page;
    }
    auto kept = read_kept(rows, line.name);
    if (!kept) return tl::make_unexpected(kept.error());
    line.first = kept->first;
    line.rule = std::move(kept->rule);
    if (!read_last_run(rows, line))
      return tl::make_unexpected("the messages of room '" + line.name + "' are damaged");
    if (line.messages < line.first) line.last_ms = 0;
    if (!read_topic(rows, line))
      return tl::make_unexpected("the topic of room '" + line.name + "' is damaged");
    start = rows::message(line.name, UINT64_MAX);
    start_kept = rows::kept(line.name) + '\0';
    page.rooms.push_back(std::move(line));
  }
}

}  // namespace chat
