#pragma once

#include <rocksdb/db.h>

#include <filesystem>

#include "storage/stores.h"

namespace storage {

/// What RocksDB says of itself, and what its write-ahead log takes on disk. Takes RocksDB's own locks and
/// reads the folder: not for the loop.
[[nodiscard]] DatabaseFigures figures_of(rocksdb::DB& db, const std::filesystem::path& folder);

}  // namespace storage
