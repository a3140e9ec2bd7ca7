#pragma once

#include <cstddef>
#include <cstdint>
#include <variant>

#include "chat/command.h"

namespace chat {

/// Names a command for those who wait for it: its session, seq and content, or an open's nonce. The content,
/// since two programs may share a session (a copied state file): the receipt of the one must not reach the
/// other.
struct Ticket {
  SessionId session;
  std::uint64_t seq = 0;
  std::uint64_t content = 0;  ///< content_of() it
  Nonce nonce{};              ///< zero unless it is an open
  friend bool operator==(const Ticket&, const Ticket&) = default;
};

[[nodiscard]] inline Ticket ticket_of(const CommandView& command) {
  if (const auto* open = std::get_if<Open>(&command.operation))
    return {.session = {}, .seq = 0, .content = 0, .nonce = open->nonce};
  const std::uint64_t content = content_of(command);
  return {.session = command.session, .seq = command.seq, .content = content, .nonce = {}};
}

[[nodiscard]] inline std::uint64_t mix(std::uint64_t h) {
  h = (h ^ h >> 32) * 0xd6e8feb86659fd93ULL;
  return h ^ h >> 32;
}
struct SessionHash {
  std::size_t operator()(const SessionId& id) const {
    return static_cast<std::size_t>(mix(id.slot.n ^ std::uint64_t{id.index} << 40));
  }
};
struct TicketHash {
  std::size_t operator()(const Ticket& t) const {
    std::uint64_t h = (mix(t.session.slot.n ^ std::uint64_t{t.session.index} << 40) + t.seq) ^ t.content;
    for (std::size_t i = 0; i < t.nonce.size(); ++i) h ^= std::uint64_t{t.nonce[i]} << (8 * (i % 8));
    return static_cast<std::size_t>(mix(h));
  }
};

}  // namespace chat
