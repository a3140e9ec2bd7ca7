#pragma once

#include <filesystem>

namespace client {

/// The paxosd that belongs to this paxosctl: the one beside it, else the one that $PATH names.
[[nodiscard]] std::filesystem::path daemon_binary();

}  // namespace client
