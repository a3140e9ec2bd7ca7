#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "tests/paxos/cluster.h"

/// The learner: what is chosen, what may be applied, and the pull of what is missing. Source: Lamport, Paxos
/// Made Simple (2001), section 2.3; DESIGN.md sections 4 and 5.
namespace paxos_test {
namespace {

using namespace std::chrono_literals;

LearnReply chosen(std::uint64_t first, std::uint64_t last, const std::string& text,
                  std::uint64_t prefix = 0) {
  LearnReply reply{.decrees = {}, .first_slot = Slot{1}, .chosen_prefix = Slot{std::max(prefix, last)}};
  for (std::uint64_t slot = first; slot <= last; ++slot)
    reply.decrees.push_back({Slot{slot}, ballot(1, 2), command(text + std::to_string(slot))});
  return reply;
}

TEST(Learner, NamesWhatIsChosenBehindAHoleAndNothingElse) {
  Cluster c({});
  c.step(0, 2, chosen(3, 3, "x", 0));
  c.step(0, 1, Accept{ballot(1, 2), Slot{4}, {}, command("a vote")});
  c.step(0, 2, chosen(6, 6, "x", 0));
  EXPECT_EQ(c[0].chosen_ahead(),
            (std::vector<std::pair<Slot, Ballot>>{{Slot{3}, ballot(1, 2)}, {Slot{6}, ballot(1, 2)}}));
}

TEST(Learner, ACommitTakesAVoteAtExactlyItsBallot) {
  Cluster c({});
  c.step(0, 1, Accept{ballot(1, 1), Slot{1}, {}, command("a")});
  c.step(0, 1, Commit{ballot(1, 1), Slot{1}});
  EXPECT_EQ(c.text(0, 1), "a");
}

// A vote at another ballot may be for another decree: 0 voted for 1's, 2 got its own chosen.
TEST(Learner, ACommitNeverTakesAVoteAtAnotherBallot) {
  Cluster c({});
  c.step(0, 1, Accept{ballot(1, 1), Slot{1}, {}, command("old")});
  c.step(0, 2, Commit{ballot(2, 2), Slot{1}});
  EXPECT_EQ(c.applied(0), 0u);
  c.advance(10ms);
  c.tick(0);
  EXPECT_EQ(take<LearnRequest>(c, 0, 2).size(), 1u) << "it pulls instead";
  c.step(0, 2, LearnReply{{{Slot{1}, ballot(2, 2), command("new")}}, Slot{1}, Slot{1}});
  EXPECT_EQ(c.text(0, 1), "new");
}

TEST(Learner, ACommitOfAnOlderBallotNeverTakesAVoteOfANewerOne) {
  Cluster c({});
  c.step(0, 2, Accept{ballot(2, 2), Slot{1}, {}, command("new")});
  c.step(0, 1, Commit{ballot(1, 1), Slot{1}});
  EXPECT_EQ(c.applied(0), 0u);
}

TEST(Learner, ACommitMayOvertakeItsAccept) {
  Cluster c({});
  c.step(0, 1, Commit{ballot(1, 1), Slot{2}});
  c.step(0, 1, Accept{ballot(1, 1), Slot{2}, {}, command("b")});
  EXPECT_EQ(c.applied(0), 0u);
  c.step(0, 1, Accept{ballot(1, 1), Slot{1}, {}, command("a")});
  EXPECT_EQ(c.applied(0), 2u);
}

TEST(Learner, OnlyTheBallotsOwnerCommitsWithIt) {
  Cluster c({});
  c.step(0, 1, Accept{ballot(1, 1), Slot{1}, {}, command("a")});
  c.step(0, 2, Commit{ballot(1, 1), Slot{1}});
  EXPECT_EQ(c.applied(0), 0u);
}

// A stopped proposer still names its ballot in heartbeats, while it learns what others got chosen.
TEST(Learner, TheHeartbeatOfAStoppedLeaderIsNoCommit) {
  Cluster c({.replicas = 5});
  c.elect(0);
  const Ballot b = c.status(0).ballot;
  c.propose(0, "mine");
  c.deliver_if(is_to<Accept>(1));
  c.bag().clear();
  c.step(0, 4, Nack{b, ballot(b.round + 1, 2)});  // stops, follows nobody else yet
  c.step(0, 3, LearnReply{{{Slot{1}, ballot(b.round + 1, 2), command("theirs")}}, Slot{1}, Slot{1}});
  EXPECT_EQ(c.status(0).leader_ballot, b);
  c.advance(c.setup().heartbeat);
  c.tick(1);
  c.deliver_if(is_link<HeartbeatRequest>(1, 0));
  c.deliver_if(is_link<HeartbeatReply>(0, 1));
  EXPECT_EQ(c.status(1).chosen, Slot{}) << "1 took its vote at the old ballot for the chosen decree";
}

TEST(Learner, LearnedSlotsAreAppliedOnlyOnceSynced) {
  Cluster c({.auto_sync = false});
  c.step(0, 1, chosen(1, 2, "x"));
  EXPECT_EQ(c.status(0).chosen, Slot{2});
  EXPECT_EQ(c.applied(0), 0u);
  c.sync(0);
  EXPECT_EQ(c.applied(0), 2u);
}

TEST(Learner, NothingAboveAHoleIsApplied) {
  Cluster c({});
  c.step(0, 1, chosen(2, 3, "x"));
  EXPECT_EQ(c.applied(0), 0u);
  EXPECT_EQ(c.status(0).chosen_max, Slot{3});
  c.step(0, 1, chosen(1, 1, "x"));
  EXPECT_EQ(c.applied(0), 3u);
}

// The rows of what is applied wait in memory for a disk that takes none: so nothing more is applied, and
// nothing pulled.
TEST(Learner, WhileApplyingIsHeldNothingIsHandedOutOrPulled) {
  Cluster c({});
  c.step(0, 1, chosen(1, 2, "x"));
  c.hold_applying(0, true);
  c.step(0, 1, chosen(3, 4, "x"));
  EXPECT_EQ(c.status(0).chosen, Slot{4});
  EXPECT_EQ(c.applied(0), 2u);
  c.hold_applying(0, false);
  EXPECT_EQ(c.applied(0), 4u);

  Cluster late({.bounds = {.unapplied_slots = 1024}});
  late.elect(0);
  late.isolate(2);
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(late.try_propose(0, "m"));
    late.settle();
  }
  late.hold_applying(2, true);
  late.heal();
  late.run_for(2s);
  EXPECT_LE(late.status(2).chosen, Slot{1024}) << "it pulled what it can't apply";
  EXPECT_EQ(late.applied(2), 0u);
  late.hold_applying(2, false);
  EXPECT_TRUE(late.run_until([&] { return late.applied(2) == 2000; }, 2s)) << late.applied(2);
}

// The network is faster than the disk: what is pulled and not synced, or not applied, is in memory.
TEST(Learner, PullsNoFurtherThanWhatItHasApplied) {
  const auto catches_up = [](const std::function<void(Cluster&, bool)>& slow, const char* what) {
    Cluster c({.disk_delay = 1ms,
               .bounds = {.unapplied_slots = 64, .unapplied_bytes = 4000, .unsynced_bytes = 1 << 20}});
    c.elect(0);
    c.isolate(2);
    for (int i = 0; i < 500; ++i) {
      ASSERT_TRUE(c.try_propose(0, std::string(100, 'm')));
      c.settle();
    }
    c.node(2).disk_hangs = false;
    slow(c, true);
    c.heal();
    for (int i = 0; i < 100; ++i) {
      c.run_for(20ms);
      ASSERT_LE(c[2].held().unapplied_bytes, 4000u) << what;
      ASSERT_LE(c[2].held().unapplied_slots, 64u) << what;
    }
    EXPECT_GT(c.status(2).chosen, Slot{10}) << what << ": it pulls as far as it may";
    slow(c, false);
    EXPECT_TRUE(c.run_until([&] { return c.applied(2) == 500; }, 5s)) << what << ": " << c.applied(2);
  };
  catches_up([](Cluster& c, bool on) { c.node(2).disk_hangs = on; }, "a log disk that hangs");
}

// Each request holds the log of who is asked: it would not be trimmed for as long as that disk hangs.
TEST(Learner, AsksForNothingThatItsDiskDoesNotTake) {
  Cluster c({.disk_delay = 1ms, .bounds = {.unsynced_bytes = 4000}});
  c.elect(0);
  c.isolate(2);
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(c.try_propose(0, std::string(100, 'm')));
    c.settle();
  }
  c.node(2).disk_hangs = true;
  std::size_t asked = 0;
  c.on_ready = [&](std::size_t id, const Ready& ready) {
    if (id != 2) return;
    for (const Envelope& e : ready.send_now) asked += std::holds_alternative<LearnRequest>(e.message) ? 1 : 0;
  };
  c.heal();
  c.run_for(2s);
  EXPECT_GT(asked, 0u) << "it pulls as far as there is room";
  EXPECT_GT(c[2].held().unsynced_bytes, 4000u);
  asked = 0;
  c.run_for(20s);
  EXPECT_EQ(asked, 0u);
  c.node(2).disk_hangs = false;
  EXPECT_TRUE(c.run_until([&] { return c.applied(2) == 500; }, 5s)) << c.applied(2);
}

