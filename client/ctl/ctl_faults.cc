#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "client/ctl/ctl.h"
#include "client/terminal/say.h"

/// kill, skip, loss, pause, isolate: what an operator does to a test cluster to see it survive.
namespace client {

std::optional<int> failed(const std::string& program, paxos::ReplicaId to,
                          const std::optional<chat::OperatorAnswer>& answer) {
  if (!answer)
    return complain(program,
                    fmt::format("no answer from replica {}: perhaps done; look with `paxosctl status`", to.n),
                    config::exit_unknown);
  const auto* done = std::get_if<chat::DoneReply>(&*answer);
  if (done == nullptr)
    return complain(program,
                    fmt::format("replica {} gave an answer of another kind: is it another version?", to.n),
                    config::exit_unknown);
  if (!done->refused.empty())
    return complain(program, fmt::format("replica {}: {}", to.n, done->refused), config::exit_refused);
  return std::nullopt;
}

namespace {

/// The status of one replica; its boot is what an acting request must name.
net::Task<std::optional<ReplicaStatus>> reach(Connection& c, paxos::ReplicaId id) {
  const auto answer = co_await c.ask(id, chat::StatusRequest{}, {}, std::chrono::seconds{2});
  const auto* status = answer ? std::get_if<chat::StatusReply>(&*answer) : nullptr;
  if (status == nullptr) co_return std::nullopt;
  Json json = Json::parse(status->json, nullptr, false);
  if (!json.is_object()) co_return std::nullopt;
  co_return ReplicaStatus{id, std::move(json)};
}

int silent(const std::string& program, paxos::ReplicaId id) {
  return complain(program, fmt::format("replica {} does not answer; `paxosctl status` shows who does", id.n),
                  config::exit_unknown);
}

/// Who leads; else it was said why nothing can be done.
net::Task<std::optional<ReplicaStatus>> leader_now(Connection& c, const std::string& program) {
  auto leader = co_await find_leader(c, std::chrono::seconds{5});
  if (!leader) complain(program, "there is no leader; `paxosctl status` shows why", config::exit_unknown);
  co_return leader;
}

net::Task<int> kill_one(Connection& c, const std::string& word) {
  const std::string program = "paxosctl kill";
  std::optional<ReplicaStatus> target;
  if (word == "leader") {
    target = co_await leader_now(c, program);
    if (!target) co_return config::exit_unknown;
  } else {
    const auto id = VerbFlags::replica_in(word, c.config());
    if (!id) co_return complain(program, id.error(), config::exit_usage);
    target = co_await reach(c, *id);
    if (!target) co_return silent(program, *id);
  }
  const std::uint64_t boot = target->boot();
  // It dies without an answer. Done is when this boot says nothing more: another boot, or silence twice in a
  // row.
  const paxos::Time until = c.loop().now() + std::chrono::seconds{5};
  unsigned unanswered = 0;
  while (c.loop().now() < until) {
    const auto answer =
        co_await c.ask(target->id, chat::KillRequest{}, target->target(), std::chrono::milliseconds{150});
    if (answer)
      if (const auto code = failed(program, target->id, answer)) co_return *code;
    const auto alive = co_await c.ask(target->id, chat::StatusRequest{}, {}, std::chrono::milliseconds{300});
    if (!alive) {
      if (++unanswered == 2) {
        say(stdout, "replica {} (boot {}) is dead\n", target->id.n, boot);
        co_return config::exit_fine;
      }
      continue;
    }
    unanswered = 0;
    const auto* status = std::get_if<chat::StatusReply>(&*alive);
    const Json json = status != nullptr ? Json::parse(status->json, nullptr, false) : Json();
    if (json.is_object() && json.value("boot", boot) != boot) {
      say(stdout, "replica {} (boot {}) is dead; boot {} runs already\n", target->id.n, boot,
          json.value("boot", boot));
      co_return config::exit_fine;
    }
  }
  co_return complain(program, fmt::format("replica {} still answers after 5 s: try again", target->id.n),
                     config::exit_unknown);
}

net::Task<int> kill_all(Connection& c, Words words) {
  int code = config::exit_fine;
  for (const std::string& word : words) code = std::max(code, co_await kill_one(c, word));
  co_return code;
}

net::Task<int> skip(Connection& c, chat::SkipRequest request, bool json) {
  const std::string program = "paxosctl skip";
  const auto leader = co_await leader_now(c, program);
  if (!leader) co_return config::exit_unknown;
  const auto answer = co_await c.ask(leader->id, request, leader->target(), std::chrono::seconds{10});
  if (const auto code = failed(program, leader->id, answer)) co_return *code;
  const auto& done = std::get<chat::DoneReply>(*answer);
  Json slots = Json::array();
  std::string text;
  for (paxos::Slot slot : done.slots) {
    slots.push_back(slot.n);
    text += fmt::format(" {}", slot.n);
  }
  if (json)
    print_json({{"skipped", slots}, {"leader", leader->id.n}, {"next_free", done.next_free.n}});
  else
    say(stdout,
        "replica {} left slot{}{} empty; nothing above is applied until the leader changes (`paxosctl kill "
        "leader`)\n",
        leader->id.n, done.slots.size() == 1 ? "" : "s", text);
  co_return config::exit_fine;
}

/// The same request to one replica or to all that answer.
net::Task<int> tell(Connection& c, std::string program, std::optional<paxos::ReplicaId> only,
                    chat::OperatorCommand command, std::string done) {
  int code = config::exit_fine;
  const auto replicas = co_await ask_all(c, std::chrono::milliseconds{1000});
  for (const ReplicaStatus& r : replicas) {
    if ((only && r.id != *only) || !c.config().member(r.id)) continue;
    if (!r.json) {
      code = std::max(code, silent(program, r.id));
      continue;
    }
    const auto answer = co_await c.ask(r.id, command, r.target(), std::chrono::seconds{3});
    if (const auto bad = failed(program, r.id, answer)) {
      code = std::max(code, *bad);
      continue;
    }
    say(stdout, "replica {} {}\n", r.id.n, done);
  }
  co_return code;
}

/// The same to the leader of now, whoever that is.
net::Task<int> tell_leader(Connection& c, std::string program, chat::OperatorCommand command,
                           std::string done) {
  const auto leader = co_await leader_now(c, program);
  if (!leader) co_return config::exit_unknown;
  co_return co_await tell(c, std::move(program), leader->id, std::move(command), std::move(done));
}

int timed(const Words& words, const std::string& verb, const std::string& about, bool isolate) {
  VerbFlags flags("paxosctl " + verb, "PAXOSCTL", about);
  flags.value("for", "TIME", "how long, as in 5s or 500ms");
  flags.arguments_help("ID|leader");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() != 1) return flags.wrong_usage("name one replica, or `leader`");
  if (!flags.has("for")) return flags.wrong_usage("--for TIME is missing: how long?");
  const auto time = flags.duration("for", {});
  if (const auto code = flags.first_fault(time)) return *code;
  if (time->count() < 1 || time->count() > 600'000)
    return flags.wrong_usage(fmt::format("--for '{}': from 1ms to 10m", *flags.get("for")));
  const auto config = flags.load_config();
  if (!config) return flags.refused(config.error());
  std::optional<paxos::ReplicaId> only;
  if (flags.arguments().front() != "leader") {
    const auto id = VerbFlags::replica_in(flags.arguments().front(), *config);
    if (!id) return flags.wrong_usage(id.error());
    only = *id;
  }
  const auto ms = static_cast<std::uint32_t>(time->count());
  const chat::OperatorCommand command = isolate ? chat::OperatorCommand{chat::IsolateRequest{ms}}
                                                : chat::OperatorCommand{chat::PauseRequest{ms}};
  const std::string done = fmt::format("{} for {} ms", isolate ? "is cut off" : "stands still", ms);
  return flags.with_cluster([&](Connection& c) {
    return only ? tell(c, flags.name(), *only, command, done) : tell_leader(c, flags.name(), command, done);
  });
}

}  // namespace

int ctl_kill(const Words& words) {
  VerbFlags flags(
      "paxosctl kill", "PAXOSCTL",
      "Kills replicas as if the power failed: no flush, no farewell. Returns once they are dead.");
  flags.arguments_help("ID|leader ...");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().empty()) return flags.wrong_usage("name a replica, or `leader`");
  const auto config = flags.load_config();
  if (!config) return flags.refused(config.error());
  for (const std::string& word : flags.arguments())
    if (word != "leader")
      if (const auto id = VerbFlags::replica_in(word, *config); !id) return flags.wrong_usage(id.error());
  return flags.with_cluster([&](Connection& c) { return kill_all(c, flags.arguments()); });
}

