#include "client/session/outbox.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/client/session/fake_cluster.h"

namespace client::test {
namespace {

class OutboxTest : public ::testing::Test {
 protected:
  Outbox::Options options(std::size_t replicas = 3, bool journal = false) {
    return {.replicas = replicas, .first = {0}, .random = [this] { return random_(); }, .journal = journal};
  }
  static chat::Post post(int i, const std::string& room = "ops") {
    return {room, "ann", "text " + std::to_string(i)};
  }
  /// Every posted text stands in the log once, in order.
  static void expect_log(const FakeCluster& cluster, int count) {
    ASSERT_EQ(cluster.log.size(), static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i)
      EXPECT_EQ(cluster.log[static_cast<std::size_t>(i)].text, "text " + std::to_string(i));
  }
  static void expect_receipts_are_the_log(const FakeCluster& cluster) {
    ASSERT_EQ(cluster.delivered.size(), cluster.log.size());
    for (std::size_t i = 0; i < cluster.log.size(); ++i) {
      EXPECT_EQ(cluster.delivered[i].refused, "");
      EXPECT_EQ(cluster.delivered[i].message, cluster.log[i]);
    }
  }
  std::mt19937_64 random_{7};
};

TEST_F(OutboxTest, DeliversInOrderWithReceiptsThatNameThePlace) {
  FakeCluster cluster;
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(outbox.post(cluster.now, post(i)), static_cast<std::uint64_t>(i + 1));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  expect_log(cluster, 10);
  expect_receipts_are_the_log(cluster);
}

TEST_F(OutboxTest, KeepsAtMost256Outstanding) {
  FakeCluster cluster;
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  std::uint64_t highest = 0;
  cluster.swallow = [&](const chat::Command& c) {
    highest = std::max(highest, c.seq);
    return c.seq != 0;
  };
  for (int i = 0; i < 600; ++i) outbox.post(cluster.now, post(i));
  EXPECT_FALSE(cluster.run([&] { return outbox.pending() == 0; }, 2s));
  EXPECT_EQ(highest, 256u);
  cluster.swallow = nullptr;
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  expect_log(cluster, 600);
}

TEST_F(OutboxTest, AMessageThatWaitedSaysWhenItWasWrittenAndOthersDoNot) {
  FakeCluster cluster;
  cluster.raise_rules();
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, {.room = "ops", .name = "ann", .text = "at once", .written_ms = 1000});
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  cluster.leader.reset();
  outbox.post(cluster.now, {.room = "ops", .name = "ann", .text = "waited", .written_ms = 2000});
  EXPECT_FALSE(cluster.run([&] { return outbox.pending() == 0; }, 10s));
  cluster.leader = 0;
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  ASSERT_EQ(cluster.log.size(), 2u);
  EXPECT_EQ(cluster.log[0].written_ms, 0);
  EXPECT_EQ(cluster.log[1].written_ms, 2000);
  // One that an earlier run left has waited, however long this one has.
  Ledger left;
  ASSERT_TRUE(left.apply(Queued{1, {.room = "ops", .name = "ann", .text = "left", .written_ms = 3000}}));
  Outbox next(options(), cluster.now, left);
  cluster.attach(next);
  ASSERT_TRUE(cluster.run([&] { return next.pending() == 0; }));
  EXPECT_EQ(cluster.log.at(2).written_ms, 3000);
}

TEST_F(OutboxTest, WhereItIsNotKnownWhenAMessageWasWrittenItGoesWithout) {
  for (const bool readable : {false, true}) {  // replicas of version 0.1.0; newer ones among some
    FakeCluster cluster;
    cluster.reads_keys = readable;
    cluster.refuse = [](const chat::Command& command) { return chat::validate(command, 1); };
    Outbox outbox(options(), cluster.now);
    cluster.attach(outbox);
    cluster.leader.reset();
    for (int i = 0; i < 5; ++i)
      outbox.post(cluster.now,
                  {.room = "ops", .name = "ann", .text = "text " + std::to_string(i), .written_ms = 2000});
    outbox.post(cluster.now, {.room = "", .name = "ann", .text = "of no room", .written_ms = 2000});
    EXPECT_FALSE(cluster.run([&] { return outbox.pending() == 0; }, 10s));
    cluster.leader = 0;
    cluster.doubled = 0.5;
    ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
    expect_log(cluster, 5);
    ASSERT_EQ(cluster.delivered.size(), 6u);
    for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(cluster.delivered[i].refused, "") << i;
    EXPECT_NE(cluster.delivered[5].refused, "") << "a refusal for another reason is one";
  }
}

TEST_F(OutboxTest, ALateRefusalOfACopyThatToldWhenItWasWrittenSetsNothingAside) {
  FakeCluster cluster;
  chat::CommandRefused first;
  cluster.refuse = [&](const chat::Command& command) {
    std::string why = chat::validate(command, 1);
    if (!why.empty()) first = {.session = command.session, .client_seq = command.seq, .reason = why};
    return why;
  };
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, post(0));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  cluster.leader.reset();
  outbox.post(cluster.now, {.room = "ops", .name = "ann", .text = "text 1", .written_ms = 2000});
  EXPECT_FALSE(cluster.run([&] { return outbox.pending() == 0; }, 10s));
  // What goes without does not arrive yet.
  cluster.swallow = [](const chat::Command& command) {
    const auto* content = std::get_if<chat::Post>(&command.operation);
    return content != nullptr && content->written_ms == 0;
  };
  cluster.leader = 0;
  EXPECT_FALSE(cluster.run([&] { return outbox.pending() == 0; }, 10s));
  ASSERT_NE(first.reason, "");
  outbox.on_reply(cluster.now, {0}, first);  // read late, by a replica that hung meanwhile
  cluster.turn();
  cluster.swallow = {};
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  expect_log(cluster, 2);
  EXPECT_EQ(cluster.delivered.back().refused, "");
}

