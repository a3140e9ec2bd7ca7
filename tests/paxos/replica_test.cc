#include "paxos/replica.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "tests/paxos/cluster.h"

/// A replica as a whole: skip, divergence, redirects, strangers. Source: DESIGN.md section 4.
namespace paxos_test {
namespace {

using namespace std::chrono_literals;

// --- withdrawn: its disk does not hold its words any more ---

TEST(Withdrawn, SaysNothingThatCountsAndTheOthersGoOn) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "one");
  c.settle();
  c[1].withdraw(c.now(), "a vote is damaged");
  c[1].withdraw(c.now(), "and another");
  EXPECT_FALSE(c.status(1).voting);
  EXPECT_EQ(c.status(1).reason, "a vote is damaged") << "the first reason stays";
  EXPECT_EQ(c[1].withdrawn(), "a vote is damaged");
  std::size_t counted = 0;
  c.on_deliver = [&](const Letter& letter) {
    const bool counts = std::holds_alternative<Promise>(letter.message) ||
                        std::holds_alternative<Accepted>(letter.message) ||
                        std::holds_alternative<Prepare>(letter.message) ||
                        std::holds_alternative<ReadConfirmed>(letter.message) ||
                        std::holds_alternative<HeartbeatReply>(letter.message);
    if (letter.from.n == 1 && counts) ++counted;
  };
  c.propose(0, "two");
  c.settle();
  EXPECT_EQ(c.status(0).chosen, Slot{2});
  c.crash(0);
  EXPECT_FALSE(c.run_until([&] { return c.leader().has_value(); }, 5s))
      << "two of three are left, and one of them does not count";
  c.restart(0);
  EXPECT_TRUE(c.run_until([&] { return c.leader().has_value(); }, 5s));
  EXPECT_NE(c.leader(), 1U);
  EXPECT_EQ(counted, 0U);
  c.restart(1);
  EXPECT_TRUE(c.run_until([&] { return c.status(1).voting && c.status(1).chosen >= Slot{2}; }, 5s))
      << "a start reads its disk again";
  EXPECT_TRUE(c.violations().empty());
}

TEST(Withdrawn, ALeaderStopsAtOnceAndAnotherTakesOver) {
  Cluster c({});
  c.elect(0);
  c[0].withdraw(c.now(), "its promise is damaged");
  EXPECT_FALSE(c[0].is_leader());
  EXPECT_FALSE(c[0].can_propose());
  EXPECT_TRUE(c.run_until([&] { return c.leader().has_value(); }, 5s));
  EXPECT_NE(c.leader(), 0U);
  EXPECT_TRUE(c.violations().empty());
}

// --- skip ---

TEST(Skip, LeavesTheSlotsEmptyWithANoOpAbove) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "one");
  c.settle();
  const SkipResult result = c.skip(0, {2, 4});
  EXPECT_EQ(result.refused, "");
  EXPECT_EQ(result.slots, (std::vector<Slot>{Slot{2}, Slot{4}}));
  EXPECT_EQ(result.next_free, Slot{6});
  c.settle();
  EXPECT_EQ(c.status(0).chosen, Slot{1});
  EXPECT_EQ(c.status(0).chosen_max, Slot{5}) << "each skipped slot has a chosen one above it";
  EXPECT_EQ(c.status(0).hole, Slot{2});
}

TEST(Skip, NothingAboveTheHoleIsAppliedAndNewCommandsGoOn) {
  Cluster c({});
  c.elect(0);
  ASSERT_EQ(c.skip(0, {1}).refused, "");
  c.propose(0, "waits");
  c.settle();
  EXPECT_EQ(c.status(0).chosen_max, Slot{3});
  EXPECT_EQ(c.applied_anywhere(), Slot{});
}

TEST(Skip, RefusesASlotAlreadyProposedAndNamesTheNextFreeOne) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "one");
  const SkipResult result = c.skip(0, {1, 5});
  EXPECT_NE(result.refused, "");
  EXPECT_EQ(result.next_free, Slot{2});
  EXPECT_TRUE(result.slots.empty());
}

