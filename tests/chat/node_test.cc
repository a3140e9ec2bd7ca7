#include "chat/node.h"

#include <gtest/gtest.h>

#include <chrono>

#include "tests/chat/desk_fixture.h"

/// What only the whole replica shows: how the front desk and the protocol are joined.
namespace chat::test {
namespace {

using namespace std::chrono_literals;

paxos::Incarnation incarnation(std::uint8_t id) {
  paxos::Incarnation out;
  out.bytes[0] = static_cast<std::uint8_t>(id + 1);
  return out;
}

/// Replica 0 of three, born.
Node replica_zero(paxos::Time now, const NodeBounds& bounds = {}) {
  paxos::Recovered recovered;
  recovered.incarnation = incarnation(0);
  recovered.boot = 1;
  recovered.birth =
      paxos::BirthRecord{.members = {incarnation(0), incarnation(1), incarnation(2)}, .born = true};
  return {paxos::Options{.self = {0}, .replicas = 3}, std::move(recovered), Machine(), now, bounds};
}

/// Replica 0 is told that these slots are chosen.
paxos::LearnReply chosen(std::uint64_t first, std::uint64_t last) {
  paxos::LearnReply reply{.decrees = {}, .first_slot = {1}, .chosen_prefix = {last}};
  for (std::uint64_t slot = first; slot <= last; ++slot)
    reply.decrees.push_back({{slot}, {1, {1}}, make_decree(1000, std::vector{encode(open_command(slot))})});
  return reply;
}

/// Replica 0 of three whose log goes further than its state, under rules that trim.
struct Behind {
  paxos::Time now = at_ms(1000);
  std::vector<paxos::Decree> log{make_rules_decree(2)};
  std::unique_ptr<Node> node;
  std::vector<paxos::TrimRecord> trims;
  std::vector<paxos::Slot> hashes_below;
  paxos::Slot applied;
  std::string stop;