// One turn never applies all of a long way: the rest follows as the first ones are applied.
TEST(Learner, HandsOutAFewSlotsAtATime) {
  Cluster c({.bounds = {.handed_out_slots = 5, .handed_out_bytes = 300}});
  std::size_t most = 0;
  std::size_t most_bytes = 0;
  c.on_ready = [&](std::size_t id, const Ready& ready) {
    if (id != 0) return;
    std::size_t bytes = 0;
    for (const ChosenDecree& d : ready.to_apply) bytes += d.decree.value.size();
    most = std::max(most, ready.to_apply.size());
    most_bytes = std::max(most_bytes, bytes);
  };
  c.step(0, 1, chosen(2, 20, "x"));
  c.step(0, 1,
         LearnReply{{{Slot{21}, ballot(1, 1), command(std::string(200, 'x'))},
                     {Slot{22}, ballot(1, 1), command(std::string(200, 'x'))}},
                    Slot{1},
                    Slot{22}});
  EXPECT_EQ(c.applied(0), 0u);
  c.step(0, 1, chosen(1, 1, "x"));
  EXPECT_EQ(c.applied(0), 22u);
  EXPECT_EQ(most, 5u);
  EXPECT_LE(most_bytes, 300u);
}

// DESIGN.md section 4, phase 2: no slot is proposed before slot - window is applied at the leader.
TEST(Learner, AHeldLeaderProposesNoFurtherThanItsWindow) {
  Cluster c({});
  c.elect(0);
  c.hold_applying(0, true);
  std::size_t proposed = 0;
  for (; proposed <= limits::window_slots && c.try_propose(0, "x"); ++proposed) c.settle();
  EXPECT_EQ(proposed, limits::window_slots);
  EXPECT_EQ(c.applied(0), 0u);
  c.hold_applying(0, false);
  EXPECT_EQ(c.applied(0), proposed);
  EXPECT_TRUE(c.try_propose(0, "y"));
}

