#include "paxos/patience.h"

#include <gtest/gtest.h>

namespace {

using namespace std::chrono_literals;
using paxos::Patience;

TEST(Patience, SleepsAtOnceUntilWaitsWereShort) {
  Patience patience(400us);
  for (int i = 0; i < Patience::short_waits_needed; ++i) {
    EXPECT_EQ(patience.look(), 0us) << "after " << i;
    patience.came_after(400us);
  }
  EXPECT_EQ(patience.look(), 400us);
}

TEST(Patience, OneLongWaitAmongShortOnesIsForgiven) {
  Patience patience(400us);
  for (int i = 0; i < 8; ++i) patience.came_after(100us);
  patience.came_after(50ms);
  EXPECT_EQ(patience.look(), 400us);
}

TEST(Patience, IsLostWithinFourLongWaits) {
  Patience patience(400us);
  for (int i = 0; i < 100; ++i) patience.came_after(100us);
  for (int i = 0; i < 4; ++i) patience.came_after(401us);
  EXPECT_EQ(patience.look(), 0us);
}

TEST(Patience, OfAReplicaAtRestNeverLooks) {
  Patience patience(400us);
  // A heartbeat wakes it, and its answers follow at once.
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(patience.look(), 0us);
    patience.came_after(i % 2 == 0 ? 50ms : 60us);
  }
}

TEST(Patience, OfNoLengthNeverLooks) {
  Patience patience(0us);
  for (int i = 0; i < 100; ++i) patience.came_after(0us);
  EXPECT_EQ(patience.look(), 0us);
}

}  // namespace
