#include "storage/read_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace storage {

ReadLock::~ReadLock() {
  if (fd_ >= 0) ::close(fd_);
}

std::string ReadLock::take(const std::filesystem::path& directory) {
  const auto file = directory / "lock";
  fd_ = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0 && (errno == ENOENT || errno == ENOTDIR)) return {};  // a running replica has one
  if (fd_ < 0) return fmt::format("{}: {}; may this user read it?", file.string(), std::strerror(errno));
  if (::flock(fd_, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK) return {};
  char pid[32] = "";
  [[maybe_unused]] const auto got = ::pread(fd_, pid, sizeof pid - 1, 0);
  return fmt::format(
      "{}: is in use by a running replica{}{}: stop that one first, or ask it (`paxosctl verify --full`, "
      "`paxosctl "
      "log`)",
      directory.string(), *pid != '\0' ? ", pid " : "", pid);
}

}  // namespace storage