TEST_F(OutboxTest, ARedactionThatRanAfterAllIsAskedForAnew) {
  FakeCluster cluster;
  cluster.raise_rules();
  chat::CommandRefused late;
  cluster.refuse = [&](const chat::Command& command) {
    if (std::holds_alternative<chat::Redact>(command.operation))
      late = {.session = command.session, .client_seq = command.seq, .reason = "not known here"};
    return std::string();
  };
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, post(0));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  // It runs, and all that the client hears is a replica that could not read it: it is set aside, and what
  // closes its number finds that it ran.
  cluster.loss_of_replies = true;
  outbox.redact(cluster.now, {.room = "ops", .seq = 1, .by = "ann", .reason = "a secret"});
  EXPECT_FALSE(cluster.run([&] { return outbox.pending() == 0; }, 5s));
  ASSERT_FALSE(late.session.none());
  outbox.on_reply(cluster.now, {0}, late);
  cluster.turn();
  cluster.loss_of_replies = false;
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  ASSERT_EQ(cluster.delivered.size(), 2u);
  EXPECT_EQ(cluster.delivered[1].refused, "");
  EXPECT_EQ(cluster.delivered[1].message.seq, 1u);
  EXPECT_NE(cluster.delivered[1].message.session, cluster.delivered[0].message.session);
}

TEST_F(OutboxTest, TellsWhatCertainlyDoesNotStandFromWhatMay) {
  FakeCluster cluster;
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  cluster.leader.reset();
  outbox.post(cluster.now, post(0));
  EXPECT_FALSE(cluster.run([&] { return outbox.pending() == 0; }, 2s));
  ASSERT_EQ(outbox.unfinished(10).size(), 1u);
  EXPECT_FALSE(outbox.unfinished(10)[0].perhaps) << "there is no session that it could have been sent in";
  cluster.leader = 0;
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  EXPECT_TRUE(outbox.unfinished(10).empty());
  cluster.apply = false;
  outbox.post(cluster.now, post(1));
  outbox.post(cluster.now, post(2, "other"));
  EXPECT_FALSE(cluster.run([&] { return outbox.pending() == 0; }, 1s));
  ASSERT_EQ(outbox.unfinished(10).size(), 2u);
  EXPECT_TRUE(outbox.unfinished(10)[0].perhaps);
  EXPECT_EQ(outbox.unfinished(10)[1].room, "other");
  EXPECT_EQ(outbox.unfinished(1).size(), 1u);
}

