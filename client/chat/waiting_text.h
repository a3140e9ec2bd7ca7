#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "client/session/outbox.h"

/// What a person is told of messages that are not delivered yet. Pure.
namespace client {

/// How long a message may be under way before it is shown as waiting.
inline constexpr paxos::Duration shown_as_waiting = std::chrono::seconds{1};
inline constexpr std::size_t standing_max = 5;

/// Above the input line: the oldest few of those that have waited for a while, and how many more there are of
/// `total`. `room`: the one on the screen, which needs no name.
[[nodiscard]] std::vector<std::string> waiting_lines(const std::vector<Outbox::Unfinished>& oldest,
                                                     std::size_t total, std::string_view room,
                                                     paxos::Time now);

/// At the end, where something is left: each message's fate and text, then what comes next. `delivered`:
/// texts that were delivered while leaving; `kept_in`: the outbox' file, empty where there is none.
[[nodiscard]] std::vector<std::string> farewell_lines(const std::vector<std::string>& delivered,
                                                      const std::vector<Outbox::Unfinished>& left,
                                                      std::size_t total, const std::string& kept_in);

}  // namespace client
