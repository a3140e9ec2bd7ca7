#include "client/chat/chat_people.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "client/chat/chat.h"
#include "client/chat/chat_words.h"
#include "client/chat/patience.h"
#include "client/session/room_list.h"
#include "client/session/room_names.h"
#include "client/terminal/screen.h"
#include "client/terminal/words.h"

namespace client {

using namespace std::chrono_literals;

namespace {

constexpr std::chrono::milliseconds who_timeout = 600ms;
constexpr std::chrono::milliseconds page_timeout = 3s;
/// How often a replica is told who is here: it forgets whom it has not heard of for presence_kept_ms.
constexpr paxos::Duration presence_every = 10s;
constexpr paxos::Duration old_every = 60s;
/// Rooms that a replica is asked for at one time; the next look begins behind them.
constexpr std::size_t looked_at_max = 512;
constexpr std::size_t known_rooms_max = 65'536;
constexpr std::size_t shown_rooms_max = 2048;
/// Rooms of two are joined by themselves up to here: some places are for those that the person wants.
constexpr std::size_t joined_by_itself_max = JoinedRooms::rooms_max - 8;
constexpr std::uint32_t posted_lately = 500;  ///< messages looked at for names
constexpr std::uint32_t searched_max = 20'000;
constexpr std::size_t found_max = 30;

std::string joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : ", ") + part;
  return out;
}

}  // namespace

net::Task<WhoIsThere> look_who(Connection& c, std::string room, std::string me) {
  WhoIsThere out;
  const auto present = co_await who_is_in(c, room, who_timeout);
  std::vector<std::string> here;
  for (const chat::Present& one : present) {
    here.push_back(printable_name(one.name) + (one.name == me ? " (you)" : ""));
    out.names.push_back(one.name);
  }
  std::map<std::string, std::int64_t> posted;
  HistoryReader reader(c, {.room = room, .last = posted_lately, .local = true, .timeout = local_timeout});
  std::int64_t newest = 0;
  do {
    const auto page = co_await reader.next(posted_lately);
    if (!page) break;
    for (const chat::Message& message : page->messages) {
      if (!message.name.empty()) posted[message.name] = message.time_ms;
      newest = message.time_ms;
    }
  } while (!reader.done() && !c.given_up());
  std::vector<std::pair<std::int64_t, std::string>> gone;
  for (const auto& [name, time_ms] : posted) {
    if (std::find(out.names.begin(), out.names.end(), name) != out.names.end()) continue;
    gone.emplace_back(time_ms, name);
  }
  std::sort(gone.rbegin(), gone.rend());
  const std::int64_t now =
      std::max<std::int64_t>(newest, std::chrono::duration_cast<std::chrono::milliseconds>(
                                         std::chrono::system_clock::now().time_since_epoch())
                                         .count());
  std::vector<std::string> lately;
  for (const auto& [time_ms, name] : gone) {
    lately.push_back(printable_name(name) + " " + age_text(std::chrono::milliseconds{now - time_ms}) +
                     " ago");
    out.names.push_back(name);
  }
  if (here.empty())
    out.lines.push_back(fmt::format("no replica knows of anybody in {} now", room));
  else
    out.lines.push_back(fmt::format("in {} now: {}", room, joined(here)));
  if (!lately.empty()) out.lines.push_back("posted there: " + joined(lately));
  co_return out;
}

net::Task<tl::expected<Searched, std::string>> search_room(Connection& c, std::string room,
                                                           std::string text) {
  const std::string wanted = lower(text);
  Searched out;
  std::string trouble;
  // Without a quorum, what some replica has: a bad night is when one looks for what was said.
  for (const bool local : {false, true}) {
    out = {};
    HistoryReader reader(c, {.room = room,
                             .last = searched_max,
                             .local = local,
                             .timeout = local ? local_timeout : page_timeout});
    bool whole = true;
    do {
      const auto page = co_await reader.next(0);
      if (!page) {
        trouble = page.error();
        whole = false;
        break;
      }
      if (!page->messages.empty() && out.read == 0) out.all = page->messages.front().seq <= page->first;
      for (const chat::Message& message : page->messages) {
        ++out.read;
        if (lower(message.text).find(wanted) == std::string::npos && lower(message.name) != wanted) continue;
        ++out.matches;
        out.found.push_back(message);
        if (out.found.size() > found_max) out.found.erase(out.found.begin());
      }
    } while (!reader.done() && !c.given_up());
    if (whole) co_return out;
  }
  co_return tl::make_unexpected(trouble);
}

// --- what the chat shows of it ---

std::vector<std::string> People::rooms() const {
  std::vector<std::string> out;
  out.assign(known_.begin(), known_.end());
  for (const JoinedRooms::Room& room : joined_.all()) out.push_back(room.name);
  return out;
}

void People::tell(chat::Whereabouts what) {
  if (!chat_.interactive || !understood_ || name_.empty()) return;
  for (const JoinedRooms::Room& room : joined_.all()) tell_whereabouts(c_, what, room.name, name_);
}
void People::tell_gone(const std::string& room) {
  if (!chat_.interactive || !understood_ || name_.empty()) return;
  tell_whereabouts(c_, chat::Whereabouts::gone, room, name_);
}

