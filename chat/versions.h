#pragma once

#include <array>
#include <cstdint>

/// Which rules, datagrams and files go together, and how a cluster moves from one to the next while it runs.
///
/// *Rules* are how commands are applied; their number is part of the replicated state. Each replica tells its peers the
/// highest rules that it knows; once all of them know the next ones, the leader proposes a decree that raises them by one,
/// and from the slot after it on every replica applies by them, speaks the datagram format that belongs to them, and
/// writes their log format at its next start. Until then a newer program does everything as the older one does, so that
/// replicas of two versions work together and a newer one can be taken back. Afterwards an older program refuses the
/// directory by name. Clients always speak the first datagram format; replicas answer them in it.
namespace chat {

struct Formats {
  std::uint16_t rules = 1;
  std::uint8_t datagrams = 1;  ///< between replicas; docs/WIRE.md
  std::uint32_t log = 2;       ///< docs/DISK.md
};

/// By rules. The last row is nothing but a rehearsal: it changes how the hash chain is computed and the numbers of both
/// formats, so that tests can upgrade a running cluster (tests/systemd). No released program knows it.
inline constexpr std::array<Formats, 2> formats{{{1, 1, 2}, {2, 2, 3}}};
inline constexpr std::uint16_t rules_released = 1;
inline constexpr std::uint16_t rules_rehearsal = 2;
static_assert(formats.back().rules == formats.size());

[[nodiscard]] constexpr const Formats& formats_of(std::uint16_t rules) { return formats.at(rules - 1U); }

}  // namespace chat
