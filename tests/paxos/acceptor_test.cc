#include <gtest/gtest.h>

#include <string>

#include "tests/paxos/cluster.h"

/// The acceptor's rules, asked of replica 0 by messages. Sources: Lamport, Paxos Made Simple (2001), section
/// 2.2 (P1a and the algorithm), and DESIGN.md sections 4 and 5.
namespace paxos_test {
namespace {

// Paxos Made Simple 2.2, phase 1 (b), and DESIGN 5: a promise leaves only after it is synced.
TEST(Acceptor, PromiseLeavesOnlyAfterItsSync) {
  Cluster c({.auto_sync = false});
  c.step(0, 1, Prepare{ballot(1, 1), Slot{1}});
  EXPECT_TRUE(take<Promise>(c, 0, 1).empty());
  c.sync(0);
  const auto promises = take<Promise>(c, 0, 1);
  ASSERT_EQ(promises.size(), 1u);
  EXPECT_EQ(promises[0].ballot, ballot(1, 1));
}

// DESIGN 5: so does a vote.
TEST(Acceptor, VoteLeavesOnlyAfterItsSync) {
  Cluster c({.auto_sync = false});
  c.step(0, 1, Accept{ballot(1, 1), Slot{1}, {}, command("a")});
  EXPECT_TRUE(take<Accepted>(c, 0, 1).empty());
  c.sync(0);
  const auto accepted = take<Accepted>(c, 0, 1);
  ASSERT_EQ(accepted.size(), 1u);
  EXPECT_EQ(accepted[0], (Accepted{ballot(1, 1), {{Slot{1}, Slot{1}}}}));
}

TEST(Acceptor, RepeatWhileTheSyncIsUnderWayWaitsForIt) {
  Cluster c({.auto_sync = false});
  const Accept accept{ballot(1, 1), Slot{1}, {}, command("a")};
  c.step(0, 1, accept);
  c.step(0, 1, accept);
  EXPECT_TRUE(take<Accepted>(c, 0, 1).empty());
  c.sync(0);
  EXPECT_FALSE(take<Accepted>(c, 0, 1).empty());
}

TEST(Acceptor, ACrashBeforeTheSyncForgetsAVoteThatNobodyWasToldOf) {
  Cluster c({.auto_sync = false});
  c.step(0, 1, Accept{ballot(1, 1), Slot{1}, {}, command("a")});
  c.restart(0);
  c.sync(0);
  EXPECT_EQ(c.count_if(is_from<Accepted>(0)), 0u);
  EXPECT_EQ(c.status(0).accepted, Slot{});
}

// Paxos Made Simple 2.2, P1a and section 2.5: a Nack names the promise, so that the proposer gives up.
TEST(Acceptor, RefusesAPrepareBelowItsPromise) {
  Cluster c({});
  c.step(0, 2, Prepare{ballot(5, 2), Slot{1}});
  c.step(0, 1, Prepare{ballot(4, 1), Slot{1}});
  EXPECT_TRUE(take<Promise>(c, 0, 1).empty());
  const auto nacks = take<Nack>(c, 0, 1);
  ASSERT_EQ(nacks.size(), 1u);
  EXPECT_EQ(nacks[0], (Nack{ballot(4, 1), ballot(5, 2)}));
  EXPECT_EQ(c.status(0).ballot, ballot(5, 2));
}

TEST(Acceptor, IgnoresAcceptBelowItsPromise) {
  Cluster c({});
  c.step(0, 2, Prepare{ballot(5, 2), Slot{1}});
  c.step(0, 1, Accept{ballot(4, 1), Slot{1}, {}, command("a")});
  EXPECT_TRUE(take<Accepted>(c, 0, 1).empty());
  EXPECT_EQ(c.status(0).accepted, Slot{});
  const auto nacks = take<Nack>(c, 0, 1);
  ASSERT_EQ(nacks.size(), 1u);
  EXPECT_EQ(nacks[0].promised, ballot(5, 2));
}

TEST(Acceptor, ReplicaNumberOrdersBallotsOfTheSameRound) {
  Cluster c({});
  c.step(0, 2, Prepare{ballot(1, 2), Slot{1}});
  c.step(0, 1, Prepare{ballot(1, 1), Slot{1}});
  EXPECT_TRUE(take<Promise>(c, 0, 1).empty());
  EXPECT_EQ(take<Nack>(c, 0, 1).size(), 1u);
}

// P1a with >=: UDP may have lost the 1a, and accepting above the promise implies promising.
TEST(Acceptor, AcceptAboveThePromiseRaisesIt) {
  Cluster c({});
  c.step(0, 1, Accept{ballot(3, 1), Slot{1}, {}, command("a")});
  EXPECT_EQ(c.status(0).ballot, ballot(3, 1));
  c.step(0, 2, Prepare{ballot(2, 2), Slot{1}});
  EXPECT_EQ(take<Nack>(c, 0, 2).size(), 1u);
}

// I6, also when the record of the vote that raised the promise was replaced by what was chosen.
TEST(Acceptor, PromisesNeverGoBackAcrossARestart) {
  Cluster c({});
  c.step(0, 2, Prepare{ballot(7, 2), Slot{1}});
  c.restart(0);
  EXPECT_EQ(c.status(0).ballot, ballot(7, 2));
  c.step(0, 1, Accept{ballot(9, 1), Slot{1}, {}, command("a")});
  c.step(0, 2, LearnReply{{{Slot{1}, ballot(8, 2), command("b")}}, Slot{1}, Slot{1}});
  EXPECT_EQ(c.text(0, 1), "b");
  c.restart(0);
  EXPECT_EQ(c.status(0).ballot, ballot(9, 1));
  c.step(0, 2, Prepare{ballot(8, 2), Slot{1}});
  EXPECT_EQ(take<Nack>(c, 0, 2).size(), 1u);
}

TEST(Acceptor, VotesSurviveARestartAndAreTold) {
  Cluster c({});
  c.step(0, 1, Accept{ballot(3, 1), Slot{2}, {}, command("a")});
  c.restart(0);
  c.step(0, 2, Prepare{ballot(4, 2), Slot{1}});
  const auto promises = take<Promise>(c, 0, 2);
  ASSERT_EQ(promises.size(), 1u);
  ASSERT_EQ(promises[0].entries.size(), 1u);
  EXPECT_EQ(promises[0].entries[0], (PromiseEntry{Slot{2}, ballot(3, 1), false, command("a")}));
}

TEST(Acceptor, ALaterVoteReplacesTheEarlierOne) {
  Cluster c({});
  c.step(0, 1, Accept{ballot(3, 1), Slot{1}, {}, command("old")});
  c.step(0, 2, Accept{ballot(4, 2), Slot{1}, {}, command("new")});
  c.step(0, 1, Prepare{ballot(5, 1), Slot{1}});
  const auto promises = take<Promise>(c, 0, 1);
  ASSERT_EQ(promises.size(), 1u);
  ASSERT_EQ(promises[0].entries.size(), 1u);
  EXPECT_EQ(promises[0].entries[0].ballot, ballot(4, 2));
  EXPECT_EQ(promises[0].entries[0].decree, command("new"));
}

// DESIGN 4, retransmission: all handlers are idempotent; a repeat means that our answer was lost.
TEST(Acceptor, AnswersARepeatedAcceptAgainWithoutAnotherRecord) {
  Cluster c({});
  const Accept accept{ballot(1, 1), Slot{1}, {}, command("a")};
  c.step(0, 1, accept);
  const auto groups = c.node(0).groups_written;
  c.step(0, 1, accept);
  EXPECT_EQ(take<Accepted>(c, 0, 1).size(), 2u);
  EXPECT_EQ(c.node(0).groups_written, groups);
}

TEST(Acceptor, AnswersARepeatedPrepareAgain) {
  Cluster c({});
  c.step(0, 1, Prepare{ballot(1, 1), Slot{1}});
  c.step(0, 1, Prepare{ballot(1, 1), Slot{1}});
  EXPECT_EQ(take<Promise>(c, 0, 1).size(), 2u);
}

TEST(Acceptor, NobodyProposesWithABallotOfAnother) {
  Cluster c({});
  c.step(0, 1, Prepare{ballot(5, 2), Slot{1}});
  c.step(0, 1, Accept{ballot(5, 2), Slot{1}, {}, command("a")});
  EXPECT_EQ(c.status(0).ballot, Ballot{});
  EXPECT_EQ(c.status(0).accepted, Slot{});
}

TEST(Acceptor, OneAcceptedCarriesAllVotesOfATurn) {
  Cluster c({});
  for (std::uint64_t slot : {1u, 2u, 4u, 3u, 7u})
    c[0].step(c.now(), ReplicaId{1}, c.node(1).disk.incarnation,
              Accept{ballot(1, 1), Slot{slot}, {}, command("a")});
  c.tick(0);
  const auto accepted = take<Accepted>(c, 0, 1);
  ASSERT_EQ(accepted.size(), 1u);
  EXPECT_EQ(accepted[0].slots, (std::vector<SlotRange>{{Slot{1}, Slot{4}}, {Slot{7}, Slot{7}}}));
}

// A vote that was cast stays cast: it is acknowledged at its own ballot though the promise moved on.
TEST(Acceptor, VotesOfATurnAreAcknowledgedEachAtItsBallot) {
  Cluster c({});
  c[0].step(c.now(), ReplicaId{1}, c.node(1).disk.incarnation,
            Accept{ballot(1, 1), Slot{1}, {}, command("a")});
  c[0].step(c.now(), ReplicaId{2}, c.node(2).disk.incarnation,
            Accept{ballot(2, 2), Slot{1}, {}, command("b")});
  c.tick(0);
  const auto first = take<Accepted>(c, 0, 1);
  const auto second = take<Accepted>(c, 0, 2);
  ASSERT_EQ(first.size(), 1u);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(first[0].ballot, ballot(1, 1));
  EXPECT_EQ(second[0].ballot, ballot(2, 2));
}

// DESIGN 4, phase 1: an Accept at or below w is answered with the chosen decree.
TEST(Acceptor, AnswersAnAcceptAtOrBelowItsPrefixWithTheChosenDecree) {
  Cluster c({});
  c.step(0, 2, LearnReply{{{Slot{1}, ballot(1, 2), command("chosen")}}, Slot{1}, Slot{1}});
  c.step(0, 1, Accept{ballot(5, 1), Slot{1}, {}, command("other")});
  EXPECT_TRUE(take<Accepted>(c, 0, 1).empty());
  const auto replies = take<LearnReply>(c, 0, 1);
  ASSERT_EQ(replies.size(), 1u);
  ASSERT_EQ(replies[0].decrees.size(), 1u);
  EXPECT_EQ(replies[0].decrees[0].decree, command("chosen"));
  EXPECT_EQ(replies[0].chosen_prefix, Slot{1});
}

TEST(Acceptor, AnswersAnAcceptForASlotKnownChosenAboveThePrefixLikewise) {
  Cluster c({});
  c.step(0, 2, LearnReply{{{Slot{3}, ballot(1, 2), command("chosen")}}, Slot{1}, Slot{3}});
  c.step(0, 1, Accept{ballot(5, 1), Slot{3}, {}, command("other")});
  EXPECT_TRUE(take<Accepted>(c, 0, 1).empty());
  const auto replies = take<LearnReply>(c, 0, 1);
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].decrees.at(0).decree, command("chosen"));
}

