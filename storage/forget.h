#pragma once

#include <atomic>
#include <filesystem>
#include <string>
#include <vector>

#include "storage/families.h"

namespace storage {

struct Forgotten {
  Family family = Family::rest;
  std::string key;
};

/// Leaves of these keys nothing but what they are now: older values are in no table, no blob file and no
/// write-ahead log of this database when it returns, and no file that held them is left. What is wrong, or
/// nothing. Takes as long as it takes to write the files anew that hold them (tens of MiB of tables and
/// slots; all messages, where it is one of theirs: their values lie in the order in which they came, their
/// keys by room): for a thread of its own. `writes`: how this database is written. `stopping` set: it gives
/// up soon.
[[nodiscard]] std::string forget_older(const Families& families, const std::filesystem::path& folder,
                                       const std::vector<Forgotten>& keys,
                                       const rocksdb::WriteOptions& writes, std::atomic<bool>& stopping);

}  // namespace storage