int ctl_skip(const Words& words) {
  VerbFlags flags(
      "paxosctl skip", "PAXOSCTL",
      "The leader leaves slots empty; they become no-ops when the leader changes. Returns once each has a "
      "chosen slot above it.");
  flags.value("next", "N", "the next N free slots");
  flags.flag("json", "one JSON object");
  flags.arguments_help("SLOT ...");
  if (const auto code = flags.parse(words)) return *code;
  chat::SkipRequest request;
  for (const std::string& word : flags.arguments()) {
    const auto slot = config::parse_number(word);
    if (!slot || *slot == 0)
      return flags.wrong_usage(fmt::format("'{}' is no slot; they count 1, 2, 3, …", printable(word)));
    request.slots.push_back({*slot});
  }
  if (flags.has("next")) {
    const auto next = flags.number("next", 1, 64);
    if (const auto code = flags.first_fault(next)) return *code;
    request.next = static_cast<std::uint32_t>(*next);
  }
  if (request.slots.empty() == (request.next == 0))
    return flags.wrong_usage(request.slots.empty() ? "name slots, or --next N"
                                                   : "name slots or say --next N, not both");
  return flags.with_cluster([&](Connection& c) { return skip(c, request, flags.has("json")); });
}

int ctl_loss(const Words& words) {
  VerbFlags flags("paxosctl loss", "PAXOSCTL",
                  "Replicas drop this share of the datagrams that they receive.");
  flags.value("replica", "ID", "only this one (default: all)");
  flags.arguments_help("SHARE");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() != 1) return flags.wrong_usage("name one share, as in 0.1 or 10%");
  const auto share = config::parse_share(flags.arguments().front());
  if (!share)
    return flags.wrong_usage(
        fmt::format("'{}' is no share from 0 to 1; write 0.1 or 10%", printable(flags.arguments().front())));
  std::optional<paxos::ReplicaId> only;
  if (flags.has("replica")) {
    const auto config = flags.load_config();
    if (!config) return flags.refused(config.error());
    const auto id = VerbFlags::replica_in(*flags.get("replica"), *config);
    if (!id) return flags.wrong_usage(id.error());
    only = *id;
  }
  return flags.with_cluster([&](Connection& c) {
    return tell(c, "paxosctl loss", only, chat::LossRequest{*share},
                *share == 0 ? std::string("drops nothing from now on")
                            : fmt::format("drops {:g} % from now on", *share * 100));
  });
}

int ctl_pause(const Words& words) {
  return timed(words, "pause", "A replica stands still for a while, as a hung process does.", false);
}
int ctl_isolate(const Words& words) {
  return timed(words, "isolate", "A replica is cut off from its peers and clients for a while.", true);
}

}  // namespace client
