#include "config/key_watch.h"

#include <fmt/format.h>
#include <sodium.h>
#include <sys/stat.h>

#include <utility>

namespace config {

KeyWatch::KeyWatch(std::span<const std::uint8_t> key, std::filesystem::path file)
    : file_(std::move(file)), digest_(digest(key)), mark_(mark(file_)) {}

KeyWatch::Digest KeyWatch::digest(std::span<const std::uint8_t> key) {
  Digest out{};
  crypto_generichash(out.data(), out.size(), key.data(), key.size(), nullptr, 0);
  return out;
}

KeyWatch::Mark KeyWatch::mark(const std::filesystem::path& file) {
  struct stat info{};
  if (::stat(file.c_str(), &info) != 0) return {};
  return {.there = true,
          .inode = info.st_ino,
          .written_ns = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec};
}

std::string KeyWatch::difference() const {
  if (const auto now = load_key(file_)) {
    if (digest(now->bytes) == digest_) return {};
    return fmt::format("{} holds another key than the one that this replica was started with",
                       file_.string());
  }
  const Mark now = mark(file_);
  if (now == mark_ || !now.there) return {};
  return fmt::format("{} was written anew since this replica was started", file_.string());
}

}  // namespace config
