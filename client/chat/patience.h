#pragma once

#include <chrono>
#include <cstdint>

/// What the chat's parts have in common: how much they show, and how long they wait.
namespace client {

constexpr std::uint32_t shown_on_join = 20;   ///< messages
constexpr std::uint32_t shown_at_most = 500;  ///< messages
/// For what the replica that is asked answers by itself.
constexpr std::chrono::milliseconds local_timeout{1500};
/// For a look at what is new, which comes again.
constexpr std::chrono::milliseconds look_timeout{1500};
/// For the room that a name means.
constexpr std::chrono::milliseconds settle_timeout{2000};
/// For the replicas' status while somebody waits for an answer.
constexpr std::chrono::milliseconds outage_timeout{500};

}  // namespace client
