#pragma once

#include <filesystem>

#include "storage/families.h"
#include "storage/stores.h"

namespace storage {

/// What RocksDB says of itself, and what its write-ahead log takes on disk. Takes RocksDB's own locks and
/// reads the folder: not for the loop.
[[nodiscard]] DatabaseFigures figures_of(const Families& families, const std::filesystem::path& folder);

}  // namespace storage
