#include "client/chat/chat_visits.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "client/chat/chat_words.h"
#include "client/chat/find_room.h"
#include "client/chat/patience.h"
#include "client/session/room_list.h"
#include "client/session/room_names.h"
#include "client/terminal/screen.h"
#include "client/terminal/words.h"

namespace client {

using namespace std::chrono_literals;

Visits::Visits(Connection& connection, const std::string& name, Chat chat)
    : c_(connection),
      name_(name),
      chat_(std::move(chat)),
      people_(c_, rooms_, name_,
              {.note = chat_.note,
               .print = chat_.print,
               .over = chat_.over,
               .nap = chat_.nap,
               .follow = [this](const std::string& room, std::uint64_t visit,
                                std::uint64_t unread_from) { chat_.spawn(follow(room, visit, unread_from)); },
               .interactive = chat_.interactive,
               .colour = chat_.colour}) {}

bool Visits::join(const std::string& room) {
  const std::size_t before = rooms_.all().size();
  const auto at = rooms_.join(room);
  if (!at) {
    chat_.note(fmt::format("{} rooms are joined; /leave one first", rooms_.all().size()));
    return false;
  }
  if (rooms_.all().size() > before) chat_.spawn(follow(room, rooms_.all()[*at].visit, 0));
  go(*at, before > 0);
  return true;
}

void Visits::go(std::size_t at, bool say) {
  const JoinedRooms::Entered entered = rooms_.go(at);
  chat_.prompt_changed();
  const std::uint64_t fresh = entered.fresh.size() + entered.left_out;
  if (say)
    chat_.note(fmt::format("now in {}{}", here().name, fresh > 0 ? fmt::format(", {} new", fresh) : ""));
  for (const chat::Message& message : entered.old) chat_.show(message);
  if (fresh > 0 && chat_.interactive) chat_.print(dimmed("---------- new ----------", chat_.colour));
  if (entered.left_out > 0)
    chat_.note(fmt::format("{} more before these: /history {}", entered.left_out,
                           std::min<std::uint64_t>(fresh, shown_at_most)));
  for (const chat::Message& message : entered.fresh) chat_.show(message);
  people_.tell(chat::Whereabouts::here);
}

void Visits::leave(const std::string& typed) {
  const auto at = typed.empty() ? std::optional(rooms_.current_index()) : joined(typed);
  if (!at) return chat_.note(fmt::format("you are not in room {}", typed));
  if (rooms_.all().size() == 1) return chat_.note("it is the only room; /quit leaves the chat");
  const JoinedRooms::Room room = rooms_.all()[*at];
  const bool current = *at == rooms_.current_index();
  people_.dismiss(room);
  if (const auto follower = followers_.find(room.visit); follower != followers_.end()) {
    follower->second->stop();
    followers_.erase(follower);
  }
  people_.tell_gone(room.name);
  rooms_.leave(*at);
  chat_.note("left " + room.name);
  if (current)
    go(rooms_.current_index());
  else
    chat_.prompt_changed();
}

/// A joined room by what was typed for it.
std::optional<std::size_t> Visits::joined(const std::string& typed) const {
  const auto exact = rooms_.find(typed);
  return exact ? exact : rooms_.find(fold_room(typed));
}

void Visits::go_to(const std::string& typed) {
  if (const auto known = joined(typed)) return go(*known);
  if (const std::string fault = chat::validate_room(typed); !fault.empty())
    return chat_.note(fault + "; /join ROOM");
  // A script has nobody to ask, and means what it says.
  if (!chat_.interactive && is_plain_room(typed)) {
    (void)join(typed);
    return;
  }
  busy_ = true;
  chat_.spawn(find_and_join(typed));
}

net::Task<void> Visits::find_and_join(std::string typed) {
  const RoomMeant meant = co_await find_room(c_, typed, true, look_timeout);
  bool there = false;
  if (!meant.fault.empty()) {
    chat_.note(meant.fault + "; /join ROOM");
  } else if (meant.exists == false && chat_.interactive && !chat_.over()) {
    const std::string near = co_await find_near_room(c_, meant.name);
    chat_.note(fmt::format("there is no room {} yet{}", meant.name, did_you_mean(near)));
    if (!chat_.over()) {
      asked_ = meant.name;
      there = true;  // perhaps: what was typed meanwhile waits for the answer
      chat_.prompt_changed();
    }
  } else if (!chat_.over()) {
    if (!meant.exists)
      chat_.note(fmt::format("nobody can tell now whether there is a room {}{}", meant.name,
                             meant.certain ? "" : fmt::format(", or one that is written {}", typed)));
    there = join(meant.name);
  }
  busy_ = false;
  chat_.free(there);
}

bool Visits::answer(const std::string& line) {
  const std::string said = lower(line);
  if (said == "y" || said == "yes") {
    (void)join(*std::exchange(asked_, std::nullopt));
    return true;
  }
  if (said.empty() || said == "n" || said == "no") {
    chat_.note(fmt::format("room {} was not made", *std::exchange(asked_, std::nullopt)));
    chat_.prompt_changed();
    return true;
  }
  chat_.note(fmt::format("y makes room {}, n lets it be; then send what you wrote", *asked_));
  return false;
}

std::string Visits::prompt() const {
  return asked_ ? fmt::format("make room {}? [y/N] ", printable_name(*asked_)) : rooms_.prompt();
}

void Visits::next() {
  if (size() == 1) return chat_.note("there is no other room; /join ROOM");
  go(rooms_.next());
}

bool Visits::go_to_two(const std::string& who) {
  const auto refuse = [&](const std::string& why) {
    chat_.note(why);
    return false;
  };
  if (name_.empty()) return refuse("you have no name: /nick NAME gives you one");
  if (who.empty() || who.find(',') != std::string::npos || lower(who) == lower(name_))
    return refuse("/msg NAME [TEXT], with somebody else's name");
  const std::string room = room_of_two(name_, who);
  if (const std::string fault = room_fault(room); !fault.empty()) return refuse(fault);
  return join(room);
}

void Visits::stop() {
  people_.tell(chat::Whereabouts::gone);
  for (const auto& [visit, follower] : followers_) follower->stop();
}

void Visits::came(std::uint64_t visit, const chat::Message& message, bool old) {
  people_.seen(message.name);
  const auto what = rooms_.take(visit, message, name_, old);
  const bool on_screen = visit == here().visit;
  if (what == JoinedRooms::Came::ring && chat_.interactive) chat_.ring();
  if (on_screen) return chat_.show(message);
  if (what == JoinedRooms::Came::ring)
    if (const auto at = rooms_.find(message.room))
      chat_.note(fmt::format("{} calls you in {} ({}): {}", printable_name(message.name),
                             printable_name(message.room), *at < 9 ? fmt::format("Alt-{}", *at + 1) : "/next",
                             cut(message.text, 60)));
  chat_.prompt_changed();
}

net::Task<void> Visits::follow(std::string room, std::uint64_t visit, std::uint64_t unread_from) {
  const auto in = [&] { return !chat_.over() && rooms_.of_visit(visit) != nullptr; };
  std::uint64_t next = 0;
  {
    HistoryReader reader(c_, {.room = room, .last = shown_on_join, .timeout = 1500ms});
    bool told = false;
    while (in() && next == 0) {
      const auto page = co_await reader.next(shown_on_join);
      if (!in()) co_return;
      if (!page) {
        // Once: the reason has ages in it, and each telling pushes what stands there off the screen.
        if (!std::exchange(told, true))
          chat_.note(fmt::format("cannot read room {} yet: {}", room, page.error()));
        co_await chat_.nap(2s);
        continue;
      }
      if (told) chat_.note(fmt::format("room {} can be read again", room));
      for (const chat::Message& message : page->messages)
        came(visit, message, unread_from == 0 || message.seq < unread_from);
      next = page->messages.empty() ? page->head + 1 : page->messages.back().seq + 1;
      if (page->head == 0)
        chat_.note(fmt::format("room {} is new: it exists from its first message on", room));
    }
  }
  if (!in()) co_return;
  if (chat_.interactive && unread_from == 0) chat_.spawn(people_.show_topic(room, false));
  auto follower = std::make_shared<Follower>(c_, Follower::Options{.room = room, .from = next, .first = {}});
  follower->on_trouble([this, in, visit](const std::string& why) {
    // Of one room: all wait for the same.
    if (in() && here().visit == visit) chat_.note(why.empty() ? "going on" : "waiting: " + why);
  });
  followers_[visit] = follower;
  while (in())
    for (const chat::Message& message : co_await follower->next())
      if (in()) came(visit, message, false);
}

}  // namespace client