TEST(Learner, ARepeatedReplyChangesNothing) {
  Cluster c({});
  c.step(0, 1, chosen(1, 2, "x"));
  const auto groups = c.node(0).groups_written;
  c.step(0, 1, chosen(1, 2, "x"));
  c.step(0, 2, chosen(1, 2, "x"));
  EXPECT_EQ(c.node(0).groups_written, groups);
  EXPECT_EQ(c.applied(0), 2u);
}

TEST(Learner, AVoteForTheChosenDecreeNeedsNoSecondRecord) {
  Cluster c({});
  c.step(0, 1, Accept{ballot(1, 1), Slot{1}, {}, command("x1")});
  const auto groups = c.node(0).groups_written;
  c.step(0, 2, chosen(1, 1, "x"));
  EXPECT_EQ(c.applied(0), 1u);
  EXPECT_EQ(c.node(0).groups_written, groups);
}

// --- pulling ---

TEST(Learner, AsksTheNextPeerWhenOneIsSilent) {
  Cluster c({.replicas = 3});
  c.step(0, 1, Commit{ballot(1, 1), Slot{3}});
  c.step(0, 2, LearnReply{{}, Slot{1}, Slot{3}});
  std::vector<std::size_t> asked;
  c.on_post = [&](const Letter& l) {
    if (std::holds_alternative<LearnRequest>(l.message)) asked.push_back(l.to.n);
    return std::holds_alternative<LearnRequest>(l.message);
  };
  for (int i = 0; i < 100 && asked.size() < 4; ++i) {
    c.advance(20ms);
    c.tick(0);
  }
  ASSERT_EQ(asked.size(), 4u);
  for (std::size_t i = 1; i < asked.size(); ++i) EXPECT_NE(asked[i], asked[i - 1]);
}

