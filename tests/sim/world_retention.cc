#include <algorithm>

#include "chat/retention.h"
#include "tests/sim/own_rows.h"
#include "tests/sim/world.h"

/// Rooms that forget: who says what they keep, and how replicas take the rest off their modelled disks.
namespace sim {

namespace {
constexpr std::int64_t age_max_ms = 20'000;  ///< above it no rule goes by age: the run would be over
}

void draw_retention(Scenario& s) {
  Random r(s.seed ^ 0x7265'7461'696e'2e2eULL);
  if (!r.chance(300'000)) return;
  s.retain_every = r.between(1, 6) * second;
  s.machine_bounds.rooms_looked_at = static_cast<std::size_t>(r.between(1, 4));
  // By age only where that is less than a run; and never less than a session lives.
  if (r.chance(600'000) && !s.reach_one && s.machine_bounds.session_idle_ms > age_max_ms)
    s.machine_bounds.session_idle_ms = r.between(1000, 8000);
  s.machine_bounds.mark_gap_ms =
      std::max<std::int64_t>(1, s.machine_bounds.session_idle_ms / r.between(8, 64));
}

// --- who says what rooms keep ---

void World::retain() {
  queue_.push(now_ + retain_random_.between(0, 2 * scenario_.retain_every), {.kind = EventKind::retain});
  const auto room = static_cast<std::uint32_t>(retain_random_.below(scenario_.rooms));
  if (!posting_ || observer_.room_head(room) == 0) return;
  start_redactor();
  if (redactor_->pending() > 16) return;
  chat::Retain wanted{.room = Observer::room_name(room), .by = "somebody"};
  const std::uint64_t what = retain_random_.below(8);
  const std::int64_t idle = scenario_.machine_bounds.session_idle_ms;
  if (what == 0) wanted.inherit = true;
  if (what == 1 || what == 2) wanted.room.clear();
  if (what != 0 && what != 3) {  // 3: it keeps everything
    if (idle > age_max_ms || retain_random_.below(3) == 0)
      wanted.count = static_cast<std::uint64_t>(retain_random_.between(1, 40));
    if (idle <= age_max_ms && (wanted.count == 0 || retain_random_.below(3) == 0))
      wanted.age_ms = retain_random_.between(idle, 3 * idle);
  }
  redact_asked_.emplace_back(room, 0);
  redactor_->retain(at_time(now_), std::move(wanted));
  redact_turn();
}

// --- replicas ---

void World::forget(Host& host, const chat::NodeOutput& out) {
  if (host.misapplies) return;
  for (const chat::MessageName& room : out.forget) {
    const VersionedRows::View all(observer_.rows(), host.disk.state_written);
    const OwnRows rows(all, host.disk);
    const std::uint64_t below = chat::forgotten_rows(rows, room.room, room.seq).below;
    if (below != 0) host.disk.swept[room.room].push_back({host.disk.state_written, below});
  }
}

bool World::all_forgotten() const {
  return std::all_of(hosts_.begin(), hosts_.end(),
                     [](const Host& host) { return host.node && host.node->forgetting() == 0; });
}

void World::look_for_forgotten() {
  for (const Host& host : hosts_) {
    const VersionedRows::View all(observer_.rows(), host.disk.state_written);
    observer_.nothing_below(host.id, OwnRows(all, host.disk), *host.node);
  }
}

}  // namespace sim
