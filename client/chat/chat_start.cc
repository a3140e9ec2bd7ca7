#include <fmt/format.h>

#include "client/chat/chat.h"
#include "client/chat/find_room.h"
#include "client/chat/patience.h"
#include "client/terminal/printable.h"

/// paxoschat without a verb: its flags, and which room is meant.
namespace client {

using namespace std::chrono_literals;

namespace {

net::Task<int> settle_and_run(Connection& c, std::string room, std::string name) {
  const RoomMeant meant = co_await find_room(c, room, false, settle_timeout);
  if (!meant.fault.empty()) co_return complain("paxoschat", meant.fault, config::exit_refused);
  if (!meant.certain)
    complain("paxoschat",
             fmt::format("nobody can tell now whether there is a room that is written {}: taken for {}",
                         printable_name(room), printable_name(meant.name)),
             0);
  co_return co_await run_chat(c, meant.name, std::move(name));
}

}  // namespace

int chat_interactive(const std::vector<std::string>& words) {
  VerbFlags flags("paxoschat", "PAXOSCHAT", "Chat in a room.");
  flags.value("room", "ROOM", "which one (default: lobby)");
  flags.value("name", "NAME", "what others see (default: the login name)");
  flags.arguments_help("\n       paxoschat send|history|follow --room ROOM [flags]   (each has --help)");
  if (const auto code = flags.parse(words)) return *code;
  for (const std::string& word : flags.arguments())
    if (word == "send" || word == "history" || word == "follow")
      return flags.wrong_usage(
          fmt::format("the verb comes first: paxoschat {0} ...; see `paxoschat {0} --help`", word));
  if (!flags.arguments().empty())
    return flags.wrong_usage(fmt::format("'{}' is neither a flag nor one of send, history, follow",
                                         printable(flags.arguments().front())));
  const std::string room = flags.get("room").value_or("lobby");
  const auto person = flags.person();
  if (!person) return flags.refused(person.error());
  const std::string& name = *person;
  for (const std::string& fault : {chat::validate_room(room), chat::validate_name(name)})
    if (!fault.empty()) return complain("paxoschat", fault, config::exit_refused);
  tell_zone_fault("paxoschat");
  return flags.with_cluster([&](Connection& c) { return settle_and_run(c, room, name); });
}

}  // namespace client
