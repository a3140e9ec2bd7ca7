#include <algorithm>
#include <utility>

#include "daemon/host.h"
#include "daemon/log.h"

/// Records that do not read any more, found while running: told once, shown, and their consequences drawn.
namespace paxosd {

namespace {
/// So many different ones are told and shown; a disk that fails whole has no end of them.
constexpr std::size_t damages_told_max = 8;
}  // namespace

void Host::on_damage(storage::Damage damage) {
  using Store = storage::Damage::Store;
  ++(damage.store == Store::log ? damaged_log_reads_ : damaged_state_reads_);
  const bool votes = storage::endangers_votes(damage, node_.chosen());
  const auto same = [&](const storage::Damage& told) { return told.store == damage.store && told.what == damage.what; };
  const bool fresh = std::none_of(damages_.begin(), damages_.end(), same);
  if (votes && node_.withdrawn().empty())
    node_.withdraw(loop_.now(), "what it promised or voted for is damaged on its disk: " + damage.what);
  else if (!fresh || damages_.size() >= damages_told_max)
    return;
  const auto tell = [&](const char* consequence) {
    daemon_log::write(daemon_log::Level::error, {.event = "damaged", .ballot = {}, .slot = damage.slot.value_or(paxos::Slot{})},
                      damage.what + consequence);
  };
  if (votes)
    tell(". What it promised or voted for may rest on it: it votes no more");
  else if (damage.store == Store::log)
    tell(". A quorum has what stood there, and this replica goes on voting; it can't teach it to others, nor make its state again from this "
         "log");
  else
    tell(". What can't be read is refused, and this replica goes on voting: the log next to it makes the state again");
  // A damaged block may hold more than its first slot: those that only votes hold are looked at here and now.
  if (damage.store == Store::log && !votes)
    storage_->read([from = node_.chosen() + 1, to = node_.status().accepted](const storage::Storage::Reader& reader) {
      (void)reader.log(from, to, SIZE_MAX);
    });
  if (fresh && damages_.size() < damages_told_max) damages_.push_back(std::move(damage));
}

}  // namespace paxosd
