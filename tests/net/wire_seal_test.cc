#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "net/seal.h"
#include "tests/fuzz/wire_entry.h"
#include "tests/net/wire_samples.h"

namespace {

using net::any_destination;
using net::Content;
using net::Drop;
using net::Identity;
using net::Sealer;
using wire_test::bytes_of;

net::ClusterKey key_of(std::uint8_t n) {
  net::ClusterKey k;
  for (std::size_t i = 0; i < k.size(); ++i) k.bytes()[i] = static_cast<std::uint8_t>(n + i);
  return k;
}
Identity replica(std::uint8_t id, std::uint64_t boot = 1, std::uint8_t life = 1) {
  return {.sender = id, .incarnation = {{life, id}}, .boot = boot};
}
Identity client(std::uint32_t n) {
  Identity i;
  for (std::size_t b = 0; b < 4; ++b) i.incarnation.bytes[b] = static_cast<std::uint8_t>(n >> (8 * b));
  i.incarnation.bytes[15] = 1;
  return i;
}
std::string sealed(Sealer& by, std::string_view plain, std::uint8_t destination = any_destination) {
  std::string out;
  by.seal(out, {.version = 1, .destination = destination}, Content::bodies, plain);
  return out;
}
auto open(Sealer& at, std::string_view datagram) { return at.open(bytes_of(datagram)); }
Drop reason(Sealer& at, std::string_view datagram) {
  const auto opened = open(at, datagram);
  return opened ? Drop::count_ : opened.error();
}

TEST(Seal, OpensWhatWasSealedAndSaysByWhom) {
  Sealer a(key_of(1), replica(0)), b(key_of(1), replica(1));
  const std::string datagram = sealed(a, "hello");
  EXPECT_EQ(datagram.size(), 5 + net::seal_overhead_of(1));
  EXPECT_EQ(datagram.find("hello"), std::string::npos);
  const auto opened = open(b, datagram);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->plain.view(), "hello");
  EXPECT_EQ(opened->header.sender, replica(0));
  EXPECT_EQ(opened->header.content, Content::bodies);
  EXPECT_TRUE(open(b, sealed(a, "")));
}

TEST(Seal, SaysWhetherADatagramIsTheNewestOfItsSender) {
  Sealer a(key_of(1), replica(0)), b(key_of(1), replica(1));
  const std::string first = sealed(a, "1"), second = sealed(a, "2"), third = sealed(a, "3");
  EXPECT_TRUE(open(b, second)->newest) << "the first one that comes";
  EXPECT_FALSE(open(b, first)->newest);
  EXPECT_TRUE(open(b, third)->newest);
  Sealer later(key_of(1), replica(0, 2));
  EXPECT_TRUE(open(b, sealed(later, "of a later boot"))->newest);
}

TEST(Seal, EveryBitFlipAndEveryTruncationIsRefused) {
  Sealer a(key_of(1), replica(0)), b(key_of(1), replica(1));
  std::string datagram = sealed(a, "a message of some length", 1);
  for (std::size_t size = 0; size < datagram.size(); ++size)
    ASSERT_FALSE(open(b, std::string_view(datagram).substr(0, size))) << size;
  ASSERT_FALSE(open(b, datagram + 'x'));
  for (std::size_t bit = 0; bit < datagram.size() * 8; ++bit) {
    datagram[bit / 8] = static_cast<char>(datagram[bit / 8] ^ 1 << (bit % 8));
    ASSERT_FALSE(open(b, datagram)) << "bit " << bit;
    datagram[bit / 8] = static_cast<char>(datagram[bit / 8] ^ 1 << (bit % 8));
  }
  EXPECT_TRUE(open(b, datagram)) << "and none of those attempts spoiled the real one";
}

TEST(Seal, EachReasonHasItsName) {
  Sealer a(key_of(1), replica(0)), b(key_of(1), replica(1)), stranger(key_of(2), replica(0)),
      far(key_of(1), replica(7));
  Sealer three(key_of(1), replica(1), 3);
  std::string datagram = sealed(a, "hello");
  EXPECT_EQ(reason(b, "short"), Drop::short_datagram);
  EXPECT_EQ(reason(b, ""), Drop::short_datagram);
  EXPECT_EQ(reason(b, sealed(stranger, "hello")), Drop::foreign_key);
  EXPECT_EQ(reason(b, sealed(a, "hello", 2)), Drop::destination);
  EXPECT_EQ(reason(a, datagram), Drop::own);
  EXPECT_EQ(reason(three, sealed(far, "hello")), Drop::header);
  datagram[0] = 'Q';
  EXPECT_EQ(reason(b, datagram), Drop::magic);
  datagram[0] = 'P';
  datagram[3] = 9;
  EXPECT_EQ(reason(b, datagram), Drop::version);
  datagram[3] = 1;
  datagram[4] = 0;
  EXPECT_EQ(reason(b, datagram), Drop::header);
  datagram[4] = 1;
  EXPECT_EQ(reason(b, datagram), Drop::count_);
  for (std::size_t i = 0; i < net::drop_reasons; ++i) EXPECT_STRNE(net::to_string(static_cast<Drop>(i)), "?");
}

TEST(Seal, ACounterIsTakenOnceWhateverTheOrder) {
  Sealer a(key_of(1), replica(0)), b(key_of(1), replica(1));
  std::vector<std::string> datagrams;
  for (std::size_t i = 0; i < net::Opener::window; ++i) datagrams.push_back(sealed(a, std::to_string(i)));
  std::mt19937_64 engine(5);
  std::shuffle(datagrams.begin(), datagrams.end(), engine);
  for (const auto& d : datagrams) ASSERT_TRUE(open(b, d));
  for (const auto& d : datagrams) ASSERT_EQ(reason(b, d), Drop::replayed);
}

