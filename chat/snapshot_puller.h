#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "chat/snapshot.h"
#include "paxos/configuration.h"
#include "paxos/rtt.h"
#include "paxos/types.h"

namespace chat {

/// Brings another replica's snapshot here: finds somebody who has one, pulls it piece by piece through what
/// loses, repeats and reorders, has its rows written beside their own progress, and says that it is complete
/// only when what stands on this disk comes to what the source counted, and no quorum knows another hash of
/// that slot. After a crash it goes on where the disk is. Pure. Loop thread only.
class SnapshotPuller {
 public:
  struct Options {
    paxos::ReplicaId self;
    std::size_t replicas = 3;
    std::uint64_t seed = 1;
    std::size_t window_bytes = limits::snapshot_window_bytes;
    /// Rows that wait for the disk: above it nothing more is asked for.
    std::size_t unwritten_bytes_max = 4u << 20;
    /// A source with which this one has begun is waited for so long, any other one the shorter time.
    paxos::Duration patience{std::chrono::seconds{30}};
    paxos::Duration try_each{std::chrono::seconds{3}};
    /// For so long peers are asked for their hash of the snapshot's slot.
    paxos::Duration confirm{std::chrono::seconds{3}};
  };
  struct Write {
    std::vector<Row> rows;
    SnapshotProgress progress;  ///< moves together with them
    std::size_t bytes = 0;
  };
  /// All of it is to be carried out, in this order.
  struct Output {
    bool begin = false;         ///< what was staged before is to go
    std::vector<Write> writes;  ///< answer each with written()
    bool count = false;         ///< after all writes; answer with counted()
    /// Everything is staged and right: this replica's state is to be replaced by it.
    std::optional<SnapshotProgress> complete;
    std::vector<std::pair<std::optional<paxos::ReplicaId>, SnapshotWord>> send;  ///< to one, or to all
    std::vector<std::string> events;
  };

  explicit SnapshotPuller(const Options& options) : options_(options), nonce_(options.seed) {}

  /// What an earlier life has staged, not complete yet, and whose it is, if that is known. Before anything
  /// else.
  void found(const SnapshotProgress& progress, std::optional<paxos::ReplicaId> source) {
    staged_ = progress;
    begun_with_ = source;
  }
  /// No log brings this replica further than `applied`, and only a snapshot above helps; `from`: who may have
  /// one, best first; a quorum of `voters` confirms what comes. May be said again at any time.
  void want(paxos::Time now, paxos::Slot applied, std::vector<paxos::ReplicaId> from,
            paxos::Configuration voters);
  /// It stands at `applied` by itself now. Ends a pull that is of no use any more.
  void applied(paxos::Slot applied);
  void message(paxos::Time now, paxos::ReplicaId from, const SnapshotWord& word);
  void written(paxos::Time now, std::size_t bytes);
  /// What the staged rows come to, and where they say that they stand; nothing: they don't read.
  void counted(paxos::Time now, const std::optional<std::pair<SnapshotSum, AppliedMark>>& counted);
  void tick(paxos::Time now);
  [[nodiscard]] paxos::Time deadline() const;
  [[nodiscard]] Output take_output() { return std::exchange(out_, {}); }

  enum class Stage : std::uint8_t { idle, asking, pulling, counting, confirming, complete };
  struct Figures {
    Stage stage = Stage::idle;
    std::optional<paxos::ReplicaId> from;
    paxos::Slot slot;
    std::uint64_t bytes = 0;        ///< of the stream, here
    std::uint64_t bytes_about = 0;  ///< of all of it; 0: not known
    std::uint64_t resumed_at = 0;   ///< it began with so many, from before
    std::uint64_t repeats = 0;
    std::uint64_t refused = 0;  ///< chunks that did not fit their checksum or belonged to another snapshot
  };
  [[nodiscard]] Figures figures() const;

 private:
  void ask(paxos::Time now);
  void next_source(paxos::Time now);
  void on_offer(paxos::Time now, paxos::ReplicaId from, const SnapshotOffer& offer);
  void on_chunk(paxos::Time now, paxos::ReplicaId from, const SnapshotChunk& chunk);
  bool take(const SnapshotChunk& chunk);
  void pull(paxos::Time now, bool again);
  void compare(paxos::Time now);
  void judge(paxos::Time now);
  /// What is staged is no use: another source, from the start.
  void give_up(paxos::Time now, const std::string& why);
  void drop_staged();
  void ask_for_sum();
  [[nodiscard]] std::vector<paxos::ReplicaId> sources() const;
  [[nodiscard]] paxos::Duration timeout() const { return std::max(rtt_.timeout(), patience_); }

  Options options_;
  std::uint64_t nonce_;
  Output out_;
  Stage stage_ = Stage::idle;
  paxos::Slot above_;
  std::vector<paxos::ReplicaId> preferred_;
  paxos::Configuration voters_;
  std::optional<SnapshotProgress> staged_;  ///< as it will be on the disk once all writes are done

  // While asking, and of the source in general.
  std::optional<paxos::ReplicaId> source_;
  std::optional<paxos::ReplicaId> begun_with_;  ///< who has the snapshot of staged_
  std::size_t tried_ = 0;                       ///< sources in a row without one
  paxos::Time heard_{};                         ///< the source was heard, or began to be asked
  paxos::Backoff again_;
  paxos::RttEstimator rtt_{std::chrono::seconds{2}};
  std::optional<paxos::Time> measured_from_;  ///< of a pull that was sent once
  /// A piece had to be asked for again: the next ones get more time, until they come without.
  paxos::Duration patience_{};

  // While pulling.
  SnapshotPlace place_;  ///< everything before it is here
  std::uint64_t granted_ = 0;
  SnapshotRows rows_;
  std::map<std::uint64_t, SnapshotChunk> ahead_;  ///< by offset
  std::size_t unwritten_ = 0;
  bool ended_ = false;
  std::uint64_t resumed_at_ = 0;
  std::uint64_t repeats_ = 0;
  std::uint64_t refused_ = 0;

  // Then.
  std::optional<SnapshotSum> theirs_;
  std::optional<std::pair<SnapshotSum, AppliedMark>> ours_;
  bool count_asked_ = false;
  std::uint64_t confirm_nonce_ = 0;
  paxos::Time confirm_until_{};
  paxos::ReplicaSet agree_;
  paxos::ReplicaSet disagree_;
};

}  // namespace chat
