#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <tl/expected.hpp>

namespace storage {

/// How far boots and groups were synced, kept beside the log so that a damaged tail is not taken for a clean
/// end.
///
/// RocksDB recovers its write-ahead log up to the first record that does not read, and calls what is behind
/// it torn. Torn is what no sync ever covered; damaged is what one did. After each sync the boot
/// and the number of the last synced group are written here, without a sync of their own: so they are never
/// ahead of the truth, and a log that ends before them has lost what was acknowledged. Two cells are written
/// in turn, each with its checksum, so that a torn write of one leaves the other. Log thread only, after
/// open().
class GroupMark {
 public:
  GroupMark() = default;
  ~GroupMark();
  GroupMark(const GroupMark&) = delete;
  GroupMark& operator=(const GroupMark&) = delete;

  [[nodiscard]] tl::expected<void, std::string> open(const std::filesystem::path& file);
  [[nodiscard]] std::uint64_t group() const { return group_; }
  [[nodiscard]] std::uint64_t boot() const { return boot_; }
  /// False when the write failed (errno says why).
  [[nodiscard]] bool write(std::uint64_t boot, std::uint64_t group);

 private:
  int fd_ = -1;
  std::uint64_t boot_ = 0;
  std::uint64_t group_ = 0;
  unsigned cell_ = 0;
};

}  // namespace storage
