#include <gtest/gtest.h>

#include <chrono>

#include "tests/paxos/cluster.h"

/// Linearizable reads. Source: DESIGN.md section 4, reads; Ongaro, dissertation (2014), section 6.4.
namespace paxos_test {
namespace {

using namespace std::chrono_literals;

TEST(Reads, AnIndexCoversEverythingChosenBefore) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "a");
  c.settle();
  c.read(0, 7);
  EXPECT_TRUE(c.node(0).reads.empty()) << "not before a quorum confirmed";
  c.settle();
  ASSERT_EQ(c.node(0).reads.size(), 1u);
  EXPECT_EQ(c.node(0).reads[0].id, 7u);
  EXPECT_EQ(c.node(0).reads[0].index, Slot{1});
}

TEST(Reads, AnyReplicaServesThemByAskingTheLeader) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "a");
  c.settle();
  c.read(2, 7);
  c.settle();
  ASSERT_EQ(c.node(2).reads.size(), 1u);
  EXPECT_EQ(c.node(2).reads[0].index, Slot{1});
}

TEST(Reads, RoundsThatNobodyAnswersAreBounded) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "a");
  c.settle();
  const std::uint64_t reads = 3 * limits::read_rounds_max;
  for (std::uint64_t id = 1; id <= reads; ++id) c.read(2, id);
  EXPECT_EQ(c.count_if(is<ReadRequest>()), limits::read_rounds_max);
  c.settle();  // the answers make room, and what waited shares the next round
  EXPECT_EQ(c.node(2).reads.size(), reads);
}

// 0 led, was cut off, and 1 got something chosen since: an index of 0 would be too low.
TEST(Reads, ADeposedLeaderServesNone) {
  Cluster c({});
  c.elect(0);
  c.isolate(0);
  c.campaign(1);
  c.settle();
  c.propose(1, "new");
  c.settle();
  ASSERT_EQ(c.applied(1), 1u);
  ASSERT_TRUE(c[0].is_leader()) << "it doesn't know yet";
  c.heal();
  c.read(0, 7);
  c.settle();
  EXPECT_TRUE(c.node(0).reads.empty());
  EXPECT_FALSE(c[0].is_leader()) << "the Nack told it";
  c.tick(0);
  EXPECT_EQ(c.node(0).reads_failed, (std::vector<std::uint64_t>{7}));
}

// The promise must equal the leader's ballot, not exceed it.
TEST(Reads, AnAcceptorWithAHigherPromiseConfirmsNothing) {
  Cluster c({});
  c.step(0, 2, Prepare{ballot(5, 2), Slot{1}});
  c.step(0, 1, ReadConfirm{ballot(4, 1), 99});
  EXPECT_TRUE(take<ReadConfirmed>(c, 0, 1).empty());
  EXPECT_EQ(take<Nack>(c, 0, 1).size(), 1u);
}

TEST(Reads, AnAcceptorThatNeverPromisedConfirmsNothing) {
  Cluster c({});
  c.step(0, 1, ReadConfirm{ballot(4, 1), 99});
  EXPECT_TRUE(take<ReadConfirmed>(c, 0, 1).empty());
}

TEST(Reads, AConfirmationOfAnEarlierRoundDoesNotCount) {
  Cluster c({});
  c.elect(0);
  c.read(0, 1);
  const auto first = take<ReadConfirm>(c, 0, 1);
  c.bag().clear();
  ASSERT_EQ(first.size(), 1u);
  c.step(0, 1, ReadConfirmed{first[0].ballot, first[0].nonce});
  ASSERT_EQ(c.node(0).reads.size(), 1u);
  c.read(0, 2);
  c.step(0, 1, ReadConfirmed{first[0].ballot, first[0].nonce});
  EXPECT_EQ(c.node(0).reads.size(), 1u);
}

// A slot chosen under the old leader, of which the new one knows only the vote: acknowledged all the same.
TEST(Reads, TheIndexIncludesWhatPhaseOneAdopted) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "acknowledged");
  c.deliver_if(is_to<Accept>(1));
  c.deliver_if(is_from<Accepted>(1));
  ASSERT_EQ(c.applied(0), 1u);
  c.crash(0);
  c.bag().clear();
  c.campaign(1);
  c.deliver_if(is<Prepare>());
  c.deliver_if(is<Promise>());
  ASSERT_TRUE(c[1].is_leader());
  c.drop_if(is<Accept>());  // slot 1 is not chosen again yet
  c.read(1, 5);
  c.deliver_if(is<ReadConfirm>());
  c.deliver_if(is<ReadConfirmed>());
  ASSERT_EQ(c.node(1).reads.size(), 1u);
  EXPECT_EQ(c.node(1).reads[0].index, Slot{1});
}

TEST(Reads, ThoseThatArriveDuringARoundShareTheNext) {
  Cluster c({});
  c.elect(0);
  c.read(0, 1);
  c.propose(0, "a");  // chosen while the first round is under way
  c.deliver_if(is<Accept>());
  c.deliver_if(is<Accepted>());
  for (std::uint64_t id = 2; id <= 9; ++id) c.read(0, id);
  EXPECT_EQ(c.count_if(is<ReadConfirm>()), 2u) << "one round, two acceptors";
  c.deliver_if(is_to<ReadConfirm>(1));
  c.deliver_if(is<ReadConfirmed>());
  EXPECT_EQ(c.node(0).reads.size(), 1u) << "confirmed for the first only";
  EXPECT_EQ(c.count_if(is_link<ReadConfirm>(0, 1)), 1u) << "one more round for all eight";
  c.settle();
  ASSERT_EQ(c.node(0).reads.size(), 9u);
  for (std::size_t i = 1; i < 9; ++i) EXPECT_EQ(c.node(0).reads[i].index, Slot{1});
}

