#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "client/session/json.h"

/// What is wrong in one round of answers, a line each: who is behind, unheard or asleep, since when, and what
/// to do. Pure. `status`, `top` and `doctor` say the same of the same answers, since all of them ask here.
namespace client {

struct Attention {
  unsigned replica = 0;
  /// One word for scripts: "stands_still", "behind", "unheard", "follows_nobody", "does_not_vote", "hole",
  /// "paused", "isolated", "loss", "damage", "disk_full"
  std::string what;
  std::string text;  ///< goes on after "replica 2 "
  std::optional<std::chrono::milliseconds> age;
  std::string advice;  ///< what to do; empty where others say it
};

/// Whether the leader makes progress (CLI.md): what stands still, where something does.
struct Standstill {
  std::string why;  ///< "slot 7 was skipped, and holds up everything above it"
  std::chrono::milliseconds age{};
  std::uint64_t slot = 0;
  std::string advice;
  bool disks_full = false;  ///< reading goes on
};

/// A slot that waits longer than so many election timeouts stands still.
inline constexpr int patience_in_election_timeouts = 2;

/// `replicas`: as `status --json` has them; `leader`: by the quorum's word. Nothing: it makes progress, as
/// far as is known.
[[nodiscard]] std::optional<Standstill> standstill_of(const Json& replicas, unsigned leader,
                                                      std::chrono::milliseconds election_timeout);
/// `leader`: nothing where no quorum names one.
[[nodiscard]] std::vector<Attention> attention_of(const Json& replicas, std::optional<unsigned> leader,
                                                  std::chrono::milliseconds election_timeout);

/// May it vote, by its own word? One that is paused says that it may not.
[[nodiscard]] bool votes(const Json& answer);
/// Of a directory that the cluster was not born with. Older programs call it unborn, too, but wait for
/// nobody.
[[nodiscard]] bool dormant(const Json& answer);
[[nodiscard]] bool unborn(const Json& answer);
/// By its own word: its directory was empty when it started, so it can take a lost one's place
/// (`paxosctl member replace`). One that was replaced, or is of another cluster, can't.
[[nodiscard]] bool newcomer(const Json& answer);
/// Of a directory that has taken a lost one's place: it votes once it has caught up.
[[nodiscard]] bool catches_up(const Json& answer);
/// A field of milliseconds; nothing where it is missing or odd.
[[nodiscard]] std::optional<std::chrono::milliseconds> age_in(const Json& object, const char* field);

[[nodiscard]] Json to_json(const Attention& attention);
[[nodiscard]] std::vector<Attention> attention_in(const Json& status);

}  // namespace client
