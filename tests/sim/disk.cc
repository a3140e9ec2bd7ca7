#include "tests/sim/disk.h"

#include <algorithm>

namespace sim {

void Disk::apply(const chat::GroupWrite& group) {
  last_group = std::max(last_group, group.group);
  for (const paxos::Record& record : group.records) {
    if (const auto* promise = std::get_if<paxos::PromiseRecord>(&record)) {
      promised = std::max(promised, promise->ballot);
    } else if (const auto* vote = std::get_if<paxos::VoteRecord>(&record)) {
      at(vote->slot) = {.present = true, .learned = false, .ballot = vote->ballot, .decree = vote->decree};
      promised = std::max(promised, vote->ballot);
    } else if (const auto* chosen = std::get_if<paxos::ChosenRecord>(&record)) {
      at(chosen->slot) = {
          .present = true, .learned = true, .ballot = chosen->ballot, .decree = chosen->decree};
    } else if (const auto* mark = std::get_if<paxos::ChosenPrefixRecord>(&record)) {
      prefix = std::max(prefix, mark->slot);
    } else {
      birth = std::get<paxos::BirthRecord>(record);
    }
  }
}

paxos::Recovered Disk::recovered(paxos::Slot applied, const paxos::Hash& hash) const {
  paxos::Recovered out{.incarnation = incarnation,
                       .boot = boot,
                       .birth = birth,
                       .promised = promised,
                       .chosen_prefix = std::max(prefix, applied),
                       .applied = applied,
                       .hash = hash,
                       .first_slot = {1},
                       .last_group = last_group,
                       .entries = {}};
  for (std::uint64_t n = applied.n + 1; n <= log.size(); ++n) {
    const Entry& entry = log[n - 1];
    if (!entry.present) continue;
    out.entries.push_back(
        {paxos::Slot{n}, entry.ballot, entry.learned || n <= out.chosen_prefix.n, entry.decree});
  }
  return out;
}

}  // namespace sim
