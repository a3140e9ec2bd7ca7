#include "paxos/bounds.h"

#include "paxos/invariant.h"

namespace paxos {

void Bounds::check() const {
  // What may be none would stop everything: the bounds on bytes let one through, whatever its size.
  PAXOS_ASSERT(window_slots > 0 && pipeline_slots > 0 && unapplied_slots > 0 && handed_out_slots > 0);
  PAXOS_ASSERT(window_bytes > 0 && handed_out_bytes > 0);
  PAXOS_ASSERT(promise_entries > 0 && promise_entries <= limits::page_entries_max);
  PAXOS_ASSERT(learn_entries > 0 && learn_entries <= limits::page_entries_max);
  PAXOS_ASSERT(page_bytes <= limits::page_bytes_max);
  PAXOS_ASSERT(accepted_ranges > 0 && accepted_ranges <= limits::accepted_ranges_max);
  PAXOS_ASSERT(hot_slots > 0 && recent_hashes > 0 && trim_stride > 0);
  PAXOS_ASSERT(redo_slots > 0 && redo_slots <= limits::page_entries_max);
  PAXOS_ASSERT(read_rounds > 0 && remote_rounds > 0 && reads_waiting > 0);
}

}  // namespace paxos
