#include <gtest/gtest.h>

#include <chrono>

#include "tests/paxos/leadership.h"

/// The election where a disk hangs or a clock stands still: *working*, *ticking* and *healthy* in
/// paxos/election.h.
namespace paxos_test {
namespace {

using namespace std::chrono_literals;

// --- sick disks ---

TEST(Election, ALeaderWithAHungDiskYieldsToAHealthyCandidate) {
  Cluster c({});
  c.elect(0);
  ASSERT_TRUE(progresses(c, four_timeouts(c)));
  c.node(0).disk_hangs = true;
  (void)c.try_propose(0, "stuck");
  c.run_for(four_timeouts(c));
  ASSERT_TRUE(c.leader().has_value());
  EXPECT_NE(c.leader(), 0u);
  expect_quiet(c, 20);
}

TEST(Election, ALeaderWithAHungDiskStaysWhereNobodyIsBetter) {
  Cluster c({});
  c.elect(0);
  const auto before = c.leader_changes();
  c.cut_both(1, 2);  // the others reach only the leader, so neither is a candidate
  c.run_for(2s);
  ASSERT_EQ(c.leader_changes(), before);
  c.node(0).disk_hangs = true;
  c.propose(0, "by others' votes");
  c.run_for(3s);
  EXPECT_EQ(c.leader_changes(), before);
  EXPECT_TRUE(c[0].is_leader());
  EXPECT_EQ(c.status(0).chosen, Slot{1}) << "two working disks are a quorum";
}

// 3 leads and its disk hangs; 2 could do it better. They don't hear each other, and who is between them hears
// both.
TEST(Election, ALeaderWithAHungDiskYieldsToACandidateThatItDoesNotHear) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Cluster c({.replicas = 5, .seed = seed});
    c.elect(3);
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    for (auto [a, b] : {std::pair{2, 3}, {0, 1}, {0, 4}, {1, 4}}) c.cut_both(a, b);
    c.run_for(2s);
    ASSERT_EQ(c.leader(), 3u);
    c.node(3).disk_hangs = true;
    (void)c.try_propose(3, "stuck");
    c.run_for(four_timeouts(c));
    ASSERT_EQ(c.leader(), 2u);
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    expect_quiet(c, 20);
  }
}

// The only two who hear enough, and both disks hang: to take turns would help nobody.
TEST(Election, TwoLeadersWithHungDisksDoNotTakeTurns) {
  Cluster c({.replicas = 5});
  c.elect(3);
  ASSERT_TRUE(progresses(c, four_timeouts(c)));
  for (auto [a, b] : {std::pair{2, 3}, {0, 1}, {0, 4}, {1, 4}}) c.cut_both(a, b);
  c.run_for(2s);
  c.node(2).disk_hangs = true;
  c.propose(3, "its vote hangs in 2");
  c.run_for(2s);
  c.node(3).disk_hangs = true;
  (void)c.try_propose(3, "and in 3");
  c.run_for(2s);
  EXPECT_EQ(c.leader(), 3u);
  expect_quiet(c, 20);
}

TEST(Election, AReplicaWithAHungDiskDoesNotLead) {
  Cluster c({});
  c.elect(0);
  c.run_for(500ms);
  c.node(1).disk_hangs = true;
  c.propose(0, "a");  // its vote hangs
  c.run_for(2 * c.setup().election_timeout);
  c.crash(0);
  c.run_for(2s);
  EXPECT_FALSE(c.leader().has_value()) << "one working disk of three is no quorum";
  c.restart(0);
  EXPECT_TRUE(progresses(c, four_timeouts(c)));
  EXPECT_NE(c.leader(), 1u);
}

// Where nobody else could lead, it is enough to be a candidate oneself.
TEST(Election, WhoCouldLeadItselfIsNotHappyWithALeaderWhoseDiskHangs) {
  const auto happy = [](std::uint32_t sync_age_ms, bool hears_another) {
    Cluster c({});
    c.elect(1);
    const Ballot b = c.status(0).leader_ballot;
    for (int i = 0; i < 7; ++i) {  // longer than a timeout: who does not answer is not connected any more
      c.advance(c.setup().heartbeat);
      c.tick(0);
      answer_heartbeat(c, 0, 1, {.ballot = b, .leader = b, .happy = true, .sync_age_ms = sync_age_ms});
      c.step(0, 1, HeartbeatRequest{7});  // its clock is well
      if (hears_another) answer_heartbeat(c, 0, 2, {.leader = b});
      c.bag().clear();
    }
    c.tick(0);
    c.step(0, 2, HeartbeatRequest{5});
    const auto replies = take<HeartbeatReply>(c, 0, 2);
    return replies.size() == 1 && replies[0].happy;
  };
  EXPECT_TRUE(happy(0, true));
  EXPECT_FALSE(happy(1000, true));
  EXPECT_TRUE(happy(1000, false)) << "without a quorum of working disks it could do no better";
}

// --- clocks that stand still ---

