// Rows rebuild the machine exactly: DESIGN.md section 5, "applied slot, hash and data move together".

#include <gtest/gtest.h>

#include <random>

#include "chat/rows.h"
#include "chat/sessions.h"
#include "tests/chat/fixture.h"

namespace chat::test {
namespace {

/// Commands as clients, confused clients and hostile ones would send them.
class RandomTraffic {
 public:
  explicit RandomTraffic(std::uint64_t seed) : random_(seed) {}

  paxos::Decree next() {
    if (chance(20)) return {};
    if (chance(60)) return {paxos::DecreeKind::commands, paxos::Bytes::copy_of("not a batch at all")};
    switch (below(4)) {
      case 0:
        time_ms_ += 3'600'000;
        break;
      case 1:
        time_ms_ -= 7'200'000;
        break;
      default:
        time_ms_ += static_cast<std::int64_t>(below(2000));
    }
    std::vector<Command> commands;
    for (std::size_t n = 1 + below(6); n > 0; --n) commands.push_back(command());
    return decree(time_ms_, commands);
  }
  void learn(const Applied& applied) {
    for (std::size_t i = 0; i < applied.commands.size(); ++i)
      if (std::holds_alternative<Open>(applied.commands[i].operation))
        sessions_.push_back(applied.outcomes[i].session);
    if (sessions_.size() > 40) sessions_.erase(sessions_.begin(), sessions_.begin() + 10);
  }

 private:
  Command command() {
    if (sessions_.empty() || chance(6)) return open_command(below(2000));
    const SessionId session = sessions_[below(sessions_.size())];
    std::uint64_t& seq = seqs_[session];
    if (chance(25)) return close_command(session, seq + 1);
    std::uint64_t n = ++seq;
    if (chance(5)) n = 1 + below(seq);
    if (chance(8)) n += below(4);
    const std::uint64_t answered = chance(2) ? n : below(n + 1);
    std::string text(1 + below(40), static_cast<char>('a' + below(26)));
    if (chance(40)) text.push_back('\0');
    return post(session, n, std::move(text), "room-" + std::to_string(below(9)), answered);
  }
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_() % n); }
  bool chance(std::size_t one_in) { return below(one_in) == 0; }

  std::mt19937_64 random_;
  std::int64_t time_ms_ = 1'795'000'000'000;
  std::vector<SessionId> sessions_;
  std::map<SessionId, std::uint64_t> seqs_;
};

std::vector<Command> commands_of(const Applied& applied) {
  std::vector<Command> out;
  for (const CommandView& command : applied.commands) out.push_back(to_command(command));
  return out;
}

void expect_same(const Applied& a, const Applied& b) {
  ASSERT_EQ(a.slot, b.slot);
  ASSERT_EQ(a.hash, b.hash);
  ASSERT_EQ(a.noop, b.noop);
  ASSERT_EQ(commands_of(a), commands_of(b));
  ASSERT_EQ(a.outcomes, b.outcomes);
  ASSERT_EQ(a.rows, b.rows);
}

/// Runs one machine through, and another that starts anew from its rows about every `every` slots.
/// `raise_at`: the slot that raises the rules from 1 to 2; 0: none does. `ring`: slots in the journal.
void run(std::uint64_t seed, std::size_t slots, std::uint64_t every, std::map<Verdict, std::size_t>& seen,
         std::uint64_t raise_at = 0, std::uint64_t ring = rows::journal_slots) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  RandomTraffic traffic(seed);
  std::mt19937_64 random(seed + 1);
  const MachineBounds bounds{.journal_slots = ring};
  Log through{bounds}, restarted{bounds};
  for (std::size_t i = 0; i < slots; ++i) {
    if (random() % every == 0) {
      ASSERT_NO_THROW(restarted.reload());
      ASSERT_EQ(restarted.machine.applied(), through.machine.applied());
      ASSERT_EQ(restarted.machine.hash(), through.machine.hash());
      ASSERT_EQ(restarted.machine.sessions(), through.machine.sessions());
      ASSERT_EQ(restarted.machine.rooms(), through.machine.rooms());
      ASSERT_EQ(restarted.machine.clock_ms(), through.machine.clock_ms());
    }
    const paxos::Decree next = i + 1 == raise_at ? make_rules_decree(2) : traffic.next();
    const Applied a = through.apply(next);
    const Applied b = restarted.apply(next);
    expect_same(a, b);
    if (testing::Test::HasFatalFailure()) return;
    traffic.learn(a);
    for (const Outcome& o : a.outcomes) ++seen[o.verdict];
  }
  EXPECT_EQ(through.rows, restarted.rows);
}

