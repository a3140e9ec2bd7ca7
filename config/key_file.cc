#include <fcntl.h>
#include <fmt/format.h>
#include <pwd.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "config/cluster_config.h"
#include "config/files.h"
#include "paxos/invariant.h"

/// Files of keys: the cluster's secret, and keys that were issued.
namespace config {

namespace {

constexpr std::size_t key_digits = 64;
constexpr std::size_t key_file_bytes_max = 2048;
constexpr std::string_view issued_prefix = "pxk1-";
constexpr std::array<std::string_view, 3> issued_roles{"reader", "client", "operator"};

/// The user that this process runs as: its name, or its number where it has none.
std::string own_user() {
  const passwd* entry = ::getpwuid(::geteuid());
  return entry != nullptr ? std::string(entry->pw_name) : fmt::format("{}", ::geteuid());
}

std::string cant_be_read(const std::filesystem::path& file, int why) {
  std::string out = fmt::format("can't be read: {}", std::strerror(why));
  if (why != EACCES && why != EPERM) return out;
  return out + fmt::format(
                   "; this runs as {}, who may not. The key file belongs to that user (mode 0600), or to "
                   "root with a group "
                   "that is this user's alone: chgrp {} {}; chmod 640 {}",
                   own_user(), own_user(), file.string(), file.string());
}

/// Why there is no credential of the service manager, as something to say behind an error; empty where none
/// is to be expected.
std::string no_credential() {
  if (const char* directory = std::getenv("CREDENTIALS_DIRECTORY");
      directory != nullptr && *directory != '\0')
    return fmt::format(
        ". (The service manager handed credentials over in {}, but no cluster.key among them: "
        "LoadCredential= of "
        "the unit names it)",
        directory);
  if (const char* service = std::getenv("INVOCATION_ID"); service != nullptr && *service != '\0')
    return ". (As a service it gets the key from systemd, LoadCredential= in its unit; here it got none: a "
           "drop-in of the unit took "
           "that away, or it doesn't work in this container. So the file itself was tried)";
  return {};
}

bool from_hex(std::string_view digits, std::array<std::uint8_t, 32>& out) {
  std::size_t size = 0;
  const char* end = nullptr;
  return digits.size() == key_digits &&
         sodium_hex2bin(out.data(), out.size(), digits.data(), digits.size(), nullptr, &size, &end) == 0 &&
         size == out.size();
}

/// `pxk1-client-3fa9c210-KEY`. False: that is none.
bool read_issued(std::string_view line, ClusterKey& key) {
  line.remove_prefix(issued_prefix.size());
  const auto role = std::find_if(issued_roles.begin(), issued_roles.end(), [&](std::string_view known) {
    return line.starts_with(known) && line.size() > known.size() && line[known.size()] == '-';
  });
  if (role == issued_roles.end()) return false;
  key.role = *role;
  line.remove_prefix(role->size() + 1);
  constexpr std::size_t id_digits = 8;
  if (line.size() != id_digits + 1 + key_digits || line[id_digits] != '-') return false;
  const auto [end, error] = std::from_chars(line.data(), line.data() + id_digits, key.id, 16);
  return error == std::errc{} && end == line.data() + id_digits && key.id != 0 &&
         from_hex(line.substr(id_digits + 1), key.bytes);
}

/// The lines of a file of a key that was issued. False: it is none.
bool read_lines(std::string_view text, ClusterKey& key) {
  constexpr std::string_view name = "name: ";
  bool found = false;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty() || line.front() == '#') continue;
    if (line.starts_with(name) && found && key.name.empty())
      key.name = line.substr(name.size());
    else if (!line.starts_with(issued_prefix) || std::exchange(found, true) || !read_issued(line, key))
      return false;
  }
  return found;
}

tl::expected<ClusterKey, std::string> read_key(const std::filesystem::path& file) {
  const auto fail = [&](std::string_view why) {
    return tl::make_unexpected(fmt::format("{}: {}", file.string(), why));
  };
  auto text = read_bounded(file, key_file_bytes_max);
  const auto wipe = [](tl::expected<std::string, int>* read) {
    if (*read) sodium_memzero((*read)->data(), (*read)->capacity());
  };
  const std::unique_ptr<tl::expected<std::string, int>, decltype(wipe)> wiped(&text, wipe);
  if (!text) return fail(cant_be_read(file, text.error()));
  ClusterKey key;
  if (text->find(issued_prefix) != std::string::npos) {
    if (read_lines(*text, key)) return key;
    return fail(
        "is a damaged key file: it holds one line `pxk1-ROLE-ID-KEY`, as `paxosctl key issue` wrote it, and "
        "`name: NAME` behind it where the key has a name; copy it again, or have a key issued");
  }
  if (text->size() == key_digits + 1 && text->back() == '\n') text->pop_back();
  if (!from_hex(*text, key.bytes))
    return fail("is no cluster key: 64 hexadecimal digits in one line; copy it again from another machine");
  return key;
}

}  // namespace