TEST(Reads, AnAnswerOfAnotherThanTheOneAskedIsIgnored) {
  Cluster c({});
  c.elect(0);
  c.read(2, 7);
  const auto requests = take<ReadRequest>(c, 2, 0);
  ASSERT_EQ(requests.size(), 1u);
  c.step(2, 1, ReadReply{requests[0].id, Slot{0}});
  EXPECT_TRUE(c.node(2).reads.empty());
}

TEST(Reads, ALostConfirmationIsAskedForAgain) {
  Cluster c({});
  c.elect(0);
  c.read(0, 7);
  c.drop_if(is<ReadConfirm>());
  EXPECT_TRUE(c.run_until([&] { return c.node(0).reads.size() == 1; }, 100ms));
}

TEST(Reads, ALostRequestIsRepeated) {
  Cluster c({});
  c.elect(0);
  c.read(2, 7);
  c.drop_if(is<ReadRequest>());
  EXPECT_TRUE(c.run_until([&] { return c.node(2).reads.size() == 1; }, 100ms));
}

TEST(Reads, DuringALeaderChangeTheNewLeaderAnswers) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "a");
  c.settle();
  c.read(2, 7);
  c.crash(0);
  // Where no leader is known the client is told, and asks again.
  ASSERT_TRUE(c.run_until(
      [&] {
        for (; !c.node(2).reads_failed.empty(); c.node(2).reads_failed.pop_back()) {
          c.run_for(20ms);
          c.read(2, 8);
        }
        return !c.node(2).reads.empty();
      },
      3s));
  EXPECT_GE(c.node(2).reads[0].index, Slot{1});
}

TEST(Reads, FailAtOnceWhereNoLeaderIsKnown) {
  Cluster c({});
  c.read(0, 7);
  EXPECT_EQ(c.node(0).reads_failed, (std::vector<std::uint64_t>{7}));
}

TEST(Reads, FailInTimeWhereTheLeaderIsGone) {
  Cluster c({});
  c.elect(0);
  c.isolate(2);
  c.read(2, 7);
  EXPECT_TRUE(c.run_until([&] { return !c.node(2).reads_failed.empty(); }, 4 * c.setup().election_timeout));
}

TEST(Reads, ASingleReplicaNeedsNobody) {
  Cluster c({.replicas = 1});
  c.run_for(500ms);
  ASSERT_TRUE(c.leader().has_value());
  c.propose(0, "a");
  c.read(0, 7);
  ASSERT_EQ(c.node(0).reads.size(), 1u);
  EXPECT_EQ(c.node(0).reads[0].index, Slot{1});
}

TEST(Reads, OnlyAConfirmationOfTheRoundsOwnBallotCounts) {
  Cluster c({});
  c.elect(0);
  c.read(0, 1);
  const auto asked = take<ReadConfirm>(c, 0, 1);
  ASSERT_EQ(asked.size(), 1u);
  c.step(0, 1, ReadConfirmed{ballot(asked[0].ballot.round + 1, 0), asked[0].nonce});
  EXPECT_TRUE(c.node(0).reads.empty());
  c.step(0, 1, ReadConfirmed{asked[0].ballot, asked[0].nonce});
  EXPECT_EQ(c.node(0).reads.size(), 1u);
}

// Both in one turn: the Nack says that someone else may have got something chosen by now.
TEST(Reads, AConfirmationRightAfterTheNackThatStoppedTheLeaderIsTooLate) {
  Cluster c({});
  c.elect(0);
  c.read(0, 1);
  const auto asked = take<ReadConfirm>(c, 0, 1);
  ASSERT_EQ(asked.size(), 1u);
  const Ballot b = asked[0].ballot;
  c[0].step(c.now(), ReplicaId{2}, c.node(2).disk.incarnation, Nack{b, ballot(b.round + 1, 2)});
  c[0].step(c.now(), ReplicaId{1}, c.node(1).disk.incarnation, ReadConfirmed{b, asked[0].nonce});
  c.tick(0);
  EXPECT_TRUE(c.node(0).reads.empty());
  EXPECT_EQ(c.node(0).reads_failed, (std::vector<std::uint64_t>{1}));
}

// I10: what waits for the next round is bounded, for the own clients and for other replicas.
TEST(Reads, ThatWaitForTheNextRoundAreBounded) {
  Cluster c({});
  c.elect(0);
  c.read(0, 1);  // a round that nobody confirms
  for (std::uint64_t id = 0; id <= limits::reads_waiting_max; ++id) c[0].read(c.now(), 100 + id);
  for (std::uint64_t id = 0; id <= limits::remote_rounds_max; ++id) c.step(0, 1, ReadRequest{id});
  EXPECT_EQ(c.node(0).reads_failed, (std::vector<std::uint64_t>{100 + limits::reads_waiting_max}))
      << "one too many is told so at once";
  c.settle();
  c.settle();
  EXPECT_EQ(c.node(0).reads.size(), 1 + limits::reads_waiting_max);
}

}  // namespace
}  // namespace paxos_test
