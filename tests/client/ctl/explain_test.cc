#include "client/ctl/explain.h"

#include <gtest/gtest.h>

namespace {

using chat::FlightEntry;
using chat::FlightKind;
using client::SlotState;
using client::Witness;
using paxos::Ballot;
using paxos::ReplicaId;

constexpr std::int64_t second = 1'000'000'000;
constexpr Ballot one{1, {0}};
constexpr Ballot two{2, {1}};

FlightEntry entry(std::int64_t ms, FlightKind kind, Ballot ballot = {},
                  std::uint8_t peer = FlightEntry::nobody, std::uint16_t detail = 0) {
  return {.ns = 1000 * second + ms * 1'000'000,
          .slot = 7,
          .ballot = FlightEntry::pack(ballot),
          .count = 1,
          .kind = kind,
          .peer = peer,
          .detail = detail};
}
chat::ExplainReply reply(std::vector<FlightEntry> records) {
  return {.boot = 1,
          .started_ns = second,
          .oldest_ns = second,
          .first_slot = {1},
          .chosen = {9},
          .applied = {9},
          .accepted = {9},
          .damage = {},
          .records = std::move(records)};
}
chat::ExplainReply::Held held(paxos::DecreeKind kind, Ballot ballot) { return {true, ballot, kind, 2, 30}; }

TEST(Explain, OfANormalSlotSaysProposerVotersAndTimes) {
  auto leader =
      reply({entry(0, FlightKind::proposed, one), entry(0, FlightKind::voted, one),
             entry(4, FlightKind::vote_durable, one), entry(5, FlightKind::accepted_received, one, 2),
             entry(5, FlightKind::chosen), entry(5, FlightKind::applied)});
  leader.held = held(paxos::DecreeKind::commands, one);
  // Its clock is an hour ahead.
  auto follower =
      reply({entry(3'600'000, FlightKind::accept_received, one, 0),
             entry(3'600'003, FlightKind::vote_durable, one), entry(3'600'009, FlightKind::applied)});
  follower.held = leader.held;
  const auto story = client::tell_story(
      {7}, 2, {{ReplicaId{0}, leader, {}}, {ReplicaId{1}, {}, {}}, {ReplicaId{2}, follower, {}}});
  EXPECT_EQ(story.state, SlotState::applied);
  EXPECT_NE(story.summary.find("Replica 0 proposed a decree of 2 commands in slot 7 under ballot 1.0"),
            std::string::npos)
      << story.summary;
  EXPECT_EQ(story.json.at("proposer"), 0);
  EXPECT_EQ(story.json.at("chosen_ms"), 5.0);
  EXPECT_EQ(story.json.at("votes").size(), 2U);
  EXPECT_EQ(story.json.at("votes").at(1).at("durable_ms"), 3.0);
  EXPECT_EQ(story.json.at("applied").at(1).at("offset_ms"), 9.0);
  ASSERT_FALSE(story.notes.empty());
  EXPECT_EQ(story.notes.front(), "Replica 1 does not answer.");
}

TEST(Explain, OfANoOpSaysWhy) {
  auto filler = reply({entry(0, FlightKind::promise_received, two, 2), entry(0, FlightKind::noop_filled, two),
                       entry(0, FlightKind::proposed, two, FlightEntry::nobody, 1),
                       entry(1, FlightKind::vote_durable, two),
                       entry(2, FlightKind::accepted_received, two, 2), entry(2, FlightKind::chosen)});
  filler.held = held(paxos::DecreeKind::noop, two);
  const std::vector<Witness> without{
      {ReplicaId{0}, {}, {}}, {ReplicaId{1}, filler, {}}, {ReplicaId{2}, {}, {}}};
  const auto hole = client::tell_story({7}, 2, without);
  EXPECT_EQ(hole.json.at("noop_cause"), "hole");
  EXPECT_NE(hole.summary.find("replica 2 promised and knew of no vote in it"), std::string::npos)
      << hole.summary;
  auto skipper = reply({entry(-50, FlightKind::skipped, one)});
  const auto skipped = client::tell_story({7}, 2, {{ReplicaId{0}, skipper, {}}, {ReplicaId{1}, filler, {}}});
  EXPECT_EQ(skipped.json.at("noop_cause"), "skipped");
  EXPECT_NE(
      skipped.summary.find("had replica 0 leave it empty (skip) under ballot 1.0; replica 1, the new leader"),
      std::string::npos)
      << skipped.summary;
}

TEST(Explain, ChosenIsTheLowestBallotWithAQuorumOfVotes) {
  auto a = reply({entry(0, FlightKind::proposed, one), entry(1, FlightKind::vote_durable, one)});
  auto b = reply({entry(1, FlightKind::vote_durable, one), entry(9, FlightKind::proposed, two),
                  entry(9, FlightKind::vote_durable, two)});
  auto c = reply({entry(10, FlightKind::vote_durable, two)});
  const auto story =
      client::tell_story({7}, 2, {{ReplicaId{0}, a, {}}, {ReplicaId{1}, b, {}}, {ReplicaId{2}, c, {}}});
  EXPECT_EQ(story.json.at("ballot").at("round"), 1);
  EXPECT_EQ(story.json.at("ballot_by"), "votes");
}

// Rounds need not grow from one configuration to the next for their ballots to.
TEST(Explain, ABallotOfALaterConfigurationIsHigherAndSaysWhose) {
  constexpr Ballot early{9, {0}};
  constexpr Ballot late{2, {1}, 2};
  auto a = reply({entry(0, FlightKind::proposed, early, FlightEntry::nobody, 3),
                  entry(1, FlightKind::vote_durable, early)});
  auto b = reply({entry(9, FlightKind::proposed, late, FlightEntry::nobody, 3),
                  entry(9, FlightKind::vote_durable, late)});
  auto c = reply({entry(10, FlightKind::vote_durable, late)});
  const auto story =
      client::tell_story({7}, 2, {{ReplicaId{0}, a, {}}, {ReplicaId{1}, b, {}}, {ReplicaId{2}, c, {}}});
  EXPECT_EQ(story.json.at("ballot"), (client::Json{{"round", 2}, {"replica", 1}, {"configuration", 2}}));
  EXPECT_NE(story.summary.find("Replica 1 proposed the next configuration in slot 7 under ballot 2:2.1"),
            std::string::npos)
      << story.summary;
  EXPECT_NE(story.summary.find("first proposed by replica 0 under ballot 9.0"), std::string::npos)
      << story.summary;
}

TEST(Explain, BallotsArePackedInTheirOrder) {
  constexpr std::uint64_t round = FlightEntry::rounds_max;
  constexpr std::uint32_t configuration = FlightEntry::configurations_max;
  const std::vector<Ballot> ascending{{},           {1, {0}},    {1, {8}},        {2, {0}},
                                      {round, {8}}, {1, {0}, 2}, {round, {8}, 2}, {1, {0}, configuration}};
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    FlightEntry e;
    e.ballot = FlightEntry::pack(ascending[i]);
    EXPECT_EQ(e.unpacked(), ascending[i]) << i;
    if (i > 0) {
      EXPECT_LT(FlightEntry::pack(ascending[i - 1]), e.ballot) << i;
    }
  }
  EXPECT_EQ(FlightEntry::pack({3, {2}}), (std::uint64_t{3} << 8 | 2)) << "as older programs have it";
  // Beyond what finds room: told as the highest, and still in order.
  EXPECT_EQ(FlightEntry::pack({1, {0}, configuration + 1}), FlightEntry::pack({1, {0}, configuration}));
  EXPECT_EQ(FlightEntry::pack({round + 1, {0}}), FlightEntry::pack({round, {0}}));
}

