#include "paxos/wait_watch.h"

#include <gtest/gtest.h>

#include "tests/paxos/cluster.h"

namespace {

using namespace std::chrono_literals;
using namespace paxos;

constexpr Time t0{std::chrono::hours{1}};

TEST(WaitWatch, NothingWaitsWhereAllIsApplied) {
  WaitWatch w(10ms, Slot{5}, t0);
  EXPECT_FALSE(w.oldest());
  w.saw(t0 + 1s, Slot{5}, Slot{5});
  EXPECT_FALSE(w.oldest());
  w.saw(t0 + 2s, Slot{6}, Slot{5});
  EXPECT_EQ(w.oldest(), (Waiting{Slot{6}, t0 + 2s, t0 + 2s}));
  w.saw(t0 + 3s, Slot{6}, Slot{6});
  EXPECT_FALSE(w.oldest());
}

TEST(WaitWatch, EachSlotIsAsOldAsItIsKnown) {
  WaitWatch w(10ms, Slot{0}, t0);
  w.saw(t0, Slot{2}, Slot{0});
  w.saw(t0 + 100ms, Slot{3}, Slot{0});
  w.saw(t0 + 200ms, Slot{4}, Slot{0});
  EXPECT_EQ(w.oldest(), (Waiting{Slot{1}, t0, t0}));
  w.saw(t0 + 300ms, Slot{4}, Slot{1});
  EXPECT_EQ(w.oldest(), (Waiting{Slot{2}, t0, t0 + 300ms})) << "late, but it moves";
  w.saw(t0 + 310ms, Slot{4}, Slot{2});
  EXPECT_EQ(w.oldest(), (Waiting{Slot{3}, t0 + 100ms, t0 + 310ms}));
  w.saw(t0 + 320ms, Slot{4}, Slot{3});
  EXPECT_EQ(w.oldest(), (Waiting{Slot{4}, t0 + 200ms, t0 + 320ms}));
}

TEST(WaitWatch, WhatADeposedLeaderProposedNoLongerWaits) {
  WaitWatch w(10ms, Slot{0}, t0);
  w.saw(t0, Slot{2}, Slot{0});
  w.saw(t0 + 1s, Slot{9}, Slot{0});
  w.saw(t0 + 2s, Slot{2}, Slot{0});
  w.saw(t0 + 3s, Slot{2}, Slot{2});
  EXPECT_FALSE(w.oldest());
  w.saw(t0 + 4s, Slot{9}, Slot{2});
  EXPECT_EQ(w.oldest()->since, t0 + 4s);
  w.saw(t0 + 5s, Slot{0}, Slot{2});
  EXPECT_FALSE(w.oldest());
}

// A replica that catches up for an hour while the others go on, and one that stands still as long: memory is
// bounded, and no slot is ever told to be older than it is.
TEST(WaitWatch, RemembersLittleAndExaggeratesNothing) {
  for (const std::uint64_t applies_every : {2U, 1'000'000U}) {
    WaitWatch w(10ms, Slot{0}, t0);
    std::vector<Time> known_at{t0};
    std::uint64_t applied = 0;
    Duration worst{};
    for (std::uint64_t i = 1; i <= 200'000; ++i) {
      const Time now = t0 + i * 20ms;
      known_at.push_back(now);
      if (i % applies_every == 0) ++applied;
      w.saw(now, Slot{i}, Slot{applied});
      const auto oldest = w.oldest();
      ASSERT_TRUE(oldest);
      ASSERT_EQ(oldest->slot, Slot{applied + 1});
      ASSERT_GE(oldest->since, known_at[applied + 1] - 10ms) << "older than it is, at " << i;
      worst = std::max(worst, oldest->since - known_at[applied + 1]);
      ASSERT_LE(oldest->since, now);
    }
    if (applies_every > 200'000) EXPECT_EQ(worst, 0ms) << "the oldest one keeps its age";
  }
}

// --- in a replica ---

using paxos_test::Cluster;

TEST(Waiting, ASkippedSlotWaitsFromTheSkipOn) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "one");
  c.settle();
  EXPECT_FALSE(c.status(0).waiting);
  const Time at = c.now();
  ASSERT_EQ(c.skip(0, {2}).refused, "");
  EXPECT_EQ(c.status(0).waiting, (Waiting{Slot{2}, at, at}));
  c.run_for(3s);
  EXPECT_EQ(c.status(0).waiting, (Waiting{Slot{2}, at, at})) << "heartbeats make no progress";
  EXPECT_EQ(c.status(0).role, Role::leader);
}

TEST(Waiting, ASlotWithoutAQuorumOfVotesWaits) {
  Cluster c({});
  c.elect(0);
  c.on_post = [](const paxos_test::Letter& l) { return std::holds_alternative<Accepted>(l.message); };
  const Time at = c.now();
  c.propose(0, "one");
  c.run_for(2s);
  EXPECT_EQ(c.status(0).waiting, (Waiting{Slot{1}, at, at}));
  c.on_post = {};
  EXPECT_TRUE(c.run_until([&] { return !c.status(0).waiting.has_value(); }, 5s));
}

// It knows from the others' heartbeats what it lacks.
TEST(Waiting, AFollowerThatCanNotApplyKnowsThatItStandsStill) {
  Cluster c({});
  c.elect(0);
  c.hold_applying(2, true);
  c.propose(0, "one");
  c.run_for(1s);
  ASSERT_TRUE(c.status(2).waiting);
  EXPECT_EQ(c.status(2).waiting->slot, Slot{1});
  EXPECT_GE(c.now() - c.status(2).waiting->still, 900ms);
  EXPECT_FALSE(c.status(0).waiting);
  c.hold_applying(2, false);
  c.run_for(100ms);
  EXPECT_FALSE(c.status(2).waiting);
}

// The slot of such a vote may stay empty for as long as nobody has anything to say: nothing is wrong with
// that.
TEST(Waiting, AVoteThatNobodyElseKnowsOfDoesNotWait) {
  Cluster c({});
  c.elect(0);
  c.on_post = [](const paxos_test::Letter& l) {
    return std::holds_alternative<Accepted>(l.message) || l.to == ReplicaId{1};
  };
  c.propose(0, "lost");
  c.settle();
  c.on_post = {};
  ASSERT_EQ(c.status(2).accepted, Slot{1});
  EXPECT_FALSE(c.status(2).waiting);
  EXPECT_TRUE(c.status(0).waiting) << "it leads: its proposal is its own to finish";
}

TEST(Role, ADirectoryThatTheClusterWasNotBornWithIsDormantByName) {
  EXPECT_STREQ(to_string(Role::dormant), "dormant");
  EXPECT_STREQ(to_string(Role::unborn), "unborn");
}

}  // namespace
