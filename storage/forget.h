#pragma once

#include <rocksdb/db.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <vector>

namespace storage {

/// Leaves of these keys nothing but what they are now: older values are in no table and no write-ahead log of
/// this database when it returns, and no file that held them is left. What is wrong, or nothing. Takes as
/// long as it takes to write the files anew that hold them (tens of MiB): for a thread of its own. `stopping`
/// set: it gives up soon.
[[nodiscard]] std::string forget_older(rocksdb::DB& db, const std::filesystem::path& folder,
                                       const std::vector<std::string>& keys, std::atomic<bool>& stopping);

}  // namespace storage