// The next page comes from whoever sent the last one, and never waits for a dead peer.
TEST(Learner, StaysWithThePeerThatAnswers) {
  Cluster c({});
  c.step(0, 2, LearnReply{{}, Slot{1}, Slot{100}});
  c.step(0, 1, Commit{ballot(1, 1), Slot{100}});
  c.advance(10ms);
  c.tick(0);
  ASSERT_EQ(take<LearnRequest>(c, 0, 1).size(), 1u);
  for (std::uint64_t slot = 1; slot < 100; slot += 10) {
    c.step(0, 1, chosen(slot, slot + 9, "x", 100));
    EXPECT_EQ(c.count_if(is_link<LearnRequest>(0, 2)), 0u) << "asked the silent one after slot " << slot + 9;
    if (slot + 9 < 100) {
      const auto requests = take<LearnRequest>(c, 0, 1);
      ASSERT_EQ(requests.size(), 1u) << "no pause between pages";
      EXPECT_EQ(requests[0].from, Slot{slot + 10});
    }
  }
  EXPECT_EQ(c.applied(0), 100u);
}

TEST(Learner, APeerThatHasNothingIsPassedOver) {
  Cluster c({});
  c.step(0, 1, Commit{ballot(1, 1), Slot{3}});
  c.step(0, 2, LearnReply{{}, Slot{1}, Slot{3}});
  c.advance(10ms);
  c.tick(0);
  const std::size_t first = c.count_if(is_link<LearnRequest>(0, 1)) == 1 ? 1 : 2;
  c.bag().clear();
  c.step(0, first, LearnReply{{}, Slot{1}, Slot{}});  // it restarted, and forgot what it knew
  c.advance(30ms);
  c.tick(0);
  EXPECT_EQ(take<LearnRequest>(c, 0, 3 - first).size(), 1u);
}

TEST(Learner, ServesPagesOfBoundedSize) {
  Cluster c({});
  c.elect(0);
  const std::string big(100 * 1024, 'x');
  for (int i = 0; i < 5; ++i) {
    c.propose(0, big);
    c.settle();
  }
  c.step(0, 1, LearnRequest{Slot{1}, Slot{UINT64_MAX}});
  const auto replies = take<LearnReply>(c, 0, 1);
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].decrees.size(), 2u);
  EXPECT_EQ(replies[0].chosen_prefix, Slot{5});
}

TEST(Learner, ServesOnlyWhatItKnowsToBeChosen) {
  Cluster c({});
  c.step(0, 1, Accept{ballot(1, 1), Slot{1}, {}, command("a")});
  c.step(0, 2, LearnRequest{Slot{1}, Slot{9}});
  const auto replies = take<LearnReply>(c, 0, 2);
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_TRUE(replies[0].decrees.empty());
}

