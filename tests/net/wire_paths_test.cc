#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <optional>

#include "net/paths.h"

namespace {

using namespace std::chrono_literals;
using net::Address;
using net::Paths;

Address peer(std::uint8_t n) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(7400);
  in.sin_addr.s_addr = htonl(0x0a4d'0000U | n);
  return Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&in), sizeof in);
}

constexpr std::size_t jumbo = 8900;

/// Paths and the world behind them: what passes, and how long an answer takes.
struct World {
  explicit World(std::size_t datagram_bytes = jumbo, std::size_t loopback_bytes = 0)
      : paths({.datagram_bytes = datagram_bytes, .loopback_bytes = loopback_bytes}) {}

  void run_for(paxos::Duration length) {
    const paxos::Time until = now + length;
    for (;;) {
      const paxos::Time next =
          std::min(paths.deadline(), answers.empty() ? paxos::time_never : answers.begin()->first);
      if (next > until) break;
      now = std::max(now, next);
      while (!answers.empty() && answers.begin()->first <= now) {
        const auto [id, bytes] = answers.begin()->second;
        answers.erase(answers.begin());
        paths.answered(now, id, bytes);
      }
      if (paths.deadline() > now) continue;
      for (const Paths::Probe& probe : paths.tick(now)) {
        ++probes;
        const std::size_t size = std::max<std::size_t>(probe.bytes, 68);
        if (!there || size > passes) continue;
        if (lose_every != 0 && ++sent % lose_every == 0) continue;
        answers.emplace(now + round_trip, std::pair(probe.id, size));
      }
      for (const Paths::Change& change : paths.take_changes()) changes.push_back(change);
      if (paths.deadline() > now)
        at_once = 0;
      else if (++at_once == 10) {
        ADD_FAILURE() << "a loop would spin until the next answer";
        break;
      }
    }
    now = until;
  }
  std::size_t bytes(std::uint8_t n = 1) const { return paths.datagram_bytes(peer(n)); }
  void refused(int error, std::size_t size, bool segmented = true) {
    paths.refused(now, {.to = peer(1), .error = error, .bytes = size, .segmented = segmented});
  }

  Paths paths;
  paxos::Time now{1h};
  bool there = true;
  std::size_t passes = 70'000;
  std::size_t lose_every = 0;
  std::size_t sent = 0;
  std::size_t at_once = 0;  ///< turns in a row without any time between them
  paxos::Duration round_trip = 1ms;
  std::multimap<paxos::Time, std::pair<std::uint64_t, std::size_t>> answers;
  std::size_t probes = 0;
  std::vector<Paths::Change> changes;
};

TEST(Paths, UntilAProbeHasShownItNoMoreIsUsedThanEveryPathCarries) {
  World w;
  EXPECT_EQ(w.bytes(), net::default_datagram_bytes);
  EXPECT_EQ(Paths({.datagram_bytes = 600}).datagram_bytes(peer(1)), 600U);
  w.run_for(1min);
  EXPECT_EQ(w.probes, 0U) << "nobody is known to answer";
  w.paths.set_peers({peer(1)});
  w.run_for(1s);
  EXPECT_EQ(w.bytes(), jumbo);
  EXPECT_EQ(w.bytes(2), net::default_datagram_bytes) << "a client";
}

TEST(Paths, ByDefaultNothingIsProbedWhileNothingIsSent) {
  World w(net::default_datagram_bytes);
  w.paths.set_peers({peer(1), peer(2)});
  w.run_for(1h);
  EXPECT_EQ(w.probes, 0U);
  EXPECT_EQ(w.paths.deadline(), paxos::time_never);
}

TEST(Paths, TheLargestThatPassesIsFound) {
  for (const auto [passes, found] :
       {std::pair(8952U, 8900U), {4500U, 4000U}, {1472U, 1444U}, {1392U, 1372U}, {1300U, 1232U}}) {
    World w;
    w.passes = passes;
    w.paths.set_peers({peer(1)});
    w.run_for(10s);
    EXPECT_EQ(w.bytes(), found);
  }
}

TEST(Paths, ABlackHoleThatOpensWhileTheSizeIsInUseIsFoundOut) {
  for (const paxos::Duration round_trip : {paxos::Duration{1ms}, paxos::Duration{600ms}}) {
    World w;
    w.round_trip = round_trip;
    w.paths.set_peers({peer(1)});
    w.run_for(3s);
    ASSERT_EQ(w.bytes(), jumbo);
    w.passes = 1300;
    w.changes.clear();
    w.paths.doubt(w.now, peer(1));  // something had to be said again
    w.run_for(6s + 8 * round_trip);
    EXPECT_EQ(w.bytes(), 1232U) << "also where an answer takes " << round_trip.count();
    ASSERT_EQ(w.changes.size(), 1U) << "said once";
    EXPECT_EQ(w.changes[0].before, jumbo);
    EXPECT_EQ(w.changes[0].bytes, 1232U);
    EXPECT_TRUE(w.changes[0].swallowed);
    // And when it closes again, that is found out, too.
    w.passes = 70'000;
    w.run_for(3min);
    EXPECT_EQ(w.bytes(), jumbo);
  }
}