TEST_F(OutboxTest, ExactlyOnceInOrderOverALossyDoublingChannel) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    FakeCluster cluster(seed);
    cluster.loss = 0.3;
    cluster.doubled = 0.2;
    cluster.leader = static_cast<std::uint8_t>(seed % 3);
    Outbox outbox(options(), cluster.now);
    cluster.attach(outbox);
    for (int i = 0; i < 100; ++i) outbox.post(cluster.now, post(i));
    ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; })) << seed;
    expect_log(cluster, 100);
    expect_receipts_are_the_log(cluster);
  }
}

TEST_F(OutboxTest, FollowsARedirectAtOnce) {
  FakeCluster cluster;
  cluster.leader = 2;
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, post(0));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }, 60ms));
  EXPECT_EQ(outbox.target(), ReplicaId{2});
  EXPECT_FALSE(cluster.asked.contains(1));
}

TEST_F(OutboxTest, LeavesASilentReplicaForTheNext) {
  FakeCluster cluster;
  cluster.leader = 1;
  cluster.down = {0};
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, post(0));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }, 500ms));
  expect_log(cluster, 1);
}

TEST_F(OutboxTest, LetsOthersForwardToALeaderThatItCannotReach) {
  FakeCluster cluster;
  cluster.leader = 0;
  cluster.unreachable = {0};
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  for (int i = 0; i < 20; ++i) outbox.post(cluster.now, post(i));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }, 2s));
  expect_log(cluster, 20);
}

TEST_F(OutboxTest, ReturnsToTheLeaderItselfWhenThatIsInReachAgain) {
  FakeCluster cluster;
  cluster.unreachable = {0};
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, post(0));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }, 2s));
  EXPECT_NE(outbox.target(), ReplicaId{0});
  cluster.unreachable = {};
  cluster.now += 5s;
  cluster.swallow = [&](const chat::Command& c) { return outbox.target() != ReplicaId{0} && c.seq == 2; };
  outbox.post(cluster.now, post(1));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }, 3s));
  EXPECT_EQ(outbox.target(), ReplicaId{0});
}

TEST_F(OutboxTest, SaysWhyNothingMovesAndGoesOnWhenItDoes) {
  FakeCluster cluster;
  cluster.leader.reset();
  cluster.waiting = chat::WaitReason::no_quorum;
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, post(0));
  EXPECT_FALSE(cluster.run([&] { return outbox.pending() == 0; }, 1s));
  EXPECT_NE(outbox.trouble().find("no quorum"), std::string::npos) << outbox.trouble();
  cluster.leader = 1;
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }, 1s));
  EXPECT_EQ(outbox.trouble(), "");
}

TEST_F(OutboxTest, NamesTheDisksThatAreFullAndGoesOnSoonWhenThereIsRoom) {
  FakeCluster cluster;
  cluster.full = {{0}, {2}};
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, post(0));
  EXPECT_EQ(outbox.disks_full(), std::nullopt);
  ASSERT_TRUE(cluster.run([&] { return outbox.disks_full().has_value(); }, 100ms));
  EXPECT_EQ(*outbox.disks_full(), "disks of replicas 0, 2 are full");
  EXPECT_EQ(outbox.trouble(), "disks of replicas 0, 2 are full");
  EXPECT_FALSE(outbox.unfinished(1).at(0).perhaps) << "nothing but the session's open has left";
  const std::size_t asked = cluster.commands_seen;
  EXPECT_FALSE(cluster.run([] { return false; }, 10s));
  EXPECT_LT(cluster.commands_seen - asked, 120u);
  EXPECT_EQ(outbox.target(), ReplicaId{0}) << "no other one takes it";
  cluster.full.clear();
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }, 250ms));
  EXPECT_EQ(outbox.disks_full(), std::nullopt);
  expect_log(cluster, 1);
}

