#include "client/ctl/rolling.h"

#include <gtest/gtest.h>

#include "tests/client/answers.h"

namespace client {
namespace {

TEST(Rolling, GoesOnWithoutOneOnlyWhereAQuorumRemainsWithOneMoreAway) {
  EXPECT_EQ(refuse_without(1, {}), "");
  EXPECT_EQ(refuse_without(5, {2}), "");
  EXPECT_EQ(refuse_without(7, {2, 3}), "");
  EXPECT_NE(refuse_without(3, {2}).find("no quorum of 2"), std::string::npos);
  EXPECT_NE(refuse_without(5, {2, 3}), "");
  EXPECT_NE(refuse_without(7, {2, 3, 4}), "");
}

TEST(Rolling, WaitsForAllButThoseThatAreNamed) {
  const Json status = status_of({well(), well(), std::nullopt, well(), well()});
  EXPECT_EQ(rolling_trouble(status, {}, 100), "replica 2 does not answer (to go on without it: --without 2)");
  EXPECT_EQ(rolling_trouble(status, {2}, 100), "");
  EXPECT_EQ(rolling_trouble(status, {2}, 101), "replica 0 has applied slot 100 of 101");
  EXPECT_EQ(rolling_trouble(status_of({well(), well(), std::nullopt, well(), std::nullopt}), {2}, 100),
            "replica 4 does not answer");
  EXPECT_EQ(rolling_trouble(status_of({well(), well(), std::nullopt}), {}, 100), "replica 2 does not answer")
      << "of three none can be left out";
  EXPECT_EQ(rolling_trouble(status_of({waiting(well(), 101, 9'000, 9'000), well(), well()}), {}, 100),
            "nothing moves for 9 s: slot 101 waits to be applied");
  EXPECT_EQ(rolling_trouble(status_of({well(), well(), alone(well(), 5'000)}), {}, 100),
            "replica 2 does not follow replica 0");
}

TEST(Rolling, SaysWhatBecomesOfThoseThatAreLeftOut) {
  EXPECT_TRUE(said_of_present(status_of({well(), well(), std::nullopt, well(), well()}), {2}).empty());
  const auto there = said_of_present(status_of({well(), well(), well(), wiped(), well()}), {2, 3});
  ASSERT_EQ(there.size(), 2U);
  EXPECT_NE(there[0].find("replica 2 is there and votes"), std::string::npos);
  EXPECT_NE(there[1].find("replica 3 answers, but does not vote"), std::string::npos);
  Json fresh = well();
  fresh["rules_known"] = 2;
  EXPECT_EQ(said_of_rules(status_of({fresh, fresh, std::nullopt, fresh, fresh}), {}), "");
  EXPECT_NE(said_of_rules(status_of({fresh, fresh, std::nullopt, fresh, fresh}), {2})
                .find("the rules stay 1 until replica 2 is back with the new program"),
            std::string::npos);
  EXPECT_NE(said_of_rules(status_of({well(), well(), std::nullopt, well(), well()}), {2})
                .find("install the new program for replica 2"),
            std::string::npos);
}

TEST(Rolling, SurvivesWhatAnotherVersionMaySay) {
  for (const Json& odd :
       {Json("x"), Json(-7), Json(1e300), Json(nullptr), Json::array({1}), Json::object(), Json(true)})
    for (const char* field :
         {"waiting_ms", "waiting_slot", "standing_ms", "missing", "missing_ms", "paused_ms", "isolated_ms",
          "loss", "hole", "role", "reason", "applied", "chosen", "chosen_max", "uptime_ms", "leader",
          "voting", "rules", "rules_known"}) {
      Json answer = waiting(well(), 101, 9'000, 9'000);
      answer[field] = odd;
      const Json status = status_of({answer, answer, alone(answer, 5)});
      (void)rolling_trouble(status, {}, 5);
      (void)said_of_rules(status, {1});
    }
}

}  // namespace
}  // namespace client
