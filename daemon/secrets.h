#pragma once

#include <filesystem>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "net/seal.h"
#include "net/secret.h"

namespace paxosd {

/// The cluster's secrets that this replica has: that of the config's key file, and those that came to it
/// while it ran (`paxosctl key rotate`), which it keeps in a file `secrets` of its data directory: mode 0600,
/// a line `secret HEX` each, oldest first, and `retired NAME` for those that are not good any more, should
/// the key file still hold one.
class Secrets {
 public:
  struct File {
    std::vector<net::Secret> good;          ///< oldest first
    std::vector<net::Fingerprint> retired;  ///< names
    /// The config's key file holds another one than those that were rotated to, which stay good beside it.
    bool differs = false;
  };

  /// `configured`: of the key file; it may be newer than the file's, where an operator put it there by hand.
  /// A retired one is left alone where there is another. The error is a sentence.
  [[nodiscard]] static tl::expected<File, std::string> load(const std::filesystem::path& directory,
                                                            const net::Secret& configured);
  /// Synced, and there whole or not at all. Empty: done; else why not. Blocks on the disk.
  [[nodiscard]] static std::string store(const std::filesystem::path& directory, const File& file);
};

}  // namespace paxosd
