#pragma once

#include <memory>

#include <rocksdb/env.h>

namespace storage {

/// The environment `base` (nullptr: RocksDB's default), but its write-ahead log files are written ahead with zeros.
///
/// A sync of a file that grew has to commit its new length and blocks in the file system's journal; a sync of blocks
/// that were written before only writes them. So zeros go a chunk ahead of the log's end, and each sync overwrites.
/// `fallocate` alone does not do it: blocks that were never written cost the same commit.
///
/// What follows the last record is zeros, which RocksDB's reader takes for unused space, as it does for the
/// preallocated files of its memory-mapped writer. One batch at most is unsynced at a time (the log thread waits for each
/// sync), and a batch that reached the disk in part fails its checksum as a whole, so a hole of zeros before a
/// readable record can't come from a crash. Damage can make one: the record that it cuts fails at the next block, and the
/// log ends there, before its mark; only a hole of whole blocks would be stepped over (docs/DECISIONS.md, open points).
[[nodiscard]] std::unique_ptr<rocksdb::Env> with_prepared_wal(rocksdb::Env* base);

}  // namespace storage
