#pragma once

#include <cstddef>
#include <cstdint>

#include "paxos/bounds.h"

namespace chat::limits {
inline constexpr std::size_t text_bytes_max = 16 * 1024;
inline constexpr std::size_t room_bytes_max = 64;
inline constexpr std::size_t name_bytes_max = 64;
inline constexpr std::size_t key_bytes_max =
    64;  ///< of a message that is to stand once whatever is sent again
inline constexpr std::size_t topic_bytes_max =
    256;  ///< of a room; counts as text of the message that sets it
inline constexpr std::size_t reason_bytes_max = 256;  ///< of a redaction
/// Of what a room keeps. 100 years.
inline constexpr std::int64_t retention_age_ms_max = 100LL * 365 * 24 * 3600 * 1000;
inline constexpr std::uint64_t retention_count_max = 1'000'000'000'000;
/// When a room's messages came is noted this far apart, by the session clock.
inline constexpr std::int64_t mark_gap_ms = 3600LL * 1000;
/// What rooms keep is looked at with every slot for about so many of them in turn, and for those that got
/// messages.
inline constexpr std::size_t rooms_looked_at = 16;
inline constexpr std::size_t rooms_max = 65'536;
inline constexpr std::size_t sessions_max = 100'000;
inline constexpr std::size_t outstanding_max = 256;
/// Stored answers of all sessions: above it the longest idle session goes, as above sessions_max. Without
/// it, 100,000 sessions with 256 answers each would take more than a gigabyte.
inline constexpr std::size_t answers_max = 1'048'576;
/// Keys of messages are known for so long by the session clock, which never runs ahead of real time for long:
/// a day at least. Above either bound a message with a new key is refused, never one key forgotten for
/// another.
inline constexpr std::int64_t key_kept_ms = 48LL * 3600 * 1000;
inline constexpr std::size_t keys_max = 262'144;
inline constexpr std::size_t keys_bytes_max = 64 * 1024 * 1024;
/// Keys that were ever issued to people and programs: they stay, revoked or not.
inline constexpr std::size_t access_keys_max = 16'384;
inline constexpr std::size_t secrets_retired_max = 16;  ///< whose names are remembered
inline constexpr std::size_t sealed_box_bytes_max = 256;
inline constexpr std::size_t page_access_keys_max = 256;  ///< in one page of their list
/// A command, encoded.
inline constexpr std::size_t command_bytes_max =
    text_bytes_max + room_bytes_max + name_bytes_max + key_bytes_max + 128;
inline constexpr std::size_t commands_per_decree_max = 4096;
/// Messages in one history page, and their text bytes (at least one message always fits).
inline constexpr std::size_t page_messages_max = 512;
inline constexpr std::size_t page_bytes_max = 64 * 1024;
inline constexpr std::size_t page_rooms_max = 256;  ///< in one page of the list of rooms
/// Whoever is in a room says so again and again, and is taken to have gone after so long.
inline constexpr std::int64_t presence_kept_ms = 30'000;
inline constexpr std::size_t presences_max = 65'536;
inline constexpr std::size_t present_shown_max = 256;  ///< names in one answer
/// Of one replica: redactions that wait to be carried out on its disk (those above it wait for its next
/// start), and messages of which later copies in the log are looked for.
inline constexpr std::size_t erasures_known_max = 65'536;
inline constexpr std::size_t erasures_at_once = 16;  ///< carried out together
/// The session clock advances per slot by at most this much.
inline constexpr std::int64_t clock_step_max_ms = 60'000;
/// Idle for this long by the session clock: expired.
inline constexpr std::int64_t session_idle_max_ms = 24LL * 3600 * 1000;
inline constexpr std::uint64_t journal_slots = 4096;  ///< of a directory; never changed (docs/ROWS.md)

static_assert(command_bytes_max * 8 <= paxos::limits::decree_bytes_max);
static_assert(answers_max >= 8 * sessions_max, "most sessions have only a few");
static_assert(answers_max >= 2 * outstanding_max, "one session alone never fills it");
static_assert(page_bytes_max >= text_bytes_max + 1024);
static_assert(mark_gap_ms * 8 <= session_idle_max_ms, "no rule by age is shorter than that");

// The front desk of one replica.
inline constexpr std::size_t waiters_max = 200'000;  ///< commands whose receipt somebody waits for here
inline constexpr std::size_t noticed_max = 65'536;   ///< clients that were sent a notice lately
inline constexpr std::size_t queue_commands_max = 65'536;
inline constexpr std::size_t queue_bytes_max = 32 * 1024 * 1024;
/// Queued, or proposed and not applied. The window would hold more of the very smallest.
inline constexpr std::size_t under_way_max = 1'048'576;
/// Commands held back until their predecessors come.
inline constexpr std::size_t held_max = 65'536;
inline constexpr std::size_t held_bytes_max = 16 * 1024 * 1024;
inline constexpr std::size_t receipts_per_reply = 512;
inline constexpr std::size_t polls_max = 65'536;
inline constexpr std::size_t reads_max = 65'536;
inline constexpr std::size_t fetches_max = 4'096;  ///< pages being read: each is held when it is done
/// Applied in one turn, at most: as many slots, decrees of as many bytes, rows of as many bytes. The loop
/// comes back for the rest at once, and heartbeats are answered in between.
inline constexpr std::size_t turn_slots_max = 256;
inline constexpr std::size_t turn_bytes_max = 1024 * 1024;
inline constexpr std::size_t turn_rows_bytes_max = 4 * 1024 * 1024;

static_assert(turn_bytes_max >= paxos::limits::decree_bytes_max);
}  // namespace chat::limits

