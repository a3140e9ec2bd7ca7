#pragma once

#include <rocksdb/env.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

namespace storage {

/// Tells the thread that writes a batch as soon as its log record is on disk: RocksDB goes on to put the
/// batch into its table in memory, which costs a third of the CPU time of a small batch, and nothing has to
/// wait for that.
class WalWatch {
 public:
  /// The next time that all that was appended is synced, having appended something from now on, `told` is
  /// called once, by the sync itself. Both by the thread that calls this; what other threads sync tells
  /// nobody. The first sync of a file tells nobody either: RocksDB syncs its folder after it, and until then
  /// its name may be lost.
  void arm(std::function<void()> told);
  /// No call comes any more. True when it came.
  bool disarm();

  // For the files.
  void appended(const void* file);
  void synced(const void* file, bool first);

 private:
  std::mutex mutex_;
  std::set<const void*> unsynced_;  ///< files with bytes that no sync covers
  bool appended_ = false;           ///< by the thread that armed it
  bool named_ = true;               ///< no file was synced for its first time
  bool called_ = false;
  std::thread::id thread_;
  std::function<void()> told_;
};

/// The environment `base` (nullptr: RocksDB's default), but its write-ahead log files are written ahead with
/// zeros, and tell `watch`, which outlives them.
///
/// A sync of a file that grew has to commit its new length and blocks in the file system's journal; a sync of
/// blocks that were written before only writes them. So zeros go a chunk ahead of the log's end, and each
/// sync overwrites. `fallocate` alone does not do it: blocks that were never written cost the same commit.
///
/// What follows the last record is zeros, which RocksDB's reader takes for unused space, as it does for the
/// preallocated files of its memory-mapped writer. One batch at most is unsynced at a time (the log thread
/// waits for each sync), and a batch that reached the disk in part fails its checksum as a whole, so a hole
/// of zeros before a readable record can't come from a crash. Damage can make one: the record that it cuts
/// fails at the next block, and the log ends there, before its mark; a hole of whole blocks breaks the chain
/// of groups (storage/wal_chain.h).
///
/// `make_room`: called before so many bytes more of the volume are needed.
[[nodiscard]] std::unique_ptr<rocksdb::Env> with_prepared_wal(
    rocksdb::Env* base, WalWatch& watch,
    const std::function<void(std::uint64_t bytes)>& make_room = [](std::uint64_t) {});

}  // namespace storage
