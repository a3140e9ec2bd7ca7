#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "tests/paxos/leadership.h"

/// Ballot leader election: who leads, whom a replica follows, hand-over. Source: Ng, Haridi, Carbone,
/// Omni-Paxos (EuroSys 2023), section 5; the states have the names of the table in paxos/election.h.
namespace paxos_test {
namespace {

using namespace std::chrono_literals;

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

// Connected: a link counts only when it works both ways.
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

// Followed: it takes a higher ballot from a peer that leads with it or is happy with it, from no other.
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

// Issue 10, point 5. Replica 4 promised itself a ballot that nobody ever heard of, and comes back where it
// hears but one of the others, so that it can't campaign. Were its word taken for a leader's, 3 would leave
// the leader, and depose it.
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

// Happy: the leader itself must say that it is happy, with the ballot that it leads with.
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

// Patience: who knows less waits for those who know more.
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

// Resting. Who got ahead is not heard here; only its ballot is, by the Nack of one between the two.
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

}  // namespace
}  // namespace paxos_test
