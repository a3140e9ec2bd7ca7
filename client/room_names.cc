#include "client/room_names.h"

#include <clocale>
#include <cwctype>

#include "chat/command.h"
#include "chat/invisible.h"
#include "client/printable.h"
#include "config/flags.h"

namespace client {

namespace {

/// The same for everybody, whatever the person's own locale.
locale_t unicode() {
  static const locale_t found = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return found;
}

std::uint32_t lower_point(std::uint32_t point) {
  if (point < 0x80) return point >= 'A' && point <= 'Z' ? point + 32 : point;
  return unicode() == nullptr ? point : static_cast<std::uint32_t>(::towlower_l(static_cast<wint_t>(point), unicode()));
}

void append(std::string& out, std::uint32_t point) {
  const auto byte = [&](std::uint32_t b) { out.push_back(static_cast<char>(b)); };
  if (point < 0x80) return byte(point);
  if (point < 0x800) return byte(0xc0 | point >> 6), byte(0x80 | (point & 0x3f));
  if (point < 0x10000) {
    byte(0xe0 | point >> 12);
  } else {
    byte(0xf0 | point >> 18);
    byte(0x80 | (point >> 12 & 0x3f));
  }
  byte(0x80 | (point >> 6 & 0x3f));
  byte(0x80 | (point & 0x3f));
}

}  // namespace

std::string lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const chat::Character c = chat::first_character(text);
    if (c.bytes == 0)
      out.push_back(text[0]);
    else
      append(out, lower_point(c.point));
    text.remove_prefix(c.bytes == 0 ? 1 : c.bytes);
  }
  return out;
}

std::string fold_room(std::string_view typed) {
  if (typed.size() > 1 && typed[0] == '#') typed.remove_prefix(1);
  return lower(typed);
}

std::string room_fault(std::string_view name) {
  if (std::string fault = chat::validate_room(name); !fault.empty()) return fault;
  return chat::validate_new_room(name);
}

bool is_plain_room(std::string_view name) { return fold_room(name) == name && !chat::has_blank_ends(name); }

std::string near_room(std::string_view name, const std::vector<std::string>& rooms) {
  const std::string folded = fold_room(name);
  std::vector<std::string> candidates;
  for (const std::string& room : rooms) {
    if (fold_room(room) == folded && room != name) return room;
    // Two errors in a name of two letters make any other.
    if (room != name && room.size() > 2 && !room.starts_with('@')) candidates.push_back(room);
  }
  return folded.size() > 2 ? config::nearest(folded, candidates) : std::string();
}

std::string did_you_mean(const std::string& near) {
  return near.empty() ? std::string() : "; did you mean " + printable_name(near) + "?";
}

std::string room_of_two(std::string_view one, std::string_view other) {
  std::string a = lower(one);
  std::string b = lower(other);
  if (b < a) a.swap(b);
  return "@" + a + "," + b;
}

std::string other_of_two(std::string_view room, std::string_view me) {
  if (!room.starts_with('@') || me.empty()) return {};
  const std::size_t comma = room.find(',');
  if (comma == std::string_view::npos) return {};
  const std::string_view a = room.substr(1, comma - 1);
  const std::string_view b = room.substr(comma + 1);
  const std::string mine = lower(me);
  if (a == mine) return std::string(b);
  return b == mine ? std::string(a) : std::string();
}

}  // namespace client
