#include <gtest/gtest.h>

#include "tests/paxos/cluster.h"

/// A replica whose state is behind its own log applies it again in pages, and takes part meanwhile.
namespace paxos_test {
namespace {

using namespace std::chrono_literals;

struct RedoTest : ::testing::Test {
  static constexpr std::uint64_t slots = 100;
  Incarnation self{{1}}, one{{2}}, two{{3}};
  Options options{.self = ReplicaId{0}};
  std::unique_ptr<Replica> replica;
  Time now{};
  std::uint64_t applied = 0;
  std::vector<LogReadWish> reads;
  std::vector<Envelope> sent;
  std::optional<Slot> lost;
  std::uint64_t group = 0;

  void start(std::uint64_t redo_to = slots, std::uint64_t prefix = slots, std::uint64_t from = 0) {
    Recovered recovered{.incarnation = self,
                        .boot = 2,
                        .birth = BirthRecord{.members = {self, one, two}, .born = true},
                        .promised = Ballot{3, {1}},
                        .chosen_prefix = Slot{prefix},
                        .applied = Slot{from},
                        .redo_to = Slot{redo_to},
                        .entries = {}};
    applied = from;
    replica = std::make_unique<Replica>(options, std::move(recovered), now);
    drain();
  }
  static Decree decree(std::uint64_t slot) { return command("slot " + std::to_string(slot)); }
  void drain() {
    Ready ready = replica->take_ready();
    if (!ready.records.empty()) group = ready.group;
    for (const ChosenDecree& chosen : ready.to_apply) {
      ASSERT_EQ(chosen.slot.n, ++applied);
      ASSERT_EQ(chosen.decree, decree(applied));
      replica->applied(now, chosen.slot, Hash{});
    }
    reads.insert(reads.end(), ready.log_reads.begin(), ready.log_reads.end());
    for (auto* letters : {&ready.send_now, &ready.send_after_sync})
      sent.insert(sent.end(), letters->begin(), letters->end());
    if (ready.lost) lost = ready.lost;
    replica->check_invariants();
  }
  void hear(const PeerMessage& message, std::uint8_t from = 1) {
    replica->step(now, ReplicaId{from}, from == 1 ? one : two, message);
    drain();
  }
  /// As a host does it: at most `most` slots of those that were asked for.
  void answer(std::uint64_t most = UINT64_MAX) {
    ASSERT_FALSE(reads.empty());
    const LogReadWish wish = reads.front();
    reads.erase(reads.begin());
    std::vector<ChosenDecree> page;
    for (Slot slot = wish.from; slot <= wish.last && page.size() < most; ++slot)
      page.push_back({slot, Ballot{2, {1}}, decree(slot.n)});
    replica->log_read(now, wish, std::move(page));
    drain();
  }
  template <class M>
  std::vector<M> take() {
    std::vector<M> out;
    for (const Envelope& envelope : sent)
      if (const auto* m = std::get_if<M>(&envelope.message)) out.push_back(*m);
    sent.clear();
    return out;
  }
};

TEST_F(RedoTest, GoesPageByPageAndTellsHowFarItIs) {
  options.bounds.redo_slots = 30;
  start();
  ASSERT_TRUE(replica->status().redoing);
  EXPECT_EQ(*replica->status().redoing, (SlotRange{Slot{1}, Slot{slots}}));
  std::vector<std::uint64_t> pages;
  while (applied < slots) {
    ASSERT_EQ(reads.size(), 1u) << "one page at a time";
    EXPECT_EQ(reads[0].to, ReplicaId{0});
    pages.push_back(reads[0].last.n);
    answer();
  }
  EXPECT_EQ(pages, (std::vector<std::uint64_t>{30, 60, 90, 100}));
  EXPECT_FALSE(replica->status().redoing);
  EXPECT_TRUE(reads.empty());
  // And what is chosen then goes on behind it, from memory.
  hear(LearnReply{{{Slot{101}, Ballot{3, {1}}, decree(101)}}, Slot{1}, Slot{101}});
  replica->synced(now, group);
  drain();
  EXPECT_EQ(applied, 101u);
}

TEST_F(RedoTest, AShortPageIsGoneOnFrom) {
  start();
  answer(7);
  EXPECT_EQ(applied, 7u);
  ASSERT_EQ(reads.size(), 1u);
  EXPECT_EQ(reads[0].from, Slot{8});
}

TEST_F(RedoTest, PromisesAndVotesMeanwhile) {
  start();
  hear(Prepare{Ballot{4, {1}}, Slot{1}});
  replica->synced(now, group);
  const auto promises = take<Promise>();
  ASSERT_EQ(promises.size(), 1u);
  EXPECT_EQ(promises[0].chosen_prefix, Slot{slots})
      << "nothing of what it only has to redo is proposed again";
  hear(Accept{Ballot{4, {1}}, Slot{slots + 1}, Slot{slots}, decree(slots + 1)});
  replica->synced(now, group);
  EXPECT_EQ(take<Accepted>().size(), 1u);
  EXPECT_EQ(applied, 0u);
  // Heartbeats tell how far it has really come.
  hear(HeartbeatRequest{7});
  const auto replies = take<HeartbeatReply>();
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].applied, Slot{});
  EXPECT_EQ(replies[0].chosen_prefix, Slot{slots});
  EXPECT_FALSE(replies[0].candidate);
  EXPECT_TRUE(replica->outlook().behind || slots <= options.bounds.window_slots);
}