TEST(Acceptor, AnswersAnAcceptForASlotThatIsOnlyInTheLogFromTheLog) {
  Cluster c({});
  c.step(0, 2, LearnReply{{{Slot{1}, ballot(1, 2), command("cold")}}, Slot{1}, Slot{1}});
  c.node(0).state_durable = 1;
  c.restart(0);
  c.step(0, 1, Accept{ballot(5, 1), Slot{1}, {}, command("other")});
  const auto replies = take<LearnReply>(c, 0, 1);
  ASSERT_EQ(replies.size(), 1u);
  ASSERT_EQ(replies[0].decrees.size(), 1u);
  EXPECT_EQ(replies[0].decrees[0].decree, command("cold"));
}

// DESIGN 4, phase 1: w, and above it the votes and what was learned as chosen without voting.
TEST(Acceptor, PromiseNamesItsPrefixAndWhatIsAboveIt) {
  Cluster c({});
  c.step(0, 2,
         LearnReply{{{Slot{1}, ballot(1, 2), command("one")}, {Slot{4}, ballot(1, 2), command("four")}},
                    Slot{1},
                    Slot{4}});
  c.step(0, 1, Accept{ballot(2, 1), Slot{3}, {}, command("three")});
  c.step(0, 2, Prepare{ballot(3, 2), Slot{1}});
  const auto promises = take<Promise>(c, 0, 2);
  ASSERT_EQ(promises.size(), 1u);
  EXPECT_EQ(promises[0].chosen_prefix, Slot{1});
  EXPECT_EQ(promises[0].entries, (std::vector<PromiseEntry>{{Slot{3}, ballot(2, 1), false, command("three")},
                                                            {Slot{4}, ballot(1, 2), true, command("four")}}));
  EXPECT_TRUE(promises[0].next.none());
}

