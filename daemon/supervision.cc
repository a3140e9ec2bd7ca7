#include <algorithm>
#include <utility>

#include "daemon/host.h"
#include "daemon/log.h"
#include "daemon/start_delay.h"

/// What the service manager hears and asks: signs of life, the status line, a reload.
namespace paxosd {

namespace {
constexpr paxos::Duration standing_interval = std::chrono::seconds{1};
/// So many signs of life in the time after which their absence kills.
constexpr int signs_of_life = 4;
/// What does not open is never answered: the log is where its sender's operator can see that it came.
constexpr paxos::Duration unopened_interval = std::chrono::minutes{1};
}  // namespace

std::string Host::standing_line() const {
  const paxos::Status s = node_.status();
  std::string line = socket_ ? std::string() : fmt::format("waits: {}; ", listen_fault_);
  line += paxos::to_string(s.role);
  if (!s.ballot.none()) line += ", ballot " + paxos::to_string(s.ballot);
  if (s.leader && *s.leader != options_.self) line += fmt::format(", follows replica {}", s.leader->n);
  line += fmt::format(", slot {}", s.applied.n);
  if (s.chosen > s.applied) line += fmt::format(" of {}", s.chosen.n);
  if (!s.voting) line += ", does not vote: " + s.reason;
  if (s.waiting) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(loop_.now() - s.waiting->since).count();
    if (ms >= 1000) line += fmt::format(", slot {} waits for {} s", s.waiting->slot.n, ms / 1000);
  }
  if (!metrics_fault_.empty()) line += "; no metrics: " + metrics_fault_;
  return line;
}

/// What an operator at its terminal, or its journal, has to know without asking: that it takes no part and whom it waits
/// for, and that nothing gets on.
void Host::tell_trouble(paxos::Time now) {
  const paxos::Status s = node_.status();
  if (not_voting_told_.due(now, s.voting ? std::string() : s.reason))
    daemon_log::write(s.role == paxos::Role::unborn ? daemon_log::Level::info : daemon_log::Level::warning,
                      {.event = "waits", .ballot = {}, .slot = {}}, "does not vote: " + s.reason);
  const paxos::Duration still = s.waiting ? now - s.waiting->still : paxos::Duration{};
  std::string standstill;
  if (s.voting && still > std::max<paxos::Duration>(2 * options_.config.election_timeout, standing_interval))
    standstill = fmt::format("slot {} waits, and nothing is applied{}", s.waiting->slot.n,
                             s.hole ? ": it was skipped; a new leader fills it" : "");
  const bool stood = standstill_told_.saying();
  if (standstill_told_.due(now, standstill))
    daemon_log::write(daemon_log::Level::warning, {.event = "stands_still", .ballot = s.leader_ballot, .slot = s.waiting->slot},
                      fmt::format("{}, for {} ms", standstill, std::chrono::duration_cast<std::chrono::milliseconds>(still).count()));
  else if (stood && standstill.empty())
    daemon_log::write(daemon_log::Level::info, {.event = "goes_on", .ballot = {}, .slot = s.applied},
                      fmt::format("goes on: slot {} is applied", s.applied.n));
}

void Host::tell_unopened(paxos::Time now) {
  const std::uint64_t count = transport_.figures().dropped[static_cast<std::size_t>(net::Drop::foreign_key)];
  if (count == unopened_told_ || now < unopened_at_) return;
  daemon_log::warning("{} datagram{} did not open and got no answer: a client or replica with the key of another cluster, or damage "
                      "on the way; compare the key files (sha256sum)",
                      count - unopened_told_, count - unopened_told_ == 1 ? "" : "s");
  unopened_told_ = count;
  unopened_at_ = now + unopened_interval;
}