TEST(Reload, GivesTheSameOutcomesRowsAndHashesForEver) {
  std::map<Verdict, std::size_t> seen;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) run(seed, 300, 7, seen);
  // All that can happen did, but for 65,536 rooms.
  for (Verdict v : {Verdict::done, Verdict::repeat, Verdict::conflict, Verdict::receipt_gone, Verdict::early,
                    Verdict::session_unknown, Verdict::invalid})
    EXPECT_GT(seen[v], 0u) << to_string(v);
}

TEST(Reload, GivesTheSameAfterTheJournalHasGoneRoundTwice) {
  std::map<Verdict, std::size_t> seen;
  run(100, 3 * rows::journal_slots, 1500, seen);
  run(101, 3 * rows::journal_slots, 1500, seen, 1);
}

// From rules 2 on the journal says what slots changed, and a session's row is the base of what is in it.
TEST(Reload, GivesTheSameAtAnySlotOfAJournalThatGoesRoundAgainAndAgain) {
  std::map<Verdict, std::size_t> seen;
  for (std::uint64_t ring : {1u, 2u, 3u, 7u, 16u, 64u}) {
    SCOPED_TRACE("ring of " + std::to_string(ring));
    for (std::uint64_t seed = 1; seed <= 4; ++seed) run(200 + seed, 400, 1 + seed / 2, seen, 1, ring);
  }
  for (Verdict v : {Verdict::done, Verdict::repeat, Verdict::conflict, Verdict::receipt_gone, Verdict::early,
                    Verdict::session_unknown})
    EXPECT_GT(seen[v], 0u) << to_string(v);
}

// Rows of both kinds in one ring: what rules 1 left, and changes that go on from it.
TEST(Reload, GivesTheSameWhereTheRulesAreRaisedInTheMiddleOfTheJournal) {
  std::map<Verdict, std::size_t> seen;
  for (std::uint64_t ring : {1u, 5u, 32u, 128u, 4096u})
    for (std::uint64_t raise_at : {2u, 60u, 130u}) {
      SCOPED_TRACE("ring of " + std::to_string(ring) + ", raised at " + std::to_string(raise_at));
      run(300 + raise_at, 320, 2, seen, raise_at, ring);
    }
}

std::map<paxos::Slot, std::size_t> rows_of(const SessionId& id, Log& log, std::size_t slots,
                                           const std::function<std::vector<Command>()>& next) {
  std::map<paxos::Slot, std::size_t> out;
  for (std::size_t i = 0; i < slots; ++i) {
    const Applied applied = log.apply(next());
    for (const Row& row : applied.rows)
      if (row.key == rows::session(id)) ++out[applied.slot];
  }
  return out;
}

TEST(Journal, ASessionThatIsAlwaysBusyGetsARowOnceARound) {
  Log log{MachineBounds{.journal_slots = 32}};
  log.apply(make_rules_decree(2));
  const SessionId session = log.open(1);
  std::uint64_t n = 0;
  const auto written = rows_of(session, log, 320, [&] {
    ++n;
    return std::vector{post(session, n, "x", "ops", n)};
  });
  EXPECT_EQ(written.size(), 10u);
  // An idle one gets one, and no more.
  const auto idle = rows_of(session, log, 320, [&] { return std::vector{open_command(2)}; });
  EXPECT_EQ(idle.size(), 1u);
}

TEST(Journal, TheRowsOfSessionsThatAreTouchedTogetherAreSpread) {
  Log log{MachineBounds{.journal_slots = 256}};
  log.apply(make_rules_decree(2));
  std::vector<Command> opens;
  for (std::uint64_t n = 1; n <= 512; ++n) opens.push_back(open_command(n));
  std::size_t most = 0, all = 0;
  for (int slot = 0; slot < 256; ++slot) {
    std::size_t here = 0;
    for (const Row& row : (slot == 0 ? log.apply(opens) : log.noop()).rows)
      here += row.key[0] == rows::family_session;
    most = std::max(most, here);
    all += here;
  }
  EXPECT_EQ(all, 512u);
  EXPECT_LE(most, 12u) << "two on average";
}

// Issue 12: 64 sessions with 64 outstanding messages each wrote 57 KB a slot, again and again the same
// answers.
TEST(Journal, SaysWhatASlotChangedHoweverManyAnswersItsSessionsKeep) {
  Log log;
  log.apply(make_rules_decree(2));
  std::vector<SessionId> sessions;
  for (std::uint64_t n = 1; n <= 64; ++n) sessions.push_back(log.open(n));
  std::size_t largest = 0;
  for (std::uint64_t seq = 1; seq <= 64; ++seq) {
    std::vector<Command> commands;
    for (const SessionId& session : sessions) commands.push_back(post(session, seq, "hello"));
    for (const Row& row : log.apply(commands).rows)
      if (row.key[0] == rows::family_journal) largest = std::max(largest, row.value->size());
  }
  EXPECT_LE(largest, 64u * 32u);
}

