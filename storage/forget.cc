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

struct Live {
  std::set<std::string> files;  ///< tables and blob files
  /// Numbers of the touched families' blob files that have values in them which no table names any more.
  std::set<std::uint64_t> with_garbage;
};

Live live_files(const Families& families, const std::set<rocksdb::ColumnFamilyHandle*>& touched) {
  Live out;
  for (auto* handle : families.all()) {
    rocksdb::ColumnFamilyMetaData data;
    families.db().GetColumnFamilyMetaData(handle, &data);
    for (const auto& level : data.levels)
      for (const auto& file : level.files)
        out.files.insert(std::filesystem::path(file.name).filename().string());
    for (const auto& blob : data.blob_files) {
      out.files.insert(std::filesystem::path(blob.blob_file_name).filename().string());
      if (blob.garbage_blob_count > 0 && touched.contains(handle))
        out.with_garbage.insert(blob.blob_file_number);
    }
  }
  return out;
}

std::set<std::string> data_files(const std::filesystem::path& folder) {
  std::set<std::string> out = files_in(folder, ".sst");
  out.merge(files_in(folder, ".blob"));
  return out;
}

}  // namespace

std::string forget_older(const Families& families, const std::filesystem::path& folder,
                         const std::vector<Forgotten>& keys, const rocksdb::WriteOptions& writes,
                         std::atomic<bool>& stopping) {
  if (keys.empty()) return {};
  rocksdb::DB& db = families.db();
  // A snapshot from before would have the older values kept for it.
  const std::uint64_t now = db.GetLatestSequenceNumber();
  const bool alone = wait_until(stopping, [&] {
    std::uint64_t oldest = 0;
    return !db.GetIntProperty("rocksdb.oldest-snapshot-sequence", &oldest) || oldest == 0 || oldest >= now;
  });
  if (!alone) return "a reader has held on to an older state";
  // What a row of its family hides.
  if (families.split() && families.legacy()) {
    rocksdb::WriteBatch hidden;
    for (const Forgotten& row : keys) {
      std::string older;
      if (db.Get({}, families.legacy_handle(), row.key, &older).ok() &&
          db.Get({}, families.at(row.family), row.key, &older).ok())
        hidden.Delete(families.legacy_handle(), row.key);
    }
    if (hidden.Count() > 0)
      if (const auto status = db.Write(writes, &hidden); !status.ok()) return "write: " + status.ToString();
  }
  const std::uint64_t wal = current_wal(db);
  if (const auto status = families.flush(false); !status.ok()) return "flush: " + status.ToString();
  std::set<std::string> files = data_files(folder);
  const rocksdb::CompactRangeOptions options = written_anew(stopping);
  std::set<rocksdb::ColumnFamilyHandle*> touched;
  const Live before = live_files(families, touched);
  bool messages = false;
  for (const Forgotten& row : keys) {
    const rocksdb::Slice slice(row.key);
    std::set<rocksdb::ColumnFamilyHandle*> places{families.at(row.family)};
    if (families.legacy()) places.insert(families.legacy_handle());
    for (auto* place : places) {
      touched.insert(place);
      if (place == families.at(Family::runs) && families.split()) {
        messages = true;
        continue;
      }
      if (const auto status = db.CompactRange(options, place, &slice, &slice); !status.ok())
        return "compaction: " + status.ToString();
    }
  }
  // The values of a stretch of rooms come from everywhere: all of them are written anew, once.
  if (messages)
    if (const auto status = db.CompactRange(options, families.at(Family::runs), nullptr, nullptr);
        !status.ok())
      return "compaction: " + status.ToString();
  // A blob file with the older value of a key is left where tables name others of its values that the stretch
  // did not reach.
  const auto left_with_garbage = [&] {
    const Live live = live_files(families, touched);
    return std::any_of(live.with_garbage.begin(), live.with_garbage.end(), [&](std::uint64_t number) {
      return before.files.contains(fmt::format("{:06}.blob", number));
    });
  };
  if (left_with_garbage())
    for (auto* place : touched)
      if (const auto status = db.CompactRange(options, place, nullptr, nullptr); !status.ok())
        return "compaction: " + status.ToString();
  // With nothing to flush the log goes on, and has nothing in it from before.
  const std::uint64_t obsolete = current_wal(db) > wal ? wal : wal == 0 ? 0 : wal - 1;
  const bool gone = wait_until(stopping, [&] {
    const std::set<std::string> left = files_in(folder, ".log");
    if (std::any_of(left.begin(), left.end(), [&](const std::string& file) {
          return number_of(file) <= obsolete && number_of(file) != 0;
        }))
      return false;
    const Live live = live_files(families, touched);
    const std::set<std::string> there = data_files(folder);
    std::erase_if(
        files, [&](const std::string& file) { return live.files.contains(file) || !there.contains(file); });
    return files.empty();
  });
  return gone ? std::string()
              : fmt::format("files that are of no use any more are still in {}", folder.string());
}

}  // namespace storage
