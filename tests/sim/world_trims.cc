#include <algorithm>

#include "tests/sim/broken.h"
#include "tests/sim/world.h"

/// Logs that are trimmed. What becomes of who needed what is gone: world_snapshots.cc.
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
  s.snapshot_chunk = static_cast<std::size_t>(r.between(512, 16 * 1024));
  Random damage(s.seed ^ 0x6461'6d61'6765'2e2eULL);
  if (damage.chance(100'000)) s.log_damage_one_in = static_cast<std::uint64_t>(damage.between(2, 60));
}

void World::state_durable(Host& host) {
  host.disk.state_durable = host.disk.state_written;
  if (!host.node) return;
  host.node->state_durable(local(host), host.disk.state_durable);
  if (scenario_.log_damage_one_in == 0) return;
  // Up to a slot that it knows to be chosen, the log does not read any more; wherever its state stands.
  Random r(scenario_.seed ^ (host.disk.state_durable.n * 0x9e37'79b9'7f4a'7c15ULL + host.id));
  if (r.below(scenario_.log_damage_one_in) != 0) return;
  const paxos::Slot first = host.node->status().first_slot, chosen = host.node->chosen();
  if (chosen < first) return;
  const paxos::Slot cut = first + 1 + r.below(chosen - first + 1);
  if (saying()) say(name(host.id) + "'s log reads from " + text(cut) + " on only");
  host.node->cut_log(local(host), cut);
}

}  // namespace sim
