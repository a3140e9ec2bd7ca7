#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "client/ctl/ctl.h"
#include "client/session/room_list.h"
#include "client/terminal/say.h"
#include "client/terminal/table.h"

/// rooms: which there are.
namespace client {

namespace {

using namespace std::chrono_literals;

Json to_json(const chat::RoomLine& line) {
  Json out{{"name", line.name}, {"messages", line.messages}, {"last_time_ms", line.last_ms}};
  if (line.first > 1) out["first_seq"] = line.first;
  if (!line.topic.empty()) {
    out["topic"] = line.topic;
    out["topic_by"] = line.topic_by;
    out["topic_time_ms"] = line.topic_ms;
  }
  return out;
}

net::Task<int> rooms(Connection& c, bool json, bool local, std::chrono::milliseconds timeout) {
  const auto found = co_await list_rooms(c, {.local = local, .timeout = timeout});
  if (!found)
    co_return complain(
        "paxosctl rooms",
        found.error().why + (local || found.error().too_old
                                 ? ""
                                 : "; with --local a replica tells what it has, without a quorum"),
        found.error().too_old ? config::exit_refused : config::exit_unknown);
  if (json) {
    for (const chat::RoomLine& line : found->lines) print_json(to_json(line));
    co_return config::exit_fine;
  }
  if (found->lines.empty())
    co_return complain("paxosctl rooms", "there are no rooms; a room exists from its first message on",
                       config::exit_fine);
  // Where no room has forgotten anything there is nothing to say about it.
  const bool any_forgotten =
      std::any_of(found->lines.begin(), found->lines.end(), [](const auto& line) { return line.first > 1; });
  std::vector<std::vector<std::string>> table{{"room", "messages", "last message", "topic"}};
  if (any_forgotten) table[0].insert(table[0].begin() + 2, "kept from");
  for (const chat::RoomLine& line : found->lines) {
    std::vector<std::string> row{printable_name(line.name), std::to_string(line.messages),
                                 line.last_ms == 0 ? "forgotten" : local_time(line.last_ms),
                                 printable(line.topic)};
    const std::string from = line.first > line.messages ? "none" : std::to_string(line.first);
    if (any_forgotten) row.insert(row.begin() + 2, line.first == 1 ? std::string() : from);
    table.push_back(std::move(row));
  }
  say(stdout, "{}", Lines{table_text(table, any_forgotten ? "<>><<" : "<><<")});
  co_return config::exit_fine;
}

}  // namespace

int ctl_rooms(const Words& words) {
  VerbFlags flags("paxosctl rooms", "PAXOSCTL",
                  "Which rooms there are, with their number of messages and the last one's time.");
  flags.flag("local", "what a replica has applied, without asking a quorum: may be old");
  flags.value("timeout", "TIME", "give up after it (default: 10s)");
  flags.flag("json", "one JSON object a room");
  if (const auto code = flags.parse_without_arguments(words)) return *code;
  const auto timeout = flags.timeout(10s);
  if (const auto code = flags.first_fault(timeout)) return *code;
  return flags.with_cluster(
      [&](Connection& c) { return rooms(c, flags.has("json"), flags.has("local"), *timeout); });
}

}  // namespace client
