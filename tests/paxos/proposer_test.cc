#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>

#include "tests/paxos/cluster.h"

/// The proposer's rules, asked of replica 0; the others are letters that the test writes. Sources: Lamport,
/// Paxos Made Simple (2001), section 2.2 (P2c) and 3, and DESIGN.md section 4.
namespace paxos_test {
namespace {

using namespace std::chrono_literals;

/// Replica 0 asks for promises with ballot (round, 0).
void candidate(Cluster& c, std::uint64_t round) {
  while (c.status(0).ballot < ballot(round, 0)) c.campaign(0);
  ASSERT_EQ(c.status(0).ballot, ballot(round, 0));
  c.bag().clear();
}

Promise promise(Ballot b, Slot w = {}, std::vector<PromiseEntry> entries = {}) {
  return {.ballot = b, .from = Slot{1}, .chosen_prefix = w, .entries = std::move(entries), .next = {}};
}

/// What replica 0 proposes to replica 1, by slot.
std::map<std::uint64_t, Decree> proposals(Cluster& c) {
  std::map<std::uint64_t, Decree> out;
  for (const Accept& accept : take<Accept>(c, 0, 1)) out[accept.slot.n] = accept.decree;
  return out;
}

Accepted accepted(Ballot b, std::uint64_t slot) { return {b, {{Slot{slot}, Slot{slot}}}}; }

// --- phase 1 ---

// DESIGN 5: a new ballot's Prepare leaves only after the sync, or a restart would use it twice.
TEST(Proposer, PrepareLeavesOnlyAfterItsSync) {
  Cluster c({.auto_sync = false});
  c.campaign(0);
  EXPECT_EQ(c.count_if(is<Prepare>()), 0u);
  c.sync(0);
  EXPECT_EQ(c.count_if(is<Prepare>()), 2u);
}

TEST(Proposer, ABallotIsNotUsedAgainAfterARestart) {
  Cluster c({});
  c.campaign(0);
  const Ballot before = c.status(0).ballot;
  c.restart(0);
  c.campaign(0);
  EXPECT_GT(c.status(0).ballot, before);
}

// 2.2 phase 2 (a): only with promises of a majority; its own counts when it is durable.
TEST(Proposer, NeedsPromisesOfAQuorum) {
  Cluster c({.replicas = 5});
  candidate(c, 1);
  c.step(0, 1, promise(ballot(1, 0)));
  c.step(0, 1, promise(ballot(1, 0)));
  EXPECT_FALSE(c[0].is_leader()) << "one acceptor counts once";
  c.step(0, 2, promise(ballot(7, 0)));
  EXPECT_FALSE(c[0].is_leader()) << "a promise of another ballot";
  c.step(0, 2, promise(ballot(1, 0)));
  EXPECT_TRUE(c[0].is_leader());
}

TEST(Proposer, OwnPromiseCountsOnlyOnceSynced) {
  Cluster c({.auto_sync = false});
  c.campaign(0);
  c.step(0, 1, promise(ballot(1, 0)));
  EXPECT_FALSE(c[0].is_leader());
  c.sync(0);
  EXPECT_TRUE(c[0].is_leader());
}

// P2c: per slot, the decree of the highest ballot among the quorum's votes.
struct Arrangement {
  const char* name;
  std::vector<PromiseEntry> first, second;
  std::map<std::uint64_t, Decree> expected;
};

class Adoption : public testing::TestWithParam<Arrangement> {};

TEST_P(Adoption, TakesTheHighestBallotPerSlot) {
  Cluster c({.replicas = 5});
  candidate(c, 4);
  c.step(0, 1, promise(ballot(4, 0), {}, GetParam().first));
  c.step(0, 2, promise(ballot(4, 0), {}, GetParam().second));
  EXPECT_EQ(proposals(c), GetParam().expected);
}

const PromiseEntry old_one{Slot{1}, ballot(1, 1), false, command("old")};
const PromiseEntry new_one{Slot{1}, ballot(2, 3), false, command("new")};
const PromiseEntry newer_two{Slot{2}, ballot(3, 4), false, command("two")};
const PromiseEntry old_two{Slot{2}, ballot(1, 2), false, command("old two")};
const PromiseEntry three{Slot{3}, ballot(1, 1), false, command("three")};
const PromiseEntry same_round{Slot{1}, ballot(2, 4), false, command("by 4")};
const PromiseEntry known{Slot{1}, ballot(1, 2), true, command("known")};

INSTANTIATE_TEST_SUITE_P(
    Arrangements, Adoption,
    testing::Values(
        Arrangement{"nothing", {}, {}, {}}, Arrangement{"one_vote", {old_one}, {}, {{1, command("old")}}},
        Arrangement{"lower_first", {old_one}, {new_one}, {{1, command("new")}}},
        Arrangement{"higher_first", {new_one}, {old_one}, {{1, command("new")}}},
        Arrangement{"same_round", {new_one}, {same_round}, {{1, command("by 4")}}},
        Arrangement{"each_slot_for_itself",
                    {new_one, old_two},
                    {old_one, newer_two},
                    {{1, command("new")}, {2, command("two")}}},
        Arrangement{"holes_become_no_ops", {three}, {}, {{1, noop()}, {2, noop()}, {3, command("three")}}},
        // What is known to be chosen needs no proposal, whatever others voted for.
        Arrangement{"chosen_beats_any_vote", {known}, {new_one, newer_two}, {{2, command("two")}}},
        Arrangement{"chosen_after_the_vote", {new_one, newer_two}, {known}, {{2, command("two")}}}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(Proposer, ItsOwnVoteIsPartOfTheQuorumsAnswer) {
  Cluster c({});
  c.step(0, 1, Accept{ballot(1, 1), Slot{1}, {}, command("mine")});
  candidate(c, 2);
  c.step(0, 2, promise(ballot(2, 0)));
  EXPECT_EQ(proposals(c), (std::map<std::uint64_t, Decree>{{1, command("mine")}}));
}

// DESIGN 4: an acceptor counts only when all of its pages have come.
TEST(Proposer, APromiseCountsOnlyWhenAllItsPagesCame) {
  Cluster c({});
  candidate(c, 2);
  Promise first = promise(ballot(2, 0), {}, {old_one});
  first.next = Slot{2};
  c.step(0, 1, first);
  EXPECT_FALSE(c[0].is_leader());
  const auto prepares = take<Prepare>(c, 0, 1);
  ASSERT_EQ(prepares.size(), 1u);
  EXPECT_EQ(prepares[0].from, Slot{2});
  c.step(0, 1, first);
  EXPECT_FALSE(c[0].is_leader()) << "a repeat of the first page is not the last one";
  Promise last = promise(ballot(2, 0), {}, {{Slot{2}, ballot(1, 1), false, command("two")}});
  last.from = Slot{2};
  c.step(0, 1, last);
  EXPECT_EQ(proposals(c), (std::map<std::uint64_t, Decree>{{1, command("old")}, {2, command("two")}}));
}

TEST(Proposer, APageThatIsNotAnsweredIsAskedForAgain) {
  Cluster c({});
  c.connect();
  candidate(c, 1);
  Promise first = promise(ballot(1, 0));
  first.next = Slot{2};
  c.step(0, 1, first);
  c.bag().clear();
  c.advance(60ms);
  c.tick(0);
  const auto prepares = take<Prepare>(c, 0, 1);
  ASSERT_EQ(prepares.size(), 1u);
  EXPECT_EQ(prepares[0].from, Slot{2});
}

// DESIGN 4: never proposes at or below the highest w of its quorum; learns those slots first. (Otherwise an
// acceptor that trimmed looks empty, and no-ops overwrite chosen decrees.)
TEST(Proposer, LearnsUpToTheHighestPrefixOfItsQuorumFirst) {
  Cluster c({});
  c.connect();
  candidate(c, 3);
  c.step(0, 1, promise(ballot(3, 0), Slot{2}));
  EXPECT_FALSE(c[0].is_leader());
  EXPECT_TRUE(proposals(c).empty());
  c.advance(10ms);
  c.tick(0);
  const auto requests = take<LearnRequest>(c, 0, 1);
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0], (LearnRequest{Slot{1}, Slot{2}}));
  c.step(
      0, 1,
      LearnReply{
          {{Slot{1}, ballot(1, 1), command("a")}, {Slot{2}, ballot(1, 1), command("b")}}, Slot{1}, Slot{2}});
  ASSERT_TRUE(c[0].is_leader());
  c.propose(0, "c");
  EXPECT_EQ(proposals(c), (std::map<std::uint64_t, Decree>{{3, command("c")}}));
}

// A question to a silent peer may be under way, and its backoff long: the acceptor that just spoke is asked
// at once.
TEST(Proposer, WhatItsAcceptorsKnowIsPulledAtOnceFromTheOneThatKnowsMost) {
  Cluster c({.replicas = 5});
  c.step(0, 3, Commit{ballot(1, 3), Slot{9}});
  for (int silent = 0; silent < 6; ++silent) {
    c.advance(c[0].deadline() - c.now());
    c.tick(0);
  }
  candidate(c, 2);
  c.step(0, 1, promise(ballot(2, 0), Slot{5}));
  c.step(0, 2, promise(ballot(2, 0), Slot{7}));
  ASSERT_EQ(c.status(0).role, Role::candidate);
  const auto asked = take<LearnRequest>(c, 0, 2);
  ASSERT_EQ(asked.size(), 1u) << "the one that knows most";
  EXPECT_EQ(asked[0].from, Slot{1});
}

TEST(Proposer, ALearningStallBeginsPhaseOneAgain) {
  Cluster c({});
  c.elect(0);
  c.campaign(0);
  c.bag().clear();
  const Ballot before = c.status(0).ballot;
  Promise only_one = promise(before, Slot{3});  // whoever knew these slots is gone
  c.step(0, 1, only_one);
  EXPECT_FALSE(c[0].is_leader());
  EXPECT_TRUE(c.run_until([&] { return c.leader().has_value(); }, 6 * c.setup().election_timeout));
  EXPECT_GT(c.status(*c.leader()).ballot, before);
}

// A leader far behind: the learner drops what is too far ahead of it, phase 1 must not.
TEST(Proposer, AdoptsWhatIsKnownChosenHoweverFarAhead) {
  Cluster c({.bounds = {.unapplied_slots = 1024}});
  candidate(c, 3);
  const std::uint64_t w = 1024 + 76;
  c.step(0, 1, promise(ballot(3, 0), Slot{w}, {{Slot{w + 2}, ballot(2, 1), true, command("far")}}));
  for (std::uint64_t slot = 1; slot <= w;) {
    LearnReply reply{.decrees = {}, .first_slot = Slot{1}, .chosen_prefix = Slot{w}};
    for (int i = 0; i < 500 && slot <= w; ++i, ++slot)
      reply.decrees.push_back({Slot{slot}, ballot(1, 1), command("x")});
    c.step(0, 1, reply);
  }
  ASSERT_TRUE(c[0].is_leader());
  auto proposed = proposals(c);
  EXPECT_EQ(proposed.at(w + 1), noop());
  if (proposed.contains(w + 2)) EXPECT_EQ(proposed.at(w + 2), command("far"));
  c.step(0, 1, accepted(ballot(3, 0), w + 1));
  c.step(0, 1, accepted(ballot(3, 0), w + 2));
  EXPECT_EQ(c.text(0, w + 2), "far");
}

// --- phase 2 ---

TEST(Proposer, AVoteCountsOncePerAcceptorAndAtExactlyOneBallot) {
  Cluster c({.replicas = 5});
  c.elect(0);
  const Ballot b = c.status(0).ballot;
  c.propose(0, "a");
  c.bag().clear();
  c.step(0, 1, accepted(b, 1));
  c.step(0, 1, accepted(b, 1));
  EXPECT_EQ(c.status(0).chosen, Slot{});
  c.step(0, 2, accepted(ballot(b.round - 1, 0), 1));
  c.step(0, 2, accepted(ballot(b.round + 1, 0), 1));
  EXPECT_EQ(c.status(0).chosen, Slot{});
  c.step(0, 2, accepted(b, 1));
  EXPECT_EQ(c.status(0).chosen, Slot{1});
}

TEST(Proposer, VotesForSlotsThatItNeverProposedAreIgnored) {
  Cluster c({});
  c.elect(0);
  c.step(0, 1, Accepted{c.status(0).ballot, {{Slot{0}, Slot{UINT64_MAX}}}});
  EXPECT_EQ(c.status(0).chosen, Slot{});
}

TEST(Proposer, OwnVoteCountsOnlyOnceSynced) {
  Cluster c({});
  c.elect(0);
  c.hold_disk(true);
  c.propose(0, "a");
  EXPECT_EQ(c.count_if(is<Accept>()), 2u) << "the Accept leaves at the same time as the own sync begins";
  c.step(0, 1, accepted(c.status(0).ballot, 1));
  EXPECT_EQ(c.status(0).chosen, Slot{});
  c.sync(0);
  EXPECT_EQ(c.status(0).chosen, Slot{1});
  EXPECT_EQ(c.applied(0), 1u);
}

// DESIGN 5: a slot is applied only after its record is synced here, though others' votes chose it.
TEST(Proposer, AppliesOnlyAfterItsOwnSync) {
  Cluster c({});
  c.elect(0);
  c.hold_disk(true);
  c.propose(0, "a");
  c.step(0, 1, accepted(c.status(0).ballot, 1));
  c.step(0, 2, accepted(c.status(0).ballot, 1));
  EXPECT_EQ(c.status(0).chosen, Slot{1});
  EXPECT_EQ(c.applied(0), 0u);
  c.sync(0);
  EXPECT_EQ(c.applied(0), 1u);
}

TEST(Proposer, SlotsMayBeChosenOutOfOrderAndAreAppliedInOrder) {
  Cluster c({});
  c.elect(0);
  const Ballot b = c.status(0).ballot;
  for (const char* text : {"a", "b", "c"}) c.propose(0, text);
  c.bag().clear();
  c.step(0, 1, accepted(b, 3));
  c.step(0, 1, accepted(b, 2));
  EXPECT_EQ(c.status(0).chosen, Slot{});
  EXPECT_EQ(c.status(0).chosen_max, Slot{3});
  EXPECT_EQ(c[0].chosen_ahead(), (std::vector<std::pair<Slot, Ballot>>{{Slot{2}, b}, {Slot{3}, b}}));
  EXPECT_EQ(c.applied(0), 0u);
  c.step(0, 1, accepted(b, 1));
  EXPECT_EQ(c.applied(0), 3u);
  EXPECT_TRUE(c[0].chosen_ahead().empty()) << "all of it is in the prefix now";
  EXPECT_EQ(c.text(0, 2), "b");
}

TEST(Proposer, KeepsFewSlotsUnderWayAtATime) {
  Cluster c({});
  c.elect(0);
  std::size_t taken = 0;
  while (c.try_propose(0, "a")) ++taken;
  EXPECT_EQ(taken, limits::pipeline_slots);
}

// DESIGN 4, phase 2: no slot is proposed before slot - window is applied at the leader.
TEST(Proposer, ProposesNothingBeyondTheWindow) {
  Cluster c({});
  c.elect(0);
  EXPECT_EQ(c.skip(0, {1}).refused, "");
  std::uint64_t highest = 2;
  for (int i = 0; i < 1000; ++i) {
    if (!c[0].can_propose()) break;
    c.propose(0, "a");
    ++highest;
    c.settle();
  }
  EXPECT_EQ(highest, limits::window_slots);
  EXPECT_EQ(c.status(0).chosen_max, Slot{highest});
  EXPECT_FALSE(c[0].can_propose());
}

TEST(Proposer, ProposesNothingBeyondTheWindowInBytes) {
  Cluster c({});
  c.elect(0);
  EXPECT_EQ(c.skip(0, {1}).refused, "");
  const std::string big(limits::decree_bytes_max, 'x');
  std::size_t taken = 0;
  while (c.try_propose(0, big) && taken < 1000) {
    ++taken;
    c.settle();
  }
  EXPECT_EQ(taken, limits::window_bytes_max / limits::decree_bytes_max);
  const Slot next = c[0].skip_next(c.now(), 0).next_free;
  EXPECT_NE(c.skip(0, {next.n}).refused.find("not yet applied"), std::string::npos)
      << "a no-op above it has no room";
}

// DESIGN 4, election: a Nack stops a proposer, but never raises a ballot.
TEST(Proposer, ANackStopsItAndRaisesNothing) {
  Cluster c({});
  c.elect(0);
  const Ballot b = c.status(0).ballot;
  c.step(0, 1, Nack{b, ballot(900, 2)});
  EXPECT_FALSE(c[0].is_leader());
  EXPECT_EQ(c.status(0).ballot, b);
  c.campaign(0);
  EXPECT_EQ(c.status(0).ballot.round, b.round + 1) << "only election rounds raise a ballot";
}

TEST(Proposer, ANackForAnotherBallotIsIgnored) {
  Cluster c({});
  c.elect(0);
  const Ballot b = c.status(0).ballot;
  c.step(0, 1, Nack{ballot(b.round - 1, 0), ballot(900, 2)});
  c.step(0, 1, Nack{b, b});
  EXPECT_TRUE(c[0].is_leader());
}

TEST(Proposer, StopsWhenItPromisesAHigherBallot) {
  Cluster c({});
  c.elect(0);
  c.step(0, 1, Prepare{ballot(50, 1), Slot{1}});
  EXPECT_FALSE(c[0].is_leader());
  EXPECT_EQ(c.status(0).leader_ballot, ballot(50, 1));
}

TEST(Proposer, StopsWhenASlotThatItNeverProposedInWasChosen) {
  Cluster c({});
  c.elect(0);
  c.step(0, 1, LearnReply{{{Slot{4}, ballot(9, 2), command("theirs")}}, Slot{1}, Slot{4}});
  EXPECT_FALSE(c[0].is_leader());
}

// 0 proposes "mine" in slot 1, only 1 votes; 2 leads with the rest and gets "theirs" chosen, its Nack to 0 is
// lost. 0 learns the slot: were it to lead on, its next Commit would tell 1 to take "mine" for chosen.
TEST(Proposer, StopsWhenASlotWasChosenOtherwiseThanItProposed) {
  Cluster c({.replicas = 5});
  c.elect(0);
  const Ballot b = c.status(0).ballot;
  c.propose(0, "mine");
  c.deliver_if(is_to<Accept>(1));
  c.bag().clear();
  c.step(0, 3, LearnReply{{{Slot{1}, ballot(b.round + 1, 2), command("theirs")}}, Slot{1}, Slot{1}});
  EXPECT_FALSE(c[0].is_leader());
  c.advance(5ms);
  c.tick(0);
  c.deliver_if(is<Commit>());
  c.deliver_if(is<Accept>());
  EXPECT_EQ(c.status(1).chosen, Slot{}) << "1 took its vote for the chosen decree";
  EXPECT_EQ(c.text(0, 1), "theirs");
}

TEST(Proposer, StopsProposingWhenItLosesItsQuorum) {
  Cluster c({});
  c.elect(0);
  c.isolate(0);
  c.run_for(c.setup().election_timeout + c.setup().heartbeat);
  EXPECT_FALSE(c[0].is_leader());
}

// --- repeating until answered ---

TEST(Proposer, RepeatsWithBackoffToThoseWhoDidNotVote) {
  Cluster c({});
  c.elect(0);
  std::vector<Time> sent;
  c.on_post = [&](const Letter& l) {
    if (!std::holds_alternative<Accept>(l.message)) return false;
    if (l.to.n == 1) sent.push_back(c.now());
    return true;
  };
  c.propose(0, "a");
  c.run_for(3s);
  ASSERT_GE(sent.size(), 5u);
  for (std::size_t i = 2; i < sent.size(); ++i) {
    const Duration gap = sent[i] - sent[i - 1];
    EXPECT_GE(gap + 1ms, std::min<Duration>(2 * (sent[i - 1] - sent[i - 2]), 500ms));
    EXPECT_LE(gap, 510ms);
  }
  c.on_post = nullptr;
  EXPECT_TRUE(c.run_until([&] { return c.applied(0) == 1; }, 600ms));
}

// Karn's rule: which of two copies was answered can't be told, so a repeated message measures nothing.
TEST(Proposer, ARepeatedMessageMeasuresNoRoundTrip) {
  Cluster c({});
  c.elect(0);
  std::vector<Time> sent;
  int drop = 2;  // the first Accept to each
  c.on_post = [&](const Letter& l) {
    if (!std::holds_alternative<Accept>(l.message)) return false;
    sent.push_back(c.now());
    return drop-- > 0;
  };
  c.propose(0, "a");
  ASSERT_TRUE(c.run_until([&] { return c.applied(0) == 1; }, 1s));
  sent.clear();
  drop = 4;
  c.propose(0, "b");
  ASSERT_TRUE(c.run_until([&] { return c.applied(0) == 2; }, 1s));
  ASSERT_GE(sent.size(), 4u);
  EXPECT_NEAR(static_cast<double>((sent[2] - sent[0]).count()), 50e6, 2e6) << "still the initial time-out";
}

TEST(Proposer, RepeatsSoonOnceItKnowsThatRoundTripsAreShort) {
  Cluster c({});
  c.elect(0);
  for (int i = 0; i < 20; ++i) {
    c.propose(0, "a");
    c.run_for(10ms);
  }
  std::vector<Time> sent;
  c.on_post = [&](const Letter& l) {
    if (!std::holds_alternative<Accept>(l.message) || l.to.n != 1) return false;
    sent.push_back(c.now());
    return true;
  };
  c.cut_both(0, 2);
  c.propose(0, "b");
  c.run_for(100ms);
  ASSERT_GE(sent.size(), 2u);
  EXPECT_LE(sent[1] - sent[0], 15ms);
}

TEST(Proposer, IsLiveAtThirtyPercentLoss) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Cluster c({.replicas = seed % 2 == 0 ? 3u : 5u,
               .seed = seed,
               .loss_percent = 20 + static_cast<unsigned>(seed % 11),
               .duplicate_percent = 10});
    std::size_t done = 0;
    const bool live = c.run_until(
        [&] {
          const auto leader = c.leader();
          if (leader && c.status(*leader).inflight == 0 && c.try_propose(*leader, "a")) ++done;
          return c.applied_anywhere().n >= 50;
        },
        60s);
    ASSERT_TRUE(live) << "seed " << seed << ": only " << c.applied_anywhere().n << " slots";
    ASSERT_TRUE(c.violations().empty());
  }
}

