#include <utility>

#include "daemon/host.h"
#include "daemon/log.h"
#include "daemon/proc.h"
#include "daemon/start_delay.h"

/// What a replica says of itself unasked, at its start and later, and the reload that its service manager may
/// ask for.
namespace paxosd {

namespace {
std::string log_kept(const config::ClusterConfig& config) {
  std::string out;
  if (config.log_keep_slots != 0) out = fmt::format("{} slots", config.log_keep_slots);
  if (config.log_keep_mib != 0)
    out += fmt::format("{}{} MiB", out.empty() ? "" : " or ", config.log_keep_mib);
  return out.empty() ? "all of it" : out;
}
}  // namespace

std::string Host::standing_line() const {
  const paxos::Status s = node_.status();
  std::string line = outlet_ ? std::string() : fmt::format("waits: {}; ", listening_.fault);
  line += paxos::to_string(s.role);
  if (!s.ballot.none()) line += ", ballot " + paxos::to_string(s.ballot);
  if (s.leader && *s.leader != self_.id) line += fmt::format(", follows replica {}", s.leader->n);
  line += fmt::format(", slot {}", s.applied.n);
  if (s.chosen > s.applied) line += fmt::format(" of {}", s.chosen.n);
  if (s.redoing)
    line += fmt::format(", redoes its own log: {} of {} slots", s.applied.n + 1 - s.redoing->first.n,
                        s.redoing->last.n + 1 - s.redoing->first.n);
  if (s.snapshot_wanted)
    line +=
        fmt::format(", needs a snapshot: nobody reachable has slot {} any more", s.snapshot_wanted->above.n);
  if (s.room != paxos::DiskRoom::enough) line += ", its disk is full: votes for nothing new";
  if (s.blocked) line += ", takes no commands: too many disks are full";
  if (!s.voting) line += ", does not vote: " + s.reason;
  if (s.waiting) {
    const auto ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(loop_.now() - s.waiting->since).count();
    if (ms >= 1000) line += fmt::format(", slot {} waits for {} s", s.waiting->slot.n, ms / 1000);
  }
  if (const std::string pull = snapshots_.line(); !pull.empty()) line += "; " + pull;
  if (!metrics_.fault.empty()) line += "; no metrics: " + metrics_.fault;
  return line;
}

Counts Host::counts() const {
  Counts out{{"datagrams_received", outlet_ ? outlet_->figures().received : 0},
             {"foreign_key", transport_.figures().dropped[static_cast<std::size_t>(net::Drop::foreign_key)]},
             {"syncs", storage_->figures().syncs},
             {"sync_us_total", static_cast<std::uint64_t>(storage_->figures().sync_latency.sum_ns / 1000)}};
  const std::uint16_t port =
      outlet_ ? outlet_->local_address().port() : options_.config.replicas[self_.id.n].port;
  // Not /proc/net: the unit's ProcSubset=pid leaves only what belongs to a process.
  for (const char* table : {"/proc/self/net/udp", "/proc/self/net/udp6"})
    if (const auto drops = udp_drops(text_of(table), port)) out["receive_drops"] += *drops;
  return out;
}

void Host::report(paxos::Time now) {
  supervision_.tell_leader(node_);
  supervision_.flush();
  if (supervision_.line_due(now)) {
    supervision_.show(standing_line());
    if (options_.lived && now - self_.started > StartCounter::long_enough)
      std::exchange(options_.lived, {})();
    const auto dropped = transport_.figures().dropped;
    supervision_.tell_unopened(now, dropped[static_cast<std::size_t>(net::Drop::foreign_key)]);
    supervision_.tell_trouble(now, node_.status());
    tell_unsent(now);
    const bool hears_leader = node_.is_leader() || node_.last_standing().leader;
    supervision_.hint_at_missed_raise(hears_leader, dropped[static_cast<std::size_t>(net::Drop::version)]);
  }
  read_some(now);
  repair(now);
  if (recent_.due(now)) recent_.take(now, counts());
  supervision_.give_sign(now, unfinished(now), options_.directory);
}

void Host::prepare_flight_recorder() {
  const std::filesystem::path folder = crash_folder();
  FlightRecorder::keep_newest(folder, options_.config.crash_dumps_kept);
  if (const auto dumps = FlightRecorder::dumps(folder); !dumps.empty())
    daemon_log::warning(
        "an earlier run crashed and left its flight recorder: `paxosctl explain --dump {}` shows it{}; "
        "remove it when it is understood",
        dumps.back().string(),
        dumps.size() == 1 ? "" : fmt::format(" ({} more beside it)", dumps.size() - 1));
  if (const auto problem = flight_.dump_on_crash(folder, self_.id, self_.boot))
    daemon_log::warning("{}", *problem);
}

void Host::reload() {
  supervision_.reloading();
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
    snapshots_.set_rate(options_.config.snapshot_bytes_per_second);
    node_.set_slack(loop_.now(), slack_of(options_.config));
    scrub_.set_every(loop_.now(), options_.config.scrub_every);
    if (!options_.level_by_flag) (void)daemon_log::set_level(options_.config.log_level);
    // On the state thread: a disk may take its time.
    storage_->read([folder = crash_folder(), kept = options_.config.crash_dumps_kept](
                       const storage::Storage::Reader&) { FlightRecorder::keep_newest(folder, kept); });
    // On the state thread: a disk may take its time. Only said: a replica has one key from its start to its
    // end.
    storage_->read([this, good = secrets_.file.good](const storage::Storage::Reader&) {
      const auto key = config::load_key(options_.config.key_file);
      if (key && std::find(good.begin(), good.end(), net::Secret(key->bytes)) != good.end()) return;
      if (const std::string difference = key_watch_.difference(); !difference.empty())
        daemon_log::warning(
            "{}: it is not taken while running. `paxosctl key rotate` gives a new secret to all "
            "replicas while they run",
            difference);
    });
    daemon_log::info(
        "reloaded {}: log level {}, fault injection {}, loss {}, datagrams of {} bytes, snapshots at {} "
        "bytes a "
        "second, log kept: {}, crash dumps kept {}",
        options_.config.file.string(),
        options_.level_by_flag ? "as --log-level says" : options_.config.log_level,
        options_.config.fault_injection ? "on" : "off", options_.config.loss, options_.config.datagram_bytes,
        options_.config.snapshot_bytes_per_second, log_kept(options_.config),
        options_.config.crash_dumps_kept);
  }
  supervision_.reloaded();
}

}  // namespace paxosd
