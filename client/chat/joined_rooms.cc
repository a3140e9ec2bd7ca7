#include "client/chat/joined_rooms.h"

#include <fmt/format.h>

#include <algorithm>

#include "client/chat/chat_words.h"
#include "client/terminal/printable.h"
#include "client/terminal/screen.h"

namespace client {

namespace {
constexpr std::size_t prompted_max = 3;
constexpr std::size_t prompted_columns = 12;
}  // namespace

std::optional<std::size_t> JoinedRooms::find(std::string_view name) const {
  for (std::size_t i = 0; i < rooms_.size(); ++i)
    if (rooms_[i].name == name) return i;
  return std::nullopt;
}

JoinedRooms::Room* JoinedRooms::of_visit(std::uint64_t visit) {
  const auto at =
      std::find_if(rooms_.begin(), rooms_.end(), [&](const Room& room) { return room.visit == visit; });
  return at == rooms_.end() ? nullptr : &*at;
}

std::optional<std::size_t> JoinedRooms::join(const std::string& name) {
  if (const auto known = find(name)) return known;
  if (rooms_.size() >= rooms_max) return std::nullopt;
  rooms_.push_back({.name = name, .visit = ++visits_, .recent = {}});
  return rooms_.size() - 1;
}

void JoinedRooms::leave(std::size_t at) {
  rooms_.erase(rooms_.begin() + static_cast<std::ptrdiff_t>(at));
  if (current_ > at || current_ == rooms_.size()) --current_;
}

JoinedRooms::Entered JoinedRooms::go(std::size_t at) {
  current_ = at;
  Room& room = rooms_.at(at);
  Entered out;
  const std::size_t fresh = std::min<std::size_t>(room.unread, room.recent.size());
  out.left_out = room.unread - fresh;
  const std::size_t old_end = room.recent.size() - fresh;
  for (std::size_t i = old_end > shown_again ? old_end - shown_again : 0; i < room.recent.size(); ++i)
    (i < old_end ? out.old : out.fresh).push_back(room.recent[i]);
  room.unread = 0;
  room.mentions = 0;
  return out;
}

std::size_t JoinedRooms::next() const {
  const auto first = [&](auto&& fits) -> std::optional<std::size_t> {
    for (std::size_t i = 1; i < rooms_.size(); ++i)
      if (const std::size_t at = (current_ + i) % rooms_.size(); fits(rooms_[at])) return at;
    return std::nullopt;
  };
  if (const auto called = first([](const Room& room) { return room.mentions > 0; })) return *called;
  if (const auto unread = first([](const Room& room) { return room.unread > 0; })) return *unread;
  return rooms_.empty() ? 0 : (current_ + 1) % rooms_.size();
}

JoinedRooms::Came JoinedRooms::take(std::uint64_t visit, const chat::Message& message, std::string_view me,
                                    bool old) {
  Room* room = of_visit(visit);
  if (room == nullptr) return Came::wait;
  room->recent.push_back(message);
  room->recent_bytes += message.text.size();
  while (room->recent.size() > kept_max || (room->recent_bytes > kept_bytes_max && room->recent.size() > 1)) {
    room->recent_bytes -= room->recent.front().text.size();
    room->recent.pop_front();
  }
  const bool here = room == &rooms_.at(current_);
  if (old) return here ? Came::show : Came::wait;
  const bool called =
      message.name != me && (mentions(message.text, me) || (room->name.starts_with('@') && !here));
  if (!here) {
    ++room->unread;
    if (called) ++room->mentions;
  }
  const bool ring = called && !rung_;
  if (ring) rung_ = true;
  return ring ? Came::ring : here ? Came::show : Came::wait;
}

std::string JoinedRooms::prompt() const {
  // Who is called comes first, so that it is never left out.
  std::vector<std::size_t> waiting;
  for (const bool called : {true, false})
    for (std::size_t i = 0; i < rooms_.size(); ++i)
      if (i != current_ && rooms_[i].unread > 0 && (rooms_[i].mentions > 0) == called) waiting.push_back(i);
  std::string out;
  for (std::size_t i = 0; i < std::min(waiting.size(), prompted_max); ++i) {
    const Room& room = rooms_[waiting[i]];
    out += fmt::format("{}{} {} {}{}", i == 0 ? "[" : ", ", waiting[i] + 1,
                       cut(printable_name(room.name), prompted_columns), room.unread,
                       room.mentions > 0 ? "!" : "");
  }
  if (waiting.size() > prompted_max) out += fmt::format(", {} more", waiting.size() - prompted_max);
  return (out.empty() ? "" : out + "] ") + printable_name(current().name) + "> ";
}

}  // namespace client
