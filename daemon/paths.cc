#include <cstring>
#include <nlohmann/json.hpp>

#include "daemon/host.h"
#include "daemon/log.h"

/// What the log, the metrics and `paxosctl doctor` say of the ways to the others: what they carry, and what could not be sent.
namespace paxosd {

namespace {
/// Whoever sends to what isn't there fails with each heartbeat: one line a minute says how often.
constexpr paxos::Duration unsent_interval = std::chrono::minutes{1};
}  // namespace

std::string errno_name(int error) {
  const char* name = ::strerrorname_np(error);
  return name == nullptr ? std::to_string(error) : name;
}

std::string Host::whom(const net::Address& address) const {
  for (std::size_t id = 0; id < book_.size(); ++id)
    if (book_.at(id) == address) return fmt::format("replica {} ({})", id, address.to_string());
  return address.to_string();
}

void Host::tell_unsent(paxos::Time now) {
  if (now < unsent_at_ || !socket_) return;
  const std::map<int, std::uint64_t> errors = socket_->errors();
  if (errors == unsent_told_) return;
  std::string list;
  for (const auto& [error, count] : errors) {
    const std::uint64_t before = unsent_told_.contains(error) ? unsent_told_.at(error) : 0;
    if (count > before)
      list += fmt::format("{}{} {} ({})", list.empty() ? "" : ", ", count - before, errno_name(error), std::strerror(error));
  }
  unsent_told_ = errors;
  if (list.empty()) return;  // another socket, which counts from nothing
  daemon_log::warning("sends failed: {}; the last one to {}, {} bytes{}. What counts is sent again", list,
                      last_refusal_ ? whom(last_refusal_->to) : "nobody", last_refusal_ ? last_refusal_->bytes : 0,
                      last_refusal_ && last_refusal_->segmented ? ", cut by the kernel" : "");
  unsent_at_ = now + unsent_interval;
}

void Host::tell_paths() {
  for (const net::Paths::Change& change : transport_.take_path_changes()) {
    const std::string to = whom(change.to);
    if (change.bytes < change.before && change.swallowed)
      daemon_log::warning("the path to {} loses every datagram of {} bytes and says nothing, while small ones pass: they have {} "
                          "bytes at most from now on. Look for a tunnel or a firewall that drops ICMP 'fragmentation needed', "
                          "or set datagram_bytes in cluster.yaml", to, change.before, change.bytes);
    else if (change.bytes < change.before)
      daemon_log::warning("the path to {} does not carry datagrams of {} bytes (a smaller MTU, as tunnels have it): they have {} "
                          "bytes at most from now on", to, change.before, change.bytes);
    else if (change.bytes > change.before)
      daemon_log::info("the path to {} carries datagrams of {} bytes", to, change.bytes);
    if (!change.segments)
      daemon_log::info("the kernel cuts nothing (UDP GSO) for the path to {}: datagrams are sent one by one", to);
  }
}

nlohmann::json Host::paths_json() const {
  auto out = nlohmann::json::array();
  for (std::size_t id = 0; id < book_.size(); ++id) {
    const net::Address& to = book_.at(id);
    if (id == options_.self.n || to.empty()) continue;
    out.push_back({{"replica", id},
                   {"datagram_bytes", transport_.paths().datagram_bytes(to)},
                   {"wanted", to.is_loopback() ? net::loopback_datagram_bytes : options_.config.datagram_bytes},
                   {"segments", transport_.paths().segments(to)}});
  }
  return out;
}

}  // namespace paxosd
