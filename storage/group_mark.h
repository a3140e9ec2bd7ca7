#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <tl/expected.hpp>

namespace storage {

/// How far groups were synced, kept beside the log so that a damaged tail is not taken for a clean end.
///
/// RocksDB recovers its write-ahead log up to the first record that does not read, and calls what is behind
/// it torn. Torn is what no sync ever covered; damaged is what one did. After each sync the number of the
/// last synced group is written here, without a sync of its own: so it is never ahead of the truth, and a log
/// that ends before it has lost what was acknowledged. Two cells are written in turn, each with its checksum,
/// so that a torn write of one leaves the other. Log thread only, after open().
class GroupMark {
 public:
  GroupMark() = default;
  ~GroupMark();
  GroupMark(const GroupMark&) = delete;
  GroupMark& operator=(const GroupMark&) = delete;

  [[nodiscard]] tl::expected<void, std::string> open(const std::filesystem::path& file);
  [[nodiscard]] std::uint64_t last() const { return last_; }
  /// False when the write failed (errno says why).
  [[nodiscard]] bool write(std::uint64_t group);

 private:
  int fd_ = -1;
  std::uint64_t last_ = 0;
  unsigned cell_ = 0;
};

}  // namespace storage