ClusterKey::~ClusterKey() { sodium_memzero(bytes.data(), bytes.size()); }

std::string key_text(const ClusterKey& key) {
  PAXOS_ASSERT(!key.is_secret());
  std::array<char, key_digits + 1> digits{};
  sodium_bin2hex(digits.data(), digits.size(), key.bytes.data(), key.bytes.size());
  std::string out = fmt::format("{}{}-{:08x}-{}", issued_prefix, key.role, key.id, digits.data());
  sodium_memzero(digits.data(), digits.size());
  return out;
}

std::string key_file_text(const ClusterKey& key, const std::string& cluster) {
  return fmt::format("# {} {}'s key for the cluster {}. Keep it secret: who has it is its holder.\n{}\n{}",
                     key.role == "operator" ? "An" : "A", key.role, cluster, key_text(key),
                     key.name.empty() ? "" : fmt::format("name: {}\n", key.name));
}

tl::expected<void, std::string> write_key_file(const std::filesystem::path& file, const std::string& text,
                                               bool force) {
  const std::filesystem::path beside = file.string() + ".new";
  if (std::string why = write_beside(beside, text, 0600); !why.empty())
    return tl::make_unexpected(std::move(why));
  if (std::string why = put_in_place(beside, file, force); !why.empty())
    return tl::make_unexpected(std::move(why));
  // That it is there outlives a power cut, too.
  const std::filesystem::path folder =
      file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return {};  // it may be written to, not read
  const bool synced = ::fsync(fd) == 0;
  const int why = errno;
  ::close(fd);
  if (!synced) return tl::make_unexpected(fmt::format("{}: {}", folder.string(), std::strerror(why)));
  return {};
}

std::string key_mode_fault(unsigned mode) {
  const std::string shown = fmt::format("(mode {:04o})", mode & 07777U);
  if ((mode & 04U) != 0)
    return "may be read by others " + shown + ", and whoever has the key can join the cluster";
  if ((mode & 022U) != 0) return "may be written by others " + shown + ", who could put another key there";
  if ((mode & 011U) != 0) return "is marked as a program for others " + shown;
  return {};
}

tl::expected<ClusterKey, std::string> load_key(const std::filesystem::path& file) {
  const auto fail = [&](std::string_view why) {
    return tl::make_unexpected(fmt::format("{}: {}", file.string(), why));
  };
  struct stat info{};
  if (::stat(file.c_str(), &info) != 0)
    return fail(errno == ENOENT
                    ? "the key file is missing; copy it from where `paxosctl config generate` made it "
                      "(every machine needs the same one)"
                    : cant_be_read(file, errno));
  if (!S_ISREG(info.st_mode)) return fail("is no regular file; a key file holds 64 hexadecimal digits");
  if (std::string fault = key_mode_fault(info.st_mode); !fault.empty())
    return fail(
        fmt::format("{}: chmod 600 {}{}", fault, file.string(),
                    (info.st_mode & 040) != 0 ? " (or 640, where a group of its own shall read it)" : ""));
  return read_key(file);
}

tl::expected<ClusterKey, std::string> load_key(const ClusterConfig& config) {
  if (const char* directory = std::getenv("CREDENTIALS_DIRECTORY");
      directory != nullptr && *directory != '\0') {
    const auto credential = std::filesystem::path(directory) / "cluster.key";
    std::error_code error;
    if (std::filesystem::exists(credential, error)) {
      auto key = read_key(credential);
      if (key && !key->is_secret())
        return tl::make_unexpected(std::string("the credential cluster.key holds a ") + key->role +
                                   "'s key; a replica needs the cluster's secret");
      return key;
    }
  }
  auto key = load_key(config.key_file);
  if (!key) return tl::make_unexpected(key.error() + no_credential());
  if (!key->is_secret())
    return tl::make_unexpected(fmt::format(
        "{}: holds a {}'s key; a replica needs the cluster's secret, which `paxosctl config generate` "
        "wrote: copy it from another replica's machine",
        config.key_file.string(), key->role));
  return key;
}

}  // namespace config
