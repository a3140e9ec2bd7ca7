#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "tests/paxos/cluster.h"

/// Ballot leader election. Source: Ng, Haridi, Carbone, Omni-Paxos (EuroSys 2023), section 5 and, for the
/// partitions, section 2; the rules are numbered in paxos/election.h.
namespace paxos_test {
namespace {

using namespace std::chrono_literals;

/// The cluster decides something new.
bool progresses(Cluster& c, Duration bound) {
  const Slot before = c.applied_anywhere();
  return c.run_until(
      [&] {
        for (std::size_t id = 0; id < c.size(); ++id)
          if (c.up(id) && c[id].is_leader() && c.status(id).inflight == 0) (void)c.try_propose(id, "p");
        return c.applied_anywhere() > before;
      },
      bound);
}

Duration four_timeouts(Cluster& c) { return 4 * c.setup().election_timeout; }

/// Links stay as they are: no leader changes for 100 election timeouts.
void expect_quiet(Cluster& c, int timeouts = 100) {
  const auto before = c.leader_changes();
  c.run_for(timeouts * c.setup().election_timeout);
  EXPECT_EQ(c.leader_changes(), before) << "the leader changed though nothing else did";
}

TEST(Election, ElectsOneLeaderSoonAndKeepsIt) {
  for (std::size_t replicas : {1u, 2u, 3u, 4u, 5u, 7u, 9u}) {
    Cluster c({.replicas = replicas, .seed = replicas});
    EXPECT_TRUE(progresses(c, four_timeouts(c))) << replicas;
    EXPECT_EQ(c.leader_changes(), 1u) << replicas;
    expect_quiet(c);
  }
}

TEST(Election, ANewLeaderFollowsADeadOneWithinFourTimeouts) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Cluster c({.replicas = seed % 2 == 0 ? 3u : 5u, .seed = seed});
    ASSERT_TRUE(progresses(c, four_timeouts(c)));
    c.run_for(Duration{static_cast<std::int64_t>(seed) * 7'000'000});
    c.crash(*c.leader());
    ASSERT_TRUE(progresses(c, four_timeouts(c))) << seed;
    EXPECT_EQ(c.leader_changes(), 2u) << seed;
  }
}

TEST(Election, OnlyWithAQuorumIsThereALeader) {
  Cluster c({.replicas = 5});
  ASSERT_TRUE(progresses(c, four_timeouts(c)));
  for (std::size_t id : {0u, 1u, 2u}) c.crash(id);
  c.run_for(2s);
  EXPECT_FALSE(c.leader().has_value());
  c.restart(1);
  EXPECT_TRUE(progresses(c, four_timeouts(c)));
}

// Rule 1: a link counts only when it works both ways.
TEST(Election, ALinkThatWorksOneWayIsNoConnection) {
  Cluster c({});
  c.cut(1, 0);
  c.run_for(1s);
  EXPECT_EQ(c.status(0).connected, (std::vector<ReplicaId>{ReplicaId{2}}));
  EXPECT_EQ(c.status(1).connected, (std::vector<ReplicaId>{ReplicaId{2}}));
}

TEST(Election, OnlyAFreshEchoOfTheOwnNonceProvesALink) {
  Cluster c({});
  c.elect(0);
  c.isolate(2);
  c.run_for(2 * c.setup().election_timeout);
  ASSERT_TRUE(c.status(2).connected.empty());
  c.step(2, 0, HeartbeatReply{.nonce = 12345, .ballot = ballot(9, 0), .leader = ballot(9, 0), .happy = true});
  EXPECT_TRUE(c.status(2).connected.empty());
  EXPECT_NE(c.status(2).leader_ballot, ballot(9, 0));
}

TEST(Election, AnAnswerOlderThanATimeoutProvesNothing) {
  Cluster c({});
  c.tick(0);
  c.deliver_if(is_link<HeartbeatRequest>(0, 1));
  const auto late = c.take_if(is_link<HeartbeatReply>(1, 0));
  ASSERT_EQ(late.size(), 1u);
  c.advance(c.setup().election_timeout + 1ms);
  c.deliver(late[0]);
  EXPECT_TRUE(c.status(0).connected.empty());
}

// Rule 3: it takes a higher ballot from a peer that leads with it or is happy with it, from no other.
TEST(Election, ABallotThatNobodyIsHappyWithIsNotFollowed) {
  Cluster c({});
  c.elect(0);
  c.advance(c.setup().heartbeat);
  c.tick(1);
  const auto requests = take<HeartbeatRequest>(c, 1, 2);
  ASSERT_EQ(requests.size(), 1u);
  const Ballot before = c.status(1).leader_ballot;
  c.step(1, 2, HeartbeatReply{.nonce = requests[0].nonce, .ballot = ballot(3, 2), .leader = ballot(50, 0)});
  EXPECT_EQ(c.status(1).leader_ballot, before);
}

