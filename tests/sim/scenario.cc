#include "tests/sim/scenario.h"

#include <algorithm>

namespace sim {

const char* to_string(Fault fault) {
  switch (fault) {
    case Fault::crash:
      return "crash";
    case Fault::crash_at_effect:
      return "crash at an effect";
    case Fault::crash_all:
      return "crash of all";
    case Fault::fail_sync:
      return "failing sync";
    case Fault::slow_disk:
      return "slow disk";
    case Fault::hang_disk:
      return "hung disk";
    case Fault::pause:
      return "pause";
    case Fault::cut_one_way:
      return "one-way cut";
    case Fault::partition:
      return "partition";
    case Fault::flap:
      return "flapping link";
    case Fault::loss_burst:
      return "loss burst";
    case Fault::replay:
      return "replay";
    case Fault::wall_clock:
      return "wall clock";
    case Fault::client_crash:
      return "client crash";
    case Fault::skip:
      return "skip";
    case Fault::hand_over:
      return "hand-over";
    case Fault::campaign:
      return "campaign";
    case Fault::wipe:
      return "wiped directory";
  }
  return "?";
}

Scenario draw_scenario(std::uint64_t seed) {
  Random r(seed);
  Scenario s;
  s.seed = seed;
  static constexpr std::size_t sizes[] = {1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 6, 7, 7};
  s.replicas = sizes[r.below(std::size(sizes))];
  s.clients = 1 + r.below(16);
  s.rooms = 1 + r.below(4);
  s.election_timeout = r.between(100, 500) * millisecond;
  s.heartbeat = s.election_timeout / r.between(4, 6);
  if (r.chance(300'000)) s.clock_drift_ppm = static_cast<std::uint32_t>(r.below(20'000));

  s.delay_min = r.between(10'000, 500'000);
  s.delay_max = s.delay_min + r.between(0, 5 * millisecond);
  if (r.chance(500'000)) s.loss_ppm = static_cast<std::uint32_t>(r.below(300'000));
  if (r.chance(500'000)) s.duplicate_ppm = static_cast<std::uint32_t>(r.below(200'000));
  if (r.chance(500'000)) {
    s.late_ppm = static_cast<std::uint32_t>(r.below(200'000));
    s.late_max = r.between(1, 400) * millisecond;
  }
  if (r.chance(300'000)) s.turn_delay = r.between(0, 2 * millisecond);

  s.sync_min = r.between(50'000, 500'000);
  s.sync_max = s.sync_min + r.between(0, 8 * millisecond);
  s.flush_max = r.between(10, 8000) * millisecond;

  for (unsigned f = 0; f < fault_kinds; ++f)
    if (r.chance(f == static_cast<unsigned>(Fault::crash_all) || f == static_cast<unsigned>(Fault::wipe)
                     ? 200'000
                     : 450'000))
      s.faults.push_back(static_cast<Fault>(f));
  s.fault_every = r.between(300, 1700) * millisecond;
  s.fault_length_max = r.between(50, 5000) * millisecond;
  s.faults_from = r.chance(200'000) ? 0 : 2 * second;
  s.wall_jump_ms_max = r.chance(500'000) ? 5000 : 4 * 24 * 3600 * 1000LL;

  s.safety_length = r.between(60, 70) * second;
  s.posts_per_second = static_cast<std::uint32_t>(r.between(10, 90));
  if (r.chance(400'000)) s.twice_ppm = static_cast<std::uint32_t>(r.below(500'000));
  s.text_bytes_max = r.chance(100'000) ? 16'000 : 100;
  s.lossy_liveness = r.chance(200'000);
  if (r.chance(500'000)) s.hot_slots = static_cast<std::uint64_t>(r.between(1, 64));
  return s;
}

std::string describe(const Scenario& s) {
  std::string out = std::to_string(s.replicas) + " replicas, " + std::to_string(s.clients) +
                    " clients, election timeout " + std::to_string(s.election_timeout / millisecond) +
                    " ms, loss " + std::to_string(s.loss_ppm / 10'000) + " %, faults:";
  for (Fault f : s.faults) out += std::string(" ") + to_string(f) + ",";
  out.pop_back();
  return out;
}

}  // namespace sim
