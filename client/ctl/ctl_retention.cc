#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "client/ctl/ctl.h"
#include "client/session/deed.h"
#include "client/session/history_reader.h"
#include "client/session/room_list.h"
#include "client/session/room_names.h"
#include "client/terminal/say.h"
#include "client/terminal/table.h"
#include "client/terminal/words.h"

/// retention: which messages rooms keep.
namespace client {

namespace {

using namespace std::chrono_literals;

/// Of so many rooms it is looked up how many of their messages are older than the rule.
constexpr std::size_t looked_up_max = 256;
const std::string retention_program = "paxosctl retention";

struct RetentionWish {
  std::string room;  ///< empty: all, or nothing was named
  bool for_all = false;
  bool set = false;
  chat::Retain rule;
  bool yes = false;
  bool json = false;
  std::chrono::milliseconds timeout{10'000};
};

std::int64_t wall_clock_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

int refuse_rule(bool json, const std::string& why) {
  if (json) print_json({{"refused", why}});
  return complain(retention_program, why, config::exit_refused);
}

int unknown_rule(bool json, const std::string& why) {
  if (json) print_json({{"unknown", why}});
  return complain(retention_program, why, config::exit_unknown);
}

std::string kept_age_text(std::int64_t age_ms) {
  const auto of = [&](std::int64_t unit, const char* noun) {
    return counted(static_cast<std::uint64_t>(age_ms / unit), noun);
  };
  constexpr std::int64_t second = 1000, minute = 60 * second, hour = 60 * minute, day = 24 * hour;
  if (age_ms % day == 0) return of(day, "day");
  if (age_ms % hour == 0) return of(hour, "hour");
  if (age_ms % minute == 0) return of(minute, "minute");
  return fmt::format("{:g} s", static_cast<double>(age_ms) / second);
}

std::string rule_text(std::uint64_t count, std::int64_t age_ms) {
  if (count == 0 && age_ms == 0) return "everything";
  std::string out = count == 0   ? "the messages"
                    : count == 1 ? "the last message"
                                 : fmt::format("the last {} messages", count);
  if (age_ms != 0) out += " of the last " + kept_age_text(age_ms);
  return out;
}

Json rule_json(const chat::RetentionRule& rule) {
  Json out{{"count", nullptr}, {"age_ms", nullptr}, {"by", rule.by}, {"time_ms", rule.time_ms}};
  if (rule.count != 0) out["count"] = rule.count;
  if (rule.age_ms != 0) out["age_ms"] = rule.age_ms;
  return out;
}

Json room_json(const chat::RoomLine& line, const chat::RetentionRule& for_all) {
  const chat::RetentionRule& rule = line.rule ? *line.rule : for_all;
  Json out = rule_json(rule);
  out["room"] = line.name;
  out["inherited"] = !line.rule;
  out["first_seq"] = line.first;
  out["messages"] = line.messages;
  return out;
}

// --- showing ---

int show(const RetentionWish& wish, const RoomList& found) {
  if (wish.json) {
    if (wish.room.empty()) {
      Json out = rule_json(found.for_all);
      out["room"] = nullptr;
      print_json(out);
    }
    for (const chat::RoomLine& line : found.lines)
      if (wish.room.empty() || line.name == wish.room) print_json(room_json(line, found.for_all));
    return config::exit_fine;
  }
  const auto said = [](const chat::RetentionRule& rule) {
    if (rule.time_ms == 0) return std::string();
    return local_time(rule.time_ms) + (rule.by.empty() ? "" : ", " + printable_name(rule.by));
  };
  std::vector<std::vector<std::string>> table{{"room", "keeps", "from", "to", "since, by"}};
  if (wish.room.empty())
    table.push_back(
        {"(all others)", rule_text(found.for_all.count, found.for_all.age_ms), "", "", said(found.for_all)});
  for (const chat::RoomLine& line : found.lines) {
    // Of those that go by the rule for all, the ones that show it.
    if (wish.room.empty() ? !line.rule && line.first == 1 : line.name != wish.room) continue;
    const chat::RetentionRule& rule = line.rule ? *line.rule : found.for_all;
    const bool empty = line.first > line.messages;
    table.push_back(
        {printable_name(line.name), rule_text(rule.count, rule.age_ms) + (line.rule ? "" : " (as all)"),
         empty ? "-" : std::to_string(line.first), empty ? "-" : std::to_string(line.messages), said(rule)});
  }
  say(stdout, "{}", Lines{table_text(table, "<<>><")});
  return config::exit_fine;
}

// --- setting ---

/// Messages of a room, from `first` to `last`, that were posted before: about, for their times are those of
/// whoever led then.
net::Task<std::optional<std::uint64_t>> count_older(Connection& c, std::string room, std::uint64_t first,
                                                    std::uint64_t last, std::int64_t before_ms,
                                                    std::chrono::milliseconds timeout) {
  std::uint64_t low = first, high = last + 1;  // all below low are older, none from high on
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    HistoryReader reader(c, {.room = room, .from = middle, .local = true, .timeout = timeout});
    const auto page = co_await reader.next(1);
    if (!page) co_return std::nullopt;
    if (!page->messages.empty() && page->messages.front().time_ms < before_ms)
      low = std::max(middle, page->messages.front().seq) + 1;
    else
      high = middle;
  }
  co_return low - first;
}

struct Goes {
  std::uint64_t messages = 0;
  std::size_t rooms = 0;
  bool more = false;  ///< of some nobody told
};

net::Task<Goes> what_goes(Connection& c, const RetentionWish& wish, const RoomList& found) {
  Goes out;
  std::size_t looked_up = 0;
  for (const chat::RoomLine& line : found.lines) {
    if (wish.for_all ? line.rule.has_value() : line.name != wish.room) continue;
    const std::uint64_t count = wish.rule.inherit ? found.for_all.count : wish.rule.count;
    const std::int64_t age_ms = wish.rule.inherit ? found.for_all.age_ms : wish.rule.age_ms;
    const std::uint64_t there = line.messages + 1 - line.first;
    std::uint64_t goes = count != 0 && there > count ? there - count : 0;
    if (age_ms != 0 && there > goes) {
      if (++looked_up > looked_up_max) {
        out.more = true;
      } else {
        const auto older = co_await count_older(c, line.name, line.first + goes, line.messages,
                                                wall_clock_ms() - age_ms, wish.timeout);
        out.more = out.more || !older;
        goes += older.value_or(0);
      }
    }
    out.messages += goes;
    if (goes > 0) ++out.rooms;
  }
  co_return out;
}

/// False: nothing is to be done.
bool confirmed(const Goes& goes, const RetentionWish& wish) {
  if (wish.yes || (goes.messages == 0 && !goes.more)) return true;
  const std::string what =
      fmt::format("{} {} of {} will be forgotten, for ever, by every replica",
                  goes.more ? "at least" : "about", counted(goes.messages, "message"),
                  wish.for_all ? counted(goes.rooms, "room") : printable_name(wish.room));
  if (::isatty(STDIN_FILENO) != 1 || ::isatty(STDERR_FILENO) != 1) {
    refuse_rule(wish.json, fmt::format("nothing was changed: {}. With --yes it is done", what));
    return false;
  }
  say(stderr, "{}: {}. Go on? [y/N] ", retention_program, what);
  std::fflush(stderr);
  char answer[16] = {};
  if (std::fgets(answer, sizeof answer, stdin) != nullptr && (answer[0] == 'y' || answer[0] == 'Y'))
    return true;
  refuse_rule(wish.json, "nothing was changed");
  return false;
}

net::Task<int> set(Connection& c, RetentionWish wish, RoomList found) {
  const Goes goes = co_await what_goes(c, wish, found);
  if (!confirmed(goes, wish)) co_return config::exit_refused;
  const Deed deed = co_await carry_deed(
      c, [&](HubSession& session) { session.retain(wish.rule); }, wish.timeout, "it is perhaps changed",
      "nothing was changed");
  if (deed.fate == Deed::Fate::unknown) co_return unknown_rule(wish.json, deed.why);
  if (deed.fate == Deed::Fate::refused) co_return refuse_rule(wish.json, "nothing was changed: " + deed.why);
  const chat::Message& m = deed.message;
  const std::uint64_t count = wish.rule.inherit ? found.for_all.count : wish.rule.count;
  const std::int64_t age_ms = wish.rule.inherit ? found.for_all.age_ms : wish.rule.age_ms;
  if (wish.json) {
    Json out{{"room", nullptr},     {"inherited", wish.rule.inherit},
             {"count", nullptr},    {"age_ms", nullptr},
             {"by", wish.rule.by},  {"slot", m.slot.n},
             {"time_ms", m.time_ms}};
    if (!wish.for_all) out.update({{"room", wish.room}, {"first_seq", m.seq}});
    if (count != 0) out["count"] = count;
    if (age_ms != 0) out["age_ms"] = age_ms;
    print_json(out);
    co_return config::exit_fine;
  }
  if (wish.for_all)
    say(stdout, "rooms without a rule of their own keep {}, from slot {} on\n", rule_text(count, age_ms),
        m.slot.n);
  else
    say(stdout, "{} keeps {}{}, from slot {} on: message {} is its first\n", printable_name(wish.room),
        rule_text(count, age_ms), wish.rule.inherit ? ", as all do" : "", m.slot.n, m.seq);
  co_return config::exit_fine;
}

net::Task<int> retention(Connection& c, RetentionWish wish) {
  auto found = co_await list_rooms(c, {.timeout = wish.timeout});
  if (!found)
    co_return found.error().too_old
        ? refuse_rule(wish.json, found.error().why)
        : unknown_rule(wish.json, (wish.set ? "nothing was changed: " : "") + found.error().why);
  if (!wish.room.empty()) {
    // As it was typed first: a room that is older than the rule about names keeps its own.
    const auto there = [&](const std::string& room) {
      return std::any_of(found->lines.begin(), found->lines.end(),
                         [&](const auto& line) { return line.name == room; });
    };
    const std::string typed = wish.room;
    if (!there(wish.room)) wish.room = fold_room(wish.room);
    if (!there(wish.room))
      co_return refuse_rule(wish.json, fmt::format("there is no room {}{}", printable_name(typed),
                                                   did_you_mean(co_await find_near_room(c, typed))));
    wish.rule.room = wish.room;
  }
  if (!wish.set) co_return show(wish, *found);
  co_return co_await set(c, std::move(wish), std::move(*found));
}

}  // namespace

int ctl_retention(const Words& words) {
  VerbFlags flags(retention_program, "PAXOSCTL",
                  "Which messages a room keeps, or all rooms without a rule of their own; what is beyond it "
                  "every replica "
                  "forgets for ever. Without a rule to set, shows what is set.");
  flags.flag("all", "of all rooms that have no rule of their own");
  flags.value("count", "N", "keep the last N messages");
  flags.value("age", "TIME", "keep the messages of the last so many days (90d); a day at least");
  flags.flag("off", "keep everything");
  flags.flag("inherit", "the room goes by the rule for all");
  flags.flag("yes", "without a question");
  flags.value("name", "NAME", "who does it (default: the login name)");
  flags.value("timeout", "TIME", "give up after it (default: 10s)");
  flags.flag("json", "one JSON object; shown, one for each room");
  flags.arguments_help("[ROOM]");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() > 1) return flags.wrong_usage("name one room");
  RetentionWish wish;
  if (!flags.arguments().empty()) wish.room = flags.arguments().front();
  wish.for_all = flags.has("all");
  wish.json = flags.has("json");
  wish.yes = flags.has("yes");
  if (wish.for_all && !wish.room.empty()) return flags.wrong_usage("give ROOM or --all");
  const auto count = flags.number("count", 1, chat::limits::retention_count_max, 0);
  const auto age = flags.duration("age", 0ms);
  const auto timeout = flags.timeout(wish.timeout);
  if (const auto code = flags.first_fault(count, age, timeout)) return *code;
  wish.timeout = *timeout;
  const bool limits = flags.get("count") || flags.get("age");
  if (limits + flags.has("off") + flags.has("inherit") > 1)
    return flags.wrong_usage("--off, --inherit, and --count or --age exclude each other");
  if (flags.get("age") && age->count() == 0) return flags.wrong_usage("--age 0 would keep nothing");
  wish.set = limits || flags.has("off") || flags.has("inherit");
  if (wish.set && wish.room.empty() && !wish.for_all) return flags.wrong_usage("give ROOM, or --all");
  if (wish.for_all && flags.has("inherit"))
    return flags.wrong_usage("the rule for all has no other to go by");
  wish.rule = {
      .room = wish.room, .inherit = flags.has("inherit"), .count = *count, .age_ms = age->count(), .by = {}};
  auto by = flags.person();
  if (!by) return refuse_rule(wish.json, "nothing was changed: " + by.error());
  wish.rule.by = std::move(*by);
  if (wish.rule.age_ms != 0 && wish.rule.age_ms < chat::limits::session_idle_max_ms)
    return refuse_rule(
        wish.json, fmt::format("nothing was changed: {}", chat::to_string(chat::Verdict::kept_too_short)));
  for (const std::string& fault :
       {wish.room.empty() ? std::string() : chat::validate_room(wish.room), chat::validate_name(wish.rule.by),
        chat::validate_visible_name(wish.rule.by)})
    if (!fault.empty()) return refuse_rule(wish.json, "nothing was changed: " + fault);
  return flags.with_cluster([&](Connection& c) { return retention(c, std::move(wish)); });
}

}  // namespace client
