#pragma once

#include <nlohmann/json.hpp>

#include "paxos/types.h"

namespace client {

/// Objects keep the order in which they were filled, as CLI.md shows them.
using Json = nlohmann::ordered_json;

/// As a replica's status has it: the configuration only where it is not the first one.
[[nodiscard]] inline Json ballot_json(const paxos::Ballot& ballot) {
  Json out{{"round", ballot.round}, {"replica", ballot.replica.n}};
  if (ballot.configuration != 1) out["configuration"] = ballot.configuration;
  return out;
}

}  // namespace client
