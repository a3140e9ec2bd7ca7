#include "client/ctl/address_advice.h"

#include <gtest/gtest.h>

namespace client {
namespace {

using namespace std::chrono_literals;

ResolvedReplica at(unsigned id, const std::string& address, const std::vector<std::string>& hosts,
                   const std::string& listen = "") {
  std::vector<net::Address> all;
  for (const std::string& host : hosts) all.push_back(*net::Address::literal(host + ":7400"));
  return {.id = id, .address = address, .listen = listen, .answer = std::move(all)};
}

TEST(AddressAdvice, SaysNothingWhereAllIsWell) {
  EXPECT_TRUE(judge_addresses({at(0, "a:7400", {"10.0.0.1"}), at(1, "b:7400", {"10.0.0.2"})}).empty());
  EXPECT_TRUE(judge_addresses({at(0, "a:7400", {"127.0.0.1"}), at(1, "b:7400", {"127.0.0.1"})}).empty())
      << "a trial on one machine";
  EXPECT_TRUE(
      judge_addresses({at(0, "a:7400", {"10.0.0.1", "[fd00::1]"}), at(1, "b:7400", {"[fd00::2]"})}).empty())
      << "one kind that both have";
}

TEST(AddressAdvice, NamesMixedFamiliesLoopbackAmongOthersAndWhatDoesNotResolve) {
  auto found = judge_addresses({at(0, "a:7400", {"10.0.0.1"}), at(1, "b:7400", {"[fd00::2]"}),
                                at(2, "c:7400", {"10.0.0.3", "[fd00::3]"})});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].measured, "IPv4 and IPv6 mixed: replica 0 has only IPv4, replica 1 only IPv6");
  EXPECT_NE(found[0].advice.find("listen"), std::string::npos);
  found = judge_addresses({at(0, "db0:7405", {"127.0.1.1"}), at(1, "db1:7400", {"10.0.0.2"})});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].replica, 0u);
  EXPECT_NE(found[0].advice.find("listen: \"0.0.0.0:7405\""), std::string::npos) << found[0].advice;
  EXPECT_TRUE(
      judge_addresses({at(0, "db0:7405", {"127.0.1.1"}, "0.0.0.0:7405"), at(1, "db1:7400", {"10.0.0.2"})})
          .empty())
      << "it has one already";
  ResolvedReplica lost = at(1, "gone:7400", {});
  lost.answer = tl::make_unexpected(std::string("name 'gone' does not resolve: no"));
  found = judge_addresses({at(0, "a:7400", {"10.0.0.1"}), lost});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].replica, 1u);
  EXPECT_EQ(found[0].verdict, Verdict::bad);
}

TEST(LinkAdvice, ARoundTripAboveAThirdOfTheElectionTimeoutHasTheValuesToSet) {
  const Json near{{"round_trips_us", {{{"id", 1}, {"us", 800}}, {{"id", 2}, {"us", 83'000}}}}};
  auto found = judge_links(near, 250ms);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].verdict, Verdict::ok);
  EXPECT_NE(found[0].measured.find("83.0 ms to replica 2"), std::string::npos);
  const Json far{{"round_trips_us", {{{"id", 1}, {"us", 800}}, {{"id", 2}, {"us", 151'000}}}}};
  found = judge_links(far, 250ms);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].verdict, Verdict::warn);
  EXPECT_NE(found[0].advice.find("election_timeout_ms: 800`"), std::string::npos) << found[0].advice;
  EXPECT_NE(found[0].advice.find("heartbeat_ms: 160`"), std::string::npos) << found[0].advice;
  EXPECT_EQ(judge_links(far, 500ms).front().verdict, Verdict::ok);
}

TEST(LinkAdvice, NamesMovedPeersUnresolvedOnesAndMetricsThatNobodyGets) {
  const Json told{{"moved", {{{"id", 1}, {"address", "10.0.0.9:7400"}}}},
                  {"unresolved", {{{"id", 2}, {"error", "name 'x' does not resolve: no"}}}},
                  {"metrics_error", "can't serve metrics on 127.0.0.1:9480: the port is in use"}};
  const auto found = judge_links(told, 250ms);
  ASSERT_EQ(found.size(), 3u);
  for (const Finding& f : found) {
    EXPECT_EQ(f.verdict, Verdict::warn);
    EXPECT_FALSE(f.advice.empty());
  }
  EXPECT_TRUE(
      judge_links(Json{{"moved", 3}, {"unresolved", {1, "x"}}, {"round_trips_us", {{{"id", "x"}}}}}, 250ms)
          .empty())
      << "a foreign object";
}

}  // namespace
}  // namespace client
