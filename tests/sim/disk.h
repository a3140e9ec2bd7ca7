#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "chat/node.h"
#include "paxos/records.h"

namespace sim {

/// One replica's modelled data directory: what is durable, and the groups that are written but not synced.
/// A group is atomic and groups are ordered, so what a crash leaves of the unsynced ones is a prefix; a group
/// that was torn is dropped whole, as its checksum demands.
class Disk {
 public:
  struct Entry {
    bool present = false;
    bool learned = false;  ///< by a ChosenRecord
    paxos::Ballot ballot;
    paxos::Decree decree;
  };

  paxos::Incarnation incarnation;
  std::uint64_t boot = 0;
  std::optional<paxos::BirthRecord> birth;
  paxos::Ballot promised;
  paxos::Slot prefix;            ///< of the last ChosenPrefixRecord
  std::vector<Entry> log;        ///< [i] is slot i + 1
  std::uint64_t last_group = 0;  ///< the last durable one
  paxos::Slot state_written;     ///< rows handed over up to here
  paxos::Slot state_durable;     ///< rows that a crash leaves
  std::deque<chat::GroupWrite> pending;

  void apply(const chat::GroupWrite& group);
  [[nodiscard]] const Entry* find(paxos::Slot slot) const {
    if (slot.none() || slot.n > log.size() || !log[slot.n - 1].present) return nullptr;
    return &log[slot.n - 1];
  }
  /// As storage/ gives it to a starting replica whose state stands at `applied`.
  [[nodiscard]] paxos::Recovered recovered(paxos::Slot applied, const paxos::Hash& hash) const;

 private:
  Entry& at(paxos::Slot slot) {
    if (log.size() < slot.n) log.resize(slot.n);
    return log[slot.n - 1];
  }
};

}  // namespace sim