TEST(Skip, RefusesSlotsBeyondTheWindow) {
  Cluster c({});
  c.elect(0);
  EXPECT_NE(c.skip(0, {limits::window_slots}).refused, "");
  EXPECT_NE(c.skip(0, {UINT64_MAX}).refused, "") << "the slot above it would be 0";
  EXPECT_NE(c.skip(0, {0}).refused, "");
  EXPECT_NE(c.skip(0, {}).refused, "");
  EXPECT_NE(c[0].skip_next(c.now(), SIZE_MAX).refused, "");
  EXPECT_EQ(c.skip(0, {limits::window_slots - 1}).refused, "");
}

TEST(Skip, OnlyTheLeaderSkips) {
  Cluster c({});
  c.elect(0);
  EXPECT_NE(c.skip(1, {1}).refused, "");
}

// The hole belongs to the ballot: any later one fills it with a no-op.
TEST(Skip, ALaterLeaderFillsTheHoleWithANoOp) {
  Cluster c({});
  c.elect(0);
  ASSERT_EQ(c.skip(0, {1}).refused, "");
  c.propose(0, "above");
  c.settle();
  c.crash(0);
  c.elect(1);
  EXPECT_EQ(c.text(1, 1), "(no-op)");
  EXPECT_EQ(c.text(1, 3), "above");
  c.restart(0);
  EXPECT_TRUE(c.run_until([&] { return c.applied(0) == 3; }, 2s));
}

TEST(Skip, TheSameReplicaFillsItAfterARestart) {
  Cluster c({});
  c.elect(0);
  ASSERT_EQ(c.skip(0, {1}).refused, "");
  c.settle();
  c.restart(0);
  c.elect(0);
  EXPECT_EQ(c.text(0, 1), "(no-op)");
  EXPECT_FALSE(c.status(0).hole.has_value());
}

TEST(Skip, ReadsGoOnOverAHole) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "one");
  c.settle();
  ASSERT_EQ(c.skip(0, {2}).refused, "");
  c.settle();
  c.read(0, 7);
  c.settle();
  ASSERT_EQ(c.node(0).reads.size(), 1u);
  EXPECT_EQ(c.node(0).reads[0].index, Slot{1}) << "nothing above the hole was acknowledged";
}

// --- the whole ---

TEST(Replica, CommandsReachAllReplicasInOneOrder) {
  for (std::size_t replicas : {1u, 2u, 3u, 4u, 5u, 7u, 9u}) {
    Cluster c({.replicas = replicas});
    c.elect(0);
    for (int i = 0; i < 30; ++i) {
      c.propose(0, "m" + std::to_string(i));
      c.run_for(3ms);
    }
    c.run_for(100ms);
    for (std::size_t id = 0; id < replicas; ++id) {
      ASSERT_EQ(c.applied(id), 30u) << replicas;
      EXPECT_EQ(c.text(id, 30), "m29");
    }
  }
}

TEST(Replica, AMinorityMayDieAtAnyMomentAndNothingChosenIsLost) {
  for (std::uint64_t moment = 1; moment < 60; ++moment) {
    Cluster c({.replicas = 3, .seed = moment, .auto_sync = false, .disk_delay = 300us});
    ASSERT_TRUE(c.run_until([&] { return c.leader().has_value(); }, 1s));
    const std::size_t first = *c.leader();
    c.run_for(100ms);
    c.propose(first, "a");
    c.run_for(moment * 50us);
    const bool known = c.applied(first) > 0;
    c.crash(first);
    ASSERT_TRUE(c.run_until([&] { return c.leader().has_value(); }, 1s));
    const std::size_t second = *c.leader();
    ASSERT_TRUE(c.run_until([&] { return c.try_propose(second, "b"); }, 1s));
    ASSERT_TRUE(c.run_until([&] { return c.applied(second) > 0 && c.status(second).inflight == 0; }, 1s));
    if (known) EXPECT_EQ(c.text(second, 1), "a") << "moment " << moment;
    c.restart(first);
    ASSERT_TRUE(c.run_until([&] { return c.applied(first) == c.applied(second); }, 1s));
    EXPECT_EQ(c.node(first).hashes.back(), c.node(second).hashes.back());
  }
}

