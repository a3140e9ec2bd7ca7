#include "client/session/members.h"

#include "client/session/cluster_view.h"

namespace client {

namespace {

std::optional<paxos::MemberRole> role_of(const std::string& word) {
  for (const paxos::MemberRole role :
       {paxos::MemberRole::voter, paxos::MemberRole::learner, paxos::MemberRole::removed})
    if (word == paxos::to_string(role)) return role;
  return std::nullopt;
}

net::Task<void> hear_one(Connection& connection, paxos::ReplicaId id, std::chrono::milliseconds timeout,
                         bool first_is_enough, std::optional<ClusterMembers>& best) {
  const ReplicaStatus status = co_await ask_status(connection, id, timeout);
  auto members = status.json ? members_in(*status.json) : std::nullopt;
  if (!members || (best && best->configuration >= members->configuration)) co_return;
  best = std::move(members);
  if (first_is_enough) connection.give_up();
}

}  // namespace

std::optional<ClusterMembers> members_in(const Json& status) {
  const auto number = number_in(status, "configuration");
  const auto members = status.find("members");
  if (!number || *number < 1 || *number > 4e9 || members == status.end() || !members->is_array())
    return std::nullopt;
  ClusterMembers out{.configuration = static_cast<std::uint64_t>(*number), .all = {}};
  for (const Json& member : *members) {
    if (!member.is_object()) continue;
    const auto id = number_in(member, "id");
    const auto role = role_of(text_in(member, "role"));
    if (!id || *id < 0 || *id >= static_cast<double>(paxos::limits::replicas_max) || !role) continue;
    std::string address = text_in(member, "address");
    if (!address.empty() && !config::address_fault(address).empty()) address.clear();
    out.all.push_back({.id = static_cast<std::size_t>(*id),
                       .role = *role,
                       .address = std::move(address),
                       .at = net::Address::literal(text_in(member, "at"))});
  }
  return out;
}

bool merge_members(config::ClusterConfig& config, const ClusterMembers& members) {
  bool changed = false;
  const auto put = [&]<class T>(T& place, const T& value) {
    changed = changed || place != value;
    place = value;
  };
  for (const ClusterMembers::One& one : members.all) {
    while (config.replicas.size() <= one.id) {
      config::ReplicaConfig unknown;
      unknown.id = {static_cast<std::uint8_t>(config.replicas.size())};
      unknown.member = unknown.votes = false;
      config.replicas.push_back(std::move(unknown));
      changed = true;
    }
    config::ReplicaConfig& replica = config.replicas[one.id];
    put(replica.member, one.role != paxos::MemberRole::removed);
    put(replica.votes, one.role == paxos::MemberRole::voter);
    if (one.address.empty() || one.address == replica.address) continue;
    changed = true;
    config::set_address(replica, one.address);
  }
  // Named in the config, and not yet, or never, in the cluster: asked, and not counted.
  for (config::ReplicaConfig& replica : config.replicas)
    if (replica.id.n >= members.all.size()) put(replica.votes, false);
  return changed;
}

net::Task<void> learn_members(Connection& connection, std::chrono::milliseconds timeout,
                              bool first_is_enough) {
  std::optional<ClusterMembers> best;
  {
    net::Scope scope(connection.loop());
    const std::vector<config::ReplicaConfig> asked = connection.config().replicas;
    for (const config::ReplicaConfig& r : asked)
      if (r.member) scope.spawn(hear_one(connection, r.id, timeout, first_is_enough, best));
    co_await scope.join();
  }
  if (best) connection.know(*best);
}

}  // namespace client