// What never left can be given back.
TEST_F(OutboxTest, WhereDisksAreFullNothingLeavesButWhatWasSent) {
  FakeCluster cluster;
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, post(0));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  cluster.full = {{1}, {2}};
  outbox.post(cluster.now, post(1));
  ASSERT_TRUE(cluster.run([&] { return outbox.disks_full().has_value(); }, 1s));
  for (int i = 2; i < 5; ++i) outbox.post(cluster.now, post(i));
  EXPECT_FALSE(cluster.run([] { return false; }, 2s));
  const auto left = outbox.unfinished(10);
  ASSERT_EQ(left.size(), 4u);
  EXPECT_TRUE(left[0].perhaps);
  for (std::size_t i = 1; i < 4; ++i) EXPECT_FALSE(left[i].perhaps) << i;
  cluster.full.clear();
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }, 1s));
  expect_log(cluster, 5);
}

TEST_F(OutboxTest, FindsANewLeaderSoonHoweverLongTheElectionTook) {
  for (const Duration election : {Duration{100ms}, Duration{1s}, Duration{10s}}) {
    FakeCluster cluster;
    Outbox outbox(options(), cluster.now);
    cluster.attach(outbox);
    outbox.post(cluster.now, post(0));
    ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
    cluster.down = {0};
    cluster.leader.reset();
    outbox.post(cluster.now, post(1));
    EXPECT_FALSE(cluster.run([&] { return outbox.pending() == 0; }, election));
    cluster.leader = 2;
    EXPECT_TRUE(cluster.run([&] { return outbox.pending() == 0; }, 500ms));
    expect_log(cluster, 2);
  }
}

TEST_F(OutboxTest, DoesNotFloodAClusterThatIsDown) {
  FakeCluster cluster;
  cluster.leader.reset();
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, post(0));
  EXPECT_FALSE(cluster.run([&] { return false; }, 10s));
  EXPECT_LT(cluster.commands_seen, 400u);  // 40 ms apart while replicas answer
  cluster.down = {0, 1, 2};
  const std::uint64_t before = outbox.figures().repeats;
  EXPECT_FALSE(cluster.run([&] { return false; }, 10s));
  EXPECT_LT(outbox.figures().repeats - before, 120u);
}

TEST_F(OutboxTest, TwoReplicasThatNameEachOtherDoNotMakeItSpin) {
  Outbox outbox(options(2), Time{});
  outbox.post(Time{}, post(0));
  std::uint64_t sends = 0;
  for (Time at{}; at < Time{} + 1s; at += 1ms) {
    if (outbox.deadline() <= at) outbox.tick(at);
    OutboxOutput out = outbox.take_output(at);
    for (const Sending& s : out.sends) {
      ++sends;
      outbox.on_reply(at, s.to, chat::Redirect{ReplicaId{static_cast<std::uint8_t>(1 - s.to.n)}});
    }
  }
  EXPECT_LT(sends, 60u);
  EXPECT_GT(sends, 4u);
}

TEST_F(OutboxTest, AHoleIsNoReasonToLeaveTheLeader) {
  FakeCluster cluster;
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, post(0));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  outbox.post(cluster.now, post(1));
  cluster.apply = false;
  for (int i = 0; i < 100; ++i) {
    cluster.run([] { return false; }, 50ms);
    outbox.on_reply(cluster.now, {0}, chat::Waiting{chat::WaitReason::hole, paxos::Slot{9}, {}});
  }
  EXPECT_EQ(outbox.target(), ReplicaId{0});
  EXPECT_NE(outbox.trouble().find("slot 9"), std::string::npos) << outbox.trouble();
  cluster.apply = true;
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
}

TEST_F(OutboxTest, ACloseEndsTheSessionInTheLog) {
  FakeCluster cluster;
  cluster.loss = 0.3;
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  for (int i = 0; i < 5; ++i) outbox.post(cluster.now, post(i));
  outbox.close(cluster.now);
  ASSERT_TRUE(cluster.run([&] { return outbox.closed(); }));
  EXPECT_EQ(cluster.machine().sessions(), 0u);
  expect_log(cluster, 5);
}

TEST_F(OutboxTest, ClosingWithoutASessionAsksNobody) {
  FakeCluster cluster;
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.close(cluster.now);
  EXPECT_TRUE(cluster.run([&] { return outbox.closed(); }, 1ms));
  EXPECT_TRUE(cluster.asked.empty());
}

// --- sessions that are gone ---