TEST_F(RedoTest, WhatItHasOnlyOnItsDiskPeersCanLearn) {
  start();
  hear(LearnRequest{Slot{40}, Slot{50}}, 2);
  ASSERT_EQ(reads.size(), 2u);
  EXPECT_EQ(reads[1].to, ReplicaId{2});
  EXPECT_EQ(reads[1].from, Slot{40});
  hear(Accept{Ballot{4, {1}}, Slot{40}, Slot{slots}, decree(1)});
  EXPECT_EQ(reads.size(), 3u) << "an Accept of what is chosen is answered from there, too";
}

// However long it takes: votes never find that there is no room.
TEST_F(RedoTest, WhatIsChosenMeanwhileGoesBackToTheDisk) {
  options.bounds.unapplied_slots = 16;
  options.bounds.redo_slots = 10;
  start();
  for (std::uint64_t slot = slots + 1; slot <= slots + 200; ++slot) {
    hear(Accept{Ballot{4, {1}}, Slot{slot}, Slot{slot - 1}, decree(slot)});
    replica->synced(now, group);
    drain();
    ASSERT_EQ(take<Accepted>().size(), 1u) << slot;
    ASSERT_LE(replica->held().unapplied_slots, 16u);
  }
  hear(Commit{Ballot{4, {1}}, Slot{slots + 200}});
  EXPECT_EQ(replica->status().chosen, Slot{slots + 200});
  for (int pages = 0; applied < slots + 200 && pages < 100; ++pages) answer();
  EXPECT_EQ(applied, slots + 200);
}

// What is not synced is not on the disk yet: there an older vote of the slot may stand, for another decree.
TEST_F(RedoTest, NothingThatIsNotSyncedLeavesTheMemory) {
  options.bounds.unapplied_slots = 16;
  start();
  for (std::uint64_t slot = slots + 1; slot <= slots + 14; ++slot)
    hear(Accept{Ballot{4, {1}}, Slot{slot}, Slot{slot - 1}, decree(slot)});
  hear(Commit{Ballot{4, {1}}, Slot{slots + 14}});
  EXPECT_EQ(replica->status().redoing->last, Slot{slots});
  replica->synced(now, group);
  drain();
  EXPECT_GT(replica->status().redoing->last, Slot{slots});
}

TEST_F(RedoTest, NothingIsHandedOutWhileItIsHeld) {
  options.bounds.redo_slots = 10;
  start();
  replica->hold_applying(now, true);
  answer();  // what was asked for before
  EXPECT_EQ(applied, 10u);
  EXPECT_TRUE(reads.empty());
  replica->hold_applying(now, false);
  drain();
  EXPECT_EQ(reads.size(), 1u);
}

TEST_F(RedoTest, ASlotThatIsNotThereIsNamed) {
  start();
  answer(12);
  EXPECT_FALSE(lost);
  answer(0);
  EXPECT_EQ(lost, Slot{13});
  EXPECT_EQ(applied, 12u);
}

TEST_F(RedoTest, WhoHasMoreThanAWindowToRedoIsNoCandidate) {
  options.bounds.window_slots = 50;
  options.bounds.redo_slots = 60;
  start();
  const auto candidate = [&] {
    // Connected to a quorum: the other answers its heartbeats.
    for (int i = 0; i < 20; ++i) {
      now += 20ms;
      replica->tick(now);
      drain();
      for (const HeartbeatRequest& request : take<HeartbeatRequest>())
        hear(HeartbeatReply{.nonce = request.nonce, .candidate = true});
      hear(HeartbeatRequest{1});
    }
    hear(HeartbeatRequest{2});
    return take<HeartbeatReply>().back().candidate;
  };
  EXPECT_FALSE(candidate());
  EXPECT_EQ(replica->status().role, Role::follower) << "a peer that could lead is left to it";
  answer();
  EXPECT_EQ(applied, 60u);
  EXPECT_TRUE(candidate());
}

}  // namespace
}  // namespace paxos_test