TEST(Explain, SaysWhatIsNotThere) {
  auto nothing = reply({});
  nothing.accepted = nothing.chosen = nothing.applied = {3};
  const std::vector<Witness> all(3, Witness{ReplicaId{0}, nothing, {}});
  EXPECT_EQ(client::tell_story({7}, 2, all).state, SlotState::unproposed);
  nothing.accepted = {8};
  EXPECT_EQ(client::tell_story({7}, 2, {{ReplicaId{0}, nothing, {}}}).state, SlotState::hole);
  EXPECT_EQ(client::tell_story({7}, 2, {{ReplicaId{0}, {}, {}}}).state, SlotState::unknown);
  // Chosen long ago: the log knows the ballot, the recorder nothing.
  auto old = reply({});
  old.held = held(paxos::DecreeKind::commands, one);
  old.oldest_ns = 500 * second;
  const auto story = client::tell_story({7}, 2, {{ReplicaId{0}, old, {}}});
  EXPECT_EQ(story.state, SlotState::applied);
  EXPECT_EQ(story.json.at("ballot_by"), "log");
  ASSERT_EQ(story.notes.size(), 1U);
  EXPECT_NE(story.notes.front().find("its recorder reaches back to"), std::string::npos);
}

TEST(Explain, AKindOfANewerReplicaIsShownByItsNumber) {
  EXPECT_EQ(client::describe(entry(0, static_cast<FlightKind>(99)), ReplicaId{0}, true), "kind 99 slot 7");
}

}  // namespace