/// Replica 0 has voted for an earlier leader's decrees of `bytes` bytes in the slots from 2 to `last`, and
/// leads now: all of them stand above a hole that it alone can fill. A quorum votes for each as it comes, and
/// `look` looks on before.
template <class Look>
void finish_above_a_hole(Cluster& c, std::uint64_t last, std::size_t bytes, Look&& look) {
  for (std::uint64_t slot = 2; slot <= last; ++slot)
    c.step(0, 1, Accept{ballot(1, 1), Slot{slot}, {}, command(std::string(bytes, 'x'))});
  candidate(c, 3);
  c.step(0, 1, promise(ballot(3, 0)));
  ASSERT_TRUE(c[0].is_leader());
  std::map<std::uint64_t, Decree> proposed;
  for (std::uint64_t slot = 1; slot <= last; ++slot) {
    proposed.merge(proposals(c));
    ASSERT_TRUE(proposed.contains(slot)) << "slot " << slot << " waits for ever";
    look(slot);
    c.step(0, 1, accepted(ballot(3, 0), slot));
  }
  EXPECT_EQ(proposed.at(1), noop());
  EXPECT_EQ(c.applied(0), last);
  EXPECT_TRUE(c[0].can_propose()) << "the window is open again";
}

// A new leader must always be able to finish what phase 1 found, whatever the bounds say of new work: here it
// fills its window in slots and in bytes.
TEST(Proposer, FinishesWhatPhase1FoundHoweverMuchStandsAboveAHole) {
  Cluster c({.bounds = {.window_slots = 4, .window_bytes = 1000}});
  const std::uint64_t last = 20;
  finish_above_a_hole(c, last, 300, [&](std::uint64_t slot) {
    EXPECT_LE(c.status(0).inflight, 4u);
    if (slot + 4 <= last) {
      EXPECT_FALSE(c[0].can_propose());
    }
  });
}

