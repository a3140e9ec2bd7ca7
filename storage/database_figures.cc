#include "storage/database_figures.h"

#include <sys/stat.h>

#include <system_error>

namespace storage {

DatabaseFigures figures_of(const Families& families, const std::filesystem::path& folder) {
  const auto number = [&](const std::string& property) {
    std::uint64_t value = 0;
    return families.db().GetIntProperty(property, &value) ? value : 0;
  };
  const auto sum = [&](const std::string& property) {
    std::uint64_t value = 0;
    return families.db().GetAggregatedIntProperty(property, &value) ? value : 0;
  };
  DatabaseFigures out{
      .memtable_bytes = sum(rocksdb::DB::Properties::kSizeAllMemTables),
      .sst_bytes =
          sum(rocksdb::DB::Properties::kLiveSstFilesSize) + sum(rocksdb::DB::Properties::kLiveBlobFileSize),
      .wal_bytes = 0,
      .cache_bytes = number(rocksdb::DB::Properties::kBlockCacheUsage),
      .pending_compaction_bytes = sum(rocksdb::DB::Properties::kEstimatePendingCompactionBytes),
      .compactions_running = number(rocksdb::DB::Properties::kNumRunningCompactions),
      .background_errors = number(rocksdb::DB::Properties::kBackgroundErrors)};
  // Blocks, not lengths: they are what is missing elsewhere. Files may go while we look.
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    struct stat info{};
    if (at->path().extension() == ".log" && ::stat(at->path().c_str(), &info) == 0)
      out.wal_bytes += static_cast<std::uint64_t>(info.st_blocks) * 512;
  }
  return out;
}

}  // namespace storage
