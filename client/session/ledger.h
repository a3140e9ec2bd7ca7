#pragma once

#include <cstdint>
#include <deque>
#include <variant>

#include "chat/client_messages.h"

/// What a session must remember across a crash of its client, and the events that change it. The outbox emits
/// events; the state file stores them; folding them gives back what the outbox starts from.
namespace client {

/// A message was taken in. Must be durable before anything about it is sent.
struct Queued {
  std::uint64_t ticket = 0;  ///< 1, 2, 3, … in the order of posting
  chat::Post post;
};
/// A session was opened: the messages that are left get its seqs 1, 2, 3, … in order of their tickets, and so
/// do those that are queued later. Must be durable before one of them is sent.
struct Opened {
  chat::SessionId session;
};
/// The session is of no use any more; what is left has no seq until the next one opens.
struct Abandoned {};
/// The message's fate is known and was handed to the user: delivered or refused.
struct Answered {
  std::uint64_t ticket = 0;
};
using LedgerEvent = std::variant<Queued, Opened, Abandoned, Answered>;

/// Invariants: tickets ascend; with a session, every entry has a seq, ascending without a hole, all below
/// next_seq.
struct Ledger {
  struct Entry {
    std::uint64_t ticket = 0;
    std::uint64_t seq = 0;  ///< 0: no session
    chat::Post post;
  };
  chat::SessionId session;
  std::uint64_t next_seq = 1;
  std::uint64_t next_ticket = 1;
  std::deque<Entry> entries;

  /// False when the event does not fit what came before: the store is damaged.
  [[nodiscard]] bool apply(const LedgerEvent& event);
};

}  // namespace client
