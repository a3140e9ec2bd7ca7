#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "client/ctl.h"

/// status and verify: what the replicas say of themselves, and whether they agree.
namespace client {

namespace {

constexpr std::chrono::milliseconds status_timeout{1000};

std::string ballot_text(const Json& ballot) {
  return fmt::format("{}.{}", ballot.value("round", std::uint64_t{0}), ballot.value("replica", 0));
}

void print_table(const Json& status) {
  const bool healthy = status.at("healthy");
  fmt::print("cluster {}  quorum {}  {}\n", status.at("cluster").get<std::string>(),
             status.at("quorum").get<int>(),
             healthy ? fmt::format("healthy, replica {} leads", status.at("leader").get<int>())
                     : std::string("NOT HEALTHY: no quorum of voting replicas names the same leader"));
  fmt::print("{:>3}  {:<22} {:<10} {:>8} {:>10} {:>10} {:>10}  {:<12} {}\n", "id", "address", "role",
             "ballot", "accepted", "chosen", "applied", "hash", "notes");
  for (const Json& r : status.at("replicas")) {
    if (!r.at("reachable").get<bool>()) {
      fmt::print("{:>3}  {:<22} {}\n", r.at("id").get<int>(), r.at("address").get<std::string>(),
                 r.at("error").get<std::string>());
      continue;
    }
    std::string notes;
    if (!r.value("voting", true)) notes = "not voting: " + r.value("reason", std::string());
    if (r.contains("hole"))
      notes = fmt::format("waits for skipped slot {}", r.at("hole").get<std::uint64_t>());
    if (r.value("loss", 0.0) > 0)
      notes += fmt::format("{}drops {:.0f} %", notes.empty() ? "" : "; ", r.value("loss", 0.0) * 100);
    fmt::print("{:>3}  {:<22} {:<10} {:>8} {:>10} {:>10} {:>10}  {:<12} {}\n", r.at("id").get<int>(),
               r.at("address").get<std::string>(), r.value("role", std::string()),
               ballot_text(r.at("ballot")), r.value("accepted", std::uint64_t{0}),
               r.value("chosen", std::uint64_t{0}), r.value("applied", std::uint64_t{0}),
               r.value("hash", std::string()).substr(0, 12), notes);
  }
  const Outage outage = outage_of(status);
  if (outage.over()) return;
  fmt::print("{}; {}\n", outage.sentence(), outage.still_works());
  if (!outage.missing.empty())
    fmt::print("Next: start what is missing (systemctl start paxosd@ID on its machine), or read its log; `paxosctl doctor` looks further.\n");
}

}  // namespace

net::Task<std::optional<ReplicaStatus>> find_leader(Connection& connection,
                                                    std::chrono::milliseconds timeout) {
  const paxos::Time until = connection.loop().now() + timeout;
  for (;;) {
    auto replicas = co_await ask_all(connection, std::chrono::milliseconds{500});
    const Json status = cluster_status(connection.config(), replicas, std::chrono::milliseconds{500});
    // One that died a moment ago is still named by its followers, but says nothing itself.
    if (const Json& leader = status.at("leader"); !leader.is_null() && replicas[leader.get<std::size_t>()].json)
      co_return replicas[leader.get<std::size_t>()];
    if (connection.loop().now() >= until) co_return std::nullopt;
    co_await connection.loop().sleep(std::chrono::milliseconds{50});
  }
}

int ctl_status(const Words& words) {
  config::Flags flags("paxosctl status", "PAXOSCTL",
                      "What each replica says of itself; exit 0 when healthy, else 3.");
  config_flag(flags);
  flags.flag("json", "one JSON object");
  flags.flag("watch", "again every second, until interrupted");
  if (const auto code = flags.parse(words)) return *code;
  if (!flags.arguments().empty()) return flags.wrong_usage("status takes no arguments");
  return with_cluster(flags, "paxosctl status", [&](Connection& connection) -> net::Task<int> {
    return [](Connection& c, bool json, bool watch) -> net::Task<int> {
      for (;;) {
        const auto replicas = co_await ask_all(c, status_timeout);
        const Json status = cluster_status(c.config(), replicas, status_timeout);
        if (json) {
          print_json(status);
        } else {
          if (watch && ::isatty(STDOUT_FILENO) != 0) fmt::print("\x1b[H\x1b[2J");
          print_table(status);
        }
        if (!watch) co_return status.at("healthy").get<bool>() ? config::exit_fine : config::exit_unknown;
        std::fflush(stdout);
        co_await c.loop().sleep(std::chrono::seconds{1});
      }
    }(connection, flags.has("json"), flags.has("watch"));
  });
}

namespace {

net::Task<int> verify(Connection& c, bool json, bool full) {
  const auto replicas = co_await ask_all(c, status_timeout);
  std::uint64_t slot = UINT64_MAX;
  std::size_t answered = 0;
  // One that never applied anything and may not vote (its directory was lost) has nothing to compare, and never will.
  const auto left_out = [](const ReplicaStatus& r) {
    return !r.json->value("voting", true) && r.json->value("applied", std::uint64_t{0}) == 0;
  };
  std::vector<const ReplicaStatus*> empty;
  for (const ReplicaStatus& r : replicas) {
    if (!r.json) continue;
    if (left_out(r)) {
      empty.push_back(&r);
      continue;
    }
    ++answered;
    slot = std::min(slot, r.json->value("applied", std::uint64_t{0}));
  }
  Json out{{"consistent", false}, {"slot", slot == UINT64_MAX ? 0 : slot}, {"replicas", Json::array()}};
  const auto give_up = [&](const std::string& why) {
    out["consistent"] = nullptr;
    out["error"] = why;
    if (json) print_json(out);
    return complain("paxosctl verify", why, config::exit_unknown);
  };
  if (answered < c.config().quorum())
    co_return give_up(
        fmt::format("{} of {} replicas answer and have something to compare; a quorum is {}. Start the others, then verify again",
                    answered, replicas.size(), c.config().quorum()));
  if (slot == 0) co_return give_up("the replicas have no applied slot in common yet");

  std::map<std::string, std::size_t> hashes;
  std::size_t compared = 0;
  bool damaged = false;
  for (const ReplicaStatus& r : replicas) {
    if (!r.json || left_out(r)) continue;
    Json one{{"id", r.id.n}, {"applied", r.json->value("applied", std::uint64_t{0})}};
    const auto answer = co_await c.ask(r.id, chat::HashRequest{{slot}}, 0, std::chrono::seconds{5});
    const auto* hash = answer ? std::get_if<chat::HashReply>(&*answer) : nullptr;
    if (hash != nullptr && hash->hash) {
      ++compared;
      const std::string text = paxos::to_string(*hash->hash);
      one["hash"] = text;
      ++hashes[text];
    } else {
      one["hash"] = nullptr;
    }
    if (full) {
      std::uint64_t records = 0;
      std::string damage;
      for (paxos::Slot from{1}; !from.none() && damage.empty();) {
        const auto slice = co_await c.ask(r.id, chat::ScrubRequest{from}, 0, std::chrono::seconds{30});
        const auto* scrub = slice ? std::get_if<chat::ScrubReply>(&*slice) : nullptr;
        if (scrub == nullptr) {
          damage = "no answer while reading its records back";
          break;
        }
        records += scrub->records;
        damage = scrub->damage;
        from = scrub->next;
      }
      one["records"] = records;
      if (!damage.empty()) {
        one["damage"] = damage;
        damaged = true;
      }
    }
    out["replicas"].push_back(std::move(one));
  }
  if (compared < c.config().quorum())
    co_return give_up("fewer than a quorum of the replicas gave their hash");
  const bool consistent = hashes.size() == 1 && !damaged;
  out["consistent"] = consistent;
  if (json) {
    print_json(out);
  } else {
    fmt::print("{} at slot {}\n", consistent ? "consistent" : "NOT CONSISTENT", slot);
    for (const Json& r : out["replicas"])
      fmt::print(
          "  replica {}  applied {:>10}  hash {}{}{}\n", r.at("id").get<int>(),
          r.at("applied").get<std::uint64_t>(),
          r.at("hash").is_null() ? std::string("(none)") : r.at("hash").get<std::string>(),
          full ? fmt::format("  {} records read back", r.value("records", std::uint64_t{0})) : std::string(),
          r.contains("damage") ? "  DAMAGE: " + r.at("damage").get<std::string>() : std::string());
  }
  for (const ReplicaStatus* r : empty)
    fmt::print(stderr, "replica {} was left out, it has applied nothing: {}\n", r->id.n,
               printable(r->json->value("reason", std::string("it does not vote"))));
  if (!consistent)
    co_return complain(
        "paxosctl verify",
        "the replicas differ: stop writing, keep every data directory, and see docs/ARCHITECTURE.md",
        config::exit_refused);
  co_return config::exit_fine;
}

}  // namespace

int ctl_verify(const Words& words) {
  config::Flags flags(
      "paxosctl verify", "PAXOSCTL",
      "Compares the replicas' hash chains; exit 1 where they differ, 3 when that can't be told.");
  config_flag(flags);
  flags.flag("json", "one JSON object");
  flags.flag("full", "also read back and check every stored record");
  if (const auto code = flags.parse(words)) return *code;
  if (!flags.arguments().empty()) return flags.wrong_usage("verify takes no arguments");
  return with_cluster(flags, "paxosctl verify",
                      [&](Connection& c) { return verify(c, flags.has("json"), flags.has("full")); });
}

}  // namespace client
