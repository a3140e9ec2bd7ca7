#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "paxos/types.h"

/// What a replica remembers of its last minutes, slot by slot: the records of daemon/'s flight recorder,
/// which of them tell about a slot, and the file that a crash leaves behind. Pure.
namespace chat {

/// Persisted (dumps, docs/WIRE.md): numbers are never reused; 0 stays reserved.
enum class FlightKind : std::uint8_t {
  boot = 1,               ///< slot: applied, ballot: promised
  candidate = 2,          ///< phase 1 began with ballot
  leader = 3,             ///< phase 1 done; proposes from slot on
  deposed = 4,            ///< no longer leader with ballot
  candidacy_ended = 5,    ///< phase 1 given up
  taking_over = 6,        ///< somebody's leader was found wanting
  handing_over = 7,       ///< clean hand-over of the leadership
  diverged = 8,           ///< hash chain differs from a quorum's
  prepare_sent = 10,      ///< to peer, slots from slot on
  prepare_received = 11,  ///< from peer, slots from slot on
  promise_sent = 12,      ///< to peer, slots from slot on; leaves when synced
  promise_received = 13,  ///< from peer, a page of slots from slot on; detail: entries in it
  promise_named =
      14,          ///< peer's Promise named a vote at ballot (detail 1: or a chosen decree) in these slots
  nack_sent = 15,  ///< to peer; ballot: what we promised instead
  nack_received = 16,    ///< from peer; ballot: what it promised instead
  proposed = 20,         ///< Accept sent to all; detail 1: a no-op, 2: rules, 3: configuration
  accept_repeated = 21,  ///< Accept sent again, to peer
  accept_received = 22,  ///< from peer; detail 1: a no-op, 2: rules, 3: configuration
  voted = 23,            ///< vote handed to the log thread; detail: low 16 bits of its group
  vote_durable =
      24,  ///< made from voted and synced when asked about a slot; on a follower Accepted leaves here
  accepted_repeated = 25,  ///< Accepted said again, to peer: the first was lost
  accepted_received = 26,  ///< from peer
  synced = 27,             ///< slot: the group up to which all is on disk
  chosen = 30,             ///< known chosen here from now on
  told_chosen = 31,        ///< peer says so; detail 1 in a Commit, 2 in an Accept, 3 in a heartbeat
  learned = 32,            ///< decree taken over without a vote of our own at its ballot
  learn_asked = 33,        ///< asked peer for these slots
  learn_received = 34,     ///< peer sent their chosen decrees
  learn_sent = 35,         ///< sent their chosen decrees to peer
  applied = 36,            ///< given to the state machine
  skipped = 40,            ///< left empty on the operator's word
  noop_filled = 41,        ///< found empty after phase 1 and filled with a no-op
  commands_came = 50,      ///< from clients; count: how many commands
};
/// A few words, for people; "kind 77" for what this program does not know.
[[nodiscard]] std::string to_string(FlightKind kind);

/// One line of the recorder. Its bytes are those of the dump file, little-endian.
struct FlightEntry {
  static constexpr std::uint8_t nobody = 255;
  std::int64_t ns = 0;       ///< steady clock
  std::uint64_t slot = 0;    ///< first slot of a range; 0: about none
  std::uint64_t ballot = 0;  ///< see pack(); 0: none
  std::uint32_t count = 1;   ///< slots in the range; 0: no end
  FlightKind kind{};
  std::uint8_t peer = nobody;
  std::uint16_t detail = 0;

  static constexpr std::uint64_t rounds_max = (std::uint64_t{1} << 44) - 1;
  static constexpr std::uint32_t configurations_max = 1U << 12;
  /// (configuration - 1) << 52 | round << 8 | replica, so that they compare as ballots do. Later
  /// configurations, and higher rounds, are told as the highest that finds room.
  [[nodiscard]] static std::uint64_t pack(const paxos::Ballot& b) {
    if (b.none()) return 0;
    const std::uint64_t configuration = std::min(b.configuration, configurations_max) - 1;
    return configuration << 52 | std::min(b.round, rounds_max) << 8 | b.replica.n;
  }
  [[nodiscard]] paxos::Ballot unpacked() const {
    return {ballot >> 8 & rounds_max, paxos::ReplicaId{static_cast<std::uint8_t>(ballot & 0xff)},
            static_cast<std::uint32_t>(ballot >> 52) + 1};
  }
  [[nodiscard]] bool covers(paxos::Slot s) const {
    return slot != 0 && s.n >= slot && (count == 0 || s.n - slot < count);
  }
  friend bool operator==(const FlightEntry&, const FlightEntry&) = default;
};
static_assert(sizeof(FlightEntry) == 32);

/// The records that tell about one slot, in order: those that cover it, the phase 1 of the ballots it was
/// voted on under, what happened to the leadership meanwhile, and when the votes were durable. `entries`:
/// oldest first. At most `max`; the middle goes first, `left_out` says how many.
struct FlightOfSlot {
  std::vector<FlightEntry> entries;
  std::uint64_t left_out = 0;
};
[[nodiscard]] FlightOfSlot flight_of_slot(std::span<const FlightEntry> entries, paxos::Slot slot,
                                          std::size_t max);

// --- dump ---

inline constexpr std::size_t flight_entries_max = std::size_t{1} << 18;

/// The first bytes of a dump; the ring follows as it lay in memory.
struct FlightDumpHead {
  static constexpr std::uint64_t magic_value = 0x3154485346445850;  // "PXDFSHT1"
  std::uint64_t magic = magic_value;
  std::uint32_t entry_bytes = sizeof(FlightEntry);
  std::uint32_t capacity = 0;  ///< entries in the ring, a power of two
  std::uint64_t written = 0;   ///< entries ever written; the next one goes to written % capacity
  std::uint64_t boot = 0;
  std::int64_t steady_ns = 0;  ///< the crash, by the clock of the entries
  std::int64_t wall_ns = 0;    ///< the same moment, Unix time
  std::uint32_t signal = 0;
  std::uint32_t pid = 0;
  std::uint8_t replica = 0;
  std::uint8_t reserved[7]{};
};
static_assert(sizeof(FlightDumpHead) == 64);

struct FlightDump {
  FlightDumpHead head;
  std::vector<FlightEntry> entries;  ///< oldest first
};
/// Errors: a sentence.
[[nodiscard]] tl::expected<FlightDump, std::string> parse_flight_dump(std::span<const std::byte> bytes);

}  // namespace chat