TEST(Acceptor, PromiseComesInPagesOfBoundedSize) {
  Cluster c({});
  const std::string big(100 * 1024, 'x');
  for (std::uint64_t slot = 1; slot <= 5; ++slot)
    c.step(0, 1, Accept{ballot(1, 1), Slot{slot}, {}, command(big)});
  std::vector<Slot> told;
  Slot from{1};
  for (int page = 0; page < 3; ++page) {
    c.step(0, 2, Prepare{ballot(2, 2), from});
    const auto promises = take<Promise>(c, 0, 2);
    ASSERT_EQ(promises.size(), 1u);
    EXPECT_EQ(promises[0].from, from);
    std::size_t bytes = 0;
    for (const PromiseEntry& entry : promises[0].entries) {
      told.push_back(entry.slot);
      bytes += entry.decree.value.size();
    }
    EXPECT_LE(bytes, limits::page_bytes_max);
    from = promises[0].next;
  }
  EXPECT_TRUE(from.none());
  EXPECT_EQ(told, (std::vector<Slot>{Slot{1}, Slot{2}, Slot{3}, Slot{4}, Slot{5}}));
}

// DESIGN 4: an acceptor serves a page only while its promise equals that ballot.
TEST(Acceptor, RefusesAFurtherPageOnceThePromiseMovedOn) {
  Cluster c({});
  c.step(0, 1, Accept{ballot(1, 1), Slot{1}, {}, command("a")});
  c.step(0, 2, Prepare{ballot(2, 2), Slot{1}});
  EXPECT_EQ(take<Promise>(c, 0, 2).size(), 1u);
  c.step(0, 1, Prepare{ballot(3, 1), Slot{1}});
  c.step(0, 2, Prepare{ballot(2, 2), Slot{2}});
  EXPECT_TRUE(take<Promise>(c, 0, 2).empty());
  EXPECT_EQ(take<Nack>(c, 0, 2).size(), 1u);
}

