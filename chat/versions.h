#pragma once

#include <array>
#include <cstdint>

/// Which rules, datagrams and files go together, and how a cluster moves from one to the next while it runs.
///
/// *Rules* are how commands are applied; their number is part of the replicated state. Each replica tells its
/// peers the highest rules that it knows; once all of them know the next ones, the leader proposes a decree
/// that raises them by one, and from the slot after it on every replica applies by them, speaks the datagram
/// format that belongs to them, and writes their log format at its next start. Until then a newer program
/// does everything as the older one does, so that replicas of two versions work together and a newer one can
/// be taken back. Afterwards an older program refuses the directory by name. Clients say hello in the second
/// datagram format, and are told which ones a replica takes (net/transport.h); until the rules are raised
/// that is the first one too.
namespace chat {

struct Formats {
  std::uint16_t rules = 1;
  std::uint8_t datagrams = 1;  ///< between replicas; docs/WIRE.md
  std::uint32_t log = 2;       ///< docs/DISK.md
  std::uint8_t clients = 1;    ///< the lowest datagram format in which clients are served
};

/// By rules. Rules 1 are those of version 0.1.0: every cluster is born under them, and raises them once all
/// of its replicas run a program that knows the next ones. The last row is nothing but a rehearsal: it
/// changes the numbers of both formats, so that tests can upgrade a running cluster (tests/systemd). No
/// released program knows it.
inline constexpr std::array<Formats, 3> formats{{{1, 1, 2, 1}, {2, 2, 3, 2}, {3, 3, 4, 2}}};
inline constexpr std::uint16_t rules_first = 1;
inline constexpr std::uint16_t rules_released = 2;
inline constexpr std::uint16_t rules_rehearsal = 3;
/// From these on the hash chain covers the rules, so that a replica that goes by other rules than the rest
/// shows at once.
inline constexpr std::uint16_t rules_in_hash = 2;
/// From these on the journal says what a slot changed (docs/ROWS.md).
inline constexpr std::uint16_t rules_journal_changes = 2;
/// From these on a post may have a key, a topic, or say when it was written.
inline constexpr std::uint16_t rules_post_options = 2;
/// From these on messages can be redacted.
inline constexpr std::uint16_t rules_redactions = 2;
/// From these on it is noted when a room's messages came, and rooms may forget them.
inline constexpr std::uint16_t rules_retention = 2;
/// From these on there are keys with roles (chat/access.h).
inline constexpr std::uint16_t rules_access = 2;
/// From these on the members of the cluster can be changed.
inline constexpr std::uint16_t rules_configurations = 2;
static_assert(formats.back().rules == formats.size());

/// The first log format in which a log may be trimmed. A replica raises its log to it when it trims first.
inline constexpr std::uint32_t trimming_log = 3;

[[nodiscard]] constexpr const Formats& formats_of(std::uint16_t rules) { return formats.at(rules - 1U); }

}  // namespace chat
