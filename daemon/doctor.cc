#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "daemon/host.h"
#include "daemon/proc.h"

/// What `paxosctl doctor` wants to know of this replica and of the machine that it runs on.
namespace paxosd {

namespace {

using Json = nlohmann::json;

/// The limit of this process' control group, where there is one that it may read.
std::optional<std::uint64_t> cgroup_memory_max() {
  std::string own = text_of("/proc/self/cgroup");
  const std::size_t at = own.find("0::");
  if (at == std::string::npos) return std::nullopt;
  own = own.substr(at + 3, own.find('\n', at) - at - 3);
  // A limit may stand at any level above.
  std::optional<std::uint64_t> least;
  for (std::filesystem::path path(own);; path = path.parent_path()) {
    const std::string text = text_of("/sys/fs/cgroup" + path.string() + "/memory.max");
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

/// The machine, and what it allows this process.
void add_machine(Json& out) {
  using namespace std::chrono;
  out["time_ms"] = duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  out["pid"] = ::getpid();
  out["memlock_bytes"] = limit(RLIMIT_MEMLOCK);
  out["files_max"] = limit(RLIMIT_NOFILE);
  utsname kernel{};
  if (::uname(&kernel) == 0) out["kernel"] = kernel.release;
  if (const auto bytes = cgroup_memory_max()) out["memory_max_bytes"] = *bytes;
}

/// The parts of the config that all replicas should have alike.
Json config_json(const config::ClusterConfig& config) {
  Json out = Json::object();
  for (const auto& [name, value] : config::agreed_parts(config)) out[name] = value;
  return out;
}

void add_socket(Json& out, const Outlet& outlet) {
  auto& errors = out["send_errors"] = Json::object();
  if (!outlet) return;
  for (const auto& [error, count] : outlet->errors()) errors[errno_name(error)] = count;
  out["receive_buffer_bytes"] = outlet->receive_buffer();
  out["datagrams_received"] = outlet->figures().received;
}

Json round_trips_json(const RoundTrips& round_trips, std::size_t replicas) {
  Json out = Json::array();
  for (std::size_t id = 0; id < replicas; ++id)
    if (const auto trip = round_trips.of(paxos::ReplicaId{static_cast<std::uint8_t>(id)}))
      out.push_back(
          {{"id", id}, {"us", std::chrono::duration_cast<std::chrono::microseconds>(*trip).count()}});
  return out;
}

/// What a present cause is told by: counters since the start may be of last year.
Json recent_json(const RecentCounts::Window& window) {
  Json out{{"ms", std::chrono::duration_cast<std::chrono::milliseconds>(window.span).count()}};
  for (const auto& [name, count] : window.counts) out[name] = count;
  return out;
}

/// Strings that come from outside may hold anything.
std::string text(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

void Host::on(const Asker& asker, const chat::DoctorRequest& request) {
  if (!request.probe_disk || probe_.fresh(loop_.now()))
    return answer(asker, chat::DoctorReply{text(doctor_json())});
  if (!probe_.begin()) return;  // said again: the first one is still at it
  storage_->read([this, asker, directory = options_.directory](const storage::Storage::Reader&) {
    mailbox_.push([this, asker, found = probe_disk(directory)]() mutable {
      probe_.found(loop_.now(), std::move(found));
      answer(asker, chat::DoctorReply{text(doctor_json())});
    });
  });
}

Json Host::doctor_json() const {
  Json out{{"version", PAXOSD_VERSION},
           {"fault_injection", options_.config.fault_injection},
           {"loss", faults_.loss()},
           {"foreign_key", transport_.figures().dropped[static_cast<std::size_t>(net::Drop::foreign_key)]},
           {"paths", paths_json()},
           {"config", config_json(options_.config)},
           {"round_trips_us", round_trips_json(round_trips_, addresses_.book.size())},
           {"syncs", storage_->figures().syncs}};
  add_machine(out);
  add_socket(out, outlet_);
  const Counts now = counts();
  if (const auto drops = now.find("receive_drops"); drops != now.end()) out["receive_drops"] = drops->second;
  out["recent"] = recent_json(recent_.until(loop_.now(), now));
  if (probe_.last()) out["disk_probe"] = Json::parse(*probe_.last(), nullptr, false);
  add_vitals(out);
  return out;
}

}  // namespace paxosd
