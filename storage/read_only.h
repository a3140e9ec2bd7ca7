#pragma once

#include <rocksdb/db.h>
#include <rocksdb/wal_filter.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "chat/machine.h"
#include "paxos/types.h"

namespace storage {

/// One of a stopped replica's databases, opened without writing a byte: all of its column families as one,
/// each read with its checksums, past the caches. What does not read throws StateDamage.
class ReadOnlyDatabase final : public chat::RowReader {
 public:
  /// `filter` looks at the write-ahead log's batches; it outlives this.
  [[nodiscard]] static tl::expected<std::unique_ptr<ReadOnlyDatabase>, std::string> open(
      const std::filesystem::path& folder, rocksdb::WalFilter* filter = nullptr);
  ~ReadOnlyDatabase() override;
  ReadOnlyDatabase(const ReadOnlyDatabase&) = delete;
  ReadOnlyDatabase& operator=(const ReadOnlyDatabase&) = delete;

  using Visit = std::function<bool(std::string_view key, std::string_view value)>;
  void scan(std::string_view from, std::string_view to, const Visit& visit) const override;
  void scan_back(std::string_view from, std::string_view to, const Visit& visit) const override;
  [[nodiscard]] std::optional<std::string> get(std::string_view key) const override;

  /// Every slot's record from `from` on, ascending, until `visit` says false; `lost(first, last)` for those
  /// of which blocks do not read: at most these (last: none when nothing behind reads).
  void each_slot(
      paxos::Slot from, const std::function<bool(paxos::Slot, std::string_view stored)>& visit,
      const std::function<void(paxos::Slot first, paxos::Slot last, const std::string& why)>& lost) const;

  [[nodiscard]] std::vector<rocksdb::LiveFileMetaData> tables() const;

 private:
  ReadOnlyDatabase() = default;
  std::vector<std::unique_ptr<rocksdb::Iterator>> iterators() const;

  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> families_;
};

/// Reads one table file through, with every checksum in it; what is wrong, or nothing.
[[nodiscard]] std::string check_table(const std::filesystem::path& file);

}  // namespace storage
