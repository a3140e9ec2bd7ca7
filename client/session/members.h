#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/session/json.h"
#include "config/cluster_config.h"
#include "net/address.h"
#include "net/task.h"
#include "paxos/configuration.h"

namespace client {

class Connection;

/// Who belongs to the cluster, as one replica says: `cluster.yaml` is where a cluster was born and where its
/// clients begin to look; what it is now, any live replica knows (DESIGN.md section 4, Configurations).
struct ClusterMembers {
  struct One {
    std::size_t id = 0;
    paxos::MemberRole role = paxos::MemberRole::removed;
    std::string address;             ///< empty: as the config says
    std::optional<net::Address> at;  ///< where that replica hears it
    friend bool operator==(const One&, const One&) = default;
  };
  std::uint64_t configuration = 0;
  std::vector<One> all;
  friend bool operator==(const ClusterMembers&, const ClusterMembers&) = default;
};

/// What a replica's status says of it; nothing: it does not know, or is of an older version. A foreign
/// object: whatever is not of its type, or no address, is left out.
[[nodiscard]] std::optional<ClusterMembers> members_in(const Json& status);
/// Puts it into the config; ids that the config does not name are added at its end. False: nothing is new.
bool merge_members(config::ClusterConfig& config, const ClusterMembers& members);

/// Asks the replicas that the connection knows, all at once, and has it know what the one says that is in the
/// latest configuration. `first_is_enough`: what the first one says is taken, and the connection given up.
net::Task<void> learn_members(Connection& connection, std::chrono::milliseconds timeout,
                              bool first_is_enough);

}  // namespace client