void Host::report(paxos::Time now) {
  const auto leader = node_.is_leader() ? std::optional(options_.self) : node_.last_standing().leader;
  if (leader != leader_told_) {
    if (leader && *leader != options_.self)
      daemon_log::write(daemon_log::Level::info, {.event = "follows", .ballot = node_.status().leader_ballot, .slot = {}},
                        fmt::format("follows replica {}", leader->n));
    else if (!leader)
      daemon_log::write(daemon_log::Level::info, {.event = "leaderless", .ballot = {}, .slot = {}},
                        "knows no leader");
    leader_told_ = leader;
    standing_at_ = now;
  }
  manager_.flush();
  if (now >= standing_at_) {
    standing_at_ = now + standing_interval;
    manager_.status(standing_line());
    if (options_.lived && now - started_ > StartCounter::long_enough) std::exchange(options_.lived, {})();
    tell_unopened(now);
    tell_trouble(now);
    tell_unsent(now);
    warn_of_later_format(leader.has_value());
  }
  if (now >= counted_at_) {
    counted_at_ = now + RecentCounts::every;
    recent_.take(now, counts());
  }
  if (now < alive_at_) return;
  alive_at_ = now + *watchdog_ / signs_of_life;
  const std::int64_t began = storage_->oldest_work_started_ns();
  const paxos::Duration age{began == 0 ? 0 : now.time_since_epoch().count() - began};
  if (age < *watchdog_ / 2) {
    stuck_told_ = false;
    manager_.alive();
  } else if (!std::exchange(stuck_told_, true)) {
    daemon_log::warning("the disk of {} has not finished a write for {} ms: no more signs of life to the service manager",
                        options_.directory.string(),
                        std::chrono::duration_cast<std::chrono::milliseconds>(age).count());
  }
}

/// An older program that comes back after the rules were raised understands nothing any more, not even that they were. Whose
/// datagrams these are is not known, so that this is a hint and no reason to stop.
void Host::warn_of_later_format(bool hears_leader) {
  if (hears_leader || later_format_told_) return;
  if (transport_.figures().dropped[static_cast<std::size_t>(net::Drop::version)] == 0) return;
  later_format_told_ = true;
  daemon_log::warning(
      "datagrams come in a format that this program does not know, and no leader is heard: if the others run a newer "
      "version and have raised the cluster's rules, install it here too");
}

void Host::reload() {
  manager_.reloading();
  auto fresh = config::load(options_.config.file);
  std::string refused;
  if (!fresh)
    refused = fresh.error();
  else if (std::string fixed = config::fixed_difference(options_.config, *fresh); !fixed.empty())
    refused = options_.config.file.string() + ": " + fixed;
  if (!refused.empty()) {
    daemon_log::error("reload refused, the settings stay as they were: {}", refused);
  } else {
    options_.config = std::move(*fresh);
    faults_.set_loss(options_.config.loss);
    transport_.set_datagram_bytes(options_.config.datagram_bytes);
    if (!options_.level_by_flag) (void)daemon_log::set_level(options_.config.log_level);
    // On the state thread: a disk may take its time.
    storage_->read([folder = crash_folder(), kept = options_.config.crash_dumps_kept](const storage::Storage::Reader&) {
      FlightRecorder::keep_newest(folder, kept);
    });
    // On the state thread: a disk may take its time. Only said: a replica has one key from its start to its end.
    storage_->read([this](const storage::Storage::Reader&) {
      if (const std::string difference = key_watch_.difference(); !difference.empty())
        daemon_log::warning("{}: it is not taken while running. All replicas need the new key at the same time; see 'A new key' in "
                            "OPERATIONS.md (stop all, copy it, start all)", difference);
    });
    daemon_log::info("reloaded {}: log level {}, fault injection {}, loss {}, datagrams of {} bytes, crash dumps kept {}", options_.config.file.string(),
                     options_.level_by_flag ? "as --log-level says" : options_.config.log_level,
                     options_.config.fault_injection ? "on" : "off", options_.config.loss, options_.config.datagram_bytes,
                     options_.config.crash_dumps_kept);
  }
  manager_.ready();
}

}  // namespace paxosd
