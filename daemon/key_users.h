#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "net/address.h"
#include "paxos/types.h"

namespace paxosd {

/// Hosts that were heard in the last while. Bounded: above that further ones are left out. Loop thread only.
class KeyUsers {
 public:
  static constexpr paxos::Duration kept = std::chrono::minutes{15};
  static constexpr std::size_t hosts_max = 64;

  void heard(paxos::Time now, const net::Address& from) {
    const std::string host = from.host_text();
    const auto at = hosts_.find(host);
    if (at != hosts_.end()) {
      at->second = now;
      return;
    }
    forget(now);
    if (hosts_.size() < hosts_max) hosts_.emplace(host, now);
  }
  /// In the order of their texts.
  [[nodiscard]] std::vector<std::string> hosts(paxos::Time now) const {
    std::vector<std::string> out;
    for (const auto& [host, when] : hosts_)
      if (now - when <= kept) out.push_back(host);
    return out;
  }

 private:
  void forget(paxos::Time now) {
    std::erase_if(hosts_, [&](const auto& one) { return now - one.second > kept; });
  }
  std::map<std::string, paxos::Time> hosts_;
};

}  // namespace paxosd