/// Says who is here, and learns which rooms there are: for Tab, and for rooms of two that somebody else has
/// begun.
net::Task<void> People::keep_in_touch() {
  while (!chat_.over()) {
    const auto rooms = co_await list_rooms(
        c_, {.from = look_from_, .at_most = looked_at_max, .local = true, .timeout = look_timeout});
    if (chat_.over()) co_return;
    // Nothing is said to replicas that don't understand it: they would count it as damage.
    if (rooms || rooms.error().too_old) understood_ = rooms.has_value();
    if (rooms) {
      for (const chat::RoomLine& line : rooms->lines)
        if (known_.size() < known_rooms_max) known_.insert(line.name);
      look_from_ = rooms->next;
      tell(chat::Whereabouts::here);
      for (const chat::RoomLine& line : rooms->lines)
        if (!other_of_two(line.name, name_).empty() && !joined_.find(line.name)) co_await look_into(line);
    }
    co_await chat_.nap(understood_ ? presence_every : old_every);
  }
}

/// A room of two, of which one is here: joined when somebody else said the last word.
net::Task<void> People::look_into(chat::RoomLine line) {
  if (line.messages <= looked_into_[line.name] || name_.empty()) co_return;
  HistoryReader reader(c_,
                       {.room = line.name, .last = shown_on_join, .local = true, .timeout = look_timeout});
  const auto page = co_await reader.next(shown_on_join);
  if (!page || chat_.over()) co_return;
  std::uint64_t unread_from = 0;
  for (const chat::Message& message : page->messages) {
    if (lower(message.name) == lower(name_))
      unread_from = 0;
    else if (unread_from == 0)
      unread_from = message.seq;
  }
  looked_into_[line.name] = line.messages;
  if (unread_from == 0 || joined_.find(line.name) || joined_.all().size() >= joined_by_itself_max) co_return;
  if (const auto at = joined_.join(line.name)) chat_.follow(line.name, joined_.all()[*at].visit, unread_from);
  tell(chat::Whereabouts::here);
}

net::Task<void> People::show_topic(std::string room, bool asked) {
  const auto line = co_await look_up_room(c_, room, look_timeout);
  if (chat_.over()) co_return;
  if (!line) {
    if (asked) chat_.note("no topic: " + line.error().why);
    co_return;
  }
  if (*line && !(*line)->topic.empty())
    chat_.note(fmt::format("topic of {}: {} ({}, {})", room, (*line)->topic,
                           (*line)->topic_by.empty() ? "someone" : (*line)->topic_by,
                           local_time((*line)->topic_ms)));
  else if (asked)
    chat_.note(fmt::format("room {} has no topic; /topic TEXT sets one", room));
}

net::Task<void> People::show_who(std::string room) {
  const WhoIsThere who = co_await look_who(c_, room, name_);
  if (chat_.over()) co_return;
  names_.insert(who.names.begin(), who.names.end());
  for (const std::string& line : who.lines) chat_.note(line);
}

net::Task<void> People::show_rooms() {
  const auto rooms = co_await list_rooms(c_, {.at_most = shown_rooms_max, .local = true, .timeout = 3s});
  if (chat_.over()) co_return;
  if (!rooms) {
    chat_.note("no list of rooms: " + rooms.error().why);
    co_return;
  }
  for (const chat::RoomLine& line : rooms->lines)
    if (known_.size() < known_rooms_max) known_.insert(line.name);
  for (std::size_t i = 0; i < joined_.all().size(); ++i)
    if (std::none_of(rooms->lines.begin(), rooms->lines.end(),
                     [&](const chat::RoomLine& line) { return line.name == joined_.all()[i].name; }))
      chat_.note(fmt::format("{:<20} no messages yet; you are in it ({})", joined_.all()[i].name, i + 1));
  for (const chat::RoomLine& line : rooms->lines) {
    // Others' rooms of two are nothing to be shown around.
    if (line.name.starts_with('@') && other_of_two(line.name, name_).empty() && !joined_.find(line.name))
      continue;
    const auto at = joined_.find(line.name);
    chat_.note(fmt::format("{:<20} {:>14}, the last {}{}{}", printable_name(line.name),
                           counted(line.messages, "message"), local_time(line.last_ms),
                           at ? fmt::format("; you are in it ({})", *at + 1) : "",
                           line.topic.empty() ? "" : "; " + line.topic));
  }
}

net::Task<void> People::search(std::string room, std::string text) {
  const auto searched = co_await search_room(c_, room, text);
  if (chat_.over()) co_return;
  if (!searched) {
    chat_.note("no history: " + searched.error());
    co_return;
  }
  for (const chat::Message& message : searched->found)
    chat_.print(dimmed(local_time(message.time_ms), chat_.colour) + " " +
                said(message, {.colour = chat_.colour, .me = {}}));
  chat_.note(fmt::format(
      "{} with \"{}\" in {}{}{}", counted(searched->matches, "message"), text,
      searched->all ? "" : fmt::format("the last {} of ", counted(searched->read, "message")), "room " + room,
      searched->matches > searched->found.size()
          ? fmt::format("; the last {} are shown", searched->found.size())
          : ""));
}

}  // namespace client
