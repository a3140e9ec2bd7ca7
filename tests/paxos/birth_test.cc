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
  EXPECT_NE(status.reason.find("waiting for 2"), std::string::npos) << status.reason;
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

}  // namespace
}  // namespace paxos_test