  explicit Behind(std::size_t slots, const NodeBounds& bounds = {}) {
    while (log.size() < slots)
      log.push_back(make_decree(1000, std::vector{encode(open_command(log.size()))}));
    paxos::Recovered recovered;
    recovered.incarnation = incarnation(0);
    recovered.boot = 1;
    recovered.birth =
        paxos::BirthRecord{.members = {incarnation(0), incarnation(1), incarnation(2)}, .born = true};
    recovered.chosen_prefix = recovered.redo_to = {slots};
    paxos::Options options{.self = {0}, .replicas = 3, .rules = rules_released};
    options.bounds.redo_slots = 16;
    options.bounds.trim_stride = 4;
    node = std::make_unique<Node>(options, std::move(recovered), Machine(), now, bounds);
  }
  /// Turns until nothing comes of it; every sync and read is done at once.
  void run(std::size_t turns = 1000) {
    for (; turns > 0 && stop.empty(); --turns) {
      NodeOutput out = node->turn(now, 1);
      stop = out.stop;
      for (const StateWrite& write : out.state) applied = write.slot;
      if (out.hashes_below) hashes_below.push_back(*out.hashes_below);
      for (const GroupWrite& group : out.groups) {
        for (const paxos::Record& record : group.records)
          if (const auto* trim = std::get_if<paxos::TrimRecord>(&record)) trims.push_back(*trim);
        node->synced(now, group.group);
      }
      for (const paxos::LogReadWish& wish : out.log_reads) {
        std::vector<paxos::ChosenDecree> page;
        for (paxos::Slot slot = wish.from; slot <= wish.last && slot.n <= log.size(); ++slot)
          page.push_back({slot, {1, {1}}, log[slot.n - 1]});
        node->log_read(now, wish, std::move(page));
      }
      if (out.groups.empty() && out.log_reads.empty() && out.state.empty() && node->deadline() > now) return;
    }
  }
};

TEST(Node, RedoesItsOwnLogInPagesAndRows) {
  Behind b(100, {.turn_slots = 5});
  b.run();
  EXPECT_EQ(b.stop, "");
  EXPECT_EQ(b.applied, paxos::Slot{100});
  EXPECT_EQ(b.node->machine().applied(), paxos::Slot{100});
}

TEST(Node, StopsAtASlotThatItsLogShouldHave) {
  Behind b(100);
  b.log.resize(40);
  b.run();
  EXPECT_NE(b.stop.find("slot 41 is missing"), std::string::npos) << b.stop;
  EXPECT_NE(b.stop.find("up to 100"), std::string::npos) << b.stop;
}

// Under the first rules a program of the first version may have to read the log.
TEST(Node, TrimsOnceItsDiskHasTheRulesThatDo) {
  Behind b(100);
  b.node->set_slack(b.now, paxos::TrimSlack{.slots = 10});
  b.run();
  EXPECT_TRUE(b.trims.empty()) << "nothing of the state is on the disk";
  b.node->state_durable(b.now, {60});
  b.run();
  ASSERT_EQ(b.trims.size(), 1u);
  EXPECT_EQ(b.trims[0].first, paxos::Slot{51});
  EXPECT_EQ(b.hashes_below, (std::vector<paxos::Slot>{{51}})) << "once the trim is synced";
  EXPECT_EQ(b.node->status().first_slot, paxos::Slot{51});
  // A setting that is taken back.
  b.node->set_slack(b.now, std::nullopt);
  b.node->state_durable(b.now, {100});
  b.run();
  EXPECT_EQ(b.trims.size(), 1u);
}

TEST(Node, TrimsNothingUnderTheFirstRules) {
  Behind b(100);
  b.log[0] = make_decree(1000, std::vector{encode(open_command(77))});
  b.node->set_slack(b.now, paxos::TrimSlack{.slots = 10});
  b.run();
  ASSERT_EQ(b.node->machine().rules(), 1);
  b.node->state_durable(b.now, {100});
  b.run();
  EXPECT_TRUE(b.trims.empty());
}

// A turn that applied all of a long way would overrun what may wait for the state's disk, and stand still
// meanwhile.
TEST(Node, OneTurnAppliesALittleAndTheNextOneComesAtOnce) {
  paxos::Time now = at_ms(1000);
  Node node = replica_zero(now, {.turn_slots = 4});
  node.tick(now);
  node.peer_message(now, {1}, incarnation(1), chosen(1, 10));
  NodeOutput out = node.turn(now, 1);
  ASSERT_EQ(out.groups.size(), 1u);
  node.synced(now, out.groups[0].group);
  std::vector<std::size_t> applied;
  for (int turns = 0; turns < 4; ++turns) {
    out = node.turn(now, 1);
    applied.push_back(out.state.size());
    if (turns < 2) {
      EXPECT_LE(node.deadline(), now) << "the rest does not wait for anything";
    }
  }
  EXPECT_EQ(applied, (std::vector<std::size_t>{4, 4, 2, 0}));
  EXPECT_GT(node.deadline(), now) << "and then the loop may sleep";
}

// By the bytes of the rows too: a slot's rows may be many times its decree.
TEST(Node, OneTurnMakesNoMoreRowsThanFit) {
  paxos::Time now = at_ms(1000);
  Node node = replica_zero(now, {.turn_rows_bytes = 1});
  node.peer_message(now, {1}, incarnation(1), chosen(1, 3));
  node.synced(now, node.turn(now, 1).groups.at(0).group);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(node.turn(now, 1).state.size(), 1u);
}

// What was handed out before is not applied either, and asks for no turn.
TEST(Node, AppliesNothingWhileItIsHeld) {
  paxos::Time now = at_ms(1000);
  Node node = replica_zero(now, {.turn_slots = 2});
  node.tick(now);
  node.peer_message(now, {1}, incarnation(1), chosen(1, 6));
  node.synced(now, node.turn(now, 1).groups.at(0).group);
  EXPECT_EQ(node.turn(now, 1).state.size(), 2u);
  node.hold_applying(now, true);
  EXPECT_GT(node.deadline(), now);
  EXPECT_EQ(node.turn(now, 1).state.size(), 0u);
  node.hold_applying(now, false);
  EXPECT_LE(node.deadline(), now);
  EXPECT_EQ(node.turn(now, 1).state.size(), 2u);
  EXPECT_EQ(node.turn(now, 1).state.size(), 2u);
}

std::size_t forwards(const NodeOutput& out) {
  std::size_t count = 0;
  for (const paxos::Envelope& e : out.send_now) count += std::holds_alternative<paxos::Forward>(e.message);
  return count;
}

ClientCommands opens(std::uint64_t first, std::uint64_t count) {
  ClientCommands commands{.forward = true, .commands = {}};
  for (std::uint64_t n = first; n < first + count; ++n) commands.commands.push_back(encode(open_command(n)));
  return commands;
}

// Between the client's message and the end of the turn the leader may be lost: then nobody is asked, and the
// client, which hears nothing, asks again.
TEST(Node, PassesCommandsOnOnlyWhileItKnowsALeader) {
  paxos::Time now = at_ms(1000);
  Node node = replica_zero(now);
  node.peer_message(now, {1}, incarnation(1), paxos::Prepare{{1, {1}}, {1}});
  node.tick(now);
  for (const GroupWrite& group : node.turn(now, 1).groups) node.synced(now, group.group);
  (void)node.turn(now, 1);
  ASSERT_EQ(node.status().leader, paxos::ReplicaId{1});

  node.client_message(now, client(1), {}, opens(1, paxos::limits::forward_commands_max + 1));
  EXPECT_EQ(forwards(node.turn(now, 1)), 2u) << "two packs";

  node.client_message(now, client(1), {}, opens(5000, 1));
  now += 1s;
  node.tick(now);
  ASSERT_FALSE(node.status().leader);
  EXPECT_EQ(forwards(node.turn(now, 1)), 0u);
}

/// Answers the heartbeats of `out` as `from` would, who follows the leader of that ballot.
void answer_heartbeats(Node& node, paxos::Time now, const NodeOutput& out, std::uint8_t from,
                       paxos::Ballot leader) {
  for (const paxos::Envelope& e : out.send_now)
    if (const auto* request = std::get_if<paxos::HeartbeatRequest>(&e.message);
        request != nullptr && e.to == paxos::ReplicaId{from})
      node.peer_message(
          now, {from}, incarnation(from),
          paxos::HeartbeatReply{
              .nonce = request->nonce, .ballot = leader, .leader = leader, .happy = true, .candidate = true});
}

// Without clients nothing else asks for it; the journal, the status line and `paxosctl status` show it.
TEST(Node, KnowsItsStandingWithoutClientsToo) {
  paxos::Time now = at_ms(1000);
  Node node = replica_zero(now);
  const paxos::Ballot ballot{1, {1}};
  node.tick(now);
  const NodeOutput out = node.turn(now, 1);
  answer_heartbeats(node, now, out, 1, ballot);
  now += 50ms;
  node.tick(now);
  EXPECT_EQ(node.last_standing().leader, paxos::ReplicaId{1});
  EXPECT_TRUE(node.last_standing().quorum_connected);
  EXPECT_EQ(node.last_standing().missing, std::vector{paxos::ReplicaId{2}});

  now += 1s;
  node.tick(now);
  EXPECT_FALSE(node.last_standing().quorum_connected);
  EXPECT_EQ(node.last_standing().missing, (std::vector{paxos::ReplicaId{1}, paxos::ReplicaId{2}}));
}

// A datagram or a sync may tell the core a time behind the one at which a leader is missed: that does not
// take the deadline away, or it would be missed at the next heartbeat only.
TEST(Node, WhatRanOutIsDueUntilATickHasSeenIt) {
  paxos::Time now = at_ms(1000);
  Node node = replica_zero(now);
  node.tick(now);
  const NodeOutput out = node.turn(now, 1);
  answer_heartbeats(node, now, out, 1, {1, {1}});
  const paxos::Time lapsed = now + paxos::Options{}.election_timeout + 1ns;
  while (now + paxos::Options{}.heartbeat < lapsed) {
    now += paxos::Options{}.heartbeat;
    node.tick(now);
    (void)node.turn(now, 1);
  }
  EXPECT_EQ(node.deadline(), lapsed);
  node.set_sync_age(lapsed + 1us, {});
  EXPECT_EQ(node.deadline(), lapsed);
  node.tick(lapsed + 1us);
  EXPECT_GT(node.deadline(), lapsed + 1us);
  EXPECT_FALSE(node.last_standing().quorum_connected);
}

// Issue 10, point 4: a read that waits is not answered with what may be wrong.
TEST(Node, ReadsEndWhenADisputeBegins) {
  paxos::Time now = at_ms(1000);
  Node node = replica_zero(now);
  const paxos::Ballot ballot{1, {1}};
  node.peer_message(now, {1}, incarnation(1), paxos::LearnReply{{{{1}, ballot, {}}}, {1}, {1}});
  for (const GroupWrite& group : node.turn(now, 1).groups) node.synced(now, group.group);
  (void)node.turn(now, 1);
  ASSERT_EQ(node.machine().applied(), paxos::Slot{1});
  node.tick(now);
  NodeOutput out = node.turn(now, 1);
  answer_heartbeats(node, now, out, 1, ballot);
  now += 10ms;
  node.tick(now);
  (void)node.turn(now, 1);
  node.client_message(now, client(1), {}, HistoryRequest{.id = 1, .room = "ops"});
  EXPECT_TRUE(node.turn(now, 1).replies.empty()) << "the leader is asked";
  now += 50ms;
  node.tick(now);
  out = node.turn(now, 1);
  for (const paxos::Envelope& e : out.send_now)
    if (const auto* request = std::get_if<paxos::HeartbeatRequest>(&e.message);
        request != nullptr && e.to == paxos::ReplicaId{1}) {
      paxos::HeartbeatReply reply{
          .nonce = request->nonce, .ballot = ballot, .leader = ballot, .happy = true, .candidate = true};
      reply.applied = {1};
      reply.hash.bytes.fill(7);
      node.peer_message(now, {1}, incarnation(1), reply);
    }
  out = node.turn(now, 1);
  ASSERT_EQ(out.replies.size(), 1u);
  const auto* reply = std::get_if<HistoryReply>(&out.replies[0].message);
  ASSERT_NE(reply, nullptr);
  EXPECT_EQ(reply->refused.find("replicas disagree: replica 1 and this one"), 0u) << reply->refused;
  EXPECT_TRUE(node.status().voting);
  EXPECT_TRUE(node.last_standing().disputed);
}

// chat/versions.h: a program that does not know the rules stops before it applies anything by them.
TEST(Node, StopsAtARaiseOfTheRulesThatItDoesNotKnow) {
  const paxos::Time now = at_ms(1000);
  Node node = replica_zero(now);
  const paxos::Ballot b{1, {1}};
  node.peer_message(now, {1}, incarnation(1),
                    paxos::LearnReply{{{{1}, b, make_rules_decree(rules_released)},
                                       {{2}, b, make_rules_decree(rules_released + 1)},
                                       {{3}, b, {}}},
                                      {1},
                                      {3}});
  NodeOutput out = node.turn(now, 1);
  for (const GroupWrite& group : out.groups) node.synced(now, group.group);
  node.client_message(now, client(1), {}, HistoryRequest{.id = 1, .room = "ops"});  // something to go on with
  out = node.turn(now, 1);
  EXPECT_NE(out.stop.find("slot 2 raises the rules to 3"), std::string::npos) << out.stop;
  EXPECT_EQ(node.machine().applied(), paxos::Slot{1});
  EXPECT_EQ(out.state.size(), 1u) << "slot 1 alone";
}

// Issue 10, point 6. Also where no client comes any more.
TEST(Node, AnIdleExLeaderHoldsNoCommands) {
  paxos::Time now = at_ms(1000);
  Node node = replica_zero(now);
  node.tick(now);
  answer_heartbeats(node, now, node.turn(now, 1), 1, {});
  now += 10ms;
  node.tick(now);
  node.campaign(now);
  const auto sync = [&] {
    for (const GroupWrite& group : node.turn(now, 1).groups) node.synced(now, group.group);
    (void)node.turn(now, 1);
  };
  sync();
  const paxos::Ballot ballot = node.status().ballot;
  node.peer_message(
      now, {1}, incarnation(1),
      paxos::Promise{.ballot = ballot, .from = {1}, .chosen_prefix = {}, .entries = {}, .next = {}});
  sync();
  ASSERT_TRUE(node.is_leader());
  for (std::uint64_t n = 0; n < 2 * paxos::limits::pipeline_slots; ++n) {
    node.client_message(now, client(1), {}, opens(1000 + n, 1));
    sync();
  }
  ASSERT_GT(node.desk_figures().queued_commands, 0u) << "nobody votes";
  node.peer_message(now, {2}, incarnation(2), paxos::Prepare{{ballot.round + 1, {2}}, {1}});
  sync();
  ASSERT_FALSE(node.is_leader());
  EXPECT_EQ(node.desk_figures().queued_commands, 0u);
}

// Node::standing() hands on what the protocol knows of it.
TEST(Node, KnowsThatItIsBehind) {
  paxos::Time now = at_ms(1000);
  Node node = replica_zero(now);
  const paxos::Ballot ballot{1, {1}};
  node.tick(now);
  (void)node.turn(now, 1);
  EXPECT_FALSE(node.last_standing().behind);
  node.peer_message(now, {1}, incarnation(1), paxos::Commit{ballot, {paxos::limits::window_slots}});
  node.tick(now);
  EXPECT_FALSE(node.last_standing().behind) << "a window is what any follower may lack";
  node.peer_message(now, {1}, incarnation(1), paxos::Commit{ballot, {paxos::limits::window_slots + 1}});
  node.tick(now);
  EXPECT_TRUE(node.last_standing().behind);
}

}  // namespace
}  // namespace chat::test
