#include "client/session/room_names.h"

#include "chat/command.h"
#include "chat/invisible.h"
#include "client/terminal/printable.h"
#include "client/terminal/words.h"
#include "config/flags.h"

namespace client {

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
