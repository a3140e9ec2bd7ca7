#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "tests/sim/rules_watch.h"
#include "tests/sim/scenario.h"
#include "tests/sim/timeline.h"

namespace sim {

struct Result {
  std::string violation;  ///< empty: none
  std::uint64_t trace_hash = 0;
  Nanos length = 0;  ///< virtual
  std::uint64_t events = 0;
  std::array<std::uint64_t, 32> events_by_kind{};
  std::uint64_t slots = 0;
  std::size_t posted = 0;
  std::uint64_t faults = 0;
  std::uint64_t reassembled = 0;  ///< messages that were sealed, and maybe cut
  std::uint64_t changes = 0;      ///< of the configuration
  std::uint64_t snapshots = 0;    ///< taken by replicas that needed slots which nobody had
  std::uint64_t narrow_hits = 0;  ///< datagrams above what their path carries
  std::uint64_t leaders = 0;      ///< changes
  Nanos recovery = 0;             ///< from the healing of a core to an answered command
  std::uint16_t rules = 0;        ///< at the end, in a run with upgrades
  RulesWatch::Refusals refusals;
  BoundTotals bounds_reached{};
  std::string standing;  ///< of every replica, when something was violated
};

/// One whole run: faults for at least a minute, then a core heals and must make progress, then everything
/// heals and must agree. `timeline`: gets a line for everything of interest, or nullptr.
[[nodiscard]] Result run(const Scenario& scenario, Timeline* timeline);
[[nodiscard]] inline Result run_seed(std::uint64_t seed, Timeline* timeline) {
  return run(draw_scenario(seed), timeline);
}

}  // namespace sim
