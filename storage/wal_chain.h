#pragma once

#include <rocksdb/wal_filter.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "storage/recovery.h"

namespace storage {

/// Looks at every record of the write-ahead log while RocksDB recovers it, and breaks off where one is
/// missing.
///
/// RocksDB's reader takes a block of zeros for one that was never used and goes on behind it, without a word
/// about the records that stood there. But each batch of ours names the group before it, and a log file
/// begins with a record. A crash makes no such hole: no batch is written before the one ahead of it is
/// synced.
class WalChain final : public rocksdb::WalFilter {
 public:
  explicit WalChain(std::filesystem::path folder) : folder_(std::move(folder)) {}

  WalProcessingOption LogRecordFound(unsigned long long number, const std::string& file,
                                     const rocksdb::WriteBatch& batch, rocksdb::WriteBatch* changed_batch,
                                     bool* changed) override;
  [[nodiscard]] const char* Name() const override { return "WalChain"; }

  /// What is missing; empty when nothing is.
  [[nodiscard]] const std::string& fault() const { return fault_; }

 private:
  std::filesystem::path folder_;
  GroupChain chain_;
  unsigned long long number_ = 0;  ///< of the file that was looked at last
  std::string fault_;
};

}  // namespace storage