TEST(Reload, OfAnEmptyStoreStandsAtSlotZero) {
  const auto machine = Machine::load(MapRows());
  ASSERT_TRUE(machine);
  EXPECT_EQ(machine->applied(), paxos::Slot{0});
  EXPECT_EQ(machine->hash(), paxos::Hash{});
}

TEST(Reload, OfASessionThatLeftTheJournalKeepsItsAnswers) {
  Log log;
  const SessionId session = log.open(1);
  const Outcome first = log.one(post(session, 1, "hello"));
  for (std::uint64_t i = 0; i < rows::journal_slots + 1; ++i) log.noop();
  EXPECT_TRUE(log.rows.get(rows::session(session)));
  EXPECT_TRUE(log.rows.get(rows::room("ops")));
  log.reload();
  const Outcome again = log.one(post(session, 1, "hello"));
  EXPECT_EQ(again.verdict, Verdict::repeat);
  EXPECT_EQ(again.slot, first.slot);
  EXPECT_EQ(log.one(post(session, 2, "again")).room_seq, 2u);
}

TEST(Reload, OfAClosedSessionFindsItGoneAlthoughItHadARow) {
  Log log;
  const SessionId session = log.open(1);
  for (std::uint64_t i = 0; i < rows::journal_slots + 1; ++i) log.noop();
  ASSERT_TRUE(log.rows.get(rows::session(session)));
  log.one(close_command(session, 1));
  EXPECT_FALSE(log.rows.get(rows::session(session)));
  log.reload();
  EXPECT_EQ(log.machine.sessions(), 0u);
}

TEST(Reload, KeepsTheStoreAtOneJournalAndOneRowForEachIdleSessionAndRoom) {
  Log log;
  const SessionId session = log.open(1);
  for (std::uint64_t n = 1; n <= 2 * rows::journal_slots; ++n) log.one(post(session, n, "x", "ops", n));
  std::map<char, std::size_t> count;
  for (const auto& [key, value] : log.rows.rows()) ++count[key[0]];
  EXPECT_EQ(count[rows::family_journal], rows::journal_slots);
  EXPECT_EQ(count[rows::family_session], 0u);
  EXPECT_EQ(count[rows::family_room], 0u);
  EXPECT_EQ(count[rows::family_meta], 1u);
}

// Rows of their own are written when a change leaves the journal; what the journal says later counts.
TEST(Reload, TheJournalCountsOverOlderRowsOfASessionAndARoom) {
  Log log;
  const SessionId session = log.open(1);
  log.one(post(session, 1, "first", "attic"));
  for (std::uint64_t i = 0; i < rows::journal_slots; ++i) log.noop();
  ASSERT_EQ(log.one(post(session, 2, "second", "attic")).room_seq, 2u);
  log.noop();
  ASSERT_EQ(log.one(post(session, 3, "third", "attic")).room_seq, 3u);
  const auto hash = log.machine.hash();
  log.reload();
  EXPECT_EQ(log.machine.hash(), hash);
  EXPECT_EQ(log.machine.room_head("attic"), 3u);
  EXPECT_EQ(log.one(post(session, 2, "second", "attic")).verdict, Verdict::repeat);
  EXPECT_EQ(log.one(post(session, 4, "fourth", "attic")).room_seq, 4u);
}

// --- damage is named, never passed over ---

Log some_log(bool changes = false) {
  Log log;
  if (changes) log.apply(make_rules_decree(2));
  const SessionId idle = log.open(1);
  log.one(post(idle, 1, "hello", "attic"));
  for (std::uint64_t i = 0; i < rows::journal_slots; ++i) log.noop();
  const SessionId session = log.open(2);
  log.one(post(session, 1, "hello"));
  log.one(post(session, 2, "hello", "ops", 2));
  log.one(post(idle, 2, "hello"));
  return log;
}

