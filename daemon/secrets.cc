#include "daemon/secrets.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sodium.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "config/files.h"

namespace paxosd {

namespace {

constexpr std::size_t file_bytes_max = 8192;
constexpr std::string_view secret_word = "secret ";
constexpr std::string_view retired_word = "retired ";

std::filesystem::path file_in(const std::filesystem::path& directory) { return directory / "secrets"; }

bool read_line(std::string_view line, Secrets::File& out) {
  if (line.starts_with(secret_word)) {
    const std::string_view digits = line.substr(secret_word.size());
    net::Secret secret;
    std::size_t size = 0;
    if (digits.size() != 2 * net::Secret::size() ||
        sodium_hex2bin(secret.bytes().data(), net::Secret::size(), digits.data(), digits.size(), nullptr,
                       &size, nullptr) != 0 ||
        size != net::Secret::size())
      return false;
    out.good.push_back(std::move(secret));
    return true;
  }
  if (!line.starts_with(retired_word)) return false;
  const std::string_view digits = line.substr(retired_word.size());
  net::Fingerprint name = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), name, 16);
  out.retired.push_back(name);
  return error == std::errc{} && end == digits.data() + digits.size() && name != 0;
}

}  // namespace

tl::expected<Secrets::File, std::string> Secrets::load(const std::filesystem::path& directory,
                                                       const net::Secret& configured) {
  File out;
  const std::filesystem::path file = file_in(directory);
  auto text = config::read_bounded(file, file_bytes_max);
  if (!text && text.error() != ENOENT)
    return tl::make_unexpected(
        fmt::format("{}: can't be read: {}", file.string(), std::strerror(text.error())));
  if (text) {
    bool whole = text->size() <= file_bytes_max;
    for (std::string_view rest = *text; whole && !rest.empty();) {
      const std::size_t end = rest.find('\n');
      whole = end != std::string_view::npos && read_line(rest.substr(0, end), out);
      rest.remove_prefix(whole ? end + 1 : rest.size());
    }
    sodium_memzero(text->data(), text->capacity());
    if (!whole)
      return tl::make_unexpected(
          fmt::format("{}: is damaged: it holds the secrets that came to this replica by `paxosctl key "
                      "rotate`. Put the newest "
                      "one into the config's key file (that which `key rotate` wrote), then delete this file",
                      file.string()));
  }
  const net::Fingerprint name = net::fingerprint(configured);
  const bool known =
      std::any_of(out.good.begin(), out.good.end(), [&](const net::Secret& s) { return s == configured; });
  const bool retired = std::find(out.retired.begin(), out.retired.end(), name) != out.retired.end();
  if (!known && (!retired || out.good.empty())) {
    out.differs = !out.good.empty();
    out.good.push_back(configured);
  }
  return out;
}

std::string Secrets::store(const std::filesystem::path& directory, const File& file) {
  std::string text;
  text.reserve(file_bytes_max);  // it grows nowhere else, where it would not be wiped
  for (const net::Secret& secret : file.good) {
    std::array<char, 2 * net::Secret::size() + 1> digits{};
    sodium_bin2hex(digits.data(), digits.size(), secret.data(), net::Secret::size());
    text.append(secret_word).append(digits.data()).push_back('\n');
    sodium_memzero(digits.data(), digits.size());
  }
  for (const net::Fingerprint name : file.retired)
    text.append(retired_word).append(net::to_string_fingerprint(name)).push_back('\n');
  const std::filesystem::path place = file_in(directory);
  const std::filesystem::path beside = place.string() + ".new";
  std::string why = config::write_beside(beside, text, 0600);
  sodium_memzero(text.data(), text.capacity());
  if (!why.empty()) return why;
  why = config::put_in_place(beside, place, true);
  if (!why.empty()) return why;
  const int folder = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0 || ::fsync(folder) != 0)
    why = fmt::format("{}: {}", directory.string(), std::strerror(errno));
  if (folder >= 0) ::close(folder);
  return why;
}

}  // namespace paxosd
