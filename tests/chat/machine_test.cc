// Rooms, decrees, the hash chain, and reading rows back.

#include "chat/machine.h"

#include <gtest/gtest.h>

#include <set>

#include "chat/rows.h"
#include "tests/chat/fixture.h"

namespace chat::test {
namespace {

// "`seq` counts 1, 2, 3, … in each room." (CLI.md)
TEST(Room, CountsItsOwnMessages) {
  Log log;
  const SessionId s = log.open(1);
  const Applied a = log.apply(
      {post(s, 1, "a", "ops"), post(s, 2, "b", "dev"), post(s, 3, "c", "ops"), post(s, 4, "d", "dev")});
  EXPECT_EQ(a.outcomes[0].room_seq, 1u);
  EXPECT_EQ(a.outcomes[1].room_seq, 1u);
  EXPECT_EQ(a.outcomes[2].room_seq, 2u);
  EXPECT_EQ(a.outcomes[3].room_seq, 2u);
  EXPECT_EQ(log.machine.rooms(), 2u);
}

TEST(Room, AreAtMost65536AndTheOldOnesGoOn) {
  Log log;
  const SessionId s = log.open(1);
  std::uint64_t seq = 0;
  while (log.machine.rooms() < limits::rooms_max) {
    std::vector<Command> commands;
    for (int i = 0; i < 256; ++i) {
      ++seq;
      commands.push_back(post(s, seq, "x", "room-" + std::to_string(seq), seq));
    }
    log.apply(commands);
  }
  ++seq;
  EXPECT_EQ(log.one(post(s, seq, "x", "one too many", seq)).verdict, Verdict::rooms_full);
  EXPECT_EQ(log.one(post(s, seq, "x", "one too many", seq)).verdict, Verdict::rooms_full);
  ++seq;
  EXPECT_EQ(log.one(post(s, seq, "x", "room-1", seq)).room_seq, 2u);
  EXPECT_EQ(log.machine.rooms(), limits::rooms_max);
  log.reload();
  EXPECT_EQ(log.machine.rooms(), limits::rooms_max);
}

TEST(Machine, WhatWasAppliedHoldsTheBytesThatItsCommandsPointInto) {
  Log log;
  const Command first = post(log.open(1), 1, std::string(300, 'a'));
  Applied applied = log.apply({first});  // the decree itself is gone after this
  const Applied moved = std::move(applied);
  ASSERT_EQ(moved.commands.size(), 1u);
  EXPECT_EQ(to_command(moved.commands[0]), first);
}

// "A value that does not decode is applied as a no-op with verdicts none" (machine.h)
TEST(Machine, AppliesWhatDoesNotDecodeAsNothing) {
  Log log;
  const SessionId s = log.open(1);
  const paxos::Decree good = decree(log.time_ms, {post(s, 1, "a")});
  const std::string_view bytes = good.value.view();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const Applied a = log.apply({paxos::DecreeKind::commands, paxos::Bytes::copy_of(bytes.substr(0, size))});
    EXPECT_TRUE(a.outcomes.empty());
    EXPECT_TRUE(a.commands.empty());
  }
  EXPECT_EQ(log.machine.session(s)->last_seq, 0u);
}

// "the same decrees in the same order give the same rows, outcomes and hashes everywhere" (machine.h)
TEST(HashChain, DiffersWithEverythingThatIsDecided) {
  std::set<paxos::Hash> hashes;
  const auto after = [&](const std::vector<paxos::Decree>& decrees) {
    Log log;
    for (const auto& d : decrees) log.apply(d);
    hashes.insert(log.machine.hash());
  };
  const paxos::Decree open = decree(5, {open_command(1)});
  const paxos::Decree a = decree(6, {post({{1}, 0}, 1, "a")});
  after({});
  after({open});
  after({open, a});
  after({open, decree(7, {post({{1}, 0}, 1, "a")})});
  after({open, decree(6, {post({{1}, 0}, 1, "b")})});
  after({open, paxos::Decree{}});
  after({open, paxos::Decree{}, a});
  after({open, {paxos::DecreeKind::commands, {}}});
  after({paxos::Decree{}, open});
  EXPECT_EQ(hashes.size(), 9u);
  after({open, a});
  EXPECT_EQ(hashes.size(), 9u);
}

// "Hash chain over slot, decree and every outcome (room sequence, verdict, session clock)" (DESIGN.md)
TEST(HashChain, ShowsAReplicaThatAppliesDifferently) {
  const auto run = [](bool other) {
    Log log;
    const SessionId s = log.open(1);
    log.one(post(s, 1, "a"));
    if (other) {
      // As a replica would that forgot an answer: its rows give the session another history.
      for (auto& [key, value] : log.rows.rows())
        if (key == rows::journal({2})) {
          const auto at = value.rfind("ops");
          value[at + 3] = 7;  // the room's head
        }
      log.reload();
    }
    log.one(post(s, 2, "b"));
    return log.machine.hash();
  };
  EXPECT_NE(run(false), run(true));
}

TEST(HashChain, StandsInARowForEverySlot) {
  Log log;
  std::vector<paxos::Hash> hashes;
  log.open(1);
  for (int i = 0; i < 20; ++i) hashes.push_back(log.noop().hash);
  for (std::size_t i = 0; i < hashes.size(); ++i) EXPECT_EQ(read_hash(log.rows, {i + 2}), hashes[i]);
  EXPECT_FALSE(read_hash(log.rows, {22}));
  const auto mark = read_applied(log.rows);
  ASSERT_TRUE(mark);
  EXPECT_EQ(mark->slot, paxos::Slot{21});
  EXPECT_EQ(mark->hash, hashes.back());
}

TEST(Rows, TellWhichCommandsOfASlotDidNotRun) {
  Log log;
  const SessionId s = log.open(1);
  const Applied a = log.apply({post(s, 1, "a"), post(s, 1, "a"), post(s, 5, "e"), post({{9}, 9}, 1, "x")});
  const std::vector<Outcome> outcomes = read_outcomes(log.rows, a.slot);
  ASSERT_EQ(outcomes.size(), 3u);
  EXPECT_EQ(outcomes[0].verdict, Verdict::repeat);
  EXPECT_EQ(outcomes[0].index, 1u);
  EXPECT_EQ(outcomes[1].verdict, Verdict::early);
  EXPECT_EQ(outcomes[1].index, 2u);
  EXPECT_EQ(outcomes[2].verdict, Verdict::session_unknown);
  EXPECT_EQ(outcomes[2].session, (SessionId{{9}, 9}));
  for (const Outcome& o : outcomes) EXPECT_EQ(o.slot, a.slot);
  EXPECT_TRUE(read_outcomes(log.rows, {1}).empty());
}

// --- history ---

/// Slots with several messages each, in two rooms.
Log long_log(std::size_t slots) {
  Log log;
  const SessionId s = log.open(1);
  std::uint64_t seq = 0;
  for (std::size_t i = 0; i < slots; ++i) {
    std::vector<Command> commands;
    for (std::size_t k = 0; k < 1 + i % 5; ++k) {
      ++seq;
      commands.push_back(post(s, seq, "m" + std::to_string(seq), k % 2 == 0 ? "ops" : "ops2", seq));
    }
    log.apply(commands);
  }
  return log;
}

TEST(History, OfAnyRangeIsComplete) {
  const Log log = long_log(40);
  const std::uint64_t head = log.machine.room_head("ops");
  for (std::uint64_t from = 0; from <= head + 2; ++from) {
    for (const std::size_t limit : {1u, 3u, 1000u}) {
      const auto page = read_history(log.rows, "ops", from, limit);
      ASSERT_TRUE(page);
      EXPECT_EQ(page->head, head);
      const std::uint64_t first = std::max<std::uint64_t>(from, 1);
      const std::uint64_t want = first > head ? 0 : std::min<std::uint64_t>(limit, head - first + 1);
      ASSERT_EQ(page->messages.size(), want);
      for (std::size_t i = 0; i < want; ++i) {
        EXPECT_EQ(page->messages[i].seq, first + i);
        EXPECT_EQ(page->messages[i].room, "ops");
      }
      EXPECT_EQ(page->next, want != 0 && first + want <= head ? first + want : 0);
    }
  }
}

TEST(History, ShowsEverythingThatTheReceiptSaid) {
  Log log;
  const SessionId s = log.open(1);
  const Outcome o = log.one(post(s, 1, "hällo \xF0\x9F\x91\x8B", "Bücher"));
  const auto page = read_history(log.rows, "Bücher", 1, 0);
  ASSERT_TRUE(page && page->messages.size() == 1);
  EXPECT_EQ(page->messages[0], (Message{.room = "Bücher",
                                        .seq = o.room_seq,
                                        .slot = o.slot,
                                        .index = o.index,
                                        .name = "ann",
                                        .session = s,
                                        .client_seq = 1,
                                        .time_ms = o.time_ms,
                                        .text = "hällo \xF0\x9F\x91\x8B"}));
}

TEST(History, OfAnUnknownRoomIsEmpty) {
  const Log log = long_log(3);
  for (const char* room : {"", "op", "ops3", "o"}) {
    const auto page = read_history(log.rows, room, 1, 0);
    ASSERT_TRUE(page);
    EXPECT_TRUE(page->messages.empty());
    EXPECT_EQ(page->head, 0u);
  }
}

TEST(History, PageHoldsOneLongestTextAndStaysWithinItsBytes) {
  Log log;
  const SessionId s = log.open(1);
  const std::string text(limits::text_bytes_max, 'x');
  for (std::uint64_t n = 1; n <= 9; ++n) log.one(post(s, n, text, "ops", n));
  std::uint64_t from = 1;
  std::size_t seen = 0;
  while (from != 0) {
    const auto page = read_history(log.rows, "ops", from, 0);
    ASSERT_TRUE(page);
    ASSERT_FALSE(page->messages.empty());
    ASSERT_LE(page->messages.size() * text.size(), limits::page_bytes_max);
    seen += page->messages.size();
    from = page->next;
  }
  EXPECT_EQ(seen, 9u);
}

TEST(History, NamesTheRoomAndPlaceOfADamagedRow) {
  Log log = long_log(10);
  std::vector<std::string> keys;
  for (const auto& [key, value] : log.rows.rows())
    if (key[0] == rows::family_message && key[1] == 3) keys.push_back(key);
  for (const std::string& key : keys) {
    const std::string whole = log.rows.rows()[key];
    for (std::size_t size = 0; size < whole.size(); ++size) {
      log.rows.rows()[key].resize(size);
      const auto page = read_history(log.rows, "ops", 1, 0);
      ASSERT_FALSE(page) << size << " of " << whole.size();
      EXPECT_NE(page.error().find("'ops'"), std::string::npos);
    }
    log.rows.rows()[key] = whole;
  }
}

TEST(History, TakesAMissingRowForDamageAndNotForNothing) {
  Log log = long_log(10);
  std::string second;
  for (const auto& [key, value] : log.rows.rows())
    if (key[0] == rows::family_message && key[1] == 3 && second.empty() && !key.ends_with('\1')) second = key;
  log.rows.rows().erase(second);
  EXPECT_FALSE(read_history(log.rows, "ops", 1, 0));
}

TEST(History, OfARoomWhoseNameBeginsAnothersIsItsOwn) {
  Log log;
  const SessionId s = log.open(1);
  log.apply({post(s, 1, "short", "a"), post(s, 2, "long", "aa"), post(s, 3, "longer", "aaa")});
  const auto page = read_history(log.rows, "aa", 1, 0);
  ASSERT_TRUE(page && page->messages.size() == 1);
  EXPECT_EQ(page->messages[0].text, "long");
}

// --- rows that are not what was written ---

TEST(Rows, OfNothingStandAtSlotZero) {
  const auto mark = read_applied(MapRows());
  ASSERT_TRUE(mark);
  EXPECT_EQ(mark->slot, paxos::Slot{});
  EXPECT_FALSE(read_hash(MapRows(), {1}));
  EXPECT_TRUE(read_outcomes(MapRows(), {1}).empty());
}

TEST(Rows, OfADamagedMarkAreNotBelieved) {
  Log log;
  log.open(1);
  log.rows.rows()[rows::meta()].resize(5);
  EXPECT_NE(read_applied(log.rows).error().find("damaged"), std::string::npos);
}

TEST(Rows, OfADamagedOrLaterHashGiveNone) {
  Log log;
  const SessionId s = log.open(1);
  log.apply({post(s, 1, "a"), post(s, 1, "a"), post(s, 1, "b")});
  ASSERT_EQ(read_outcomes(log.rows, {2}).size(), 2u);
  std::string& row = log.rows.rows()[rows::hash({2})];
  const std::string whole = row;
  row.resize(whole.size() - 1);
  EXPECT_EQ(read_outcomes(log.rows, {2}).size(), 1u) << "what is whole before the cut";
  row.resize(10);
  EXPECT_FALSE(read_hash(log.rows, {2}));
  row = whole;
  row[0] = 9;
  EXPECT_FALSE(read_hash(log.rows, {2}));
  EXPECT_TRUE(read_outcomes(log.rows, {2}).empty());
}

TEST(History, OfARoomWhoseNameIsTooLongIsEmpty) {
  const auto page = read_history(MapRows(), std::string(limits::room_bytes_max + 1, 'r'), 1, 0);
  ASSERT_TRUE(page);
  EXPECT_TRUE(page->messages.empty());
}

TEST(History, OfARowCutAnywhereIsDamage) {
  Log log;
  const SessionId s = log.open(1);
  log.apply({post(s, 1, "hello"), post(s, 2, "again")});
  std::string& row = log.rows.rows()[rows::message("ops", 1)];
  const std::string whole = row;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    row.resize(size);
    const auto page = read_history(log.rows, "ops", 1, 0);
    ASSERT_FALSE(page) << size;
    EXPECT_NE(page.error().find("room 'ops'"), std::string::npos);
    row = whole;
  }
}

}  // namespace
}  // namespace chat::test
