#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace paxosd {

/// `paxosd rescue DIR ...`: the last resort. A config, a key and the directories of all replicas of a new
/// cluster, with what the directories hold that a majority's loss has left; or, without --accept-data-loss,
/// what that would be. Gives the exit code.
[[nodiscard]] int rescue_verb(const std::vector<std::string>& words, std::uint16_t rules_known);

}  // namespace paxosd
