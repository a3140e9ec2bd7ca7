#include "tests/sim/run.h"

#include <algorithm>

#include "tests/sim/world.h"

namespace sim {

namespace {

/// What a phase 1 takes longer where the run has pages of a few slots: the window's votes in as many round
/// trips. Shipped pages hold them all. Twice, since a first candidate may give way to a second one.
Nanos paging_time(const Scenario& s) {
  const auto pages = static_cast<Nanos>(s.bounds.window_slots / s.bounds.promise_entries);
  return 2 * pages * 2 * (s.delay_max + s.turn_delay + millisecond);
}

/// And where a replica learns few slots at a time: as many round trips as whoever lags most has to go, each
/// with a sync before the next one where little may be on its way to the disk, or wait to be applied.
Nanos learning_time(const World& world) {
  const Scenario& s = world.scenario();
  if (!s.small_bounds) return 0;
  const paxos::Bounds& b = s.bounds;
  const paxos::Bounds shipped;
  const bool few_bytes = b.page_bytes < shipped.page_bytes || b.unapplied_bytes < shipped.unapplied_bytes ||
                         b.unsynced_bytes < shipped.unsynced_bytes;
  const std::uint64_t slots =
      few_bytes ? 1 : std::min<std::uint64_t>(b.learn_entries, (b.unapplied_slots + 1) / 2);
  // A page that gets lost, or a part of it, is asked for again after a pull's patience.
  const Nanos lost = (s.lossy_liveness ? 100 : 10) * millisecond;
  return static_cast<Nanos>(world.lag() / slots) * (2 * (s.delay_max + s.turn_delay) + s.sync_max + lost);
}

/// And where one redoes its own log in small pages: a read of the disk each.
Nanos redo_time(const World& world) {
  const Scenario& s = world.scenario();
  const std::uint64_t slots =
      s.bounds.page_bytes < paxos::Bounds{}.page_bytes ? 1 : std::min<std::uint64_t>(s.bounds.redo_slots, 16);
  return static_cast<Nanos>(world.to_redo() / slots) * (2 * millisecond + 2 * s.turn_delay);
}

/// The shipped bounds are related (paxos/bounds.h): whoever is a window behind still votes, and a page holds
/// any decree. Where a run draws others, what a replica has no room for is dropped and said again after
/// growing pauses. It gets there, later.
bool unrelated(const Scenario& s) {
  const paxos::Bounds& b = s.bounds;
  const std::size_t decree =
      std::max(std::min(s.node_bounds.batch_bytes, s.machine_bounds.outstanding * (s.text_bytes_max + 256)),
               s.text_bytes_max + 256);
  return b.unapplied_slots < 2 * b.window_slots ||
         b.unapplied_bytes < 2 * std::min(b.window_bytes, b.window_slots * decree) ||
         b.unsynced_bytes < b.window_bytes + b.unapplied_slots * paxos::limits::record_overhead_bytes ||
         b.after_sync_bytes < s.replicas * b.page_bytes || b.page_bytes < decree || b.window_bytes < decree ||
         s.node_bounds.queue_commands < s.clients || s.node_bounds.under_way < s.clients;
}

/// What it takes to find out that a path swallows what is above a size: to begin with a doubt, then as many
/// rounds of probes as there are sizes, through links that may lose most of them.
Nanos narrow_time(const Scenario& s) {
  if (!s.narrow || !s.narrow->swallow) return 0;
  return 6 * second + 20 * (s.delay_max + (s.late_ppm != 0 ? s.late_max : 0));
}

/// Everything is well. Then disks fill up, of some or of all: nothing new is decided, everybody is told so,
/// and can read; and once there is room again, writing goes on by itself.
void full_disks_at_the_end(World& world) {
  const Scenario& s = world.scenario();
  const auto fail = [](const std::string& what) { throw Violation("I8: " + what); };
  const Nanos slack = 4 * (s.delay_max + s.turn_delay + s.sync_max) + 50 * millisecond;
  const std::size_t quorum = s.replicas / 2 + 1;
  world.fill_all_but(world.random().below(quorum));
  world.run(world.now() + 4 * s.election_timeout);
  const paxos::Slot before = world.observer().applied_max();
  world.start_read_probe();
  if (!world.run_until(world.now() + 4 * s.election_timeout + slack, [&] { return world.reads_answered(); }))
    fail("disks are full, and not every replica confirms a read within 4 election timeouts");
  world.start_probe();
  world.run(world.now() + 4 * s.election_timeout);
  if (world.probe_answered() || world.observer().applied_max() != before)
    fail("disks are full, and something new was decided");
  if (!world.told_full()) fail("disks are full, and nobody says so to who wants to write");
  world.empty_disks();
  if (!world.run_until(world.now() + 2 * s.election_timeout + slack, [&] { return world.probe_answered(); }))
    fail("disks have room again, and no command is answered within 2 election timeouts");
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
    if (!world.run_until(world.now() + 8 * s.election_timeout,
                         [&] { return all_have(s.upgrades->from + 1); }))
      throw Violation(
          "I8: all replicas run the next version, and the rules are not raised within 8 election timeouts");
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
  const Nanos learning = learning_time(world) + redo_time(world);
  // A heartbeat that is still under way, sent before a clock stood still, counts from when it comes.
  const bool slow = s.small_bounds && unrelated(s);
  const Nanos patience = (slow ? 300 : 60) * second;
  const Nanos bound = (s.lossy_liveness || slow ? 60 : 4) * s.election_timeout + paging_time(s) +
                      narrow_time(s) + learning +
                      (s.mixes(Fault::clock_stall) && s.late_ppm != 0 ? s.late_max : 0);
  const Nanos healed = world.now();
  const std::uint64_t installed = world.snapshots();
  world.start_probe();
  bool answered = world.run_until(healed + bound, [&] { return world.probe_answered(); });
  // Of a core that had to take a state as a snapshot first one began anew in the middle of it.
  if (!answered && world.snapshots() != installed)
    answered = world.run_until(world.now() + bound + 5 * second, [&] { return world.probe_answered(); });
  if (!answered)
    fail("no command was answered within " + std::to_string(bound / millisecond) +
         " ms after a core was healed");
  result.recovery = world.now() - healed;
  world.run(world.now() + 5 * second);
  world.stop_posting();
  if (!world.run_until(world.now() + patience + learning, [&] { return world.pending() == 0; }))
    fail(std::to_string(world.pending()) + " messages have no answer, " + std::to_string(patience / second) +
         " s after a core was healed");

  world.heal_all();
  if (!world.run_until(world.now() + patience + learning_time(world) + redo_time(world),
                       [&] { return world.settled(); }))
    fail("the replicas have not applied the same, " + std::to_string(patience / second) +
         " s after everything was healed");
  if (s.upgrades) rules_at_the_end(world);
  if (s.reach_one) {
    // A command reaches the leader through whatever replica its client reaches, and so does its answer.
    world.reach_one();
    if (!world.run_until(world.now() + 30 * second, [&] { return world.pending() == 0; }))
      fail(std::to_string(world.pending()) +
           " messages have no answer, 30 s after all was well, where each client reaches one replica");
    if (!world.run_until(world.now() + 10 * second, [&] { return world.settled(); }))
      fail("the replicas have not applied the same, 10 s after the last message was answered");
  }
  if (s.mixes(Fault::fill) && !s.upgrades && !slow && !s.narrow) full_disks_at_the_end(world);
  if (!world.run_until(world.now() + 10 * second, [&] { return world.all_followed(); }))
    fail("who follows a room has not got its last message, 10 s after all was well");
  if (!world.run_until(world.now() + 60 * second, [&] { return world.all_erased(); }))
    fail("what was redacted is not off all disks, 60 s after all was well");
  if (!world.run_until(world.now() + 60 * second, [&] { return world.all_forgotten(); }))
    fail("what rooms have forgotten is not off all disks, 60 s after all was well");
  world.run(world.now() + second);
  // A probe's last command may have come in that second, which nobody waits for; what rooms forget by it goes
  // from the disks a second later.
  if (!world.run_until(world.now() + 10 * second,
                       [&] { return world.settled() && world.all_erased() && world.all_forgotten(); }))
    fail("what the last commands took out of rooms is not off all disks, 10 s later");
  world.observer().all_equal(world.applied());
  world.look_for_redacted();
  world.look_for_forgotten();
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
  result.snapshots = world.snapshots();
  result.changes = world.changes();
  result.leaders = world.leader_changes();
  result.bounds_reached = world.bounds_reached();
  if (const RulesWatch* watch = world.rules_watch()) {
    result.rules = watch->rules();
    result.refusals = watch->refusals();
  }
  return result;
}

}  // namespace sim
