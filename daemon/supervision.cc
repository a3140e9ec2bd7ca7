#include "daemon/supervision.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "daemon/log.h"
#include "daemon/metrics.h"

namespace paxosd {

namespace {
constexpr paxos::Duration line_interval = std::chrono::seconds{1};
/// So many signs of life in the time after which their absence kills.
constexpr int signs_of_life = 4;
constexpr paxos::Duration unopened_interval = std::chrono::minutes{1};
/// Whoever sends to what isn't there fails with each heartbeat: one line a minute says how often.
constexpr paxos::Duration unsent_interval = std::chrono::minutes{1};

std::int64_t in_ms(paxos::Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}
}  // namespace

void Supervision::ready() {
  if (std::exchange(ready_said_, true)) return;
  manager_.ready();
}

void Supervision::begin(paxos::Time now) {
  watchdog_ = ServiceManager::watchdog();
  if (watchdog_) alive_at_ = now;
}

void Supervision::give_sign(paxos::Time now, paxos::Duration unfinished,
                            const std::filesystem::path& directory) {
  if (now < alive_at_) return;
  alive_at_ = now + *watchdog_ / signs_of_life;
  if (unfinished < *watchdog_ / 2) {
    stuck_told_ = false;
    manager_.alive();
  } else if (!std::exchange(stuck_told_, true)) {
    daemon_log::warning(
        "the disk of {} has not finished a write for {} ms: no more signs of life to the service manager",
        directory.string(), in_ms(unfinished));
  }
}

bool Supervision::line_due(paxos::Time now) {
  if (now < line_at_) return false;
  line_at_ = now + line_interval;
  return true;
}

void Supervision::tell_leader(const chat::Node& node) {
  const auto leader = node.is_leader() ? std::optional(self_) : node.last_standing().leader;
  if (leader == leader_told_) return;
  if (leader && *leader != self_)
    daemon_log::write(daemon_log::Level::info,
                      {.event = "follows", .ballot = node.status().leader_ballot, .slot = {}},
                      fmt::format("follows replica {}", leader->n));
  else if (!leader)
    daemon_log::write(daemon_log::Level::info, {.event = "leaderless", .ballot = {}, .slot = {}},
                      "knows no leader");
  leader_told_ = leader;
  show_soon();
}

void Supervision::tell_trouble(paxos::Time now, const paxos::Status& s) {
  if (not_voting_.due(now, s.voting ? std::string() : s.reason))
    daemon_log::write(s.role == paxos::Role::unborn ? daemon_log::Level::info : daemon_log::Level::warning,
                      {.event = "waits", .ballot = {}, .slot = {}}, "does not vote: " + s.reason);
  const paxos::Duration still = s.waiting ? now - s.waiting->still : paxos::Duration{};
  std::string standstill;
  if (s.voting && still > std::max<paxos::Duration>(2 * election_timeout_, line_interval))
    standstill = fmt::format("slot {} waits, and nothing is applied{}", s.waiting->slot.n,
                             s.hole ? ": it was skipped; a new leader fills it" : "");
  const bool stood = standstill_.saying();
  if (standstill_.due(now, standstill))
    daemon_log::write(daemon_log::Level::warning,
                      {.event = "stands_still", .ballot = s.leader_ballot, .slot = s.waiting->slot},
                      fmt::format("{}, for {} ms", standstill, in_ms(still)));
  else if (stood && standstill.empty())
    daemon_log::write(daemon_log::Level::info, {.event = "goes_on", .ballot = {}, .slot = s.applied},
                      fmt::format("goes on: slot {} is applied", s.applied.n));
}

void Supervision::tell_unopened(paxos::Time now, std::uint64_t count) {
  if (count == unopened_told_ || now < unopened_at_) return;
  daemon_log::warning(
      "{} datagram{} did not open and got no answer: a client or replica with the key of another cluster, or "
      "damage "
      "on the way; compare the key files (sha256sum)",
      count - unopened_told_, count - unopened_told_ == 1 ? "" : "s");
  unopened_told_ = count;
  unopened_at_ = now + unopened_interval;
}

void Supervision::hint_at_missed_raise(bool hears_leader, std::uint64_t unknown) {
  if (missed_raise_.due(hears_leader, unknown))
    daemon_log::warning(
        "datagrams come in a format that this program does not know, and no leader is heard: if the others "
        "run a newer "
        "version and have raised the cluster's rules, install it here too");
}

std::optional<std::string> SendFailures::line(paxos::Time now, const std::map<int, std::uint64_t>& errors) {
  if (now < next_ || errors == told_) return std::nullopt;
  std::string list;
  for (const auto& [error, count] : errors) {
    const std::uint64_t before = told_.contains(error) ? told_.at(error) : 0;
    if (count > before)
      list += fmt::format("{}{} {} ({})", list.empty() ? "" : ", ", count - before, errno_name(error),
                          std::strerror(error));
  }
  told_ = errors;
  if (list.empty()) return std::nullopt;  // another socket, which counts from nothing
  next_ = now + unsent_interval;
  return list;
}

}  // namespace paxosd
