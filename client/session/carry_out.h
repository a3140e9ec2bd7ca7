#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "client/session/outbox.h"

namespace client {

/// Carries out what a turn of an outbox wants, in the order on which exactly once rests: what must be
/// remembered is on disk before anything about it leaves. The programs and the simulator bring their own
///   journal(events, sync) -> tl::expected<void, std::string>: appends; with `sync`, all so far is durable
///   afterwards send(Sending&&), show(Delivery&&).
/// An error of the journal ends it: nothing more is sent or shown.
template <class Journal, class Send, class Show>
[[nodiscard]] tl::expected<void, std::string> carry_out(OutboxOutput&& out, Journal&& journal, Send&& send,
                                                        Show&& show) {
  if (!out.events.empty())
    if (auto stored = journal(out.events, true); !stored) return stored;
  for (Sending& sending : out.sends) send(std::move(sending));
  std::vector<LedgerEvent> shown;
  for (Delivery& delivery : out.deliveries) {
    shown.emplace_back(Answered{delivery.ticket});
    show(std::move(delivery));
  }
  // Unsynced: if it is lost, the message is asked for once more, and its stored answer comes back.
  if (shown.empty()) return {};
  return journal(shown, false);
}

}  // namespace client