TEST(Damage, OfEveryTruncatedRowIsNamed) {
  for (const bool changes : {false, true}) {
    Log log = some_log(changes);
    for (auto& [key, value] : log.rows.rows()) {
      if (key[0] == rows::family_hash || key[0] == rows::family_message) continue;  // not read at start
      if (key[0] == rows::family_journal && value.size() < 20) continue;            // no-ops
      const std::string whole = value;
      for (std::size_t size = 0; size < whole.size(); ++size) {
        value.resize(size);
        const auto machine = Machine::load(log.rows);
        ASSERT_FALSE(machine) << "row '" << key[0] << "' cut to " << size << " of " << whole.size();
        EXPECT_NE(machine.error().find("damaged"), std::string::npos) << machine.error();
        value = whole;
      }
    }
  }
}

TEST(Damage, OfARowThatChangesGoOnFromIsNamed) {
  Log log = some_log(true);
  const std::string key = rows::session({{2}, 0});
  ASSERT_EQ(log.rows.rows().count(key), 1u);
  const std::string row = log.rows.rows()[key];
  log.rows.rows().erase(key);
  auto machine = Machine::load(log.rows);
  ASSERT_FALSE(machine) << "a session that only changes are known of";
  EXPECT_NE(machine.error().find("session 2.0"), std::string::npos) << machine.error();
  // And one that is not what they were made from: its last number is another.
  log.rows.rows()[key] = row;
  auto other = decode_session({{2}, 0}, std::string_view(row).substr(1));
  ASSERT_TRUE(other);
  other->answers.push({});
  ++other->last_seq;
  log.rows.rows()[key] = std::string(1, row[0]);
  encode_session(log.rows.rows()[key], *other);
  machine = Machine::load(log.rows);
  ASSERT_FALSE(machine);
  EXPECT_NE(machine.error().find("damaged"), std::string::npos) << machine.error();
}

TEST(Damage, OfAMissingJournalRowNamesItsSlot) {
  Log log = some_log();
  log.rows.rows().erase(rows::journal({17}));
  const auto machine = Machine::load(log.rows);
  ASSERT_FALSE(machine);
  EXPECT_NE(machine.error().find("slot 17"), std::string::npos) << machine.error();
}

/// A journal row that names no session, and these rooms.
std::string journal_row(std::uint64_t slot, const std::vector<std::pair<std::string, std::uint64_t>>& rooms) {
  std::string out;
  paxos::ByteWriter w(out);
  w.fixed(rows::row_version);
  w.fixed(slot);
  w.varint(0);
  w.varint(rooms.size());
  for (const auto& [name, head] : rooms) {
    w.sized(name);
    w.varint(head);
  }
  return out;
}

// Only a store that was tampered with has such rows: what is not of the ring's slots says nothing.
TEST(Damage, OfTheRingARowOfNoSlotInItSaysNothing) {
  for (const std::uint64_t slot : {0u, 1u, 4u, 4096u}) {
    SCOPED_TRACE(slot);
    Log log;
    for (int i = 0; i < 3; ++i) log.noop();
    const auto hash = log.machine.hash();
    log.rows.rows()[rows::journal({100})] = journal_row(slot, {{"attic", 99}});
    log.reload();
    EXPECT_EQ(log.machine.hash(), hash);
    EXPECT_EQ(log.machine.rooms(), 0u);
    EXPECT_EQ(log.machine.room_head("attic"), 0u);
  }
}

TEST(Damage, OfAJournalRowThatNamesARoomTwiceTheFirstCounts) {
  Log log;
  for (int i = 0; i < 3; ++i) log.noop();
  log.rows.rows()[rows::journal({2})] = journal_row(2, {{"attic", 7}, {"attic", 6}});
  log.reload();
  EXPECT_EQ(log.machine.rooms(), 1u);
  EXPECT_EQ(log.one(post(log.open(1), 1, "x", "attic")).room_seq, 8u);
}

TEST(Damage, OfARoomsRowThatIsYoungerThanTheJournalSaysIsNamed) {
  for (const std::uint64_t slot : {2u, 3u}) {
    SCOPED_TRACE(slot);
    Log log;
    for (int i = 0; i < 3; ++i) log.noop();
    log.rows.rows()[rows::journal({2})] = journal_row(2, {{"attic", 7}});
    std::string& row = log.rows.rows()[rows::room("attic")];
    paxos::ByteWriter w(row);
    w.fixed(rows::row_version);
    w.varint(8);
    w.varint(slot);
    const auto machine = Machine::load(log.rows);
    ASSERT_FALSE(machine);
    EXPECT_NE(machine.error().find("damaged"), std::string::npos) << machine.error();
  }
}

TEST(Damage, OfAMissingMetaRowIsNotTakenForAnEmptyStore) {
  Log log = some_log();
  log.rows.rows().erase(rows::meta());
  EXPECT_FALSE(Machine::load(log.rows));
}

