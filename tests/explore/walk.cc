#include "tests/explore/walk.h"

#include <algorithm>
#include <memory>
#include <set>

#include "paxos/env.h"

namespace explore {

namespace {

constexpr std::size_t steps_max = 400;

struct Cluster {
  std::vector<std::unique_ptr<Host>> hosts;  ///< never loaded
  std::vector<LocalId> ids;                  ///< where the model says that they are
  std::set<LetterId> bag;
  std::uint8_t campaigns = 0;
  std::uint8_t crashes = 0;
  std::uint8_t skips = 0;
  std::uint8_t changes = 0;
};

/// Events that change something; a delivery that the model does not know yet is among them.
std::vector<Event> possible(const Model& model, const Cluster& cluster) {
  const Config& config = model.config();
  std::vector<Event> out;
  for (const LetterId letter : cluster.bag) {
    const std::uint8_t to = model.addressee(letter);
    if (!model.deaf(cluster.ids[to], letter))
      out.push_back({.kind = EventKind::deliver, .replica = to, .a = letter});
  }
  for (std::uint8_t r = 0; r < config.directories(); ++r) {
    const Host::Options& options = model.local(cluster.ids[r]).options;
    out.insert(out.end(), options.others.begin(), options.others.end());
    if (options.campaign && cluster.campaigns < config.ballots)
      out.push_back({.kind = EventKind::campaign, .replica = r});
    if (options.skip && cluster.skips < config.skips) out.push_back({.kind = EventKind::skip, .replica = r});
    if (options.change && cluster.changes < config.changes)
      out.push_back({.kind = EventKind::change, .replica = r});
    if (cluster.crashes < config.crashes)
      out.insert(out.end(), options.crashes.begin(), options.crashes.end());
  }
  return out;
}

void step(Model& model, Cluster& cluster, const Event& event) {
  const LocalId before = cluster.ids[event.replica];
  const Model::Outcome outcome = model.outcome(before, event);
  Host& host = *cluster.hosts[event.replica];
  const Letter letter = event.kind == EventKind::deliver ? model.letter(event.a).letter : Letter{};
  std::vector<LetterId> sent;
  for (const Letter& out : host.run(event, &letter)) sent.push_back(model.intern(out));
  std::sort(sent.begin(), sent.end());
  sent.erase(std::unique(sent.begin(), sent.end()), sent.end());
  const std::string what = model.describe(event);
  if (sent != model.list(outcome.letters))
    throw Violation("canonical form: a replica that was never loaded sends something else at: " + what);
  if (host.save() != model.local(outcome.next).saved)
    throw Violation("canonical form: a replica that was never loaded gets into another state at: " + what);
  cluster.ids[event.replica] = outcome.next;
  cluster.bag.insert(sent.begin(), sent.end());
  if (event.kind == EventKind::campaign) ++cluster.campaigns;
  if (event.kind == EventKind::crash) ++cluster.crashes;
  if (event.kind == EventKind::skip) ++cluster.skips;
  if (event.kind == EventKind::change) ++cluster.changes;
}

}  // namespace

Walked walk(Model& model, std::uint64_t walks, std::uint64_t seed) {
  Walked out;
  paxos::Random random(seed);
  for (; out.walks < walks; ++out.walks) {
    Cluster cluster;
    cluster.bag.insert(model.first_letters().begin(), model.first_letters().end());
    for (std::uint8_t r = 0; r < model.config().directories(); ++r) {
      cluster.hosts.push_back(std::make_unique<Host>(model.members(), r));
      cluster.ids.push_back(model.initial(r));
    }
    for (std::size_t n = 0; n < steps_max; ++n, ++out.steps) {
      const std::vector<Event> events = possible(model, cluster);
      if (events.empty()) break;
      step(model, cluster, events[random.below(events.size())]);
    }
  }
  return out;
}

}  // namespace explore
