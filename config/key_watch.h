#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "config/cluster_config.h"

namespace config {

/// Remembers which key a program was started with, without keeping the key: a running replica can't take
/// another one, and must say so when its operator thinks that it did.
class KeyWatch {
 public:
  KeyWatch(std::span<const std::uint8_t> key, std::filesystem::path file);

  /// One sentence when the key file is no longer the one of the start; empty when it is, or nothing can be
  /// told. Where the file can't be read (a service sees only its own copy), it goes by when the file was
  /// written. Blocks on the file.
  [[nodiscard]] std::string difference() const;

 private:
  using Digest = std::array<std::uint8_t, 16>;
  struct Mark {
    bool there = false;
    std::uint64_t inode = 0;
    std::int64_t written_ns = 0;
    friend bool operator==(const Mark&, const Mark&) = default;
  };
  [[nodiscard]] static Digest digest(std::span<const std::uint8_t> key);
  [[nodiscard]] static Mark mark(const std::filesystem::path& file);

  std::filesystem::path file_;
  Digest digest_;
  Mark mark_;
};

}  // namespace config
