#include "client/session/ledger.h"

#include <algorithm>

namespace client {

bool Ledger::apply(const LedgerEvent& event) {
  if (const auto* queued = std::get_if<Queued>(&event)) {
    if (queued->ticket != next_ticket) return false;
    ++next_ticket;
    entries.push_back({queued->ticket, session.none() ? 0 : next_seq++, queued->post});
    return true;
  }
  if (const auto* opened = std::get_if<Opened>(&event)) {
    if (opened->session.none()) return false;
    session = opened->session;
    next_seq = 1;
    for (Entry& entry : entries) entry.seq = next_seq++;
    return true;
  }
  if (std::holds_alternative<Abandoned>(event)) {
    session = {};
    next_seq = 1;
    for (Entry& entry : entries) entry.seq = 0;
    return true;
  }
  const std::uint64_t ticket = std::get<Answered>(event).ticket;
  const auto at =
      std::find_if(entries.begin(), entries.end(), [&](const Entry& e) { return e.ticket == ticket; });
  // Twice is fine: a fate that is known before its turn to be shown is stored early, too.
  if (at == entries.end()) return ticket != 0 && ticket < next_ticket;
  entries.erase(at);
  return true;
}

}  // namespace client
