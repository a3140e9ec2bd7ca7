#include "client/session/attention.h"

#include <gtest/gtest.h>

#include "client/session/cluster_view.h"
#include "tests/client/answers.h"

/// What `status` calls healthy, degraded and stuck, and whom it names.
namespace client {
namespace {

using namespace std::chrono_literals;

std::vector<std::string> lines(const Json& status) {
  std::vector<std::string> out;
  for (const Attention& a : attention_in(status)) out.push_back(std::to_string(a.replica) + " " + a.text);
  return out;
}
using Lines = std::vector<std::string>;

TEST(Healthy, IsWithALeaderThatGetsOn) {
  const Json status = status_of({waiting(well(), 101, 500, 500), well(), well()});
  EXPECT_TRUE(status.at("healthy").get<bool>()) << "two election timeouts are allowed";
  EXPECT_TRUE(status.at("whole").get<bool>());
  EXPECT_FALSE(status.at("degraded").get<bool>());
  EXPECT_EQ(status.at("can_lose"), 1);
  EXPECT_FALSE(status.contains("stuck"));
  EXPECT_EQ(headline(status), "healthy, replica 0 leads");
  EXPECT_EQ(lines(status), Lines{});
}

TEST(Healthy, IsNotWhereASlotWaitsLongerThanTwoElectionTimeouts) {
  const Json status = status_of({waiting(well(), 101, 501, 501), well(), well()});
  EXPECT_FALSE(status.at("healthy").get<bool>());
  EXPECT_EQ(status.at("leader"), 0) << "there is one";
  EXPECT_EQ(status.at("stuck"), "slot 101 waits to be applied");
  EXPECT_EQ(status.at("stuck_slot"), 101);
  EXPECT_EQ(status.at("stuck_ms"), 501);
  EXPECT_EQ(headline(status), "nothing moves");
  EXPECT_EQ(outage_of(status).sentence(), "nothing moves for 501 ms: slot 101 waits to be applied");
  // Late, though slots go by: what waits longer is what counts.
  EXPECT_FALSE(status_of({waiting(well(), 101, 700, 20), well(), well()}).at("healthy").get<bool>());
}

TEST(Healthy, IsNotWhereASkippedSlotHoldsUpTheRest) {
  Json leader = waiting(well(), 101, 5, 5);
  leader["hole"] = 101;
  leader["chosen_max"] = 102;
  const Json status = status_of({leader, well(), well()});
  EXPECT_FALSE(status.at("healthy").get<bool>()) << "at once: nobody fills it by waiting";
  EXPECT_EQ(status.at("stuck"), "slot 101 was skipped, and holds up everything above it");
  ASSERT_EQ(lines(status).size(), 1U);
  EXPECT_EQ(lines(status)[0],
            "0 waits for the skipped slot 101 for 5 ms: nothing above is applied until the leader changes "
            "(`paxosctl kill "
            "leader`, or a restart of it)");
}

TEST(Healthy, AHoleOfAnOlderReplicaCounts) {
  Json leader = well();
  leader["hole"] = 101;
  EXPECT_FALSE(status_of({leader, well(), well()}).at("healthy").get<bool>());
}

// A follower that stands still is no matter of the leader's, but of whoever wants all to be well.
TEST(Healthy, WithAFollowerThatStandsStillItIsNotWhole) {
  const Json status = status_of({well(900), waiting(well(), 101, 8'000, 7'000), well(900)});
  EXPECT_TRUE(status.at("healthy").get<bool>());
  EXPECT_FALSE(status.at("whole").get<bool>());
  EXPECT_EQ(lines(status), Lines{"1 has applied slot 100 of 900, and nothing for 7 s"});
  EXPECT_EQ(lines(status_of({well(900), waiting(well(), 101, 8'000, 10), well(900)})),
            Lines{"1 catches up: it has applied slot 100 of 900, what comes next is 8 s old"});
  EXPECT_EQ(lines(status_of({well(900), waiting(well(), 101, 200, 200), well(900)})), Lines{})
      << "every follower is a little behind";
  EXPECT_EQ(lines(status_of({well(9'000), well(), well(9'000)})),
            Lines{"1 catches up: it has applied slot 100 of 9000, and moves"})
      << "an older one tells no ages";
}

TEST(Healthy, WhereTheLeaderDoesNotAnswerHereItsFollowersTell) {
  EXPECT_TRUE(status_of({std::nullopt, well(), waiting(well(), 101, 900, 900)}).at("healthy").get<bool>())
      << "one of them gets on";
  const Json status =
      status_of({std::nullopt, waiting(well(), 101, 3'000, 3'000), waiting(well(), 101, 900, 900)});
  EXPECT_FALSE(status.at("healthy").get<bool>());
  EXPECT_EQ(status.at("stuck_ms"), 900);
}

TEST(Healthy, ACandidateIsNoLeaderByItsOwnWord) {
  Json candidate = well();
  candidate["leader"] = nullptr;
  candidate["role"] = "candidate";
  const Json status = status_of({candidate, well(), well()});
  EXPECT_FALSE(status.at("healthy").get<bool>());
  EXPECT_TRUE(status.at("leader").is_null());
  EXPECT_EQ(status.at("outage").at("what"), "no leader");
}

TEST(Degraded, CountsWhoMayStillDie) {
  const Json three = status_of({well(), well(), std::nullopt});
  EXPECT_TRUE(three.at("healthy").get<bool>());
  EXPECT_TRUE(three.at("degraded").get<bool>());
  EXPECT_FALSE(three.at("whole").get<bool>());
  EXPECT_EQ(three.at("can_lose"), 0);
  EXPECT_EQ(headline(three), "degraded, can lose 0 more, replica 0 leads");
  const Json five = status_of({well(), well(), std::nullopt, well(), well()});
  EXPECT_EQ(five.at("can_lose"), 1);
  EXPECT_EQ(headline(five), "degraded, can lose 1 more, replica 0 leads");
  EXPECT_EQ(status_of({well(), well(), well(), well(), well()}).at("can_lose"), 2);
  const Json one = status_of({well()});
  EXPECT_EQ(one.at("can_lose"), 0);
  EXPECT_EQ(headline(one), "healthy, replica 0 leads") << "it is all that it can be";
  EXPECT_EQ(status_of({std::nullopt, std::nullopt, well()}).at("can_lose"), 0);
}

TEST(Attention, WhoRedoesItsLogOrNeedsASnapshotIsNamedWithHowFarItIs) {
  Json redoes = well();
  redoes["redoing"] = {{"done", 1200}, {"of", 90000}};
  Json stranded = well();
  stranded["snapshot_wanted"] = {{"above", 77}, {"from", Json::array()}};
  const Json status = status_of({well(), redoes, stranded});
  EXPECT_TRUE(status.at("healthy").get<bool>());
  EXPECT_EQ(lines(status),
            (Lines{"1 redoes its own log, since its state was lost or old: 1200 of 90000 slots; it "
                   "votes, and reads from it wait",
                   "2 needs a snapshot: nobody that it reaches has slot 77 any more"}));
}

TEST(Attention, AReplicaThatHearsNobodyIsNoHealthyFollower) {
  const Json status = status_of({well(), well(), alone(well(), 12'000)});
  EXPECT_TRUE(status.at("healthy").get<bool>());
  EXPECT_EQ(status.at("can_lose"), 0);
  EXPECT_EQ(lines(status), Lines{"2 hears nobody for 12 s, and follows nobody: it takes no part"});
  EXPECT_NE(attention_in(status)[0].advice.find("if it was moved"), std::string::npos);
  EXPECT_EQ(lines(status_of({well(), well(), alone(well(), 300)})), Lines{}) << "a moment";
}

TEST(Attention, OneThatIsSilentHereIsToldFromOneThatNobodyHears) {
  Json a = well();
  Json b = well();
  a["missing"] = b["missing"] = {2};
  a["missing_ms"] = {9'000};
  b["missing_ms"] = {8'000};
  EXPECT_EQ(lines(status_of({a, b, std::nullopt})), Lines{"2 is not heard by replicas 0 and 1 for 8 s"});
  EXPECT_EQ(lines(status_of({well(), well(), std::nullopt})),
            Lines{"2 does not answer here, but replicas 0 and 1 hear it"});
}

TEST(Attention, ALinkToTheLeaderThatIsCutIsNamed) {
  Json leader = well();
  leader["missing"] = {1};
  leader["missing_ms"] = {5'000};
  EXPECT_EQ(lines(status_of({leader, well(), well()})),
            Lines{"1 is not heard by replica 0, which leads, for 5 s"});
}

TEST(Attention, PauseIsolateAndLossHaveALineEach) {
  Json paused = well();
  paused["paused_ms"] = 3'000;
  paused["voting"] = false;
  paused["leader"] = nullptr;
  Json isolated = alone(well(), 2'000);
  isolated["isolated_ms"] = 4'000;
  Json lossy = well();
  lossy["loss"] = 0.1;
  const Json status = status_of({lossy, paused, isolated, well(), well()});
  EXPECT_EQ(lines(status), (Lines{"0 drops 10 % of what it receives (`paxosctl loss 0` ends that)",
                                  "1 stands still by `paxosctl pause`, for 3 s more",
                                  "2 is cut off by `paxosctl isolate`, for 4 s more"}));
  EXPECT_EQ(status.at("can_lose"), 0);
}

TEST(Attention, OneThatMayNotVoteSaysWhy) {
  const Json status = status_of({well(), well(), wiped()});
  ASSERT_EQ(lines(status).size(), 1U);
  EXPECT_EQ(lines(status)[0],
            "2 does not vote since its start 60 s ago: this data directory is not one that the cluster was "
            "born with");
  EXPECT_NE(attention_in(status)[0].advice.find("A disk is lost"), std::string::npos);
}

// A directory that was replaced, comes back under its id: the leader would refuse what a new one is told.
TEST(Attention, OnlyADirectoryThatAnnouncesItselfIsToldToBePutInTheLostOnesPlace) {
  const auto advice = [](const Json& leader, const Json& one) {
    return attention_in(status_of({leader, well(), one}))[0].advice;
  };
  const std::string first = "start it with an empty data directory first";
  const std::string replace = "replace it with `paxosctl member replace 2`";
  EXPECT_TRUE(advice(well(), wiped()).starts_with(replace)) << advice(well(), wiped());
  Json old = wiped();
  old.erase("newcomer");
  for (const char* reason : {"another data directory has taken the place of this one, in configuration 2",
                             "this data directory belongs to a cluster of 5 replicas, the config names 3",
                             "this data directory is an older copy: replica 1 knows its boot 7"}) {
    old["reason"] = reason;
    const std::string told = advice(well(), old);
    EXPECT_NE(told.find(first), std::string::npos) << told;
    EXPECT_NE(told.find(replace), std::string::npos) << told;
  }
  // Whatever it says: the others have heard it.
  Json leader = well();
  leader["newcomers"] = {2};
  EXPECT_TRUE(advice(leader, old).starts_with(replace)) << advice(leader, old);
  leader["newcomers"] = {1};
  EXPECT_FALSE(advice(leader, old).starts_with(replace)) << "another one's";
  leader["newcomers"] = "x";
  EXPECT_FALSE(advice(leader, old).starts_with(replace));
}

TEST(Attention, OneThatTookALostOnesPlaceIsWaitedFor) {
  Json joins = well();
  joins["voting"] = false;
  joins["catching_up"] = true;
  joins["reason"] = "this data directory took a lost one's place, and catches up";
  const Json status = status_of({well(), well(), joins});
  EXPECT_EQ(lines(status),
            Lines{"2 does not vote: this data directory took a lost one's place, and catches up"});
  EXPECT_NE(attention_in(status)[0].advice.find("votes then"), std::string::npos);
  EXPECT_EQ(attention_in(status)[0].advice.find("replace"), std::string::npos);
}

TEST(Lost, AMajorityThatWasWipedIsNotAClusterThatIsNotBorn) {
  for (const char* role : {"dormant", "unborn"}) {  // as older programs call it
    Json gone = wiped();
    gone["role"] = role;
    const Json status = status_of({alone(well(812), 9'000), gone, gone});
    const Outage outage = outage_of(status);
    EXPECT_TRUE(outage.lost);
    EXPECT_EQ(outage.what, "a majority has lost its data");
    EXPECT_NE(outage.why.find("replicas 1 and 2 came back with other data directories"), std::string::npos)
        << outage.why;
    EXPECT_NE(outage.why.find("replica 0 still has everything up to slot 812"), std::string::npos)
        << outage.why;
    EXPECT_EQ(status.at("outage").at("readable"), Json::array({{{"replica", 0}, {"applied", 812}}}));
    std::string steps;
    for (const std::string& step : next_steps(status, "k")) steps += step + "\n";
    EXPECT_NE(steps.find("paxoschat history --local --replica 0"), std::string::npos) << steps;
    EXPECT_NE(steps.find("paxosctl log 0"), std::string::npos) << steps;
  }
}

TEST(Lost, OneWipedAndOneMissingMayStillComeBack) {
  const Outage outage = outage_of(status_of({alone(well(812), 9'000), wiped(), std::nullopt}));
  EXPECT_FALSE(outage.lost);
  EXPECT_EQ(outage.what, "no quorum");
  EXPECT_NE(outage.why.find("replica 2 is missing"), std::string::npos);
}

TEST(Lost, AnUnbornOneBesideSomebodyWhoVotesIsNoFirstStart) {
  Json unborn = wiped();
  unborn["role"] = "unborn";
  unborn["missing_at_birth"] = {0};
  const Outage outage = outage_of(status_of({alone(well(812), 9'000), unborn, std::nullopt}));
  EXPECT_FALSE(outage.unborn);
  EXPECT_EQ(outage.what, "no quorum");
  EXPECT_NE(outage.why.find("replica 1 has never been part of it"), std::string::npos) << outage.why;
}

Json full(Json answer) {
  answer["disk_full"] = true;
  return answer;
}

TEST(FullDisks, AMinorityIsNamedAndNothingElse) {
  const Json status = status_of({well(), well(), full(waiting(well(50), 51, 9'000, 9'000))});
  EXPECT_TRUE(status.at("healthy").get<bool>());
  EXPECT_FALSE(status.at("whole").get<bool>());
  EXPECT_EQ(lines(status), Lines{"2 has a full disk: it votes for nothing new until there is room"});
}

TEST(FullDisks, AMajorityIsWhatStandsStillAndReadingGoesOn) {
  Json leader = full(well());
  leader["blocked_by_full_disks"] = true;
  leader["disks_full"] = {0, 2};
  const Json status = status_of({leader, well(), full(well())});
  EXPECT_FALSE(status.at("healthy").get<bool>());
  EXPECT_EQ(status.at("leader"), 0);
  EXPECT_EQ(status.at("stuck"), "disks of replicas 0, 2 are full");
  const Outage outage = outage_of(status);
  EXPECT_EQ(outage.sentence(), "nothing can be sent: disks of replicas 0, 2 are full");
  EXPECT_NE(outage.still_works().find("reading and following go on"), std::string::npos);
}

TEST(Attention, SurvivesWhatAnotherVersionMaySay) {
  for (const Json& odd :
       {Json("x"), Json(-7), Json(1e300), Json(nullptr), Json::array({1}), Json::object(), Json(true)})
    for (const char* field :
         {"waiting_ms", "waiting_slot", "standing_ms", "missing",     "missing_ms",
          "paused_ms",  "isolated_ms",  "loss",        "hole",        "role",
          "reason",     "applied",      "chosen",      "chosen_max",  "uptime_ms",
          "leader",     "voting",       "rules",       "rules_known", "newcomers",
          "newcomer",   "catching_up",  "disk_full",   "disks_full",  "blocked_by_full_disks"}) {
      Json answer = waiting(well(), 101, 9'000, 9'000);
      answer[field] = odd;
      const Json status = status_of({answer, answer, alone(answer, 5)});
      (void)outage_of(status);
      (void)headline(status);
    }
}

}  // namespace
}  // namespace client
