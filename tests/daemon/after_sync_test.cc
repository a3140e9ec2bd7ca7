#include "daemon/after_sync.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string_view>
#include <thread>

namespace paxosd {
namespace {

AfterSync::Packets packets(std::string_view text) {
  AfterSync::Packets out;
  out.push_back({.to = {}, .data = paxos::Bytes::copy_of(text), .segment = 0});
  return out;
}

TEST(AfterSync, WhatIsHeldLeavesWithItsGroupAndNoEarlier) {
  AfterSync after(5);
  EXPECT_TRUE(after.hold(6, packets("six")).empty());
  EXPECT_TRUE(after.hold(6, packets("six again")).empty());
  EXPECT_TRUE(after.hold(8, packets("eight")).empty());
  EXPECT_EQ(after.synced(5).size(), 0u);
  EXPECT_EQ(after.synced(7).size(), 2u);
  const auto last = after.synced(9);
  ASSERT_EQ(last.size(), 1u);
  EXPECT_EQ(last[0].data.view(), "eight");
  EXPECT_TRUE(after.synced(9).empty());
}

// Issue 10, point 6: a group without records waits for one that was handed out before, and which the log
// thread may have told of by now. Nothing would look for it again.
TEST(AfterSync, WhatComesTooLateForItsGroupLeavesAtOnce) {
  AfterSync after(5);
  EXPECT_EQ(after.hold(5, packets("of an earlier boot")).size(), 1u);
  (void)after.synced(6);
  EXPECT_EQ(after.hold(6, packets("late")).size(), 1u);
  EXPECT_TRUE(after.synced(6).empty()) << "once";
}

TEST(AfterSync, OneOfTheTwoThreadsSendsItWhateverTheirOrder) {
  constexpr std::uint64_t groups = 20'000;
  AfterSync after(0);
  std::atomic<std::uint64_t> sent{0};
  std::atomic<std::uint64_t> appended{0};
  std::thread log([&] {
    for (std::uint64_t group = 1; group <= groups; ++group) {
      while (appended.load() < group) std::this_thread::yield();
      sent += after.synced(group).size();
    }
  });
  for (std::uint64_t group = 1; group <= groups; ++group) {
    sent += after.hold(group, packets("with records")).size();
    appended = group;
    sent += after.hold(group, packets("and a group without any")).size();
  }
  log.join();
  EXPECT_EQ(sent, 2 * groups);
}

}  // namespace
}  // namespace paxosd
