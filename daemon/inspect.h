#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace paxosd {

/// `paxosd inspect DIR [--slot N] [--json]`: what a stopped replica's directory holds, and whether all of it
/// reads. Gives the exit code.
[[nodiscard]] int inspect_verb(const std::vector<std::string>& words, std::uint16_t rules_known);

}  // namespace paxosd