TEST(Election, AHappyPeersLeaderIsFollowed) {
  Cluster c({});
  c.elect(0);
  c.advance(c.setup().heartbeat);
  c.tick(1);
  const auto requests = take<HeartbeatRequest>(c, 1, 2);
  ASSERT_EQ(requests.size(), 1u);
  c.step(1, 2,
         HeartbeatReply{
             .nonce = requests[0].nonce, .ballot = ballot(3, 2), .leader = ballot(50, 0), .happy = true});
  EXPECT_EQ(c.status(1).leader_ballot, ballot(50, 0));
}

// Issue 10, point 5. Replica 4 promised itself a ballot that nobody ever heard of, and comes back where it hears but one
// of the others, so that it can't campaign. Were its word taken for a leader's, 3 would leave the leader, and depose it.
TEST(Election, AReplicaThatReturnsWithABallotOfItsOwnDeposesNobody) {
  Cluster c({.replicas = 5});
  c.elect(0);
  c.run_for(500ms);
  const Ballot before = c.status(0).leader_ballot;
  c.isolate(4);
  c.campaign(4);
  c.campaign(4);
  ASSERT_GT(c.status(4).ballot, before);
  c.restart(4);
  c.join_both(3, 4);
  c.run_for(100ms);
  EXPECT_EQ(c.status(3).connected.size(), 4u) << "3 hears it";
  c.run_for(5s);
  EXPECT_TRUE(c[0].is_leader());
  for (const std::size_t id : {0u, 1u, 2u, 3u}) EXPECT_EQ(c.status(id).leader_ballot, before) << id;
}

// Who proposes says so, happy or not: a candidate is followed at once.
TEST(Election, OnlyWhoProposesNamesABallotOfItsOwn) {
  Cluster c({});
  c.elect(0);
  const auto told = [&](std::size_t id) {
    c.bag().clear();
    c.advance(c.setup().heartbeat);
    c.tick(1 - id);
    c.deliver_if(is_to<HeartbeatRequest>(id));
    const auto replies = take<HeartbeatReply>(c, id, 1 - id);
    EXPECT_EQ(replies.size(), 1u);
    return replies.at(0);
  };
  EXPECT_TRUE(told(0).proposing());
  EXPECT_FALSE(told(1).proposing());
  c.restart(0);
  const HeartbeatReply reply = told(0);
  EXPECT_EQ(reply.leader, c.status(0).ballot) << "it will follow nothing lower";
  EXPECT_FALSE(reply.proposing());
  EXPECT_TRUE(reply.ballot.none());
}

// Without a write of its own no Nack would ever tell it.
TEST(Election, ALeaderStopsWhenAPeerIsHappyWithAHigherBallot) {
  Cluster c({.replicas = 5});
  c.elect(0);
  c.advance(c.setup().heartbeat);
  c.tick(0);
  const auto requests = take<HeartbeatRequest>(c, 0, 2);
  ASSERT_EQ(requests.size(), 1u);
  ASSERT_TRUE(c[0].is_leader());
  c.step(0, 2,
         HeartbeatReply{
             .nonce = requests[0].nonce, .ballot = ballot(3, 2), .leader = ballot(50, 3), .happy = true});
  EXPECT_FALSE(c[0].is_leader());
}

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

// --- sick disks (rules 2 and 7) ---

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

// 3 leads and its disk hangs; 2 could do it better. They don't hear each other, and who is between them hears both.
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

// --- clocks that stand still (rule 7) ---

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
      // Around an election timeout, mostly: what was heard a little before is still fresh, and the rest is not.
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

// --- hand-over ---

TEST(Election, AHandOverNamesItsSuccessorAndIsQuick) {
  Cluster c({});
  c.elect(0);
  c.run_for(200ms);
  const auto before = c.leader_changes();
  ASSERT_TRUE(c.hand_over(0));
  EXPECT_TRUE(c.run_until([&] { return c.leader().has_value() && *c.leader() != 0; }, 20ms));
  EXPECT_TRUE(progresses(c, c.setup().election_timeout));
  expect_quiet(c, 20);
  EXPECT_EQ(c.leader_changes(), before + 1);
}

TEST(Election, AHandOverOfABallotThatIsNotFollowedIsIgnored) {
  Cluster c({});
  c.elect(0);
  c.run_for(200ms);
  const Ballot b = c.status(0).ballot;
  c.step(1, 0, HandOver{ballot(b.round - 1, 0)});
  c.step(1, 2, HandOver{b});
  EXPECT_EQ(c.status(1).ballot, b);
}

