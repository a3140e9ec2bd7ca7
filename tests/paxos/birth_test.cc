#include <gtest/gtest.h>

#include <chrono>

#include "tests/paxos/cluster.h"

/// Birth and incarnations. Source: DESIGN.md section 4, birth and incarnations.
namespace paxos_test {
namespace {

using namespace std::chrono_literals;

bool all_vote(Cluster& c) {
  for (std::size_t id = 0; id < c.size(); ++id)
    if (!c.up(id) || !c.status(id).voting) return false;
  return true;
}

TEST(Birth, HappensOnceAllReplicasAreThere) {
  for (std::size_t replicas : {1u, 2u, 3u, 5u, 9u}) {
    Cluster c({.replicas = replicas, .born = false});
    EXPECT_TRUE(c.run_until([&] { return all_vote(c); }, 1s)) << replicas;
    EXPECT_TRUE(c.run_until([&] { return c.leader().has_value(); }, 4 * c.setup().election_timeout));
  }
}

TEST(Birth, NeedsEveryReplicaAndNamesTheMissing) {
  Cluster c({.born = false});
  c.crash(2);
  c.run_for(5s);
  const Status status = c.status(0);
  EXPECT_FALSE(status.voting);
  EXPECT_EQ(status.role, Role::unborn);
  EXPECT_EQ(status.missing_at_birth, (std::vector<ReplicaId>{ReplicaId{2}}));
  EXPECT_NE(status.reason.find("waiting for replica 2"), std::string::npos) << status.reason;
  c.restart(2);
  EXPECT_TRUE(c.run_until([&] { return all_vote(c); }, 1s));
}

TEST(Birth, OnceBornAMinorityMayBeMissing) {
  Cluster c({.born = false});
  ASSERT_TRUE(c.run_until([&] { return all_vote(c); }, 1s));
  for (std::size_t id = 0; id < 3; ++id) c.crash(id);
  c.restart(0);
  c.restart(1);
  EXPECT_TRUE(c.run_until([&] { return c.leader().has_value(); }, 4 * c.setup().election_timeout));
}

TEST(Birth, TheUnbornPromiseAndVoteNothing) {
  Cluster c({.born = false});
  c.step(0, 1, Prepare{ballot(1, 1), Slot{1}});
  c.step(0, 1, Accept{ballot(1, 1), Slot{1}, {}, command("a")});
  c.step(0, 1, ReadConfirm{ballot(1, 1), 5});
  EXPECT_EQ(c.count_if(from(0)), c.count_if(is_from<paxos::Birth>(0)));
  EXPECT_EQ(c.status(0).ballot, Ballot{});
}

// The vector is announced only once it is on disk: what a restart could forget must bind nobody.
TEST(Birth, AnnouncesOnlyWhatIsSynced) {
  Cluster c({.born = false, .auto_sync = false});
  c.run_for(0ms);
  const auto announced = [](const Letter& l) {
    const auto* birth = std::get_if<paxos::Birth>(&l.message);
    return birth != nullptr && birth->synced;
  };
  for (int i = 0; i < 10; ++i) {
    c.advance(c.setup().heartbeat);
    c.tick_all();
    EXPECT_EQ(c.count_if(announced), 0u);
    c.settle();
  }
  c.sync(0);
  c.advance(c.setup().heartbeat);
  c.tick_all();
  EXPECT_EQ(c.count_if(announced), 2u);
}

// Alone, nobody announces anything to it; what it announced before the restart is enough.
TEST(Birth, OneReplicaThatRestartsWithASyncedVectorIsBorn) {
  Cluster c({.replicas = 1, .born = false, .auto_sync = false});
  c.run_for(0ms);
  c.sync(0, 1);  // the vector; that it was born is written, not synced
  c.restart(0);
  const auto vote_once_synced = [&] {
    c.sync(0);
    return all_vote(c);
  };
  EXPECT_TRUE(c.run_until(vote_once_synced, 2s)) << c.status(0).reason;
}

TEST(Birth, ARestartInTheMiddleChangesNothing) {
  for (int when = 0; when < 60; ++when) {
    Cluster c(
        {.born = false, .seed = static_cast<std::uint64_t>(when), .auto_sync = false, .disk_delay = 2ms});
    c.run_for(when * 200us);
    c.restart(static_cast<std::size_t>(when % 3));
    EXPECT_TRUE(c.run_until([&] { return all_vote(c); }, 2s)) << when;
  }
}

// A wiped directory forgot its promises and votes: it must never vote again.
TEST(Birth, AWipedReplicaStaysDormant) {
  Cluster c({.born = false});
  ASSERT_TRUE(c.run_until([&] { return all_vote(c); }, 1s));
  c.wipe(2);
  c.run_for(2s);
  EXPECT_FALSE(c.status(2).voting);
  EXPECT_EQ(c.status(2).role, Role::dormant);
  EXPECT_NE(c.status(2).reason.find("not one that the cluster was born with"), std::string::npos);
  c.bag().clear();
  c.step(2, 0, Prepare{ballot(99, 0), Slot{1}});
  EXPECT_EQ(c.count_if(is_from<Promise>(2)), 0u);
}

TEST(Birth, AWipedReplicaCountsInNoQuorum) {
  Cluster c({.born = false});
  ASSERT_TRUE(c.run_until([&] { return all_vote(c); }, 1s));
  c.crash(1);
  c.wipe(2);
  c.run_for(3s);
  EXPECT_FALSE(c.leader().has_value()) << "one of three is no quorum";
}

TEST(Birth, AMessageOfAnIncarnationThatWasNotBornIsIgnored) {
  Cluster c({});
  Incarnation stranger;
  stranger.bytes[0] = 77;
  c[0].step(c.now(), ReplicaId{1}, stranger, Prepare{ballot(3, 1), Slot{1}});
  c.tick(0);
  EXPECT_EQ(c.status(0).ballot, Ballot{});
  EXPECT_EQ(c.count_if(is_from<Promise>(0)), 0u);
}

// Wiped after others synced its first incarnation: nobody papers over it, the operator is told.
TEST(Birth, AReplicaWipedDuringBirthIsAConflict) {
  Cluster c({.born = false, .auto_sync = false});
  for (int i = 0; i < 3; ++i) {
    c.advance(c.setup().heartbeat);
    c.tick_all();
    c.settle();
  }
  c.sync(0);  // 0 has everybody's first incarnation on disk
  c.wipe(2);
  c.bag().clear();
  c.hold_disk(false);
  for (std::size_t id = 0; id < 3; ++id) c.sync(id);
  c.run_for(3s);
  EXPECT_FALSE(c.status(0).voting);
  EXPECT_FALSE(c.status(1).voting);
  EXPECT_FALSE(c.status(2).voting);
  EXPECT_NE(c.status(0).reason.find("replica 2 lost its data directory"), std::string::npos)
      << c.status(0).reason;
}

TEST(Birth, ADirectoryOfAnotherIncarnationThanItsRecordIsDormant) {
  Cluster c({});
  c.node(0).disk.incarnation.bytes[5] = 9;
  c.restart(0);
  EXPECT_EQ(c.status(0).role, Role::dormant);
}

TEST(Birth, ALateReplicaIsToldByThoseAlreadyBorn) {
  Cluster c({.born = false, .auto_sync = false, .disk_delay = 1ms});
  c.on_post = [](const Letter& l) {  // 2 hears announcements only from the born
    const auto* birth = std::get_if<paxos::Birth>(&l.message);
    return birth != nullptr && l.to.n == 2 && birth->synced && !birth->born;
  };
  EXPECT_TRUE(c.run_until([&] { return all_vote(c); }, 2s));
}

TEST(Birth, SurvivesLoss) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Cluster c({.replicas = 5, .born = false, .seed = seed, .loss_percent = 40});
    EXPECT_TRUE(c.run_until([&] { return all_vote(c); }, 10s)) << seed;
  }
}