TEST(Paths, WhatIsOnlySentAndNeverRepeatedIsConfirmedToo) {
  World w;
  w.paths.set_peers({peer(1)});
  w.run_for(1s);
  w.passes = 1300;
  for (int n = 0; n < 300; ++n) {
    w.run_for(50ms);
    w.paths.used(w.now, peer(1), w.bytes());
  }
  EXPECT_EQ(w.bytes(), 1232U);
}

TEST(Paths, WhatIsSwallowedFarBelowTheSizeInUseIsFoundOutToo) {
  World w(net::default_datagram_bytes);
  w.passes = 520;
  w.paths.set_peers({peer(1)});
  for (int n = 0; n < 400; ++n) {
    w.paths.used(w.now, peer(1),
                 700);  // a message in one datagram: nothing of it is ever said again by the transport
    w.run_for(50ms);
  }
  EXPECT_EQ(w.bytes(), net::datagram_bytes_least);
}

TEST(Paths, TheSizeInUseIsLookedAtBeforeALargerOne) {
  World w;
  w.round_trip = 600ms;
  w.passes = 520;
  w.paths.set_peers({peer(1)});
  w.run_for(100ms);  // the search for more has begun
  w.paths.doubt(w.now, peer(1));
  w.run_for(4s);
  EXPECT_EQ(w.bytes(), net::datagram_bytes_least);
  // A confirmation every few seconds does not keep a search from its end.
  w.passes = 1400;
  for (int n = 0; n < 1500; ++n) {
    w.paths.used(w.now, peer(1), w.bytes());
    w.run_for(100ms);
  }
  EXPECT_EQ(w.bytes(), 1372U);
}

TEST(Paths, ABlackHoleBelowTheDefaultIsFoundAndMendedForClientsToo) {
  World w(net::default_datagram_bytes);
  w.passes = 700;
  w.paths.doubt(w.now, peer(9));
  w.run_for(5s);
  EXPECT_EQ(w.bytes(9), 508U);
  w.passes = 70'000;
  w.run_for(3min);
  EXPECT_EQ(w.bytes(9), net::default_datagram_bytes);
}

TEST(Paths, WhoeverIsAwayHasNoBlackHole) {
  World w;
  w.paths.set_peers({peer(1)});
  w.run_for(1s);
  w.there = false;
  for (int n = 0; n < 100; ++n) {
    w.paths.doubt(w.now, peer(1));
    w.run_for(1s);
  }
  EXPECT_EQ(w.bytes(), jumbo);
  const std::size_t before = w.probes;
  w.run_for(1h);
  EXPECT_LE(w.probes, before + 2 * Paths::pairs_max) << "and is not probed for ever";
}

TEST(Paths, ASearchThatIsDueWaitsForTheProbeUnderWay) {
  World w;
  w.passes = 1300;
  w.paths.set_peers({peer(1)});
  w.run_for(10s);
  ASSERT_EQ(w.bytes(), net::default_datagram_bytes);
  // The search for more is due some time in the next minute; nobody answers the pairs of a probe that is
  // under way then.
  w.there = false;
  for (int n = 0; n < 800; ++n) {
    w.paths.doubt(w.now, peer(1));
    w.run_for(100ms);
  }
  w.there = true;
  w.passes = 70'000;
  w.run_for(3min);
  EXPECT_EQ(w.bytes(), jumbo) << "and is not forgotten";
}

TEST(Paths, AFifthOfAllDatagramsLostCondemnsNoSize) {
  World w;
  w.lose_every = 5;
  w.paths.set_peers({peer(1)});
  w.run_for(5s);
  ASSERT_EQ(w.bytes(), jumbo);
  for (int n = 0; n < 1000; ++n) {
    w.paths.doubt(w.now, peer(1));
    w.run_for(2s);
    ASSERT_EQ(w.bytes(), jumbo);
  }
}

