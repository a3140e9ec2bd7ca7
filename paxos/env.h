#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "paxos/ready.h"
#include "paxos/replica.h"

namespace paxos {

/// splitmix64: small, seeded, the same everywhere. Source: Steele, Lea, Flood, OOPSLA 2014.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : next() % bound; }

 private:
  std::uint64_t state_;
};

/// What every role of the core shares during a step: the time, the outboxes, the group under way.
struct Env {
  Options options;
  Time now{};
  Ready ready;
  Random random;
  std::uint64_t last_group = 0;    ///< last one handed out by take_ready
  std::uint64_t synced_group = 0;  ///< this one and all before it are on disk

  Env(const Options& o, std::uint64_t group)
      : options(o), random(o.seed), last_group(group), synced_group(group) {}

  /// The group that a record added now belongs to.
  [[nodiscard]] std::uint64_t pending_group() const { return last_group + 1; }
  std::uint64_t record(Record record) {
    ready.records.push_back(std::move(record));
    return pending_group();
  }
  void send(ReplicaId to, PeerMessage message) { ready.send_now.push_back({to, std::move(message)}); }
  void broadcast(PeerMessage message) {
    if (options.replicas > 1) ready.send_now.push_back({std::nullopt, std::move(message)});
  }
  void send_synced(ReplicaId to, PeerMessage message) {
    ready.send_after_sync.push_back({to, std::move(message)});
  }
  void event(std::string_view name, std::string text, Ballot ballot = {}, Slot slot = {}) {
    ready.events.push_back({name, std::move(text), ballot, slot});
  }

  template <class F>
  void each_peer(F&& visit) const {
    for (std::uint8_t id = 0; id < options.replicas; ++id)
      if (ReplicaId{id} != options.self) visit(ReplicaId{id});
  }
};

}  // namespace paxos
