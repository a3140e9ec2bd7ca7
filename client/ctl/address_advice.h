#pragma once

#include <string>
#include <vector>

#include "client/ctl/doctor.h"
#include "config/cluster_config.h"
#include "net/resolver.h"

/// What `config check` and `doctor` make of addresses and the ways between them.
namespace client {

struct ResolvedReplica {
  unsigned id = 0;
  std::string address;  ///< as in the config
  std::string listen;   ///< the same; empty: its address
  net::Resolver::Answer answer;
};
/// Blocks, for some seconds at most.
[[nodiscard]] std::vector<ResolvedReplica> resolve_replicas(const config::ClusterConfig& config);

/// What can't work, or not for all: names that don't resolve, IPv4 and IPv6 mixed, a loopback address among
/// others. Pure; empty where nothing is to be said.
[[nodiscard]] std::vector<Finding> judge_addresses(const std::vector<ResolvedReplica>& replicas);

/// Of a replica's Doctor object: its round trips, peers that moved or whose names it can't resolve, metrics
/// that nobody gets. Pure.
[[nodiscard]] std::vector<Finding> judge_links(const Json& doctor,
                                               std::chrono::milliseconds election_timeout);

}  // namespace client
