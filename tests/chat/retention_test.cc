#include "chat/retention.h"

#include <gtest/gtest.h>

#include "chat/forgetter.h"
#include "chat/redaction.h"
#include "chat/redactor.h"
#include "chat/rooms.h"
#include "chat/rows.h"
#include "chat/wire.h"
#include "tests/chat/desk_fixture.h"
#include "tests/chat/fixture.h"

namespace chat::test {
namespace {

constexpr std::int64_t minute = 60'000, hour = 60 * minute, day = 24 * hour;

Command retain(const SessionId& session, std::uint64_t seq, Retain wanted) {
  if (wanted.by.empty()) wanted.by = "bob";
  return {.session = session, .seq = seq, .answered_below = seq, .operation = std::move(wanted)};
}

/// A log under rules 2 with one session; time passes as its slots say.
class RetentionTest : public testing::Test {
 protected:
  Log log;
  SessionId session;
  std::uint64_t seq = 0;

  RetentionTest() { restart({}); }
  void restart(const MachineBounds& bounds) {
    log = Log{.bounds = bounds, .machine = Machine(rules_released, bounds), .rows = {}};
    log.apply(make_rules_decree(2));
    session = log.open(1);
    seq = 0;
  }
  /// Another replica that has applied the same.
  [[nodiscard]] Log another() const {
    Log out{.bounds = log.bounds,
            .machine = Machine(rules_released, log.bounds),
            .rows = log.rows,
            .time_ms = log.time_ms};
    out.reload();
    return out;
  }
  Outcome say(const std::string& text, const std::string& room = "ops") {
    ++seq;
    return log.one(post(session, seq, text, room, seq));
  }
  Outcome rule(Retain wanted) {
    ++seq;
    return log.one(retain(session, seq, std::move(wanted)));
  }
  /// As slowly as the session clock lets it, with somebody about.
  void pass(std::int64_t ms) {
    for (; ms > 0; ms -= minute) {
      log.time_ms += std::min(ms, minute);
      ++seq;
      log.one({.session = session,
               .seq = seq,
               .answered_below = seq,
               .operation = Redact{"no such room", 1, "", ""}});
    }
  }
  [[nodiscard]] HistoryPage page(const std::string& room = "ops", std::uint64_t from = 1) const {
    auto read = read_history(log.rows, room, from, 0);
    EXPECT_TRUE(read) << read.error();
    return read.value_or(HistoryPage{});
  }
  [[nodiscard]] std::uint64_t first(const std::string& room = "ops") const {
    const HistoryPage read = page(room);
    EXPECT_EQ(read.first, log.machine.room_first(room)) << "the rows say what the machine knows";
    if (read.messages.empty())
      EXPECT_EQ(read.first, read.head + 1);
    else
      EXPECT_EQ(read.messages.front().seq, read.first);
    return read.first;
  }
  /// As storage deletes what is of no use.
  void sweep(const std::string& room, std::uint64_t keep_from) {
    const ForgottenRows gone = forgotten_rows(log.rows, room, keep_from);
    auto& rows = log.rows.rows();
    rows.erase(rows.lower_bound(gone.runs_from), rows.lower_bound(gone.runs_to));
  }
  [[nodiscard]] std::size_t runs(const std::string& room = "ops") const {
    std::size_t count = 0;
    log.rows.scan(rows::message(room, 0), rows::message(room, UINT64_MAX),
                  [&](std::string_view, std::string_view) {
                    ++count;
                    return true;
                  });
    return count;
  }
};

TEST_F(RetentionTest, ByCountTheLastSoManyStayAndNumbersGoOn) {
  for (int i = 1; i <= 10; ++i) say("text " + std::to_string(i));
  EXPECT_EQ(first(), 1u);
  const Outcome done = rule({.room = "ops", .count = 3});
  EXPECT_EQ(done.verdict, Verdict::done);
  EXPECT_EQ(done.room_seq, 8u) << "its first message from now on";
  EXPECT_EQ(first(), 8u);
  EXPECT_EQ(page().messages.size(), 3u);
  EXPECT_EQ(say("text 11").room_seq, 11u);
  EXPECT_EQ(first(), 9u);
  EXPECT_EQ(page("ops", 2).messages.front().seq, 9u);
  EXPECT_EQ(page("ops", 2).head, 11u);
  EXPECT_EQ(page("ops", 12).messages.size(), 0u);
}

TEST_F(RetentionTest, ARuleThatIsTakenBackBringsNothingBack) {
  for (int i = 1; i <= 10; ++i) say("text");
  rule({.room = "ops", .count = 3});
  EXPECT_EQ(rule({.room = "ops"}).room_seq, 8u);
  EXPECT_EQ(first(), 8u);
  for (int i = 0; i < 5; ++i) say("more");
  EXPECT_EQ(first(), 8u) << "and nothing more goes";
  log.reload();
  EXPECT_EQ(first(), 8u);
}

TEST_F(RetentionTest, ARoomsOwnRuleStandsBeforeTheOneForAll) {
  for (int i = 1; i <= 10; ++i) {
    say("text", "ops");
    say("text", "kitchen");
  }
  rule({.room = "kitchen"});  // keeps everything
  EXPECT_EQ(rule({.count = 4}).room_seq, 0u);
  EXPECT_EQ(first("ops"), 7u);
  EXPECT_EQ(first("kitchen"), 1u);
  EXPECT_EQ(rule({.room = "kitchen", .inherit = true}).room_seq, 7u);
  EXPECT_EQ(first("kitchen"), 7u);
  rule({.room = "kitchen", .count = 9});
  for (int i = 0; i < 4; ++i) say("text", "kitchen");
  EXPECT_EQ(first("kitchen"), 7u) << "eight of nine";
  say("a new room has the rule for all", "attic");
  for (int i = 0; i < 4; ++i) say("text", "attic");
  EXPECT_EQ(first("attic"), 2u);
}

TEST_F(RetentionTest, ByAgeByTheSessionClockAndNeverTooEarly) {
  say("at the start");
  rule({.room = "ops", .age_ms = 2 * day});
  pass(day);
  say("a day later");
  pass(day - 2 * minute);
  EXPECT_EQ(first(), 1u) << "not two days old yet";
  pass(3 * minute);
  EXPECT_EQ(first(), 2u);
  EXPECT_EQ(page().messages.front().text, "a day later");
  pass(2 * day);
  EXPECT_EQ(first(), 3u) << "all of it";
  EXPECT_EQ(say("on").room_seq, 3u) << "numbers never come again";
  EXPECT_EQ(first(), 3u);
}

TEST_F(RetentionTest, AProposersWrongClockForgetsNothing) {
  say("one");
  rule({.room = "ops", .age_ms = day});
  log.time_ms += 365 * day;  // one slot's stamp is a year ahead
  say("two");
  EXPECT_EQ(first(), 1u);
  log.time_ms -= 365 * day;
  for (int i = 0; i < 100; ++i) say("and back");
  EXPECT_EQ(first(), 1u);
}

TEST_F(RetentionTest, AnEighthOfItsAgeAtMostIsAMessageKeptTooLong) {
  for (int i = 0; i < 100 * 24; ++i) {
    say("text");
    log.time_ms += minute;
    if (i % 24 == 23) pass(day - 24 * minute);
  }
  // One hundred days, 24 messages at each one's begin.
  rule({.room = "ops", .age_ms = 40 * day});
  const std::uint64_t kept = 100 * 24 + 1 - first();
  EXPECT_GE(kept, 40u * 24);
  EXPECT_LE(kept, 46u * 24);
  const auto row = log.rows.get(rows::kept("ops"));
  ASSERT_TRUE(row);
  EXPECT_LT(row->size(), 512u);
}

TEST_F(RetentionTest, ShorterThanASessionLivesIsRefused) {
  say("one");
  EXPECT_EQ(rule({.room = "ops", .age_ms = day - 1}).verdict, Verdict::kept_too_short);
  EXPECT_EQ(rule({.age_ms = 1}).verdict, Verdict::kept_too_short);
  EXPECT_EQ(rule({.room = "ops", .age_ms = day}).verdict, Verdict::done);
  EXPECT_EQ(rule({.room = "attic", .count = 1}).verdict, Verdict::no_room);
  EXPECT_EQ(rule({.inherit = true}).verdict, Verdict::invalid);
  EXPECT_EQ(rule({.room = "ops", .inherit = true, .count = 2}).verdict, Verdict::invalid);
}

TEST_F(RetentionTest, IsNotKnownUnderRulesOne) {
  Log old;
  const SessionId at = old.open(1);
  old.one(post(at, 1, "one"));
  EXPECT_TRUE(old.apply(std::vector{retain(at, 2, {.room = "ops", .count = 1})}).outcomes.empty())
      << "no batch to it, as to version 0.1.0";
  EXPECT_NE(validate(retain(at, 2, {.room = "ops", .count = 1}), 1), "");
  old.rows.scan(rows::family_begin(rows::family_kept), rows::family_end(rows::family_kept),
                [](std::string_view, std::string_view) {
                  ADD_FAILURE() << "nor are there rows";
                  return false;
                });
}

TEST_F(RetentionTest, MessagesOfBeforeTheRulesWereRaisedAreAsOldAsThat) {
  Log old;
  const SessionId at = old.open(1);
  old.one(post(at, 1, "one"));
  old.time_ms += minute;
  old.apply(make_rules_decree(2));
  for (std::uint64_t n = 2; n < 30 * 60; ++n) {
    old.time_ms += minute;
    if (n == 2)
      old.one(retain(at, n, {.room = "ops", .age_ms = day}));
    else
      old.one(post(at, n, "elsewhere", "attic", n));
    if (old.machine.room_first("ops") > 1) {
      EXPECT_GE(n, 24u * 60);
      return;
    }
  }
  ADD_FAILURE() << "it never goes";
}

TEST_F(RetentionTest, AReloadedMachineForgetsTheSameInTheSameSlots) {
  MachineBounds bounds;
  bounds.journal_slots = 7;
  restart(bounds);
  Log other = another();
  for (int i = 0; i < 400; ++i) {
    log.time_ms += i % 5 == 0 ? minute : 0;
    ++seq;
    Command command =
        i % 37 == 0   ? retain(session, seq, {.count = 3 + static_cast<std::uint64_t>(i)})
        : i % 41 == 0 ? retain(session, seq, {.room = "room 1", .count = static_cast<std::uint64_t>(i) % 9})
                      : post(session, seq, "text", "room " + std::to_string(i % 6), seq);
    const auto d = decree(log.time_ms, {command});
    const Applied a = log.apply(d);
    if (i % 10 == 0) other.reload();
    const Applied b = other.apply(d);
    ASSERT_EQ(a.hash, b.hash) << i;
    ASSERT_EQ(a.rows, b.rows) << i;
  }
  EXPECT_EQ(log.rows, other.rows);
}

TEST_F(RetentionTest, WhatIsForgottenIsInTheHash) {
  for (int i = 0; i < 5; ++i) say("text");
  Log other = another();
  rule({.room = "ops", .count = 6});
  // As by a replica that has taken another rule in.
  const auto key = rows::kept("ops");
  other.apply(std::vector{retain(session, seq, {.room = "ops", .count = 6})});
  ASSERT_EQ(other.machine.hash(), log.machine.hash());
  auto row = decode_kept(other.rows.rows().at(key));
  row->rule->count = 5;
  other.rows.rows().at(key) = encode_kept(*row);
  other.reload();
  ++seq;
  const Command next = post(session, seq, "text");
  const Applied here = log.apply(std::vector{next});
  const Applied there = other.apply(std::vector{next});
  EXPECT_EQ(here.outcomes, there.outcomes);
  EXPECT_TRUE(here.kept_from.empty());
  EXPECT_EQ(there.kept_from, (std::vector<MessageName>{{"ops", 2}}));
  EXPECT_NE(here.hash, there.hash);
}

TEST_F(RetentionTest, ManyRoomsHaveTheirTurnAFewASlot) {
  MachineBounds bounds;
  bounds.rooms_looked_at = 4;
  restart(bounds);
  for (int room = 0; room < 64; ++room)
    for (int i = 0; i < 3; ++i) say("text", "room " + std::to_string(room));
  ++seq;
  std::size_t most = 0, all = 0;
  most = log.apply(std::vector{retain(session, seq, {.count = 1})}).kept_from.size();
  all = most;
  for (int slot = 0; slot < 64; ++slot) {
    const std::size_t some = log.noop().kept_from.size();
    most = std::max(most, some);
    all += some;
  }
  EXPECT_LT(most, 24u);
  EXPECT_GE(all, 64u);
  for (int room = 0; room < 64; ++room) EXPECT_EQ(first("room " + std::to_string(room)), 3u);
}

TEST_F(RetentionTest, RowsOfNoUseAreAllRunsBeforeTheOneThatIsKept) {
  for (int i = 0; i < 4; ++i) {
    std::vector<Command> three;
    for (int k = 0; k < 3; ++k) {
      ++seq;
      three.push_back(post(session, seq, "text", "ops", seq));
    }
    log.apply(three);
  }
  say("another room's", "opt");
  ASSERT_EQ(runs(), 4u);
  EXPECT_EQ(forgotten_rows(log.rows, "ops", 1).below, 0u);
  EXPECT_EQ(forgotten_rows(log.rows, "ops", 3).below, 0u) << "the first run holds it";
  EXPECT_EQ(forgotten_rows(log.rows, "ops", 4).below, 4u);
  EXPECT_EQ(forgotten_rows(log.rows, "ops", 8).below, 7u);
  EXPECT_EQ(forgotten_rows(log.rows, "ops", 12).below, 10u);
  EXPECT_EQ(forgotten_rows(log.rows, "ops", 13).below, 13u) << "none is kept";
  rule({.room = "ops", .count = 5});
  EXPECT_EQ(first(), 8u);
  const HistoryPage before = page();
  sweep("ops", first());
  EXPECT_EQ(runs(), 2u);
  EXPECT_EQ(page(), before) << "whether or not its rows are gone";
  EXPECT_EQ(forgotten_rows(log.rows, "ops", 8).below, 0u);
  EXPECT_EQ(page("opt").messages.size(), 1u);
}

TEST_F(RetentionTest, ARoomThatKeepsNothingIsListedAndKeepsItsNumbers) {
  say("one");
  say("elsewhere", "z");
  rule({.room = "ops", .age_ms = day});
  pass(day + 2 * hour);
  ASSERT_EQ(first(), 2u);
  const auto unswept = read_rooms(log.rows, {}, 0);
  sweep("ops", 2);
  ASSERT_EQ(runs(), 0u);
  EXPECT_EQ(page().head, 1u);
  const auto rooms = read_rooms(log.rows, {}, 0);
  ASSERT_TRUE(rooms);
  EXPECT_EQ(*rooms, *unswept);
  ASSERT_EQ(rooms->rooms.size(), 2u);
  EXPECT_EQ(rooms->rooms[0].name, "z");
  EXPECT_EQ(rooms->rooms[1].name, "ops");
  EXPECT_EQ(rooms->rooms[1].messages, 1u);
  EXPECT_EQ(rooms->rooms[1].first, 2u);
  EXPECT_EQ(rooms->rooms[1].last_ms, 0);
  EXPECT_EQ(rooms->rooms[1].rule->age_ms, day);
  EXPECT_EQ(read_rooms(log.rows, "ops", 1)->rooms.at(0).name, "ops");
  EXPECT_EQ(read_rooms(log.rows, {}, 1)->next, "ops");
  log.reload();
  EXPECT_EQ(say("two").room_seq, 2u);
}

TEST_F(RetentionTest, WhatIsForgottenCanNotBeRedacted) {
  for (int i = 0; i < 5; ++i) say("text");
  rule({.room = "ops", .count = 2});
  const auto redact = [&](std::uint64_t of) {
    ++seq;
    return log.one(
        {.session = session, .seq = seq, .answered_below = seq, .operation = Redact{"ops", of, "bob", ""}});
  };
  EXPECT_EQ(redact(3).verdict, Verdict::forgotten);
  EXPECT_EQ(redact(4).verdict, Verdict::done);
  EXPECT_EQ(redact(6).verdict, Verdict::no_message);
}

TEST_F(RetentionTest, ARedactionThatCameBeforeIsCarriedOutFirst) {
  Redactor redactor({});
  for (int i = 0; i < 3; ++i) say("text");
  ++seq;
  Applied applied = log.apply(std::vector<Command>{
      {.session = session, .seq = seq, .answered_below = seq, .operation = Redact{"ops", 1, "bob", ""}}});
  redactor.on_applied(applied);
  EXPECT_EQ(redactor.first_waiting("ops"), 1u);
  EXPECT_EQ(redactor.first_waiting("op"), UINT64_MAX);
  Forgetter forgetter({});
  forgetter.on_applied({{"ops", 3}});
  const auto waiting = [&](const std::string& room) { return redactor.first_waiting(room); };
  const paxos::Time now{std::chrono::seconds{100}};
  EXPECT_EQ(forgetter.next(now, waiting), (std::vector<MessageName>{{"ops", 1}}))
      << "its place is still needed";
  auto plan = redactor.next_plan(now);
  ASSERT_TRUE(plan);
  EXPECT_EQ(redactor.first_waiting("ops"), 1u) << "while it is looked for";
  plan->complete = true;
  static_cast<void>(redactor.planned(now, *plan, log.machine.applied()));
  redactor.placed(1);
  redactor.synced(1);
  static_cast<void>(redactor.next_erasure());
  static_cast<void>(redactor.erased(now, plan->token, ""));
  EXPECT_EQ(redactor.first_waiting("ops"), UINT64_MAX);
  EXPECT_TRUE(forgetter.next(now, waiting).empty()) << "not all the time";
  EXPECT_EQ(forgetter.next(forgetter.deadline(), waiting), (std::vector<MessageName>{{"ops", 3}}));
  EXPECT_EQ(forgetter.deadline(), paxos::time_never);
}

TEST_F(RetentionTest, AForgottenMessagesLaterCopiesAreFoundByWhereItStood) {
  say("secret");
  say("two");
  sweep("ops", 2);
  rule({.room = "ops", .count = 1});
  const LogReader none{.entries = [](paxos::Slot, paxos::Slot,
                                     std::size_t) -> tl::expected<std::vector<paxos::LogEntry>, std::string> {
                         return std::vector<paxos::LogEntry>{};
                       },
                       .first = [] { return paxos::Slot{UINT64_MAX}; }};
  ErasePlan plan;
  plan.targets.push_back({.message = {"ops", 1}, .scan_from = {}, .place = {}});
  for (int i = 0; i < 100 && !plan.complete && plan.fault.empty(); ++i) advance(plan, log.rows, none);
  EXPECT_EQ(plan.fault, "");
  EXPECT_TRUE(plan.complete) << "there is nothing left of it, and nothing to do";
  ErasePlan known;
  known.targets.push_back({.message = {"ops", 1},
                           .scan_from = {},
                           .place = {.slot = {3}, .index = 0, .session = session, .client_seq = 1}});
  for (int i = 0; i < 100 && !known.complete && known.fault.empty(); ++i) advance(known, log.rows, none);
  EXPECT_TRUE(known.complete);
  EXPECT_EQ(known.slots, (std::vector<paxos::Slot>{{3}}));
}

TEST_F(RetentionTest, DamagedRowsAreNamed) {
  for (int i = 0; i < 5; ++i) say("text");
  rule({.room = "ops", .count = 2});
  rule({.count = 7});
  const MapRows whole = log.rows;
  const auto spoil = [&](const std::string& key, const std::function<void(std::string&)>& how) {
    log = Log{.machine = Machine(rules_released), .rows = whole};
    how(log.rows.rows().find(key)->second);
    const auto loaded = Machine::load(log.rows);
    EXPECT_FALSE(loaded);
    return loaded ? std::string() : loaded.error();
  };
  EXPECT_NE(spoil(rows::kept("ops"), [](std::string& row) { row.pop_back(); }).find("keeps"),
            std::string::npos);
  EXPECT_NE(spoil(rows::kept("ops"), [](std::string& row) { row[1] = 99; }).find("keeps"), std::string::npos)
      << "it begins behind the room's end";
  EXPECT_NE(spoil(rows::kept({}), [](std::string& row) { row += 'x'; }).find("all rooms keep"),
            std::string::npos);
  EXPECT_FALSE(read_history(log.rows, "ops", 1, 0) && read_rule_for_all(log.rows));
}

TEST(RoomMarks, ThinOutWithTheirAge) {
  RoomMarks marks;
  std::uint64_t next = 1;
  const std::int64_t years = 10 * 365 * day;
  for (std::int64_t clock = 1; clock < years; clock += hour) marks.note(clock, ++next, hour);
  EXPECT_LT(marks.all().size(), 130u);
  for (std::size_t i = 1; i < marks.all().size(); ++i) {
    const RoomMark& a = marks.all()[i - 1];
    const RoomMark& b = marks.all()[i];
    EXPECT_LT(a.clock_ms, b.clock_ms);
    EXPECT_LT(a.seq, b.seq);
    EXPECT_LE(b.clock_ms - a.clock_ms, std::max(2 * hour, (years - b.clock_ms) / 8 + 2 * hour));
  }
  EXPECT_FALSE(marks.note(years + 2 * hour, next, hour)) << "nothing came since";
  RoomMarks again;
  EXPECT_TRUE(again.restore(marks.all()));
  EXPECT_EQ(again.all(), marks.all());
  EXPECT_FALSE(again.restore({{5, 5}, {4, 6}}));
}

TEST(RetentionDesk, TellsReadersAndFollowersWhatIsGone) {
  Office office;
  office.log.apply(make_rules_decree(2));
  const SessionId session = office.open(1);
  for (std::uint64_t n = 1; n <= 5; ++n) office.decide({post(session, n, "text", "ops", n)});
  office.decide({retain(session, 6, {.room = "ops", .count = 2})});
  (void)office.replies();
  office.send(2,
              HistoryRequest{
                  .id = 1, .room = "ops", .from = 1, .last = 0, .limit = limit_wants_stamps, .local = true});
  office.send(2, FollowRequest{.id = 2, .room = "ops", .from = 1, .wait_ms = 1000 | wait_wants_stamps});
  office.send(2, FollowRequest{.id = 3, .room = "ops", .from = 0, .wait_ms = 1000 | wait_wants_stamps});
  auto replies = office.replies_of<HistoryReply>();
  ASSERT_EQ(replies.size(), 3u);
  for (const auto& [to, reply] : replies) {
    EXPECT_EQ(reply.page.first, 4u);
    EXPECT_EQ(reply.page.head, 5u);
    if (reply.id != 3) {
      ASSERT_EQ(reply.page.messages.size(), 2u);
      EXPECT_EQ(reply.page.messages[0].seq, 4u);
    }
  }
  office.send(2, HistoryRequest{.id = 4, .room = "ops", .from = 1, .last = 0, .limit = 0, .local = true});
  replies = office.replies_of<HistoryReply>();
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].second.page.first, 1u) << "it reads no such reply";
  office.send(2, FollowRequest{.id = 5, .room = "ops", .from = 6, .wait_ms = 1000 | wait_wants_stamps});
  office.decide({post(session, 7, "text", "ops", 7)});
  replies = office.replies_of<HistoryReply>();
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].second.page.first, 5u) << "straight from the slot";
}

