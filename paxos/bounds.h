#pragma once

#include <cstddef>
#include <cstdint>

/// Named bounds of the protocol (DESIGN.md section 8), and how they relate.
namespace paxos::limits {

inline constexpr std::size_t replicas_max = 9;
inline constexpr std::size_t decree_bytes_max = 256 * 1024;
/// No slot is proposed before slot - window is applied at the leader (DESIGN.md section 4, phase 2).
inline constexpr std::uint64_t window_slots = 256;
/// An acceptor holds votes in memory only this far above its chosen prefix; an Accept beyond is dropped
/// (the sender repeats it), so that a stuck follower's memory stays bounded.
inline constexpr std::uint64_t votes_ahead_slots_max = 4 * window_slots;
/// Slots proposed but not chosen at one time before further commands wait for a bigger batch.
inline constexpr std::size_t pipeline_slots = 8;
/// The window in bytes: no proposal while this much is not yet applied at the leader, and votes beyond
/// twice this above the chosen prefix are dropped.
inline constexpr std::size_t window_bytes_max = 16 * 1024 * 1024;
/// Decrees in one Promise page or LearnReply: at least one, then up to this many bytes in all.
inline constexpr std::size_t page_bytes_max = 256 * 1024;
inline constexpr std::size_t page_entries_max = 1024;
/// Ranges in one Accepted.
inline constexpr std::size_t accepted_ranges_max = 256;
/// Learned decrees kept in memory behind the applied slot, for peers that are just behind.
inline constexpr std::size_t hot_bytes_max = 16 * 1024 * 1024;
inline constexpr std::uint64_t hot_slots_max = 4096;
/// The chosen prefix is written to the log when it has grown by this much; a restart learns the rest from the others.
inline constexpr std::uint64_t prefix_record_stride = 16;
/// Hashes of recently applied slots kept to compare with peers' heartbeats.
inline constexpr std::size_t recent_hashes_max = 8192;
/// Rounds that a replica has asked leaders for and has no answer to; the reads of further ones wait and share the next.
inline constexpr std::size_t read_rounds_max = 16;
/// Rounds of others that wait at the leader for its next one: twice what honest peers ask, who may restart and ask anew.
inline constexpr std::size_t remote_rounds_max = 2 * replicas_max * read_rounds_max;
/// Linearizable reads waiting for their index at one replica.
inline constexpr std::size_t reads_waiting_max = 65536;
/// Commands in one Forward.
inline constexpr std::size_t forward_commands_max = 1024;
/// A whole peer message, encoded: a page and its headers.
inline constexpr std::size_t message_bytes_max = 640 * 1024;

static_assert(page_bytes_max >= decree_bytes_max, "a page carries any one decree");
static_assert(message_bytes_max >= page_bytes_max + decree_bytes_max + page_entries_max * 64,
              "a page that takes one more decree past its aim still fits a message");
static_assert(votes_ahead_slots_max >= 2 * window_slots, "a follower one window behind still votes");
static_assert(pipeline_slots <= window_slots);
static_assert(hot_bytes_max >= decree_bytes_max, "the last applied decree is always hot");

}  // namespace paxos::limits
