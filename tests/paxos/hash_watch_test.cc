#include "paxos/hash_watch.h"

#include <gtest/gtest.h>

#include <cstdint>

/// DESIGN.md section 4, hash chain; issue 10, point 4.
namespace paxos {
namespace {

/// Chains of which each slot's hash names the slot in which it parted from the sound one; 0 never did.
Hash chain(std::uint64_t slot, std::uint64_t parted = 0) {
  Hash out;
  out.bytes[0] = static_cast<std::uint8_t>(slot);
  out.bytes[1] = static_cast<std::uint8_t>(slot >> 8);
  if (parted != 0 && slot >= parted) out.bytes[2] = static_cast<std::uint8_t>(parted);
  return out;
}

struct Kept {
  Configuration configuration;
  Bounds bounds;
  BoundsReached reached;
};

/// A watch at replica 0, which has applied so much.
struct Watch : Kept, HashWatch {
  explicit Watch(std::size_t replicas, std::uint64_t to, std::uint64_t parted = 0, const Bounds& b = {})
      : Kept{.configuration = Configuration::of_birth(std::vector<Incarnation>(replicas)),
             .bounds = b,
             .reached = {}},
        HashWatch({0}, replicas, Kept::configuration, Kept::bounds, Kept::reached) {
    for (std::uint64_t slot = 1; slot <= to; ++slot) applied(Slot{slot}, chain(slot, parted));
  }
  void says(std::uint8_t peer, std::uint64_t slot, std::uint64_t parted = 0) {
    heard(ReplicaId{peer}, Slot{slot}, chain(slot, parted));
  }
};

TEST(HashWatch, AQuorumThatPartedInOneSlotOutvotes) {
  Watch watch(3, 20, 10);
  watch.says(1, 5);
  watch.says(1, 12);
  EXPECT_FALSE(watch.outvoted());
  EXPECT_TRUE(watch.disputed());
  watch.says(2, 15);
  EXPECT_TRUE(watch.outvoted());
  EXPECT_EQ(watch.since(), Slot{12});
}

TEST(HashWatch, TellsBeginAndEndOnce) {
  Watch watch(3, 30);
  watch.says(1, 12, 10);
  watch.says(1, 13, 10);
  auto news = watch.take_news();
  ASSERT_EQ(news.size(), 1u);
  EXPECT_TRUE(news[0].disagrees);
  EXPECT_EQ(news[0].peer, ReplicaId{1});
  EXPECT_EQ(news[0].slot, Slot{12});
  EXPECT_EQ(to_string(news[0]).find("replica 1 has computed another state than this one by slot 12"), 0u);
  watch.says(1, 20);
  watch.says(1, 21);
  news = watch.take_news();
  ASSERT_EQ(news.size(), 1u);
  EXPECT_FALSE(news[0].disagrees);
  EXPECT_EQ(news[0].slot, Slot{20});
  EXPECT_EQ(watch.disagreeing().size(), 0u);
  EXPECT_TRUE(watch.since().none());
  EXPECT_FALSE(watch.disputed());
}

// A late heartbeat about a slot before the one in which it parted.
TEST(HashWatch, AnOlderAgreementEndsNoDisagreement) {
  Watch watch(3, 30);
  watch.says(1, 12, 10);
  watch.says(1, 9);
  EXPECT_TRUE(watch.disagreeing().contains(ReplicaId{1}));
  watch.says(1, 12);
  EXPECT_FALSE(watch.disagreeing().contains(ReplicaId{1}));
}

// 1 went astray, died, and nobody repaired it; later 2 does. Against 0 they are no majority.
TEST(HashWatch, PeersThatPartedInDifferentSlotsAreNoMajority) {
  Watch watch(3, 40);
  watch.says(1, 12, 10);
  watch.says(2, 12);
  EXPECT_FALSE(watch.disputed()) << "0 and 2 agreed in the slot where 1 was seen to differ";
  watch.says(2, 30, 25);
  EXPECT_EQ(watch.disagreeing().size(), 2u);
  EXPECT_FALSE(watch.outvoted());
  EXPECT_TRUE(watch.disputed()) << "between 0 and 2 nobody can tell";
}

TEST(HashWatch, PeersThatMayHavePartedInOneSlotAreAMajority) {
  Watch watch(5, 40, 20);
  watch.says(1, 25);
  watch.says(2, 19);
  watch.says(2, 30);
  EXPECT_FALSE(watch.outvoted());
  watch.says(3, 10);
  watch.says(3, 40);
  EXPECT_TRUE(watch.outvoted());
}

TEST(HashWatch, OneOfFiveAstrayIsNoDisputeOnceAQuorumAgrees) {
  Watch watch(5, 40);
  watch.says(1, 25, 20);
  EXPECT_TRUE(watch.disputed());
  watch.says(2, 24);
  watch.says(3, 30);
  EXPECT_TRUE(watch.disputed()) << "2 spoke of an earlier slot only";
  watch.says(2, 25);
  EXPECT_FALSE(watch.disputed());
}

// What a peer said before it came back with other rows is void.
TEST(HashWatch, APeerThatComesBackAstrayBelowWhereItAgreed) {
  Watch watch(3, 40);
  watch.says(1, 35);
  watch.says(1, 30, 3);
  EXPECT_EQ(watch.since(), Slot{30});
  watch.says(1, 32, 3);
  EXPECT_EQ(watch.since(), Slot{30});
  watch.says(1, 30);
  EXPECT_EQ(watch.disagreeing().size(), 0u);
}

TEST(HashWatch, AWordAboutASlotToComeIsKeptUntilThen) {
  Watch watch(3, 5);
  watch.says(1, 7, 6);
  watch.says(1, 9, 6);  // a newer one would keep running away
  EXPECT_EQ(watch.disagreeing().size(), 0u);
  watch.applied(Slot{6}, chain(6));
  EXPECT_EQ(watch.disagreeing().size(), 0u);
  watch.applied(Slot{7}, chain(7));
  EXPECT_EQ(watch.since(), Slot{7});
}

TEST(HashWatch, WhatLeftTheMemoryIsNotCompared) {
  Watch watch(3, 10, 5, {.recent_hashes = 4});
  EXPECT_EQ(watch.reached.all()[static_cast<std::size_t>(Bound::recent_hashes)], 6u);
  watch.says(1, 6);
  EXPECT_FALSE(watch.disputed());
  watch.says(1, 7);
  EXPECT_TRUE(watch.disputed());
}

TEST(HashWatch, OfTwoBothDoubt) {
  Watch watch(2, 5);
  watch.says(1, 5, 5);
  EXPECT_TRUE(watch.disputed());
  EXPECT_FALSE(watch.outvoted());
}

}  // namespace
}  // namespace paxos
