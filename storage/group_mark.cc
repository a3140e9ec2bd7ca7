#include "storage/group_mark.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "paxos/coding.h"

namespace storage {

namespace {
constexpr std::size_t cell_bytes = 24;  // boot, group, checksum
constexpr off_t cell_stride = 512;      // a sector each: a torn write touches one
}  // namespace

GroupMark::~GroupMark() {
  if (fd_ >= 0) ::close(fd_);
}

tl::expected<void, std::string> GroupMark::open(const std::filesystem::path& file) {
  fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) return tl::make_unexpected(fmt::format("{}: {}", file.string(), std::strerror(errno)));
  for (unsigned cell = 0; cell < 2; ++cell) {
    char bytes[cell_bytes];
    if (::pread(fd_, bytes, sizeof bytes, cell * cell_stride) != static_cast<ssize_t>(sizeof bytes)) continue;
    paxos::ByteReader r(std::string_view(bytes, sizeof bytes));
    const auto boot = r.fixed<std::uint64_t>();
    const auto group = r.fixed<std::uint64_t>();
    if (r.fixed<std::uint64_t>() != XXH3_64bits(bytes, 16)) continue;
    // Neither ever falls, so the later cell is the one that is higher in either.
    if (std::pair(boot, group) >= std::pair(boot_, group_)) {
      boot_ = boot;
      group_ = group;
      cell_ = 1 - cell;
    }
  }
  return {};
}

bool GroupMark::write(std::uint64_t boot, std::uint64_t group) {
  std::string bytes;
  paxos::ByteWriter w(bytes);
  w.fixed(boot);
  w.fixed(group);
  const std::uint64_t sum = XXH3_64bits(bytes.data(), bytes.size());
  w.fixed(sum);
  if (::pwrite(fd_, bytes.data(), bytes.size(), cell_ * cell_stride) != static_cast<ssize_t>(bytes.size()))
    return false;
  cell_ = 1 - cell_;
  boot_ = boot;
  group_ = group;
  return true;
}

}  // namespace storage
