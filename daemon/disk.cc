#include "daemon/disk.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>

namespace paxosd {

namespace {
/// Bounds of one probe of the disk: what the state thread gives for it.
constexpr int probe_syncs_max = 16;
constexpr std::chrono::milliseconds probe_time_max{100};
constexpr std::size_t probe_bytes = 4096;

nlohmann::json probe(const std::filesystem::path& directory) {
  const std::filesystem::path file = directory / "doctor-probe";
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return {{"error", std::strerror(errno)}};
  ::unlink(file.c_str());
  using Clock = std::chrono::steady_clock;
  const std::array<char, probe_bytes> block{};
  std::vector<std::int64_t> took;
  const auto began = Clock::now();
  nlohmann::json out;
  while (took.size() < probe_syncs_max && Clock::now() - began < probe_time_max) {
    const auto at = Clock::now();
    if (::write(fd, block.data(), block.size()) != static_cast<ssize_t>(block.size()) ||
        ::fdatasync(fd) != 0) {
      out["error"] = std::strerror(errno);
      break;
    }
    took.push_back(std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - at).count());
  }
  ::close(fd);
  if (took.empty()) return out;
  std::sort(took.begin(), took.end());
  out["syncs"] = took.size();
  out["us_median"] = took[took.size() / 2];
  out["us_max"] = took.back();
  return out;
}

}  // namespace

DiskUse look_at_disk(const std::filesystem::path& directory) {
  DiskUse out;
  std::error_code error;
  for (auto at = std::filesystem::recursive_directory_iterator(directory, error);
       !error && at != std::filesystem::recursive_directory_iterator(); at.increment(error))
    if (std::error_code none; at->is_regular_file(none)) {
      const std::uintmax_t size = at->file_size(none);
      if (!none) out.used += size;
    }
  struct statvfs volume{};
  if (::statvfs(directory.c_str(), &volume) == 0) out.free = std::uint64_t{volume.f_bavail} * volume.f_frsize;
  return out;
}

std::string probe_disk(const std::filesystem::path& directory) { return probe(directory).dump(); }

}  // namespace paxosd
