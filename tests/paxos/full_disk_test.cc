#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "tests/paxos/leadership.h"

/// Full disks: who votes, who leads, and what goes on (*full* and *roomy* in paxos/election.h).
namespace paxos_test {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;

Duration two_timeouts(Cluster& c) { return 2 * c.setup().election_timeout; }

/// A read that began now is answered, and covers what was decided.
bool reads(Cluster& c, std::size_t id, Duration bound) {
  static std::uint64_t next = 1000;
  const std::uint64_t number = ++next;
  c.read(id, number);
  return c.run_until(
      [&] {
        if (!c.up(id)) return false;
        Node& n = c.node(id);
        for (std::uint64_t failed : std::exchange(n.reads_failed, {}))
          if (failed == number) c.read(id, number);
        for (const ReadIndex& index : n.reads)
          if (index.id == number && c.applied(id) >= index.index.n) return true;
        return false;
      },
      bound);
}

std::size_t decrees_on(Cluster& c, std::size_t id) { return c.node(id).disk.entries.size(); }

bool anybody_proposes(Cluster& c) {
  bool any = false;
  for (std::size_t id = 0; id < c.size(); ++id) any = any || (c.up(id) && c[id].can_propose());
  return any;
}

TEST(FullDisk, AMinorityCostsNothingAndWritesNothing) {
  Cluster c({.replicas = 5});
  c.elect(0);
  ASSERT_TRUE(progresses(c, four_timeouts(c)));
  c.set_room(3, DiskRoom::reserve);
  c.set_room(4, DiskRoom::reserve);
  c.run_for(500ms);
  const auto before = c.leader_changes();
  const std::size_t written = decrees_on(c, 3);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(progresses(c, four_timeouts(c)));
  c.run_for(2s);
  EXPECT_EQ(c.leader_changes(), before);
  EXPECT_EQ(decrees_on(c, 3), written);
  EXPECT_EQ(decrees_on(c, 4), written);
  EXPECT_EQ(c.status(0).full, (std::vector<ReplicaId>{{3}, {4}}));
  EXPECT_FALSE(c.status(0).blocked);
  EXPECT_TRUE(c[3].outlook().stands_still);
  c.set_room(3, DiskRoom::enough);
  c.run_for(2s);
  EXPECT_EQ(c.applied(3), c.applied(0)) << "it learns what it has missed";
  EXPECT_FALSE(c[3].outlook().stands_still);
}

TEST(FullDisk, ItSaysNothingToAnAcceptThatItHasNoRoomFor) {
  Cluster c({});
  c.elect(0);
  c.set_room(2, DiskRoom::reserve);
  c.run_for(200ms);  // the others have room, and it knows
  c.bag().clear();
  c.step(2, 0, Accept{c.status(0).ballot, Slot{1}, {}, command("a")});
  EXPECT_EQ(c.count_if(from(2)), 0u);
  EXPECT_EQ(decrees_on(c, 2), 0u);
  c.set_room(2, DiskRoom::enough);
  c.step(2, 0, Accept{c.status(0).ballot, Slot{1}, {}, command("a")});
  EXPECT_EQ(take<Accepted>(c, 2, 0).size(), 1u);
}

TEST(FullDisk, WhatItVotedForItSaysAgain) {
  Cluster c({});
  c.elect(0);
  c.run_for(200ms);
  c.bag().clear();
  const Accept accept{c.status(0).ballot, Slot{1}, {}, command("a")};
  c.step(2, 0, accept);
  ASSERT_EQ(take<Accepted>(c, 2, 0).size(), 1u);
  c.set_room(2, DiskRoom::none);
  c.step(2, 0, accept);
  EXPECT_EQ(take<Accepted>(c, 2, 0).size(), 1u) << "its answer may have been lost";
}

TEST(FullDisk, ALeaderHandsOverAtOnce) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Cluster c({.replicas = seed % 2 == 0 ? 3u : 5u, .seed = seed});
    c.elect(0);
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    c.run_for(500ms);
    c.set_room(0, DiskRoom::reserve);
    EXPECT_FALSE(c[0].can_propose());
    ASSERT_TRUE(progresses(c, c.setup().election_timeout / 2)) << "without an election's time";
    EXPECT_NE(c.leader(), 0u);
    expect_quiet(c, 20);
  }
}

