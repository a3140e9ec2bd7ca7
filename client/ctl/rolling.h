#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "client/session/json.h"

/// What `paxosctl rolling-restart` decides. Pure: `status` as cluster_status() gives it, sentences out.
namespace client {

/// Replicas that the operator knows to be missing (--without): nobody waits for them, and nothing counts on
/// them.
using Without = std::set<unsigned>;

/// Why a rolling restart can't do without these; empty when it can: those that remain must keep a quorum with
/// one more away.
[[nodiscard]] std::string refuse_without(std::size_t replicas, const Without& without);
/// Why nothing may be restarted now; empty: everybody but those is there, votes, agrees and has applied at
/// least `level`.
[[nodiscard]] std::string rolling_trouble(const Json& status, const Without& without, std::uint64_t level);
/// A sentence for each that was named as missing and does answer.
[[nodiscard]] std::vector<std::string> said_of_present(const Json& status, const Without& without);
/// What is left to do for those that were left out, at the end; empty where none was. Rules rise only when
/// all know them.
[[nodiscard]] std::string said_of_rules(const Json& status, const Without& without);

}  // namespace client
