#include "config/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace config {

namespace {

std::string failed(std::filesystem::path file, int why) {
  if (file.extension() == ".new") file.replace_extension();  // the name that was asked for
  return fmt::format("{}: can't be written: {}{}", file.string(), std::strerror(why),
                     why == ENOENT ? "; make its folder first" : "");
}

}  // namespace

tl::expected<std::string, int> read_bounded(const std::filesystem::path& file, std::size_t bytes_max) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return tl::make_unexpected(errno);
  std::string out(bytes_max + 1, '\0');
  std::size_t size = 0;
  while (size < out.size()) {
    const ssize_t got = ::read(fd, out.data() + size, out.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int why = errno;
      ::close(fd);
      return tl::make_unexpected(why);
    }
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  ::close(fd);
  out.resize(size);
  return out;
}

std::string write_beside(const std::filesystem::path& beside, const std::string& text, mode_t mode) {
  ::unlink(beside.c_str());  // what an interrupted run left
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return failed(beside, errno);
  const bool written = ::fchmod(fd, mode) == 0 &&
                       ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                       ::fsync(fd) == 0;
  const int why = errno;
  ::close(fd);
  if (written) return {};
  ::unlink(beside.c_str());
  return failed(beside, why);
}

/// rename() overwrites; link() refuses where somebody was faster. Either way it is whole or not there.
std::string put_in_place(const std::filesystem::path& beside, const std::filesystem::path& file, bool force) {
  if (force) return ::rename(beside.c_str(), file.c_str()) == 0 ? std::string() : failed(file, errno);
  const bool linked = ::link(beside.c_str(), file.c_str()) == 0;
  const int why = errno;
  ::unlink(beside.c_str());
  return linked ? std::string() : failed(file, why);
}

}  // namespace config