TEST_F(OutboxTest, AnExpiredSessionWithNothingUnderWayIsReplaced) {
  FakeCluster cluster;
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, post(0));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  const chat::SessionId first = outbox.session();
  cluster.expire_all_sessions();
  outbox.post(cluster.now, post(1));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  EXPECT_NE(outbox.session(), first);
  expect_log(cluster, 2);
  expect_receipts_are_the_log(cluster);
}

/// The messages ran, their receipts were lost, then the session expired: sending them again would double
/// them.
TEST_F(OutboxTest, LooksForUnansweredMessagesInTheHistoryAfterAnExpiry) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    FakeCluster cluster(seed);
    cluster.loss = 0.2;
    Outbox outbox(options(), cluster.now);
    cluster.attach(outbox);
    outbox.post(cluster.now, post(0));
    ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
    for (int i = 1; i < 40; ++i) outbox.post(cluster.now, post(i));
    // Let about a third of them run, unheard.
    const std::size_t wanted = 1 + seed * 3;
    cluster.swallow = [&](const chat::Command& c) { return c.seq > wanted; };
    cluster.turn();
    cluster.run([&] { return cluster.log.size() >= wanted; }, 5s);
    ASSERT_EQ(cluster.log.size(), wanted);
    cluster.swallow = nullptr;
    cluster.expire_all_sessions();
    ASSERT_EQ(cluster.machine().sessions(), 0u);
    ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; })) << seed;
    expect_log(cluster, 40);
    expect_receipts_are_the_log(cluster);
  }
}

TEST_F(OutboxTest, TheSearchGoesBackThroughManyPagesAndRooms) {
  FakeCluster cluster;
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, post(0, "a"));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  // These run, but nobody hears of it.
  for (int i = 1; i <= 6; ++i) outbox.post(cluster.now, post(i, i % 2 == 0 ? "a" : "b"));
  OutboxOutput lost = outbox.take_output(cluster.now);
  for (const Sending& s : lost.sends)
    for (const paxos::Bytes& bytes : std::get<chat::ClientCommands>(s.message).commands)
      (void)cluster.apply_batch({*chat::decode_command(bytes.span())}, cluster.time_ms());
  ASSERT_EQ(cluster.log.size(), 7u);
  // A thousand later messages of someone else in both rooms, large ones: pages are cut by bytes, too.
  chat::Nonce nonce{9};
  const auto opened = cluster.apply_batch(
      {{.session = {}, .seq = 0, .answered_below = 0, .operation = chat::Open{nonce}}}, cluster.time_ms());
  std::uint64_t seq = 0;
  for (int i = 0; i < 1000; ++i) {
    ++seq;
    (void)cluster.apply_batch(
        {{.session = opened[0].session,
          .seq = seq,
          .answered_below = seq,
          .operation = chat::Post{i % 2 == 0 ? "a" : "b", "bob", std::string(2000, 'x')}}},
        cluster.time_ms());
  }
  cluster.expire_all_sessions();
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  EXPECT_EQ(cluster.log.size(), 1007u);
  ASSERT_EQ(cluster.delivered.size(), 7u);
  for (std::size_t i = 0; i < 7; ++i) EXPECT_EQ(cluster.delivered[i].message, cluster.log[i]) << i;
}

TEST_F(OutboxTest, AReceiptThatIsGoneIsFoundInTheHistory) {
  FakeCluster cluster;
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, post(0));
  outbox.post(cluster.now, post(1));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  // A client that died after it had said "all answered", and whose own note of it was lost.
  Ledger saved;
  saved.session = outbox.session();
  saved.next_seq = 3;
  saved.next_ticket = 3;
  saved.entries = {{1, 1, post(0)}, {2, 2, post(1)}};
  (void)cluster.apply_batch({{.session = saved.session, .seq = 3, .answered_below = 3, .operation = post(2)}},
                            cluster.time_ms());
  cluster.delivered.clear();
  Outbox again(options(), cluster.now, saved);
  cluster.attach(again);
  ASSERT_TRUE(cluster.run([&] { return again.pending() == 0; }));
  expect_log(cluster, 3);
  ASSERT_EQ(cluster.delivered.size(), 2u);
  EXPECT_EQ(cluster.delivered[0].message, cluster.log[0]);
  EXPECT_EQ(cluster.delivered[1].message, cluster.log[1]);
}