// The word of it is lost: then the others see it in its heartbeats.
TEST(FullDisk, ALeaderYieldsThoughItsHandOverIsLost) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Cluster c({.replicas = seed % 2 == 0 ? 3u : 5u, .seed = seed});
    c.elect(0);
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    c.run_for(500ms);
    c.on_post = is<HandOver>();
    c.set_room(0, DiskRoom::reserve);
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    EXPECT_NE(c.leader(), 0u);
    expect_quiet(c, 20);
  }
}

// 0 leads and is full; 2 has room. They don't hear each other, and who is between them, full itself, hears
// both. Nobody could decide anything, and so nobody takes over; once the one in the middle has room, it goes
// on.
TEST(FullDisk, AFullLeaderYieldsOnceSomebodyCouldDecide) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Cluster c({.seed = seed});
    c.elect(0);
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    c.cut_both(0, 2);
    c.run_for(2s);
    ASSERT_EQ(c.leader(), 0u);
    c.set_room(1, DiskRoom::reserve);
    c.run_for(four_timeouts(c));
    ASSERT_EQ(c.leader(), 0u);
    c.set_room(0, DiskRoom::reserve);
    c.run_for(four_timeouts(c));
    expect_quiet(c, 20);
    c.set_room(1, DiskRoom::enough);
    ASSERT_TRUE(progresses(c, two_timeouts(c)));
  }
}

TEST(FullDisk, WhoHasRoomWinsTheElection) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Cluster c({.replicas = 5, .seed = seed});
    c.elect(0);
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    for (const std::size_t id : {1u, 2u}) c.set_room(id, DiskRoom::reserve);
    c.run_for(500ms);
    const auto before = c.leader_changes();
    c.crash(0);
    c.run_for(four_timeouts(c));
    ASSERT_TRUE(c.leader() == 3u || c.leader() == 4u);
    EXPECT_EQ(c.leader_changes(), before + 1);
    EXPECT_FALSE(anybody_proposes(c)) << "two with room of five are no quorum";
    EXPECT_FALSE(c.status(*c.leader()).blocked) << "but the full ones alone are no reason: one is missing";
  }
}

void expect_reading_only(Cluster& c) {
  ASSERT_TRUE(c.leader().has_value());
  const Slot decided = c.applied_anywhere();
  for (std::size_t id = 0; id < c.size(); ++id) {
    EXPECT_TRUE(reads(c, id, two_timeouts(c))) << id;
    EXPECT_TRUE(c.status(id).blocked) << id;
    EXPECT_FALSE(c[id].outlook().stands_still) << id;
  }
  EXPECT_FALSE(anybody_proposes(c));
  EXPECT_EQ(c.applied_anywhere(), decided);
}

/// With partial links: the leader's quorum has a full one in it, and the one in the middle has a quorum
/// without.
TEST(FullDisk, ALeaderWhoseQuorumHasAFullOneYieldsToOneThatHasAnother) {
  Cluster c({.replicas = 5});
  c.elect(2);
  ASSERT_TRUE(progresses(c, four_timeouts(c)));
  c.only_links({{0, 3}, {0, 4}, {1, 3}, {2, 3}, {2, 4}, {3, 4}});
  c.run_for(1s);
  c.set_room(4, DiskRoom::reserve);
  ASSERT_TRUE(progresses(c, 2 * four_timeouts(c)));
  EXPECT_EQ(c.leader(), 3U);
}

TEST(FullDisk, AMajorityIsReadFromAndWritingResumesByItself) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Cluster c({.seed = seed});
    c.elect(0);
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    c.run_for(500ms);
    c.set_room(0, DiskRoom::reserve);
    c.set_room(2, DiskRoom::reserve);
    c.run_for(four_timeouts(c));
    EXPECT_EQ(c.leader(), 1u);
    expect_reading_only(c);
    expect_quiet(c, 20);
    EXPECT_THAT(c.node(1).events, Contains(HasSubstr("the disks of replicas 0, 2 are full")));
    c.set_room(2, DiskRoom::enough);
    ASSERT_TRUE(progresses(c, two_timeouts(c)));
    EXPECT_THAT(c.node(1).events, Contains(HasSubstr("enough disks have room again")));
  }
}

