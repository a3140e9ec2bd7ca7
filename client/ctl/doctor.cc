#include "client/ctl/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "client/ctl/address_advice.h"
#include "client/session/attention.h"
#include "client/session/cluster_view.h"
#include "client/terminal/printable.h"
#include "config/flags.h"

namespace client {

namespace {

constexpr double mib = 1024.0 * 1024.0;
constexpr double clock_warn_ms = 500;
constexpr double clock_bad_ms = 5000;
constexpr double memlock_wanted = 8 * mib;
constexpr double files_wanted = 1024;
constexpr double files_needed = 256;
constexpr double memory_wanted = 300 * mib;
constexpr double memory_needed = 64 * mib;
constexpr double disk_free_wanted = 1024 * mib;
constexpr double disk_free_needed = 100 * mib;
constexpr double sync_wanted_us = 10'000;
constexpr double receive_buffer_wanted = 4 * mib;
constexpr double drops_share_max = 0.001;
constexpr int headers_v4 = 28;
constexpr int headers_v6 = 48;

std::string bytes_text(double bytes) {
  if (bytes >= 1024 * mib) return fmt::format("{:.1f} GiB", bytes / (1024 * mib));
  if (bytes >= mib) return fmt::format("{:.0f} MiB", bytes / mib);
  return fmt::format("{:.0f} KiB", bytes / 1024);
}

std::string us_text(double us) {
  return us < 10'000 ? fmt::format("{:.2f} ms", us / 1000) : fmt::format("{:.0f} ms", us / 1000);
}

Finding make(std::string check, Verdict verdict, std::string measured, std::string advice = {}) {
  return {.replica = {},
          .check = std::move(check),
          .verdict = verdict,
          .measured = std::move(measured),
          .advice = std::move(advice)};
}

/// What a replica counted lately: a cause that is there now. Of counters since its start nothing is
/// concluded.
class Recent {
 public:
  explicit Recent(const Json& doctor) {
    if (const auto at = doctor.find("recent"); at != doctor.end() && at->is_object()) recent_ = *at;
  }
  [[nodiscard]] std::optional<double> grown(const char* counter) const { return number_in(recent_, counter); }
  [[nodiscard]] std::string span() const {
    return age_text(std::chrono::milliseconds{
        static_cast<std::int64_t>(std::clamp(number_in(recent_, "ms").value_or(0), 0.0, 1e15))});
  }

