#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

/// Named bounds of the protocol (DESIGN.md section 8), and how they relate. Those that decide when something
/// waits, is dropped, evicted or cut are parameters (Bounds), with these values as defaults; the others are
/// what formats allow.
namespace paxos::limits {

inline constexpr std::size_t replicas_max = 9;
inline constexpr std::size_t decree_bytes_max = 256 * 1024;
/// No slot is proposed before slot - window is applied at the leader (DESIGN.md section 4, phase 2).
inline constexpr std::uint64_t window_slots = 256;
/// Slots proposed but not chosen at one time before further commands wait for a bigger batch.
inline constexpr std::size_t pipeline_slots = 8;
/// The window in bytes: nothing new is proposed while this much is not yet applied at the leader.
inline constexpr std::size_t window_bytes_max = 16 * 1024 * 1024;
/// A replica holds votes and learned decrees in memory only this far above what it has applied, and only so
/// many bytes of them: what is beyond is dropped (its sender says it again, or it is pulled later) and half
/// of it stops pulling. The slot after the applied one is always taken.
inline constexpr std::uint64_t unapplied_slots_max = 16 * window_slots;
inline constexpr std::size_t unapplied_bytes_max = 2 * window_bytes_max;
/// Records on their way to the disk, with `record_overhead_bytes` each: above it no vote for others and no
/// learned decree is added. A disk that hangs syncs none of them.
inline constexpr std::size_t unsynced_bytes_max = 2 * window_bytes_max;
inline constexpr std::size_t record_overhead_bytes = 128;
/// Promises, Accepteds and the like that wait for a sync; what exceeds it is as good as lost on its way.
inline constexpr std::size_t after_sync_bytes_max = 4 * 1024 * 1024;
/// Chosen slots that are handed to the state machine and not applied yet; the rest follows as these are.
inline constexpr std::uint64_t handed_out_slots_max = 64;
inline constexpr std::size_t handed_out_bytes_max = 1024 * 1024;
/// Decrees in one Promise page or LearnReply: at least one, then up to this many bytes in all.
inline constexpr std::size_t page_bytes_max = 256 * 1024;
inline constexpr std::size_t page_entries_max = 1024;
/// Ranges in one Accepted.
inline constexpr std::size_t accepted_ranges_max = 256;
/// Learned decrees kept in memory behind the applied slot, for peers that are just behind.
inline constexpr std::size_t hot_bytes_max = 16 * 1024 * 1024;
inline constexpr std::uint64_t hot_slots_max = 4096;
/// The chosen prefix is written to the log when it has grown by this much; a restart learns the rest from the
/// others.
inline constexpr std::uint64_t prefix_record_stride = 16;
/// Slots of its own log that a starting replica reads at once to apply them; page_bytes_max besides.
inline constexpr std::uint64_t redo_slots_max = page_entries_max;
/// The log is trimmed by so many slots at once, at least.
inline constexpr std::uint64_t trim_stride_slots = 1024;
inline constexpr std::uint64_t groups_record_stride = 1024;  ///< of a peer's log
inline constexpr std::size_t lives_max = 32;                 ///< of a directory, that are remembered
inline constexpr std::size_t address_bytes_max = 256;        ///< of a member's address, as text
/// Hashes of recently applied slots kept to compare with peers' heartbeats.
inline constexpr std::size_t recent_hashes_max = 8192;
/// Rounds that a replica has asked leaders for and has no answer to; the reads of further ones wait and share
/// the next.
inline constexpr std::size_t read_rounds_max = 16;
/// Rounds of others that wait at the leader for its next one: twice what honest peers ask, who may restart
/// and ask anew.
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
static_assert(unapplied_slots_max >= 2 * window_slots && unapplied_bytes_max >= 2 * window_bytes_max,
              "a follower one window behind still votes");
static_assert(unsynced_bytes_max >= window_bytes_max + unapplied_slots_max * record_overhead_bytes,
              "a window is voted for in one sync");
static_assert(after_sync_bytes_max >= replicas_max * page_bytes_max, "a page for each candidate");
static_assert(pipeline_slots <= window_slots);
static_assert(hot_bytes_max >= decree_bytes_max, "the last applied decree is always hot");

}  // namespace paxos::limits

