#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
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

/// Bytes that wait for the disk, by group.
class Unsynced {
 public:
  void add(std::uint64_t group, std::size_t bytes) {
    if (bytes == 0) return;
    bytes_ += bytes;
    if (!groups_.empty() && groups_.back().group == group)
      groups_.back().bytes += bytes;
    else
      groups_.push_back({group, bytes});
  }
  void synced(std::uint64_t group) {
    for (; !groups_.empty() && groups_.front().group <= group; groups_.pop_front())
      bytes_ -= groups_.front().bytes;
  }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct Group {
    std::uint64_t group = 0;
    std::size_t bytes = 0;
  };
  std::deque<Group> groups_;  ///< ascending
  std::size_t bytes_ = 0;
};

/// What the disks have room for, as it was judged last (Replica::Parts::judge_room).
struct Room {
  DiskRoom own = DiskRoom::enough;
  bool takes = true;         ///< this replica votes for the decrees of others, and learns what was chosen
  bool proposes = true;      ///< as a leader it may propose something new
  bool blocked = false;      ///< those whose disks are full leave no quorum
  bool left_behind = false;  ///< its disk is full, and the others go on without it
};

/// What every role of the core shares during a step: the time, the outboxes, the group under way.
struct Env {
  Options options;
  Time now{};
  Ready ready;
  Random random;
  std::uint64_t last_group = 0;    ///< last one handed out by take_ready
  std::uint64_t synced_group = 0;  ///< this one and all before it are on disk
  /// Round trips to each replica, without its disk, by heartbeats: each has a nonce of its own, so that it
  /// can always be told which of them was answered. What is repeated before its answer can come measures
  /// nothing, however often it is said (Karn's rule), and would never learn that the path is long.
  std::vector<RttEstimator> links;
  ReplicaSet reading;        ///< a read of the log for it is under way
  Unsynced records;          ///< up to the pending group
  Unsynced held;             ///< messages of the groups that were handed out
  std::size_t held_now = 0;  ///< and of this turn
  BoundsReached reached;
  ReplicaSet named;             ///< by whoever told this directory that it has joined, or by its birth
  Configuration configuration;  ///< of the slot after the applied one; before birth nobody is in it
  Room room;

  Env(const Options& o, std::uint64_t group, std::optional<Configuration> recovered)
      : options(o),
        random(o.seed),
        last_group(group),
        synced_group(group),
        links(o.capacity(), RttEstimator(std::max<Duration>(RttEstimator::timeout_max, o.election_timeout))),
        configuration(std::move(recovered).value_or(Configuration{})) {}

  /// How long an answer of this replica can take; not for longer than an election can wait for what is asked.
  [[nodiscard]] Duration round_trip(ReplicaId id) const {
    return std::min(links[id.n].timeout(),
                    std::max<Duration>(RttEstimator::initial_timeout, options.election_timeout / 2));
  }
  /// How long those answers can take that make a quorum with this replica, as far as `of` tells of each.
  template <class F>
  [[nodiscard]] Duration quorum_round_trip(F&& of) const {
    std::vector<Duration> all;
    each_peer([&](ReplicaId id) {
      if (configuration.votes(id)) all.push_back(of(id));
    });
    const std::size_t need = configuration.quorum() - (configuration.votes(options.self) ? 1 : 0);
    if (need == 0 || need > all.size()) return RttEstimator::timeout_max;
    std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(need - 1), all.end());
    return all[need - 1];
  }

  /// Asks for a read of the log, one at a time for each replica: whoever asked asks again. Its end:
  /// Learner::log_read.
  bool read_log(const LogReadWish& wish) {
    if (reading.contains(wish.to)) return false;
    reading.insert(wish.to);
    ready.log_reads.push_back(wish);
    return true;
  }

  /// The group that a record added now belongs to.
  [[nodiscard]] std::uint64_t pending_group() const { return last_group + 1; }
  std::uint64_t record(Record record) {
    records.add(pending_group(), limits::record_overhead_bytes + decree_bytes(record));
    ready.records.push_back(std::move(record));
    return pending_group();
  }
  /// False: the disk is full, or so far behind that nothing more is voted for or learned until it has synced
  /// something.
  [[nodiscard]] bool room_for_records() {
    if (!room.takes) return false;
    if (records.bytes() <= options.bounds.unsynced_bytes) return true;
    reached(Bound::unsynced_bytes);
    return false;
  }
  void send(ReplicaId to, PeerMessage message) { ready.send_now.push_back({to, std::move(message)}); }
  void broadcast(PeerMessage message) {
    if (options.capacity() > 1) ready.send_now.push_back({std::nullopt, std::move(message)});
  }
  /// Dropped where too much waits already: whom it is for asks again.
  void send_synced(ReplicaId to, PeerMessage message) {
    if (held.bytes() + held_now > options.bounds.after_sync_bytes) return reached(Bound::after_sync_bytes);
    held_now += held_bytes(message);
    ready.send_after_sync.push_back({to, std::move(message)});
  }
  /// The turn ends; what it holds waits for `last_group`.
  void end_turn() {
    if (last_group > synced_group) held.add(last_group, held_now);
    held_now = 0;
  }
  void synced(std::uint64_t group) {
    synced_group = std::max(synced_group, group);
    records.synced(synced_group);
    held.synced(synced_group);
  }
  void event(std::string_view name, std::string text, Ballot ballot = {}, Slot slot = {}) {
    ready.events.push_back({name, std::move(text), ballot, slot});
  }

  [[nodiscard]] static std::size_t decree_bytes(const Record& record) {
    if (const auto* vote = std::get_if<VoteRecord>(&record)) return vote->decree.value.size();
    const auto* chosen = std::get_if<ChosenRecord>(&record);
    return chosen != nullptr ? chosen->decree.value.size() : 0;
  }
  [[nodiscard]] static std::size_t held_bytes(const PeerMessage& message) {
    std::size_t out = 64;
    if (const auto* promise = std::get_if<Promise>(&message))
      for (const PromiseEntry& entry : promise->entries) out += 64 + entry.decree.value.size();
    if (const auto* accepted = std::get_if<Accepted>(&message))
      out += accepted->slots.size() * sizeof(SlotRange);
    return out;
  }

  /// Another one that this replica speaks to: of the config, or a member.
  [[nodiscard]] bool peer(ReplicaId id) const {
    return id != options.self && (id.n < options.replicas || configuration.holds(id) || named.contains(id));
  }
  template <class F>
  void each_peer(F&& visit) const {
    for (std::uint8_t id = 0; id < options.capacity(); ++id)
      if (peer({id})) visit(ReplicaId{id});
  }
};

}  // namespace paxos
