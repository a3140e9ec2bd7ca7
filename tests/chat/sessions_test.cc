// One test per rule of DESIGN.md section 4, "Sessions" and "Time".

#include "chat/sessions.h"

#include <gtest/gtest.h>

#include "chat/rows.h"
#include "tests/chat/fixture.h"

namespace chat::test {
namespace {

constexpr std::int64_t day_ms = 24LL * 3600 * 1000;

// "A session's id is the (slot, index) of its open command, so that a replayed open can never run a message
// again."
TEST(Session, IsNamedByThePlaceOfItsOpen) {
  Log log;
  log.noop();
  const Applied a = log.apply({open_command(1), open_command(2)});
  EXPECT_EQ(a.outcomes[0].session, (SessionId{{2}, 0}));
  EXPECT_EQ(a.outcomes[1].session, (SessionId{{2}, 1}));
}

// "a second open with the nonce of a live session answers that same session" (command.h)
TEST(Session, OpenedTwiceWithOneNonceIsTheSame) {
  Log log;
  const SessionId first = log.open(1);
  const Outcome again = log.one(open_command(1));
  EXPECT_EQ(again.verdict, Verdict::repeat);
  EXPECT_EQ(again.session, first);
  EXPECT_EQ(again.slot, first.slot);
  EXPECT_EQ(log.machine.sessions(), 1u);
}

TEST(Session, ReplayedOpenOfAClosedOneGivesANewOneThatKnowsNoMessage) {
  Log log;
  const SessionId first = log.open(1);
  log.one(post(first, 1, "hello"));
  log.one(close_command(first, 2));
  const Outcome replayed = log.one(open_command(1));
  EXPECT_EQ(replayed.verdict, Verdict::done);
  EXPECT_NE(replayed.session, first);
  EXPECT_EQ(log.one(post(first, 1, "hello")).verdict, Verdict::session_unknown);
  EXPECT_EQ(log.machine.room_head("ops"), 1u);
}

// "Applying: last + 1 runs"
TEST(Session, RunsItsCommandsInOrder) {
  Log log;
  const SessionId s = log.open(1);
  const Outcome first = log.one(post(s, 1, "a"));
  EXPECT_EQ(first.verdict, Verdict::done);
  EXPECT_EQ(first.room_seq, 1u);
  EXPECT_EQ(log.one(post(s, 2, "b")).room_seq, 2u);
}

// "a repeat gets its stored answer"
TEST(Session, RepeatGetsTheStoredAnswerAndRunsNothing) {
  Log log;
  const SessionId s = log.open(1);
  const Outcome first = log.one(post(s, 1, "a"));
  log.time_ms += 5000;
  log.one(post(s, 2, "b"));
  Outcome again = log.one(post(s, 1, "a"));
  EXPECT_EQ(again.verdict, Verdict::repeat);
  again.verdict = Verdict::done;
  EXPECT_EQ(again, first);
  EXPECT_EQ(log.machine.room_head("ops"), 2u);
}

TEST(Session, RepeatInTheSameSlotRunsOnce) {
  Log log;
  const SessionId s = log.open(1);
  const Applied a = log.apply({post(s, 1, "a"), post(s, 1, "a")});
  EXPECT_EQ(a.outcomes[0].verdict, Verdict::done);
  EXPECT_EQ(a.outcomes[1].verdict, Verdict::repeat);
  EXPECT_EQ(a.outcomes[1].index, 0u);
  EXPECT_EQ(log.machine.room_head("ops"), 1u);
}

// "a repeat with another hash is refused (session in use elsewhere)"
TEST(Session, RepeatWithOtherContentIsAConflict) {
  Log log;
  const SessionId s = log.open(1);
  log.one(post(s, 1, "a"));
  EXPECT_EQ(log.one(post(s, 1, "b")).verdict, Verdict::conflict);
  EXPECT_EQ(log.one(post(s, 1, "a", "elsewhere")).verdict, Verdict::conflict);
  EXPECT_EQ(log.one(close_command(s, 1)).verdict, Verdict::conflict);
  EXPECT_EQ(log.machine.room_head("ops"), 1u);
  EXPECT_EQ(log.machine.room_head("elsewhere"), 0u);
  EXPECT_EQ(log.machine.sessions(), 1u);
}

// "below the answered mark it is delivered, receipt gone"
TEST(Session, RepeatBelowTheAnsweredMarkIsDeliveredWithoutReceipt) {
  Log log;
  const SessionId s = log.open(1);
  log.one(post(s, 1, "a"));
  log.one(post(s, 2, "b", "ops", 2));
  EXPECT_EQ(log.one(post(s, 1, "a")).verdict, Verdict::receipt_gone);
  EXPECT_EQ(log.one(post(s, 2, "b")).verdict, Verdict::repeat);
}

TEST(Session, AnsweredMarkNeverGoesBack) {
  Log log;
  const SessionId s = log.open(1);
  log.one(post(s, 1, "a"));
  log.one(post(s, 2, "b", "ops", 2));
  log.one(post(s, 3, "c", "ops", 0));
  EXPECT_EQ(log.one(post(s, 1, "a")).verdict, Verdict::receipt_gone);
}

TEST(Session, AnsweredMarkAboveWhatRanIsCut) {
  Log log;
  const SessionId s = log.open(1);
  log.one(post(s, 1, "a"));
  EXPECT_EQ(log.one(post(s, 9, "i", "ops", 9)).verdict, Verdict::early);
  EXPECT_EQ(log.one(post(s, 2, "b")).verdict, Verdict::done);
  EXPECT_EQ(log.one(post(s, 2, "b")).verdict, Verdict::repeat);
}

// "above last + 1 it changes nothing"
TEST(Session, EarlyCommandChangesNothing) {
  Log log;
  const SessionId s = log.open(1);
  EXPECT_EQ(log.one(post(s, 2, "b")).verdict, Verdict::early);
  EXPECT_EQ(log.machine.room_head("ops"), 0u);
  EXPECT_EQ(log.machine.session(s)->last_seq, 0u);
  EXPECT_EQ(log.one(post(s, 1, "a")).room_seq, 1u);
  EXPECT_EQ(log.one(post(s, 2, "b")).room_seq, 2u);
}

// "At most 256 outstanding per session."
TEST(Session, KeepsNoMoreThan256UnansweredCommands) {
  Log log;
  const SessionId s = log.open(1);
  std::vector<Command> commands;
  for (std::uint64_t n = 1; n <= limits::outstanding_max; ++n) commands.push_back(post(s, n, "x"));
  for (const Outcome& o : log.apply(commands).outcomes) EXPECT_EQ(o.verdict, Verdict::done);
  const std::uint64_t next = limits::outstanding_max + 1;
  EXPECT_EQ(log.one(post(s, next, "x")).verdict, Verdict::early);
  EXPECT_EQ(log.one(post(s, next, "x", "ops", 2)).verdict, Verdict::done);
  EXPECT_EQ(log.one(post(s, 2, "x")).verdict, Verdict::repeat);
}

TEST(Session, ClosedOneIsUnknownToEverythingAfter) {
  Log log;
  const SessionId s = log.open(1);
  const Applied a = log.apply({post(s, 1, "a"), close_command(s, 2), post(s, 3, "c")});
  EXPECT_EQ(a.outcomes[1].verdict, Verdict::done);
  EXPECT_EQ(a.outcomes[2].verdict, Verdict::session_unknown);
  EXPECT_EQ(log.one(close_command(s, 2)).verdict, Verdict::session_unknown);
  EXPECT_EQ(log.machine.sessions(), 0u);
}

TEST(Session, NeverOpenedIsUnknown) {
  Log log;
  EXPECT_EQ(log.one(post({{77}, 3}, 1, "a")).verdict, Verdict::session_unknown);
}

TEST(Session, RefusedContentTakesItsSeqAndKeepsItsRefusal) {
  Log log;
  const SessionId s = log.open(1);
  const std::string bad = "\xff";
  EXPECT_EQ(log.one(post(s, 1, bad)).verdict, Verdict::invalid);
  EXPECT_EQ(log.one(post(s, 1, bad)).verdict, Verdict::invalid);
  EXPECT_EQ(log.one(post(s, 1, "good")).verdict, Verdict::conflict);
  EXPECT_EQ(log.one(post(s, 2, "good")).verdict, Verdict::done);
  EXPECT_EQ(log.machine.room_head("ops"), 1u);
}

// "A full table evicts the longest idle."
TEST(Session, FullTableEvictsTheLongestIdle) {
  Log log;
  std::vector<SessionId> ids;
  for (std::size_t at = 0; at < limits::sessions_max;) {
    std::vector<Command> opens;
    for (std::size_t k = 0; k < 2000; ++k) opens.push_back(open_command(++at));
    for (const Outcome& o : log.apply(opens).outcomes) ids.push_back(o.session);
  }
  ASSERT_EQ(log.machine.sessions(), limits::sessions_max);
  log.one(post(ids[0], 1, "still here"));
  log.open(999'999);
  EXPECT_EQ(log.machine.sessions(), limits::sessions_max);
  EXPECT_TRUE(log.machine.session(ids[0]));
  EXPECT_FALSE(log.machine.session(ids[1]));
  EXPECT_TRUE(log.machine.session(ids[2]));
}

// bounds.h, answers_max
TEST(Session, StoredAnswersOfAllAreBoundedByEvictingTheLongestIdle) {
  Log log;
  const SessionId fresh = log.open(1);
  // A million commands would take long to run: their sessions come from rows.
  const std::uint32_t count = limits::answers_max / limits::outstanding_max;
  for (std::uint32_t i = 0; i < count; ++i) {
    Session session;
    session.nonce = nonce(1000 + i);
    session.last_seq = limits::outstanding_max;
    session.active_ms = log.machine.clock_ms();
    session.active_index = i;
    for (std::size_t k = 0; k < limits::outstanding_max; ++k) session.answers.push({});
    std::string value(1, static_cast<char>(rows::row_version));
    encode_session(value, session);
    log.rows.rows()[rows::session({{1}, i + 1})] = value;
  }
  log.reload();
  ASSERT_EQ(log.machine.sessions(), count + 1);
  log.one(post({{1}, count}, limits::outstanding_max + 1, "one for one", "ops", 2));
  EXPECT_EQ(log.machine.sessions(), count + 1);
  log.one(post(fresh, 1, "one more"));
  EXPECT_EQ(log.machine.session(fresh)->last_seq, 1u);
  EXPECT_EQ(log.machine.sessions(), count);
  EXPECT_FALSE(log.machine.session({{1}, 1}));
  EXPECT_TRUE(log.machine.session({{1}, 2}));
}

// --- "Time" ---

// "Expiry uses a session clock that advances per slot by at most 60 s …"
TEST(SessionClock, AdvancesByAtMost60SecondsASlot) {
  Log log;
  log.open(1);
  const std::int64_t before = log.machine.clock_ms();
  log.time_ms += 3 * day_ms;
  log.apply(std::vector<Command>{});
  EXPECT_EQ(log.machine.clock_ms(), before + limits::clock_step_max_ms);
  log.time_ms += 5;
  log.apply(std::vector<Command>{});
  EXPECT_EQ(log.machine.clock_ms(), before + limits::clock_step_max_ms + 5);
}

// "… and never back"
TEST(SessionClock, NeverGoesBack) {
  Log log;
  log.open(1);
  const std::int64_t before = log.machine.clock_ms();
  log.time_ms -= day_ms;
  log.apply(std::vector<Command>{});
  EXPECT_EQ(log.machine.clock_ms(), before);
}

TEST(SessionClock, IsNotMovedByNoops) {
  Log log;
  log.open(1);
  const std::int64_t before = log.machine.clock_ms();
  for (int i = 0; i < 100; ++i) log.noop();
  EXPECT_EQ(log.machine.clock_ms(), before);
}

// "one wrong clock expires nobody"
TEST(SessionClock, OneStampFarAheadExpiresNobodyHoweverManySlotsFollow) {
  Log log;
  const SessionId s = log.open(1);
  const std::int64_t right = log.time_ms;
  log.time_ms = right + 365 * day_ms;
  log.apply(std::vector<Command>{});
  log.time_ms = right;
  for (int i = 0; i < 5000; ++i) {
    log.time_ms += 2;
    log.apply(std::vector<Command>{});
  }
  EXPECT_TRUE(log.machine.session(s));
  EXPECT_LE(log.machine.clock_ms(), right + limits::clock_step_max_ms + 5000 * 2);
}

TEST(SessionClock, TakesAnyStampWithoutOverflow) {
  Log log;
  for (const std::int64_t stamp : {INT64_MAX, INT64_MIN, std::int64_t{-1}, INT64_MAX, std::int64_t{0}}) {
    log.time_ms = stamp;
    log.apply({open_command(static_cast<std::uint64_t>(stamp))});
  }
  EXPECT_GE(log.machine.clock_ms(), 0);
}

TEST(SessionClock, ExpiresWhoWasIdleForADayAndNobodyElse) {
  Log log;
  const SessionId idle = log.open(1);
  const SessionId busy = log.open(2);
  std::uint64_t seq = 0;
  for (std::int64_t passed = 0; passed <= day_ms; passed += limits::clock_step_max_ms) {
    EXPECT_TRUE(log.machine.session(idle)) << passed;
    log.time_ms += limits::clock_step_max_ms;
    ++seq;
    log.one(post(busy, seq, "x", "ops", seq));
  }
  EXPECT_FALSE(log.machine.session(idle));
  EXPECT_TRUE(log.machine.session(busy));
  EXPECT_EQ(log.one(post(idle, 1, "too late")).verdict, Verdict::session_unknown);
}

// Issue 10, point 6: a bound counts what is really held. 100,000 sessions that had 256 answers each, one
// after the other, held 10 KB each for ever: a gigabyte, with next to no answers in it.
TEST(Answers, HoldNoMoreMemoryThanWhatIsStoredCallsFor) {
  SessionTable table;
  constexpr std::uint32_t count = 2000;
  const auto most = [](const SessionTable& t) {
    return (2 * t.answers() + (Answers::capacity_min + 1) * t.size()) * sizeof(StoredAnswer);
  };
  for (std::uint32_t i = 0; i < count; ++i) {
    Session fresh;
    fresh.id = {{1}, i};
    fresh.nonce = nonce(i);
    Session& session = table.insert(std::move(fresh));
    for (std::size_t k = 0; k < limits::outstanding_max; ++k) table.answer(session, {.content = k});
    EXPECT_LE(table.answer_bytes(), most(table));
    table.answered(session, session.last_seq + 1);
    EXPECT_EQ(session.answers.size(), 0u);
  }
  EXPECT_EQ(table.answers(), 0u);
  EXPECT_LE(table.answer_bytes(), count * Answers::capacity_min * sizeof(StoredAnswer));
  for (std::uint32_t i = 0; i < count; ++i) table.erase({{1}, i});
  EXPECT_EQ(table.answer_bytes(), 0u);
}

TEST(Answers, AreTheLatestOnesInOrderWhateverComesAndGoes) {
  Answers answers;
  std::vector<std::uint64_t> model;
  std::uint64_t next = 0;
  std::uint64_t dice = 1;
  for (int i = 0; i < 20'000; ++i) {
    dice = dice * 6364136223846793005ULL + 1442695040888963407ULL;
    const std::size_t roll = dice >> 40;
    if (roll % 3 != 0 && model.size() < limits::outstanding_max) {
      answers.push({.content = next});
      model.push_back(next++);
    } else {
      const std::size_t gone = model.empty() ? 0 : roll % (model.size() + 1);
      answers.drop_front(gone);
      model.erase(model.begin(), model.begin() + static_cast<std::ptrdiff_t>(gone));
    }
    ASSERT_EQ(answers.size(), model.size());
    ASSERT_LE(answers.bytes_held(),
              std::max(Answers::capacity_min, 2 * model.size() + 1) * sizeof(StoredAnswer));
    for (std::size_t k = 0; k < model.size(); ++k) ASSERT_EQ(answers.view()[k].content, model[k]);
  }
}

}  // namespace
}  // namespace chat::test
