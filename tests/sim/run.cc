#include "tests/sim/run.h"

#include <algorithm>

#include "tests/sim/world.h"

namespace sim {

namespace {

/// What a phase 1 takes longer where the run has pages of a few slots: the window's votes in as many round trips. Shipped pages hold
/// them all. Twice, since a first candidate may give way to a second one.
Nanos paging_time(const Scenario& s) {
  const auto pages = static_cast<Nanos>(paxos::limits::window_slots / s.promise_entries);
  return 2 * pages * 2 * (s.delay_max + s.turn_delay + millisecond);
}

/// What it takes to find out that a path swallows what is above a size: to begin with a doubt, then as many rounds of probes as
/// there are sizes, through links that may lose most of them.
Nanos narrow_time(const Scenario& s) {
  if (!s.narrow || !s.narrow->swallow) return 0;
  return 6 * second + 20 * (s.delay_max + (s.late_ppm != 0 ? s.late_max : 0));
}

/// Everything is well, and who runs which program will not change any more.
void rules_at_the_end(World& world) {
  const Scenario& s = world.scenario();
  const auto all_have = [&](std::uint16_t rules) {
    const auto have = world.rules();
    return std::count(have.begin(), have.end(), rules) == static_cast<std::ptrdiff_t>(have.size());
  };
  if (s.upgrades->never) {
    world.run(world.now() + 8 * s.election_timeout);
    if (!all_have(s.upgrades->from))
      throw Violation("U1: the rules were raised, though replica " + std::to_string(*s.upgrades->never) +
                      " never ran a program that knows the next ones");
  } else if (s.upgrades->finish) {
    // Four for a leader, as ever; the raise itself takes a heartbeat, a decree and a Commit.
    if (!world.run_until(world.now() + 8 * s.election_timeout, [&] { return all_have(s.upgrades->from + 1); }))
      throw Violation("I8: all replicas run the next version, and the rules are not raised within 8 election timeouts");
    if (!world.run_until(world.now() + second, [&] { return world.settled(); }))
      throw Violation("I8: the replicas have not applied the same, 1 s after the rules were raised");
  }
}

void phases(World& world, Result& result) {
  const Scenario& s = world.scenario();
  const auto fail = [](const std::string& what) { throw Violation("I8: " + what); };
  world.begin();
  world.run(s.safety_length);
  if (s.safety_only) return;

  // A cluster that is not born needs every replica once: nothing to demand of a core yet.
  for (std::uint8_t i = 0; i < s.replicas; ++i) {
    if (world.born(i)) continue;
    world.heal_all();
    world.run(world.now() + 3 * second);
    break;
  }

  world.heal_core();
  // Four election timeouts (I8) for a leader that works, and what the slowest clock, the links, the disks
  // and the probe itself add.
  // A heartbeat that is still under way, sent before a clock stood still, counts from when it comes.
  const Nanos bound =
      (s.lossy_liveness ? 60 : 4) * s.election_timeout + paging_time(s) + narrow_time(s) + (s.mixes(Fault::clock_stall) && s.late_ppm != 0 ? s.late_max : 0);
  const Nanos healed = world.now();
  world.start_probe();
  if (!world.run_until(healed + bound, [&] { return world.probe_answered(); }))
    fail("no command was answered within " + std::to_string(bound / millisecond) +
         " ms after a core was healed");
  result.recovery = world.now() - healed;
  world.run(world.now() + 5 * second);
  world.stop_posting();
  if (!world.run_until(world.now() + 60 * second, [&] { return world.pending() == 0; }))
    fail(std::to_string(world.pending()) + " messages have no answer, 60 s after a core was healed");

  world.heal_all();
  if (!world.run_until(world.now() + 60 * second, [&] { return world.settled(); }))
    fail("the replicas have not applied the same, 60 s after everything was healed");
  if (s.upgrades) rules_at_the_end(world);
  world.run(world.now() + second);
  world.observer().all_equal(world.applied());
}

}  // namespace

Result run(const Scenario& scenario, Timeline* timeline) {
  Result result;
  World world(scenario, timeline);
  try {
    phases(world, result);
  } catch (const Violation& violation) {
    result.violation = violation.what();
    result.standing = world.standing();
    world.say("VIOLATION " + result.violation);
  }
  result.trace_hash = world.trace_hash();
  result.length = world.now();
  result.events = world.events();
  result.events_by_kind = world.events_by_kind();
  result.slots = world.observer().applied_max().n;
  result.posted = world.observer().posted();
  result.faults = world.faults_injected();
  result.reassembled = world.reassembled();
  result.narrow_hits = world.narrow_hits();
  result.leaders = world.leader_changes();
  if (const RulesWatch* watch = world.rules_watch()) {
    result.rules = watch->rules();
    result.refusals = watch->refusals();
  }
  return result;
}

}  // namespace sim