// Of three or of one, at a start too.
TEST(FullDisk, AllOfThemAreReadFromAfterARestart) {
  for (const std::size_t replicas : {1u, 2u, 3u, 5u})
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      SCOPED_TRACE(std::to_string(replicas) + " replicas, seed " + std::to_string(seed));
      Cluster c({.replicas = replicas, .seed = seed});
      c.elect(0);
      ASSERT_TRUE(progresses(c, four_timeouts(c)));
      for (std::size_t id = 0; id < replicas; ++id) c.set_room(id, DiskRoom::reserve);
      c.run_for(four_timeouts(c));
      expect_reading_only(c);
      for (std::size_t id = 0; id < replicas; ++id) c.crash(id);
      for (std::size_t id = 0; id < replicas; ++id) c.restart(id);
      c.run_for(four_timeouts(c));
      expect_reading_only(c);
      expect_quiet(c, 20);
      for (std::size_t id = 0; id < replicas / 2 + 1; ++id) c.set_room(id, DiskRoom::enough);
      ASSERT_TRUE(progresses(c, four_timeouts(c)));
    }
}

// Its leader proposed it when there was room; it is not left to an unknown fate.
TEST(FullDisk, WhatIsUnderWayIsFinishedFromTheReserve) {
  Cluster c({});
  c.elect(1);
  c.run_for(500ms);
  c.on_post = is<Accept>();
  c.propose(1, "a");
  c.propose(1, "b");
  c.set_room(0, DiskRoom::reserve);
  c.set_room(2, DiskRoom::reserve);
  c.run_for(200ms);
  EXPECT_EQ(c.status(1).chosen, Slot{});
  c.on_post = {};
  c.run_for(500ms);
  for (std::size_t id = 0; id < 3; ++id) EXPECT_EQ(c.applied(id), 2u) << id;
  expect_reading_only(c);
}

// The same by another leader, which found them in phase 1, and whose read index they hold up.
TEST(FullDisk, WhatPhase1FindsIsFinishedFromTheReserve) {
  Cluster c({});
  c.elect(1);
  c.run_for(500ms);
  c.on_post = is_to<Accept>(0);
  c.propose(1, "a");
  c.drop_if(is_to<Accept>(2));
  c.crash(1);
  c.on_post = {};
  for (std::size_t id = 0; id < 3; ++id) c.set_room(id, DiskRoom::reserve);
  c.restart(1);
  c.run_for(four_timeouts(c));
  expect_reading_only(c);
}

TEST(FullDisk, WithTheReserveUsedUpNothingIsVotedForNorProposedAgain) {
  Cluster c({});
  c.elect(1);
  c.run_for(500ms);
  c.on_post = is<Accept>();
  c.propose(1, "a");
  for (std::size_t id = 0; id < 3; ++id) c.set_room(id, DiskRoom::none);
  c.on_post = {};
  c.run_for(four_timeouts(c));
  EXPECT_EQ(decrees_on(c, 0) + decrees_on(c, 2), 0u);
  EXPECT_EQ(decrees_on(c, 1), 1u);
  c.campaign(1);
  c.run_for(200ms);
  EXPECT_TRUE(c[1].is_leader()) << "a promise has room";
  EXPECT_EQ(c.node(1).disk.entries.begin()->second.ballot.round, 1u) << "a vote has none";
  for (std::size_t id = 0; id < 3; ++id) c.set_room(id, DiskRoom::enough);
  ASSERT_TRUE(progresses(c, four_timeouts(c)));
  c.run_for(200ms);
  EXPECT_EQ(c.text(0, 1), "a");
}

TEST(FullDisk, NothingElseIsDecidedEither) {
  Cluster c({});
  c.elect(1);
  ASSERT_TRUE(progresses(c, four_timeouts(c)));
  c.set_room(0, DiskRoom::reserve);
  c.set_room(2, DiskRoom::reserve);
  c.run_for(500ms);
  ASSERT_TRUE(c[1].is_leader());
  EXPECT_THAT(c.skip(1, {5}).refused, HasSubstr("disks of too many replicas are full"));
}

// Who is missing may be back at any time: what is under way is finished, the rest waits.
TEST(FullDisk, OneThatIsFullAndOneThatIsMissing) {
  Cluster c({});
  c.elect(1);
  ASSERT_TRUE(progresses(c, four_timeouts(c)));
  c.set_room(0, DiskRoom::reserve);
  c.run_for(500ms);
  c.crash(2);
  c.run_for(four_timeouts(c));
  EXPECT_EQ(c.leader(), 1u);
  EXPECT_FALSE(anybody_proposes(c));
  EXPECT_FALSE(c.status(1).blocked);
  EXPECT_TRUE(reads(c, 0, two_timeouts(c)));
  c.restart(2);
  EXPECT_TRUE(progresses(c, four_timeouts(c)));
}

}  // namespace
}  // namespace paxos_test
