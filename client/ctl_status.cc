#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "client/ctl.h"
#include "client/table.h"

/// status: what the replicas say of themselves.
namespace client {

namespace {

constexpr std::chrono::milliseconds status_timeout{1000};

std::string ballot_text(const Json& ballot) {
  return fmt::format("{}.{}", ballot.value("round", std::uint64_t{0}), ballot.value("replica", 0));
}

void print_table(const Json& status, const std::string& key_file) {
  const Outage outage = outage_of(status);
  fmt::print("cluster {}  quorum {}  {}\n", printable(status.at("cluster").get<std::string>()), status.at("quorum").get<int>(),
             outage.over() ? fmt::format("healthy, replica {} leads", status.at("leader").get<int>())
                           : "NOT HEALTHY: " + outage.what);
  std::vector<std::vector<std::string>> rows{{"id", "address", "role", "ballot", "accepted", "chosen", "applied", "hash"}};
  std::vector<std::string> notes;
  for (const Json& r : status.at("replicas")) {
    const unsigned id = r.at("id").get<unsigned>();
    std::vector<std::string> row{std::to_string(id), printable(r.at("address").get<std::string>())};
    if (!r.at("reachable").get<bool>()) {
      row.push_back(r.at("error").get<std::string>());
      rows.push_back(std::move(row));
      continue;
    }
    row.push_back(printable(text_in(r, "role")));
    row.push_back(ballot_text(r.at("ballot")));
    for (const char* slot : {"accepted", "chosen", "applied"}) row.push_back(std::to_string(r.value(slot, std::uint64_t{0})));
    row.push_back(printable(text_in(r, "hash").substr(0, 12)));
    rows.push_back(std::move(row));
    const auto note = [&](const std::string& text) { notes.push_back(fmt::format("replica {} {}", id, text)); };
    if (!r.value("voting", true)) note("does not vote: " + printable(text_in(r, "reason")));
    if (const auto hole = number_in(r, "hole"))
      note(fmt::format("waits for the skipped slot {}: nothing above is applied until the leader changes (`paxosctl kill "
                       "leader`)",
                       static_cast<std::uint64_t>(*hole)));
    if (const auto stuck = number_in(r, "log_stuck_ms"))
      note(fmt::format("can't get rid of its log since {}: nobody reads its standard error, or the journal hangs; {} lines are lost",
                       age_text(std::chrono::milliseconds{static_cast<std::int64_t>(std::clamp(*stuck, 0.0, 1e15))}),
                       static_cast<std::uint64_t>(number_in(r, "log_lines_lost").value_or(0))));
    if (const double loss = number_in(r, "loss").value_or(0); loss > 0)
      note(fmt::format("drops {:g} % of what it receives (`paxosctl loss 0` ends that)", loss * 100));
  }
  fmt::print("{}", table_text(rows, "><<>>>><"));
  for (const std::string& note : notes) fmt::print("{}\n", note);
  // Where nobody answers, the next steps tell all of it.
  if (!outage.over() && outage.anyone) fmt::print("{}; {}\n", outage.sentence(), outage.still_works());
  for (const std::string& step : next_steps(status, key_file)) fmt::print("-> {}\n", step);
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
  VerbFlags flags("paxosctl status", "PAXOSCTL",
                      "What each replica says of itself; exit 0 when healthy, else 3.");
  flags.flag("json", "one JSON object");
  flags.flag("watch", "again every second, until interrupted");
  if (const auto code = flags.parse_without_arguments(words)) return *code;
  return flags.with_cluster([&](Connection& connection) -> net::Task<int> {
    return [](Connection& c, bool json, bool watch) -> net::Task<int> {
      for (;;) {
        const auto replicas = co_await ask_all(c, status_timeout);
        Json status = cluster_status(c.config(), replicas, status_timeout);
        mark_closed_ports(status, c.config());
        if (json) {
          print_json(status);
        } else {
          if (watch && ::isatty(STDOUT_FILENO) != 0) fmt::print("\x1b[H\x1b[2J");
          print_table(status, c.config().key_file.string());
        }
        if (!watch) co_return status.at("healthy").get<bool>() ? config::exit_fine : config::exit_unknown;
        if (std::fflush(stdout) != 0) co_return config::exit_unknown;
        co_await c.loop().sleep(std::chrono::seconds{1});
      }
    }(connection, flags.has("json"), flags.has("watch"));
  });
}

}  // namespace client