namespace paxos {

/// What a core holds and does at most. Any values of at least one that keep to the formats work (check()): a
/// simulator draws small ones, so that what happens at a bound is common there. docs/DECISIONS.md, "Bounds",
/// says what each counts.
struct Bounds {
  std::uint64_t window_slots = limits::window_slots;
  std::size_t window_bytes = limits::window_bytes_max;
  std::size_t pipeline_slots = limits::pipeline_slots;
  std::uint64_t unapplied_slots = limits::unapplied_slots_max;
  std::size_t unapplied_bytes = limits::unapplied_bytes_max;
  std::size_t unsynced_bytes = limits::unsynced_bytes_max;
  std::size_t after_sync_bytes = limits::after_sync_bytes_max;
  std::uint64_t handed_out_slots = limits::handed_out_slots_max;
  std::size_t handed_out_bytes = limits::handed_out_bytes_max;
  std::size_t promise_entries = limits::page_entries_max;  ///< in a page of a promise
  std::size_t learn_entries = limits::page_entries_max;    ///< in a LearnReply
  std::size_t page_bytes = limits::page_bytes_max;         ///< in either
  std::size_t accepted_ranges = limits::accepted_ranges_max;
  std::uint64_t hot_slots = limits::hot_slots_max;
  std::size_t hot_bytes = limits::hot_bytes_max;
  std::uint64_t prefix_stride = limits::prefix_record_stride;
  std::uint64_t redo_slots = limits::redo_slots_max;
  std::uint64_t trim_stride = limits::trim_stride_slots;
  std::uint64_t groups_stride = limits::groups_record_stride;
  std::size_t recent_hashes = limits::recent_hashes_max;
  std::size_t read_rounds = limits::read_rounds_max;
  std::size_t remote_rounds = limits::remote_rounds_max;
  std::size_t reads_waiting = limits::reads_waiting_max;

  /// Aborts where they can't work, or exceed what a message may hold.
  void check() const;
};

// clang-format off
/// Each bound, and what happens at it.
#define PAXOS_BOUND_LIST(B)                                                                     \
  B(window_slots, "a new proposal waited")                                                      \
  B(window_bytes, "a new proposal waited")                                                      \
  B(pipeline_slots, "a new proposal waited")                                                    \
  B(finish_slots, "what phase 1 found was proposed again later")                                \
  B(finish_bytes, "what phase 1 found was proposed again later")                                \
  B(unapplied_slots, "an Accept or a decree was dropped")                                       \
  B(unapplied_bytes, "an Accept or a decree was dropped")                                       \
  B(unapplied_pull, "a pull waited")                                                            \
  B(unsynced_bytes, "an Accept or a decree was dropped")                                        \
  B(after_sync_bytes, "a message was dropped")                                                  \
  B(handed_out_slots, "applying waited")                                                        \
  B(handed_out_bytes, "applying waited")                                                        \
  B(promise_entries, "a page was cut")                                                          \
  B(learn_entries, "a page was cut")                                                            \
  B(page_bytes, "a page was cut")                                                               \
  B(accepted_ranges, "a message was split")                                                     \
  B(hot_slots, "a decree left the memory")                                                      \
  B(hot_bytes, "a decree left the memory")                                                      \
  B(prefix_stride, "the chosen prefix was recorded")                                            \
  B(redo_slots, "redoing went on with the next page")                                           \
  B(redo_spill, "a decree left the memory until it is redone")                                  \
  B(trim_stride, "the log was trimmed")                                                         \
  B(trim_held, "trimming waited for a peer")                                                    \
  B(groups_stride, "how far a peer's log goes was recorded")                                    \
  B(recent_hashes, "a hash left the memory")                                                    \
  B(read_rounds, "reads waited for the next round")                                             \
  B(remote_rounds, "a request was dropped")                                                     \
  B(reads_waiting, "a read was refused")
// clang-format on

enum class Bound : std::uint8_t {
#define PAXOS_BOUND_NAME(name, what) name,
  PAXOS_BOUND_LIST(PAXOS_BOUND_NAME)
#undef PAXOS_BOUND_NAME
};
#define PAXOS_BOUND_ONE(name, what) +1
inline constexpr std::size_t bounds_count = 0 PAXOS_BOUND_LIST(PAXOS_BOUND_ONE);
#undef PAXOS_BOUND_ONE

/// How often each bound was reached since the start.
template <class AnyBound, std::size_t count>
class BoundCounts {
 public:
  void operator()(AnyBound bound) { ++counts_[static_cast<std::size_t>(bound)]; }
  [[nodiscard]] const std::array<std::uint64_t, count>& all() const { return counts_; }

 private:
  std::array<std::uint64_t, count> counts_{};
};
using BoundsReached = BoundCounts<Bound, bounds_count>;

}  // namespace paxos