// I10: memory is bounded whatever arrives.
TEST(Acceptor, DropsVotesTooFarAboveWhatItHasApplied) {
  Cluster c({});
  c.step(0, 1, Accept{ballot(1, 1), Slot{limits::unapplied_slots_max + 1}, {}, command("a")});
  EXPECT_EQ(c.status(0).accepted, Slot{});
  c.step(0, 1, Accept{ballot(1, 1), Slot{limits::unapplied_slots_max}, {}, command("a")});
  EXPECT_EQ(c.status(0).accepted, Slot{limits::unapplied_slots_max});
}

// What is chosen and not applied is in memory as well: a replica whose state's disk hangs takes no more than
// what fits.
TEST(Acceptor, CountsWhatIsChosenAndNotAppliedToo) {
  Cluster c({.bounds = {.unapplied_slots = 8, .unapplied_bytes = 1000}});
  c.hold_applying(0, true);
  const auto chosen_up_to = [&](std::uint64_t last, std::string_view text) {
    for (std::uint64_t slot = c.status(0).accepted.n + 1; slot <= last; ++slot) {
      c.step(0, 1, Accept{ballot(1, 1), Slot{slot}, {}, command(text)});
      c.step(0, 1, Commit{ballot(1, 1), Slot{slot}});
    }
  };
  chosen_up_to(4, std::string(200, 'x'));
  EXPECT_EQ(c.status(0).chosen, Slot{4});
  c.step(0, 1, Accept{ballot(1, 1), Slot{5}, {}, command(std::string(201, 'x'))});
  EXPECT_EQ(c.status(0).accepted, Slot{4}) << "one byte too many";
  for (std::uint64_t slot = 5; slot <= 8; ++slot)
    c.step(0, 1, Accept{ballot(1, 1), Slot{slot}, {}, command("y")});
  c.step(0, 1, Accept{ballot(1, 1), Slot{9}, {}, command("y")});
  EXPECT_EQ(c.status(0).accepted, Slot{8}) << "one slot too many";
  EXPECT_LE(c[0].held().unapplied_bytes, 1000u);
  c.hold_applying(0, false);
  c.step(0, 1, Accept{ballot(1, 1), Slot{9}, {}, command("y")});
  EXPECT_EQ(c.status(0).accepted, Slot{9});
}