TEST(Learner, AReplicaThatWasAwayCatchesUpFromAnyPeer) {
  Cluster c({});
  c.elect(0);
  c.isolate(2);
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(c.try_propose(0, "m" + std::to_string(i)));
    c.settle();
  }
  c.heal();
  c.cut_both(0, 2);  // the leader it can't reach
  EXPECT_TRUE(c.run_until([&] { return c.applied(2) == 2000; }, 2s)) << c.applied(2);
  EXPECT_EQ(c.node(2).hashes.back(), c.node(0).hashes.back());
}

TEST(Learner, ColdSlotsComeFromThePeersLog) {
  Cluster c({});
  c.elect(0);
  c.isolate(2);
  for (int i = 0; i < 50; ++i) {
    c.propose(0, "m" + std::to_string(i));
    c.settle();
  }
  c.advance(5ms);
  c.tick(0);
  c.settle();
  for (std::size_t id : {0u, 1u}) {
    c.node(id).state_durable = c.applied(id);
    c.restart(id);  // holds nothing of it in memory now
  }
  c.heal();
  EXPECT_TRUE(c.run_until([&] { return c.applied(2) >= 50; }, 3s)) << c.applied(2);
  EXPECT_EQ(c.text(2, 50), "m49");
}

// What was learned last may not be on the disk yet; an older vote of the same slot is, and is not what was
// chosen.
TEST(Learner, TeachesFromItsDiskOnlyWhatStandsThereAsChosen) {
  Cluster c({});
  c.step(0, 1, Accept{ballot(1, 1), Slot{1}, {}, command("a")});
  c.step(0, 1, Commit{ballot(1, 1), Slot{1}});
  c.step(0, 1, Accept{ballot(1, 1), Slot{2}, {}, command("old")});
  c.node(0).state_durable = c.applied(0);
  c.restart(0);  // slot 1 is on its disk alone now
  c.hold_disk(true);
  c.step(0, 2, LearnReply{{{Slot{2}, ballot(2, 2), command("new")}}, Slot{1}, Slot{2}});
  c.step(0, 1, LearnRequest{Slot{1}, Slot{2}});
  auto replies = take<LearnReply>(c, 0, 1);
  ASSERT_EQ(replies.size(), 1u);
  ASSERT_EQ(replies[0].decrees.size(), 1u);
  EXPECT_EQ(replies[0].decrees[0].decree, command("a"));
  c.step(0, 1, LearnRequest{Slot{2}, Slot{2}});
  replies = take<LearnReply>(c, 0, 1);
  ASSERT_EQ(replies.size(), 1u);
  ASSERT_EQ(replies[0].decrees.size(), 1u);
  EXPECT_EQ(replies[0].decrees[0].decree, command("new"));
}

TEST(Learner, AFollowerThatKeepsUpPullsNothing) {
  Cluster c({});
  c.elect(0);
  c.run_for(100ms);
  std::size_t pulls = 0;
  c.on_post = [&](const Letter& l) {
    pulls += std::holds_alternative<LearnRequest>(l.message) ? 1 : 0;
    return false;
  };
  for (int i = 0; i < 300; ++i) {
    (void)c.try_propose(0, "m");
    c.run_for(1ms);
  }
  EXPECT_GT(c.applied(1), 200u);
  EXPECT_EQ(pulls, 0u);
}

TEST(Learner, TheLastSlotIsLearnedWithoutFurtherTraffic) {
  Cluster c({});
  c.elect(0);
  c.propose(0, "a");
  c.run_for(20ms);
  EXPECT_EQ(c.applied(1), 1u);
  EXPECT_EQ(c.applied(2), 1u);
}

TEST(Learner, ALostCommitIsMadeUpForByHeartbeats) {
  Cluster c({});
  c.elect(0);
  c.on_post = [](const Letter& l) { return std::holds_alternative<Commit>(l.message); };
  c.propose(0, "a");
  c.run_for(2 * c.setup().heartbeat + 10ms);
  EXPECT_EQ(c.applied(1), 1u);
  EXPECT_EQ(c.applied(2), 1u);
}

