#include "storage/group_mark.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "storage/recovery.h"

namespace storage {

namespace {
constexpr off_t cell_stride = 512;  // a sector each: a torn write touches one
}  // namespace

GroupMark::~GroupMark() {
  if (fd_ >= 0) ::close(fd_);
}

tl::expected<void, std::string> GroupMark::open(const std::filesystem::path& file) {
  fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) return tl::make_unexpected(fmt::format("{}: {}", file.string(), std::strerror(errno)));
  for (unsigned cell = 0; cell < 2; ++cell) {
    char bytes[mark_cell_bytes];
    if (::pread(fd_, bytes, sizeof bytes, cell * cell_stride) != static_cast<ssize_t>(sizeof bytes)) continue;
    const auto mark = decode_mark(std::string_view(bytes, sizeof bytes));
    if (!mark) continue;
    // Neither ever falls, so the later cell is the one that is higher in either.
    if (*mark >= LogMark{boot_, group_}) {
      boot_ = mark->boot;
      group_ = mark->group;
      cell_ = 1 - cell;
    }
  }
  return {};
}

bool GroupMark::write(std::uint64_t boot, std::uint64_t group) {
  const std::string bytes = encode_mark({.boot = boot, .group = group});
  if (::pwrite(fd_, bytes.data(), bytes.size(), cell_ * cell_stride) != static_cast<ssize_t>(bytes.size()))
    return false;
  cell_ = 1 - cell_;
  boot_ = boot;
  group_ = group;
  return true;
}

}  // namespace storage
