#include "chat/flight.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

/// Which records of a flight recorder tell about a slot, and dumps that are none. Records are written here by
/// hand; tests/daemon has the recorder that makes them.
namespace chat::test {
namespace {

using Kind = FlightKind;

/// A ballot of replica 1, packed.
std::uint64_t ballot(std::uint64_t round) { return FlightEntry::pack({round, paxos::ReplicaId{1}}); }

FlightEntry entry(std::int64_t ns, Kind kind, std::uint64_t slot, std::uint64_t round = 0,
                  std::uint16_t detail = 0) {
  return {.ns = ns, .slot = slot, .ballot = round == 0 ? 0 : ballot(round), .kind = kind, .detail = detail};
}
/// Phase 1: from the slot on.
FlightEntry from(std::int64_t ns, Kind kind, std::uint64_t slot, std::uint64_t round) {
  FlightEntry out = entry(ns, kind, slot, round);
  out.count = 0;
  return out;
}

/// The times of what is told about the slot: each record here has another one.
std::vector<std::int64_t> told(const std::vector<FlightEntry>& entries, std::uint64_t slot) {
  std::vector<std::int64_t> out;
  for (const FlightEntry& e : flight_of_slot(entries, {slot}, 100).entries) out.push_back(e.ns);
  return out;
}
using Times = std::vector<std::int64_t>;

TEST(Flight, EveryKindHasWordsOfItsOwn) {
  constexpr Kind kinds[] = {Kind::boot,
                            Kind::candidate,
                            Kind::leader,
                            Kind::deposed,
                            Kind::candidacy_ended,
                            Kind::taking_over,
                            Kind::handing_over,
                            Kind::diverged,
                            Kind::prepare_sent,
                            Kind::prepare_received,
                            Kind::promise_sent,
                            Kind::promise_received,
                            Kind::promise_named,
                            Kind::nack_sent,
                            Kind::nack_received,
                            Kind::proposed,
                            Kind::accept_repeated,
                            Kind::accept_received,
                            Kind::voted,
                            Kind::vote_durable,
                            Kind::accepted_repeated,
                            Kind::accepted_received,
                            Kind::synced,
                            Kind::chosen,
                            Kind::told_chosen,
                            Kind::learned,
                            Kind::learn_asked,
                            Kind::learn_received,
                            Kind::learn_sent,
                            Kind::applied,
                            Kind::skipped,
                            Kind::noop_filled,
                            Kind::commands_came};
  std::set<std::string> words;
  for (const Kind kind : kinds) {
    EXPECT_FALSE(to_string(kind).starts_with("kind ")) << static_cast<int>(kind);
    words.insert(to_string(kind));
  }
  EXPECT_EQ(words.size(), std::size(kinds));
  // Persisted: another version's dump may have kinds that are not known here.
  EXPECT_EQ(to_string(Kind{77}), "kind 77");
}

TEST(Flight, ARangeCoversItsSlotsAndOneWithoutAnEndAllFromThereOn) {
  FlightEntry e = entry(1, Kind::applied, 5);
  e.count = 3;
  EXPECT_FALSE(e.covers({4}));
  EXPECT_TRUE(e.covers({5}));
  EXPECT_TRUE(e.covers({7}));
  EXPECT_FALSE(e.covers({8}));
  e.count = 0;
  EXPECT_TRUE(e.covers({8}));
  e.slot = 0;
  EXPECT_FALSE(e.covers({8})) << "about no slot";
}

TEST(Flight, OfNoSlotOrOneThatNothingHappenedToTellsNothing) {
  const std::vector<FlightEntry> entries{from(1, Kind::prepare_sent, 1, 1), entry(2, Kind::leader, 1, 1),
                                         entry(3, Kind::proposed, 4, 1), entry(4, Kind::synced, 5)};
  EXPECT_EQ(told(entries, 0), Times{});
  EXPECT_EQ(told(entries, 5), Times{}) << "a group's number is no slot's";
  EXPECT_EQ(told({}, 4), Times{});
  EXPECT_EQ(told(entries, 4), (Times{1, 2, 3}));
}

// Between the first and the last word of a slot, any phase 1 that asks for it belongs to its story.
TEST(Flight, PhaseOneIsToldOfItsBallotsAndOfThoseInBetween) {
  const std::vector<FlightEntry> entries{
      from(1, Kind::prepare_received, 1, 1),    // another ballot's, over before the slot began
      from(2, Kind::prepare_sent, 8, 2),        // of its ballot, for other slots
      from(3, Kind::prepare_sent, 3, 2),        // of its ballot
      entry(4, Kind::nack_received, 0, 3),      // names no slot, and came before
      entry(5, Kind::proposed, 4, 2),           //
      from(6, Kind::prepare_received, 2, 3),    // another's, meanwhile
      entry(7, Kind::nack_received, 0, 3),      // names no slot: any may be meant
      entry(8, Kind::accepted_received, 4, 2),  //
      entry(9, Kind::nack_sent, 0, 3),          // it is over
      from(10, Kind::prepare_received, 2, 4),   // likewise
  };
  EXPECT_EQ(told(entries, 4), (Times{3, 5, 6, 7, 8}));
}

TEST(Flight, RolesAreToldOfItsBallotsAndOfThoseInBetween) {
  const std::vector<FlightEntry> entries{
      entry(1, Kind::leader, 1, 1),        // another's, before
      entry(2, Kind::candidate, 1, 2),     // its ballot's
      entry(3, Kind::leader, 4, 2),        //
      entry(4, Kind::proposed, 4, 2),      //
      entry(5, Kind::taking_over, 0, 3),   // meanwhile
      entry(6, Kind::chosen, 4),           //
      entry(7, Kind::handing_over, 0, 4),  // another's, afterwards
      entry(8, Kind::deposed, 0, 2),       // its ballot's
  };
  EXPECT_EQ(told(entries, 4), (Times{2, 3, 4, 5, 6, 8}));
}

TEST(Flight, AStartIsToldOnceTheSlotHadBegun) {
  const std::vector<FlightEntry> entries{entry(1, Kind::boot, 0), entry(2, Kind::voted, 4, 2, 9),
                                         entry(3, Kind::boot, 3, 2), entry(4, Kind::synced, 9),
                                         entry(5, Kind::learned, 4)};
  EXPECT_EQ(told(entries, 4), (Times{2, 3, 5})) << "a sync after the restart is not that vote's";
}

TEST(Flight, AVoteIsDurableWithTheFirstSyncThatReachesItsGroup) {
  // The low 16 bits of its group have wrapped.
  const std::vector<FlightEntry> entries{entry(1, Kind::synced, 65530), entry(2, Kind::voted, 9, 1, 3),
                                         entry(3, Kind::synced, 65536 + 2), entry(4, Kind::synced, 65536 + 5),
                                         entry(5, Kind::synced, 65536 + 6)};
  const auto found = flight_of_slot(entries, {9}, 100);
  ASSERT_EQ(found.entries.size(), 2u);
  EXPECT_EQ(found.entries[0], entries[1]);
  EXPECT_EQ(found.entries[1], entry(4, Kind::vote_durable, 9, 1));
}

TEST(Flight, AVoteWithoutItsSyncIsNotCalledDurable) {
  const std::vector<FlightEntry> entries{entry(1, Kind::voted, 4, 2, 9), entry(2, Kind::synced, 8),
                                         entry(3, Kind::applied, 3)};
  EXPECT_EQ(told(entries, 4), Times{1});
}

// The last that came before the first proposal; a no-op, and what others proposed, carry nobody's commands.
TEST(Flight, CommandsAreToldWhereTheyWereProposed) {
  const FlightEntry early = entry(1, Kind::commands_came, 0);
  const FlightEntry late = entry(2, Kind::commands_came, 0);
  const FlightEntry later = entry(4, Kind::commands_came, 0);
  EXPECT_EQ(told({early, late, entry(3, Kind::proposed, 4, 1), later, entry(5, Kind::proposed, 4, 2)}, 4),
            (Times{2, 3, 5}));
  EXPECT_EQ(told({early, entry(3, Kind::proposed, 4, 1, 1)}, 4), Times{3}) << "a no-op";
  EXPECT_EQ(told({entry(3, Kind::proposed, 4, 1)}, 4), Times{3}) << "none came";
  EXPECT_EQ(told({entry(1, Kind::accept_received, 4, 1), late, entry(3, Kind::voted, 4, 1)}, 4),
            (Times{1, 3}));
}

TEST(Flight, ALongStoryLosesItsMiddle) {
  std::vector<FlightEntry> entries;
  for (std::int64_t i = 0; i < 100; ++i) entries.push_back(entry(i, Kind::accept_repeated, 5));
  const auto found = flight_of_slot(entries, {5}, 8);
  ASSERT_EQ(found.entries.size(), 8u);
  EXPECT_EQ(found.left_out, 92u);
  EXPECT_EQ(found.entries[5].ns, 5);
  EXPECT_EQ(found.entries[6].ns, 98);
}

// --- dumps ---

/// The bytes of a dump whose ring of four has been written `written` times: record n stands at time n.
std::vector<std::byte> dump(std::uint64_t written, FlightDumpHead head = {.capacity = 4}) {
  head.written = written;
  std::vector<FlightEntry> ring(std::min<std::uint64_t>(written, 4));
  for (std::uint64_t n = written - ring.size(); n < written; ++n)
    ring[n % 4] = entry(static_cast<std::int64_t>(n), Kind::applied, n + 1);
  std::vector<std::byte> out(sizeof head + ring.size() * sizeof(FlightEntry));
  std::memcpy(out.data(), &head, sizeof head);
  if (!ring.empty()) std::memcpy(out.data() + sizeof head, ring.data(), ring.size() * sizeof(FlightEntry));
  return out;
}

TEST(FlightDump, GivesTheOldestFirstHoweverFullTheRing) {
  for (const std::uint64_t written : {0u, 3u, 4u, 5u, 6u, 8u, 11u}) {
    SCOPED_TRACE(written);
    const auto parsed = parse_flight_dump(dump(written));
    ASSERT_TRUE(parsed) << parsed.error();
    ASSERT_EQ(parsed->entries.size(), std::min<std::uint64_t>(written, 4));
    for (std::size_t i = 0; i < parsed->entries.size(); ++i)
      EXPECT_EQ(parsed->entries[i].slot, written - parsed->entries.size() + i + 1);
  }
}

TEST(FlightDump, ThatIsNoneOrOfAnotherVersionIsRefusedWithASentence) {
  const auto why = [](FlightDumpHead head) {
    const auto parsed = parse_flight_dump(dump(2, head));
    return parsed ? "" : parsed.error();
  };
  EXPECT_EQ(why({.capacity = 4}), "");
  EXPECT_EQ(why({.magic = 7, .capacity = 4}), "no dump of paxosd's flight recorder");
  EXPECT_EQ(why({.entry_bytes = 24, .capacity = 4}), "a dump of another version of paxosd");
  for (const std::uint32_t capacity : {0u, 3u, static_cast<std::uint32_t>(2 * flight_entries_max)})
    EXPECT_EQ(why({.capacity = capacity}), "a dump of another version of paxosd") << capacity;
}

TEST(FlightDump, ThatIsCutOffOrTooLongIsRefused) {
  std::vector<std::byte> whole = dump(2);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto parsed = parse_flight_dump(std::span(whole).first(size));
    ASSERT_FALSE(parsed) << size;
    const char* why = size < sizeof(FlightDumpHead) ? "too short" : "cut off";
    EXPECT_NE(parsed.error().find(why), std::string::npos) << parsed.error();
  }
  whole.resize(whole.size() + sizeof(FlightEntry));
  EXPECT_FALSE(parse_flight_dump(whole));
}

}  // namespace
}  // namespace chat::test