// A disk that hangs syncs nothing: what is written to it must not grow for ever, and neither what waits for
// it.
TEST(Acceptor, WhatWaitsForADiskThatHangsIsBounded) {
  Cluster c({.auto_sync = false, .bounds = {.unsynced_bytes = 20'000, .after_sync_bytes = 5'000}});
  const Decree big = command(std::string(1000, 'x'));
  for (std::uint64_t round = 1; round <= 50; ++round)
    for (std::uint64_t slot = 1; slot <= 3; ++slot) {
      c.step(0, 1, Accept{ballot(2 * round, 1), Slot{slot}, {}, big});
      c.step(0, 2, Prepare{ballot(2 * round + 1, 2), Slot{1}});
      c.step(0, 2, Prepare{ballot(2 * round + 1, 2), Slot{1}});
    }
  EXPECT_LE(c[0].held().unsynced_bytes, 20'000u + 50 * limits::record_overhead_bytes + 1200);
  EXPECT_LE(c[0].held().after_sync_bytes, 5'000u + 3200);
  EXPECT_GT(c[0].bounds_reached().all()[static_cast<std::size_t>(Bound::unsynced_bytes)], 0u);
  EXPECT_GT(c[0].bounds_reached().all()[static_cast<std::size_t>(Bound::after_sync_bytes)], 0u);
  c.sync(0);
  EXPECT_EQ(c[0].held().unsynced_bytes, 0u);
  EXPECT_EQ(c[0].held().after_sync_bytes, 0u);
  c.bag().clear();
  c.step(0, 1, Accept{ballot(1000, 1), Slot{2}, {}, big});
  c.sync(0);
  EXPECT_EQ(take<Accepted>(c, 0, 1).size(), 1u) << "it votes again";
}

TEST(Acceptor, DropsVotesBeyondItsBytesButNeverTheNextSlotNorAReplacement) {
  Cluster c({});
  const Decree big = command(std::string(limits::decree_bytes_max, 'x'));
  const std::uint64_t full = limits::unapplied_bytes_max / limits::decree_bytes_max;
  for (std::uint64_t slot = 2; slot <= full + 10; ++slot)
    c.step(0, 1, Accept{ballot(1, 1), Slot{slot}, {}, big});
  EXPECT_EQ(c.status(0).accepted, Slot{full + 1});
  c.bag().clear();
  c.step(0, 2, Accept{ballot(2, 2), Slot{5}, {}, big});
  EXPECT_EQ(take<Accepted>(c, 0, 2).size(), 1u) << "it replaces a vote of the same size";
  c.step(0, 2, Accept{ballot(2, 2), Slot{1}, {}, big});
  EXPECT_EQ(take<Accepted>(c, 0, 2).size(), 1u) << "without it nothing would ever be applied";
}

TEST(Acceptor, VotesOfATurnInMoreRangesThanOneAcceptedCarriesLeaveInTwo) {
  Cluster c({});
  const std::size_t ranges = limits::accepted_ranges_max + 3;
  for (std::uint64_t slot = 1; slot <= 2 * ranges; slot += 2)
    c[0].step(c.now(), ReplicaId{1}, c.node(1).disk.incarnation,
              Accept{ballot(1, 1), Slot{slot}, {}, command("a")});
  c.tick(0);
  const auto accepted = take<Accepted>(c, 0, 1);
  ASSERT_EQ(accepted.size(), 2u);
  EXPECT_EQ(accepted[0].slots.size(), limits::accepted_ranges_max);
  EXPECT_EQ(accepted[1].slots.size(), 3u);
  EXPECT_EQ(accepted[1].slots.back().last, Slot{2 * ranges - 1});
}

// The written prefix lags behind, so that after a restart more votes stand above it than one page takes.
TEST(Acceptor, PromiseComesInPagesOfBoundedCount) {
  Cluster c({});
  const std::uint64_t prefix = limits::prefix_record_stride / 2;
  const std::uint64_t last = limits::page_entries_max + prefix;
  for (std::uint64_t slot = 1; slot <= last; ++slot) {
    if (slot == last - prefix) c.step(0, 1, Commit{ballot(1, 1), Slot{prefix}});
    c.step(0, 1, Accept{ballot(1, 1), Slot{slot}, {}, command("a")});
  }
  c.restart(0);
  ASSERT_EQ(c.status(0).chosen, Slot{});
  c.step(0, 2, Prepare{ballot(2, 2), Slot{1}});
  const auto first = take<Promise>(c, 0, 2);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].entries.size(), limits::page_entries_max);
  EXPECT_EQ(first[0].next, Slot{limits::page_entries_max + 1});
  c.step(0, 2, Prepare{ballot(2, 2), first[0].next});
  const auto second = take<Promise>(c, 0, 2);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(second[0].entries.size(), last - limits::page_entries_max);
  EXPECT_TRUE(second[0].next.none());
}

}  // namespace
}  // namespace paxos_test
