#include "daemon/log.h"

#include <gtest/gtest.h>

namespace {

using daemon_log::LineLimit;
using std::chrono::milliseconds;

TEST(LineLimit, ABurstIsSaidThenAFewASecond) {
  LineLimit limit;
  LineLimit::Time now{};
  for (unsigned i = 0; i < LineLimit::burst; ++i) EXPECT_TRUE(limit.ask("noop", now).say) << i;
  EXPECT_FALSE(limit.ask("noop", now).say);
  now += milliseconds{1000};
  unsigned said = 0;
  for (unsigned i = 0; i < LineLimit::burst; ++i) said += limit.ask("noop", now).say ? 1 : 0;
  EXPECT_EQ(said, LineLimit::per_second);
}

TEST(LineLimit, TellsHowManyWereLeftOut) {
  LineLimit limit;
  LineLimit::Time now{};
  for (unsigned i = 0; i < LineLimit::burst + 7; ++i) (void)limit.ask("noop", now);
  now += milliseconds{1000};
  EXPECT_EQ(limit.ask("noop", now).left_out, 7u);
  EXPECT_EQ(limit.ask("noop", now).left_out, 0u);
}

TEST(LineLimit, OneKindDoesNotSilenceAnother) {
  LineLimit limit;
  const LineLimit::Time now{};
  for (unsigned i = 0; i < LineLimit::burst + 1; ++i) (void)limit.ask("noop", now);
  EXPECT_TRUE(limit.ask("leader", now).say);
}

TEST(LineLimit, AClockThatStandsStillGivesNothing) {
  LineLimit limit;
  const LineLimit::Time now = LineLimit::Time{} + milliseconds{5000};
  for (unsigned i = 0; i < LineLimit::burst; ++i) (void)limit.ask("noop", now);
  EXPECT_FALSE(limit.ask("noop", now).say);
  EXPECT_FALSE(limit.ask("noop", now - milliseconds{3000}).say);
  EXPECT_FALSE(limit.ask("noop", now).say);
}

}  // namespace
