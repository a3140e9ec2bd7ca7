#include <cstring>
#include <nlohmann/json.hpp>

#include "daemon/host.h"
#include "daemon/log.h"

/// What the log, the metrics and `paxosctl doctor` say of the ways to the others: what they carry, and what
/// could not be sent.
namespace paxosd {

std::string errno_name(int error) {
  const char* name = ::strerrorname_np(error);
  return name == nullptr ? std::to_string(error) : name;
}

std::string Host::whom(const net::Address& address) const {
  for (std::size_t id = 0; id < addresses_.book.size(); ++id)
    if (addresses_.book.at(id) == address) return fmt::format("replica {} ({})", id, address.to_string());
  return address.to_string();
}

void Host::tell_unsent(paxos::Time now) {
  if (!outlet_) return;
  const auto list = send_failures_.line(now, outlet_->errors());
  if (!list) return;
  const std::optional<net::Refusal>& last = send_failures_.last();
  daemon_log::warning("sends failed: {}; the last one to {}, {} bytes{}. What counts is sent again", *list,
                      last ? whom(last->to) : "nobody", last ? last->bytes : 0,
                      last && last->segmented ? ", cut by the kernel" : "");
}

void Host::tell_paths() {
  for (const net::Paths::Change& change : transport_.take_path_changes()) {
    const std::string to = whom(change.to);
    if (change.bytes < change.before && change.swallowed)
      daemon_log::warning(
          "the path to {} loses every datagram of {} bytes and says nothing, while small ones pass: they "
          "have {} "
          "bytes at most from now on. Look for a tunnel or a firewall that drops ICMP 'fragmentation "
          "needed', "
          "or set datagram_bytes in cluster.yaml",
          to, change.before, change.bytes);
    else if (change.bytes < change.before)
      daemon_log::warning(
          "the path to {} does not carry datagrams of {} bytes (a smaller MTU, as tunnels have it): they "
          "have {} "
          "bytes at most from now on",
          to, change.before, change.bytes);
    else if (change.bytes > change.before)
      daemon_log::info("the path to {} carries datagrams of {} bytes", to, change.bytes);
    if (!change.segments)
      daemon_log::info("the kernel cuts nothing (UDP GSO) for the path to {}: datagrams are sent one by one",
                       to);
  }
}

nlohmann::json Host::paths_json() const {
  auto out = nlohmann::json::array();
  for (std::size_t id = 0; id < addresses_.book.size(); ++id) {
    const net::Address& to = addresses_.book.at(id);
    if (id == self_.id.n || to.empty()) continue;
    out.push_back(
        {{"replica", id},
         {"datagram_bytes", transport_.paths().datagram_bytes(to)},
         {"wanted", to.is_loopback() ? net::loopback_datagram_bytes : options_.config.datagram_bytes},
         {"segments", transport_.paths().segments(to)}});
  }
  return out;
}

}  // namespace paxosd
