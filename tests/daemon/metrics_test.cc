#include "daemon/metrics.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <sstream>
#include <string>

namespace {

using paxosd::LoopFigures;
using paxosd::OtherFigures;
using storage::Latency;

TEST(Latency, CountsADurationInTheFirstBucketThatHoldsIt) {
  Latency latency;
  latency.add(-5);  // a clock's mistake is no duration
  latency.add(Latency::bounds_ns[0]);
  latency.add(Latency::bounds_ns[0] + 1);
  latency.add(Latency::bounds_ns.back() + 1);
  const Latency::Figures figures = latency.figures();
  EXPECT_EQ(figures.counts[0], 2u);
  EXPECT_EQ(figures.counts[1], 1u);
  EXPECT_EQ(figures.counts.back(), 1u) << "above every bound";
  EXPECT_EQ(figures.sum_ns,
            static_cast<std::uint64_t>(2 * Latency::bounds_ns[0] + 1 + Latency::bounds_ns.back() + 1));
}

std::string line(const std::string& text, const std::string& begin) {
  const std::size_t at = text.find("\n" + begin);
  return at == std::string::npos ? "" : text.substr(at + 1, text.find('\n', at + 1) - at - 1);
}

TEST(MetricsText, EveryFamilyHasHelpATypeAndANameThatFitsIt) {
  const std::string text = paxosd::metrics_text({}, {});
  std::istringstream lines(text);
  std::set<std::string> helped;
  std::set<std::string> typed;
  for (std::string word, hash, name, rest; std::getline(lines, word);) {
    std::istringstream in(word);
    in >> hash;
    if (hash != "#") continue;
    in >> word >> name;
    std::getline(in, rest);
    EXPECT_TRUE((word == "HELP" ? helped : typed).insert(name).second) << name << " stands here twice";
    EXPECT_TRUE(name.starts_with("paxosd_") || name.starts_with("process_")) << name;
    if (word == "HELP") EXPECT_GT(rest.size(), 4u) << name;
    if (word == "TYPE") EXPECT_EQ(rest == " counter", name.ends_with("_total")) << name << rest;
    if (rest == " histogram") EXPECT_TRUE(name.ends_with("_seconds")) << name;
  }
  EXPECT_EQ(helped, typed);
  EXPECT_GT(helped.size(), 40u);
}

TEST(MetricsText, HistogramsAreCumulativeInSecondsAndEndAtInfinity) {
  LoopFigures loop{.cluster = "a\"b\\c", .self = paxos::ReplicaId{2}};
  Latency latency;
  latency.add(15'000);
  latency.add(1'500'000);
  latency.add(60'000'000'000);
  loop.commits = latency.figures();
  const std::string text = paxosd::metrics_text(loop, {});
  const std::string labels = R"({cluster="a\"b\\c",replica="2")";
  const std::string name = "paxosd_commit_duration_seconds";
  EXPECT_EQ(line(text, name + "_bucket" + labels + ",le=\"2e-05\"}"),
            name + "_bucket" + labels + ",le=\"2e-05\"} 1");
  EXPECT_EQ(line(text, name + "_bucket" + labels + ",le=\"0.001\"}"),
            name + "_bucket" + labels + ",le=\"0.001\"} 1");
  EXPECT_EQ(line(text, name + "_bucket" + labels + ",le=\"0.002\"}"),
            name + "_bucket" + labels + ",le=\"0.002\"} 2");
  EXPECT_EQ(line(text, name + "_bucket" + labels + ",le=\"10\"}"),
            name + "_bucket" + labels + ",le=\"10\"} 2");
  EXPECT_EQ(line(text, name + "_bucket" + labels + ",le=\"+Inf\"}"),
            name + "_bucket" + labels + ",le=\"+Inf\"} 3");
  EXPECT_EQ(line(text, name + "_count"), name + "_count" + labels + "} 3");
  EXPECT_NE(line(text, name + "_sum").find(" 60.001515"), std::string::npos) << line(text, name + "_sum");
}

TEST(MetricsText, LargeCountersLoseNothing) {
  LoopFigures loop;
  loop.status.applied = paxos::Slot{9'007'199'254'740'991};  // 2^53 - 1: what a double holds exactly
  EXPECT_NE(paxosd::metrics_text(loop, {}).find("} 9007199254740991\n"), std::string::npos);
}

TEST(MetricsText, DroppedDatagramsHaveEveryReasonOnce) {
  LoopFigures loop;
  for (std::size_t i = 0; i < net::drop_reasons; ++i) loop.transport.dropped[i] = 1000 + i;
  loop.strays = 7;
  const std::string text = paxosd::metrics_text(loop, {});
  std::map<std::string, int> reasons;
  const std::string name = "paxosd_datagrams_dropped_total{";
  for (std::size_t at = text.find("\n" + name); at != std::string::npos;
       at = text.find("\n" + name, at + 1)) {
    const std::size_t from = text.find("reason=\"", at) + 8;
    ++reasons[text.substr(from, text.find('"', from) - from)];
  }
  EXPECT_EQ(reasons.size(), net::drop_reasons + 4);
  for (const auto& [reason, count] : reasons) EXPECT_EQ(count, 1) << reason;
  EXPECT_NE(text.find("reason=\"replayed\"} " + std::to_string(1000 + static_cast<int>(net::Drop::replayed))),
            std::string::npos);
  EXPECT_NE(text.find("reason=\"stray\"} 7\n"), std::string::npos);
}

TEST(MetricsText, TheProcessKnowsItself) {
  const auto figures = paxosd::process_figures();
  EXPECT_GT(figures.resident_bytes, 1e6);
  EXPECT_GE(figures.open_files, 3);
  EXPECT_GT(figures.start_time_seconds, 1.6e9);
}

}  // namespace
