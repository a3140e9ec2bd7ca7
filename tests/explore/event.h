#pragma once

#include <cstdint>

namespace explore {

/// What may happen next at one replica. What is free in a real run (which packet, when a timer goes off, when
/// a sync ends, a crash) is a choice here.
enum class EventKind : std::uint8_t {
  deliver,  ///< a: the letter's number
  campaign,
  propose,
  skip,    ///< leaves the next slot empty, with a no-op above it
  sync,    ///< a: how many of the oldest unsynced groups
  told,    ///< the core hears of the syncs
  crash,   ///< and restart. a: how many unsynced groups survive, b: the slot of the surviving state
  commit,  ///< timers, from here on
  pull,
  repeat,       ///< a: the slot whose Accept is sent again
  give_up,      ///< a candidate that learns waited long enough
  lost_quorum,  ///< a proposer hears no quorum any more
  change,       ///< proposes the change of the configuration
};

struct Event {
  EventKind kind = EventKind::deliver;
  std::uint8_t replica = 0;  ///< the directory where it happens
  std::uint8_t choice = 0;   ///< what the random generator says, should it be asked
  std::uint8_t b = 0;
  std::uint16_t a = 0;
  friend bool operator==(const Event&, const Event&) = default;

  [[nodiscard]] std::uint32_t packed() const {
    return static_cast<std::uint32_t>(kind) << 28 | std::uint32_t{choice} << 25 |
           std::uint32_t{replica} << 21 | std::uint32_t{b} << 16 | a;
  }
  [[nodiscard]] static Event unpack(std::uint32_t bits) {
    return {.kind = static_cast<EventKind>(bits >> 28),
            .replica = static_cast<std::uint8_t>(bits >> 21 & 15),
            .choice = static_cast<std::uint8_t>(bits >> 25 & 7),
            .b = static_cast<std::uint8_t>(bits >> 16 & 31),
            .a = static_cast<std::uint16_t>(bits)};
  }
};

}  // namespace explore
