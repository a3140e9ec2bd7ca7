#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <tl/expected.hpp>
#include <vector>

#include "paxos/patience.h"
#include "paxos/records.h"
#include "storage/families.h"
#include "storage/group_mark.h"
#include "storage/log_format.h"
#include "storage/recovery.h"
#include "storage/stores.h"
#include "storage/wal_chain.h"
#include "storage/wal_files.h"

namespace storage {

/// The slot log: one RocksDB, one thread that writes and syncs everything that waits as one batch.
/// append(), figures and oldest_sync_started_ns(): any thread. read() and check_own(): any thread. open() and
/// start(): once.
class LogStore {
 public:
  /// Opens or creates, checks whose it is, raises the boot, and syncs all of it before it returns.
  [[nodiscard]] static tl::expected<std::unique_ptr<LogStore>, std::string> open(const OpenOptions& options,
                                                                                 paxos::Recovered& recovered);
  ~LogStore();
  /// From now on only programs that know this format open the log. Before start(); synced when it returns.
  [[nodiscard]] tl::expected<void, std::string> raise_format(std::uint32_t format);
  /// The state came as a snapshot of that slot: no record at or below it is of use any more, all up to it is
  /// chosen. What `recovered` says is changed with it. Before start(); synced when it returns.
  [[nodiscard]] tl::expected<void, std::string> begin_above(paxos::Slot slot, paxos::Recovered& recovered);
  void start(const Completions& completions);
  void append(std::uint64_t group, std::vector<paxos::Record> records);

  /// The lowest slot that the log still has. Any thread.
  [[nodiscard]] paxos::Slot first_slot() const { return {first_slot_.load(std::memory_order_relaxed)}; }
  /// Entries first..last that exist, ascending, until about `bytes_max` bytes of memory; all of them that
  /// were announced as synced before the call. Errors name the slot, and put it into `damaged`.
  [[nodiscard]] tl::expected<std::vector<paxos::LogEntry>, std::string> read(
      paxos::Slot first, paxos::Slot last, std::size_t bytes_max, paxos::Slot* damaged = nullptr) const;
  /// Reads the records about the replica itself: its promise, birth, boot and so on.
  [[nodiscard]] tl::expected<void, std::string> check_own() const;
  /// Nothing is left of what stood in the records of these slots before. See forget_older(). Any thread.
  [[nodiscard]] std::string forget(const std::vector<paxos::Slot>& slots, std::atomic<bool>& stopping) const;
  [[nodiscard]] std::int64_t oldest_sync_started_ns() const {
    return sync_started_ns_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] Storage::Figures figures() const;
  [[nodiscard]] DatabaseFigures database_figures() const;

 private:
  LogStore() = default;
  tl::expected<void, std::string> recover(const OpenOptions& options, paxos::Recovered& out);
  [[nodiscard]] tl::expected<std::optional<std::string>, std::string> get(std::string_view key) const;
  void work();
  /// Until there is work or the end; waits of a steady load are looked through, not slept.
  void wait_for_work();
  std::string write(const std::vector<LogGroup>& groups);
  /// The files that hold nothing but slots below.
  std::string drop_files(paxos::Slot first);
  void announce(const std::vector<LogGroup>& groups, std::int64_t began);

  std::string where_;
  WalWatch wal_;                       ///< outlives the environment
  std::unique_ptr<rocksdb::Env> env_;  ///< outlives the database
  std::unique_ptr<WalChain> chain_;    ///< too
  Families families_;
  GroupMark mark_;
  std::uint64_t boot_ = 0;
  std::uint32_t format_ = format_version;  ///< log thread only once started
  std::atomic<std::uint64_t> first_slot_{1};
  Completions completions_;
  paxos::Patience patience_{{}};  ///< log thread only
  paxos::Ballot promised_;        ///< as stored; log thread only once started

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<LogGroup> queue_;  ///< guarded by mutex_
  bool stopping_ = false;        ///< guarded by mutex_
  std::uint64_t appended_ = 0;
  std::atomic<std::int64_t> sync_started_ns_{0};
  std::atomic<std::uint64_t> groups_{0}, syncs_{0}, bytes_{0}, sync_ns_max_{0};
  Latency sync_latency_;
  mutable std::mutex readable_mutex_;  ///< held while what was announced is not in RocksDB's table yet
  std::thread thread_;
};

}  // namespace storage
