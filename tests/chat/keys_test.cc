#include "chat/keys.h"

#include <gtest/gtest.h>

#include "chat/invisible.h"
#include "tests/chat/fixture.h"

/// Messages with a key (rules 2): one message a (room, key), whoever sends it again. And what nobody can see.
namespace chat::test {
namespace {

Command keyed(const SessionId& session, std::uint64_t seq, std::string text, std::string key,
              std::string room = "ops", std::string name = "ann") {
  return {.session = session,
          .seq = seq,
          .answered_below = 0,
          .operation = Post{std::move(room), std::move(name), std::move(text), std::move(key)}};
}

struct Keys : ::testing::Test {
  Log log{.machine = Machine(rules_released), .rows = {}};
  void SetUp() override { log.apply(make_rules_decree(2)); }
  /// The session clock goes on by `hours`.
  void pass(int hours) {
    for (int i = 0; i < hours * 60; ++i) {
      log.time_ms += limits::clock_step_max_ms;
      log.apply(std::vector<Command>{});
    }
  }
};

TEST_F(Keys, ASecondSendFromAnotherSessionGetsTheFirstOnesPlace) {
  const auto a = log.open(1), b = log.open(2);
  const Outcome first = log.one(keyed(a, 1, "db3 full", "db3"));
  ASSERT_EQ(first.verdict, Verdict::done);
  const Outcome again = log.one(keyed(b, 1, "db3 full", "db3", "ops", "bob"));
  EXPECT_EQ(again.verdict, Verdict::repeat);
  EXPECT_EQ(again.session, b) << "who waits for it finds it";
  EXPECT_EQ(std::tuple(again.slot, again.index, again.room_seq, again.time_ms),
            std::tuple(first.slot, first.index, first.room_seq, first.time_ms));
  EXPECT_EQ(log.machine.room_head("ops"), 1u);
  // The same command once more, and after a restart: its stored answer.
  EXPECT_EQ(log.one(keyed(b, 1, "db3 full", "db3", "ops", "bob")).slot, first.slot);
  log.reload();
  const Outcome later = log.one(keyed(b, 1, "db3 full", "db3", "ops", "bob"));
  EXPECT_EQ(later.verdict, Verdict::repeat);
  EXPECT_EQ(later.slot, first.slot);
  // And in the same session under the next number: the retry loop with one state file.
  EXPECT_EQ(log.one(keyed(a, 2, "db3 full", "db3")).verdict, Verdict::repeat);
  EXPECT_EQ(log.machine.room_head("ops"), 1u);
  const KeyedMessage* stands = log.machine.keyed("ops", "db3");
  ASSERT_NE(stands, nullptr);
  EXPECT_EQ(stands->name, "ann");
  EXPECT_EQ(stands->session, a);
}

TEST_F(Keys, AnotherTextUnderAKeyIsRefusedAndAnotherRoomIsAnotherMessage) {
  const auto s = log.open(1);
  log.one(keyed(s, 1, "db3 full", "db3"));
  EXPECT_EQ(log.one(keyed(s, 2, "db4 full", "db3")).verdict, Verdict::key_conflict);
  EXPECT_EQ(log.one(keyed(s, 2, "db4 full", "db3")).verdict, Verdict::key_conflict)
      << "a refusal is answered with that refusal";
  EXPECT_EQ(log.one(keyed(s, 3, "db4 full", "db3", "dev")).verdict, Verdict::done);
  EXPECT_EQ(log.one(post(s, 4, "db3 full")).verdict, Verdict::done) << "without a key nothing is looked up";
}

TEST_F(Keys, AreKnownForADayAtLeastAndForgottenInTheEndOnEveryReplicaAlike) {
  auto s = log.open(1);
  const Outcome first = log.one(keyed(s, 1, "x", "k"));
  pass(24);
  log.reload();
  s = log.open(2);
  EXPECT_EQ(log.one(keyed(s, 1, "x", "k")).room_seq, first.room_seq);
  pass(25);
  Log other{.machine = Machine(rules_released), .rows = log.rows};
  other.reload();
  other.time_ms = log.time_ms;
  EXPECT_EQ(other.machine.keys(), log.machine.keys());
  EXPECT_EQ(log.machine.keys(), 0u);
  EXPECT_FALSE(log.rows.get(std::string("k\x03opsk", 6))) << "its row is gone, too";
  s = log.open(3);
  EXPECT_EQ(log.one(keyed(s, 1, "x", "k")).verdict, Verdict::done) << "after two days it is a new message";
}

TEST_F(Keys, AKeyThatGoesAndComesInOneSlotStands) {
  auto s = log.open(1);
  log.one(keyed(s, 1, "x", "k"));
  pass(47);
  // 47 hours and a minute at most; two steps more, the second with the command itself.
  for (int i = 0; i < 59; ++i) {
    log.time_ms += limits::clock_step_max_ms;
    log.apply(std::vector<Command>{});
  }
  s = log.open(2);
  log.time_ms += limits::clock_step_max_ms;
  Outcome last = log.one(keyed(s, 1, "y", "k"));
  for (std::uint64_t seq = 2; last.verdict == Verdict::key_conflict; ++seq) {
    log.time_ms += limits::clock_step_max_ms;
    last = log.one(keyed(s, seq, "y", "k"));
  }
  ASSERT_EQ(last.verdict, Verdict::done);
  log.reload();
  ASSERT_NE(log.machine.keyed("ops", "k"), nullptr);
  EXPECT_EQ(log.machine.keyed("ops", "k")->slot, last.slot);
}

TEST_F(Keys, HashesAndRowsAreEqualAfterAReload) {
  const auto s = log.open(1);
  log.one(keyed(s, 1, "x", "k"));
  Log other{.machine = Machine(rules_released), .rows = log.rows};
  other.reload();
  const Applied a = log.apply(std::vector{keyed(s, 2, "x", "k"), keyed(s, 3, "y", "k2")});
  const Applied b = other.apply(std::vector{keyed(s, 2, "x", "k"), keyed(s, 3, "y", "k2")});
  EXPECT_EQ(a.hash, b.hash);
  EXPECT_EQ(a.rows, b.rows);
}

/// A program of 0.1.0 can't read such a batch and applies nothing of it; under rules 1 a new one does the
/// same.
TEST(KeysUnderRules1, ABatchThatOlderProgramsCanNotReadDoesNothing) {
  Log log{.machine = Machine(rules_released), .rows = {}};
  const auto s = log.open(1);
  const Applied applied = log.apply(std::vector{post(s, 1, "plain"), keyed(s, 2, "x", "k")});
  EXPECT_TRUE(applied.outcomes.empty());
  EXPECT_EQ(log.machine.room_head("ops"), 0u);
  EXPECT_NE(validate(keyed(s, 1, "x", "k"), 1), "");
  EXPECT_EQ(validate(keyed(s, 1, "x", "k"), 2), "");
  EXPECT_NE(validate(keyed(s, 1, "x", std::string(65, 'k')), 2), "");
  EXPECT_NE(validate(keyed(s, 1, "x", "a\nb"), 2), "");
}

TEST(KeyTable, RefusesAboveItsBoundsAndCountsWhatItHolds) {
  KeyTable table;
  const std::string name(limits::name_bytes_max, 'n');
  std::uint64_t i = 0;
  while (table.takes("ops", std::to_string(i), name.size())) {
    table.insert("ops", std::to_string(i), {.name = name, .slot = {i + 1}});
    ++i;
  }
  EXPECT_TRUE(table.size() == limits::keys_max || table.bytes() + 512 > limits::keys_bytes_max);
  EXPECT_LE(table.size(), limits::keys_max);
  EXPECT_LE(table.bytes(), limits::keys_bytes_max);
  const std::size_t before = table.bytes();
  EXPECT_TRUE(table.expire(limits::key_kept_ms + 1));
  EXPECT_LT(table.bytes(), before);
  EXPECT_TRUE(table.takes("ops", "0", name.size()));
  while (table.expire(limits::key_kept_ms + 1)) {
  }
  EXPECT_EQ(table.bytes(), 0u);
}

// --- what nobody can see ---

TEST(Invisible, CharactersAreFoundByNameButForThoseInsideOfEmoji) {
  EXPECT_EQ(first_invisible("ann"), "");
  EXPECT_EQ(first_invisible("an\u200bn"), "U+200B");
  EXPECT_EQ(first_invisible("\ufeff"
                            "ann"),
            "U+FEFF");
  EXPECT_EQ(first_invisible("an\u00adn"), "U+00AD");
  EXPECT_EQ(first_invisible("ann\u2060"), "U+2060");
  EXPECT_EQ(first_invisible("an\u034fn"), "U+034F");
  EXPECT_EQ(first_invisible("\U000e0061"), "U+E0061");
  EXPECT_EQ(first_invisible("\u3164"), "U+3164") << "Hangul filler";
  // A family, a heart in red, a keycap, a woman of a skin tone at a desk.
  for (const char* emoji : {"\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2764\ufe0f", "1\ufe0f\u20e3",
                            "\U0001f469\U0001f3fd\u200d\U0001f4bb", "\U0001f3f3\ufe0f\u200d\U0001f308"})
    EXPECT_EQ(first_invisible(emoji), "") << emoji;
  EXPECT_EQ(first_invisible("a\u200db"), "U+200D") << "a joiner that joins no emoji";
  EXPECT_EQ(first_invisible("\U0001f468\u200d"), "U+200D");
  EXPECT_EQ(first_invisible("a\ufe0f"), "U+FE0F");
  EXPECT_EQ(first_invisible("1\ufe0f"), "U+FE0F") << "no keycap";
  EXPECT_EQ(first_invisible("\xff\xfe ann"), "") << "no UTF-8 is another complaint";
}

TEST(Invisible, ATextNeedsSomethingToSee) {
  EXPECT_FALSE(has_visible(" "));
  EXPECT_FALSE(has_visible("\t \n\u00a0\u3000\u200b\ufeff"));
  EXPECT_FALSE(has_visible(""));
  EXPECT_TRUE(has_visible(" x"));
  EXPECT_TRUE(has_visible("世"));
  EXPECT_TRUE(has_visible("👋"));
}

TEST(Invisible, NewNamesAndRoomsAreRefusedFromRules2OnAndOldRoomsStayInUse) {
  Log log{.machine = Machine(rules_released), .rows = {}};
  const auto s = log.open(1);
  const std::string odd = "o\u200bps";
  ASSERT_EQ(log.one(post(s, 1, "x", odd)).verdict, Verdict::done) << "rules 1 took it";
  ASSERT_EQ(log.one(post(s, 2, " ")).verdict, Verdict::done);
  log.apply(make_rules_decree(2));
  EXPECT_EQ(log.one(post(s, 3, "y", odd)).verdict, Verdict::done) << "it is there already";
  EXPECT_EQ(log.one(post(s, 4, "y", "d\u200bev")).verdict, Verdict::invalid);
  EXPECT_EQ(log.one(post(s, 5, " ")).verdict, Verdict::invalid);
  Command named = post(s, 6, "y");
  std::get<Post>(named.operation).name = "an\u00adn";
  EXPECT_EQ(log.one(named).verdict, Verdict::invalid);
  EXPECT_EQ(log.machine.room_head("d\u200bev"), 0u);
}

}  // namespace
}  // namespace chat::test