TEST(Birth, TheDormantSayNothingButThatTheyAreThere) {
  Cluster c({});
  c.wipe(2);
  c.run_for(200ms);
  ASSERT_EQ(c.status(2).role, Role::dormant);
  c.bag().clear();
  c.advance(1s);
  c.tick(2);
  EXPECT_EQ(c.count_if(from(2)), 2u);
  EXPECT_EQ(c.count_if(is_from<Birth>(2)), 2u);
  c.bag().clear();
  c.advance(200ms);  // less than an election timeout
  c.tick(2);
  EXPECT_EQ(c.count_if(from(2)), 0u);
}

TEST(Birth, TheUnbornAskAtEveryHeartbeatAndNotBefore) {
  Cluster c({.born = false});
  c.tick(0);
  EXPECT_EQ(c.count_if(is_from<paxos::Birth>(0)), 2u);
  c.tick(0);
  EXPECT_EQ(c.count_if(is_from<paxos::Birth>(0)), 2u);
  c.advance(c.setup().heartbeat);
  c.tick(0);
  EXPECT_EQ(c.count_if(is_from<paxos::Birth>(0)), 4u);
}

// What is announced binds: a sync of something else, or of nothing, is not the vector's.
TEST(Birth, OnlyTheSyncOfTheVectorItselfCounts) {
  Cluster c({.born = false, .auto_sync = false});
  const auto announced = [&] {
    c.advance(c.setup().heartbeat);
    c.tick(0);
    bool any = false;
    for (const paxos::Birth& birth : take<paxos::Birth>(c, 0, 1)) any = any || birth.synced;
    return any;
  };
  c[0].synced(c.now(), 0);
  EXPECT_FALSE(announced()) << "it has no vector yet";
  for (const std::size_t id : {1u, 2u}) {
    paxos::Birth birth{.members = std::vector<Incarnation>(3)};
    birth.members[id] = c.node(id).disk.incarnation;
    c.step(0, id, birth);
  }
  c[0].synced(c.now(), 0);
  EXPECT_FALSE(announced()) << "the vector's group is not on the disk";
  c.sync(0);
  EXPECT_TRUE(announced());
}

