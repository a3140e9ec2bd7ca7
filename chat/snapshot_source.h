#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "chat/snapshot.h"
#include "paxos/types.h"

namespace chat {

/// Serves one snapshot of this replica's state to those who fell behind its log: makes it when somebody asks,
/// gives it piece by piece within a rate, and gives it up when nobody came for it for long. It knows no
/// puller's progress but what each one says, so that it goes on after a restart of either. Pure. Loop thread
/// only.
class SnapshotSource {
 public:
  struct Options {
    paxos::Incarnation incarnation;
    std::uint64_t seed = 1;
    std::uint64_t bytes_per_second = 32u << 20;
    std::size_t chunk_bytes = limits::snapshot_chunk_bytes;
    std::size_t pullers = limits::snapshot_pullers;
    /// After so long without a word from anybody it is given up.
    paxos::Duration keep{std::chrono::minutes{10}};
    /// After so long without a word a puller's place may be taken by another one.
    paxos::Duration silence{std::chrono::seconds{30}};
  };
  /// How this replica stands.
  struct Standing {
    bool fit = false;        ///< its state is to be trusted
    paxos::Slot applied;     ///< of its state
    paxos::Slot first_slot;  ///< of its log
  };
  struct Read {
    paxos::ReplicaId to;
    SnapshotId id;
    SnapshotPlace from;
    std::size_t bytes = 0;
  };
  /// All of it is to be carried out: first `drop`, then `make`, then the rest.
  struct Output {
    std::vector<std::pair<paxos::ReplicaId, SnapshotWord>> send;
    bool drop = false;                  ///< the snapshot that there is
    std::optional<std::uint64_t> make;  ///< one of now, under this number; answer with made()
    std::vector<Read> reads;            ///< answer with read()
    bool count = false;                 ///< answer with counted()
    std::vector<std::string> events;
  };

  explicit SnapshotSource(const Options& options) : options_(options), numbers_(options.seed) {}

  /// One that an earlier life made. Before anything else.
  void found(paxos::Time now, const SnapshotId& id, std::uint64_t bytes);
  void message(paxos::Time now, paxos::ReplicaId from, const SnapshotWord& word, const Standing& standing);
  struct Made {
    paxos::Slot slot;
    paxos::Hash hash;
    std::uint64_t bytes = 0;  ///< about so many
  };
  void made(paxos::Time now, tl::expected<Made, std::string> made);
  /// Nothing: it can't be read, and is gone.
  void read(paxos::Time now, paxos::ReplicaId to, std::optional<SnapshotChunk> chunk);
  void counted(const SnapshotId& id, const SnapshotSum& sum);
  /// Its files are gone.
  void lost();
  void set_rate(std::uint64_t bytes_per_second) { options_.bytes_per_second = bytes_per_second; }
  void tick(paxos::Time now);
  [[nodiscard]] paxos::Time deadline() const;
  [[nodiscard]] Output take_output() { return std::exchange(out_, {}); }

  /// The log must keep what is above this slot: who pulls the snapshot goes on from there.
  [[nodiscard]] std::optional<paxos::Slot> holds() const;
  struct Figures {
    std::optional<SnapshotId> id;
    std::size_t pullers = 0;
    std::uint64_t bytes_sent = 0;  ///< since the start
  };
  [[nodiscard]] Figures figures() const;

 private:
  struct Puller {
    paxos::ReplicaId who;
    paxos::Time heard;
    SnapshotPlace next;
    std::uint64_t limit = 0;
    bool reading = false;
    bool at_end = false;
  };
  void on_ask(paxos::Time now, paxos::ReplicaId from, const SnapshotAsk& ask, const Standing& standing);
  void on_pull(paxos::Time now, paxos::ReplicaId from, const SnapshotPull& pull);
  /// Its place among those who pull; nullptr: there is none left.
  Puller* place(paxos::Time now, paxos::ReplicaId from);
  void serve(paxos::Time now);
  void offer(paxos::ReplicaId to, std::uint64_t nonce, SnapshotAnswer answer);
  void forget();

  Options options_;
  std::uint64_t numbers_;
  Output out_;
  std::optional<SnapshotId> id_;
  std::uint64_t bytes_ = 0;
  std::optional<SnapshotSum> sum_;
  std::optional<std::uint64_t> making_;
  paxos::Time able_at_ = paxos::Time::min();  ///< it could not be made: none is, until then
  std::vector<Puller> pullers_;
  std::size_t turn_ = 0;      ///< who is served next
  paxos::Time free_at_{};     ///< the rate allows nothing before
  paxos::Time last_heard_{};  ///< of anybody, about this snapshot
  std::uint64_t bytes_sent_ = 0;
};

}  // namespace chat