TEST(Replica, FollowersKnowWhomToRedirectTo) {
  Cluster c({});
  c.elect(1);
  for (std::size_t id = 0; id < 3; ++id) EXPECT_EQ(c[id].leader(), ReplicaId{1}) << id;
  EXPECT_TRUE(c.forward(0, "hello"));
  c.settle();
  ASSERT_EQ(c.node(1).forwarded.size(), 1u);
  EXPECT_EQ(c.node(1).forwarded[0].view(), "hello");
  EXPECT_FALSE(c.forward(1, "hello")) << "it is the leader itself";
}

TEST(Replica, ForwardedCommandsAreDroppedWhereNobodyLeads) {
  Cluster c({});
  c.step(0, 1, Forward{{Bytes::copy_of("hello")}});
  EXPECT_TRUE(c.node(0).forwarded.empty());
}

// DESIGN 4, hash chain: a replica that disagrees with a quorum at an equal slot stops serving and says so.
TEST(Replica, OneThatComputesOtherHashesThanAQuorumStops) {
  Cluster c({});
  c.elect(0);
  c.node(2).corrupt = true;
  c.propose(0, "a");
  c.run_for(500ms);
  ASSERT_TRUE(c[2].diverged().has_value());
  EXPECT_FALSE(c.status(2).voting);
  EXPECT_NE(c.status(2).reason.find("slot 1"), std::string::npos) << c.status(2).reason;
  EXPECT_FALSE(c[0].diverged().has_value()) << "one that disagrees is no quorum";
  EXPECT_FALSE(c[1].diverged().has_value());
}

TEST(Replica, ALeaderThatDivergesStopsLeading) {
  Cluster c({});
  c.elect(0);
  c.node(0).corrupt = true;
  c.propose(0, "a");
  c.run_for(2s);
  EXPECT_TRUE(c[0].diverged().has_value());
  EXPECT_FALSE(c[0].is_leader());
  ASSERT_TRUE(c.leader().has_value());
  EXPECT_TRUE(c.try_propose(*c.leader(), "b"));
}

bool told(Cluster& c, std::size_t id, const std::string& words) {
  const auto& events = c.node(id).events;
  return std::any_of(events.begin(), events.end(),
                     [&](const std::string& text) { return text.find(words) != std::string::npos; });
}

// Issue 10, point 4: below a quorum nobody stops, but everybody says so.
TEST(Replica, TwoSurvivorsWhoDisagreeSayItAndGoOnVoting) {
  Cluster c({});
  c.elect(0);
  c.isolate(2);
  c.node(1).corrupt = true;
  c.propose(0, "a");
  c.run_for(500ms);
  for (const std::size_t id : {0u, 1u}) {
    const Status s = c.status(id);
    EXPECT_TRUE(s.voting);
    EXPECT_TRUE(s.disputed) << "no quorum tells who is right";
    EXPECT_EQ(s.disagreeing, (std::vector<ReplicaId>{ReplicaId{static_cast<std::uint8_t>(1 - id)}}));
    EXPECT_EQ(s.disagrees_since, Slot{1});
    EXPECT_TRUE(c[id].outlook().disputed);
    EXPECT_TRUE(told(c, id, "another state than this one by slot 1")) << id;
  }
  EXPECT_TRUE(c.try_propose(0, "b"));
  c.run_for(500ms);
  EXPECT_EQ(c.applied(0), 2u);

  // The third one tells which of the two it is.
  c.heal();
  c.run_for(1s);
  EXPECT_TRUE(c[1].diverged().has_value());
  EXPECT_FALSE(c[0].diverged().has_value());
  EXPECT_FALSE(c.status(0).disputed) << "a quorum agrees with it";
  EXPECT_EQ(c.status(0).disagreeing.size(), 1u) << "but the one that it disagreed with is not repaired yet";
}

