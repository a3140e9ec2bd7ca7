#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <sstream>

#include "tests/sim/minimise.h"
#include "tests/sim/run.h"
#include "tests/sim/world.h"

namespace sim {
namespace {

TEST(Simulator, OneSeedIsOneRun) {
  for (const std::uint64_t seed : {3, 5, 17}) {
    const Result first = run_seed(seed, nullptr);
    Timeline timeline;
    const Result second = run_seed(seed, &timeline);
    EXPECT_EQ(first.trace_hash, second.trace_hash) << "seed " << seed << ": watching a run changes it";
    EXPECT_EQ(first.events, second.events);
    EXPECT_EQ(first.violation, "");
    EXPECT_FALSE(timeline.empty());
  }
}

TEST(Simulator, SeedsDiffer) {
  std::set<std::uint64_t> traces;
  for (std::uint64_t seed = 100; seed < 104; ++seed) traces.insert(run_seed(seed, nullptr).trace_hash);
  EXPECT_EQ(traces.size(), 4u);
}

TEST(Simulator, EveryFaultIsDrawnBySomeSeed) {
  std::set<Fault> seen;
  std::set<std::size_t> sizes;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const Scenario scenario = draw_scenario(seed);
    seen.insert(scenario.faults.begin(), scenario.faults.end());
    sizes.insert(scenario.replicas);
  }
  EXPECT_EQ(seen.size(), fault_kinds);
  EXPECT_EQ(sizes, (std::set<std::size_t>{1, 2, 3, 4, 5, 6, 7}));
}

TEST(Simulator, LostDirectoriesAreReplacedAgainAndAgain) {
  std::size_t runs = 0;
  for (std::uint64_t seed = 1; runs < 2; ++seed) {
    const Scenario scenario = draw_scenario(seed);
    if (!scenario.mixes(Fault::lose)) continue;
    ++runs;
    const Result result = run(scenario, nullptr);
    EXPECT_EQ(result.violation, "") << "seed " << seed;
    EXPECT_GE(result.changes, 3U) << "seed " << seed;
  }
}

// --- the minimiser ---

/// A seed in whose schedule each of `kinds` stands at least `times` times, among dozens of faults.
Scenario with_faults(std::initializer_list<Fault> kinds, std::ptrdiff_t times) {
  for (std::uint64_t seed = 1;; ++seed) {
    Scenario scenario = draw_scenario(seed);
    if (scenario.schedule.size() < 40 || scenario.faults.size() < 6) continue;
    if (std::all_of(kinds.begin(), kinds.end(), [&](Fault kind) {
          return std::count_if(scenario.schedule.begin(), scenario.schedule.end(),
                               [&](const PlannedFault& f) { return f.kind == kind; }) >= times;
        }))
      return scenario;
  }
}

TEST(Minimiser, LeavesTheFaultsThatTheFailureNeedsAndNothingElse) {
  Scenario scenario = with_faults({Fault::partition, Fault::crash}, 3);
  scenario.pretend = {Fault::crash, Fault::partition, Fault::crash};
  const Trial seen = try_run(scenario);
  ASSERT_TRUE(seen.violation.starts_with("I0:")) << seen.violation;
  const Minimised less = minimise(scenario, {}, seen, {.runs = 200, .seconds = 600});
  const Scenario left = reduce(scenario, less.reduction);
  std::multiset<Fault> kinds;
  for (const PlannedFault& fault : left.schedule) kinds.insert(fault.kind);
  EXPECT_EQ(kinds, (std::multiset<Fault>{Fault::crash, Fault::crash, Fault::partition}));
  EXPECT_EQ(left.clients, 1u);
  EXPECT_EQ(left.loss_ppm + left.duplicate_ppm + left.late_ppm + left.twice_ppm, 0u);
  EXPECT_LE(left.safety_length, seen.at + 1000);
  EXPECT_LT(less.runs, 200u);

  // What it prints replays it.
  Reduction parsed;
  std::istringstream flags(to_flags(less.reduction));
  for (std::string flag, value; flags >> flag >> value;) EXPECT_TRUE(parse_flag(flag, value, parsed)) << flag;
  EXPECT_EQ(to_flags(parsed), to_flags(less.reduction));
  EXPECT_EQ(try_run(reduce(scenario, parsed)).violation, less.violation);
}

TEST(Minimiser, KeepsTheBoundOnRuns) {
  Scenario scenario = with_faults({Fault::crash}, 6);
  scenario.pretend.assign(6, Fault::crash);
  const Trial seen = try_run(scenario);
  const Minimised less = minimise(scenario, {}, seen, {.runs = 5, .seconds = 600});
  EXPECT_LE(less.runs, 5u);
  EXPECT_TRUE(same_failure(try_run(reduce(scenario, less.reduction)).violation, seen.violation));
}

TEST(Minimiser, TellsFailuresApart) {
  EXPECT_TRUE(same_failure("I1: slot 7", "I1: slot 9"));
  EXPECT_FALSE(same_failure("I1: slot 7", "I2: slot 7"));
  EXPECT_FALSE(same_failure("I1: slot 7", "abort: a.cc:7: broken invariant: x"));
  EXPECT_TRUE(same_failure("abort: a.cc:7: broken invariant: x\n", "abort: a.cc:7: broken invariant: x\n"));
  EXPECT_FALSE(same_failure("", ""));
}

TEST(Timeline, ShowsWhatTheViolationNames) {
  Timeline timeline;
  const auto accept = [&](std::uint64_t slot) {
    Timeline::Line line{.at = 0, .topic = {}, .slots = {}, .text = "0 says to 1: "};
    if (tell(paxos::PeerMessage(paxos::Accept{{3, {1}}, {slot}, {}, {}}), line)) timeline.add(line);
  };
  accept(7);
  accept(8);
  timeline.add({.at = millisecond, .topic = Topic::life, .slots = {}, .text = "replica 2 dies"});
  const std::string text = timeline.relevant("I1: slot 8 was chosen twice", 10);
  EXPECT_EQ(text.find("slot 7"), std::string::npos) << text;
  EXPECT_NE(text.find("Accept 3.1 slot 8 no-op"), std::string::npos) << text;
  EXPECT_NE(text.find("replica 2 dies"), std::string::npos) << text;
  EXPECT_NE(timeline.relevant("I8: nothing moves", 10).find("slot 7"), std::string::npos);
}

// The observer must see what it is there for.

paxos::Decree decree(const char* text) { return {paxos::DecreeKind::commands, paxos::Bytes::copy_of(text)}; }

chat::GroupWrite vote(std::uint64_t group, paxos::Slot slot, paxos::Ballot ballot, const paxos::Decree& d) {
  chat::GroupWrite out{.group = group, .records = {}, .send_after_sync = {}};
  out.records.emplace_back(paxos::VoteRecord{slot, ballot, d});
  return out;
}

TEST(Observer, SeesASecondDecreeChosenInASlot) {
  Observer observer(3, 1, 1);
  const Disk disk;
  observer.group_durable(0, vote(1, {1}, {1, {0}}, decree("a")), disk);
  observer.group_durable(1, vote(1, {1}, {1, {0}}, decree("a")), disk);
  observer.group_durable(1, vote(2, {1}, {2, {1}}, decree("b")), disk);
  EXPECT_THROW(observer.group_durable(2, vote(1, {1}, {2, {1}}, decree("b")), disk), Violation);
}

TEST(Observer, SeesAnAcceptedWithoutADurableVote) {
  Observer observer(3, 1, 1);
  const Disk disk;
  const paxos::Envelope accepted{paxos::ReplicaId{0}, paxos::Accepted{{1, {0}}, {{{1}, {1}}}}};
  EXPECT_THROW(observer.leaves(1, accepted, disk, false), Violation);
  observer.group_durable(1, vote(1, {1}, {1, {0}}, decree("a")), disk);
  EXPECT_NO_THROW(observer.leaves(1, accepted, disk, false));
}

TEST(Observer, SeesAPromiseThatGoesBack) {
  Observer observer(3, 1, 1);
  Disk disk;
  disk.promised = {5, {2}};
  EXPECT_THROW(observer.group_durable(1, vote(1, {1}, {4, {0}}, decree("a")), disk), Violation);
}

TEST(Observer, SeesACommitThatNoQuorumVotedFor) {
  Observer observer(3, 1, 1);
  const Disk disk;
  observer.group_durable(0, vote(1, {1}, {1, {0}}, decree("a")), disk);
  EXPECT_THROW(observer.leaves(0, {std::nullopt, paxos::Commit{{1, {0}}, {1}}}, disk, false), Violation);
}

TEST(Observer, SeesAWipedReplicaThatTakesPart) {
  Observer observer(3, 1, 1);
  const Disk disk;
  EXPECT_THROW(observer.leaves(0, {paxos::ReplicaId{1}, paxos::HeartbeatRequest{7}}, disk, true), Violation);
}

TEST(Observer, SeesVotesThatTheirConfigurationDoesNotAllow) {
  const auto named = [](std::uint8_t n) {
    paxos::Incarnation out;
    out.bytes[0] = n;
    return out;
  };
  std::vector<Disk> disks(4);
  for (std::uint8_t id = 0; id < 4; ++id) disks[id].incarnation = named(id + 1);  // 3: another one for 2
  const auto first = paxos::Configuration::of_birth({named(1), named(2), named(3)});
  const paxos::Decree change = paxos::make_configuration_decree(first.with_incarnation({2}, named(4)));
  // Slot 1 is chosen, and closes the first configuration; everybody has applied it.
  const auto begun = [&] {
    auto observer = std::make_unique<Observer>(3, 1, 1);
    chat::GroupWrite birth{.group = 1, .records = {}, .send_after_sync = {}};
    birth.records.emplace_back(paxos::BirthRecord{{named(1), named(2), named(3)}, true});
    observer->group_durable(0, birth, disks[0]);
    for (std::uint8_t id = 0; id < 2; ++id) {
      const chat::GroupWrite group = vote(2, {1}, {1, {0}}, change);
      observer->group_durable(id, group, disks[id]);
      Disk after = disks[id];
      after.apply(group);
      if (id == 1) observer->applied(id, {{1}, {}}, after);
    }
    EXPECT_EQ(observer->changes(), 1U);
    return observer;
  };
  const paxos::Ballot next{2, {0}, 2};
  EXPECT_NO_THROW(begun()->group_durable(2, vote(3, {2}, next, decree("a")), disks[3]));
  EXPECT_THROW(begun()->group_durable(2, vote(3, {2}, next, decree("a")), disks[2]), Violation)
      << "a directory that was replaced";
  EXPECT_THROW(begun()->group_durable(0, vote(3, {1}, next, change), disks[0]), Violation)
      << "a slot of the configuration before";
  EXPECT_THROW(begun()->group_durable(0, vote(3, {2}, {3, {0}, 3}, decree("a")), disks[0]), Violation)
      << "a configuration that nobody decided";
  const auto closed = begun();
  closed->group_durable(0, vote(3, {2}, {3, {0}}, decree("a")), disks[0]);
  EXPECT_THROW(closed->group_durable(1, vote(3, {2}, {3, {0}}, decree("a")), disks[1]), Violation)
      << "two decrees may be chosen in one slot";
}

// --- the modelled disk ---

TEST(Disk, GivesWhatWasSyncedOrRefuses) {
  unsigned refused = 0;
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    Random random(seed);
    Disk disk;
    disk.incarnation.bytes[0] = 1;
    std::uint64_t slot = 0;
    std::uint64_t group = 0;
    for (unsigned start = 0; start < 3; ++start) {
      const std::uint64_t boot = disk.boot;
      const auto opened = disk.open({1}, {}, {});
      ASSERT_TRUE(opened) << "seed " << seed << ": " << opened.error();
      EXPECT_EQ(opened->boot, boot + 1);
      EXPECT_EQ(opened->last_group, group);
      for (std::uint64_t writes = random.below(4); writes > 0; --writes) {
        std::vector<chat::GroupWrite> groups;
        for (std::uint64_t n = 1 + random.below(3); n > 0; --n) {
          ++slot;
          groups.push_back(vote(++group, {slot}, {1 + random.below(2) + start * 2, {0}}, decree("a")));
          disk.apply(groups.back());
        }
        disk.write(groups, true);
      }
      // A write that is cut is nobody's loss.
      if (random.below(2) == 0) disk.tear(vote(group + 1, {slot + 1}, {9, {0}}, decree("torn")), random);
    }
    const paxos::Recovered truth = disk.recovered({}, {});
    if (disk.rot(random).empty()) continue;
    const auto opened = disk.open({1}, {}, {});
    if (!opened) {
      ++refused;
      disk.repair();
      const auto mended = disk.open({1}, {}, {});
      ASSERT_TRUE(mended) << "seed " << seed << ": " << mended.error();
      EXPECT_EQ(mended->entries, truth.entries) << "seed " << seed;
      continue;
    }
    EXPECT_EQ(opened->promised, truth.promised) << "seed " << seed;
    EXPECT_EQ(opened->last_group, truth.last_group) << "seed " << seed;
    EXPECT_EQ(opened->entries, truth.entries) << "seed " << seed;
  }
  EXPECT_GT(refused, 1000u);
}

}  // namespace
}  // namespace sim
