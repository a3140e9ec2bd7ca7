#include "config/flags.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace {

using Words = std::vector<std::string>;

config::Flags flags() {
  config::Flags out("paxosctl test", "PAXOSTEST", "Only a test.");
  out.value("client-timeout", "TIME", "how long");
  out.value("output", "FILE", "where", 'o');
  out.list("host", "H", "a host");
  out.flag("json", "for machines");
  return out;
}

class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Environment() { ::unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
};

/// The exit code and what went to standard error.
std::pair<std::optional<int>, std::string> complaint(const Words& words) {
  auto f = flags();
  testing::internal::CaptureStderr();
  const auto code = f.parse(words);
  return {code, testing::internal::GetCapturedStderr()};
}

TEST(Flags, ReadsFlagsAndArgumentsInAnyOrder) {
  auto f = flags();
  ASSERT_EQ(f.parse({"3", "--json", "--client-timeout", "5s", "-o", "x", "--host=a", "7", "--host", "b"}),
            std::nullopt);
  EXPECT_TRUE(f.has("json"));
  EXPECT_EQ(f.get("client-timeout"), "5s");
  EXPECT_EQ(f.get("output"), "x");
  EXPECT_EQ(f.all("host"), (Words{"a", "b"}));
  EXPECT_EQ(f.arguments(), (Words{"3", "7"}));
}

TEST(Flags, ASingleDashAndWhatFollowsADoubleOneAreArguments) {
  auto f = flags();
  ASSERT_EQ(f.parse({"-", "--", "--json", "-x"}), std::nullopt);
  EXPECT_FALSE(f.has("json"));
  EXPECT_EQ(f.arguments(), (Words{"-", "--json", "-x"}));
}

TEST(Flags, HelpIsWhereALetterIsNoFlag) {
  auto f = flags();
  testing::internal::CaptureStdout();
  EXPECT_EQ(f.parse({"-h"}), config::exit_fine);
  EXPECT_NE(testing::internal::GetCapturedStdout().find("usage: paxosctl test"), std::string::npos);
  EXPECT_EQ(complaint({"-x"}).first, config::exit_usage);
}

TEST(Flags, TheFirstFaultOfManyIsTold) {
  auto f = flags();
  ASSERT_EQ(f.parse({"--client-timeout", "soon", "--output", "x"}), std::nullopt);
  const auto good = f.duration("nowhere", std::chrono::seconds{1});
  const auto bad = f.duration("client-timeout", std::chrono::seconds{1});
  const auto worse = f.number("output", 1, 2);
  EXPECT_EQ(f.first_fault(good), std::nullopt);
  testing::internal::CaptureStderr();
  EXPECT_EQ(f.first_fault(good, bad, worse), config::exit_usage);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("soon"), std::string::npos) << said;
  EXPECT_EQ(said.find("--output"), std::string::npos) << "one at a time: " << said;
}

TEST(Flags, EachLongFlagIsMirroredInTheEnvironmentAndTheCommandLineWins) {
  const Environment timeout("PAXOSTEST_CLIENT_TIMEOUT", "250ms");
  const Environment json("PAXOSTEST_JSON", "1");
  auto f = flags();
  ASSERT_EQ(f.parse(Words{}), std::nullopt);
  EXPECT_EQ(f.duration("client-timeout", std::chrono::seconds{1}), std::chrono::milliseconds{250});
  EXPECT_TRUE(f.has("json"));

  auto g = flags();
  ASSERT_EQ(g.parse({"--client-timeout", "2"}), std::nullopt);
  EXPECT_EQ(g.duration("client-timeout", std::chrono::seconds{1}), std::chrono::seconds{2});
}

TEST(Flags, ASwitchInTheEnvironmentCanSayNo) {
  for (const char* no : {"0", "false", "no", ""}) {
    const Environment json("PAXOSTEST_JSON", no);
    auto f = flags();
    ASSERT_EQ(f.parse(Words{}), std::nullopt);
    EXPECT_FALSE(f.has("json")) << no;
  }
}