// Repaired as docs/OPERATIONS.md says: its state is computed anew from the log.
TEST(Replica, ARepairedDisagreementIsForgotten) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "a");
  c.run_for(500ms);
  c.node(2).corrupt = true;
  c.propose(0, "b");
  c.run_for(500ms);
  ASSERT_TRUE(c[2].diverged().has_value());
  ASSERT_EQ(c.status(0).disagreeing.size(), 1u);
  c.crash(2);
  c.node(2).corrupt = false;
  c.node(2).state_durable = 0;
  c.restart(2);
  c.run_for(1s);
  ASSERT_EQ(c.applied(2), 2u);
  EXPECT_FALSE(c[2].diverged().has_value());
  for (const std::size_t id : {0u, 1u, 2u}) EXPECT_TRUE(c.status(id).disagreeing.empty()) << id;
  EXPECT_TRUE(told(c, 0, "replica 2 agrees again"));

  // The next one to go astray is another: with the first still counted, the sound ones would stop.
  c.node(1).corrupt = true;
  c.propose(0, "c");
  c.run_for(1s);
  EXPECT_TRUE(c[1].diverged().has_value());
  EXPECT_FALSE(c[0].diverged().has_value());
  EXPECT_FALSE(c[2].diverged().has_value());
}

// Who is woken for a sync for nothing pays a wake-up a command; who is not woken when it counts stands still.
TEST(Replica, WaitsForASyncOnlyWhenItIsWhatTheNextStepLacks) {
  Cluster c({.replicas = 3, .auto_sync = false});
  c.campaign(0);
  EXPECT_TRUE(c[0].waits_for_sync()) << "its Prepare";
  for (const std::size_t id : {0, 1, 2}) c.sync(id);
  while (!c.bag().empty()) {
    c.settle();
    for (const std::size_t id : {0, 1, 2}) c.sync(id);
  }
  ASSERT_TRUE(c[0].is_leader());
  c.propose(0, "one");
  EXPECT_FALSE(c[0].waits_for_sync()) << "its own vote alone chooses nothing";
  c.settle();
  EXPECT_FALSE(c[1].waits_for_sync()) << "an acceptor has nothing more to say than its vote";
  c.sync(1);
  c.settle();
  EXPECT_TRUE(c[0].waits_for_sync()) << "a vote of another came: its own is the one that lacks";
  c.sync(0);
  EXPECT_FALSE(c[0].waits_for_sync());
  EXPECT_EQ(c.applied(0), 1u);
  c.propose(0, "two");
  c.settle();
  c.sync(1);
  c.sync(2);
  c.settle();
  EXPECT_EQ(c.status(0).chosen, Slot{2}) << "by the two others";
  EXPECT_TRUE(c[0].waits_for_sync()) << "chosen, and not to be applied before it is on the disk here";
}

TEST(Replica, AloneItWaitsForEverySync) {
  Cluster c({.replicas = 1, .auto_sync = false});
  c.campaign(0);
  c.sync(0);
  ASSERT_TRUE(c[0].is_leader());
  c.propose(0, "one");
  EXPECT_TRUE(c[0].waits_for_sync());
}

TEST(Replica, TheChosenPrefixIsRecordedNowAndThen) {
  Cluster c({});
  c.elect(0);
  for (std::uint64_t n = 1; n <= 3 * limits::prefix_record_stride; ++n) {
    c.propose(0, "x");
    c.settle();
  }
  EXPECT_GE(c.node(1).disk.chosen_prefix, Slot{2 * limits::prefix_record_stride});
}

