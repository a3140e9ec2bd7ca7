#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "tests/paxos/leadership.h"

/// The election where links are missing, flap or lose: somebody leads, and the leader stays. Source of the
/// partitions: Ng, Haridi, Carbone, Omni-Paxos (EuroSys 2023), section 2.
namespace paxos_test {
namespace {

using namespace std::chrono_literals;

// --- the partitions of the Omni-Paxos paper ---

TEST(Election, QuorumLossTheLeaderKeepsOneLinkAndTheHubTakesOver) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Cluster c({.replicas = 5, .seed = seed});
    c.elect(0);
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    c.only_links({{2, 0}, {2, 1}, {2, 3}, {2, 4}});
    ASSERT_TRUE(progresses(c, four_timeouts(c))) << seed;
    EXPECT_EQ(c.leader(), 2u);
    expect_quiet(c);
  }
}

TEST(Election, ConstrainedTheOnlyHubLagsBehindAndTakesOver) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Cluster c({.replicas = 5, .seed = seed});
    c.elect(0);
    c.isolate(2);  // the hub misses some of the log
    for (int i = 0; i < 20; ++i) {
      c.propose(0, "m");
      c.run_for(2ms);
    }
    c.heal();
    c.only_links({{2, 1}, {2, 3}, {2, 4}});
    ASSERT_TRUE(progresses(c, four_timeouts(c))) << seed;
    EXPECT_EQ(c.text(2, 20), "m");
    expect_quiet(c);
  }
}

TEST(Election, ChainedTheEndsNeverFightOverTheLeadership) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Cluster c({.seed = seed});
    c.elect(0);
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    const auto before = c.leader_changes();
    c.only_links({{0, 1}, {1, 2}});
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    expect_quiet(c);
    EXPECT_EQ(c.leader_changes(), before) << "0 still reaches a quorum; 2 hears of it through 1";
  }
}

TEST(Election, AChainOfFiveProgresses) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Cluster c({.replicas = 5, .seed = seed});
    c.elect(0);
    c.only_links({{0, 1}, {1, 2}, {2, 3}, {3, 4}});
    ASSERT_TRUE(progresses(c, four_timeouts(c))) << seed;
    // 1, 2 and 3 all reach a quorum, and 1 and 3 hear of each other only through 2: that they try at the
    // same time costs a change or two, and then it is over.
    c.run_for(four_timeouts(c));
    expect_quiet(c);
  }
}

// I8: progress whenever one replica is connected both ways to a quorum, whatever else is cut.
TEST(Election, EveryTopologyWithAHubProgressesAndIsQuiet) {
  static constexpr std::size_t n = 5;
  std::size_t tried = 0;
  for (unsigned mask = 0; mask < 1024; ++mask) {
    std::vector<std::pair<std::size_t, std::size_t>> links;
    std::array<int, n> degree{};
    unsigned bit = 0;
    for (std::size_t a = 0; a < n; ++a)
      for (std::size_t b = a + 1; b < n; ++b, ++bit) {
        if ((mask >> bit & 1) == 0) continue;
        links.emplace_back(a, b);
        ++degree[a];
        ++degree[b];
      }
    if (*std::max_element(degree.begin(), degree.end()) < 2) continue;
    ++tried;
    Cluster c({.replicas = n, .seed = mask});
    c.elect(mask % n);
    c.only_links(links);
    // Let what the cut links had proven lapse: a leader may still decide something on old letters.
    ASSERT_TRUE(progresses(c, four_timeouts(c))) << "links " << mask;
    c.run_for(four_timeouts(c));
    ASSERT_TRUE(progresses(c, c.setup().election_timeout)) << "links " << mask;
    expect_quiet(c, 10);
    ASSERT_FALSE(HasFailure()) << "links " << mask;
  }
  EXPECT_GT(tried, 900u);
}

// --- no churn ---

TEST(Election, AFlappingLinkBetweenAFollowerAndTheLeaderCostsNoChange) {
  Cluster c({});
  c.elect(0);
  const auto before = c.leader_changes();
  for (int i = 0; i < 30; ++i) {
    if (i % 2 == 0)
      c.cut_both(0, 2);
    else
      c.join_both(0, 2);
    c.run_for(400ms);
  }
  EXPECT_EQ(c.leader_changes(), before);
}

TEST(Election, AReturningReplicaCostsNoChange) {
  Cluster c({.replicas = 5});
  c.elect(0);
  const auto before = c.leader_changes();
  for (std::size_t id : {1u, 2u, 3u, 4u}) {
    c.isolate(id);
    c.run_for(2s);
    c.heal();
    c.run_for(1s);
    c.restart(id);
    c.run_for(1s);
  }
  EXPECT_EQ(c.leader_changes(), before);
}

TEST(Election, ADeafReplicaCostsNoChange) {
  Cluster c({});
  c.elect(0);
  const auto before = c.leader_changes();
  c.cut(0, 2);
  c.cut(1, 2);  // 2 hears nobody, everybody hears 2
  c.run_for(5s);
  EXPECT_EQ(c.leader_changes(), before);
  c.heal();
  c.run_for(2s);
  EXPECT_EQ(c.leader_changes(), before);
}

TEST(Election, ADeafLeaderIsReplaced) {
  Cluster c({});
  c.elect(0);
  c.cut(1, 0);
  c.cut(2, 0);
  ASSERT_TRUE(progresses(c, four_timeouts(c)));
  EXPECT_NE(c.leader(), 0u);
  expect_quiet(c, 20);
}

TEST(Election, AMuteLeaderIsReplaced) {
  Cluster c({});
  c.elect(0);
  c.cut(0, 1);
  c.cut(0, 2);
  ASSERT_TRUE(progresses(c, four_timeouts(c)));
  EXPECT_NE(c.leader(), 0u);
  expect_quiet(c, 20);
}

TEST(Election, AModestLossCostsNoChange) {
  Cluster c({.replicas = 5, .seed = 3, .loss_percent = 5});
  c.elect(0);
  const auto before = c.leader_changes();
  c.run_for(30s);
  EXPECT_EQ(c.leader_changes(), before);
}

TEST(Election, DuellingCandidatesEndWithOneLeader) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Cluster c({.replicas = 5, .seed = seed});
    c.connect();
    for (std::size_t id = 0; id < 5; ++id) c.campaign(id);
    ASSERT_TRUE(progresses(c, four_timeouts(c))) << seed;
    c.run_for(1s);
    expect_quiet(c, 20);
  }
}

}  // namespace
}  // namespace paxos_test
