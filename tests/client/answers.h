#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/session/cluster_view.h"

/// What replicas may say of themselves, and the status that comes of it.
namespace client {

inline config::ClusterConfig cluster(std::size_t replicas) {
  config::ClusterConfig out;
  out.cluster = "demo";
  for (std::uint8_t id = 0; id < replicas; ++id)
    out.replicas.push_back({.id = {id},
                            .address = "10.0.0." + std::to_string(id) + ":7400",
                            .host = {},
                            .port = 7400,
                            .data_dir = {}});
  return out;
}

inline Json status_of(std::vector<std::optional<Json>> answers) {
  std::vector<ReplicaStatus> all;
  for (std::uint8_t id = 0; id < answers.size(); ++id)
    all.push_back({.id = {id}, .json = std::move(answers[id])});
  return cluster_status(cluster(all.size()), all, std::chrono::milliseconds{1000});
}

/// Follows replica 0, or is it.
inline Json well(std::uint64_t applied = 100) {
  return {{"role", "follower"},
          {"voting", true},
          {"leader", 0},
          {"leader_ballot", {{"round", 1}, {"replica", 0}}},
          {"applied", applied},
          {"chosen", applied},
          {"chosen_max", applied},
          {"missing", Json::array()},
          {"uptime_ms", 60'000},
          {"leader_age_ms", 60'000},
          {"rules", 1},
          {"rules_known", 1}};
}
inline Json waiting(Json answer, std::uint64_t slot, int age_ms, int standing_ms) {
  answer["waiting_slot"] = slot;
  answer["waiting_ms"] = age_ms;
  answer["standing_ms"] = standing_ms;
  return answer;
}
inline Json alone(Json answer, int age_ms) {
  answer["leader"] = nullptr;
  answer["missing"] = {0, 1};
  answer["no_quorum_age_ms"] = age_ms;
  return answer;
}
inline Json wiped() {
  Json out = well(0);
  out["role"] = "dormant";
  out["voting"] = false;
  out["leader"] = nullptr;
  out["reason"] = "this data directory is not one that the cluster was born with";
  out["newcomer"] = true;
  return out;
}

}  // namespace client
