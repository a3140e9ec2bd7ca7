#include "paxos/coding.h"

#include <gtest/gtest.h>

#include "paxos/env.h"

/// Numbers as bytes: one value, one encoding, and nothing read past the end. Source: docs/WIRE.md, numbers.
namespace paxos_test {
namespace {

using paxos::ByteReader;
using paxos::ByteWriter;

TEST(Varint, ReadsBackEverySize) {
  for (std::uint64_t value : {std::uint64_t{0}, std::uint64_t{127}, std::uint64_t{128},
                              std::uint64_t{1} << 35, std::uint64_t{1} << 63, UINT64_MAX}) {
    std::string bytes;
    ByteWriter(bytes).varint(value);
    ByteReader r{std::string_view(bytes)};
    EXPECT_EQ(r.varint(), value);
    EXPECT_TRUE(r.done());
  }
}

TEST(Varint, OfMoreThan64BitsIsRefused) {
  for (const char last : {'\x02', '\x03', '\x7f', '\x81'}) {
    const std::string bytes = std::string(9, '\xff') + last + '\x01';
    ByteReader r{std::string_view(bytes)};
    EXPECT_EQ(r.varint(), 0u);
    EXPECT_FALSE(r.ok());
  }
}

TEST(Varint, WithAZeroAtItsEndIsASecondEncodingAndRefused) {
  const std::string bytes("\x81\x00", 2);
  ByteReader r{std::string_view(bytes)};
  EXPECT_EQ(r.varint(), 0u);
  EXPECT_FALSE(r.ok());
}

TEST(Key, CutShortIsRefused) {
  std::string bytes;
  ByteWriter(bytes).key64(7);
  EXPECT_EQ(ByteReader(std::string_view(bytes)).key64(), 7u);
  ByteReader r{std::string_view(bytes).substr(1)};
  EXPECT_EQ(r.key64(), 0u);
  EXPECT_FALSE(r.ok());
}

TEST(Random, BelowNothingIsZero) { EXPECT_EQ(paxos::Random(1).below(0), 0u); }

}  // namespace
}  // namespace paxos_test
