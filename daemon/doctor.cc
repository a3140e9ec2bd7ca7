#include <fcntl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "daemon/host.h"

/// What `paxosctl top` and `paxosctl doctor` want to know of this replica and of the machine that it runs on.
namespace paxosd {

namespace {

using Json = nlohmann::json;
/// Bounds of one probe of the disk: what the state thread gives for it.
constexpr int probe_syncs_max = 16;
constexpr std::chrono::milliseconds probe_time_max{100};
constexpr std::size_t probe_bytes = 4096;
/// A probe that young is given again.
constexpr std::chrono::seconds probe_kept{5};
constexpr std::chrono::seconds disk_figures_kept{2};

std::string text_of(const char* file) {
  std::ifstream in(file);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

/// The limit of this process' control group, where there is one that it may read.
std::optional<std::uint64_t> cgroup_memory_max() {
  std::string own = text_of("/proc/self/cgroup");
  const std::size_t at = own.find("0::");
  if (at == std::string::npos) return std::nullopt;
  own = own.substr(at + 3, own.find('\n', at) - at - 3);
  // A limit may stand at any level above.
  std::optional<std::uint64_t> least;
  for (std::filesystem::path path(own);; path = path.parent_path()) {
    const std::string text = text_of(("/sys/fs/cgroup" + path.string() + "/memory.max").c_str());
    if (!text.empty() && text[0] >= '0' && text[0] <= '9') {
      const std::uint64_t bytes = std::strtoull(text.c_str(), nullptr, 10);
      least = std::min(least.value_or(bytes), bytes);
    }
    if (!path.has_relative_path()) return least;
  }
}

Json limit(int resource) {
  rlimit value{};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &value) != 0) return nullptr;
  return value.rlim_cur == RLIM_INFINITY ? Json("unlimited") : Json(value.rlim_cur);
}

/// `<name>_us_total` and `<name>_us_buckets`; the bounds of the latter are `latency_bounds_us`.
void add_latency(Json& out, const std::string& name, const storage::Latency::Figures& figures) {
  out[name + "_us_total"] = figures.sum_ns / 1000;
  out[name + "_us_buckets"] = figures.counts;
}

/// A few synced writes to a file that has no name: mean and worst in us. Blocks; empty when it can't be done.
Json probe_disk(const std::filesystem::path& directory) {
  const std::filesystem::path file = directory / "doctor-probe";
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return {{"error", std::strerror(errno)}};
  ::unlink(file.c_str());
  using Clock = std::chrono::steady_clock;
  const std::array<char, probe_bytes> block{};
  std::vector<std::int64_t> took;
  const auto began = Clock::now();
  Json out;
  while (took.size() < probe_syncs_max && Clock::now() - began < probe_time_max) {
    const auto at = Clock::now();
    if (::write(fd, block.data(), block.size()) != static_cast<ssize_t>(block.size()) || ::fdatasync(fd) != 0) {
      out["error"] = std::strerror(errno);
      break;
    }
    took.push_back(std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - at).count());
  }
  ::close(fd);
  if (took.empty()) return out;
  std::sort(took.begin(), took.end());
  out["syncs"] = took.size();
  out["us_median"] = took[took.size() / 2];
  out["us_max"] = took.back();
  return out;
}

}  // namespace

void Host::watch_vitals(paxos::Time now) {
  vitals_.standing(now, node_.last_standing().quorum_connected,
                   node_.is_leader() ? std::optional(options_.self) : node_.last_standing().leader, node_.last_standing().missing);
}

/// Looks at the data directory, on the state thread: even a question about a file may hang with its disk.
void Host::refresh_disk_figures() {
  if (disk_.asked || (disk_.at != paxos::Time{} && loop_.now() - disk_.at < disk_figures_kept)) return;
  disk_.asked = true;
  storage_->read([this, directory = options_.directory](const storage::Storage::Reader&) {
    std::uint64_t used = 0;
    std::error_code error;
    for (auto at = std::filesystem::recursive_directory_iterator(directory, error);
         !error && at != std::filesystem::recursive_directory_iterator(); at.increment(error))
      if (std::error_code none; at->is_regular_file(none)) {
        const std::uintmax_t size = at->file_size(none);
        if (!none) used += size;
      }
    struct statvfs volume{};
    std::optional<std::uint64_t> free;
    if (::statvfs(directory.c_str(), &volume) == 0) free = std::uint64_t{volume.f_bavail} * volume.f_frsize;
    mailbox_.push([this, used, free] { disk_ = {.asked = false, .at = loop_.now(), .used = used, .free = free}; });
  });
}

