#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "client/ctl/ctl.h"
#include "client/session/attention.h"
#include "client/terminal/say.h"
#include "client/terminal/table.h"

/// status: what the replicas say of themselves.
namespace client {

namespace {

std::string ballot_text(const Json& ballot) {
  return fmt::format("{}.{}", ballot.value("round", std::uint64_t{0}), ballot.value("replica", 0));
}

/// Late enough for a column of its own; else there is none, and the table fits 80 columns.
bool anything_waits(const Json& status, std::chrono::milliseconds election_timeout) {
  const Json& all = status.at("replicas");
  return std::any_of(all.begin(), all.end(), [&](const Json& r) {
    const auto waits = age_in(r, "waiting_ms");
    return waits && *waits > patience_in_election_timeouts * election_timeout;
  });
}

void print_table(const Json& status, const config::ClusterConfig& config) {
  const Outage outage = outage_of(status);
  say(stdout, "cluster {}  quorum {}  {}{}\n", printable(status.at("cluster").get<std::string>()),
      status.at("quorum").get<int>(), outage.over() ? "" : "NOT HEALTHY: ", headline(status));
  std::vector<std::vector<std::string>> rows{
      {"id", "address", "role", "ballot", "accepted", "chosen", "applied", "hash"}};
  const bool waiting = anything_waits(status, config.election_timeout);
  if (waiting) rows.front().insert(rows.front().end() - 1, "waits");
  for (const Json& r : status.at("replicas")) {
    std::vector<std::string> row{std::to_string(r.at("id").get<unsigned>()),
                                 printable(r.at("address").get<std::string>())};
    if (!r.at("reachable").get<bool>()) {
      row.push_back(r.at("error").get<std::string>());
      rows.push_back(std::move(row));
      continue;
    }
    row.push_back(printable(text_in(r, "role")));
    row.push_back(ballot_text(r.at("ballot")));
    for (const char* slot : {"accepted", "chosen", "applied"})
      row.push_back(std::to_string(r.value(slot, std::uint64_t{0})));
    if (const auto waits = age_in(r, "waiting_ms"); waiting) row.push_back(waits ? age_text(*waits) : "-");
    row.push_back(printable(text_in(r, "hash").substr(0, 12)));
    rows.push_back(std::move(row));
  }
  say(stdout, "{}", Lines{table_text(rows, waiting ? "><<>>>>><" : "><<>>>><")});
  for (const Attention& a : attention_in(status))
    say(stdout, "replica {} {}{}{}\n", a.replica, a.text, a.advice.empty() ? "" : "\n-> ", a.advice);
  // Where nobody answers, the next steps tell all of it.
  if (!outage.over() && outage.anyone) say(stdout, "{}; {}\n", outage.sentence(), outage.still_works());
  for (const std::string& step : next_steps(status, config.key_file.string())) say(stdout, "-> {}\n", step);
}

}  // namespace

net::Task<std::optional<ReplicaStatus>> find_leader(Connection& connection,
                                                    std::chrono::milliseconds timeout) {
  const paxos::Time until = connection.loop().now() + timeout;
  for (;;) {
    auto replicas = co_await ask_all(connection, std::chrono::milliseconds{500});
    const Json status = cluster_status(connection.config(), replicas, std::chrono::milliseconds{500});
    // One that died a moment ago is still named by its followers, but says nothing itself.
    if (const Json& leader = status.at("leader");
        !leader.is_null() && replicas[leader.get<std::size_t>()].json)
      co_return replicas[leader.get<std::size_t>()];
    if (connection.loop().now() >= until) co_return std::nullopt;
    co_await connection.loop().sleep(std::chrono::milliseconds{50});
  }
}

int ctl_status(const Words& words) {
  VerbFlags flags("paxosctl status", "PAXOSCTL",
                  "What each replica says of itself; exit 0 when healthy, else 3.");
  flags.flag("json", "one JSON object");
  flags.flag("watch", "again every second, until interrupted");
  flags.flag("strict", "exit 0 only when every voter is there and nothing stands still");
  if (const auto code = flags.parse_without_arguments(words)) return *code;
  return flags.with_cluster([&](Connection& connection) -> net::Task<int> {
    return [](Connection& c, bool json, bool watch, const char* wanted) -> net::Task<int> {
      for (;;) {
        const auto replicas = co_await ask_all_there(c, status_timeout);
        Json status = cluster_status(c.config(), replicas, status_timeout);
        mark_closed_ports(status, c.config());
        if (json) {
          print_json(status);
        } else {
          if (watch && ::isatty(STDOUT_FILENO) != 0) say(stdout, "\x1b[H\x1b[2J");
          print_table(status, c.config());
        }
        if (!watch) co_return status.at(wanted).get<bool>() ? config::exit_fine : config::exit_unknown;
        if (std::fflush(stdout) != 0) co_return config::exit_unknown;
        co_await c.loop().sleep(std::chrono::seconds{1});
      }
    }(connection, flags.has("json"), flags.has("watch"), flags.has("strict") ? "whole" : "healthy");
  });
}

}  // namespace client