TEST(Damage, OfAnotherVersionNamesBothVersions) {
  Log log = some_log();
  log.rows.rows()[rows::meta()][1] = 9;
  const auto machine = Machine::load(log.rows);
  ASSERT_FALSE(machine);
  EXPECT_NE(machine.error().find("version 9"), std::string::npos) << machine.error();
  log.rows.rows()[rows::meta()][0] = 7;
  EXPECT_NE(Machine::load(log.rows).error().find("version 7"), std::string::npos);
}

TEST(Damage, OfAMetaRowAtSlotZeroOrUnderNoRulesIsNamed) {
  Log log = some_log();
  std::string& meta = log.rows.rows()[rows::meta()];
  const std::string whole = meta;
  for (std::size_t i = 2; i < 10; ++i) meta[i] = 0;
  EXPECT_NE(Machine::load(log.rows).error().find("meta row"), std::string::npos);
  meta = whole;
  meta[1] = 0;
  EXPECT_NE(Machine::load(log.rows).error().find("meta row"), std::string::npos);
}

TEST(Damage, OfARowOfAnotherVersionIsNamed) {
  Log log = some_log();
  std::size_t tried = 0;
  for (auto& [key, value] : log.rows.rows()) {
    if (key[0] != rows::family_session && key[0] != rows::family_room && key != rows::journal({17})) continue;
    ++tried;
    value[0] = 9;
    EXPECT_FALSE(Machine::load(log.rows)) << "a row '" << key[0] << "'";
    value[0] = static_cast<char>(rows::row_version);
  }
  EXPECT_EQ(tried, 3u);
  EXPECT_TRUE(Machine::load(log.rows));
}

TEST(Damage, OfASessionsKeyIsNamed) {
  const Log log = some_log();
  const std::string key = log.rows.rows().lower_bound(std::string(1, rows::family_session))->first;
  const std::string value = *log.rows.get(key);
  for (const std::string& bad :
       {key.substr(0, key.size() - 1), key + "x", key.substr(0, 9) + std::string("\0\0\0\1\0\0\0\0", 8)}) {
    Log damaged = some_log();
    damaged.rows.rows()[bad] = value;
    const auto machine = Machine::load(damaged.rows);
    ASSERT_FALSE(machine);
    EXPECT_NE(machine.error().find("the row of session"), std::string::npos) << machine.error();
  }
}

std::string session_bytes(std::uint64_t last_seq, std::uint64_t answered_below, std::size_t answers) {
  Session s;
  s.last_seq = last_seq;
  s.answered_below = answered_below;
  for (std::size_t i = 0; i < answers; ++i) s.answers.push({});
  std::string bytes;
  encode_session(bytes, s);
  return bytes;
}

// sessions.h: as many answers as there are seqs from the answered mark to the last, and never more than the
// bound.
TEST(SessionRow, ThatContradictsItselfIsRefused) {
  const SessionId id{{1}, 0};
  EXPECT_TRUE(decode_session(id, session_bytes(3, 1, 3)));
  EXPECT_TRUE(decode_session(id, session_bytes(3, 4, 0)));
  EXPECT_FALSE(decode_session(id, session_bytes(3, 0, 4))) << "seqs count from 1";
  EXPECT_FALSE(decode_session(id, session_bytes(3, 5, 0))) << "answers of what never ran";
  EXPECT_FALSE(decode_session(id, session_bytes(300, 1, 300))) << "more than are kept";
  const std::string whole = session_bytes(3, 1, 3);
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(decode_session(id, whole.substr(0, size))) << size;
}

// Only a store that was tampered with holds two: the table must not point at what is gone.
TEST(SessionTable, OfTwoWithOneNonceFindsTheLastAndNeverOneThatIsGone) {
  for (const std::uint32_t first_gone : {1u, 2u}) {
    SessionTable table;
    for (const std::uint32_t index : {1u, 2u}) {
      Session s;
      s.id = {{1}, index};
      s.nonce = nonce(7);
      table.insert(std::move(s));
    }
    ASSERT_NE(table.find(nonce(7)), nullptr);
    EXPECT_EQ(table.find(nonce(7))->id.index, 2u);
    table.erase({{1}, first_gone});
    if (first_gone == 1) {
      ASSERT_NE(table.find(nonce(7)), nullptr);
      EXPECT_EQ(table.find(nonce(7))->id.index, 2u);
    } else {
      EXPECT_EQ(table.find(nonce(7)), nullptr);
    }
    table.erase({{1}, 3 - first_gone});
    EXPECT_EQ(table.find(nonce(7)), nullptr);
    EXPECT_EQ(table.size(), 0u);
  }
}

}  // namespace
}  // namespace chat::test
