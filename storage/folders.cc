#include "storage/folders.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
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

std::string move_folder(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code error;
  std::filesystem::rename(from, to, error);
  if (error)
    return fmt::format("{}: can't be renamed to {}: {}", from.string(), to.string(), error.message());
  return sync_folder(to.parent_path());
}

std::string clear_away(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  return error ? fmt::format("{}: can't be removed: {}", path.string(), error.message()) : std::string();
}

namespace {
/// Not a name that RocksDB has anything to do with.
constexpr const char* mark_name = "damaged";
std::filesystem::path aside(const std::filesystem::path& directory) { return directory / "state-damaged"; }
}  // namespace

std::string put_state_aside(const std::filesystem::path& directory) {
  if (has_put_aside(directory)) return clear_away(directory / "state");
  return move_folder(directory / "state", aside(directory));
}

void mark_damaged(const std::filesystem::path& state, const std::string& why) {
  std::ofstream(state / mark_name) << why << "\n" << std::flush;
}

std::string marked_damaged(const std::filesystem::path& state) {
  std::ifstream in(state / mark_name);
  std::string why;
  if (!in) return why;
  std::getline(in, why);
  return why.empty() ? "it was found damaged" : why;
}

bool has_put_aside(const std::filesystem::path& directory) {
  std::error_code error;
  return std::filesystem::exists(aside(directory), error);
}

std::string drop_put_aside(const std::filesystem::path& directory) { return clear_away(aside(directory)); }

}  // namespace storage
