#include "tests/sim/rules_watch.h"

#include <gtest/gtest.h>

#include "tests/sim/observer.h"
#include "tests/sim/run.h"

/// What watches upgrades must see what it is there for, and nothing else. The rows are those of a real
/// machine.
namespace sim {
namespace {

constexpr Nanos timeout = 100 * millisecond;

/// Three replicas, and the log that they apply.
struct Watched {
  RulesWatch watch{3, timeout};
  chat::Machine machine{chat::rules_rehearsal};

  void all_say(std::uint16_t rules, Nanos now) {
    for (std::uint8_t replica = 0; replica < 3; ++replica) watch.says(replica, rules, rules, now);
  }
  void propose(std::uint8_t replica, std::uint64_t slot, Nanos now, paxos::Ballot ballot,
               std::uint16_t program = 2) {
    chat::NodeOutput out;
    out.groups.push_back({.group = 1, .records = {}, .send_after_sync = {}});
    out.groups[0].records.emplace_back(paxos::VoteRecord{{slot}, ballot, chat::make_rules_decree(2)});
    watch.proposes(replica, program, now, out);
  }
  chat::StateWrite next(const paxos::Decree& decree) {
    const paxos::Slot slot = machine.applied() + 1;
    return {slot, machine.apply(slot, decree).rows};
  }
  void apply(const paxos::Decree& decree, std::uint16_t program = 2) {
    const Disk::Entry entry{.present = true, .learned = true, .ballot = {1, {0}}, .decree = decree};
    watch.applies(0, program, next(decree), &entry);
  }
};

TEST(RulesWatch, SeesARaiseForWhichOneHasNotSpoken) {
  Watched w;
  w.watch.says(1, 2, 2, 0);
  EXPECT_THROW(w.propose(0, 7, timeout, {1, {0}}), Violation);
}

TEST(RulesWatch, SeesARaiseForWhichOneSpokeTooLongAgo) {
  Watched w;
  w.all_say(2, 0);
  EXPECT_THROW(w.propose(0, 7, 2 * timeout, {1, {0}}), Violation);
}

TEST(RulesWatch, LetsAnybodyProposeAgainWhatPhase1Adopted) {
  Watched w;
  w.all_say(2, 0);
  EXPECT_NO_THROW(w.propose(0, 7, timeout, {1, {0}}));
  EXPECT_TRUE(w.watch.proposed(2));
  EXPECT_NO_THROW(w.propose(1, 7, 9 * timeout, {2, {1}}, 1)) << "an old program too";
  EXPECT_THROW(w.propose(1, 8, 9 * timeout, {2, {1}}), Violation) << "in another slot it is another raise";
}

TEST(RulesWatch, SeesAReplicaThatSaysMoreThanItsProgramKnows) {
  Watched w;
  EXPECT_THROW(w.watch.says(1, 1, 2, 0), Violation);
}

TEST(RulesWatch, SeesAnOldProgramThatApplies) {
  Watched raise;
  EXPECT_THROW(raise.apply(chat::make_rules_decree(2), 1), Violation);
  Watched later;
  later.apply({}, 1);
  later.apply(chat::make_rules_decree(2));
  later.apply({});
  EXPECT_THROW(later.apply({}, 1), Violation);
  EXPECT_THROW(later.watch.starts(1, 1, {2}), Violation);
  EXPECT_NO_THROW(later.watch.starts(1, 1, {1}));
  EXPECT_NO_THROW(later.watch.starts(1, 2, {3}));
}

TEST(RulesWatch, SeesRowsAndHashesOfOtherRules) {
  for (const bool hash : {false, true}) {
    Watched w;
    w.apply(chat::make_rules_decree(2));
    w.apply({});
    chat::StateWrite write = w.next({});
    const Disk::Entry entry{.present = true, .learned = true, .ballot = {1, {0}}, .decree = {}};
    for (chat::Row& row : write.rows)
      if (row.key == "a") (*row.value)[hash ? 10 : 1] ^= 1;
    EXPECT_THROW(w.watch.applies(0, 2, write, &entry), Violation) << (hash ? "hash" : "rules");
  }
}

TEST(RulesWatch, SeesADatagramThatNobodyMayHaveThoughtReadable) {
  Watched w;
  EXPECT_THROW(w.watch.cannot_read(1, 2), Violation);
  w.watch.says(1, 2, 2, 0);
  EXPECT_NO_THROW(w.watch.cannot_read(1, 2)) << "it went back";
}

TEST(RulesWatch, SeesARefusalWithoutAReasonOrWithoutAName) {
  Watched early;
  EXPECT_THROW(early.watch.refuses(1, "format version 3; this program knows version 2"), Violation);
  Watched w;
  w.all_say(2, 0);
  w.propose(0, 7, timeout, {1, {0}});
  EXPECT_NO_THROW(w.watch.refuses(1, "format version 3; this program knows version 2"));
  EXPECT_THROW(w.watch.refuses(1, "it does not feel like it"), Violation);
}

// --- whole runs ---

TEST(Upgrades, RaiseTheRulesWhereTheyMustAndMeetEveryRefusal) {
  RulesWatch::Refusals seen;
  unsigned finished = 0;
  unsigned never = 0;
  // From where the rarest one, a raise in its own log, comes soon.
  for (std::uint64_t seed = 211; seed < 800; ++seed) {
    if (seen.format > 0 && seen.state > 0 && seen.raise > 0 && finished > 0 && never > 0) break;
    const Scenario scenario = draw_scenario(seed);
    if (!scenario.upgrades) continue;
    const Result result = run(scenario, nullptr);
    ASSERT_EQ(result.violation, "") << "seed " << seed;
    seen.format += result.refusals.format;
    seen.state += result.refusals.state;
    seen.raise += result.refusals.raise;
    if (scenario.upgrades->never) {
      EXPECT_EQ(result.rules, scenario.upgrades->from) << "seed " << seed;
      ++never;
    } else if (scenario.upgrades->finish) {
      EXPECT_EQ(result.rules, scenario.upgrades->from + 1) << "seed " << seed;
      ++finished;
    }
  }
  EXPECT_GT(seen.format, 0u);
  EXPECT_GT(seen.state, 0u);
  EXPECT_GT(seen.raise, 0u);
  EXPECT_GT(finished, 0u);
  EXPECT_GT(never, 0u);
}

TEST(Upgrades, CanBeLeftOut) {
  std::uint64_t seed = 1;
  while (!draw_scenario(seed).upgrades) ++seed;
  Reduction less;
  ASSERT_TRUE(parse_flag("--without", "upgrades", less));
  const Scenario left = reduce(draw_scenario(seed), less);
  EXPECT_FALSE(left.upgrades);
  for (const PlannedFault& fault : left.schedule) EXPECT_NE(fault.kind, Fault::upgrade);
  EXPECT_EQ(run(left, nullptr).rules, 0);
}

// --- the log's format ---

TEST(Disk, OfALaterFormatIsRefusedByNameAndOpensWithTheProgramThatKnowsIt) {
  const Disk::Formats before{.known = 3, .in_force = 2};
  const Disk::Formats raised{.known = 3, .in_force = 3};
  const Disk::Formats old{.known = 2, .in_force = 2};
  Disk disk;
  disk.incarnation.bytes[0] = 1;
  ASSERT_TRUE(disk.open({1}, {}, {}, old));
  ASSERT_TRUE(disk.open({1}, {}, {}, before));
  ASSERT_TRUE(disk.open({1}, {}, {}, old)) << "a newer program leaves it as it is until the rules are raised";
  ASSERT_TRUE(disk.open({1}, {}, {}, raised));
  EXPECT_EQ(disk.format, 3u);
  const auto refused = disk.open({1}, {}, {}, old);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().find("format version 3; this program knows version 2"), std::string::npos)
      << refused.error();
  ASSERT_TRUE(disk.open({1}, {}, {}, before)) << "the state may lag behind the log";
  EXPECT_FALSE(disk.open({1}, {}, {}, old)) << "it does not go down again";
}

}  // namespace
}  // namespace sim
