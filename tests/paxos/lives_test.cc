#include <gtest/gtest.h>

#include "paxos/replica.h"

/// Directories that were rolled back or copied: what a peer's life is worth (paxos/lives.h).
namespace paxos {
namespace {

using namespace std::chrono_literals;

Incarnation incarnation(std::uint8_t id) {
  Incarnation out;
  out.bytes.fill(static_cast<std::uint8_t>(id + 1));
  return out;
}

/// Replica 0 of three, born, and what its peers say.
class PeerLives : public testing::Test {
 protected:
  static Recovered born() {
    return {.incarnation = incarnation(0),
            .boot = 4,
            .birth = BirthRecord{{incarnation(0), incarnation(1), incarnation(2)}, true},
            .last_group = 10,
            .lives = {{3, 43}, {4, 44}}};
  }
  void start(Recovered recovered = born()) {
    replica_.emplace(Options{.self = {0}}, std::move(recovered), now_);
    flush();
  }
  /// All effects; what was written is synced unless told.
  Ready flush(bool sync = true) {
    Ready ready = replica_->take_ready();
    for (const Record& record : ready.records) records_.push_back(record);
    if (sync) replica_->synced(now_, ready.group);
    return ready;
  }
  void say(std::uint8_t from, const Origin& origin, const PeerMessage& message, bool sync = true) {
    replica_->step(now_, {from}, origin, message);
    flush(sync);
  }
  /// It tells where it comes from; `before`: the lives before this one.
  void introduced(const Origin& origin, std::vector<Life> before, std::uint64_t groups, bool sync = true) {
    before.push_back(origin.life);
    say(1, origin, Introduction{groups, std::move(before)}, sync);
  }
  void heard(const Origin& origin, std::uint64_t groups) { say(1, origin, HeartbeatReply{.groups = groups}); }
  [[nodiscard]] bool outdated(std::uint8_t from, const Origin& origin) const {
    return replica_->outdated({from}, origin).has_value();
  }
  /// A ballot of its own, and whether the peer's promise makes it the leader.
  bool counts(std::uint8_t from, const Origin& origin) {
    replica_->campaign(now_);
    flush();
    say(from, origin, Promise{.ballot = replica_->status().ballot, .from = {1}});
    return replica_->is_leader();
  }
  template <class R>
  [[nodiscard]] std::vector<R> recorded() const {
    std::vector<R> out;
    for (const Record& record : records_)
      if (const auto* one = std::get_if<R>(&record)) out.push_back(*one);
    return out;
  }

  static Origin peer(std::uint64_t boot, std::uint64_t life) { return {incarnation(1), boot, life}; }

