#pragma once

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

/// Which column family a row lives in: those that live in the same way lie together, so that no file of rows
/// that are written once overlaps one of rows that every slot writes over, and compaction has nothing to do
/// with the first (docs/DISK.md).
///
/// A database from before log format 3 has one family, RocksDB's `default`, and it stays as programs of that
/// time read it (blob files too) until that format is in force. Then the families are made, and `default` is
/// only read and deleted from: nothing is converted. A row in a family of its own hides one of the same key
/// in `default`.
namespace storage {

/// From this format of the log on. A program that does not know the families refuses to open the database,
/// and names those that it was not asked to open; so their names say what is wrong with it.
inline constexpr std::uint32_t families_format = 3;

inline constexpr std::uint64_t slot_blob_bytes = 512;  ///< below it a slot's value stays beside its key

enum class Family : std::uint8_t { legacy, rest, journal, hashes, runs, slots };
inline constexpr std::size_t families_count = 6;
[[nodiscard]] const char* name_of(Family family);

/// By key: of a row of the state (chat/rows.h) once there are families.
[[nodiscard]] Family family_of_row(std::string_view key);

/// What both databases have in common; memory, files and the speed of background work are bounded here.
[[nodiscard]] rocksdb::DBOptions database_options(rocksdb::Env* env);
[[nodiscard]] rocksdb::ColumnFamilyOptions options_of(Family family,
                                                      const std::shared_ptr<rocksdb::Cache>& cache);

/// A range's tables are written again down to the last level, with the values that stand in blob files;
/// `stopping` set: soon no more.
[[nodiscard]] rocksdb::CompactRangeOptions written_anew(std::atomic<bool>& stopping);

/// One database and the families that it has. Any thread, but for open() and make().
class Families {
 public:
  Families() = default;
  ~Families() { close(); }
  Families(const Families&) = delete;
  Families& operator=(const Families&) = delete;

  /// With the families that are there. `of_its_own`: those that it is to have once make() is called.
  /// `legacy_blob_bytes`: values of `default` from this size on go to blob files; 0: none do.
  [[nodiscard]] rocksdb::Status open(const rocksdb::DBOptions& options, const std::string& folder,
                                     std::vector<Family> of_its_own, std::uint64_t legacy_blob_bytes = 0);
  /// The same; nothing is written, and make() may not be called.
  [[nodiscard]] rocksdb::Status open_read_only(const rocksdb::DBOptions& options, const std::string& folder,
                                               std::vector<Family> of_its_own);
  void close();
  /// Makes what is missing; from then on rows go there.
  [[nodiscard]] rocksdb::Status make();
  [[nodiscard]] bool is_open() const { return db_ != nullptr; }
  /// Rows go to families of their own.
  [[nodiscard]] bool split() const { return split_; }
  /// `default` has, or had, rows beside them.
  [[nodiscard]] bool legacy() const { return legacy_; }

  [[nodiscard]] rocksdb::DB& db() const { return *db_; }
  /// Where rows of this family are written, and looked for first.
  [[nodiscard]] rocksdb::ColumnFamilyHandle* at(Family family) const {
    return split_ ? handles_[static_cast<std::size_t>(family)] : handles_[0];
  }
  [[nodiscard]] rocksdb::ColumnFamilyHandle* legacy_handle() const { return handles_[0]; }
  [[nodiscard]] std::vector<rocksdb::ColumnFamilyHandle*> all() const;

  void put(rocksdb::WriteBatch& batch, Family family, std::string_view key, std::string_view value) const;
  void remove(rocksdb::WriteBatch& batch, Family family, std::string_view key) const;
  /// All of [from, to), wherever it lies.
  void remove_range(rocksdb::WriteBatch& batch, Family family, const std::string& from,
                    const std::string& to) const;
  /// Whole files that hold nothing else but rows of [from, to), which are deleted. What else was hidden by
  /// rows in them may show again.
  [[nodiscard]] rocksdb::Status drop_files(Family family, const std::string& from,
                                           const std::string& to) const;
  [[nodiscard]] rocksdb::Status get(const rocksdb::ReadOptions& options, Family family, std::string_view key,
                                    std::string& value) const;
  /// Every file that has rows of [from, to), values in blob files included: nothing is left there of what was
  /// deleted or written over. `stopping` set: it gives up soon.
  [[nodiscard]] rocksdb::Status write_anew(Family family, const std::string& from, const std::string& to,
                                           std::atomic<bool>& stopping) const;
  /// All of it, to disk.
  [[nodiscard]] rocksdb::Status flush(bool allow_write_stall = true) const;

 private:
  rocksdb::Status open_as(const rocksdb::DBOptions& options, const std::string& folder,
                          std::vector<Family> of_its_own, std::uint64_t legacy_blob_bytes, bool read_only);

  std::unique_ptr<rocksdb::DB> db_;
  std::shared_ptr<rocksdb::Cache> cache_;
  /// [0]: default. make() may add some while other threads look.
  std::array<std::atomic<rocksdb::ColumnFamilyHandle*>, families_count> handles_{};
  std::vector<Family> of_its_own_;
  std::atomic<bool> split_{false};  ///< any thread reads; it rises once, legacy_ before it
  std::atomic<bool> legacy_{false};
};

/// A family's rows and what `default` has beside them, in one order.
class Rows {
 public:
  Rows(const Families& families, const rocksdb::ReadOptions& options, Family family);
  void seek(std::string_view key);
  void seek_before(std::string_view key);  ///< the last one below
  [[nodiscard]] bool valid() const { return at_ != nullptr; }
  void next();
  void prev();
  [[nodiscard]] std::string_view key() const { return at_->key().ToStringView(); }
  [[nodiscard]] std::string_view value() const { return at_->value().ToStringView(); }
  [[nodiscard]] rocksdb::Status status() const;

 private:
  void choose(bool forwards);
  std::unique_ptr<rocksdb::Iterator> own_;
  std::unique_ptr<rocksdb::Iterator> legacy_;  ///< nullptr: there is nothing
  rocksdb::Iterator* at_ = nullptr;
};

}  // namespace storage
