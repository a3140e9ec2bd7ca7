#include <gtest/gtest.h>

#include <array>
#include <utility>

#include "paxos/trimmer.h"
#include "tests/paxos/cluster.h"

namespace paxos_test {
namespace {

using namespace std::chrono_literals;

Bounds strides_of(std::uint64_t slots) {
  Bounds bounds;
  bounds.trim_stride = slots;
  return bounds;
}

struct TrimmerTest : ::testing::Test {
  Bounds bounds = strides_of(10);
  BoundsReached reached;
  Time now{};

  Trimmer made(std::uint64_t first = 1, std::uint64_t applied = 0, std::uint64_t bytes = 0) {
    return {Slot{first}, Slot{applied}, Slot{applied}, bytes, 3, bounds, reached};
  }
  static void apply(Trimmer& t, std::uint64_t first, std::uint64_t last, std::size_t bytes = 100) {
    for (std::uint64_t n = first; n <= last; ++n) t.applied(Slot{n}, bytes);
  }
};

TEST_F(TrimmerTest, KeepsEverythingUntilItIsTold) {
  Trimmer t = made();
  apply(t, 1, 1000);
  t.durable(Slot{1000});
  EXPECT_EQ(t.next(now), std::nullopt);
  t.set_slack(TrimSlack{});
  EXPECT_EQ(t.next(now), std::nullopt);
  t.set_slack(TrimSlack{.slots = 100});
  EXPECT_EQ(t.next(now), Slot{901}) << "a hundred of them are left, the durable one included";
}

TEST_F(TrimmerTest, NeverLetsGoOfWhatTheStateHasNotOnItsDisk) {
  Trimmer t = made();
  t.set_slack(TrimSlack{.slots = 1});
  apply(t, 1, 1000);
  EXPECT_EQ(t.next(now), std::nullopt) << "applied, but nothing is on the disk";
  t.durable(Slot{50});
  EXPECT_EQ(t.next(now), Slot{50});
  t.durable(Slot{40});  // an older word
  EXPECT_EQ(t.next(now), std::nullopt);
}

TEST_F(TrimmerTest, BeginsBehindDamageAsSoonAsItsStateHasThatOnItsDisk) {
  Trimmer t = made();
  apply(t, 1, 1000);
  t.durable(Slot{50});
  t.hold(ReplicaId{1}, Slot{5}, now + 1s);
  t.cut(Slot{8});
  EXPECT_EQ(t.next(now), Slot{8}) << "no slack, no stride, and nobody can be given what does not read";
  EXPECT_EQ(t.next(now), std::nullopt) << "once";
  t.cut(Slot{51});
  t.cut(Slot{30});  // the one behind the other
  EXPECT_EQ(t.next(now), std::nullopt);
  t.durable(Slot{51});
  EXPECT_EQ(t.next(now), Slot{51});
  t.set_slack(TrimSlack{.slots = 100});
  t.durable(Slot{1000});
  EXPECT_EQ(t.next(now + 2s), Slot{901}) << "and then as before";
}

TEST_F(TrimmerTest, GoesByBytesAsWell) {
  Trimmer t = made();
  t.set_slack(TrimSlack{.slots = 0, .bytes = 2'000'000});
  apply(t, 1, 100, 50'000);  // five megabytes
  t.durable(Slot{100});
  const auto first = t.next(now);
  ASSERT_TRUE(first);
  const std::uint64_t kept = (101 - first->n) * 50'000;
  EXPECT_LE(kept, 2'000'000u);
  EXPECT_GE(kept, 1'500'000u) << "by marks of some slots";
}

TEST_F(TrimmerTest, TakesWhatAStartFindsForEvenlySpread) {
  Trimmer t = made(1, 6400, 64'000'000);
  t.set_slack(TrimSlack{.slots = 0, .bytes = 16'000'000});
  const auto first = t.next(now);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->n, 4801u);
}

TEST_F(TrimmerTest, TrimsInStrides) {
  Trimmer t = made();
  t.set_slack(TrimSlack{.slots = 100});
  apply(t, 1, 200);
  t.durable(Slot{109});
  EXPECT_EQ(t.next(now), std::nullopt);
  t.durable(Slot{110});
  EXPECT_EQ(t.next(now), Slot{11});
  t.durable(Slot{119});
  EXPECT_EQ(t.next(now), std::nullopt);
}

TEST_F(TrimmerTest, WaitsForAPeerThatPullsButNotForEver) {
  Trimmer t = made();
  t.set_slack(TrimSlack{.slots = 10});
  apply(t, 1, 200);
  t.durable(Slot{200});
  t.hold(ReplicaId{1}, Slot{50}, now + 1s);
  t.hold(ReplicaId{2}, Slot{120}, now + 2s);
  EXPECT_EQ(t.next(now), Slot{50});
  EXPECT_EQ(t.next(now + 500ms), std::nullopt);
  EXPECT_EQ(t.next(now + 1s), Slot{120});
  // A page of the log that is asked for meanwhile ends no longer hold.
  t.hold(ReplicaId{2}, Slot{150}, now + 1500ms);
  EXPECT_EQ(t.next(now + 1500ms), std::nullopt);
  EXPECT_EQ(t.next(now + 2s), Slot{191});
}

TEST_F(TrimmerTest, CountsRightAfterALongTime) {
  Trimmer t = made();
  t.set_slack(TrimSlack{.slots = 0, .bytes = 1ULL << 30});
  apply(t, 1, 3'000'000, 1'000);  // more marks than it keeps apart
  t.durable(Slot{3'000'000});
  const auto first = t.next(now);
  ASSERT_TRUE(first);
  const double kept = static_cast<double>(3'000'001 - first->n) * 1'000;
  EXPECT_NEAR(kept, static_cast<double>(1ULL << 30), 2e6);
}

// --- in a replica ---

std::vector<TrimRecord> trims(Cluster& c, std::size_t id, const std::function<void()>& act) {
  std::vector<TrimRecord> out;
  c.on_ready = [&](std::size_t of, const Ready& ready) {
    for (const Record& record : ready.records)
      if (const auto* trim = std::get_if<TrimRecord>(&record); trim != nullptr && of == id)
        out.push_back(*trim);
  };
  act();
  c.on_ready = nullptr;
  return out;
}

LearnReply chosen(std::uint64_t first, std::uint64_t last) {
  LearnReply reply{.decrees = {}, .first_slot = Slot{1}, .chosen_prefix = Slot{last}};
  for (std::uint64_t slot = first; slot <= last; ++slot)
    reply.decrees.push_back({Slot{slot}, Ballot{1, {1}}, command("slot " + std::to_string(slot))});
  return reply;
}

Setup small() {
  Setup setup;
  setup.bounds.trim_stride = 5;
  setup.bounds.hot_slots = 4;
  return setup;
}

void durable(Cluster& c, std::size_t id, std::uint64_t slot) {
  c.node(id).state_durable = slot;
  c[id].state_durable(c.now(), Slot{slot});
  c.tick(id);
}

TEST(Trim, TheLogBeginsWhereTheRecordSaysAlsoAfterARestart) {
  Cluster c(small());
  c[0].set_slack(c.now(), TrimSlack{.slots = 10});
  c.step(0, 1, chosen(1, 40));
  ASSERT_EQ(c.applied(0), 40u);
  EXPECT_TRUE(trims(c, 0, [&] { c.tick(0); }).empty()) << "nothing of the state is on the disk";
  const auto done = trims(c, 0, [&] { durable(c, 0, 40); });
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].first, Slot{31});
  EXPECT_EQ(c.status(0).first_slot, Slot{31});
  c.crash(0);
  c.restart(0);
  EXPECT_EQ(c.status(0).first_slot, Slot{31});
  EXPECT_EQ(c.status(0).chosen, Slot{40});
}

TEST(Trim, WhatIsGoneIsAnsweredSoAtOnce) {
  Cluster c(small());
  c[0].set_slack(c.now(), TrimSlack{.slots = 10});
  c.step(0, 1, chosen(1, 40));
  durable(c, 0, 40);
  std::size_t reads = 0;
  c.on_ready = [&](std::size_t, const Ready& ready) { reads += ready.log_reads.size(); };
  for (int twice = 0; twice < 2; ++twice) {
    if (twice == 0)
      c.step(0, 2, LearnRequest{Slot{3}, Slot{40}});
    else
      c.step(0, 2, Accept{Ballot{9, {2}}, Slot{3}, {}, command("late")});
    const auto replies = take<LearnReply>(c, 0, 2);
    ASSERT_EQ(replies.size(), 1u);
    EXPECT_TRUE(replies[0].decrees.empty());
    EXPECT_EQ(replies[0].first_slot, Slot{31});
    EXPECT_EQ(replies[0].chosen_prefix, Slot{40});
  }
  EXPECT_EQ(reads, 0u);
  // Of a promise the chosen prefix says it: nothing is proposed at or below it.
  c.step(0, 2, Prepare{Ballot{9, {2}}, Slot{3}});
  const auto promises = take<Promise>(c, 0, 2);
  ASSERT_EQ(promises.size(), 1u);
  EXPECT_EQ(promises[0].chosen_prefix, Slot{40});
  EXPECT_TRUE(promises[0].entries.empty());
}

TEST(Trim, APeerThatPullsIsWaitedFor) {
  Cluster c(small());
  c[0].set_slack(c.now(), TrimSlack{.slots = 10});
  c.step(0, 1, chosen(1, 40));
  c.step(0, 2, LearnRequest{Slot{20}, Slot{40}});
  const auto done = trims(c, 0, [&] { durable(c, 0, 40); });
  ASSERT_EQ(done.size(), 1u);
  EXPECT_EQ(done[0].first, Slot{20});
}

TEST(Trim, ARedactedDecreeDoesNotComeBack) {
  Cluster c(small());
  c[0].set_slack(c.now(), TrimSlack{.slots = 10});
  c.step(0, 1, chosen(1, 40));
  durable(c, 0, 40);
  EXPECT_EQ(c[0].replace_applied(c.now(), {Slot{30}, Ballot{1, {1}}, command("redacted")}), 0u);
  EXPECT_NE(c[0].replace_applied(c.now(), {Slot{31}, Ballot{1, {1}}, command("redacted")}), 0u);
  const Ready ready = c[0].take_ready();
  ASSERT_EQ(ready.records.size(), 1u);
  EXPECT_EQ(std::get<ChosenRecord>(ready.records[0]).slot, Slot{31});
}

// --- who can't catch up by the log any more ---

struct StrandedTest : ::testing::Test {
  Cluster c{paxos_test::Setup{}};
  std::vector<SnapshotWish> wishes;
  std::array<std::size_t, 3> requests_{};