TEST(Flags, AnUnknownFlagIsWrongUsageWithTheOneThatWasMeant) {
  const auto [code, said] = complaint({"--jsno"});
  EXPECT_EQ(code, config::exit_usage);
  EXPECT_NE(said.find("--jsno"), std::string::npos) << said;
  EXPECT_NE(said.find("did you mean --json?"), std::string::npos) << said;
  EXPECT_NE(said.find("paxosctl test --help"), std::string::npos) << said;
}

TEST(Flags, RefusesWhatIsNeitherOneThingNorTheOther) {
  for (const Words& words : {Words{"--nothing-like-it"}, Words{"-z"}, Words{"--output"}, Words{"--json=yes"},
                             Words{"--output", "a", "--output", "b"}, Words{"--jso"}}) {
    const auto [code, said] = complaint(words);
    EXPECT_EQ(code, config::exit_usage) << words.front();
    EXPECT_NE(said.find("paxosctl test: "), std::string::npos) << said;
  }
}

TEST(Flags, HelpAndVersionEndTheProgramFine) {
  testing::internal::CaptureStdout();
  auto f = flags();
  EXPECT_EQ(f.parse({"--help"}), config::exit_fine);
  auto g = flags();
  EXPECT_EQ(g.parse({"--version"}), config::exit_fine);
  const std::string said = testing::internal::GetCapturedStdout();
  EXPECT_NE(said.find("-o, --output FILE"), std::string::npos) << said;
  EXPECT_NE(said.find("PAXOSTEST_"), std::string::npos) << said;
  EXPECT_NE(said.find("paxosctl 0."), std::string::npos) << said;
}

TEST(Flags, NumbersNameTheirRange) {
  auto f = flags();
  ASSERT_EQ(f.parse({"--client-timeout", "12"}), std::nullopt);
  EXPECT_EQ(f.number("client-timeout", 1, 12), 12u);
  const auto out = f.number("client-timeout", 1, 11);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error(), "--client-timeout '12' is no whole number from 1 to 11");
  EXPECT_EQ(f.number("output", 1, 12, 7), 7u);
}

TEST(Flags, UnderstandsTimes) {
  using ms = std::chrono::milliseconds;
  EXPECT_EQ(config::parse_duration("10s"), ms{10'000});
  EXPECT_EQ(config::parse_duration("250ms"), ms{250});
  EXPECT_EQ(config::parse_duration("5m"), ms{300'000});
  EXPECT_EQ(config::parse_duration("1h"), ms{3'600'000});
  EXPECT_EQ(config::parse_duration("90d"), ms{90LL * 86'400'000});
  EXPECT_EQ(config::parse_duration("10"), ms{10'000});
  EXPECT_EQ(config::parse_duration("0.5"), ms{500});
  EXPECT_EQ(config::parse_duration("0"), ms{0});
  for (const char* bad : {"", "s", "ms", "-1s", "1w", "10 s", " 10s", "1e3", "nan", "inf", "0x10", "1s2",
                          "99999999999999999999h", "10S"})
    EXPECT_EQ(config::parse_duration(bad), std::nullopt) << bad;
}

TEST(Flags, UnderstandsShares) {
  EXPECT_DOUBLE_EQ(*config::parse_share("0.1"), 0.1);
  EXPECT_DOUBLE_EQ(*config::parse_share("10%"), 0.1);
  EXPECT_DOUBLE_EQ(*config::parse_share("0"), 0.0);
  EXPECT_DOUBLE_EQ(*config::parse_share("1"), 1.0);
  EXPECT_DOUBLE_EQ(*config::parse_share("100%"), 1.0);
  for (const char* bad : {"", "%", "1.1", "101%", "-0.1", "nan", "inf", "10 %", "a"})
    EXPECT_EQ(config::parse_share(bad), std::nullopt) << bad;
}

TEST(Flags, TheNearestWordIsOneThatCouldHaveBeenMeant) {
  const Words verbs = {"status", "verify", "log", "kill"};
  EXPECT_EQ(config::nearest("statsu", verbs), "status");
  EXPECT_EQ(config::nearest("kil", verbs), "kill");
  EXPECT_EQ(config::nearest("elephant", verbs), "");
}

}  // namespace
