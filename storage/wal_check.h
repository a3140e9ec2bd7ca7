#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// Reads RocksDB's files of records (write-ahead logs, manifests) by themselves, so that what does not read
/// in one is told with its place: RocksDB reads up to there, and says nothing. Pure.
namespace storage {

struct RecordFile {
  std::uint64_t records = 0;   ///< whole ones before the first fault
  std::uint64_t end = 0;       ///< bytes up to the end of the last of them
  std::string fault;           ///< what is wrong behind them; empty: nothing, or zeros, or the end
  std::uint64_t fault_at = 0;  ///< where
  bool whole_behind = false;   ///< a record begins and reads in a later block: so this is no torn end
};

/// `bytes`: all of the file. The format: blocks of 32 KiB; in each, records of checksum (4, masked CRC-32C
/// of type and payload), length (2), type (1), payload; a tail of less than 7 bytes is zeros. Source:
/// RocksDB's db/log_format.h.
[[nodiscard]] RecordFile check_records(std::string_view bytes);

}  // namespace storage
