#include <fmt/format.h>

#include <charconv>

#include "client/ctl/ctl.h"
#include "client/session/deed.h"
#include "client/session/room_list.h"
#include "client/session/room_names.h"
#include "client/terminal/say.h"

/// redact: takes a message's text out, everywhere.
namespace client {

namespace {

using namespace std::chrono_literals;

const std::string redact_program = "paxosctl redact";

int refuse(bool json, const std::string& why) {
  if (json) print_json({{"refused", why}});
  return complain(redact_program, "nothing was redacted: " + why, config::exit_refused);
}

net::Task<int> redact(Connection& c, chat::Redact wanted, std::chrono::milliseconds timeout, bool json) {
  if (!is_plain_room(wanted.room)) {
    // As it was typed first: a room that is older than the rule about names keeps its own.
    const auto room = co_await look_up_room(c, wanted.room, timeout);
    if (!room) {
      const std::string why = "nothing was redacted: " + room.error().why;
      if (json) print_json({{"unknown", why}});
      co_return complain(redact_program, why, config::exit_unknown);
    }
    if (!*room) wanted.room = fold_room(wanted.room);
    if (const std::string fault = room_fault(wanted.room); !*room && !fault.empty())
      co_return refuse(json, fault);
  }
  const Deed deed = co_await carry_deed(
      c, [&](HubSession& session) { session.redact(wanted); }, timeout, "it is perhaps redacted",
      "nothing was redacted");
  if (deed.fate == Deed::Fate::unknown) {
    if (json) print_json({{"unknown", deed.why}});
    co_return complain(redact_program, deed.why, config::exit_unknown);
  }
  const chat::Message& m = deed.message;
  if (deed.fate == Deed::Fate::refused)
    co_return refuse(json,
                     fmt::format("{}: message {} of {}", deed.why, wanted.seq, printable_name(wanted.room)));
  if (json) {
    print_json({{"redacted", true},
                {"room", m.room},
                {"seq", wanted.seq},
                {"slot", m.slot.n},
                {"time_ms", m.time_ms},
                {"by", wanted.by},
                {"reason", wanted.reason}});
    co_return config::exit_fine;
  }
  say(stdout, "redacted: message {} of {}, by slot {}\n", wanted.seq, printable_name(m.room), m.slot.n);
  complain(
      redact_program,
      "no replica shows it from here on, and each takes it off its disk by itself (`paxosctl status --json`, "
      "`redactions`). Backups, screens and logs of clients are out of reach: change the secret in any case",
      0);
  co_return config::exit_fine;
}

}  // namespace

int ctl_redact(const Words& words) {
  VerbFlags flags(redact_program, "PAXOSCTL",
                  "Takes the text of a message out of every replica's history, state and log.");
  flags.value("reason", "TEXT", "shown in its place, with your name");
  flags.value("name", "NAME", "who does it (default: the login name)");
  flags.value("timeout", "TIME", "give up after it (default: 10s)");
  flags.flag("json", "one JSON object");
  flags.arguments_help("ROOM SEQ   SEQ as `paxoschat history --json` shows it");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() != 2)
    return flags.wrong_usage("give ROOM and SEQ: which message of which room");
  const std::string& number = flags.arguments()[1];
  chat::Redact wanted{
      .room = flags.arguments()[0], .seq = 0, .by = {}, .reason = flags.get("reason").value_or("")};
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), wanted.seq);
  if (error != std::errc{} || end != number.data() + number.size() || wanted.seq == 0)
    return flags.wrong_usage(fmt::format("'{}' is no message's number: 1, 2, 3, …", printable(number)));
  const auto timeout = flags.timeout(10s);
  if (const auto code = flags.first_fault(timeout)) return *code;
  const bool json = flags.has("json");
  auto by = flags.person();
  if (!by) return refuse(json, by.error());
  wanted.by = std::move(*by);
  for (const std::string& fault :
       {chat::validate_room(wanted.room), chat::validate_name(wanted.by),
        chat::validate_visible_name(wanted.by), chat::validate_reason(wanted.reason)})
    if (!fault.empty()) return refuse(json, fault);
  return flags.with_cluster([&](Connection& c) { return redact(c, std::move(wanted), *timeout, json); });
}

}  // namespace client