TEST(Replica, MessagesOfUnknownReplicasAndOfItselfAreIgnored) {
  Cluster c({});
  const Incarnation self = c.node(0).disk.incarnation;
  c[0].step(c.now(), ReplicaId{7}, self, Prepare{ballot(9, 7), Slot{1}});
  c[0].step(c.now(), ReplicaId{254}, self, Prepare{ballot(9, 254), Slot{1}});
  c[0].step(c.now(), ReplicaId{0}, self, Prepare{ballot(9, 0), Slot{1}});
  c.tick(0);
  EXPECT_EQ(c.status(0).ballot, Ballot{});
}

// What every simulation rests on: no clock, no randomness and no order of its own.
TEST(Replica, TheSameSeedGivesTheSameRun) {
  const auto run = [](std::uint64_t seed) {
    Cluster c({.replicas = 5, .seed = seed, .loss_percent = 10, .duplicate_percent = 5});
    std::uint64_t letters = 0;
    std::uint64_t times = 0;
    c.on_deliver = [&](const Letter& l) {
      ++letters;
      times = times * 31 + static_cast<std::uint64_t>(l.due.time_since_epoch().count()) + l.message.index();
    };
    for (int i = 0; i < 50; ++i) {
      c.run_for(20ms);
      if (c.leader()) (void)c.try_propose(*c.leader(), "a");
    }
    return std::pair(letters, times);
  };
  EXPECT_EQ(run(5), run(5));
  EXPECT_NE(run(5), run(6));
}

TEST(Replica, AnIdleReplicaSleepsUntilItsDeadline) {
  Cluster c({});
  c.elect(0);
  c.run_for(1s);
  std::size_t letters = 0;
  c.on_deliver = [&](const Letter&) { ++letters; };
  c.run_for(1s);
  // A request and a reply a heartbeat and a link, and nothing else.
  EXPECT_LE(letters, 2u * 6 * 21);
  EXPECT_GE(letters, 2u * 6 * 19);
}

TEST(Replica, PassesNothingOnWhereNoLeaderIsKnown) {
  Cluster c({});
  EXPECT_FALSE(c.forward(0, "hello"));
  EXPECT_EQ(c.count_if(is<Forward>()), 0u);
}

TEST(Replica, TheUnbornDoNotCampaign) {
  Cluster c({.born = false});
  c.campaign(0);
  EXPECT_EQ(c.status(0).role, Role::unborn);
  EXPECT_EQ(c.status(0).ballot, Ballot{});
}

// bounds.h, recent_hashes_max: only so many slots back are hashes compared; what is older proves nothing any
// more.
TEST(Replica, ComparesHashesOfRecentSlotsOnly) {
  const auto diverges = [](std::uint64_t slot) {
    Cluster c({});
    const std::uint64_t last = limits::recent_hashes_max + 10;
    for (std::uint64_t first = 1; first <= last; first += 500) {
      LearnReply reply{.decrees = {}, .first_slot = Slot{1}, .chosen_prefix = Slot{last}};
      for (std::uint64_t n = first; n < first + 500 && n <= last; ++n)
        reply.decrees.push_back({Slot{n}, ballot(1, 1), command("x")});
      c.step(0, 1, reply);
    }
    EXPECT_EQ(c.applied(0), last);
    c.bag().clear();
    c.advance(c.setup().heartbeat);
    c.tick(0);
    Hash other;
    other.bytes.fill(7);
    for (const std::size_t peer : {1u, 2u}) {
      const auto requests = take<HeartbeatRequest>(c, 0, peer);
      EXPECT_EQ(requests.size(), 1u);
      c.step(0, peer, HeartbeatReply{.nonce = requests.at(0).nonce, .applied = Slot{slot}, .hash = other});
    }
    return c[0].diverged().has_value();
  };
  EXPECT_FALSE(diverges(10));
  EXPECT_TRUE(diverges(11));
  EXPECT_TRUE(diverges(limits::recent_hashes_max + 10));
}

}  // namespace
}  // namespace paxos_test
