#include "storage/forget.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <functional>
#include <set>
#include <thread>

namespace storage {

namespace {

using namespace std::chrono_literals;

/// For readers to end, and for RocksDB to delete what it does not need any more.
constexpr auto patience = 60s;
constexpr auto look_every = 5ms;

bool wait_until(std::atomic<bool>& stopping, const std::function<bool()>& done) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!done()) {
    if (stopping || std::chrono::steady_clock::now() >= until) return false;
    std::this_thread::sleep_for(look_every);
  }
  return true;
}

/// Files of the folder, and of the archive in it, that end so and have anything in them. (Where nothing is
/// written to it, RocksDB leaves the empty write-ahead log of an earlier start.)
std::set<std::string> files_in(const std::filesystem::path& folder, std::string_view ending) {
  std::set<std::string> out;
  std::error_code error;
  for (const auto& place : {folder, folder / "archive"})
    for (std::filesystem::directory_iterator at(place, error), end; !error && at != end; at.increment(error))
      if (std::error_code gone;
          at->path().filename().string().ends_with(ending) && at->file_size(gone) > 0 && !gone)
        out.insert(at->path().filename().string());
  return out;
}

std::uint64_t number_of(const std::string& file) {
  std::uint64_t number = 0;
  std::from_chars(file.data(), file.data() + file.size(), number);
  return number;
}

/// The write-ahead log that is being written; 0: none.
std::uint64_t current_wal(rocksdb::DB& db) {
  std::unique_ptr<rocksdb::LogFile> file;
  return db.GetCurrentWalFile(&file).ok() && file ? file->LogNumber() : 0;
}

std::set<std::string> live_tables(rocksdb::DB& db) {
  std::vector<rocksdb::LiveFileMetaData> files;
  db.GetLiveFilesMetaData(&files);
  std::set<std::string> out;
  for (const auto& file : files) out.insert(std::filesystem::path(file.name).filename().string());
  return out;
}

}  // namespace

std::string forget_older(rocksdb::DB& db, const std::filesystem::path& folder,
                         const std::vector<std::string>& keys, std::atomic<bool>& stopping) {
  if (keys.empty()) return {};
  // A snapshot from before would have the older values kept for it.
  const std::uint64_t now = db.GetLatestSequenceNumber();
  const bool alone = wait_until(stopping, [&] {
    std::uint64_t oldest = 0;
    return !db.GetIntProperty("rocksdb.oldest-snapshot-sequence", &oldest) || oldest == 0 || oldest >= now;
  });
  if (!alone) return "a reader has held on to an older state";
  const std::uint64_t wal = current_wal(db);
  rocksdb::FlushOptions flush;
  flush.wait = true;
  flush.allow_write_stall = false;
  if (const auto status = db.Flush(flush); !status.ok()) return "flush: " + status.ToString();
  rocksdb::CompactRangeOptions compact;
  compact.exclusive_manual_compaction = false;
  compact.allow_write_stall = false;
  // What is at the bottom already is written anew, too.
  compact.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  compact.canceled = &stopping;
  for (const std::string& key : keys) {
    const rocksdb::Slice slice(key);
    if (const auto status = db.CompactRange(compact, &slice, &slice); !status.ok())
      return "compaction: " + status.ToString();
  }
  // With nothing to flush the log goes on, and has nothing in it from before.
  const std::uint64_t obsolete = current_wal(db) > wal ? wal : wal == 0 ? 0 : wal - 1;
  std::set<std::string> tables = files_in(folder, ".sst");
  const bool gone = wait_until(stopping, [&] {
    const std::set<std::string> left = files_in(folder, ".log");
    if (std::any_of(left.begin(), left.end(), [&](const std::string& file) {
          return number_of(file) <= obsolete && number_of(file) != 0;
        }))
      return false;
    const std::set<std::string> live = live_tables(db);
    const std::set<std::string> there = files_in(folder, ".sst");
    std::erase_if(tables,
                  [&](const std::string& file) { return live.contains(file) || !there.contains(file); });
    return tables.empty();
  });
  return gone ? std::string()
              : fmt::format("files that are of no use any more are still in {}", folder.string());
}

}  // namespace storage
