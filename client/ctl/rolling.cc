#include "client/ctl/rolling.h"

#include <fmt/format.h>

#include <algorithm>

#include "client/session/attention.h"
#include "client/session/cluster_view.h"
#include "client/terminal/printable.h"

namespace client {

namespace {

std::vector<unsigned> list(const Without& without) { return {without.begin(), without.end()}; }

bool keeps_a_quorum(std::size_t replicas, std::size_t missing) {
  return replicas >= missing + 1 + (replicas / 2 + 1);
}

unsigned id_of(const Json& r) { return r.at("id").get<unsigned>(); }
bool reachable(const Json& r) { return r.at("reachable").get<bool>(); }

}  // namespace

std::string refuse_without(std::size_t replicas, const Without& without) {
  if (without.empty() || keeps_a_quorum(replicas, without.size())) return {};
  const std::size_t left = replicas - std::min(replicas, without.size());
  return fmt::format(
      "without {} there are {} left, and with one more away no quorum of {}: each restart would stop the "
      "cluster. Bring {} "
      "back first; if that can't be, and the cluster may stand still for a moment, restart the others by "
      "hand, one "
      "after another, waiting for `paxosctl status` each time",
      replicas_text(list(without)), left, replicas / 2 + 1, without.size() == 1 ? "it" : "one of them");
}

std::string rolling_trouble(const Json& status, const Without& without, std::uint64_t level) {
  const Json& replicas = status.at("replicas");
  // A learner, or one that waits outside, may vote for nothing anyway.
  const auto voter = [](const Json& r) { return r.value("voter", true); };
  const auto voters = static_cast<std::size_t>(std::count_if(replicas.begin(), replicas.end(), voter));
  const auto hint = [&](unsigned id) {
    Without more = without;
    more.insert(id);
    if (!refuse_without(voters, more).empty()) return std::string();
    std::string flags;
    for (const unsigned one : more) flags += fmt::format(" --without {}", one);
    return fmt::format(" (to go on without it:{})", flags);
  };
  for (const Json& r : replicas) {
    const unsigned id = id_of(r);
    if (without.contains(id)) continue;
    if (!reachable(r)) return fmt::format("replica {} does not answer{}", id, hint(id));
    if (voter(r) && !votes(r)) {
      const std::string reason = printable(text_in(r, "reason"));
      return fmt::format("replica {} does not vote: {}{}", id, reason.empty() ? "no reason given" : reason,
                         hint(id));
    }
  }
  if (const Outage outage = outage_of(status); !outage.over()) return outage.sentence();
  for (const Json& r : replicas) {
    if (without.contains(id_of(r)) || unborn(r) || dormant(r)) continue;
    const auto applied = static_cast<std::uint64_t>(std::max(0.0, number_in(r, "applied").value_or(0)));
    if (applied < level) return fmt::format("replica {} has applied slot {} of {}", id_of(r), applied, level);
  }
  // Votes and answers, and is heard by nobody: the quorum would be without it.
  for (const Json& r : replicas)
    if (voter(r) && !without.contains(id_of(r)) && number_in(r, "leader") != number_in(status, "leader"))
      return fmt::format("replica {} does not follow replica {}", id_of(r),
                         status.at("leader").get<unsigned>());
  return {};
}

std::vector<std::string> said_of_present(const Json& status, const Without& without) {
  std::vector<std::string> out;
  for (const Json& r : status.at("replicas")) {
    const unsigned id = id_of(r);
    if (!without.contains(id) || !reachable(r)) continue;
    if (votes(r))
      out.push_back(
          fmt::format("replica {} is there and votes, though --without names it: it is left as it is; "
                      "afterwards `paxosctl "
                      "rolling-restart {}` restarts it, too",
                      id, id));
    else
      out.push_back(
          fmt::format("replica {} answers, but does not vote: it is left as it is, and not counted on; "
                      "restart it by hand",
                      id));
  }
  return out;
}

std::string said_of_rules(const Json& status, const Without& without) {
  if (without.empty()) return {};
  double rules = 0;
  double known = 0;
  for (const Json& r : status.at("replicas")) {
    if (!reachable(r) || without.contains(id_of(r))) continue;
    rules = std::max(rules, number_in(r, "rules").value_or(0));
    known = std::max(known, number_in(r, "rules_known").value_or(0));
  }
  const std::string who = replicas_text(list(without));
  const char* is = without.size() == 1 ? "is" : "are";
  if (known > rules)
    return fmt::format(
        "the rules stay {:.0f} until {} {} back with the new program; then the leader raises them to {:.0f}. "
        "Install it "
        "there before starting",
        rules, who, is, known);
  return fmt::format(
      "install the new program for {} before {} started again: newer rules are raised only once every "
      "replica has it",
      who, without.size() == 1 ? "it is" : "they are");
}

}  // namespace client
