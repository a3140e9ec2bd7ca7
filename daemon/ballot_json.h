#pragma once

#include <nlohmann/json.hpp>

#include "paxos/types.h"

namespace paxosd {

/// The configuration only where it is not the first one: whoever compares this with what an older program
/// says must find the same.
[[nodiscard]] inline nlohmann::json ballot_json(const paxos::Ballot& ballot) {
  nlohmann::json out{{"round", ballot.round}, {"replica", ballot.replica.n}};
  if (ballot.configuration != 1) out["configuration"] = ballot.configuration;
  return out;
}

}  // namespace paxosd