// It answers whatever comes, but nothing of its own accord: no Commit again, no lost Accept, no pull.
TEST(Election, ALeaderWhoseClockStandsStillYields) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Cluster c({.replicas = seed % 2 == 0 ? 3u : 5u, .seed = seed});
    c.elect(0);
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    c.node(0).clock_stands_at = c.now();
    c.run_for(four_timeouts(c));
    ASSERT_TRUE(c.leader().has_value());
    EXPECT_NE(c.leader(), 0u);
    expect_quiet(c, 20);
  }
}

// As with hung disks: 3 leads, 2 could do it better, and only who is between them hears both.
TEST(Election, ALeaderWhoseClockStandsStillYieldsToACandidateThatItDoesNotHear) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Cluster c({.replicas = 5, .seed = seed});
    c.elect(3);
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    for (auto [a, b] : {std::pair{2, 3}, {0, 1}, {0, 4}, {1, 4}}) c.cut_both(a, b);
    c.run_for(2s);
    ASSERT_EQ(c.leader(), 3u);
    c.node(3).clock_stands_at = c.now();
    c.run_for(four_timeouts(c));
    ASSERT_NE(c.leader(), 3u);
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    expect_quiet(c, 20);
  }
}

// Its disk and its links work, so it makes a quorum with each of the others, who don't hear each other.
TEST(Election, ALeaderWhoseClockStandsStillVotesForAnother) {
  Cluster c({});
  c.elect(0);
  c.cut_both(1, 2);
  c.run_for(2s);
  ASSERT_EQ(c.leader(), 0u);
  c.node(0).clock_stands_at = c.now();
  c.run_for(four_timeouts(c));
  EXPECT_NE(c.leader(), 0u);
  // It can't vouch for the one to the other, so they take turns; each gets something done.
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(progresses(c, four_timeouts(c))) << i;
}

// 1 hears everybody; 0 was happy when its clock stood still, and says so ever since.
TEST(Election, AFollowerWhoseClockStandsStillVouchesForNobody) {
  Cluster c({.replicas = 5});
  c.elect(4);
  ASSERT_TRUE(progresses(c, four_timeouts(c)));
  c.run_for(1s);
  c.node(0).clock_stands_at = c.now();
  c.only_links({{1, 0}, {1, 2}, {1, 3}, {1, 4}});
  ASSERT_TRUE(progresses(c, four_timeouts(c)));
  c.run_for(four_timeouts(c));
  EXPECT_EQ(c.leader(), 1u);
  expect_quiet(c, 20);
}

TEST(Election, AFollowerWhoseClockStandsStillIsAsGoodAsAnyOther) {
  Cluster c({});
  c.elect(0);
  ASSERT_TRUE(progresses(c, four_timeouts(c)));
  c.crash(2);
  c.node(1).clock_stands_at = c.now();
  expect_quiet(c, 20);
  EXPECT_TRUE(c[0].is_leader());
  EXPECT_TRUE(progresses(c, four_timeouts(c))) << "its vote needs no clock";
}

// What it heard from the leader is suddenly old, some of it older than the rest.
TEST(Election, AFollowerWhoseClockLeapsCostsNoLeader) {
  for (const std::size_t replicas : {3u, 5u})
    for (std::uint64_t seed = 0; seed < 150; ++seed) {
      // Around an election timeout, mostly: what was heard a little before is still fresh, and the rest is
      // not.
      const Duration leap = seed < 120 ? 190ms + (seed % 40) * 2ms : (seed - 120) * 50ms;
      SCOPED_TRACE(std::to_string(replicas) + " replicas, a leap of " + std::to_string(leap / 1ms) + " ms");
      Cluster c({.replicas = replicas, .seed = seed});
      c.elect(0);
      ASSERT_TRUE(progresses(c, four_timeouts(c)));
      c.run_for(1s + seed * 7ms);
      const auto before = c.leader_changes();
      c.node(1).clock_ahead += leap;
      c.run_for(1s);
      ASSERT_EQ(c.leader_changes(), before);
    }
}

// 0 was cut off for long; its answers come before its next heartbeat, and 1 has nobody who vouches.
TEST(Election, ALeaderThatIsHeardAgainIsBelievedAtOnce) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Cluster c({.seed = seed});
    c.elect(0);
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    c.isolate(1);
    c.run_for(2s + Duration{static_cast<std::int64_t>(seed) * 1'700'000});
    const auto before = c.leader_changes();
    c.join_both(0, 1);
    c.run_for(2s);
    ASSERT_EQ(c.leader_changes(), before);
    ASSERT_EQ(c.status(1).leader, ReplicaId{0});
  }
}

TEST(Election, TheLeaderHandsOverToOneWhoseClockGoes) {
  for (const std::size_t stalled : {1u, 2u}) {
    Cluster c({});
    c.elect(0);
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    c.node(stalled).clock_stands_at = c.now();
    c.run_for(1s);
    ASSERT_EQ(c.leader(), 0u);
    ASSERT_TRUE(c.hand_over(0));
    EXPECT_EQ(take<HandOver>(c, 0, 3 - stalled).size(), 1u);
  }
  Cluster c({});  // better than nobody
  c.elect(0);
  ASSERT_TRUE(progresses(c, four_timeouts(c)));
  c.crash(2);
  c.node(1).clock_stands_at = c.now();
  c.run_for(1s);
  EXPECT_TRUE(c.hand_over(0));
}

}  // namespace
}  // namespace paxos_test
