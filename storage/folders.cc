#include "storage/folders.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace storage {

std::string sync_folder(const std::filesystem::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 && errno == EACCES) return {};
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int why = errno;
  if (fd >= 0) ::close(fd);
  return synced ? std::string() : fmt::format("{}: can't be synced: {}", folder.string(), std::strerror(why));
}

std::string make_folder(const std::filesystem::path& folder,
                        const std::function<std::string(const std::filesystem::path&)>& sync) {
  std::filesystem::path whole = std::filesystem::absolute(folder).lexically_normal();
  if (whole.filename().empty()) whole = whole.parent_path();  // "data/"
  std::error_code error;
  std::filesystem::path there = whole.parent_path();
  while (there.has_relative_path() && !std::filesystem::exists(there, error)) there = there.parent_path();
  std::filesystem::create_directories(whole, error);
  if (error) return fmt::format("{}: can't be made: {}", folder.string(), error.message());
  for (std::filesystem::path at = whole.parent_path();; at = at.parent_path()) {
    if (std::string why = sync(at); !why.empty()) return why;
    if (at == there) return {};
  }
}

}  // namespace storage