TEST(Election, AFollowerOrALonelyLeaderCantHandOver) {
  Cluster c({});
  c.elect(0);
  EXPECT_FALSE(c.hand_over(1));
  c.isolate(0);
  c.advance(c.setup().election_timeout + 1ms);
  EXPECT_FALSE(c.hand_over(0)) << "nobody is connected";
}

// --- what a peer's words are worth ---

/// Answers the heartbeat of `id` that is under way to `from`.
void answer_heartbeat(Cluster& c, std::size_t id, std::size_t from, HeartbeatReply reply) {
  const auto requests = take<HeartbeatRequest>(c, id, from);
  ASSERT_EQ(requests.size(), 1u);
  reply.nonce = requests[0].nonce;
  c.step(id, from, reply);
}

// Rule 4: the leader itself must say that it is happy, with the ballot that it leads with.
TEST(Election, ALeaderIsOnlyBelievedToBeHappyWithItsOwnBallot) {
  Cluster c({});
  c.elect(1);
  const Ballot b = c.status(0).leader_ballot;
  const auto says_happy = [&](Ballot own) {
    c.advance(c.setup().heartbeat);
    c.tick(0);
    answer_heartbeat(c, 0, 1, {.ballot = own, .leader = b, .happy = true});
    c.tick(0);
    c.step(0, 2, HeartbeatRequest{5});
    const auto replies = take<HeartbeatReply>(c, 0, 2);
    return !replies.empty() && replies.back().happy;
  };
  EXPECT_TRUE(says_happy(b));
  EXPECT_FALSE(says_happy(ballot(b.round - 1, 1)));
}

TEST(Election, NobodysHeartbeatIsACommitOfAnothersBallotNorOfNone) {
  Cluster c({});
  c.elect(1);
  c.step(0, 1, Accept{c.status(0).ballot, Slot{1}, {}, command("a")});
  c.advance(c.setup().heartbeat);
  c.tick(0);
  const Ballot b = c.status(0).ballot;
  answer_heartbeat(c, 0, 2, {.ballot = b, .leader = b, .happy = true, .chosen_prefix = Slot{1}});
  EXPECT_EQ(c.status(0).chosen, Slot{}) << "2 speaks with the ballot of 1";

  Cluster fresh({});
  fresh.tick(1);
  answer_heartbeat(fresh, 1, 0, {.happy = true, .chosen_prefix = Slot{1}});  // round 0 is no ballot
  fresh.step(1, 0, Accept{ballot(1, 0), Slot{1}, {}, command("a")});
  EXPECT_EQ(fresh.status(1).chosen, Slot{});
}

// Election::evaluate: who knows less waits for those who know more.
TEST(Election, WhoIsFarBehindAConnectedCandidateWaitsHalfATimeoutLonger) {
  const auto waits = [](std::uint64_t candidates_prefix) {
    Cluster c({});
    c.tick(0);
    for (const std::size_t peer : {1u, 2u})
      answer_heartbeat(c, 0, peer, {.candidate = true, .chosen_prefix = Slot{candidates_prefix}});
    const Time begin = c.now();
    for (int i = 0; i < 400 && c.status(0).role == Role::follower; ++i) {
      c.tick(0);
      c.advance(1ms);
    }
    EXPECT_EQ(c.status(0).role, Role::candidate);
    return c.now() - begin;
  };
  EXPECT_LT(waits(limits::window_slots), 50ms);
  EXPECT_GT(waits(limits::window_slots + 1), 125ms);
}

// Rule 9. Who got ahead is not heard here; only its ballot is, by the Nack of one between the two.
TEST(Election, ACandidateWhomANackStoppedGivesTheOtherATimeout) {
  Cluster c({});
  c.connect();
  c.campaign(0);
  const Ballot b = c.status(0).ballot;
  ASSERT_EQ(c.status(0).role, Role::candidate);
  c.step(0, 1, Nack{b, ballot(b.round + 1, 2)});
  ASSERT_NE(c.status(0).role, Role::candidate);
  const Time begin = c.now();
  while (c.status(0).role != Role::candidate && c.now() - begin < 2s) {
    c.advance(c.setup().heartbeat);
    c.tick(0);
    for (const std::size_t peer : {1u, 2u}) answer_heartbeat(c, 0, peer, {});
    c.bag().clear();
  }
  EXPECT_GE(c.now() - begin, c.setup().election_timeout);
  EXPECT_LE(c.now() - begin, 2 * c.setup().election_timeout);
}

// Rule 7, where nobody else could lead: it is enough to be a candidate oneself.
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

}  // namespace
}  // namespace paxos_test