  Time now_{100s};
  std::optional<Replica> replica_;
  std::vector<Record> records_;
};

TEST_F(PeerLives, APeersWordCountsOnceItsLifeIsOnTheDisk) {
  start();
  EXPECT_FALSE(counts(1, peer(3, 33)));
  introduced(peer(3, 33), {{2, 22}}, 5, false);
  EXPECT_EQ(recorded<PeerRecord>(), (std::vector<PeerRecord>{{{1}, peer(3, 33), 5, {}}}));
  say(1, peer(3, 33), Promise{.ballot = replica_->status().ballot, .from = {1}}, false);
  EXPECT_FALSE(replica_->is_leader()) << "its life is not synced here";
  EXPECT_TRUE(counts(1, peer(3, 33)));
}

TEST_F(PeerLives, WhoIsNotKnownIsAskedWhereItComesFromAndAnswers) {
  start();
  const auto said = [&](const Origin& origin, const PeerMessage& message) {
    replica_->step(now_, {1}, origin, message);
    std::vector<PeerMessage> out;
    for (const Envelope& envelope : flush().send_now)
      if (envelope.to == ReplicaId{1}) out.push_back(envelope.message);
    return out;
  };
  const auto asks = [&](const Origin& origin) {
    for (const PeerMessage& message : said(origin, HeartbeatRequest{5}))
      if (std::holds_alternative<Introduce>(message)) return true;
    return false;
  };
  EXPECT_TRUE(asks(peer(3, 33)));
  EXPECT_TRUE(asks(peer(3, 33))) << "the question may have been lost";
  EXPECT_FALSE(asks(incarnation(1))) << "of the first format nothing is known, and nothing is asked";
  const auto answer = said(peer(3, 33), Introduce{});
  ASSERT_EQ(answer.size(), 1U);
  EXPECT_TRUE(answer[0] == PeerMessage(Introduction{10, {{3, 43}, {4, 44}}}));
  introduced(peer(3, 33), {}, 5, false);
  EXPECT_FALSE(asks(peer(3, 33))) << "it is on its way to the disk";
}

TEST_F(PeerLives, WhatTheFirstFormatSaysCounts) {
  start();
  EXPECT_TRUE(counts(1, incarnation(1)));
  EXPECT_TRUE(recorded<PeerRecord>().empty());
}

TEST_F(PeerLives, AnEarlierBootAndAnotherLifeOfTheSameAreCopies) {
  Recovered recovered = born();
  recovered.peers = {{{1}, peer(3, 33), 5, {}}};
  start(std::move(recovered));
  EXPECT_FALSE(outdated(1, peer(3, 33)));
  EXPECT_FALSE(outdated(1, peer(4, 40))) << "a later start, of which nothing is known yet";
  for (const Origin& copy : {peer(3, 34), peer(2, 22)}) {
    const auto word = replica_->outdated({1}, copy);
    ASSERT_TRUE(word);
    EXPECT_EQ(*word, (Outdated{.meant = copy.life, .known_boot = 3, .known_groups = 5}));
    introduced(copy, {{3, 33}}, 9);
    EXPECT_FALSE(counts(1, copy));
  }
  EXPECT_TRUE(recorded<PeerRecord>().empty());
  EXPECT_TRUE(counts(1, peer(3, 33))) << "what is known after a start counts at once";
}

TEST_F(PeerLives, WhatDoesNotComeFromTheLifeThatIsKnownIsACopy) {
  start();
  introduced(peer(3, 33), {{2, 22}}, 5);
  // Two starts of the copy: nobody has heard of their boots.
  introduced(peer(5, 55), {{2, 22}, {3, 34}, {4, 44}}, 500);
  EXPECT_TRUE(outdated(1, peer(5, 55)));
  EXPECT_FALSE(counts(1, peer(5, 55)));
  // Its list does not name that boot at all.
  introduced(peer(6, 66), {{2, 22}, {5, 51}}, 500);
  EXPECT_TRUE(outdated(1, peer(6, 66)));
  introduced(peer(7, 77), {{2, 22}, {3, 33}, {4, 40}, {5, 50}, {6, 60}}, 5);
  EXPECT_FALSE(outdated(1, peer(7, 77)));
  EXPECT_TRUE(counts(1, peer(7, 77)));
}

TEST_F(PeerLives, AFullListMayBeginLaterThanWhatIsKnown) {
  start();
  introduced(peer(3, 33), {}, 5);
  std::vector<Life> many;
  for (std::uint64_t boot = 40; many.size() + 1 < limits::lives_max; ++boot) many.push_back({boot, boot});
  introduced(peer(200, 1), many, 4);
  EXPECT_TRUE(outdated(1, peer(200, 1))) << "its log tells all the same";
  introduced(peer(200, 2), many, 5);
  EXPECT_TRUE(counts(1, peer(200, 2)));
}

TEST_F(PeerLives, ALaterBootWithFewerGroupsWasPutBackAndSoIsWhatComesFromIt) {
  start();
  introduced(peer(3, 33), {}, 5);
  heard(peer(3, 33), 20);
  introduced(peer(4, 44), {{3, 33}}, 19);
  EXPECT_TRUE(outdated(1, peer(4, 44)));
  EXPECT_FALSE(counts(1, peer(4, 44)));
  EXPECT_EQ(recorded<PeerRecord>().back(), (PeerRecord{{1}, peer(3, 33), 20, {4, 44}}));
  // Meanwhile its own log has grown.
  introduced(peer(5, 55), {{3, 33}, {4, 44}}, 25);
  EXPECT_TRUE(outdated(1, peer(5, 55)));
  // The right directory is put back, and has the same boot as the copy's first start.
  introduced(peer(4, 45), {{3, 33}}, 20);
  EXPECT_FALSE(outdated(1, peer(4, 45)));
  EXPECT_TRUE(outdated(1, peer(4, 44)));
  EXPECT_TRUE(counts(1, peer(4, 45)));
}

TEST_F(PeerLives, WhatWasRefusedIsRememberedAcrossARestart) {
  start();
  introduced(peer(3, 33), {}, 5);
  heard(peer(3, 33), 20);
  introduced(peer(4, 44), {{3, 33}}, 19);
  Recovered again = born();
  again.peers = {recorded<PeerRecord>().back()};
  start(std::move(again));
  EXPECT_TRUE(outdated(1, peer(4, 44)));
  introduced(peer(5, 55), {{3, 33}, {4, 44}}, 25);
  EXPECT_TRUE(outdated(1, peer(5, 55)));
}

TEST_F(PeerLives, AnIntroductionIsOfTheLifeThatSaysIt) {
  start();
  say(1, peer(3, 33), Introduction{5, {{2, 22}}});
  EXPECT_TRUE(recorded<PeerRecord>().empty());
}

TEST_F(PeerLives, AReplacedDirectoryHasNothingToDoWithTheOneBefore) {
  Recovered recovered = born();
  Origin before = peer(30, 33);
  before.incarnation = incarnation(7);
  recovered.peers = {{{1}, before, 500, {31, 34}}};
  start(std::move(recovered));
  introduced(peer(1, 11), {}, 0);
  EXPECT_TRUE(counts(1, peer(1, 11)));
}

TEST_F(PeerLives, HowFarAPeersLogGoesIsWrittenDownNowAndThen) {
  start();
  introduced(peer(3, 33), {}, 5);
  for (std::uint64_t groups = 7; groups < 5000; groups += 10) {
    heard(peer(3, 33), groups);
    EXPECT_FALSE(outdated(1, peer(3, 33)));
  }
  const auto records = recorded<PeerRecord>();
  ASSERT_GT(records.size(), 3U);
  EXPECT_LT(records.size(), 10U);
  EXPECT_GT(records.back().groups, 3900U);
  // A peer that counts goes on counting while that is being written.
  replica_->campaign(now_);
  flush();
  replica_->step(now_, {1}, peer(3, 33), HeartbeatReply{.groups = 20'000});
  replica_->step(now_, {1}, peer(3, 33), Promise{.ballot = replica_->status().ballot, .from = {1}});
  EXPECT_TRUE(replica_->is_leader());
}

TEST_F(PeerLives, WhoIsToldThatItIsACopyNeverVotesAgain) {
  start();
  say(1, incarnation(1), Outdated{.meant = {4, 45}, .known_boot = 6, .known_groups = 99});
  say(1, incarnation(1), Outdated{.meant = {5, 44}, .known_boot = 6, .known_groups = 99});
  EXPECT_TRUE(replica_->status().voting) << "another life was meant";
  say(1, peer(3, 33), Outdated{.meant = {4, 44}, .known_boot = 6, .known_groups = 99});
  const auto is_copy = [&] {
    const Status status = replica_->status();
    EXPECT_FALSE(status.voting);
    EXPECT_EQ(status.role, Role::dormant);
    EXPECT_NE(status.reason.find("older copy: replica 1 knows its boot 6"), std::string::npos)
        << status.reason;
  };
  is_copy();
  ASSERT_EQ(recorded<OutdatedRecord>(), (std::vector<OutdatedRecord>{{{1}, 6, 99}}));
  Recovered again = born();
  again.outdated = recorded<OutdatedRecord>().front();
  start(std::move(again));
  is_copy();
  replica_->step(now_, {1}, peer(3, 33), Prepare{.ballot = {9, {1}}, .from = {1}});
  EXPECT_TRUE(flush().send_after_sync.empty());
}

TEST_F(PeerLives, HowFarTheOwnLogGoesIsToldToWhoSpeaksTheSecondFormatOnly) {
  start();
  const auto groups_to = [&](const Origin& origin) {
    replica_->step(now_, {1}, origin, HeartbeatRequest{5});
    for (const Envelope& envelope : replica_->take_ready().send_now)
      if (const auto* reply = std::get_if<HeartbeatReply>(&envelope.message)) return reply->groups;
    ADD_FAILURE() << "no reply";
    return std::uint64_t{99};
  };
  introduced(peer(3, 33), {}, 5);  // one group more
  EXPECT_EQ(groups_to(peer(3, 33)), 11U);
  EXPECT_EQ(groups_to(incarnation(1)), 0U);
}

}  // namespace
}  // namespace paxos
