#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "client/ctl/ctl.h"
#include "client/ctl/rolling.h"
#include "client/terminal/say.h"

/// rolling-restart: one replica after another, and only while everything else is well, so that the cluster
/// never has less than all but one of those that are not known to be missing. Stops at the first trouble;
/// what it did until then, it has said.
namespace client {

namespace {

constexpr const char* rolling_program = "paxosctl rolling-restart";
constexpr std::chrono::milliseconds look{1000};  ///< how long one look at the cluster waits for answers
constexpr std::chrono::milliseconds pause{100};  ///< between two looks

struct RollingWish {
  std::vector<paxos::ReplicaId> replicas;
  std::chrono::milliseconds patience{60'000};  ///< for each replica, and each wait for health
  std::optional<std::string> command;
  Without without;
  bool json = false;
};

struct Standing {
  std::string
      trouble;  ///< why nothing may be restarted now; empty: everybody is there, agrees and is caught up
  std::optional<paxos::ReplicaId> leader;
  std::vector<ReplicaStatus> replicas;
  Json status;
};

std::uint64_t slot_of(const ReplicaStatus& r, const char* key) {
  return r.json->value(key, std::uint64_t{0});
}

/// `level`: every replica must have applied at least this much, else it is not caught up.
Standing judge(Connection& c, std::vector<ReplicaStatus> replicas, const Without& without,
               std::uint64_t level) {
  Standing out;
  out.status = cluster_status(c.config(), replicas, look);
  out.replicas = std::move(replicas);
  out.trouble = rolling_trouble(out.status, without, level);
  if (const Json& leader = out.status.at("leader"); !leader.is_null())
    out.leader = paxos::ReplicaId{leader.get<std::uint8_t>()};
  return out;
}

/// Waits until nothing speaks against restarting one; the last look, with its trouble when the time is up.
net::Task<Standing> wait_well(Connection& c, const RollingWish& wish) {
  const paxos::Time until = c.loop().now() + wish.patience;
  // Level with what was chosen when the wait began: a cluster that is written to never stands still.
  std::uint64_t level = 0;
  bool first = true;
  std::string told;
  for (;;) {
    auto replicas = co_await ask_all(c, look);
    if (std::exchange(first, false))
      for (const ReplicaStatus& r : replicas)
        if (r.json) level = std::max(level, slot_of(r, "chosen"));
    Standing standing = judge(c, std::move(replicas), wish.without, level);
    if (standing.trouble.empty() || c.loop().now() >= until) co_return standing;
    // A word when it changes, so that nobody sits before a silent program.
    if (standing.trouble != told) say(stderr, "waiting: {}\n", told = standing.trouble);
    co_await c.loop().sleep(pause);
  }
}

std::string with_place(std::string command, const config::ReplicaConfig& replica) {
  for (const auto& [word, value] : {std::pair<std::string, std::string>{"{id}", std::to_string(replica.id.n)},
                                    std::pair<std::string, std::string>{"{host}", replica.host}})
    for (std::size_t at = command.find(word); at != std::string::npos;
         at = command.find(word, at + value.size()))
      command.replace(at, word.size(), value);
  return command;
}

/// Asks for the restart, or runs the operator's command. Nothing when it is under way, else the exit code.
net::Task<std::optional<int>> begin_restart(Connection& c, const RollingWish& wish,
                                            const ReplicaStatus& target) {
  if (wish.command) {
    const std::string command = with_place(*wish.command, c.config().replicas[target.id.n]);
    const int status = std::system(command.c_str());
    if (status == 0) co_return std::nullopt;
    co_return complain(rolling_program, fmt::format("`{}` failed; nothing more is restarted", command),
                       config::exit_refused);
  }
  const auto answer =
      co_await c.ask(target.id, chat::RestartRequest{}, target.target(), std::chrono::seconds{2});
  // No answer may mean that it is down already: what counts is that it comes back.
  if (!answer) co_return std::nullopt;
  co_return failed(rolling_program, target.id, answer);
}

/// The next one, the leader last, so that clients move once.
paxos::ReplicaId next_of(const std::set<paxos::ReplicaId>& left, const Standing& standing) {
  for (paxos::ReplicaId id : left)
    if (id != standing.leader) return id;
  return *left.begin();
}

net::Task<int> rolling_restart(Connection& c, RollingWish wish) {
  std::set<paxos::ReplicaId> left(wish.replicas.begin(), wish.replicas.end());
  const std::size_t all = left.size();
  if (!wish.without.empty())
    for (const std::string& sentence :
         said_of_present(cluster_status(c.config(), co_await ask_all(c, look), look), wish.without))
      say(stderr, "{}\n", sentence);
  while (!left.empty()) {
    const Standing standing = co_await wait_well(c, wish);
    if (!standing.trouble.empty())
      co_return complain(
          rolling_program,
          fmt::format(
              "stopped after {} of {}: {}. Nothing is restarted while another is missing or behind; see "
              "`paxosctl status`, then run this again",
              all - left.size(), all, standing.trouble),
          config::exit_refused);
    const paxos::ReplicaId id = next_of(left, standing);
    const ReplicaStatus& target = standing.replicas[id.n];
    const std::uint64_t boot = target.boot();
    const std::string before = target.json->value("version", std::string("?"));
    const paxos::Time began = c.loop().now();
    if (!wish.json) say(stdout, "replica {}: restarting (boot {}, version {})\n", id.n, boot, before);
    std::fflush(stdout);
    if (const auto code = co_await begin_restart(c, wish, target)) co_return *code;
    std::optional<ReplicaStatus> back;
    while (!back && c.loop().now() < began + wish.patience) {
      co_await c.loop().sleep(pause);
      for (ReplicaStatus& r : co_await ask_all(c, look))
        if (r.id == id && r.json && r.boot() != boot) back = std::move(r);
    }
    if (!back)
      co_return complain(
          rolling_program,
          fmt::format("replica {} did not come back within {} s: stopped after {} of {}. Look at its log "
                      "(journalctl -u paxosd@{}); the others go on without it",
                      id.n, wish.patience.count() / 1000, all - left.size(), all, id.n),
          config::exit_refused);
    left.erase(id);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(c.loop().now() - began).count();
    const std::string version = back->json->value("version", std::string("?"));
    if (wish.json)
      print_json({{"restarted", id.n}, {"boot", back->boot()}, {"version", version}, {"took_ms", took}});
    else
      say(stdout, "replica {}: back as boot {}, version {}, after {} ms\n", id.n, back->boot(), version,
          took);
    std::fflush(stdout);
  }
  const Standing end = co_await wait_well(c, wish);
  if (!end.trouble.empty())
    co_return complain(rolling_program,
                       fmt::format("{} restarted, but {}; see `paxosctl status`",
                                   all == 1 ? "it was" : fmt::format("all {} were", all), end.trouble),
                       config::exit_refused);
  const std::string rules = said_of_rules(end.status, wish.without);
  if (wish.json)
    print_json({{"done", true},
                {"restarted", all},
                {"leader", end.leader->n},
                {"without", wish.without},
                {"left_to_do", rules}});
  else
    say(stdout, "{}, replica {} leads\n{}{}", all == 1 ? "it is back" : fmt::format("all {} are back", all),
        end.leader->n, rules, rules.empty() ? "" : "\n");
  co_return config::exit_fine;
}

}  // namespace

int ctl_rolling_restart(const Words& words) {
  VerbFlags flags(
      rolling_program, "PAXOSCTL",
      "Restarts one replica after another, the leader last, and waits each time until all are back, vote and "
      "have caught up; stops at the first trouble. Their service managers start the program that is "
      "installed then, so this is also how a cluster is upgraded.");
  flags.value("timeout", "TIME", "how long to wait for each replica, and for health (default: 60s)");
  flags.value(
      "command", "COMMAND",
      "run this to restart one, with {id} and {host} filled in, instead of asking its service manager");
  flags.list("without", "ID",
             "go on without this one, which is known to be missing (several times, or as in 2,4); those that "
             "remain must "
             "keep a quorum with one more away");
  flags.flag("json", "one JSON object a replica, and one at the end");
  flags.arguments_help("[ID ...]");
  if (const auto code = flags.parse(words)) return *code;
  RollingWish wish;
  const auto patience = flags.timeout(wish.patience);
  if (const auto code = flags.first_fault(patience)) return *code;
  wish.patience = *patience;
  wish.command = flags.get("command");
  wish.json = flags.has("json");
  const auto config = flags.load_config();
  if (!config) return flags.refused(config.error());
  for (const std::string& word : flags.arguments()) {
    const auto id = VerbFlags::replica_in(word, *config);
    if (!id) return flags.wrong_usage(id.error());
    wish.replicas.push_back(*id);
  }
  for (const std::string& words_of_one : flags.all("without"))
    for (std::size_t at = 0; at <= words_of_one.size();) {
      const std::size_t comma = std::min(words_of_one.find(',', at), words_of_one.size());
      const auto id = VerbFlags::replica_in(words_of_one.substr(at, comma - at), *config);
      if (!id) return flags.wrong_usage("--without: " + id.error());
      wish.without.insert(id->n);
      at = comma + 1;
    }
  for (const paxos::ReplicaId id : wish.replicas)
    if (wish.without.contains(id.n))
      return flags.wrong_usage(fmt::format("replica {} is to be restarted and to be missing: which?", id.n));
  if (const std::string why = refuse_without(config->voters(), wish.without); !why.empty())
    return flags.refused(why);
  if (wish.replicas.empty())
    for (const config::ReplicaConfig& replica : config->replicas)
      if (replica.member && !wish.without.contains(replica.id.n)) wish.replicas.push_back(replica.id);
  return flags.with_cluster([&](Connection& c) { return rolling_restart(c, wish); });
}

}  // namespace client