  void SetUp() override {
    c.on_ready = [this](std::size_t id, const Ready& ready) {
      if (id == 2 && ready.snapshot_wanted) wishes.push_back(*ready.snapshot_wanted);
    };
    // Nobody answers but the test.
    c.on_post = [this](const Letter& letter) {
      if (letter.from != ReplicaId{2} || !std::holds_alternative<LearnRequest>(letter.message)) return false;
      ++requests_[letter.to.n];
      return true;
    };
  }
  void trimmed(std::size_t from, std::uint64_t first = 500, std::uint64_t prefix = 900) {
    c.step(2, from, LearnReply{.decrees = {}, .first_slot = Slot{first}, .chosen_prefix = Slot{prefix}});
  }
  /// Since the last time.
  std::size_t asked(std::size_t of) { return std::exchange(requests_[of], 0); }
  void later(Duration by) {
    c.run_for(by);
    c.tick(2);
  }
};

TEST_F(StrandedTest, AnotherPeerIsAskedAtOnceAndThenNobodyAnyMore) {
  c.step(2, 0, Commit{Ballot{1, {0}}, Slot{900}});
  c.step(2, 1, LearnReply{.decrees = {}, .first_slot = {}, .chosen_prefix = Slot{900}});
  c.hold_disk(false);
  for (std::size_t i = 0; i < 20 && wishes.empty(); ++i) {
    later(10ms);
    if (asked(0) != 0) trimmed(0);
    if (asked(1) != 0) trimmed(1);
  }
  ASSERT_FALSE(wishes.empty());
  EXPECT_EQ(wishes.back().above, Slot{1});
  ASSERT_TRUE(c.status(2).snapshot_wanted);
  const std::size_t before = wishes.size();
  later(2s);
  EXPECT_EQ(asked(0) + asked(1), 0u) << "who has trimmed is not asked again and again";
  EXPECT_GT(wishes.size(), before) << "it goes on saying so";
  EXPECT_LT(wishes.size(), before + 30);
  c.step(2, 0, chosen(1, 900));
  EXPECT_FALSE(c.status(2).snapshot_wanted) << "what comes all the same helps";
}

TEST_F(StrandedTest, ASilentPeerThatMayHaveItIsNotWaitedForWithoutEnd) {
  c.step(2, 0, LearnReply{.decrees = {}, .first_slot = {}, .chosen_prefix = Slot{900}});
  trimmed(1);
  c.step(2, 1, Commit{Ballot{1, {1}}, Slot{900}});
  std::size_t requests = 0;
  for (std::size_t i = 0; i < 100 && wishes.empty(); ++i) {
    later(20ms);
    requests += asked(0);
    EXPECT_EQ(asked(1), 0u);
  }
  EXPECT_GE(requests, 2u);
  EXPECT_FALSE(wishes.empty());
}

TEST_F(StrandedTest, TheStateBehindTheOwnLogNeedsOneToo) {
  c.crash(2);
  c.node(2).disk.first = Slot{50};
  c.node(2).disk.chosen_prefix = Slot{60};
  for (std::uint64_t n = 50; n <= 60; ++n)
    c.node(2).disk.entries[Slot{n}] = {Slot{n}, Ballot{1, {0}}, true, command("x")};
  c.restart(2);
  later(1s);
  ASSERT_FALSE(wishes.empty());
  EXPECT_EQ(wishes.back().above, Slot{1});
  EXPECT_EQ(c.applied(2), 0u) << "what is above the gap is not applied";
  EXPECT_EQ(c.status(2).chosen, Slot{60}) << "it knows what it voted for";
}

}  // namespace
}  // namespace paxos_test