TEST(RetentionWire, RepliesSayWhatIsForgottenToThoseWhoReadIt) {
  HistoryReply reply{
      .id = 7, .refused = {}, .page = {.messages = {}, .next = 0, .head = 9, .first = 10}, .applied = {3}};
  const auto there_and_back = [](const ClientReply& said) {
    std::string bytes;
    encode(bytes, said);
    return decode_client_reply(paxos::Bytes::from(std::move(bytes)));
  };
  EXPECT_EQ(*there_and_back(reply), ClientReply{reply});
  reply.page.messages.push_back({.room = "ops",
                                 .seq = 10,
                                 .slot = {2},
                                 .index = 0,
                                 .name = "ann",
                                 .session = {{1}, 0},
                                 .client_seq = 1,
                                 .time_ms = 5,
                                 .text = "hello"});
  reply.page.head = 10;
  EXPECT_EQ(*there_and_back(reply), ClientReply{reply});
  RoomsReply rooms{.id = 1, .refused = {}, .page = {}, .applied = {3}};
  rooms.page.for_all = {.count = 5, .age_ms = day, .time_ms = 77, .by = "bob"};
  rooms.page.rooms.push_back({.name = "ops",
                              .messages = 9,
                              .last_ms = 5,
                              .topic = {},
                              .topic_by = {},
                              .topic_ms = 0,
                              .first = 4,
                              .rule = RetentionRule{.count = 6, .age_ms = 0, .time_ms = 3, .by = "ann"}});
  EXPECT_EQ(*there_and_back(rooms), ClientReply{rooms});
}

TEST(RetentionCommand, HasOneEncoding) {
  for (const Retain& wanted : {Retain{.room = "ops", .count = 5, .age_ms = day, .by = "bob"},
                               Retain{.room = "ops", .inherit = true}, Retain{.count = 1}, Retain{}}) {
    const Command command{.session = {{4}, 2}, .seq = 3, .answered_below = 1, .operation = wanted};
    const auto back = decode_command(encode(command).span());
    ASSERT_TRUE(back) << back.error();
    EXPECT_EQ(*back, command);
    EXPECT_EQ(validate(command, 2), "");
  }
}

}  // namespace
}  // namespace chat::test