TEST(Birth, AVectorOfAnotherSizeIsIgnored) {
  Cluster c({.born = false});
  const auto incarnation = c.node(1).disk.incarnation;
  c.step(0, 1, paxos::Birth{.members = {{}, incarnation}, .synced = false, .born = false});
  EXPECT_EQ(c.status(0).missing_at_birth.size(), 2u) << "taken from a vector for two";
}

// A wiped replica that was told the born vector passes it on: it is no member of it, its word counts nothing.
TEST(Birth, OnlyAMemberOfTheBornVectorCanTellIt) {
  Cluster c({.born = false});
  std::vector<Incarnation> members;
  for (std::size_t id = 0; id < 3; ++id) members.push_back(c.node(id).disk.incarnation);
  members[1].bytes[9] = 99;  // the life of 1 that was born
  c.step(0, 1, paxos::Birth{.members = members, .synced = true, .born = true});
  EXPECT_FALSE(c.status(0).voting);
}

// A config with another number of replicas than the directory was begun with: where it was not born yet, it
// can't be with that one. Where it was, those vote that its birth says, whatever the config
// (member_changes_test.cc).
TEST(Birth, ADirectoryOfAClusterOfAnotherSizeIsNotBornAgain) {
  for (const bool born : {true, false}) {
    Cluster c({.replicas = 5, .born = false});
    for (std::size_t id = 0; id < 3; ++id) {
      BirthRecord record{.members = {}, .born = born};
      for (std::size_t member = 0; member < 3; ++member)
        record.members.push_back(c.node(member).disk.incarnation);
      c.crash(id);
      c.node(id).disk.birth = record;
    }
    for (std::size_t id = 0; id < 3; ++id) c.restart(id);
    c.run_for(3s);
    for (std::size_t id = 0; id < 5; ++id) EXPECT_EQ(c.status(id).voting, born && id < 3) << id;
    if (born) {
      EXPECT_EQ(c.status(0).configuration.voters().size(), 3U);
      continue;
    }
    EXPECT_EQ(c.status(0).role, Role::dormant);
    EXPECT_NE(c.status(0).reason.find("a cluster of 3 replicas, the config names 5"), std::string::npos)
        << c.status(0).reason;
  }
}

}  // namespace
}  // namespace paxos_test