TEST_F(OutboxTest, ASessionInUseElsewhereIsRefusedAndLeft) {
  FakeCluster cluster;
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, post(0));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  (void)cluster.apply_batch({{.session = outbox.session(),
                              .seq = 2,
                              .answered_below = 2,
                              .operation = chat::Post{"ops", "eve", "copy"}}},
                            cluster.time_ms());
  const chat::SessionId shared = outbox.session();
  outbox.post(cluster.now, post(1));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  ASSERT_EQ(cluster.delivered.size(), 2u);
  EXPECT_NE(cluster.delivered[1].refused.find("in use elsewhere"), std::string::npos);
  outbox.post(cluster.now, post(2));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  EXPECT_EQ(cluster.delivered[2].refused, "");
  EXPECT_NE(outbox.session(), shared);
}

TEST_F(OutboxTest, ACommandRefusedOutsideTheLogIsReportedAndTheOthersGoOn) {
  FakeCluster cluster;
  cluster.loss = 0.2;
  cluster.refuse = [](const chat::Command& c) {
    const auto* p = std::get_if<chat::Post>(&c.operation);
    return p != nullptr && p->text == "text 3" ? std::string("words this version does not know")
                                               : std::string();
  };
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  for (int i = 0; i < 8; ++i) outbox.post(cluster.now, post(i));
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  ASSERT_EQ(cluster.delivered.size(), 8u);
  EXPECT_EQ(cluster.log.size(), 7u);
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(cluster.delivered[i].ticket, i + 1);
    EXPECT_EQ(cluster.delivered[i].refused.empty(), i != 3) << cluster.delivered[i].refused;
  }
}

// --- across a restart ---

/// The client dies after any number of stored events, and starts again from them: each message still runs
/// once.
TEST_F(OutboxTest, ResumesFromItsLedgerWhereverItDied) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    FakeCluster cluster(seed);
    cluster.loss = 0.25;
    std::mt19937_64 choice(seed);
    Ledger stored;
    std::size_t folded = 0;
    int posted = 0;
    for (int life = 0; life < 6; ++life) {
      Outbox outbox(options(3, true), cluster.now, stored);
      cluster.attach(outbox);
      for (int i = 0; i < 10; ++i) outbox.post(cluster.now, post(posted++));
      const bool last = life == 5;
      cluster.turn();
      if (last)
        ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; })) << seed;
      else
        cluster.run([] { return false; }, std::chrono::milliseconds{choice() % 400});
      cluster.detach();
      if (!last && choice() % 3 == 0) cluster.expire_all_sessions();
      // All events that something depends on are stored; the latest Answered may be lost.
      std::size_t end = cluster.events.size();
      while (!last && end > folded && std::holds_alternative<Answered>(cluster.events[end - 1]) &&
             choice() % 2 == 0)
        --end;
      for (; folded < end; ++folded) ASSERT_TRUE(stored.apply(cluster.events[folded]));
      cluster.events.resize(end);
    }
    std::map<std::string, std::vector<chat::Message>> by_text;
    for (const chat::Message& m : cluster.log) by_text[m.text].push_back(m);
    for (const auto& [text, all] : by_text)
      if (all.size() != 1)
        for (const chat::Message& m : all)
          ADD_FAILURE() << "seed " << seed << ": " << text << " stands at slot " << m.slot.n << " as "
                        << chat::to_string(m.session) << " #" << m.client_seq;
    expect_log(cluster, posted);
    // Each was shown at least once, and where it stands.
    std::set<std::string> shown;
    for (const Delivery& d : cluster.delivered) {
      EXPECT_EQ(d.refused, "") << seed;
      shown.insert(d.message.text);
      EXPECT_GT(d.message.seq, 0u);
    }
    EXPECT_EQ(shown.size(), static_cast<std::size_t>(posted)) << seed;
    EXPECT_TRUE(stored.entries.empty());
  }
}

