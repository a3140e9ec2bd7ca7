#pragma once

#include <optional>
#include <string>

#include "paxos/types.h"

namespace storage {

/// A record that does not read as it was written, met by a replica that runs.
struct Damage {
  enum class Store { log, state };
  Store store = Store::log;
  std::optional<paxos::Slot>
      slot;  ///< of the log: the first one that does not read; none: a record about the replica itself
  std::string what;  ///< a sentence with the file or the record

  friend bool operator==(const Damage&, const Damage&) = default;
};

/// Whether the replica must not vote on: what it said that it had promised or voted is not on its disk any
/// more, and nobody else is known to have it. Pure. `chosen`: it knows every slot up to there to be chosen.
///
/// Records about the replica itself (promise, birth, incarnation, boot, group) and votes above `chosen` are
/// such words. A slot up to `chosen` is none: a quorum has it, and a promise of this replica names `chosen`,
/// below which nobody proposes. Rows of the state are none either: the log redoes them.
[[nodiscard]] inline bool endangers_votes(const Damage& damage, paxos::Slot chosen) {
  return damage.store == Damage::Store::log && (!damage.slot || *damage.slot > chosen);
}

}  // namespace storage