TEST(Seal, WhatIsFarBehindIsTakenForAReplay) {
  Sealer a(key_of(1), replica(0)), b(key_of(1), replica(1));
  const std::string old = sealed(a, "old");
  for (std::size_t i = 0; i < net::Opener::window; ++i) sealed(a, "lost");
  EXPECT_TRUE(open(b, sealed(a, "new")));
  EXPECT_EQ(reason(b, old), Drop::replayed);
}

TEST(Seal, JumpsOfTheCounterLeaveNoGhostsInTheWindow) {
  // A bit that is not cleared when the window moves would refuse a fresh counter that is congruent to a seen
  // one.
  Sealer a(key_of(1), replica(0)), b(key_of(1), replica(1));
  std::mt19937_64 engine(6);
  for (int round = 0; round < 2000; ++round) {
    for (std::uint64_t lost = engine() % (round % 3 == 0 ? 1500 : 5); lost > 0; --lost) sealed(a, "lost");
    ASSERT_TRUE(open(b, sealed(a, "x"))) << round;
  }
}

TEST(Seal, AnEarlierBootOfAReplicaIsRefusedOnceALaterOneSpoke) {
  Sealer old_life(key_of(1), replica(0, 4)), new_life(key_of(1), replica(0, 5)), b(key_of(1), replica(1));
  EXPECT_TRUE(open(b, sealed(old_life, "x")));
  EXPECT_TRUE(open(b, sealed(new_life, "x")));
  EXPECT_EQ(reason(b, sealed(old_life, "x")), Drop::old_boot);
  EXPECT_TRUE(open(b, sealed(new_life, "x")));
}

TEST(Seal, AForgedLaterBootShutsNobodyOut) {
  Sealer a(key_of(1), replica(0, 4)), forger(key_of(2), replica(0, 99)), b(key_of(1), replica(1));
  EXPECT_TRUE(open(b, sealed(a, "x")));
  EXPECT_EQ(reason(b, sealed(forger, "x")), Drop::foreign_key);
  EXPECT_TRUE(open(b, sealed(a, "x")));
}

TEST(Seal, BootsOfDifferentIncarnationsHaveNothingToDoWithEachOther) {
  Sealer first(key_of(1), replica(0, 9, 1)), second(key_of(1), replica(0, 1, 2)), b(key_of(1), replica(1));
  EXPECT_TRUE(open(b, sealed(first, "x")));
  EXPECT_TRUE(open(b, sealed(second, "x")));
  EXPECT_TRUE(open(b, sealed(first, "x")));
}

TEST(Seal, TwoLivesNeverShareAKey) {
  std::set<std::array<std::uint8_t, 32>> keys;
  for (const std::uint8_t id : {std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{255}})
    for (const std::uint64_t boot : {1U, 2U})
      for (const std::uint8_t life : {std::uint8_t{1}, std::uint8_t{2}})
        keys.insert(net::derive_subkey(key_of(1), replica(id, boot, life)).bytes());
  EXPECT_EQ(keys.size(), 12U);
}

TEST(Seal, ClientsAreBoundedAndJunkIsNotAmongThem) {
  net::Opener opener(key_of(1), replica(1), 3);
  Sealer a(key_of(1), replica(0));
  const std::string from_replica = sealed(a, "x");
  ASSERT_TRUE(opener.open(bytes_of(from_replica)));
  for (std::uint32_t n = 0; n < net::Opener::clients_max + 100; ++n) {
    Sealer junk(key_of(2), client(n));
    ASSERT_FALSE(opener.open(bytes_of(sealed(junk, "x"))));
  }
  EXPECT_EQ(opener.known_clients(), 0U);
  for (std::uint32_t n = 0; n < net::Opener::clients_max + 100; ++n) {
    Sealer c(key_of(1), client(n));
    ASSERT_TRUE(opener.open(bytes_of(sealed(c, "x"))));
  }
  EXPECT_EQ(opener.known_clients(), net::Opener::clients_max);
  const auto again = opener.open(bytes_of(from_replica));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error(), Drop::replayed) << "no crowd of clients makes us forget a replica";
}

/// docs/WIRE.md shows this datagram.
TEST(Seal, ADatagramHasTheBytesOfTheDocument) {
  Sealer a(key_of(0), Identity{.sender = 2, .incarnation = {{1, 2, 3}}, .boot = 7});
  const std::string datagram = sealed(a, "hi", 1);
  const auto hex = paxos::to_hex({reinterpret_cast<const std::uint8_t*>(datagram.data()), datagram.size()});
  EXPECT_EQ(hex.substr(0, 80),
            "505844010102010001020300000000000000000000000000"
            "07000000000000000100000000000000");
  EXPECT_EQ(hex.substr(80), "1b234b1a2ce10cfd0f9fcc3618f5177868ec");
}

TEST(Seal, JunkDatagramsNeverCrash) {
  std::mt19937_64 engine(9);
  Sealer a(key_of(3), replica(1));
  for (int round = 0; round < 20'000; ++round) {
    std::string junk = sealed(a, std::string(engine() % 40, 'x'));
    for (std::uint64_t n = engine() % 4; n > 0; --n)
      junk[engine() % junk.size()] = static_cast<char>(engine());
    junk.resize(engine() % 4 == 0 ? engine() % (junk.size() + 1) : junk.size());
    wire_fuzz::datagram(bytes_of(junk));
  }
}

}  // namespace
