#include "client/session/room_names.h"

#include <gtest/gtest.h>

/// What people type for a room, and what they mean by it.
namespace client {
namespace {

TEST(RoomName, IsFoldedWithOneHashLess) {
  EXPECT_EQ(fold_room("#Ops"), "ops");
  EXPECT_EQ(fold_room("##ops"), "#ops");
  EXPECT_EQ(fold_room("#"), "#");
  EXPECT_EQ(fold_room("ÜBUNG ДА Ω"), "übung да ω");
  EXPECT_EQ(fold_room("日本 👋"), "日本 👋");
  EXPECT_EQ(fold_room("a\xff"
                      "B"),
            "a\xff"
            "b")
      << "what is no UTF-8 is for others to refuse";
  EXPECT_TRUE(is_plain_room("ops"));
  EXPECT_TRUE(is_plain_room("on call"));
  for (const char* odd : {"Ops", "#ops", " ops", "ops ", "ops\u00a0"})
    EXPECT_FALSE(is_plain_room(odd)) << odd;
  EXPECT_NE(room_fault("ops "), "");
  EXPECT_NE(room_fault("o\u200bps"), "");
  EXPECT_EQ(room_fault("on call"), "");
}

TEST(RoomName, OneOrTwoErrorsAwayIsProbablyMeant) {
  const std::vector<std::string> rooms{"ops", "deploys", "db", "@ann,ops"};
  EXPECT_EQ(near_room("opss", rooms), "ops");
  EXPECT_EQ(near_room("deplyos", rooms), "deploys");
  EXPECT_EQ(near_room("ops", rooms), "") << "it is there: nothing else was meant";
  EXPECT_EQ(near_room("lobby", rooms), "");
  EXPECT_EQ(near_room("x", rooms), "") << "one letter is near to everything";
  EXPECT_EQ(near_room("qa", rooms), "");
  EXPECT_EQ(near_room("Db", rooms), "db") << "the same but for its case";
  EXPECT_EQ(did_you_mean("ops"), "; did you mean ops?");
  EXPECT_EQ(did_you_mean("o\u200bps\x1b"), "; did you mean o\\u200bps\\x1b?");
  EXPECT_EQ(did_you_mean(""), "");
}

TEST(RoomOfTwo, IsTheSameForBoth) {
  EXPECT_EQ(room_of_two("Bob", "ann"), "@ann,bob");
  EXPECT_EQ(room_of_two("ann", "BOB"), "@ann,bob");
  EXPECT_EQ(other_of_two("@ann,bob", "Ann"), "bob");
  EXPECT_EQ(other_of_two("@ann,bob", "bob"), "ann");
  EXPECT_EQ(other_of_two("@ann,bob", "eve"), "");
  EXPECT_EQ(other_of_two("ann,bob", "ann"), "");
  EXPECT_EQ(other_of_two("@ann", "ann"), "");
  EXPECT_EQ(other_of_two("@,bob", ""), "");
}

}  // namespace
}  // namespace client
