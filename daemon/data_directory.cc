#include "daemon/data_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace paxosd {

namespace {

std::string user_name(uid_t user) {
  const passwd* entry = ::getpwuid(user);
  return entry != nullptr ? std::string(entry->pw_name) : fmt::format("the user with number {}", user);
}

std::string give_back(const std::filesystem::path& directory) {
  const passwd* entry = ::getpwuid(::geteuid());
  const std::string owner =
      entry != nullptr ? fmt::format("{}:", entry->pw_name) : fmt::format("{}:{}", ::geteuid(), ::getegid());
  return fmt::format("as root: chown -R {} {}", owner, directory.string());
}

/// One entry: counted in `out`; the error, or nothing.
std::string look_at(const std::filesystem::path& path, const std::filesystem::path& directory,
                    DataDirectory& out) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return {};  // gone meanwhile
    return fmt::format("{}: {}", path.string(), std::strerror(errno));
  }
  const bool folder = S_ISDIR(info.st_mode);
  if (!folder && !S_ISREG(info.st_mode)) return {};
  const uid_t self = ::geteuid();
  if (info.st_uid != self && self != 0) {
    if (::faccessat(AT_FDCWD, path.c_str(), folder ? R_OK | W_OK | X_OK : R_OK | W_OK, AT_EACCESS) != 0)
      return fmt::format(
          "{} belongs to {} (mode {:04o}), and this runs as {}: was it started as somebody else once, as "
          "root? Give all of "
          "it back, {}",
          path.string(), user_name(info.st_uid), info.st_mode & 07777, user_name(self), give_back(directory));
    return {};
  }
  if (info.st_uid != self || (info.st_mode & 077) == 0) return {};
  ++(::fchmodat(AT_FDCWD, path.c_str(), info.st_mode & 0700, 0) == 0 ? out.tightened : out.left_open);
  return {};
}

}  // namespace

tl::expected<DataDirectory, std::string> take_data_directory(const std::filesystem::path& directory) {
  DataDirectory out;
  struct stat info{};
  if (::stat(directory.c_str(), &info) != 0) {
    if (errno == ENOENT && ::lstat(directory.c_str(), &info) == 0)
      return tl::make_unexpected(
          fmt::format("{} is a link to {}, which is not there: make that folder, or mount what belongs there",
                      directory.string(), std::filesystem::read_symlink(directory).string()));
    if (errno == ENOENT) return out;  // to be made
    return tl::make_unexpected(
        fmt::format("{}: can't be looked at: {}", directory.string(), std::strerror(errno)));
  }
  if (!S_ISDIR(info.st_mode)) return tl::make_unexpected(fmt::format("{} is no folder", directory.string()));
  if (::geteuid() == 0 && info.st_uid != 0) {
    const std::string owner = user_name(info.st_uid);
    return tl::make_unexpected(
        fmt::format("{} belongs to {}, and this runs as root: it would leave files there that {} can't open "
                    "any more. Start it as that "
                    "user (`systemctl start paxosd@ID`, or `runuser -u {} -- paxosd ...`); if root shall run "
                    "it from now on: chown -R "
                    "root: {}",
                    directory.string(), owner, owner, owner, directory.string()));
  }
  // Behind a link, the folder itself.
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(directory, error);
  if (error)
    return tl::make_unexpected(
        fmt::format("{}: can't be looked at: {}", directory.string(), error.message()));
  if (std::string fault = look_at(real, real, out); !fault.empty())
    return tl::make_unexpected(std::move(fault));
  for (auto at = std::filesystem::recursive_directory_iterator(real, error);
       !error && at != std::filesystem::recursive_directory_iterator(); at.increment(error))
    if (std::string fault = look_at(at->path(), real, out); !fault.empty())
      return tl::make_unexpected(std::move(fault));
  if (error)
    return tl::make_unexpected(
        fmt::format("{}: can't be looked through: {}", directory.string(), error.message()));
  return out;
}

std::string opening_hint(const std::string& error, const std::filesystem::path& directory) {
  const auto has = [&](int why) { return error.find(std::strerror(why)) != std::string::npos; };
  if (has(EROFS))
    return fmt::format(
        ". As a service a replica may write below /var/lib/paxosd alone: to have its data in {}, put a link, "
        "or mount it, "
        "at /var/lib/paxosd/ID, or name it in a drop-in (`systemctl edit paxosd@ID`: [Service], "
        "ReadWritePaths={})",
        directory.string(), directory.string());
  if (has(EACCES) || has(EPERM))
    return fmt::format(
        ". This runs as {}, who may not: make the folder for that user (as root: install -d -m 700 -o {} {})",
        user_name(::geteuid()), user_name(::geteuid()), directory.string());
  return {};
}

std::string elsewhere_note(const std::filesystem::path& used, const std::filesystem::path& in_config,
                           bool fresh) {
  std::error_code error;
  const auto real = [&](const std::filesystem::path& path) {
    return std::filesystem::weakly_canonical(path, error);
  };
  if (real(used) == real(in_config)) return {};
  std::string out = fmt::format(
      "the data lies in {} (--data-dir); the config's data_dir, {}, is not used. To have it there: stop this "
      "replica, move the data, and make {} a link to it",
      used.string(), in_config.string(), used.string());
  if (fresh && std::filesystem::exists(in_config / "log" / "CURRENT", error))
    out += fmt::format(
        ". There is a replica's data in there, and {} is new and empty: was this replica run by hand before? "
        "Then stop it, "
        "and move the data here, with the right owner, before it is started again",
        used.string());
  return out;
}

}  // namespace paxosd
