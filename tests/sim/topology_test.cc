#include <gtest/gtest.h>

#include <array>
#include <string>

#include "tests/sim/world.h"

/// Partial connectivity. Source: Ng, Haridi, Carbone, Omni-Paxos (EuroSys 2023), section 2: the quorum-loss,
/// constrained and chained scenarios, and beyond them every undirected graph of five replicas.
namespace sim {
namespace {

constexpr std::size_t size = 5;
using Links = std::array<std::uint32_t, replicas_max>;

Scenario calm(std::uint64_t seed) {
  Scenario s;
  s.seed = seed;
  s.replicas = size;
  s.clients = 2;
  s.posts_per_second = 20;
  return s;
}

Links links_of(unsigned graph) {
  Links links{};
  unsigned edge = 0;
  for (unsigned a = 0; a < size; ++a)
    for (unsigned b = a + 1; b < size; ++b, ++edge)
      if ((graph >> edge & 1) != 0) {
        links[a] |= 1U << b;
        links[b] |= 1U << a;
      }
  return links;
}

/// Somebody is joined both ways with enough others for a quorum.
bool has_quorum(const Links& links) {
  for (unsigned a = 0; a < size; ++a) {
    unsigned both = 1;
    for (unsigned b = 0; b < size; ++b)
      if ((links[a] >> b & 1) != 0 && (links[b] >> a & 1) != 0) ++both;
    if (both >= 3) return true;
  }
  return false;
}

std::string text(const Links& links) {
  std::string out;
  for (unsigned a = 0; a < size; ++a)
    for (unsigned b = a + 1; b < size; ++b) {
      const bool there = (links[a] >> b & 1) != 0;
      const bool back = (links[b] >> a & 1) != 0;
      if (there || back)
        out += (out.empty() ? "" : " ") + std::to_string(a) +
               (there && back ? "-"
                : there       ? ">"
                              : "<") +
               std::to_string(b);
    }
  return out;
}

/// A cluster that works gets these links. Within 4 election timeouts (and what the probe's own round trip
/// takes) a command must be answered; and once things had the time to settle, the leader stays.
void expect_progress(std::uint64_t seed, const Links& links) {
  World world(calm(seed), nullptr);
  const Nanos timeout = world.scenario().election_timeout;
  world.begin();
  world.run(2 * second);
  ASSERT_TRUE(world.leader());
  const unsigned before = *world.leader();
  world.set_links(links);
  const std::string what =
      "links " + text(links) + ", led by " + std::to_string(before) + " before, seed " + std::to_string(seed);
  // An answer that was under way when the links broke is not progress.
  world.run(world.now() + 20 * millisecond);
  world.start_probe();
  EXPECT_TRUE(world.run_until(world.now() + 4 * timeout, [&] { return world.probe_answered(); }))
      << what << ": no command is answered\n"
      << world.standing();
  world.run(world.now() + 8 * timeout);
  const std::uint64_t changes = world.leader_changes();
  world.run(world.now() + 20 * timeout);
  EXPECT_EQ(world.leader_changes(), changes) << what << ": the leader goes on changing\n" << world.standing();
  world.start_probe();
  EXPECT_TRUE(world.run_until(world.now() + timeout, [&] { return world.probe_answered(); }))
      << what << ": commands are not answered any more\n"
      << world.standing();
}

TEST(Topology, QuorumLoss) {
  // Only replica c hears everyone; nobody else hears a quorum.
  for (unsigned c = 0; c < size; ++c) {
    Links links{};
    for (unsigned a = 0; a < size; ++a)
      if (a != c) {
        links[a] |= 1U << c;
        links[c] |= 1U << a;
      }
    for (std::uint64_t seed = 1; seed <= 5; ++seed) expect_progress(seed * 31 + c, links);
  }
}

TEST(Topology, Chained) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Links links{};
    for (unsigned a = 0; a + 1 < size; ++a) {
      links[a] |= 1U << (a + 1);
      links[a + 1] |= 1U << a;
    }
    expect_progress(seed, links);
  }
}

TEST(Topology, ConstrainedElection) {
  // The old leader is cut off from everyone; the only one that hears a quorum may know less than others.
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Links links{};
    const unsigned c = static_cast<unsigned>(seed % size);
    const unsigned lost = (c + 1) % size;
    for (unsigned a = 0; a < size; ++a)
      if (a != c && a != lost) {
        links[a] |= 1U << c;
        links[c] |= 1U << a;
      }
    expect_progress(seed, links);
  }
}

TEST(Topology, EveryGraphOfFiveWithAQuorumConnectedReplica) {
  unsigned tried = 0;
  for (unsigned graph = 0; graph < 1024; ++graph) {
    const Links links = links_of(graph);
    if (!has_quorum(links)) continue;
    ++tried;
    expect_progress(graph + 1000, links);
  }
  EXPECT_GT(tried, 700u);
}

// Links that carry one way only: a replica that is heard but deaf, one that hears but is mute, and all
// between.
TEST(Topology, SampledDirectedGraphs) {
  Random random(20);
  unsigned tried = 0;
  while (tried < 300) {
    Links links{};
    const auto density = static_cast<std::uint32_t>(random.between(300'000, 900'000));
    for (unsigned a = 0; a < size; ++a)
      for (unsigned b = 0; b < size; ++b)
        if (a != b && random.chance(density)) links[a] |= 1U << b;
    if (!has_quorum(links)) continue;
    ++tried;
    expect_progress(tried + 5000, links);
  }
}

}  // namespace
}  // namespace sim
