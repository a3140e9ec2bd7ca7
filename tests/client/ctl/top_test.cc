#include "client/ctl/top.h"

#include <gtest/gtest.h>

#include "client/ctl/doctor.h"
#include "config/flags.h"
#include "tests/client/answers.h"

namespace client {
namespace {

using namespace std::chrono_literals;
using paxos::Time;

Json figures(std::uint64_t applied, std::uint64_t boot = 1) {
  return {{"applied", applied},
          {"chosen_max", applied},
          {"boot", boot},
          {"role", "follower"},
          {"voting", true},
          {"leader", 0},
          {"leader_ballot", {{"round", 1}, {"replica", 0}}},
          {"ballot", {{"round", 1}, {"replica", 0}}}};
}

TEST(Sparkline, HasEightHeightsAgainstTheLargestAndBlanksForTheUnknown) {
  EXPECT_EQ(sparkline({0, 1, 2, 3, 4, 5, 6, 7, 8}), "▁▂▃▄▅▆▇██");
  EXPECT_EQ(sparkline({std::nullopt, 5}), " █");
  EXPECT_EQ(sparkline({0, 0}), "▁▁");
  EXPECT_EQ(sparkline({}), "");
}

TEST(Latency, IsTheDifferenceOfTwoReadings) {
  const Json bounds{1, 2, 4, 1000};
  const Json before{
      {"latency_bounds_us", bounds}, {"sync_us_total", 100}, {"sync_us_buckets", {0, 2, 0, 0, 0}}};
  const Json now{{"latency_bounds_us", bounds},
                 {"sync_us_total", 100 + 99 * 3 + 1000},
                 {"sync_us_buckets", {0, 2, 99, 0, 1}}};
  const auto latency = latency_between(before, now, "sync");
  ASSERT_TRUE(latency);
  EXPECT_DOUBLE_EQ(latency->us_mean, (99 * 3 + 1000) / 100.0);
  EXPECT_NEAR(latency->us_p99, 4, 0.001);  // the 99th of 100 is the last of the bucket from 2 to 4 us
  EXPECT_FALSE(latency_between(now, now, "sync")) << "nothing happened";
  EXPECT_FALSE(latency_between(now, before, "sync")) << "counted anew";
  EXPECT_FALSE(latency_between(Json::object(), now, "sync")) << "an older replica";
  EXPECT_FALSE(latency_between({{"sync_us_total", "x"}, {"sync_us_buckets", 3}}, now, "sync"));
}

TEST(TopReplica, RatesComeFromConsecutiveAnswersOfOneBoot) {
  TopReplica r;
  const Time t0{};
  r.take(t0 + 1s, figures(100));
  EXPECT_FALSE(r.slots_per_second());
  r.take(t0 + 3s, figures(150));
  EXPECT_DOUBLE_EQ(r.slots_per_second().value(), 25);
  r.take(t0 + 4s, std::nullopt);
  EXPECT_FALSE(r.slots_per_second());
  EXPECT_FALSE(r.answer());
  r.take(t0 + 5s, figures(160));
  EXPECT_FALSE(r.slots_per_second()) << "the silence lies in between";
  r.take(t0 + 6s, figures(170, 2));
  EXPECT_FALSE(r.slots_per_second()) << "another boot";
  r.take(t0 + 7s, figures(171, 2));
  EXPECT_DOUBLE_EQ(r.slots_per_second().value(), 1);
  r.reset();
  for (const auto& value : r.rates(t0 + 7s, 10)) EXPECT_FALSE(value);
}

TEST(TopReplica, SparksShowTheLastMinuteTheNewestLast) {
  TopReplica r;
  const Time t0 = Time{} + 1h;
  for (int s = 0; s <= 90; ++s)
    r.take(t0 + std::chrono::seconds{s}, figures(static_cast<std::uint64_t>(s < 60 ? 0 : (s - 59) * 10)));
  const auto parts = r.rates(t0 + 90s, 6);
  ASSERT_EQ(parts.size(), 6U);
  EXPECT_DOUBLE_EQ(parts.front().value(), 0);
  EXPECT_DOUBLE_EQ(parts.back().value(), 10);
}

TEST(Top, FitsEightyColumnsAndSaysWhatIsMissing) {
  Top top(cluster(5));
  const Time t0{};
  for (int round = 0; round < 2; ++round)
    for (std::uint8_t id = 0; id < 5; ++id) {
      Json one = figures(5);
      one["role"] = "follower\x1b[2J";
      if (id == 0) one["leader_age_ms"] = 12'000;
      top.replica({id}).take(t0 + std::chrono::seconds{round}, id == 3 ? std::nullopt : std::optional(one));
    }
  const auto lines = top.lines(t0 + 1s, 80, true);
  EXPECT_EQ(lines.size(), 14U);
  EXPECT_EQ(lines[0].text, "demo: degraded, can lose 1 more, replica 0 leads for 12 s");
  EXPECT_NE(lines[1].text.find("replica 3 does not answer"), std::string::npos);
  for (const ScreenLine& line : lines) {
    EXPECT_EQ(cut(line.text, 79), line.text);
    EXPECT_EQ(line.text.find('\x1b'), std::string::npos);
  }
}

TEST(Top, SaysWhatStandsStillAndForHowLong) {
  Top top(cluster(3));
  for (std::uint8_t id = 0; id < 3; ++id) {
    Json one = figures(5);
    if (id == 0)
      one["waiting_slot"] = 6, one["waiting_ms"] = 12'300, one["standing_ms"] = 12'300, one["chosen"] = 5,
      one["chosen_max"] = 9;
    if (id == 2) one["paused_ms"] = 3'000, one["voting"] = false, one["leader"] = nullptr;
    top.replica({id}).take(Time{} + 1s, one);
  }
  const auto lines = top.lines(Time{} + 1s, 80, false);
  EXPECT_EQ(lines[0].text, "demo: nothing moves for 12 s");
  EXPECT_EQ(lines[0].look, ScreenLine::Look::alarm);
  EXPECT_NE(lines[1].text.find("slot 6 waits to be applied: it is not chosen yet, and holds up what is "
                               "chosen above it, up to slot 9"),
            std::string::npos)
      << lines[1].text;
  EXPECT_EQ(lines[2].text, "replica 2 stands still by `paxosctl pause`, for 3 s more");
  EXPECT_NE(lines[3].text.find("WAITS"), std::string::npos);
  EXPECT_NE(lines[4].text.find(" 12s "), std::string::npos) << lines[4].text;
  for (const ScreenLine& line : lines) EXPECT_EQ(line.text.find('\x1b'), std::string::npos);
  EXPECT_EQ(cut(lines[3].text, 79), lines[3].text);
}

TEST(Top, SaysNothingOfTheClusterBeforeAnyoneHadTimeToAnswer) {
  Top top(cluster(3));
  EXPECT_EQ(top.lines(Time{}, 80, true)[0].text, "demo: asking");
  top.replica({1}).take(Time{} + 1s, std::nullopt);
  EXPECT_EQ(top.lines(Time{} + 1s, 80, true)[0].text, "demo: no replica answers");
}

TEST(Screen, CutsAtCharactersAndErasesWhatWasThere) {
  EXPECT_EQ(cut("▁▂▃", 2), "▁▂");
  EXPECT_EQ(cut("abc", 9), "abc");
  const std::string out = drawing({{"abcdef", ScreenLine::Look::plain}, {"x", ScreenLine::Look::bold}}, 5, 4);
  EXPECT_EQ(out, "\x1b[Habcd\x1b[K\r\n\x1b[1mx\x1b[0m\x1b[K\x1b[J");
  EXPECT_EQ(drawing({{"a", {}}, {"b", {}}}, 5, 1), "\x1b[Ha\x1b[K");
}

// --- outages ---

Json status_of(std::vector<std::optional<Json>> answers) {
  std::vector<ReplicaStatus> replicas;
  for (std::size_t i = 0; i < answers.size(); ++i)
    replicas.push_back({.id = {static_cast<std::uint8_t>(i)}, .json = answers[i]});
  return cluster_status(cluster(answers.size()), replicas, 1000ms);
}
Json cut_off(std::uint64_t age_ms) {
  Json out = figures(5);
  out["leader"] = nullptr;
  out["no_quorum_age_ms"] = age_ms;
  return out;
}

TEST(Outage, NamesWhoIsMissingAndSinceWhen) {
  const Outage outage =
      outage_of(status_of({cut_off(9000), std::nullopt, cut_off(12'300), std::nullopt, std::nullopt}));
  EXPECT_EQ(outage.sentence(), "no quorum for 12 s: replicas 1, 3 and 4 are missing");
  EXPECT_NE(outage.still_works().find("--local"), std::string::npos);
}

TEST(Outage, IsOverWithALeaderOfAQuorum) {
  EXPECT_TRUE(outage_of(status_of({figures(5), std::nullopt, figures(5)})).over());
  EXPECT_FALSE(status_of({figures(5), std::nullopt, figures(5)}).contains("outage"));
}

TEST(Outage, TellsCutLinksFromMissingReplicas) {
  Json a = cut_off(2000), b = cut_off(2000), c = cut_off(1000);
  a["missing"] = {1, 2};
  b["missing"] = {0, 2};
  c["missing"] = {0, 1};
  EXPECT_EQ(outage_of(status_of({a, b, c})).sentence(),
            "no quorum for 2 s: the replicas don't hear each other: replica 0 does not hear 1 and 2; replica "
            "1 does not hear 0 and 2; "
            "replica 2 does not hear 0 and 1");
}

TEST(Outage, TellsSilenceElectionsAndWhoMayNotVote) {
  EXPECT_EQ(outage_of(status_of({std::nullopt, std::nullopt, std::nullopt})).what, "no replica answers");
  Json electing = figures(5);
  electing["leader"] = nullptr;
  EXPECT_EQ(outage_of(status_of({electing, electing, electing})).what, "no leader");
  Json unborn = electing;
  unborn["voting"] = false;
  unborn["reason"] = "waits for replica 2";
  EXPECT_EQ(outage_of(status_of({unborn, unborn, std::nullopt})).sentence(),
            "no quorum: replica 2 is missing; replica 0 does not vote: waits for replica 2; replica 1 does "
            "not vote: waits for replica 2");
}

TEST(Outage, SurvivesWhatAnotherVersionMaySay) {
  for (const Json& odd :
       {Json("x"), Json(-7), Json(1e300), Json(nullptr), Json::array({1}), Json::object(), Json(true)}) {
    Json answer = figures(5);
    for (const char* field : {"voting", "leader", "leader_ballot", "no_quorum_age_ms", "missing", "reason",
                              "id", "reachable", "ballot", "role", "applied", "boot", "chosen_max",
                              "sync_us_buckets", "disk_used_bytes", "leader_age_ms"})
      answer[field] = odd;
    (void)outage_of(status_of({answer, answer, answer}));
    Top top(cluster(1));
    top.replica({0}).take(Time{} + 1s, answer);
    top.replica({0}).take(Time{} + 2s, answer);
    (void)top.lines(Time{} + 2s, 80, false);
    Json sound = figures(5);
    for (const char* field : {"leader_age_ms", "applied", "missing", "disk_free_bytes", "hole"})
      sound[field] = odd;
    top.replica({0}).take(Time{} + 3s, sound);
    EXPECT_EQ(top.lines(Time{} + 3s, 80, false).size(), 5U);
  }
}

TEST(Text, AgesAndLists) {
  EXPECT_EQ(age_text(350ms), "350 ms");
  EXPECT_EQ(age_text(119s), "119 s");
  EXPECT_EQ(age_text(3min), "3 min");
  EXPECT_EQ(age_text(5h), "5 h");
  EXPECT_EQ(age_text(48h), "2 days");
  EXPECT_EQ(list_text({1}), "1");
  EXPECT_EQ(list_text({1, 3}), "1 and 3");
}

// --- doctor ---

TEST(Doctor, ForgivesAClockWhatTheRoundTripExplains) {
  EXPECT_EQ(judge_clock({.sent_ms = 1000, .remote_ms = 1010, .received_ms = 1020}).verdict, Verdict::ok);
  EXPECT_EQ(judge_clock({.sent_ms = 1000, .remote_ms = 1500, .received_ms = 1000}).verdict, Verdict::ok);
  EXPECT_EQ(judge_clock({.sent_ms = 1000, .remote_ms = 1501, .received_ms = 1000}).verdict, Verdict::warn);
  EXPECT_EQ(judge_clock({.sent_ms = 1000, .remote_ms = 2600, .received_ms = 3200}).verdict, Verdict::ok);
  EXPECT_EQ(judge_clock({.sent_ms = 10'000, .remote_ms = 4999, .received_ms = 10'000}).verdict, Verdict::bad);
}

TEST(Doctor, JudgesMachines) {
  EXPECT_EQ(judge_mtu(1500, false, 1400, false).verdict, Verdict::ok);
  EXPECT_EQ(judge_mtu(1428, false, 1400, false).verdict, Verdict::ok);
  EXPECT_EQ(judge_mtu(1427, false, 1400, false).verdict, Verdict::warn);
  EXPECT_EQ(judge_mtu(1447, false, 1400, true).verdict, Verdict::warn);
  EXPECT_EQ(judge_memlock("unlimited").verdict, Verdict::ok);
  EXPECT_EQ(judge_memlock(65'536).verdict, Verdict::warn);
  EXPECT_EQ(judge_memlock(nullptr).verdict, Verdict::ok);
  EXPECT_EQ(judge_files(1024).verdict, Verdict::ok);
  EXPECT_EQ(judge_files(300).verdict, Verdict::warn);
  EXPECT_EQ(judge_files(64).verdict, Verdict::bad);
  EXPECT_EQ(judge_memory(std::nullopt).verdict, Verdict::ok);
  EXPECT_EQ(judge_memory(1e6).verdict, Verdict::bad);
  EXPECT_EQ(judge_kernel("6.1.0-18-amd64").verdict, Verdict::ok);
  EXPECT_EQ(judge_kernel("5.15.0").verdict, Verdict::warn);
  EXPECT_EQ(judge_kernel("").verdict, Verdict::ok);
  EXPECT_EQ(judge_key_mode(0100600).verdict, Verdict::ok);
  EXPECT_EQ(judge_key_mode(0100640).verdict, Verdict::ok) << "a group of its own may read it";
  EXPECT_EQ(judge_key_mode(0100660).verdict, Verdict::bad);
  EXPECT_EQ(judge_key_mode(0100644).verdict, Verdict::bad);
}

const Finding* finding(const std::vector<Finding>& all, const std::string& check) {
  for (const Finding& f : all)
    if (f.check == check) return &f;
  return nullptr;
}

TEST(Doctor, FindsWhatAReplicaSaysOfItself) {
  const DoctorOptions options{
      .version = "1",
      .agreed = {{"id", "a"}, {"address of replica 0", "h:1"}},
      .election_timeout = 250ms,
      .same_address = [](const std::string&, const std::string& b) { return b == "alias:1"; }};
  Json d{{"version", "1"},
         {"kernel", "6.18.0"},
         {"missing", Json::array()},
         {"fault_injection", false},
         {"loss", 0.0},
         {"config", {{"id", "a"}, {"address of replica 0", "alias:1"}}},
         {"disk_probe", {{"syncs", 16}, {"us_median", 300}, {"us_max", 900}}},
         {"disk_free_bytes", 5e9},
         {"receive_buffer_bytes", 8 << 20},
         {"datagrams_received", 1000},
         // What was in its first hour is no cause of anything now.
         {"receive_drops", 900},
         {"foreign_key", 900},
         {"syncs", 10},
         {"sync_us_total", 10'000'000},
         {"recent",
          {{"ms", 60'000},
           {"receive_drops", 0},
           {"datagrams_received", 1000},
           {"foreign_key", 0},
           {"syncs", 10},
           {"sync_us_total", 3000}}}};
  for (const Finding& f : judge_replica(0, "h:1", figures(5), d, ClockReading{0, 0, 0}, options))
    EXPECT_EQ(f.verdict, Verdict::ok) << f.check;
  d["config"]["id"] = "b";
  d["disk_probe"]["us_median"] = 200'000;
  d["disk_free_bytes"] = 5e6;
  d["fault_injection"] = true;
  d["recent"]["receive_drops"] = 10;
  d["missing"] = {1};
  d["recent"]["foreign_key"] = 7;
  d["version"] = "2\x1b[2J";
  const auto all = judge_replica(0, "h:1", figures(5), d, {}, options);
  EXPECT_EQ(finding(all, "config")->verdict, Verdict::bad);
  EXPECT_EQ(finding(all, "config")->measured, "id is b there and a here");
  EXPECT_EQ(finding(all, "disk sync")->verdict, Verdict::bad);
  EXPECT_EQ(finding(all, "disk space")->verdict, Verdict::bad);
  EXPECT_EQ(finding(all, "faults")->verdict, Verdict::warn);
  EXPECT_EQ(finding(all, "udp")->verdict, Verdict::warn);
  EXPECT_EQ(finding(all, "peers")->verdict, Verdict::warn);
  EXPECT_EQ(finding(all, "udp")->measured,
            "8 MiB receive buffer, 10 datagrams dropped of 1010 in the last 60 s");
  EXPECT_EQ(finding(all, "peers")->measured,
            "it does not hear replica 1; 7 datagrams under another key came in the last 60 s");
  EXPECT_NE(finding(all, "peers")->advice.find("sha256sum /etc/paxosd/cluster.key"), std::string::npos);
  EXPECT_EQ(finding(all, "version")->measured.find('\x1b'), std::string::npos);
  EXPECT_EQ(doctor_exit(all, true, true), config::exit_refused);
}

TEST(Doctor, SaysOnceWhatIsWrongAtSeveralReplicas) {
  const auto finding = [](std::optional<unsigned> replica, std::string check, Verdict verdict,
                          std::string measured) {
    return Finding{.replica = replica,
                   .check = std::move(check),
                   .verdict = verdict,
                   .measured = std::move(measured),
                   .advice = "a"};
  };
  const auto lines =
      lines_of({finding({}, "memlock", Verdict::warn, "low"), finding(0, "kernel", Verdict::ok, "6"),
                finding(0, "faults", Verdict::warn, "on"), finding(0, "memlock", Verdict::warn, "low"),
                finding(1, "kernel", Verdict::ok, "6"), finding(1, "faults", Verdict::warn, "on; loss"),
                finding(2, "faults", Verdict::warn, "on")});
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_TRUE(lines[0].replicas.empty());
  EXPECT_EQ(lines[2].finding.check, "faults");
  EXPECT_EQ(lines[2].replicas, (std::vector<unsigned>{0, 2}));
  EXPECT_EQ(lines[3].replicas, std::vector<unsigned>{0}) << "here is no replica";
  EXPECT_EQ(lines[4].finding.check, "kernel");
  EXPECT_EQ(lines[5].replicas, std::vector<unsigned>{1});
}

TEST(Doctor, CountsBetweenTwoAnswersOfAReplicaThatDoesNotSoItself) {
  const Json before{{"syncs", 10}, {"receive_drops", 900}, {"foreign_key", 7}};
  const Json now{{"syncs", 15}, {"receive_drops", 901}, {"foreign_key", 3}, {"datagrams_received", 9}};
  const Json recent = recent_between(before, now, 1000);
  EXPECT_EQ(recent.at("ms"), 1000);
  EXPECT_EQ(recent.at("syncs"), 5);
  EXPECT_EQ(recent.at("receive_drops"), 1);
  EXPECT_FALSE(recent.contains("foreign_key")) << "it was restarted in between";
  EXPECT_FALSE(recent.contains("datagrams_received"));
}

TEST(Doctor, FindsWhatStandsStillAndWhoIsCutOff) {
  Json leader = figures(5);
  leader["hole"] = 6;
  leader["waiting_ms"] = 4'000;
  auto all = judge_cluster(status_of({leader, figures(5), figures(5)}));
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].replica, 0U);
  EXPECT_EQ(all[0].verdict, Verdict::bad);
  EXPECT_EQ(all[0].measured, "nothing moves for 4 s: slot 6 was skipped, and holds up everything above it");
  EXPECT_NE(all[0].advice.find("systemctl restart paxosd@0"), std::string::npos);

  all = judge_cluster(status_of({figures(5), figures(5), figures(5)}));
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].verdict, Verdict::ok);

  Json moved = cut_off(9'000);
  moved["missing"] = {0, 1};
  all = judge_cluster(status_of({figures(5), figures(5), moved}));
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].verdict, Verdict::warn);
  EXPECT_EQ(all[0].measured, "degraded, can lose 0 more, replica 0 leads");
  EXPECT_EQ(all[1].replica, 2U);
  EXPECT_EQ(all[1].verdict, Verdict::bad);
  EXPECT_EQ(all[1].measured, "it hears nobody for 9 s, and follows nobody: it takes no part");

  // One that is paused on purpose is told as such, by what it says of itself alone.
  Json paused = figures(5);
  paused["voting"] = false;
  paused["paused_ms"] = 2'000;
  const auto findings = judge_replica(2, "h:1", paused, std::nullopt, {}, {});
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].verdict, Verdict::warn);
  EXPECT_EQ(findings[0].measured, "it stands still by `paxosctl pause`, for 2 s more");
}

TEST(Doctor, TellsADirectoryThatCanTakeALostOnesPlaceFromOneThatCanNot) {
  Json dormant = figures(5);
  dormant["voting"] = false;
  dormant["role"] = "dormant";
  dormant["reason"] = "this data directory is not one that the cluster was born with";
  dormant["newcomer"] = true;
  const std::string first = "start it with an empty data directory first";
  auto findings = judge_replica(2, "h:1", dormant, std::nullopt, {}, {});
  EXPECT_EQ(findings[0].verdict, Verdict::bad);
  EXPECT_NE(findings[0].advice.find("paxosctl member replace"), std::string::npos) << findings[0].advice;
  EXPECT_EQ(findings[0].advice.find(first), std::string::npos) << findings[0].advice;
  dormant["reason"] = "another data directory has taken the place of this one, in configuration 2";
  dormant.erase("newcomer");
  findings = judge_replica(2, "h:1", dormant, std::nullopt, {}, {});
  EXPECT_EQ(findings[0].verdict, Verdict::bad);
  EXPECT_NE(findings[0].advice.find(first), std::string::npos) << findings[0].advice;
  // It was replaced, and does what it shall.
  Json joins = figures(5);
  joins["voting"] = false;
  joins["catching_up"] = true;
  findings = judge_replica(2, "h:1", joins, std::nullopt, {}, {});
  EXPECT_EQ(findings[0].verdict, Verdict::warn);
  EXPECT_TRUE(findings[0].advice.starts_with("wait")) << findings[0].advice;
}

TEST(Doctor, SurvivesAnOlderReplicaAndNonsense) {
  const auto old = judge_replica(1, "h:1", figures(5), std::nullopt, {}, {});
  ASSERT_NE(finding(old, "doctor"), nullptr);
  EXPECT_EQ(finding(old, "doctor")->verdict, Verdict::warn);
  EXPECT_EQ(doctor_exit(old, true, true), config::exit_fine);
  const auto silent = judge_replica(1, "h:7401", std::nullopt, std::nullopt, {}, {});
  ASSERT_EQ(silent.size(), 1U);
  EXPECT_NE(silent[0].advice.find("UDP port 7401"), std::string::npos);
  EXPECT_NE(silent[0].advice.find("key"), std::string::npos);
  EXPECT_EQ(doctor_exit(silent, true, false), config::exit_unknown);
  const auto closed = judge_replica(1, "h:7401", std::nullopt, std::nullopt, {}, {}, true);
  ASSERT_EQ(closed.size(), 1U);
  EXPECT_NE(closed[0].measured.find("nothing listens on h:7401"), std::string::npos) << closed[0].measured;
  EXPECT_NE(closed[0].advice.find("systemctl start paxosd@1"), std::string::npos) << closed[0].advice;
  Json nonsense;
  for (const char* field :
       {"version", "kernel", "missing", "fault_injection", "loss", "config", "disk_probe", "disk_free_bytes",
        "receive_buffer_bytes", "memlock_bytes", "files_max", "memory_max_bytes", "syncs", "sync_us_total"})
    nonsense[field] = Json::array({Json::object(), "x", -1, nullptr});
  for (const Json& status : {Json::object(), Json{{"voting", 3}, {"role", 4}, {"no_quorum_age_ms", "x"}}})
    (void)judge_replica(0, "h", status, nonsense, {}, {});
}

}  // namespace
}  // namespace client