 private:
  Json recent_ = Json::object();
};

Finding judge_disk_speed(const Json& doctor, std::chrono::milliseconds election_timeout) {
  const auto at = doctor.find("disk_probe");
  const Json probe = at != doctor.end() && at->is_object() ? *at : Json::object();
  if (const std::string error = text_in(probe, "error"); !error.empty())
    return make("disk sync", Verdict::bad, "a synced write failed: " + printable(error),
                "check the disk and the file system of the data directory (dmesg, df)");
  const auto median = number_in(probe, "us_median");
  const Recent recent(doctor);
  const auto syncs = recent.grown("syncs");
  const auto total = recent.grown("sync_us_total");
  std::string measured;
  if (median)
    measured = fmt::format("{} at the median of {:.0f} probe{}, {} at most", us_text(*median),
                           number_in(probe, "syncs").value_or(0), number_in(probe, "syncs") == 1 ? "" : "s",
                           us_text(number_in(probe, "us_max").value_or(0)));
  std::optional<double> mean;
  if (syncs && total && *syncs > 0) mean = *total / *syncs;
  if (mean)
    measured += fmt::format("{}{} mean of {:.0f} log syncs in the last {}", measured.empty() ? "" : "; ",
                            us_text(*mean), *syncs, recent.span());
  if (measured.empty()) return make("disk sync", Verdict::ok, "not measured");
  const double worst = std::max(median.value_or(0), mean.value_or(0));
  const double hung = static_cast<double>(election_timeout.count()) * 1000;
  if (worst > hung / 2)
    return make(
        "disk sync", Verdict::bad, measured,
        fmt::format(
            "a sync that takes election_timeout_ms ({} ms) counts as a hung disk: use a faster disk, take "
            "other writers off it, or raise the timeout in every config",
            election_timeout.count()));
  if (worst > sync_wanted_us)
    return make("disk sync", Verdict::warn, measured,
                "every message waits for a sync on a quorum: a faster disk (SSD) helps most");
  return make("disk sync", Verdict::ok, measured);
}

Finding judge_disk_space(const Json& doctor) {
  const auto free = number_in(doctor, "disk_free_bytes");
  if (!free) return make("disk space", Verdict::ok, "not measured yet");
  std::string measured = bytes_text(*free) + " free";
  if (const auto used = number_in(doctor, "disk_used_bytes")) measured += ", data takes " + bytes_text(*used);
  if (const auto full = doctor.find("disk_full"); full != doctor.end() && *full == true)
    return make("disk space", Verdict::bad, measured + ": the disk is full",
                "it votes for nothing new until there is room: make some, or give the file system more");
  if (*free < disk_free_needed)
    return make("disk space", Verdict::bad, measured,
                "a replica whose disk is full votes for nothing new: make room now");
  if (*free < disk_free_wanted)
    return make("disk space", Verdict::warn, measured, "make room on the volume of the data directory");
  return make("disk space", Verdict::ok, measured);
}

Finding judge_udp(const Json& doctor) {
  const auto buffer = number_in(doctor, "receive_buffer_bytes");
  const Recent recent(doctor);
  const auto counted = recent.grown("receive_drops");
  const double drops = counted.value_or(0);
  const double received = recent.grown("datagrams_received").value_or(0);
  std::string measured = buffer ? bytes_text(*buffer) + " receive buffer" : "receive buffer not measured";
  measured += counted ? fmt::format(", {:.0f} datagrams dropped of {:.0f} in the last {}", drops,
                                    drops + received, recent.span())
                      : fmt::format(", {:.0f} datagrams received in the last {}, dropped ones not counted",
                                    received, recent.span());
  const bool dropping = drops > drops_share_max * (drops + received);
  if ((buffer && *buffer < receive_buffer_wanted) || dropping)
    return make("udp", Verdict::warn, measured,
                "bursts are lost and sent again: sysctl -w net.core.rmem_max=8388608 (the package paxosd "
                "sets it at boot, "
                "/usr/lib/sysctl.d/60-paxosd.conf; for a container, on its host), then restart the replica");
  return make("udp", Verdict::ok, measured);
}

/// What a replica found of the ways to the others.
Finding judge_paths(const Json& doctor) {
  const auto at = doctor.find("paths");
  if (at == doctor.end() || !at->is_array()) return make("paths", Verdict::ok, "not told");
  std::string narrow;
  std::optional<double> least;
  for (const Json& path : *at) {
    const auto bytes = number_in(path, "datagram_bytes");
    const auto wanted = number_in(path, "wanted");
    const auto replica = number_in(path, "replica");
    if (!bytes || !replica) continue;
    least = std::min(least.value_or(*bytes), *bytes);
    if (wanted && *bytes < std::min(*wanted, 1232.0))
      narrow += fmt::format("{}{:.0f} to replica {:.0f}", narrow.empty() ? "" : ", ", *bytes, *replica);
  }
  if (!narrow.empty())
    return make("paths", Verdict::warn, "datagrams of at most " + narrow + " bytes pass",
                "it works, with more datagrams: raise the MTU of the link or tunnel, and let ICMP "
                "'fragmentation needed' through "
                "the firewall");
  return make("paths", Verdict::ok,
              least ? fmt::format("datagrams of {:.0f} bytes to all others", *least) : "no other replica");
}

Finding judge_config(const Json& doctor, const DoctorOptions& options) {
  const auto at = doctor.find("config");
  if (at == doctor.end() || !at->is_object()) return make("config", Verdict::ok, "not told");
  std::string differing;
  std::string outdated;
  for (const auto& [name, ours] : options.agreed) {
    const std::string theirs = text_in(*at, name.c_str());
    if (theirs == ours) continue;
    const bool address = name.starts_with("address");
    if (address && options.same_address && options.same_address(ours, theirs)) continue;
    std::string& told = options.members_changed && (address || name == "replicas") ? outdated : differing;
    told += fmt::format("{}{} is {} there and {} {}", told.empty() ? "" : "; ", name,
                        theirs.empty() ? "missing" : printable(theirs), ours,
                        &told == &outdated ? "in the cluster" : "here");
  }
  if (differing.empty() && !outdated.empty())
    return make("config", Verdict::warn, outdated,
                "write the members that the cluster has now (`paxosctl member list`) into its cluster.yaml: "
                "who starts "
                "while few others are there finds them by it");
  if (differing.empty()) return make("config", Verdict::ok, "agrees with the one here");
  return make("config", Verdict::bad, differing,
              "copy one cluster.yaml to all machines (these parts must be alike), then restart the replicas "
              "that had another");
}

Finding judge_faults(const Json& doctor) {
  const auto on = doctor.find("fault_injection");
  if (on == doctor.end() || !on->is_boolean()) return make("faults", Verdict::ok, "not told");
  const double loss = number_in(doctor, "loss").value_or(0);
  if (!on->get<bool>() && loss == 0) return make("faults", Verdict::ok, "fault injection is off");
  std::string measured =
      on->get<bool>() ? "fault injection is on: whoever has the key can kill, pause and cut off replicas"
                      : "fault injection is off";
  if (loss > 0) measured += fmt::format("; it drops {:.0f} % of its datagrams", loss * 100);
  return make("faults", Verdict::warn, measured,
              "in production: `fault_injection: false` and `loss: 0` in cluster.yaml (paxosctl config "
              "generate --production), then "
              "systemctl reload paxosd@ID");
}

/// Of one that answers, and does not vote.
std::string advice_for_nonvoter(const Json& status) {
  if (status.contains("missing_at_birth"))
    return "start the replicas that it waits for; if they run, look at the network between them and it (UDP, "
           "both ways)";
  if (catches_up(status))
    return "wait: it takes what it needs from the others, and votes then; its `applied` must grow (`paxosctl "
           "member list`)";
  if (newcomer(status))
    return "see the reason, and 'A disk is lost' in OPERATIONS.md: `paxosctl member replace` puts this "
           "directory in the lost one's place; a quorum of the others is enough meanwhile";
  return "see the reason, and 'A disk is lost' in OPERATIONS.md (of an older copy: the section behind it): "
         "to "
         "put another directory in its place, start it with an empty data directory first (and keep this "
         "one), then `paxosctl member replace`; a quorum of the others is enough meanwhile";
}

}  // namespace

const char* to_string(Verdict verdict) {
  return verdict == Verdict::ok ? "ok" : verdict == Verdict::warn ? "warn" : "bad";
}

Finding judge_clock(const ClockReading& r) {
  const double half = static_cast<double>(std::max<std::int64_t>(0, r.received_ms - r.sent_ms)) / 2;
  const double offset = static_cast<double>(r.remote_ms) - (static_cast<double>(r.sent_ms) + half);
  const double at_least = std::max(0.0, std::abs(offset) - half);
  const std::string measured = fmt::format("{:+.0f} ms against here (+- {:.0f} ms)", offset, std::ceil(half));
  const std::string advice =
      "messages carry the leader's time: set the clock and keep it set (timedatectl set-ntp true; chronyc "
      "tracking)";
  if (at_least > clock_bad_ms) return make("clock", Verdict::bad, measured, advice);
  if (at_least > clock_warn_ms) return make("clock", Verdict::warn, measured, advice);
  return make("clock", Verdict::ok, measured);
}

Finding judge_mtu(int mtu, bool loopback, std::size_t datagram_bytes, bool v6) {
  const int needed = static_cast<int>(datagram_bytes) + (v6 ? headers_v6 : headers_v4);
  const std::string measured = fmt::format("path MTU {} bytes, datagrams take {}", mtu, needed);
  if (mtu >= needed) return make("mtu", Verdict::ok, measured);
  return make(
      "mtu", Verdict::warn, measured,
      loopback
          ? "datagrams are fragmented: ip link set lo mtu 65536"
          : fmt::format("programs find out and send smaller ones, after the first have failed: "
                        "`datagram_bytes: {}` in "
                        "cluster.yaml spares them that, or raise the MTU of the link or tunnel (ip link)",
                        std::max(mtu - (v6 ? headers_v6 : headers_v4), 508)));
}

Finding judge_memlock(const Json& bytes) {
  if (bytes.is_string()) return make("memlock", Verdict::ok, "unlimited");
  if (!bytes.is_number()) return make("memlock", Verdict::ok, "not measured");
  const double n = bytes.get<double>();
  if (n >= memlock_wanted) return make("memlock", Verdict::ok, bytes_text(n));
  return make(
      "memlock", Verdict::warn, bytes_text(n),
      "io_uring's buffers may not fit: LimitMEMLOCK=8M in the unit, or memlock in /etc/security/limits.conf");
}

Finding judge_files(const Json& files) {
  if (files.is_string()) return make("open files", Verdict::ok, "unlimited");
  if (!files.is_number()) return make("open files", Verdict::ok, "not measured");
  const double n = files.get<double>();
  const std::string advice = "RocksDB keeps files open: LimitNOFILE=65536 in the unit, or ulimit -n";
  const std::string measured = fmt::format("at most {:.0f}", n);
  if (n < files_needed) return make("open files", Verdict::bad, measured, advice);
  if (n < files_wanted) return make("open files", Verdict::warn, measured, advice);
  return make("open files", Verdict::ok, measured);
}

Finding judge_memory(std::optional<double> most) {
  if (!most) return make("memory", Verdict::ok, "no limit found");
  const std::string measured = "limited to " + bytes_text(*most);
  const std::string advice = "under load a replica takes up to 300 MiB: raise MemoryMax= of the unit";
  if (*most < memory_needed) return make("memory", Verdict::bad, measured, advice);
  if (*most < memory_wanted) return make("memory", Verdict::warn, measured, advice);
  return make("memory", Verdict::ok, measured);
}

Finding judge_kernel(const std::string& release) {
  const unsigned long major = std::strtoul(release.c_str(), nullptr, 10);
  const std::size_t dot = release.find('.');
  const unsigned long minor =
      dot == std::string::npos ? 0 : std::strtoul(release.c_str() + dot + 1, nullptr, 10);
  const std::string measured = "Linux " + printable(release);
  if (major == 0) return make("kernel", Verdict::ok, "not told");
  if (major > 6 || (major == 6 && minor >= 1)) return make("kernel", Verdict::ok, measured);
  return make("kernel", Verdict::warn, measured, "made for and tried on 6.1 and later: upgrade the kernel");
}

Finding judge_key_mode(unsigned mode) {
  const std::string measured = fmt::format("mode {:04o}", mode & 07777U);
  if (const std::string fault = config::key_mode_fault(mode); !fault.empty())
    return make("key", Verdict::bad, "it " + fault,
                "chmod 600 (or 640 with a group of its own), and make a new one if it may have been read");
  return make("key", Verdict::ok, "well-formed, " + measured);
}

std::vector<Finding> judge_replica(unsigned id, const std::string& address, const std::optional<Json>& status,
                                   const std::optional<Json>& doctor,
                                   const std::optional<ClockReading>& clock, const DoctorOptions& options,
                                   bool port_closed) {
  std::vector<Finding> out;
  const auto add = [&](Finding finding) {
    finding.replica = id;
    out.push_back(std::move(finding));
  };
  if (!status && !doctor) {
    const std::size_t colon = address.rfind(':');
    const std::string port = colon == std::string::npos ? address : address.substr(colon + 1);
    if (port_closed)
      add(make("answer", Verdict::bad, fmt::format("it does not run: nothing listens on {}", address),
               fmt::format("on its machine: `systemctl start paxosd@{}`, or `paxosd --id {}` in a terminal; "
                           "if it ends again, its log says "
                           "why (journalctl -u paxosd@{})",
                           id, id, id)));
    else
      add(make(
          "answer", Verdict::bad, fmt::format("no answer from {}", address),
          fmt::format(
              "on its machine: `systemctl status paxosd@{}` and its log; the firewall must let UDP port {} "
              "through, both "
              "ways; and the key and the config must be this cluster's: what is sealed under another key is "
              "never "
              "answered, but its log has a line (\"did not open\"), and its metrics count it as foreign_key",
              id, port)));
    return out;
  }
  if (status) {
    const Json& s = *status;
    const std::string role = text_in(s, "role");
    if (const auto left = age_in(s, "paused_ms")) {
      add(make("answer", Verdict::warn,
               "it stands still by `paxosctl pause`, for " + age_text(*left) + " more",
               "wait, or restart it"));
      if (!doctor) return out;
    } else if (role == "learner") {
      add(make("answer", Verdict::ok, printable(text_in(s, "reason"))));
    } else if (!votes(s))
      add(make("answer", catches_up(s) ? Verdict::warn : Verdict::bad,
               "it answers, but does not vote: " + printable(text_in(s, "reason")), advice_for_nonvoter(s)));
    else if (const auto age = number_in(s, "no_quorum_age_ms"))
      add(make("answer", Verdict::bad,
               "it has had no quorum for " + age_text(std::chrono::milliseconds{
                                                 static_cast<std::int64_t>(std::clamp(*age, 0.0, 1e15))}),
               "start the replicas that are missing, and see the lines about them"));
    else
      add(make("answer", Verdict::ok, role.empty() ? "it answers" : printable(role)));
    if (const auto at = s.find("redoing"); at != s.end() && at->is_object())
      add(make("log", Verdict::warn,
               fmt::format("it redoes its own log: {:.0f} of {:.0f} slots",
                           number_in(*at, "done").value_or(0), number_in(*at, "of").value_or(0)),
               "wait: it votes meanwhile, and reads from it wait"));
    if (const auto at = s.find("snapshot_wanted"); at != s.end() && at->is_object())
      add(make("log", Verdict::bad,
               fmt::format("it needs a snapshot: nobody that it reaches has slot {:.0f} any more",
                           number_in(*at, "above").value_or(0)),
               "see that it reaches a replica that is up to date; it takes a snapshot from there"));
    if (const auto left = age_in(s, "isolated_ms"))
      add(make("faults", Verdict::warn,
               "it is cut off by `paxosctl isolate`, for " + age_text(*left) + " more",
               "wait, or restart it"));
  }
  if (!doctor) {
    add(make("doctor", Verdict::warn,
             fmt::format("it answers `status`, but not `doctor`; it runs version {}",
                         status ? printable(text_in(*status, "version")) : "?"),
             "it is older, or too busy: upgrade it, or ask again"));
    return out;
  }
  const Json& d = *doctor;
  if (clock) add(judge_clock(*clock));
  add(judge_config(d, options));
  if (const std::string version = text_in(d, "version"); version == options.version)
    add(make("version", Verdict::ok, printable(version)));
  else
    add(make("version", Verdict::warn, fmt::format("{} there, {} here", printable(version), options.version),
             "fine during an upgrade; finish it"));
  if (const std::vector<unsigned> ids = ids_in(d, "missing"); !ids.empty()) {
    std::string measured = "it does not hear " + replicas_text(ids);
    std::string advice =
        "where one of them answers here, look at the network and the firewall between the two (UDP, both "
        "ways)";
    if (const double foreign = Recent(d).grown("foreign_key").value_or(0); foreign > 0) {
      measured +=
          fmt::format("; {:.0f} datagrams under another key came in the last {}", foreign, Recent(d).span());
      advice =
          "compare `sha256sum /etc/paxosd/cluster.key` on all machines: one seems to have another key; " +
          advice;
    }
    add(make("peers", Verdict::warn, std::move(measured), std::move(advice)));
  } else {
    add(make("peers", Verdict::ok, "it hears all others"));
  }
  for (Finding& finding : judge_links(d, options.election_timeout)) add(std::move(finding));
  add(judge_kernel(text_in(d, "kernel")));
  add(judge_disk_speed(d, options.election_timeout));
  add(judge_disk_space(d));
  add(judge_memlock(d.contains("memlock_bytes") ? d.at("memlock_bytes") : Json()));
  add(judge_files(d.contains("files_max") ? d.at("files_max") : Json()));
  add(judge_memory(number_in(d, "memory_max_bytes")));
  add(judge_udp(d));
  add(judge_paths(d));
  add(judge_faults(d));
  return out;
}

std::vector<Finding> judge_cluster(const Json& status) {
  std::vector<Finding> out;
  const auto leader =
      status.at("leader").is_null() ? std::nullopt : std::optional(status.at("leader").get<unsigned>());
  const Outage outage = outage_of(status);
  const auto add = [&](std::optional<unsigned> replica, Finding finding) {
    finding.replica = replica;
    out.push_back(std::move(finding));
  };
  if (!outage.over())
    add(leader, make("progress", Verdict::bad, outage.sentence(), text_in(status, "stuck_advice")));
  else
    add(leader,
        make("progress", status.at("degraded").get<bool>() ? Verdict::warn : Verdict::ok, headline(status),
             status.at("degraded").get<bool>() ? "see the lines about those that take no part" : ""));
  for (const Attention& a : attention_in(status)) {
    // The rest is told of each replica by itself.
    const bool stands_still = a.what == "stands_still" || a.what == "follows_nobody";
    const Json* r = replica_in(status, a.replica);
    const bool unheard = a.what == "unheard" && r != nullptr && r->at("reachable").get<bool>();
    if (stands_still || unheard)
      add(a.replica, make("progress", Verdict::bad, "it " + a.text, a.advice));
    else if (a.what == "behind" || a.what == "unheard_here")
      add(a.replica, make("progress", Verdict::warn, "it " + a.text, a.advice));
  }
  return out;
}

Json recent_between(const Json& before, const Json& now, std::int64_t ms) {
  Json out{{"ms", ms}};
  for (const char* counter :
       {"syncs", "sync_us_total", "receive_drops", "datagrams_received", "foreign_key"}) {
    const auto a = number_in(before, counter);
    const auto b = number_in(now, counter);
    if (a && b && *b >= *a) out[counter] = *b - *a;
  }
  return out;
}

std::vector<FindingLine> lines_of(const std::vector<Finding>& findings) {
  std::vector<FindingLine> out;
  for (const Finding& f : findings) {
    const auto same = [&](const FindingLine& line) {
      return !line.replicas.empty() && line.finding.check == f.check && line.finding.verdict == f.verdict &&
             line.finding.measured == f.measured && line.finding.advice == f.advice;
    };
    const auto known =
        f.replica && f.verdict != Verdict::ok ? std::find_if(out.begin(), out.end(), same) : out.end();
    if (known != out.end())
      known->replicas.push_back(*f.replica);
    else
      out.push_back(
          {.replicas = f.replica ? std::vector{*f.replica} : std::vector<unsigned>{}, .finding = f});
  }
  return out;
}

int doctor_exit(const std::vector<Finding>& findings, bool asked, bool anyone) {
  if (asked && !anyone) return config::exit_unknown;
  const bool bad = std::any_of(findings.begin(), findings.end(),
                               [](const Finding& f) { return f.verdict == Verdict::bad; });
  return bad ? config::exit_refused : config::exit_fine;
}

}  // namespace client
