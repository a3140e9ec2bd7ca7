#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace paxosd {

/// `paxosd restore FILE -f F ...`: what `paxosctl restore` runs. A config, a key and the directories of all
/// replicas of a new cluster, with what a backup holds. Gives the exit code.
[[nodiscard]] int restore_verb(const std::vector<std::string>& words, std::uint16_t rules_known);

}  // namespace paxosd
