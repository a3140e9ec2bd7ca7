#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>

#include "daemon/address_file.h"
#include "daemon/round_trips.h"
#include "daemon/start_delay.h"

namespace {

using namespace std::chrono_literals;
using paxosd::RememberedAddresses;

class InAFolder : public testing::Test {
 protected:
  InAFolder() {
    char name[] = "/tmp/paxosd-addresses-XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  ~InAFolder() override { std::filesystem::remove_all(folder_); }
  std::string text() {
    std::ostringstream out;
    out << std::ifstream(folder_ / "addresses").rdbuf();
    return out.str();
  }
  void set(const std::string& text) {
    std::ofstream(folder_ / "addresses", std::ios::trunc | std::ios::binary) << text;
  }
  const RememberedAddresses some_{
      {.id = 1, .name = "db1.example:7400", .address = *net::Address::literal("10.0.0.1:7400")},
      {.id = 2, .name = "db2.example:7401", .address = *net::Address::literal("[fd00::2]:7401")}};
  std::filesystem::path folder_;
};
using AddressFile = InAFolder;
using StartDelay = InAFolder;

TEST_F(AddressFile, ComesBackAsItWasAndIsPrivate) {
  EXPECT_TRUE(paxosd::read_address_file(folder_)->empty()) << "no file is no fault";
  const mode_t before = ::umask(0);
  EXPECT_EQ(paxosd::write_address_file(folder_, some_), "");
  EXPECT_EQ(paxosd::write_address_file(folder_, some_), "") << "over the old one";
  ::umask(before);
  const auto read = paxosd::read_address_file(folder_);
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(*read, some_);
  struct stat info{};
  ASSERT_EQ(::stat((folder_ / "addresses").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0600U);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "addresses.new"));
}

TEST_F(AddressFile, EveryBitFlipAndEveryTruncationIsNoticed) {
  const std::string whole = paxosd::address_file_text(some_);
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string text = whole;
    text[bit / 8] = static_cast<char>(static_cast<unsigned char>(text[bit / 8]) ^ (1U << (bit % 8)));
    EXPECT_FALSE(paxosd::parse_address_file(text)) << "bit " << bit;
  }
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(paxosd::parse_address_file(whole.substr(0, size)));
  set(whole.substr(0, 40));
  const auto read = paxosd::read_address_file(folder_);
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().find("addresses: its checksum does not fit"), std::string::npos) << read.error();
}

TEST_F(AddressFile, WhatCanNotBeWrittenIsSaid) {
  EXPECT_NE(paxosd::write_address_file(folder_ / "nowhere", some_).find("No such file"), std::string::npos);
}

TEST_F(StartDelay, GrowsWithLivesThatEndEarlyAndStartsAgainAfterOneThatLasted) {
  EXPECT_EQ(paxosd::start_delay(0), 0s);
  EXPECT_EQ(paxosd::start_delay(2), 0s) << "a crash or two cost nobody time";
  EXPECT_EQ(paxosd::start_delay(3), 1s);
  EXPECT_EQ(paxosd::start_delay(5), 4s);
  EXPECT_EQ(paxosd::start_delay(8), 30s);
  EXPECT_EQ(paxosd::start_delay(4'000'000'000U), 30s);
  ASSERT_EQ(::setenv("RUNTIME_DIRECTORY", folder_.c_str(), 1), 0);
  for (unsigned n = 0; n < 5; ++n) EXPECT_EQ(paxosd::StartCounter().early_ends(), n);
  paxosd::StartCounter long_one;
  EXPECT_EQ(long_one.early_ends(), 5u);
  long_one.lived();
  EXPECT_EQ(paxosd::StartCounter().early_ends(), 0u);
  ASSERT_EQ(::unsetenv("RUNTIME_DIRECTORY"), 0);
  for (int n = 0; n < 5; ++n)
    EXPECT_EQ(paxosd::StartCounter().early_ends(), 0u) << "by hand, nothing is counted";
}

TEST(RoundTrips, AreTheMedianOfTheLastAnswersAndOnlyOfOurQuestions) {
  paxosd::RoundTrips trips;
  const paxos::ReplicaId one{1};
  paxos::Time now{};
  EXPECT_FALSE(trips.of(one));
  trips.answered(now, one, 7);
  EXPECT_FALSE(trips.of(one)) << "nobody asked that";
  for (std::uint64_t n = 1; n <= 100; ++n) {
    trips.asked(now, n);
    trips.answered(now + (n % 5 == 0 ? 900ms : 20ms), one, n);
    now += 50ms;
  }
  EXPECT_EQ(trips.of(one), 20ms);
  for (std::uint64_t n = 101; n <= 200; ++n) {
    trips.asked(now, n);
    trips.answered(now + 150ms, one, n);
    now += 50ms;
  }
  EXPECT_EQ(trips.of(one), 150ms) << "the way has become longer";
  EXPECT_FALSE(trips.of(paxos::ReplicaId{2}));
}

}  // namespace
