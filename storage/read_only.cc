#include "storage/read_only.h"

#include <rocksdb/env.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/table.h>

#include <algorithm>
#include <cstdarg>

#include "storage/log_format.h"
#include "storage/state_store.h"

namespace storage {

namespace {

rocksdb::Slice slice_for(std::string_view text) { return {text.data(), text.size()}; }

/// RocksDB's own log of what it does goes nowhere: it would be a file in the folder.
class Silent final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

rocksdb::Options read_only_options() {
  rocksdb::Options options;
  options.create_if_missing = false;
  options.info_log = std::make_shared<Silent>();
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  options.paranoid_checks = true;
  options.track_and_verify_wals_in_manifest = true;
  options.max_open_files = 64;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(4u << 20);
  table.cache_index_and_filter_blocks = true;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

rocksdb::ReadOptions careful_reads() {
  rocksdb::ReadOptions options;
  options.verify_checksums = true;
  options.fill_cache = false;
  return options;
}

[[noreturn]] void throw_damage(const rocksdb::Status& status) {
  throw StateDamage("it does not read: " + status.ToString());
}

}  // namespace

tl::expected<std::unique_ptr<ReadOnlyDatabase>, std::string> ReadOnlyDatabase::open(
    const std::filesystem::path& folder, rocksdb::WalFilter* filter) {
  rocksdb::Options options = read_only_options();
  options.wal_filter = filter;
  std::vector<std::string> names;
  if (const auto status = rocksdb::DB::ListColumnFamilies(options, folder.string(), &names); !status.ok())
    return tl::make_unexpected(status.ToString());
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const std::string& name : names) families.emplace_back(name, rocksdb::ColumnFamilyOptions(options));
  std::unique_ptr<ReadOnlyDatabase> out(new ReadOnlyDatabase);
  rocksdb::DB* db = nullptr;
  const auto status = rocksdb::DB::OpenForReadOnly(rocksdb::DBOptions(options), folder.string(), families,
                                                   &out->families_, &db);
  out->db_.reset(db);
  if (!status.ok()) return tl::make_unexpected(status.ToString());
  return out;
}

ReadOnlyDatabase::~ReadOnlyDatabase() {
  if (!db_) return;
  for (rocksdb::ColumnFamilyHandle* family : families_) (void)db_->DestroyColumnFamilyHandle(family);
}

std::vector<std::unique_ptr<rocksdb::Iterator>> ReadOnlyDatabase::iterators() const {
  std::vector<std::unique_ptr<rocksdb::Iterator>> out;
  // Those of their own first: a row there hides one of the same key in `default`, which has number 0.
  for (auto family = families_.rbegin(); family != families_.rend(); ++family)
    out.emplace_back(db_->NewIterator(careful_reads(), *family));
  return out;
}

void ReadOnlyDatabase::scan(std::string_view from, std::string_view to, const Visit& visit) const {
  auto all = iterators();
  for (auto& at : all) at->Seek(slice_for(from));
  for (;;) {
    rocksdb::Iterator* next = nullptr;
    for (auto& at : all) {
      if (!at->status().ok()) throw_damage(at->status());
      if (!at->Valid() || at->key().ToStringView() >= to) continue;
      if (next == nullptr || at->key().compare(next->key()) < 0) next = at.get();
    }
    if (next == nullptr || !visit(next->key().ToStringView(), next->value().ToStringView())) return;
    const std::string key = next->key().ToString();
    for (auto& at : all)
      if (at->Valid() && at->key() == slice_for(key)) at->Next();
  }
}

void ReadOnlyDatabase::scan_back(std::string_view from, std::string_view to, const Visit& visit) const {
  auto all = iterators();
  for (auto& at : all) {
    at->SeekForPrev(slice_for(to));
    if (at->Valid() && at->key().ToStringView() == to) at->Prev();
  }
  for (;;) {
    rocksdb::Iterator* next = nullptr;
    for (auto& at : all) {
      if (!at->status().ok()) throw_damage(at->status());
      if (!at->Valid() || at->key().ToStringView() < from) continue;
      if (next == nullptr || at->key().compare(next->key()) > 0) next = at.get();
    }
    if (next == nullptr || !visit(next->key().ToStringView(), next->value().ToStringView())) return;
    const std::string key = next->key().ToString();
    for (auto& at : all)
      if (at->Valid() && at->key() == slice_for(key)) at->Prev();
  }
}

std::optional<std::string> ReadOnlyDatabase::get(std::string_view key) const {
  // From the youngest family on: a row that moved into one of its own counts where it is now.
  for (auto family = families_.rbegin(); family != families_.rend(); ++family) {
    std::string value;
    const auto status = db_->Get(careful_reads(), *family, slice_for(key), &value);
    if (status.ok()) return value;
    if (!status.IsNotFound()) throw_damage(status);
  }
  return std::nullopt;
}

void ReadOnlyDatabase::each_slot(
    paxos::Slot first_slot, const std::function<bool(paxos::Slot, std::string_view)>& visit,
    const std::function<void(paxos::Slot, paxos::Slot, const std::string&)>& lost) const {
  constexpr unsigned one_by_one = 256;
  std::uint64_t from = first_slot.n;
  for (;;) {
    std::string why;
    try {
      scan(log_key::slot({from}), log_key::slot({UINT64_MAX}),
           [&](std::string_view key, std::string_view stored) {
             const auto slot = log_key::parse_slot(key);
             if (!slot) return true;
             from = slot->n + 1;
             return visit(*slot, stored);
           });
      return;
    } catch (const StateDamage& damage) {
      why = damage.what();
    }
    // The first one behind that reads.
    const std::uint64_t first = std::max<std::uint64_t>(from, 1);
    std::optional<paxos::Slot> next;
    std::uint64_t step = 1;
    bool end = false;
    for (unsigned tries = 0; !next && !end && from < UINT64_MAX / 4; ++tries) {
      if (tries > one_by_one) step *= 2;
      from += step;
      try {
        scan(log_key::slot({from}), log_key::slot({UINT64_MAX}), [&](std::string_view key, std::string_view) {
          next = log_key::parse_slot(key);
          return !next;
        });
        end = !next;
      } catch (const StateDamage&) {
        continue;
      }
    }
    if (!next) return lost({first}, {}, why);
    lost({first}, {next->n - 1}, why);
    from = next->n;
  }
}

std::vector<rocksdb::LiveFileMetaData> ReadOnlyDatabase::tables() const {
  std::vector<rocksdb::LiveFileMetaData> out;
  db_->GetLiveFilesMetaData(&out);
  return out;
}

std::string check_table(const std::filesystem::path& file) {
  rocksdb::Options options = read_only_options();
  rocksdb::SstFileReader reader(options);
  if (const auto status = reader.Open(file.string()); !status.ok()) return status.ToString();
  rocksdb::ReadOptions read = careful_reads();
  if (const auto status = reader.VerifyChecksum(read); !status.ok()) return status.ToString();
  return {};
}

}  // namespace storage
