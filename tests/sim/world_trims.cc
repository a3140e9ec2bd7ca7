#include <algorithm>

#include "tests/sim/world.h"

/// Logs that are trimmed, and what becomes of who needed what is gone: it takes the state of a peer. How that
/// comes over the network is modelled here by its outcome alone: rows of one moment, at once.
namespace sim {

void draw_trims(Scenario& s) {
  Random r(s.seed ^ 0x7472'696d'732e'2e2eULL);
  if (!r.chance(600'000)) return;
  // From next to nothing, so that whoever is down for a second is stranded, to what a run hardly exceeds.
  paxos::TrimSlack slack;
  const std::uint64_t which = r.below(3);
  if (which != 0)
    slack.slots = static_cast<std::uint64_t>(r.below(2) == 0 ? r.between(1, 20) : r.between(20, 400));
  if (which != 1) slack.bytes = static_cast<std::uint64_t>(r.between(1, 64)) * 1024;
  s.slack = slack;
  if (s.bounds.trim_stride == paxos::Bounds{}.trim_stride)
    s.bounds.trim_stride = static_cast<std::uint64_t>(r.between(1, 64));
}

void World::state_durable(Host& host) {
  host.disk.state_durable = host.disk.state_written;
  if (host.node) host.node->state_durable(local(host), host.disk.state_durable);
}

void World::want_snapshot(Host& host, const paxos::SnapshotWish& wish) {
  if (host.fetching || wish.from.empty()) return;
  host.fetching = true;
  // The best one mostly; which one it is must not matter.
  const std::uint8_t from =
      random_.below(4) != 0 ? wish.from.front().n : wish.from[random_.below(wish.from.size())].n;
  queue_.push(now_ + random_.between(millisecond, 200 * millisecond),
              {.kind = EventKind::snapshot, .to = host.id, .from = from, .a = host.life, .b = wish.above.n});
}

/// What it promised and voted stays. Its log begins behind the snapshot, or where it had begun.
void World::snapshot(Host& host, const Event& event) {
  host.fetching = false;
  const Host& source = hosts_[event.from];
  // It asks again where the peer is not there (any more), or can't be reached.
  if (!source.node || source.misapplies || source.paused != 0 || cuts_[source.id][host.id] != 0) return;
  const paxos::Slot slot = source.disk.state_written;
  if (slot.n < event.b || slot < host.disk.begins) return;
  if (slot <= host.node->machine().applied()) return;
  hosts_[event.from].node->hold_log(local(source), {host.id}, slot + 1,
                                    local(source) + paxos::Duration{8 * scenario_.election_timeout});
  const auto own = source.disk.own;
  const paxos::Slot hashes = source.disk.hashes_below;
  crash(host, "it has taken a snapshot");
  host.disk.install(slot, own);
  host.disk.hashes_below = hashes;
  ++snapshots_;
  if (saying())
    say("replica " + std::to_string(host.id) + " takes the state of replica " + std::to_string(event.from) +
        " at slot " + std::to_string(slot.n));
  restart_later(host, millisecond);
}

}  // namespace sim
