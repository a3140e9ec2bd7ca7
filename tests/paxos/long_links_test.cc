#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>

#include "tests/paxos/cluster.h"

/// Issue 10, point 6: what is repeated before its answer can come is work for nothing, and on a link of 600
/// ms it was done a dozen times over. Repeats follow round trips that heartbeats measure.
namespace paxos_test {
namespace {

using namespace std::chrono_literals;

class LongLinks : public ::testing::TestWithParam<int> {
 protected:
  [[nodiscard]] paxos_test::Setup setup() const {
    const std::chrono::milliseconds one_way{GetParam()};
    return {.replicas = 3,
            .heartbeat = one_way / 2,
            .election_timeout = 8 * one_way,
            .latency_min = one_way,
            .latency_max = one_way + 3ms};
  }
  /// Elected, and every link was measured.
  void begin(Cluster& c) {
    ASSERT_TRUE(c.run_until([&] { return c.leader().has_value(); }, 10 * c.setup().election_timeout));
    c.run_for(4 * c.setup().election_timeout);
    ASSERT_TRUE(c.leader().has_value());
    c.on_post = [this](const Letter& letter) {
      sent_[letter.message.index()] += 1;
      return false;
    };
  }
  template <class M>
  std::size_t sent() {
    return sent_[PeerMessage(M{}).index()];
  }

 private:
  std::map<std::size_t, std::size_t> sent_;
};

TEST_P(LongLinks, AcceptsAreSaidOnce) {
  Cluster c(setup());
  begin(c);
  const std::size_t leader = *c.leader();
  constexpr std::size_t count = 40;
  std::size_t proposed = 0;
  EXPECT_TRUE(c.run_until(
      [&] {
        if (proposed < count && c.try_propose(leader, "m" + std::to_string(proposed))) ++proposed;
        return c.applied(0) == count && c.applied(1) == count && c.applied(2) == count;
      },
      120s));
  EXPECT_EQ(c.leader(), leader) << "nobody took over meanwhile";
  EXPECT_EQ(c.leader_changes(), 1u);
  EXPECT_LE(sent<Accept>(), 2 * count + 4) << "to two followers";
  EXPECT_LE(sent<LearnRequest>(), 4u) << "who keeps up pulls nothing";
}

TEST_P(LongLinks, WhoWasAwayPullsEachPageOnce) {
  Cluster c(setup());
  begin(c);
  const std::size_t leader = *c.leader();
  const std::size_t away = (leader + 1) % 3;
  c.isolate(away);
  constexpr std::size_t count = 60;
  const std::string text(64 * 1024, 'x');  // four to a page
  std::size_t proposed = 0;
  ASSERT_TRUE(c.run_until(
      [&] {
        if (proposed < count && c.try_propose(leader, text)) ++proposed;
        return c.applied(leader) == count;
      },
      120s));
  const std::size_t requests_before = sent<LearnRequest>();
  const std::size_t replies_before = sent<LearnReply>();
  c.heal();
  EXPECT_TRUE(c.run_until([&] { return c.applied(away) == count; }, 120s)) << c.applied(away);
  constexpr std::size_t pages = count / 4;
  EXPECT_LE(sent<LearnRequest>() - requests_before, pages + 8);
  EXPECT_LE(sent<LearnReply>() - replies_before, pages + 8);
}

TEST_P(LongLinks, AReadAsksEachAcceptorOnce) {
  Cluster c(setup());
  begin(c);
  const std::size_t leader = *c.leader();
  const std::size_t follower = (leader + 1) % 3;
  constexpr std::uint64_t count = 10;
  for (std::uint64_t id = 1; id <= count; ++id) {
    c.read(leader, id);
    c.read(follower, 100 + id);
    ASSERT_TRUE(
        c.run_until([&] { return c.node(leader).reads.size() == id && c.node(follower).reads.size() == id; },
                    2 * c.setup().election_timeout));
  }
  EXPECT_TRUE(c.node(leader).reads_failed.empty());
  EXPECT_TRUE(c.node(follower).reads_failed.empty());
  EXPECT_LE(sent<ReadRequest>(), count + 2);
  EXPECT_LE(sent<ReadConfirm>(), 2 * 2 * count + 4) << "two rounds of two acceptors a turn";
}

INSTANTIATE_TEST_SUITE_P(OneWay, LongLinks, ::testing::Values(300, 600),
                         [](const auto& info) { return std::to_string(info.param) + "ms"; });

TEST(RttEstimator, NeverSaysMoreThanItsOwnerCanWaitFor) {
  RttEstimator estimator(1s);
  EXPECT_FALSE(estimator.seen());
  estimator.measured(5s);
  EXPECT_TRUE(estimator.seen());
  EXPECT_EQ(estimator.timeout(), Duration(1s));
  EXPECT_EQ(RttEstimator().timeout(), RttEstimator::initial_timeout);
}

TEST(Backoff, NeverFallsBelowTheEstimateThatItBeganWith) {
  Backoff repeat;
  Time now{};
  repeat.start(now, 1300ms);
  EXPECT_EQ(repeat.at() - now, Duration(1300ms));
  now = repeat.at();
  repeat.again(now);
  EXPECT_EQ(repeat.at() - now, Duration(1300ms))
      << "twice as long would be above the bound for short links, and above its own";
  repeat.start(now, 20ms);
  for (int i = 0; i < 10; ++i) {
    now = repeat.at();
    repeat.again(now);
  }
  EXPECT_EQ(repeat.at() - now, RttEstimator::timeout_max);
}

}  // namespace
}  // namespace paxos_test