void Host::add_vitals(Json& out) const {
  const paxos::Time now = loop_.now();
  const auto age_ms = [&](paxos::Time since) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(now - since).count();
  };
  if (paused()) out["paused_ms"] = -age_ms(*pause_until_);
  if (faults_.isolated(now)) out["isolated_ms"] = -age_ms(faults_.isolated_until());
  if (const auto since = vitals_.no_quorum_since()) out["no_quorum_age_ms"] = age_ms(*since);
  out["leader_age_ms"] = age_ms(vitals_.leader_since());
  auto& missing = out["missing"] = Json::array();
  auto& missing_ms = out["missing_ms"] = Json::array();
  for (const paxos::ReplicaId id : node_.last_standing().missing) {
    missing.push_back(id.n);
    missing_ms.push_back(age_ms(vitals_.unheard_since(id)));
  }
  add_addresses(out);
  auto& bounds = out["latency_bounds_us"] = Json::array();
  for (const std::int64_t ns : storage::Latency::bounds_ns) bounds.push_back(ns / 1000);
  const storage::Latency::Figures commits = commits_.figures();
  out["commits"] = std::accumulate(commits.counts.begin(), commits.counts.end(), std::uint64_t{0});
  add_latency(out, "commit", commits);
  add_latency(out, "sync", storage_->figures().sync_latency);
  if (disk_.at != paxos::Time{}) {
    out["disk_used_bytes"] = disk_.used;
    if (disk_.free) out["disk_free_bytes"] = *disk_.free;
  }
  std::uint64_t pages = 0;
  std::uint64_t resident = 0;
  if (std::istringstream(text_of("/proc/self/statm")) >> pages >> resident)
    out["resident_bytes"] = resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

Counts Host::counts() const {
  Counts out{{"datagrams_received", socket_ ? socket_->figures().received : 0},
             {"foreign_key", transport_.figures().dropped[static_cast<std::size_t>(net::Drop::foreign_key)]},
             {"syncs", storage_->figures().syncs},
             {"sync_us_total", static_cast<std::uint64_t>(storage_->figures().sync_latency.sum_ns / 1000)}};
  const std::uint16_t port = socket_ ? socket_->local_address().port() : options_.config.replicas[options_.self.n].port;
  // Not /proc/net: the unit's ProcSubset=pid leaves only what belongs to a process.
  for (const char* table : {"/proc/self/net/udp", "/proc/self/net/udp6"})
    if (const auto drops = udp_drops(text_of(table), port)) out["receive_drops"] += *drops;
  return out;
}

void Host::answer_doctor(const net::Address& to, std::uint64_t id, const chat::DoctorRequest& request) {
  if (!request.probe_disk || (probe_ && loop_.now() - probe_->at < probe_kept)) {
    answer(to, id, chat::DoctorReply{doctor_json()});
    return;
  }
  if (probing_) return;  // said again: the first one is still at it
  probing_ = true;
  storage_->read([this, to, id, directory = options_.directory](const storage::Storage::Reader&) {
    auto found = probe_disk(directory);
    mailbox_.push([this, to, id, found = std::move(found)]() mutable {
      probing_ = false;
      probe_ = Probe{.at = loop_.now(), .found = found.dump()};
      answer(to, id, chat::DoctorReply{doctor_json()});
    });
  });
}

std::string Host::doctor_json() const {
  using namespace std::chrono;
  Json out{{"time_ms", duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count()},
           {"version", PAXOSD_VERSION},
           {"pid", ::getpid()},
           {"fault_injection", options_.config.fault_injection},
           {"loss", faults_.loss()},
           {"memlock_bytes", limit(RLIMIT_MEMLOCK)},
           {"files_max", limit(RLIMIT_NOFILE)},
           {"foreign_key", transport_.figures().dropped[static_cast<std::size_t>(net::Drop::foreign_key)]},
           {"paths", paths_json()},
           {"send_errors", Json::object()},
           {"config", Json::object()}};
  for (const auto& [error, count] : socket_ ? socket_->errors() : std::map<int, std::uint64_t>{}) out["send_errors"][errno_name(error)] = count;
  for (const auto& [name, value] : config::agreed_parts(options_.config)) out["config"][name] = value;
  if (socket_) {
    out["receive_buffer_bytes"] = socket_->receive_buffer();
    out["datagrams_received"] = socket_->figures().received;
  }
  auto& trips = out["round_trips_us"] = Json::array();
  for (std::size_t id = 0; id < book_.size(); ++id)
    if (const auto trip = round_trips_.of(paxos::ReplicaId{static_cast<std::uint8_t>(id)}))
      trips.push_back({{"id", id}, {"us", duration_cast<microseconds>(*trip).count()}});
  utsname kernel{};
  if (::uname(&kernel) == 0) out["kernel"] = kernel.release;
  if (const auto bytes = cgroup_memory_max()) out["memory_max_bytes"] = *bytes;
  const Counts now = counts();
  if (const auto drops = now.find("receive_drops"); drops != now.end()) out["receive_drops"] = drops->second;
  // What a present cause is told by: counters since the start may be of last year.
  const RecentCounts::Window window = recent_.until(loop_.now(), now);
  auto& recent = out["recent"] = Json{{"ms", std::chrono::duration_cast<std::chrono::milliseconds>(window.span).count()}};
  for (const auto& [name, count] : window.counts) recent[name] = count;
  if (probe_) out["disk_probe"] = Json::parse(probe_->found, nullptr, false);
  out["syncs"] = storage_->figures().syncs;
  add_vitals(out);
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace paxosd
