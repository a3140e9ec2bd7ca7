#pragma once

#include <cstddef>
#include <cstdint>

#include "paxos/bounds.h"

namespace chat::limits {
inline constexpr std::size_t text_bytes_max = 16 * 1024;
inline constexpr std::size_t room_bytes_max = 64;
inline constexpr std::size_t name_bytes_max = 64;
inline constexpr std::size_t key_bytes_max = 64;  ///< of a message that is to stand once whatever is sent again
inline constexpr std::size_t rooms_max = 65'536;
inline constexpr std::size_t sessions_max = 100'000;
inline constexpr std::size_t outstanding_max = 256;
/// Stored answers of all sessions: above it the longest idle session goes, as above sessions_max. Without
/// it, 100,000 sessions with 256 answers each would take more than a gigabyte.
inline constexpr std::size_t answers_max = 1'048'576;
/// Keys of messages are known for so long by the session clock, which never runs ahead of real time for long: a day at
/// least. Above either bound a message with a new key is refused, never one key forgotten for another.
inline constexpr std::int64_t key_kept_ms = 48LL * 3600 * 1000;
inline constexpr std::size_t keys_max = 262'144;
inline constexpr std::size_t keys_bytes_max = 64 * 1024 * 1024;
/// A command, encoded.
inline constexpr std::size_t command_bytes_max = text_bytes_max + room_bytes_max + name_bytes_max + key_bytes_max + 128;
inline constexpr std::size_t commands_per_decree_max = 4096;
/// Messages in one history page, and their text bytes (at least one message always fits).
inline constexpr std::size_t page_messages_max = 512;
inline constexpr std::size_t page_bytes_max = 64 * 1024;
/// The session clock advances per slot by at most this much.
inline constexpr std::int64_t clock_step_max_ms = 60'000;
/// Idle for this long by the session clock: expired.
inline constexpr std::int64_t session_idle_max_ms = 24LL * 3600 * 1000;

static_assert(command_bytes_max * 8 <= paxos::limits::decree_bytes_max);
static_assert(answers_max >= 8 * sessions_max, "most sessions have only a few");
static_assert(answers_max >= 2 * outstanding_max, "one session alone never fills it");
static_assert(page_bytes_max >= text_bytes_max + 1024);
}  // namespace chat::limits
