#include <utility>

#include "daemon/host.h"
#include "daemon/log.h"

/// Records that do not read any more, found while running: told once, shown, and their consequences drawn.
namespace paxosd {

void Host::on_damage(storage::Damage damage) {
  using Store = storage::Damage::Store;
  const bool fresh = damages_.meet(damage);
  const bool votes = storage::endangers_votes(damage, node_.chosen());
  if (votes && node_.withdrawn().empty())
    node_.withdraw(loop_.now(), "what it promised or voted for is damaged on its disk: " + damage.what);
  else if (!fresh || damages_.full())
    return;
  const auto tell = [&](const char* consequence) {
    daemon_log::write(daemon_log::Level::error,
                      {.event = "damaged", .ballot = {}, .slot = damage.slot.value_or(paxos::Slot{})},
                      damage.what + consequence);
  };
  if (votes)
    tell(". What it promised or voted for may rest on it: it votes no more");
  else if (damage.store == Store::log)
    tell(
        ". A quorum has what stood there, and this replica goes on voting; it can't teach it to others, nor "
        "make its state again from this "
        "log");
  else
    tell(
        ". What can't be read is refused, and this replica goes on voting: the log next to it makes the "
        "state again");
  // A damaged block may hold more than its first slot: those that only votes hold are looked at here and now.
  if (damage.store == Store::log && !votes)
    storage_->read([from = node_.chosen() + 1, to = node_.status().accepted](
                       const storage::Storage::Reader& reader) { (void)reader.log(from, to, SIZE_MAX); });
  if (fresh) damages_.show(std::move(damage));
}

}  // namespace paxosd