// The same under the shipped bounds: more than the window's bytes stands above the hole.
TEST(Proposer, FinishesMoreThanTheShippedWindowAboveAHole) {
  Cluster c({});
  finish_above_a_hole(c, 1 + limits::window_bytes_max / limits::decree_bytes_max + 4,
                      limits::decree_bytes_max, [](auto) {});
}

// A leader whose state machine is held has nothing of it applied; finishing does not wait for that either.
TEST(Proposer, FinishesWhatPhase1FoundWhileApplyingIsHeld) {
  Cluster c({.bounds = {.window_slots = 2, .window_bytes = 100}});
  candidate(c, 3);
  c.hold_applying(0, true);
  c.step(0, 1, promise(ballot(3, 0), {}, {{Slot{9}, ballot(2, 1), false, command(std::string(90, 'x'))}}));
  for (std::uint64_t slot = 1; slot <= 9; ++slot) c.step(0, 1, accepted(ballot(3, 0), slot));
  EXPECT_EQ(c.status(0).chosen, Slot{9});
  EXPECT_EQ(c.applied(0), 0u);
  EXPECT_FALSE(c[0].can_propose());
}

// DESIGN 4, phase 2: nothing new comes before what phase 1 found, which does not leave in one burst either.
TEST(Proposer, FinishesAWindowAtATimeAndProposesNothingNewBeforeThat) {
  Cluster c({});
  candidate(c, 3);
  const std::uint64_t far = limits::window_slots + 20;
  c.step(0, 1, promise(ballot(3, 0), {}, {{Slot{far}, ballot(2, 1), false, command("far")}}));
  ASSERT_TRUE(c[0].is_leader());
  auto proposed = proposals(c);
  EXPECT_EQ(proposed.size(), limits::window_slots);
  EXPECT_EQ(proposed.rbegin()->first, limits::window_slots);
  for (std::uint64_t slot = 1; slot <= far; ++slot) {
    if (slot + limits::window_slots <= far) {
      EXPECT_FALSE(c[0].can_propose());
      EXPECT_NE(c.skip(0, {far + 5}).refused.find("only just begun"), std::string::npos);
    }
    c.step(0, 1, accepted(ballot(3, 0), slot));
  }
  proposed = proposals(c);
  EXPECT_EQ(proposed.rbegin()->first, far);
  EXPECT_EQ(proposed.at(far), command("far"));
  EXPECT_TRUE(c[0].can_propose());
  EXPECT_EQ(c.text(0, far), "far");
}

}  // namespace
}  // namespace paxos_test
