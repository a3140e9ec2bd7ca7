#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "chat/snapshot_puller.h"
#include "chat/snapshot_source.h"
#include "paxos/ready.h"
#include "paxos/records.h"
#include "storage/snapshot_files.h"

namespace paxosd {

/// Carries snapshots between the two who decide about them, the files and the other replicas. Loop thread
/// only.
class Snapshots {
 public:
  struct Options {
    paxos::ReplicaId self;
    std::size_t replicas = 3;
    std::uint64_t seed = 1;
    std::uint64_t bytes_per_second = 0;
  };
  struct Hooks {
    std::function<paxos::Time()> now;
    /// To one, or to all others.
    std::function<void(std::optional<paxos::ReplicaId>, const chat::SnapshotWord&)> send;
    /// From any thread into the loop.
    std::function<void(std::function<void()>)> post;
    std::function<chat::SnapshotSource::Standing()> standing;
    /// Answers with the own chain's hash there.
    std::function<void(paxos::ReplicaId, const chat::SnapshotHashAsk&)> tell_hash;
    /// The log has to keep what is above that slot, a while longer.
    std::function<void(paxos::Slot)> hold_log;
    /// Everything is in place: this replica is to begin anew, from its directory.
    std::function<void()> installed;
    std::function<void(const std::string&)> failed;
  };

  Snapshots(const Options& options, const paxos::Recovered& recovered, storage::SnapshotFiles& files,
            Hooks hooks, paxos::Time now);
  void start();

  void message(paxos::Time now, paxos::ReplicaId from, const chat::SnapshotWord& word);
  /// The same of somebody who takes a backup; `who`: always the same for the same. `tell` is called with the
  /// answer, unless another word of theirs comes first. Only so many are heard at a time.
  using Tell = std::function<void(const chat::SnapshotWord&)>;
  void backup_message(paxos::Time now, const std::string& who, chat::SnapshotWord word, Tell tell);
  /// No log brings this replica's state to `above` any more.
  void want(paxos::Time now, const paxos::SnapshotWish& wish);
  /// Its disk has no room for more of a peer's state: what has come stays, and no more is pulled meanwhile.
  void hold_pulling(bool held) { pulling_held_ = held; }
  void set_rate(std::uint64_t bytes_per_second) { source_.set_rate(bytes_per_second); }
  /// To be called every turn, with the slot that this replica has applied.
  void turn(paxos::Time now, paxos::Slot applied);
  [[nodiscard]] paxos::Time deadline() const;

  /// For `paxosctl status`; nothing where there is nothing to say.
  void add_to(nlohmann::json& out) const;
  /// For the service manager: how far a pull is; empty: there is none.
  [[nodiscard]] std::string line() const;
  [[nodiscard]] bool pulls() const { return puller_.figures().stage != chat::SnapshotPuller::Stage::idle; }

 private:
  void carry_source();
  void carry_puller();

  storage::SnapshotFiles& files_;
  Hooks hooks_;
  paxos::Incarnation incarnation_;
  /// Who takes a backup has the number of no replica.
  static constexpr std::size_t takers_max = 4;
  static constexpr std::uint8_t first_taker = 251;
  static_assert(first_taker + takers_max <= 255 && first_taker > paxos::limits::replicas_max);
  struct Taker {
    std::string who;
    Tell tell;
    paxos::Time heard = paxos::Time::min();
  };
  std::array<Taker, takers_max> takers_;
  chat::SnapshotSource source_;
  chat::SnapshotPuller puller_;
  bool pulling_held_ = false;
  paxos::Time held_at_{};
  paxos::Time told_at_{};
};

}  // namespace paxosd
