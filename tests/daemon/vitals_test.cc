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
  vitals.standing(t0 + 1s, false, {});
  EXPECT_EQ(vitals.no_quorum_since(), t0) << "never had one: since the start";
  vitals.standing(t0 + 2s, true, {});
  EXPECT_FALSE(vitals.no_quorum_since());
  vitals.standing(t0 + 3s, false, {});
  vitals.standing(t0 + 9s, false, {});
  EXPECT_EQ(vitals.no_quorum_since(), t0 + 3s);
}

TEST(Vitals, KnowSinceWhenSomeoneLeads) {
  const Time t0{};
  Vitals vitals(t0);
  vitals.standing(t0 + 1s, true, ReplicaId{2});
  vitals.standing(t0 + 5s, true, ReplicaId{2});
  EXPECT_EQ(vitals.leader_since(), t0 + 1s);
  vitals.standing(t0 + 6s, true, {});
  EXPECT_EQ(vitals.leader_since(), t0 + 6s);
}

TEST(UdpDrops, AreTakenFromThePortsLine) {
  const std::string_view table =
      "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
      "  100: 0100007F:1CE8 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 7 2 0000000000000000 17\n"
      "  101: 0100007F:1CE9 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 8 2 0000000000000000 3\n"
      "torn 0100007F:1CE8";
  EXPECT_EQ(udp_drops(table, 7400), 17U);
  EXPECT_EQ(udp_drops(table, 7401), 3U);
  EXPECT_FALSE(udp_drops(table, 7402));
  EXPECT_FALSE(udp_drops("", 7400));
}

}  // namespace
}  // namespace paxosd