namespace chat {

/// Of the state machine: what happens at them is part of what is replicated, so every replica of a cluster
/// has the same.
struct MachineBounds {
  std::size_t sessions = limits::sessions_max;
  std::size_t outstanding = limits::outstanding_max;  ///< answers kept for one session
  std::size_t answers = limits::answers_max;
  std::size_t rooms = limits::rooms_max;
  std::int64_t session_idle_ms = limits::session_idle_max_ms;
  std::int64_t mark_gap_ms = limits::mark_gap_ms;
  std::size_t rooms_looked_at = limits::rooms_looked_at;
  /// How many slots' changes the journal holds: an idle session or room has a row of its own after so many.
  std::uint64_t journal_slots = limits::journal_slots;

  /// Aborts where they can't work, or exceed what rows may hold.
  void check() const;
};

/// Of one replica's front desk and turns; each replica may have its own. docs/DECISIONS.md, "Bounds".
struct NodeBounds {
  std::size_t waiters = limits::waiters_max;
  std::size_t noticed = limits::noticed_max;
  std::size_t queue_commands = limits::queue_commands_max;
  std::size_t queue_bytes = limits::queue_bytes_max;
  std::size_t under_way = limits::under_way_max;
  std::size_t held_commands = limits::held_max;
  std::size_t held_bytes = limits::held_bytes_max;
  std::size_t held_per_session = limits::outstanding_max;
  std::size_t batch_commands = limits::commands_per_decree_max;
  std::size_t batch_bytes = paxos::limits::decree_bytes_max;
  std::size_t forward_commands = paxos::limits::forward_commands_max;  ///< in one Forward
  std::size_t receipts_per_reply = limits::receipts_per_reply;
  std::size_t polls = limits::polls_max;
  std::size_t reads = limits::reads_max;
  std::size_t fetches = limits::fetches_max;
  std::size_t push_messages = limits::page_messages_max;  ///< in what a long poll gets
  std::size_t push_bytes = limits::page_bytes_max;
  std::size_t turn_slots = limits::turn_slots_max;
  std::size_t turn_bytes = limits::turn_bytes_max;
  std::size_t turn_rows_bytes = limits::turn_rows_bytes_max;

  void check() const;
};

// clang-format off
/// Each bound, and what happens at it.
#define CHAT_BOUND_LIST(B)                                                                      \
  B(sessions, "the longest idle session went")                                                  \
  B(outstanding, "a command changed nothing, as one that comes early")                          \
  B(answers, "the longest idle session went")                                                   \
  B(rooms, "a post was refused")                                                                \
  B(session_idle, "a session expired")                                                          \
  B(waiters, "a command was taken with nobody waiting: its repeat is answered")                 \
  B(noticed, "clients may be told again")                                                       \
  B(queue_commands, "a command was refused as overload")                                        \
  B(queue_bytes, "a command was refused as overload")                                           \
  B(under_way, "a command was refused as overload")                                             \
  B(held_commands, "a command was refused as overload")                                         \
  B(held_bytes, "a command was refused as overload")                                            \
  B(held_per_session, "a command was refused as overload")                                      \
  B(batch_commands, "a command waited for the next decree")                                     \
  B(batch_bytes, "a command waited for the next decree")                                        \
  B(forward_commands, "a message was split")                                                    \
  B(receipts_per_reply, "a message was split")                                                  \
  B(polls, "a poll was refused")                                                                \
  B(reads, "a read was refused")                                                                \
  B(fetches, "a read was refused")                                                              \
  B(push_messages, "a page was cut")                                                            \
  B(push_bytes, "a page was cut")                                                               \
  B(turn_slots, "applying went on in the next turn")                                            \
  B(turn_bytes, "applying went on in the next turn")                                            \
  B(turn_rows_bytes, "applying went on in the next turn")
// clang-format on

enum class Bound : std::uint8_t {
#define CHAT_BOUND_NAME(name, what) name,
  CHAT_BOUND_LIST(CHAT_BOUND_NAME)
#undef CHAT_BOUND_NAME
};
#define CHAT_BOUND_ONE(name, what) +1
inline constexpr std::size_t bounds_count = 0 CHAT_BOUND_LIST(CHAT_BOUND_ONE);
#undef CHAT_BOUND_ONE
/// The first so many are the machine's, the rest the desk's.
inline constexpr std::size_t machine_bounds_count = static_cast<std::size_t>(Bound::session_idle) + 1;
using BoundsReached = paxos::BoundCounts<Bound, bounds_count>;

}  // namespace chat
