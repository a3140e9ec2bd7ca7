#include <algorithm>
#include <utility>

#include "daemon/host.h"
#include "daemon/log.h"

/// Records that do not read any more, found while running: told once, shown, their consequences drawn, and
/// what others have is made good again.
namespace paxosd {

void Host::on_damage(storage::Damage damage) {
  using Store = storage::Damage::Store;
  const bool fresh = damages_.meet(damage);
  const bool votes = storage::endangers_votes(damage, node_.chosen());
  if (damage.store == Store::log && !votes) cut_log_behind(*damage.slot);
  if (damage.store == Store::state) repairs_.state_damaged(damage.what);
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
        ". A quorum has what stood there, and this replica goes on voting; its log is trimmed to begin "
        "behind it, "
        "once its state has it on the disk");
  else
    tell(
        ". What can't be read is refused, and this replica goes on voting; it makes its state again as soon "
        "as the "
        "others can do without it for a while");
  if (fresh) damages_.show(std::move(damage));
}

void Host::cut_log_behind(paxos::Slot damaged) {
  if (!repairs_.begin_look()) return;
  storage_->read([this, damaged, chosen = node_.chosen(),
                  accepted = node_.status().accepted](const storage::Storage::Reader& reader) {
    // A damaged block may hold more than its first slot.
    paxos::Slot first = damaged + 1;
    for (std::uint64_t step = 1; first <= chosen && !reader.log(first, first, 1); step *= 2) first.n += step;
    // Those that only votes hold are looked at here and now.
    (void)reader.log(chosen + 1, accepted, SIZE_MAX);
    mailbox_.push([this, first = std::min(first, chosen + 1)] {
      repairs_.looked(first);
      node_.cut_log(loop_.now(), first);
    });
  });
}

void Host::repair(paxos::Time now) {
  if (end_.exit_code != 0 || !repairs_.due(now)) return;
  if (const paxos::Slot cut = repairs_.cut(); !cut.none() && !damages_.shown().empty()) {
    const paxos::Slot first = node_.status().first_slot;
    if (first >= cut && damages_.trimmed(first))
      daemon_log::tell(
          {.name = "repaired",
           .text = "its log begins at slot " + std::to_string(first.n) + " now: what did not read is trimmed",
           .ballot = {},
           .slot = first});
  }
  if (const paxos::Slot applied = node_.machine().applied(); repairs_.done_at(applied)) {
    storage_->drop_put_aside();
    daemon_log::tell({.name = "repaired",
                      .text = "its state is whole again, up to slot " + std::to_string(applied.n),
                      .ballot = {},
                      .slot = applied});
  }
  if (repairs_.state().empty()) return;
  const paxos::Status status = node_.status();
  const bool alone = status.configuration.members.size() < 2;
  std::string obstacle;
  if (!node_.withdrawn().empty())
    obstacle = "this replica votes no more";
  else if (options_.renewed && now - *options_.renewed < Repairs::renewal_rest)
    obstacle = "it was made again within the last hour, and does not read again: look at the disk";
  else if (repairs_.makes_state() || status.snapshot_wanted || snapshots_.pulls())
    obstacle = "another state is on its way";
  else if (status.first_slot > paxos::Slot{1} && alone)
    obstacle = "its log was trimmed, and nobody else has the state";
  else if (const chat::Standing& standing = node_.last_standing();
           !standing.quorum_connected || !standing.missing.empty())
    obstacle = "not all voters are there, and they may need this one";
  else if (!standing.full.empty())
    obstacle = "a disk is full";
  if (!obstacle.empty()) {
    if (repairs_.tell(obstacle)) daemon_log::warning("its state is not made again yet: {}", obstacle);
    return;
  }
  options_.renew_state = repairs_.state();
  options_.renewed = now;
  begin_anew();
}

void Host::read_some(paxos::Time now) {
  const auto from = scrub_.due(now);
  if (!from) return;
  if (scrub_.begins()) daemon_log::info("reads all of its disk, to see whether it reads");
  const auto post = [this](Scrub::Page page) {
    mailbox_.push([this, page = std::move(page)]() mutable {
      if (!scrub_.page_read(loop_.now(), std::move(page))) return;
      daemon_log::info(
          "has read all of its disk, {} MiB{}", scrub_.figures().bytes >> 20,
          damages_.shown().empty() ? ": all of it reads" : "; `paxosctl status` says what does not read");
      storage_->read(
          [directory = options_.directory](const storage::Storage::Reader&) { note_scrub(directory); });
    });
  };
  storage_->read(
      [post, from = *from, accepted = node_.status().accepted](const storage::Storage::Reader& reader) {
        post(Scrub::read_page(reader, from, accepted));
      },
      // The state is made again, all of it.
      [post](const std::string&) {
        post({.next = {.part = Scrub::Place::Part::end, .slot = {}, .row = {}}, .bytes = 0});
      });
}

}  // namespace paxosd
