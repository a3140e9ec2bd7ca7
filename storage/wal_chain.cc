#include "storage/wal_chain.h"

#include <fmt/format.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <utility>

#include "storage/log_format.h"

namespace storage {

namespace {

/// The group row of a batch, if it has one.
class GroupRow final : public rocksdb::WriteBatch::Handler {
 public:
  std::optional<GroupValue> found;

  rocksdb::Status PutCF(std::uint32_t, const rocksdb::Slice& key, const rocksdb::Slice& stored) override {
    if (key.ToStringView() != log_key::group) return rocksdb::Status::OK();
    if (const auto value = open_value(log_key::group, stored.ToStringView())) found = decode_group(*value);
    return rocksdb::Status::OK();
  }
  rocksdb::Status DeleteCF(std::uint32_t, const rocksdb::Slice&) override { return rocksdb::Status::OK(); }
  rocksdb::Status DeleteRangeCF(std::uint32_t, const rocksdb::Slice&, const rocksdb::Slice&) override {
    return rocksdb::Status::OK();
  }
};

/// A record's header is 7 bytes and none of its types is 0.
bool begins_with_a_record(const std::filesystem::path& file) {
  std::array<char, 7> header{};
  std::ifstream in(file, std::ios::binary);
  in.read(header.data(), header.size());
  return std::any_of(header.begin(), header.end(), [](char byte) { return byte != 0; });
}

}  // namespace

rocksdb::WalFilter::WalProcessingOption WalChain::LogRecordFound(unsigned long long number,
                                                                 const std::string& file,
                                                                 const rocksdb::WriteBatch& batch,
                                                                 rocksdb::WriteBatch*, bool*) {
  if (!fault_.empty()) return WalProcessingOption::kCorruptedRecord;
  if (number != number_) {
    number_ = number;
    const std::filesystem::path name = std::filesystem::path(file).filename();
    if (!begins_with_a_record(folder_ / name))
      fault_ = fmt::format("{} begins with zeros, but has records behind them", name.string());
  }
  GroupRow row;
  if (!batch.Iterate(&row).ok()) return WalProcessingOption::kCorruptedRecord;
  if (row.found) {
    std::string missing = chain_.follow(*row.found);
    if (fault_.empty()) fault_ = std::move(missing);
  }
  return fault_.empty() ? WalProcessingOption::kContinueProcessing : WalProcessingOption::kCorruptedRecord;
}

}  // namespace storage
