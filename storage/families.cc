#include "storage/families.h"

#include <rocksdb/convenience.h>
#include <rocksdb/rate_limiter.h>
#include <rocksdb/table.h>

#include <algorithm>
#include <utility>

#include "chat/rows.h"
#include "paxos/invariant.h"

namespace storage {

namespace {

rocksdb::Slice as_slice(std::string_view text) { return {text.data(), text.size()}; }

/// Of all tables in memory; index blocks are in it too.
constexpr std::size_t cache_bytes = 6u << 20;
/// Flushes and compactions of one database, together: below what a small disk can do, so that a sync of the
/// log never waits behind a long burst of theirs; far above what a full load writes.
constexpr std::int64_t background_bytes_per_second = 96 << 20;
/// Written back by the kernel as it comes, not all at a sync.
constexpr std::uint64_t write_back_bytes = 1 << 20;
/// Below it a value stays in the table, beside its key.
constexpr std::uint64_t run_blob_bytes = 256;

}  // namespace

const char* name_of(Family family) {
  switch (family) {
    case Family::legacy:
      return "default";
    case Family::rest:
      return "rest (rules 2, for a later paxosd)";
    case Family::journal:
      return "journal";
    case Family::hashes:
      return "hashes";
    case Family::runs:
      return "runs of messages";
    case Family::slots:
      return "slots (log format 3, for a later paxosd)";
  }
  return "?";
}

Family family_of_row(std::string_view key) {
  switch (key.empty() ? '\0' : key.front()) {
    case chat::rows::family_journal:
      return Family::journal;
    case chat::rows::family_hash:
      return Family::hashes;
    case chat::rows::family_message:
      return Family::runs;
    default:
      return Family::rest;
  }
}

rocksdb::DBOptions database_options(rocksdb::Env* env) {
  rocksdb::DBOptions options;
  if (env != nullptr) options.env = env;
  options.create_if_missing = true;
  options.paranoid_checks = true;
  // What one write put into several families reaches the disk together; and a log file has nothing in it
  // that is needed once its tables are written, whichever family they are of.
  options.atomic_flush = true;
  options.max_background_jobs = 2;
  options.max_open_files = 256;
  options.bytes_per_sync = write_back_bytes;
  options.rate_limiter.reset(rocksdb::NewGenericRateLimiter(background_bytes_per_second));
  options.keep_log_file_num = 2;
  options.max_log_file_size = 1u << 20;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  return options;
}

rocksdb::ColumnFamilyOptions options_of(Family family, const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions options;
  options.write_buffer_size = 8u << 20;
  options.max_write_buffer_number = 2;
  options.compression = rocksdb::kLZ4Compression;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.cache_index_and_filter_blocks = true;
  if (family != Family::legacy) {
    // A table's index may be larger than the cache: it is read in parts.
    table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
    options.arena_block_size = 128u << 10;  // four of them are at rest
  }
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  // Values that are written once lie apart, where no compaction comes by; without garbage collection, which
  // would move them for the sake of their age.
  if (family == Family::journal || family == Family::runs || family == Family::slots) {
    options.enable_blob_files = true;
    options.blob_compression_type = rocksdb::kLZ4Compression;
    // The whole ring is written over again and again: what is in its tables should be nothing but places.
    options.min_blob_size = family == Family::journal ? 0
                            : family == Family::runs  ? run_blob_bytes
                                                      : slot_blob_bytes;
  }
  return options;
}

rocksdb::Status Families::open(const rocksdb::DBOptions& options, const std::string& folder,
                               std::vector<Family> of_its_own, std::uint64_t legacy_blob_bytes) {
  return open_as(options, folder, std::move(of_its_own), legacy_blob_bytes, false);
}

rocksdb::Status Families::open_read_only(const rocksdb::DBOptions& options, const std::string& folder,
                                         std::vector<Family> of_its_own) {
  return open_as(options, folder, std::move(of_its_own), 0, true);
}

rocksdb::Status Families::open_as(const rocksdb::DBOptions& options, const std::string& folder,
                                  std::vector<Family> of_its_own, std::uint64_t legacy_blob_bytes,
                                  bool read_only) {
  of_its_own_ = std::move(of_its_own);
  cache_ = rocksdb::NewLRUCache(cache_bytes);
  std::vector<std::string> names;
  // Of a database that is not there yet, or whose list does not read: open() says what is wrong with it.
  if (!rocksdb::DB::ListColumnFamilies(options, folder, &names).ok()) names.clear();
  rocksdb::ColumnFamilyOptions legacy = options_of(Family::legacy, cache_);
  legacy.enable_blob_files = legacy_blob_bytes > 0;
  legacy.min_blob_size = legacy_blob_bytes;
  legacy.blob_compression_type = rocksdb::kLZ4Compression;
  std::vector<rocksdb::ColumnFamilyDescriptor> wanted{{rocksdb::kDefaultColumnFamilyName, legacy}};
  std::vector<Family> there{Family::legacy};
  for (const Family family : of_its_own_) {
    if (std::find(names.begin(), names.end(), name_of(family)) == names.end()) continue;
    wanted.emplace_back(name_of(family), options_of(family, cache_));
    there.push_back(family);
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = read_only
                                     ? rocksdb::DB::OpenForReadOnly(options, folder, wanted, &handles, &db)
                                     : rocksdb::DB::Open(options, folder, wanted, &handles, &db);
  if (!status.ok()) return status;
  db_.reset(db);
  for (std::size_t i = 0; i < there.size(); ++i) handles_[static_cast<std::size_t>(there[i])] = handles[i];
  // A crash may have come between the first and the last of them: make() goes on.
  split_ = there.size() == of_its_own_.size() + 1;
  if (!split_) return status;
  const std::unique_ptr<rocksdb::Iterator> any(db_->NewIterator({}, legacy_handle()));
  any->SeekToFirst();
  legacy_ = any->Valid() || !any->status().ok();
  return status;
}

void Families::close() {
  if (!db_) return;
  for (auto& handle : handles_)
    if (auto* was = handle.exchange(nullptr)) db_->DestroyColumnFamilyHandle(was);
  db_.reset();
}

rocksdb::Status Families::make() {
  for (const Family family : of_its_own_) {
    auto& handle = handles_[static_cast<std::size_t>(family)];
    if (handle != nullptr) continue;
    rocksdb::ColumnFamilyHandle* made = nullptr;
    const rocksdb::Status status =
        db_->CreateColumnFamily(options_of(family, cache_), name_of(family), &made);
    if (!status.ok()) return status;
    handle = made;
  }
  if (!split_) legacy_ = true;
  split_ = true;
  return rocksdb::Status::OK();
}

std::vector<rocksdb::ColumnFamilyHandle*> Families::all() const {
  std::vector<rocksdb::ColumnFamilyHandle*> out;
  for (const auto& handle : handles_)
    if (auto* there = handle.load()) out.push_back(there);
  return out;
}

void Families::put(rocksdb::WriteBatch& batch, Family family, std::string_view key,
                   std::string_view value) const {
  PAXOS_ASSERT(batch.Put(at(family), as_slice(key), as_slice(value)).ok());
}

void Families::remove(rocksdb::WriteBatch& batch, Family family, std::string_view key) const {
  PAXOS_ASSERT(batch.Delete(at(family), as_slice(key)).ok());
  if (split_ && legacy_) PAXOS_ASSERT(batch.Delete(legacy_handle(), as_slice(key)).ok());
}

void Families::remove_range(rocksdb::WriteBatch& batch, Family family, const std::string& from,
                            const std::string& to) const {
  PAXOS_ASSERT(batch.DeleteRange(at(family), from, to).ok());
  if (split_ && legacy_) PAXOS_ASSERT(batch.DeleteRange(legacy_handle(), from, to).ok());
}

rocksdb::Status Families::drop_files(Family family, const std::string& from, const std::string& to) const {
  const rocksdb::Slice begin(from), end(to);
  rocksdb::Status status = rocksdb::DeleteFilesInRange(db_.get(), at(family), &begin, &end, false);
  if (status.ok() && split_ && legacy_)
    status = rocksdb::DeleteFilesInRange(db_.get(), legacy_handle(), &begin, &end, false);
  return status;
}

rocksdb::CompactRangeOptions written_anew(std::atomic<bool>& stopping) {
  rocksdb::CompactRangeOptions out;
  out.exclusive_manual_compaction = false;
  out.allow_write_stall = false;
  // What is at the bottom already is written anew, too, and the values that its keys have in blob files.
  out.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  out.blob_garbage_collection_policy = rocksdb::BlobGarbageCollectionPolicy::kForce;
  out.blob_garbage_collection_age_cutoff = 1;
  out.canceled = &stopping;
  return out;
}

rocksdb::Status Families::write_anew(Family family, const std::string& from, const std::string& to,
                                     std::atomic<bool>& stopping) const {
  const rocksdb::CompactRangeOptions options = written_anew(stopping);
  const rocksdb::Slice begin(from), end(to);
  rocksdb::Status status = db_->CompactRange(options, at(family), &begin, &end);
  if (status.ok() && split_ && legacy_) status = db_->CompactRange(options, legacy_handle(), &begin, &end);
  return status;
}

rocksdb::Status Families::get(const rocksdb::ReadOptions& options, Family family, std::string_view key,
                              std::string& value) const {
  rocksdb::Status status = db_->Get(options, at(family), as_slice(key), &value);
  if (status.IsNotFound() && split_ && legacy_)
    status = db_->Get(options, legacy_handle(), as_slice(key), &value);
  return status;
}

rocksdb::Status Families::flush(bool allow_write_stall) const {
  rocksdb::FlushOptions options;
  options.wait = true;
  options.allow_write_stall = allow_write_stall;
  return db_->Flush(options, all());
}

Rows::Rows(const Families& families, const rocksdb::ReadOptions& options, Family family)
    : own_(families.db().NewIterator(options, families.at(family))) {
  if (families.split() && families.legacy())
    legacy_.reset(families.db().NewIterator(options, families.legacy_handle()));
}

void Rows::seek(std::string_view key) {
  own_->Seek(as_slice(key));
  if (legacy_) legacy_->Seek(as_slice(key));
  choose(true);
}

void Rows::seek_before(std::string_view key) {
  for (auto* it : {own_.get(), legacy_.get()}) {
    if (it == nullptr) continue;
    it->SeekForPrev(as_slice(key));
    if (it->Valid() && it->key().ToStringView() == key) it->Prev();
  }
  choose(false);
}

void Rows::next() {
  const bool both = legacy_ && own_->Valid() && legacy_->Valid() && own_->key() == legacy_->key();
  at_->Next();
  if (both) legacy_->Next();
  choose(true);
}

void Rows::prev() {
  const bool both = legacy_ && own_->Valid() && legacy_->Valid() && own_->key() == legacy_->key();
  at_->Prev();
  if (both) legacy_->Prev();
  choose(false);
}

void Rows::choose(bool forwards) {
  at_ = own_->Valid() ? own_.get() : nullptr;
  // One that does not read ends the walk; what the other has behind it would look like all that there is.
  if (!own_->status().ok() || (legacy_ && !legacy_->status().ok())) {
    at_ = nullptr;
    return;
  }
  if (!legacy_ || !legacy_->Valid()) return;
  const int order = at_ == nullptr ? 1 : own_->key().compare(legacy_->key());
  if (at_ == nullptr || (forwards ? order > 0 : order < 0)) at_ = legacy_.get();
}

rocksdb::Status Rows::status() const {
  return own_->status().ok() && legacy_ ? legacy_->status() : own_->status();
}

}  // namespace storage
