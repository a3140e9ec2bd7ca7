#include "daemon/address_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "paxos/bounds.h"

namespace paxosd {

namespace {

constexpr const char* name = "addresses";
constexpr const char* head = "paxosd addresses 1";
constexpr std::size_t bytes_max = 64 * 1024;

std::string checksum(const std::string& text) {
  return fmt::format("checksum {:016x}\n", XXH3_64bits(text.data(), text.size()));
}

}  // namespace

std::string address_file_text(const RememberedAddresses& addresses) {
  std::string out = fmt::format("{}\n", head);
  for (const auto& one : addresses)
    out += fmt::format("{} {} {}\n", one.id, one.name, one.address.to_string());
  return out + checksum(out);
}

tl::expected<RememberedAddresses, std::string> parse_address_file(const std::string& text) {
  const auto wrong = [](const char* what) { return tl::make_unexpected(std::string(what)); };
  const std::size_t end = text.rfind("checksum ");
  if (end == std::string::npos || text.substr(end) != checksum(text.substr(0, end)))
    return wrong("its checksum does not fit");
  std::istringstream lines(text.substr(0, end));
  std::string line;
  if (!std::getline(lines, line) || line != head) return wrong("it is of another version");
  RememberedAddresses out;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    net::AddressBook::Remembered one;
    std::string where;
    std::string rest;
    if (!(words >> one.id >> one.name >> where) || words >> rest || one.id >= paxos::limits::replicas_max)
      return wrong("a line of it is none");
    const auto address = net::Address::literal(where);
    if (!address) return wrong("an address of it is none");
    one.address = *address;
    out.push_back(std::move(one));
  }
  return out;
}

tl::expected<RememberedAddresses, std::string> read_address_file(const std::filesystem::path& directory) {
  const auto file = directory / name;
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT) return RememberedAddresses{};
  const auto fail = [&](const std::string& why) {
    return tl::make_unexpected(fmt::format("{}: {}", file.string(), why));
  };
  if (fd < 0) return fail(std::strerror(errno));
  std::string text(bytes_max + 1, '\0');
  const ssize_t size = ::read(fd, text.data(), text.size());
  const int why = errno;
  ::close(fd);
  if (size < 0) return fail(std::strerror(why));
  text.resize(static_cast<std::size_t>(size));
  auto out = parse_address_file(text);
  if (!out) return fail(out.error());
  return out;
}

std::string write_address_file(const std::filesystem::path& directory, const RememberedAddresses& addresses) {
  const auto file = directory / name;
  const auto beside = directory / (std::string(name) + ".new");
  const std::string text = address_file_text(addresses);
  ::unlink(beside.c_str());  // what an interrupted write left
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return fmt::format("{}: {}", beside.string(), std::strerror(errno));
  bool good = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  int why = errno;
  ::close(fd);
  if (good && ::rename(beside.c_str(), file.c_str()) != 0) {
    good = false;
    why = errno;
  }
  if (!good) {
    ::unlink(beside.c_str());
    return fmt::format("{}: {}", file.string(), std::strerror(why));
  }
  const int folder = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
  return {};
}

}  // namespace paxosd
