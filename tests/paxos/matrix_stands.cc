#include "tests/paxos/matrix_stands.h"

#include <gtest/gtest.h>

#include <chrono>

#include "paxos/replica_parts.h"

namespace paxos {
/// Reads the states inside that no message tells; changes nothing.
struct StateAccess {
  static Proposer::Phase phase(const Replica& replica) { return replica.parts_->proposer.phase(); }
  static BirthProtocol::State birth(const Replica& replica) { return replica.parts_->birth.state(); }
};
}  // namespace paxos

namespace paxos_test {

using namespace std::chrono_literals;
using Phase = Proposer::Phase;
using State = BirthProtocol::State;

Inside look_inside(const Replica& replica) {
  return {.role = replica.status().role,
          .phase = StateAccess::phase(replica),
          .birth = StateAccess::birth(replica),
          .diverged = replica.diverged().has_value()};
}

const char* name_of(Stand stand) {
  switch (stand) {
    case Stand::unborn_collecting:
      return "unborn, collecting";
    case Stand::unborn_announced:
      return "unborn, announced";
    case Stand::dormant:
      return "dormant";
    case Stand::diverged:
      return "diverged";
    case Stand::follower:
      return "follower, voted";
    case Stand::follower_of_another:
      return "follower of another";
    case Stand::follower_syncing:
      return "follower, syncing";
    case Stand::follower_reading:
      return "follower, reading";
    case Stand::follower_catching_up:
      return "follower, catching up";
    case Stand::follower_held:
      return "follower, held";
    case Stand::deposed:
      return "deposed";
    case Stand::candidate_syncing:
      return "candidate, syncing";
    case Stand::candidate_preparing:
      return "candidate, preparing";
    case Stand::candidate_paging:
      return "candidate, paging";
    case Stand::candidate_learning:
      return "candidate, learning";
    case Stand::leader_adopting:
      return "leader, adopting";
    case Stand::leader_idle:
      return "leader, idle";
    case Stand::leader_proposing:
      return "leader, proposing";
    case Stand::leader_syncing:
      return "leader, syncing";
    case Stand::leader_with_hole:
      return "leader with a hole";
    case Stand::leader_reading:
      return "leader, reading";
    case Stand::leader_handing_over:
      return "leader, handing over";
  }
  return "";
}

Inside inside_of(Stand stand) {
  switch (stand) {
    case Stand::unborn_collecting:
      return {.role = Role::unborn, .birth = State::collecting};
    case Stand::unborn_announced:
      return {.role = Role::unborn, .birth = State::announced};
    case Stand::dormant:
      return {.role = Role::dormant, .birth = State::dormant};
    case Stand::diverged:
      return {.diverged = true};
    case Stand::follower:
    case Stand::follower_of_another:
    case Stand::follower_syncing:
    case Stand::follower_reading:
    case Stand::follower_catching_up:
    case Stand::follower_held:
    case Stand::deposed:
      return {};
    case Stand::candidate_syncing:
    case Stand::candidate_preparing:
    case Stand::candidate_paging:
      return {.role = Role::candidate, .phase = Phase::preparing};
    case Stand::candidate_learning:
      return {.role = Role::candidate, .phase = Phase::learning};
    case Stand::leader_adopting:
    case Stand::leader_idle:
    case Stand::leader_proposing:
    case Stand::leader_syncing:
    case Stand::leader_with_hole:
    case Stand::leader_reading:
    case Stand::leader_handing_over:
      return {.role = Role::leader, .phase = Phase::leading};
  }
  return {};
}

namespace {

/// Replica 0 asks who is there; the answer of 1 is left to the test.
std::uint64_t ask_heartbeat(Cluster& c) {
  c.advance(c.setup().heartbeat);
  c.tick(0);
  const auto asked = take<HeartbeatRequest>(c, 0, 1);
  c.bag().clear();
  EXPECT_EQ(asked.size(), 1u);
  return asked.empty() ? 0 : asked[0].nonce;
}

/// Two slots are chosen and applied everywhere, and the leader is `id` with a ballot of round 3.
void begin(Cluster& c, std::size_t id) {
  for (int round = 0; round < 3; ++round) c.elect(id);
  for (const char* text : {"one", "two"}) {
    c.propose(id, text);
    c.run_for(5ms);
  }
  ASSERT_EQ(c.applied(0), 2u);
  ASSERT_EQ(c.status(0).ballot, ballot(3, static_cast<std::uint8_t>(id)));
}

void vote_for_three(Cluster& c, const Ballot& b) {
  c.step(0, 1, Accept{b, Slot{3}, Slot{2}, command("three")});
}

Promise promise_of(Ballot b, Slot w, std::vector<PromiseEntry> entries = {}, Slot next = {}) {
  return {.ballot = b, .from = Slot{3}, .chosen_prefix = w, .entries = std::move(entries), .next = next};
}

void be_unborn(Cluster& c, bool announced) {
  c.tick_all();
  if (announced) {
    c.deliver_if(to(0));
    c.deliver_if(is<Birth>());
    c.advance(c.setup().heartbeat);
    c.tick_all();
    c.deliver_if(is_link<Birth>(2, 0));
  } else {
    c.deliver_if(is_link<Birth>(2, 0));
  }
}

void be_follower(Scene& s) {
  Cluster& c = *s.cluster;
  begin(c, s.stand == Stand::follower_of_another ? 2 : 1);
  s.nonce = ask_heartbeat(c);
  const Ballot b = c.status(0).ballot;
  if (s.stand == Stand::follower) {
    vote_for_three(c, b);
  } else if (s.stand == Stand::follower_syncing) {
    c.hold_disk(true);
    c.step(0, 1, Prepare{ballot(4, 1), Slot{3}});
    vote_for_three(c, ballot(4, 1));
  } else if (s.stand == Stand::follower_reading) {
    c.read(0, 7);
    const auto asked = take<ReadRequest>(c, 0, 1);
    ASSERT_EQ(asked.size(), 1u);
    s.read_id = asked[0].id;
  } else if (s.stand == Stand::follower_catching_up) {
    c.step(0, 1, Commit{b, Slot{10}});
    c.advance(10ms);
    c.tick(0);
    ASSERT_EQ(take<LearnRequest>(c, 0, 1).size(), 1u);
  } else if (s.stand == Stand::follower_held) {
    c.hold_applying(0, true);
    c.propose(1, "three");
    c.run_for(5ms);
    ASSERT_EQ(c.status(0).chosen, Slot{3});
    ASSERT_EQ(c.applied(0), 2u);
  }
}

void be_candidate(Scene& s) {
  Cluster& c = *s.cluster;
  begin(c, 1);
  s.nonce = ask_heartbeat(c);
  if (s.stand == Stand::leader_adopting) vote_for_three(c, c.status(0).ballot);
  if (s.stand == Stand::candidate_syncing) c.hold_disk(true);
  c.campaign(0);
  c.bag().clear();
  const Ballot b = c.status(0).ballot;
  if (s.stand == Stand::candidate_paging)
    c.step(0, 1, promise_of(b, Slot{2}, {{Slot{3}, ballot(3, 1), false, command("three")}}, Slot{4}));
  if (s.stand == Stand::candidate_learning) c.step(0, 2, promise_of(b, Slot{5}));
  if (s.stand == Stand::leader_adopting) c.step(0, 2, promise_of(b, Slot{2}));
}

void be_leader(Scene& s) {
  Cluster& c = *s.cluster;
  begin(c, 1);
  c.elect(0);
  s.nonce = ask_heartbeat(c);
  if (s.stand == Stand::leader_proposing || s.stand == Stand::leader_syncing) {
    if (s.stand == Stand::leader_syncing) c.hold_disk(true);
    c.propose(0, "three");
  } else if (s.stand == Stand::leader_with_hole) {
    ASSERT_EQ(c.skip(0, {3}).refused, "");
    c.settle();
    ASSERT_EQ(c.status(0).hole, Slot{3});
  } else if (s.stand == Stand::leader_reading) {
    c.read(0, 7);
    const auto asked = take<ReadConfirm>(c, 0, 1);
    ASSERT_EQ(asked.size(), 1u);
    s.read_nonce = asked[0].nonce;
  } else if (s.stand == Stand::leader_handing_over) {
    ASSERT_TRUE(c.hand_over(0));
  } else if (s.stand == Stand::deposed) {
    c.step(0, 2, Nack{c.status(0).ballot, ballot(9, 2)});
  }
}

void build(Scene& s) {
  Cluster& c = *s.cluster;
  switch (s.stand) {
    case Stand::unborn_collecting:
      return be_unborn(c, false);
    case Stand::unborn_announced:
      return be_unborn(c, true);
    case Stand::dormant:
      begin(c, 1);
      c.wipe(0);
      c.run_for(200ms);
      return;
    case Stand::diverged:
      c.node(0).corrupt = true;
      begin(c, 1);
      c.run_for(500ms);
      return;
    case Stand::follower:
    case Stand::follower_of_another:
    case Stand::follower_syncing:
    case Stand::follower_reading:
    case Stand::follower_catching_up:
    case Stand::follower_held:
      return be_follower(s);
    case Stand::candidate_syncing:
    case Stand::candidate_preparing:
    case Stand::candidate_paging:
    case Stand::candidate_learning:
    case Stand::leader_adopting:
      return be_candidate(s);
    case Stand::deposed:
    case Stand::leader_idle:
    case Stand::leader_proposing:
    case Stand::leader_syncing:
    case Stand::leader_with_hole:
    case Stand::leader_reading:
    case Stand::leader_handing_over:
      return be_leader(s);
  }
}

}  // namespace

Scene scene(Stand stand) {
  const bool born = stand != Stand::unborn_collecting && stand != Stand::unborn_announced;
  Scene s{.stand = stand, .cluster = std::make_unique<Cluster>(Setup{.born = born})};
  build(s);
  s.cluster->bag().clear();
  return s;
}

}  // namespace paxos_test