TEST(Learner, ARestartedReplicaResumesFromItsDiskAndCatchesUp) {
  Cluster c({});
  c.elect(0);
  for (int i = 0; i < 20; ++i) {
    c.propose(0, "m" + std::to_string(i));
    c.run_for(5ms);
  }
  c.node(1).state_durable = 7;
  c.restart(1);
  EXPECT_GT(c.applied(1), 7u) << "what its disk knows to be chosen is applied again at once";
  c.propose(0, "after");
  EXPECT_TRUE(c.run_until([&] { return c.applied(1) == 21; }, 1s));
  EXPECT_EQ(c.node(1).hashes.back(), c.node(0).hashes.back());
}

TEST(Learner, RestartingAllAtOnceLosesNothingThatWasChosen) {
  Cluster c({.replicas = 5});
  c.elect(0);
  for (int i = 0; i < 10; ++i) {
    c.propose(0, "m" + std::to_string(i));
    c.settle();
  }
  for (std::size_t id = 0; id < 5; ++id) c.crash(id);
  for (std::size_t id = 0; id < 5; ++id) c.restart(id);
  ASSERT_TRUE(c.run_until([&] { return c.leader().has_value(); }, 4 * c.setup().election_timeout));
  ASSERT_TRUE(c.run_until([&] { return c.applied(*c.leader()) >= 10; }, 1s));
  EXPECT_EQ(c.text(*c.leader(), 10), "m9");
}

// Under load a follower is always a little behind; more than a window behind it pulls although it moves.
TEST(Learner, WhoMovesButIsMoreThanAWindowBehindPulls) {
  const auto pulls = [](std::uint64_t target) {
    Cluster c({});
    c.step(0, 1, Commit{ballot(1, 1), Slot{target}});
    c.step(0, 1, Accept{ballot(1, 1), Slot{1}, {}, command("a")});
    EXPECT_EQ(c.status(0).chosen, Slot{1});
    c.advance(6ms);
    c.tick(0);
    return c.count_if(is_from<LearnRequest>(0));
  };
  EXPECT_EQ(pulls(limits::window_slots + 1), 0u);
  EXPECT_EQ(pulls(limits::window_slots + 2), 1u);
}

TEST(Learner, ARequestFromSlotNoneBringsNothing) {
  Cluster c({});
  c.step(0, 1, chosen(1, 3, "x"));
  c.step(0, 1, LearnRequest{Slot{}, Slot{3}});
  const auto replies = take<LearnReply>(c, 0, 1);
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_TRUE(replies[0].decrees.empty());
  EXPECT_EQ(replies[0].chosen_prefix, Slot{3});
}

// records.h: every slot up to the recovered prefix holds the chosen decree, marked or not.
TEST(Learner, TheRecoveredPrefixStandsForTheVotesBelowIt) {
  Cluster c({});
  Recovered recovered{.incarnation = c.node(0).disk.incarnation,
                      .boot = 9,
                      .birth = c.node(0).disk.birth,
                      .promised = ballot(1, 1),
                      .chosen_prefix = Slot{1},
                      .entries = {{Slot{1}, ballot(1, 1), false, command("a")},
                                  {Slot{2}, ballot(1, 1), false, command("b")}}};
  Replica replica({.self = ReplicaId{0}}, recovered, c.now());
  EXPECT_EQ(replica.status().chosen, Slot{1});
  const Ready ready = replica.take_ready();
  ASSERT_EQ(ready.to_apply.size(), 1u);
  EXPECT_EQ(ready.to_apply[0].decree, command("a"));
}

/// Replica 0 learns and applies slots 1 to `last`.
void learn_up_to(Cluster& c, std::uint64_t last, const std::string& text) {
  for (std::uint64_t slot = 1; slot <= last; slot += 500)
    c.step(0, 1, chosen(slot, std::min(slot + 499, last), text));
  ASSERT_EQ(c.applied(0), last);
}

