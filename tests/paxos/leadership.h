#pragma once

#include <gtest/gtest.h>

#include "tests/paxos/cluster.h"

/// What tests of the election ask of a cluster.
namespace paxos_test {

/// The cluster decides something new.
inline bool progresses(Cluster& c, Duration bound) {
  const Slot before = c.applied_anywhere();
  return c.run_until(
      [&] {
        for (std::size_t id = 0; id < c.size(); ++id)
          if (c.up(id) && c[id].is_leader() && c.status(id).inflight == 0) (void)c.try_propose(id, "p");
        return c.applied_anywhere() > before;
      },
      bound);
}

inline Duration four_timeouts(Cluster& c) { return 4 * c.setup().election_timeout; }

/// Links stay as they are: no leader changes for 100 election timeouts.
inline void expect_quiet(Cluster& c, int timeouts = 100) {
  const auto before = c.leader_changes();
  c.run_for(timeouts * c.setup().election_timeout);
  EXPECT_EQ(c.leader_changes(), before) << "the leader changed though nothing else did";
}

/// Answers the heartbeat of `id` that is under way to `from`.
inline void answer_heartbeat(Cluster& c, std::size_t id, std::size_t from, HeartbeatReply reply) {
  const auto requests = take<HeartbeatRequest>(c, id, from);
  ASSERT_EQ(requests.size(), 1u);
  reply.nonce = requests[0].nonce;
  c.step(id, from, reply);
}

}  // namespace paxos_test
