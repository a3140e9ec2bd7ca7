#include <gtest/gtest.h>

#include <chrono>
#include <map>

#include "net/resolver.h"

namespace {

using namespace std::chrono_literals;
using net::Address;
using net::Loop;
using net::Resolver;

net::Task<void> until(Loop& loop, const std::map<std::size_t, Resolver::Answer>& answers, std::size_t count) {
  const paxos::Time end = loop.now() + 60s;
  while (answers.size() < count && loop.now() < end) co_await loop.sleep(2ms);
}

TEST(Address, ALiteralNeedsNoResolver) {
  EXPECT_EQ(Address::literal("127.0.0.1:7400"), Address::loopback(7400));
  EXPECT_EQ(Address::literal("[::1]:7400")->to_string(), "[::1]:7400");
  EXPECT_FALSE(Address::literal("localhost:7400"));
  EXPECT_FALSE(Address::literal("127.0.0.1:http"));
  EXPECT_FALSE(Address::literal("127.0.0.1"));
  EXPECT_FALSE(Address::literal(""));
}

TEST(Address, AnIpv4AddressThatAnIpv6SocketTellsIsThatIpv4Address) {
  sockaddr_storage name{};
  const Address mapped = *Address::literal("[::ffff:10.0.0.1]:7400");
  EXPECT_EQ(mapped, *Address::literal("10.0.0.1:7400"));
  EXPECT_EQ(mapped.to_sockaddr(name), sizeof(sockaddr_in));
}

TEST(Address, KnowsTheWildcards) {
  EXPECT_TRUE(Address::literal("0.0.0.0:1")->is_any());
  EXPECT_TRUE(Address::literal("[::]:1")->is_any());
  EXPECT_FALSE(Address::loopback(1).is_any());
  EXPECT_FALSE(Address().is_any());
}

TEST(Resolver, AnswersEachNumberInTheLoop) {
  Loop loop;
  std::map<std::size_t, Resolver::Answer> answers;
  Resolver resolver(loop);
  resolver.on_answer([&](std::size_t number, Resolver::Answer& answer) {
    loop.assert_thread();
    answers.emplace(number, answer);
  });
  resolver.look_up(0, "127.0.0.1:7400");
  resolver.look_up(7, "[::1]:7401");
  resolver.look_up(2, "no-such-name.invalid:7400");  // RFC 6761: never there
  loop.run(until(loop, answers, 3));
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers.at(0)->front(), Address::loopback(7400));
  EXPECT_EQ(answers.at(7)->front().to_string(), "[::1]:7401");
  ASSERT_FALSE(answers.at(2));
  EXPECT_NE(answers.at(2).error().find("name 'no-such-name.invalid' does not resolve: "), std::string::npos)
      << answers.at(2).error();
}

TEST(Resolver, GoesWhileLookUpsAreUnderWay) {
  Loop loop;
  for (int n = 0; n < 20; ++n) {
    Resolver resolver(loop);
    resolver.look_up(0, "no-such-name.invalid:1");
    resolver.look_up(0, "no-such-name.invalid:1");
  }
}

}  // namespace