TEST(Paths, RefusedSizesGoDownUntilOneIsTaken) {
  World w;
  w.paths.set_peers({peer(1)});
  w.run_for(3s);
  w.refused(EMSGSIZE, jumbo);
  EXPECT_EQ(w.bytes(), 4000U);
  w.refused(EMSGSIZE, jumbo);
  EXPECT_EQ(w.bytes(), 4000U) << "an earlier cut says nothing new";
  w.refused(EINVAL, 3100);  // as kernels before 6.12 say it
  w.refused(EMSGSIZE, 1444);
  w.refused(EMSGSIZE, 1372);
  EXPECT_EQ(w.bytes(), 1232U);
  EXPECT_TRUE(w.paths.segments(peer(1)));
  w.changes.clear();
  w.run_for(9min);
  ASSERT_EQ(w.changes.size(), 1U) << "the whole way down is said once";
  EXPECT_EQ(w.changes[0].bytes, 1232U);
  EXPECT_FALSE(w.changes[0].swallowed);
  EXPECT_EQ(w.bytes(), 1232U)
      << "no probe in between: the kernel cuts a single one into fragments, which says nothing";
  w.run_for(2min);
  EXPECT_EQ(w.bytes(), jumbo) << "routes change";
}

TEST(Paths, AClientsAddressThatRefusedIsTriedAgainLater) {
  World w(net::default_datagram_bytes);
  w.refused(EMSGSIZE, 1232, false);
  EXPECT_EQ(w.bytes(), 1000U);
  w.run_for(11min);
  EXPECT_EQ(w.bytes(), 1232U);
  EXPECT_EQ(w.probes, 0U);
}

TEST(Paths, ADeviceThatCutsNothingGetsThemOneByOne) {
  World w(net::default_datagram_bytes);
  w.refused(EIO, 1232);
  EXPECT_EQ(w.bytes(), 1232U) << "it is not the size";
  EXPECT_FALSE(w.paths.segments(peer(1)));
  World invalid(net::default_datagram_bytes);
  for (const std::size_t bytes : {1232, 1000, 508}) invalid.refused(EINVAL, bytes);
  EXPECT_EQ(invalid.bytes(), 1232U) << "no size helped";
  EXPECT_FALSE(invalid.paths.segments(peer(1)));
}

TEST(Paths, OtherErrorsAreLossAndNothingIsBelowTheLeast) {
  World w(net::default_datagram_bytes);
  for (const int error : {EPERM, ENETUNREACH, ENOBUFS, ECONNREFUSED}) w.refused(error, 1232);
  w.refused(EIO, 1232, false);
  w.refused(EINVAL, 1232, false);
  EXPECT_EQ(w.bytes(), 1232U);
  w.refused(EMSGSIZE, 1232, false);
  w.refused(EMSGSIZE, 1000, false);
  w.refused(EMSGSIZE, 508, false);
  EXPECT_EQ(w.bytes(), 508U);
}

TEST(Paths, LoopbackIsNotProbed) {
  World w(net::default_datagram_bytes, net::loopback_datagram_bytes);
  const Address local = Address::loopback(7400);
  w.paths.set_peers({local});
  EXPECT_EQ(w.paths.datagram_bytes(local), net::loopback_datagram_bytes);
  w.paths.doubt(w.now, local);
  w.paths.used(w.now, local, net::loopback_datagram_bytes);
  w.run_for(1h);
  EXPECT_EQ(w.probes, 0U);
}

TEST(Paths, AnotherLargestSizeHoldsAtOnceAndIsSearchedFor) {
  World w;
  w.paths.set_peers({peer(1)});
  w.run_for(1s);
  w.paths.set_datagram_bytes(1400);
  EXPECT_EQ(w.bytes(), 1400U);
  w.run_for(1min);
  EXPECT_EQ(w.bytes(), 1400U);
  w.paths.set_datagram_bytes(4000);
  w.run_for(1s);
  EXPECT_EQ(w.bytes(), 4000U);
  w.paths.set_datagram_bytes(900);
  EXPECT_EQ(w.bytes(2), 900U);
}

TEST(Paths, RememberAFewHundredAddressesAndNeverForgetAPeer) {
  World w(net::default_datagram_bytes);
  w.paths.set_peers({peer(1)});
  w.refused(EMSGSIZE, 1232);
  for (std::uint32_t n = 0; n < 2000; ++n) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(static_cast<std::uint16_t>(20'000 + n));
    in.sin_addr.s_addr = htonl(0x0a4e'0001U);
    w.now += 1ms;
    w.paths.refused(w.now, {.to = Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&in), sizeof in),
                            .error = EMSGSIZE,
                            .bytes = 1232,
                            .segmented = true});
  }
  EXPECT_EQ(w.bytes(), 1000U);
  w.run_for(2s);
  EXPECT_LE(w.changes.size(), Paths::others_max + paxos::limits::replicas_max);
}

}  // namespace
