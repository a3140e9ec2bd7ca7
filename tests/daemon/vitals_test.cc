#include "daemon/vitals.h"

#include <gtest/gtest.h>

namespace paxosd {
namespace {

using namespace std::chrono_literals;
using paxos::ReplicaId;
using paxos::Slot;
using paxos::Time;

TEST(Vitals, KnowSinceWhenThereIsNoQuorum) {
  const Time t0 = Time{} + 1h;
  Vitals vitals(t0);
  vitals.standing(t0 + 1s, false, {}, {});
  EXPECT_EQ(vitals.no_quorum_since(), t0) << "never had one: since the start";
  vitals.standing(t0 + 2s, true, {}, {});
  EXPECT_FALSE(vitals.no_quorum_since());
  vitals.standing(t0 + 3s, false, {}, {});
  vitals.standing(t0 + 9s, false, {}, {});
  EXPECT_EQ(vitals.no_quorum_since(), t0 + 3s);
}

TEST(Vitals, KnowSinceWhenSomeoneLeads) {
  const Time t0{};
  Vitals vitals(t0);
  vitals.standing(t0 + 1s, true, ReplicaId{2}, {});
  vitals.standing(t0 + 5s, true, ReplicaId{2}, {});
  EXPECT_EQ(vitals.leader_since(), t0 + 1s);
  vitals.standing(t0 + 6s, true, {}, {});
  EXPECT_EQ(vitals.leader_since(), t0 + 6s);
}

TEST(Vitals, KnowWhoIsNotHeardSinceWhen) {
  const Time t0 = Time{} + 1h;
  Vitals vitals(t0);
  vitals.standing(t0 + 1s, false, {}, {ReplicaId{0}, ReplicaId{2}});
  EXPECT_EQ(vitals.unheard_since({2}), t0) << "never heard: since the start";
  vitals.standing(t0 + 5s, true, {}, {ReplicaId{0}});
  vitals.standing(t0 + 7s, true, {}, {ReplicaId{0}, ReplicaId{2}});
  vitals.standing(t0 + 9s, true, {}, {ReplicaId{0}, ReplicaId{2}});
  EXPECT_EQ(vitals.unheard_since({0}), t0);
  EXPECT_EQ(vitals.unheard_since({2}), t0 + 5s);
}

TEST(MissedRaise, IsHintedAtOnceByWhatCameSinceALeaderWasHeard) {
  MissedRaise r;
  EXPECT_FALSE(r.due(false, 0));
  EXPECT_FALSE(r.due(true, 3));
  EXPECT_FALSE(r.due(false, 3)) << "a leader was heard after these: no raise was missed";
  EXPECT_TRUE(r.due(false, 4));
  EXPECT_FALSE(r.due(false, 5)) << "once is enough";
  EXPECT_FALSE(r.due(true, 5));
  EXPECT_FALSE(r.due(false, 6));
}

TEST(Reminder, SaysWhatIsNewAtOnceAndWhatIsNotEverMoreRarely) {
  Reminder r;
  const Time t0 = Time{} + 1h;
  EXPECT_FALSE(r.due(t0, ""));
  EXPECT_TRUE(r.due(t0, "waits for 1 and 2"));
  EXPECT_TRUE(r.due(t0 + 1s, "waits for 2"));
  unsigned said = 0;
  for (int s = 2; s <= 3600; ++s) said += r.due(t0 + std::chrono::seconds{s}, "waits for 2") ? 1U : 0U;
  EXPECT_GE(said, 6U);
  EXPECT_LE(said, 12U);
  EXPECT_TRUE(r.saying());
  EXPECT_FALSE(r.due(t0 + 2h, ""));
  EXPECT_FALSE(r.saying());
  EXPECT_TRUE(r.due(t0 + 2h, "waits for 2")) << "again, after it was over";
}

TEST(RecentCounts, TellTheLastMinuteOnly) {
  RecentCounts recent;
  const Time t0 = Time{} + 1h;
  EXPECT_TRUE(recent.until(t0, {{"drops", 5}}).counts.empty());
  for (std::uint64_t i = 0; i <= 30; ++i)
    recent.take(t0 + i * RecentCounts::every, {{"drops", i < 10 ? 900 * i : 9000}, {"syncs", 10 * i}});
  const auto window =
      recent.until(t0 + 30 * RecentCounts::every + 5s, {{"drops", 9000}, {"syncs", 303}, {"new", 7}});
  EXPECT_EQ(window.span, 65s);
  EXPECT_EQ(window.counts, (Counts{{"drops", 0}, {"syncs", 63}}));
}

TEST(UdpDrops, AreTakenFromThePortsLine) {
  const std::string_view table =
      "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref "
      "pointer drops\n"
      "  100: 0100007F:1CE8 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 7 2 "
      "0000000000000000 17\n"
      "  101: 0100007F:1CE9 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 8 2 "
      "0000000000000000 3\n"
      "torn 0100007F:1CE8";
  EXPECT_EQ(udp_drops(table, 7400), 17U);
  EXPECT_EQ(udp_drops(table, 7401), 3U);
  EXPECT_FALSE(udp_drops(table, 7402));
  EXPECT_FALSE(udp_drops("", 7400));
}

}  // namespace
}  // namespace paxosd
