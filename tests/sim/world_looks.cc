#include <algorithm>

#include "tests/sim/world.h"

namespace sim {

// What others look at: nothing here changes a world.

bool World::born(std::uint8_t replica) const {
  const auto& birth = hosts_[replica].disk.birth;
  return birth && birth->born;
}

std::optional<std::uint8_t> World::leader() const { return last_leader_; }

std::vector<paxos::Slot> World::applied() const {
  std::vector<paxos::Slot> out;
  for (const Host& host : hosts_) out.push_back(host.node ? host.node->machine().applied() : paxos::Slot{});
  return out;
}

std::uint64_t World::to_redo() const {
  std::uint64_t out = 0;
  for (const Host& host : hosts_) {
    const paxos::Slot applied = host.node ? host.node->machine().applied() : host.disk.state_durable;
    const std::uint64_t last =
        host.node ? host.node->status().chosen.n : std::max<std::uint64_t>(host.disk.prefix.n, applied.n);
    if (!host.gone) out = std::max(out, last - applied.n);
  }
  return out;
}

std::uint64_t World::lag() const {
  std::uint64_t out = 0;
  for (const Host& host : hosts_) {
    if (host.gone) continue;
    const std::uint64_t chosen = host.node ? host.node->status().chosen.n : host.disk.state_durable.n;
    out = std::max(out, observer_.applied_max().n - std::min(observer_.applied_max().n, chosen));
  }
  return out;
}

bool World::settled() const {
  for (const Host& host : hosts_)
    if (!host.node || host.lost || host.node->machine().applied().n != observer_.applied_max().n)
      return false;
  return true;
}

std::string World::standing() const {
  std::string out;
  for (const Host& host : hosts_) {
    out += "replica " + std::to_string(host.id) + ": ";
    if (!host.node) {
      out += host.gone ? "down for good\n" : "down\n";
      continue;
    }
    const paxos::Status s = host.node->status();
    out += std::string(paxos::to_string(s.role)) + ", promise " + to_string(s.ballot) + ", follows " +
           to_string(s.leader_ballot) + (s.leader ? "" : " (no leader)") + ", applied " +
           std::to_string(s.applied.n) + ", chosen " + std::to_string(s.chosen.n) + ", chosen max " +
           std::to_string(s.chosen_max.n) + ", accepted " + std::to_string(s.accepted.n) + ", in flight " +
           std::to_string(s.inflight) + (s.hole ? ", hole at " + std::to_string(s.hole->n) : "") +
           (rules_ ? ", rules " + std::to_string(host.node->machine().rules()) : "") +
           (rules_ ? " of " + std::to_string(host.program) : "") + (host.shelf ? ", emptied" : "") +
           (host.lost ? ", lost" : "") +
           (s.configuration.number > 1 ? ", configuration " + std::to_string(s.configuration.number) : "") +
           (host.paused ? ", paused" : "") + (host.hung ? ", disk hangs" : "") +
           (host.full ? ", no write succeeds" : "") +
           (host.room != paxos::DiskRoom::enough ? ", disk full" : "") +
           (host.held ? ", applies nothing" : "") + ", hears";
    for (paxos::ReplicaId id : s.connected) out += " " + std::to_string(id.n);
    out += ", cut to";
    for (std::uint8_t to = 0; to < scenario_.replicas; ++to)
      if (cuts_[host.id][to] != 0) out += " " + std::to_string(to);
    out += s.reason.empty() ? "\n" : "; " + s.reason + "\n";
  }
  return out;
}

}  // namespace sim
