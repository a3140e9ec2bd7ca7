#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>

#include "client/ctl/ctl.h"
#include "client/ctl/explain.h"
#include "client/terminal/say.h"
#include "client/terminal/words.h"

/// explain: what happened to a slot, from the replicas' flight recorders or from the dump that a crash left.
namespace client {

namespace {

constexpr std::chrono::milliseconds explain_timeout{2000};
/// For telling an older paxosd, which does not know the request, from one that is down.
constexpr std::chrono::milliseconds alive_timeout{500};
const std::string explain_program = "paxosctl explain";

net::Task<void> ask_one(Connection& connection, paxos::Slot slot, std::chrono::milliseconds timeout,
                        Witness& out) {
  const auto answer = co_await connection.ask(out.id, chat::ExplainRequest{slot}, {}, timeout);
  if (answer) {
    if (const auto* reply = std::get_if<chat::ExplainReply>(&*answer))
      out.reply = *reply;
    else
      out.silence = "gives an answer of another kind";
    co_return;
  }
  const auto alive = co_await connection.ask(out.id, chat::StatusRequest{}, {}, alive_timeout);
  out.silence =
      alive ? "lives, but does not answer this: a paxosd from before `explain`, or its state thread is busy"
            : fmt::format("does not answer in {} ms", timeout.count());
}

void print_story(const Story& story) {
  if (!story.json.at("events").empty())
    say(stdout, "{:<15}  {:<7} {:>12}  {}\n", "wall clock", "replica", "offset ms", "what");
  for (const Json& e : story.json.at("events"))
    say(stdout, "{:<15}  {:<7} {:>+12.3f}  {}\n", clock_text(e.at("time_ns").get<std::int64_t>()),
        e.at("replica").get<int>(), e.at("offset_ms").get<double>(), e.at("text").get<std::string>());
  if (!story.json.at("events").empty())
    say(stdout,
        "\nOrdered by each machine's wall clock, which may differ; an offset counts from that replica's own "
        "first record "
        "of the slot (phase 1 comes before).\n\n");
  say(stdout, "{}\n", story.summary);
  for (const std::string& note : story.notes) say(stdout, "{}\n", Lines{note});
}

net::Task<int> explain(Connection& connection, paxos::Slot slot, std::chrono::milliseconds timeout,
                       bool json) {
  std::vector<Witness> witnesses;
  for (const config::ReplicaConfig& r : connection.config().replicas)
    if (r.member) witnesses.push_back({.id = r.id, .reply = {}, .silence = {}});
  {
    net::Scope scope(connection.loop());
    for (Witness& w : witnesses) scope.spawn(ask_one(connection, slot, timeout, w));
    co_await scope.join();
  }
  const Story story = tell_story(slot, connection.config().quorum(), witnesses);
  if (json)
    print_json(story.json);
  else
    print_story(story);
  std::size_t answers = 0;
  for (const Witness& w : witnesses) answers += w.reply ? 1 : 0;
  if (answers == 0)
    co_return complain(explain_program, "no replica answers; `paxosctl status` shows more",
                       config::exit_unknown);
  if (story.state != SlotState::unproposed) co_return config::exit_fine;
  co_return answers < connection.config().quorum() ? config::exit_unknown : config::exit_refused;
}

int explain_dump(const std::string& file, std::optional<paxos::Slot> slot, bool json) {
  std::ifstream in(file, std::ios::binary);
  if (!in)
    return complain(explain_program,
                    fmt::format("{}: {}; what a crash left is in DATA_DIR/crash", file, std::strerror(errno)),
                    config::exit_refused);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  auto dump = chat::parse_flight_dump(std::as_bytes(std::span{bytes}));
  if (!dump)
    return complain(explain_program, fmt::format("{}: {}", file, dump.error()), config::exit_refused);
  const chat::FlightDumpHead& h = dump->head;
  const paxos::ReplicaId self{h.replica};
  if (slot) dump->entries = chat::flight_of_slot(dump->entries, *slot, dump->entries.size()).entries;
  const int signal = static_cast<int>(h.signal);
  const char* abbreviation = ::sigabbrev_np(signal);
  const std::string name =
      abbreviation == nullptr ? fmt::format("signal {}", signal) : fmt::format("SIG{}", abbreviation);
  if (json) {
    print_json({{"replica", h.replica},
                {"boot", h.boot},
                {"pid", h.pid},
                {"signal", name},
                {"time_ns", h.wall_ns},
                {"written", h.written},
                {"records", dump->entries.size()}});
  } else {
    const std::time_t seconds = h.wall_ns / 1'000'000'000;
    std::tm local{};
    localtime_r(&seconds, &local);
    say(stdout, "replica {}, boot {}, pid {}: {} on {:04}-{:02}-{:02} at {}; {}{}\n", h.replica, h.boot,
        h.pid, name, local.tm_year + 1900, local.tm_mon + 1, local.tm_mday, clock_text(h.wall_ns),
        counted(dump->entries.size(), "record"),
        slot                     ? fmt::format(" of slot {}", slot->n)
        : h.written > h.capacity ? fmt::format(", the last of {}", h.written)
                                 : std::string());
    if (!dump->entries.empty()) say(stdout, "{:<15}  {:>14}  {}\n", "wall clock", "ms to crash", "what");
  }
  for (const chat::FlightEntry& e : dump->entries) {
    const std::int64_t wall = h.wall_ns + (e.ns - h.steady_ns);
    const double before = static_cast<double>(e.ns - h.steady_ns) / 1e6;
    if (json) {
      Json one{{"replica", h.replica}, {"time_ns", wall}, {"offset_ms", before}};
      one.update(entry_json(e));
      one["text"] = describe(e, self, true);
      print_json(one);
    } else {
      say(stdout, "{:<15}  {:>+14.3f}  {}\n", clock_text(wall), before, describe(e, self, true));
    }
  }
  if (!slot || !dump->entries.empty()) return config::exit_fine;
  return complain(explain_program, fmt::format("{} has no records of slot {}", file, slot->n),
                  config::exit_refused);
}

}  // namespace

int ctl_explain(const Words& words) {
  VerbFlags flags(
      explain_program, "PAXOSCTL",
      "What happened to a slot on every replica: proposed, voted, chosen, applied, or why it is a no-op.");
  flags.value("timeout", "TIME", "how long to wait for a replica (default: 2s)");
  flags.value("dump", "FILE", "read what a crash left (DATA_DIR/crash/flight-BOOT.bin) instead of asking");
  flags.flag("json", "one JSON object; with --dump one a line");
  flags.arguments_help("SLOT");
  if (const auto code = flags.parse(words)) return *code;
  std::optional<paxos::Slot> slot;
  if (!flags.arguments().empty()) {
    const auto n = config::parse_number(flags.arguments().front());
    if (!n || *n == 0 || *n > UINT64_MAX / 4)
      return flags.wrong_usage(
          fmt::format("'{}' is no slot; they count 1, 2, 3, …", printable(flags.arguments().front())));
    slot = paxos::Slot{*n};
  }
  if (flags.arguments().size() > 1) return flags.wrong_usage("one slot at a time");
  if (const auto file = flags.get("dump")) return explain_dump(*file, slot, flags.has("json"));
  if (!slot) return flags.wrong_usage("name a slot");
  const auto timeout = flags.timeout(explain_timeout);
  if (const auto code = flags.first_fault(timeout)) return *code;
  return flags.with_cluster([&](Connection& c) { return explain(c, *slot, *timeout, flags.has("json")); });
}

}  // namespace client
