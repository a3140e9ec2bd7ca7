#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "paxos/ready.h"
#include "paxos/replica.h"
#include "paxos/rtt.h"

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
  /// Round trips to each replica, without its disk, by heartbeats: each has a nonce of its own, so that it can always be told
  /// which of them was answered. What is repeated before its answer can come measures nothing, however often it is said
  /// (Karn's rule), and would never learn that the path is long.
  std::vector<RttEstimator> links;
  ReplicaSet reading;  ///< a read of the log for it is under way

  Env(const Options& o, std::uint64_t group)
      : options(o),
        random(o.seed),
        last_group(group),
        synced_group(group),
        links(o.replicas, RttEstimator(std::max<Duration>(RttEstimator::timeout_max, o.election_timeout))) {}

  /// How long an answer of this replica can take; not for longer than an election can wait for what is asked.
  [[nodiscard]] Duration round_trip(ReplicaId id) const {
    return std::min(links[id.n].timeout(), std::max<Duration>(RttEstimator::initial_timeout, options.election_timeout / 2));
  }
  /// How long those answers can take that make a quorum with this replica, as far as `of` tells of each.
  template <class F>
  [[nodiscard]] Duration quorum_round_trip(F&& of) const {
    std::vector<Duration> all;
    each_peer([&](ReplicaId id) { all.push_back(of(id)); });
    const std::size_t need = options.quorum() - 1;
    if (need == 0) return RttEstimator::timeout_max;
    std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(need - 1), all.end());
    return all[need - 1];
  }

  /// Asks for a read of the log, one at a time for each replica: whoever asked asks again. Its end: Learner::log_read.
  bool read_log(const LogReadWish& wish) {
    if (reading.contains(wish.to)) return false;
    reading.insert(wish.to);
    ready.log_reads.push_back(wish);
    return true;
  }

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
