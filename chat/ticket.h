#pragma once

#include <cstddef>
#include <cstdint>
#include <variant>

#include "chat/command.h"

namespace chat {

/// Names a command for those who wait for it: its session and seq, or an open's nonce.
struct Ticket {
  SessionId session;
  std::uint64_t seq = 0;
  Nonce nonce{};  ///< zero unless it is an open
  friend bool operator==(const Ticket&, const Ticket&) = default;
};

template <class AnyCommand>  // Command or CommandView
[[nodiscard]] Ticket ticket_of(const AnyCommand& command) {
  if (const auto* open = std::get_if<Open>(&command.operation))
    return {.session = {}, .seq = 0, .nonce = open->nonce};
  return {.session = command.session, .seq = command.seq, .nonce = {}};
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
    std::uint64_t h = mix(t.session.slot.n ^ std::uint64_t{t.session.index} << 40) + t.seq;
    for (std::size_t i = 0; i < t.nonce.size(); ++i) h ^= std::uint64_t{t.nonce[i]} << (8 * (i % 8));
    return static_cast<std::size_t>(mix(h));
  }
};

}  // namespace chat
