#include "chat/bounds.h"

#include "paxos/invariant.h"

namespace chat {

void MachineBounds::check() const {
  PAXOS_ASSERT(sessions > 0 && rooms > 0 && session_idle_ms > 0);
  PAXOS_ASSERT(mark_gap_ms > 0 && rooms_looked_at > 0);
  PAXOS_ASSERT(journal_slots > 0 && journal_slots <= limits::journal_slots);
  PAXOS_ASSERT(outstanding > 0 && outstanding <= limits::outstanding_max);
  // The session that has just answered never makes room for itself.
  PAXOS_ASSERT(answers > outstanding);
}

void NodeBounds::check() const {
  PAXOS_ASSERT(waiters > 0 && noticed > 0 && queue_commands > 0 && under_way > 0 && held_per_session > 0);
  // Any one command finds room where nothing else is.
  PAXOS_ASSERT(queue_bytes >= limits::command_bytes_max);
  PAXOS_ASSERT(batch_commands > 0 && batch_commands <= limits::commands_per_decree_max);
  PAXOS_ASSERT(batch_bytes <= paxos::limits::decree_bytes_max);
  PAXOS_ASSERT(forward_commands > 0 && forward_commands <= paxos::limits::forward_commands_max);
  PAXOS_ASSERT(receipts_per_reply > 0 && receipts_per_reply <= limits::commands_per_decree_max);
  PAXOS_ASSERT(polls > 0 && reads > 0 && fetches > 0);
  PAXOS_ASSERT(push_messages > 0 && push_messages <= limits::page_messages_max);
  PAXOS_ASSERT(push_bytes <= limits::page_bytes_max);
  PAXOS_ASSERT(turn_slots > 0 && turn_bytes > 0 && turn_rows_bytes > 0);
}

}  // namespace chat
