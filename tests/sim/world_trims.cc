#include <algorithm>

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
}

void World::state_durable(Host& host) {
  host.disk.state_durable = host.disk.state_written;
  if (host.node) host.node->state_durable(local(host), host.disk.state_durable);
}

}  // namespace sim