/// What a peer that asks for a slot is read from the log, not answered from memory.
bool is_cold(Cluster& c, std::uint64_t slot) {
  bool read = false;
  c.on_ready = [&](std::size_t id, const Ready& ready) {
    read = read || (id == 0 && !ready.log_reads.empty());
  };
  c.step(0, 2, LearnRequest{Slot{slot}, Slot{slot}});
  c.on_ready = nullptr;
  const auto replies = take<LearnReply>(c, 0, 2);
  EXPECT_EQ(replies.size(), 1u);
  EXPECT_TRUE(replies.size() == 1 && replies[0].decrees.size() == 1 &&
              replies[0].decrees[0].slot == Slot{slot});
  return read;
}

// I10. bounds.h, hot_slots_max: what is applied is kept in memory for those who are just behind, and no
// longer.
TEST(Learner, AppliedSlotsInMemoryAreBoundedByCount) {
  Cluster c({});
  const std::uint64_t last = limits::hot_slots_max + 10;
  learn_up_to(c, last, "x");
  EXPECT_TRUE(is_cold(c, 10));
  EXPECT_FALSE(is_cold(c, 11));
  EXPECT_FALSE(is_cold(c, last));
}

TEST(Learner, AppliedSlotsInMemoryAreBoundedByBytes) {
  Cluster c({});
  const std::size_t fit = limits::hot_bytes_max / limits::decree_bytes_max;
  const std::string big(limits::decree_bytes_max - 1, 'x');
  for (std::uint64_t slot = 1; slot <= fit + 3; ++slot)
    c.step(0, 1, LearnReply{{{Slot{slot}, ballot(1, 2), command(big)}}, Slot{1}, Slot{slot}});
  EXPECT_TRUE(is_cold(c, 3));
  EXPECT_FALSE(is_cold(c, 4));
}

// A page from the disk costs a read: who asks again meanwhile gets the one answer.
TEST(Learner, ReadsTheLogForAPeerOnceAtATime) {
  Cluster c({});
  learn_up_to(c, limits::hot_slots_max + 10, "x");
  for (int i = 0; i < 2; ++i)
    c[0].step(c.now(), ReplicaId{2}, c.node(2).disk.incarnation, LearnRequest{Slot{1}, Slot{1}});
  std::size_t reads = 0;
  c.on_ready = [&](std::size_t, const Ready& ready) { reads += ready.log_reads.size(); };
  c.tick(0);
  EXPECT_EQ(reads, 1u);
  EXPECT_EQ(take<LearnReply>(c, 0, 2).size(), 1u);
}

// Issue 10, point 6: so does an old leader's late Accept, which is answered with what is chosen.
TEST(Learner, ALateAcceptReadsTheLogInTheSameTurnOnly) {
  Cluster c({});
  learn_up_to(c, limits::hot_slots_max + 10, "x");
  const Incarnation peer = c.node(2).disk.incarnation;
  for (std::uint64_t n = 1; n <= 5; ++n)
    c[0].step(c.now(), ReplicaId{2}, peer, Accept{ballot(9, 2), Slot{n}, {}, command("late")});
  c[0].step(c.now(), ReplicaId{2}, peer, LearnRequest{Slot{1}, Slot{1}});
  std::size_t reads = 0;
  c.on_ready = [&](std::size_t, const Ready& ready) { reads += ready.log_reads.size(); };
  c.tick(0);
  EXPECT_EQ(reads, 1u);
  const auto replies = take<LearnReply>(c, 0, 2);
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].decrees.at(0).slot, Slot{1});
  EXPECT_NE(replies[0].decrees[0].decree, command("late"));
  c.step(0, 2, Accept{ballot(9, 2), Slot{2}, {}, command("late")});
  EXPECT_EQ(reads, 2u) << "when that one has ended, the next may come";
}

}  // namespace
}  // namespace paxos_test