TEST(Ledger, RefusesEventsThatDoNotFollow) {
  Ledger ledger;
  EXPECT_FALSE(ledger.apply(Queued{2, {"ops", "", "x"}}));
  EXPECT_TRUE(ledger.apply(Queued{1, {"ops", "", "x"}}));
  EXPECT_FALSE(ledger.apply(Opened{}));
  EXPECT_FALSE(ledger.apply(Answered{2}));
  EXPECT_TRUE(ledger.apply(Opened{{paxos::Slot{4}, 0}}));
  EXPECT_EQ(ledger.entries[0].seq, 1u);
  EXPECT_EQ(ledger.next_seq, 2u);
  EXPECT_TRUE(ledger.apply(Abandoned{}));
  EXPECT_EQ(ledger.entries[0].seq, 0u);
  EXPECT_TRUE(ledger.apply(Answered{1}));
  EXPECT_TRUE(ledger.apply(Answered{1}));
  EXPECT_TRUE(ledger.entries.empty());
}

TEST_F(OutboxTest, AMessageWithAKeyStandsOnceAndGetsTheFirstOnesReceipt) {
  FakeCluster cluster;
  cluster.raise_rules();
  const chat::Post wanted{"ops", "ann", "db3 full", "db3"};
  {
    Outbox outbox(options(), cluster.now);
    cluster.attach(outbox);
    outbox.post(cluster.now, wanted);
    ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  }
  ASSERT_EQ(cluster.log.size(), 1u);
  EXPECT_FALSE(cluster.delivered.at(0).repeat);
  // Another process, under another name; and the same text twice in one session.
  Outbox again(options(), cluster.now);
  cluster.attach(again);
  again.post(cluster.now, {"ops", "bob", "db3 full", "db3"});
  again.post(cluster.now, wanted);
  again.post(cluster.now, {"ops", "bob", "another text", "db3"});
  again.post(cluster.now, {"ops", "bob", "goes on", ""});
  ASSERT_TRUE(cluster.run([&] { return again.pending() == 0; }));
  ASSERT_EQ(cluster.log.size(), 2u);
  for (const std::size_t i : {1U, 2U}) {
    EXPECT_TRUE(cluster.delivered.at(i).repeat);
    EXPECT_EQ(cluster.delivered.at(i).message, cluster.log[0]) << "the receipt is the first one's";
  }
  EXPECT_NE(cluster.delivered.at(3).refused.find("another text"), std::string::npos)
      << cluster.delivered.at(3).refused;
  EXPECT_EQ(cluster.delivered.at(4).message.text, "goes on");
}

TEST_F(OutboxTest, AKeyedMessageWhoseSessionExpiredIsFoundByItsKeyAndNotPostedAgain) {
  FakeCluster cluster;
  cluster.raise_rules();
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, {"ops", "ann", "first", ""});
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  // It is applied, and every answer is lost until the session is gone.
  cluster.loss_of_replies = true;
  outbox.post(cluster.now, {"ops", "ann", "db3 full", "db3"});
  ASSERT_TRUE(cluster.run([&] { return cluster.log.size() == 2; }));
  cluster.expire_all_sessions();
  cluster.loss_of_replies = false;
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  EXPECT_EQ(cluster.log.size(), 2u);
  EXPECT_EQ(cluster.delivered.back().message, cluster.log[1]);
}

TEST_F(OutboxTest, AReplicaThatCanNotReadAKeyRefusesThatMessageAndTheOthersGoOn) {
  FakeCluster cluster;
  cluster.reads_keys = false;
  Outbox outbox(options(), cluster.now);
  cluster.attach(outbox);
  outbox.post(cluster.now, {"ops", "ann", "one", ""});
  outbox.post(cluster.now, {"ops", "ann", "db3 full", "db3"});
  outbox.post(cluster.now, {"ops", "ann", "three", ""});
  ASSERT_TRUE(cluster.run([&] { return outbox.pending() == 0; }));
  ASSERT_EQ(cluster.delivered.size(), 3u);
  EXPECT_EQ(cluster.delivered[0].refused, "");
  EXPECT_NE(cluster.delivered[1].refused.find("older version"), std::string::npos)
      << cluster.delivered[1].refused;
  EXPECT_EQ(cluster.delivered[2].refused, "");
  ASSERT_EQ(cluster.log.size(), 2u);
  EXPECT_EQ(cluster.log[1].text, "three");
}

}  // namespace
}  // namespace client::test
