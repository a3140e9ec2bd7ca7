#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/paxos/cluster.h"

/// Random schedules: a seed decides loss, duplication, reordering, partitions, crashes, unsynced writes,
/// skips and hand-overs; the outside checker of cluster.h judges. Then everything heals and progress is
/// demanded. PAXOS_TORTURE_SEED replays one seed, PAXOS_TORTURE_RUNS sets how many are tried.
namespace paxos_test {
namespace {

using namespace std::chrono_literals;

std::uint64_t current_seed = 0;

void on_abort(int) {
  std::array<char, 96> line{};
  const int size = std::snprintf(line.data(), line.size(), "aborted; replay with PAXOS_TORTURE_SEED=%llu\n",
                                 static_cast<unsigned long long>(current_seed));
  [[maybe_unused]] const auto written = write(2, line.data(), static_cast<std::size_t>(size));
}

class Torture {
 public:
  explicit Torture(std::uint64_t seed) : cluster_(setup(seed)), dice_(cluster_.random()) {
    // Each run likes some faults more than others, so that rare ones have room to build up.
    for (unsigned& weight : weights_)
      weight = dice_.below(3) == 0 ? 0 : 1 + static_cast<unsigned>(dice_.below(8));
    weights_[deliver] = 60 + static_cast<unsigned>(dice_.below(200));
    weights_[sync] = 10 + static_cast<unsigned>(dice_.below(60));
    weights_[propose] = 5 + static_cast<unsigned>(dice_.below(30));
    weights_[time] = 3 + static_cast<unsigned>(dice_.below(12));
  }

  void run(std::size_t steps) {
    if (dice_.below(3) != 0) cluster_.run_for(600ms);  // most runs begin with a leader
    for (std::size_t i = 0; i < steps && cluster_.violations().empty(); ++i) act();
    if (!cluster_.violations().empty()) return;
    recover();
  }
  [[nodiscard]] bool broken() const { return !cluster_.violations().empty(); }
  [[nodiscard]] std::size_t decided() const { return cluster_.truth().size(); }

 private:
  enum Action {
    deliver,
    repeat,
    drop,
    sync,
    propose,
    time,
    campaign,
    crash,
    restart,
    partition,
    heal,
    skip,
    read,
    hand_over,
    remember,
    actions
  };

  static Setup setup(std::uint64_t seed) {
    static constexpr std::array<std::size_t, 6> sizes{3, 3, 5, 5, 4, 2};
    return {.replicas = sizes[seed % sizes.size()], .seed = seed, .auto_sync = false, .disk_delay = 1ms};
  }

  [[nodiscard]] std::size_t someone() { return dice_.below(cluster_.size()); }

  void act() {
    unsigned total = 0;
    for (unsigned weight : weights_) total += weight;
    auto pick = static_cast<unsigned>(dice_.below(total));
    int action = 0;
    while (pick >= weights_[static_cast<std::size_t>(action)])
      pick -= weights_[static_cast<std::size_t>(action++)];
    perform(static_cast<Action>(action));
  }

  Letter pick_letter(bool keep) {
    auto& bag = cluster_.bag();
    // The oldest often, any one sometimes.
    const std::size_t i =
        dice_.below(3) == 0 ? dice_.below(bag.size()) : dice_.below(std::min<std::size_t>(bag.size(), 8));
    Letter letter = bag[i];
    if (!keep) bag.erase(bag.begin() + static_cast<std::ptrdiff_t>(i));
    return letter;
  }

  void perform(Action action) {
    const std::size_t id = someone();
    switch (action) {
      case deliver:
      case repeat:
        if (!cluster_.bag().empty()) cluster_.deliver(pick_letter(action == repeat));
        if (cluster_.bag().size() > 600) cluster_.bag().resize(300);
        break;
      case drop:
        if (!cluster_.bag().empty()) (void)pick_letter(false);
        break;
      case sync:
        cluster_.sync(id, 1 + dice_.below(3));
        break;
      case propose:
        cluster_.try_propose(id, "c" + std::to_string(++commands_));
        break;
      case time:
        cluster_.advance(Duration{static_cast<std::int64_t>(dice_.below(30'000'000))});
        cluster_.tick(id);
        break;
      case campaign:
        if (cluster_.up(id) && dice_.below(8) == 0) cluster_.campaign(id);
        break;
      case crash:
        if (cluster_.up(id) && dice_.below(8) == 0) cluster_.crash(id);
        break;
      case restart:
        if (!cluster_.up(id) || dice_.below(6) == 0) {
          cluster_.node(id).state_durable = durable(id);
          cluster_.restart(id);
        }
        break;
      case partition:
        cluster_.cut(id, someone() == id ? (id + 1) % cluster_.size() : someone());
        break;
      case heal:
        if (dice_.below(3) == 0) cluster_.heal();
        break;
      case skip:
        if (cluster_.up(id) && cluster_[id].is_leader()) {
          const Slot next = cluster_[id].skip_next(cluster_.now(), 0).next_free;
          (void)cluster_.skip(id, {next.n + dice_.below(3)});
        }
        break;
      case read:
        if (cluster_.up(id)) begin_read(id);
        break;
      case hand_over:
        if (cluster_.up(id)) (void)cluster_.hand_over(id);
        break;
      case remember:  // the state store writes what is applied
        if (cluster_.up(id)) cluster_.node(id).state_durable = durable(id);
        break;
      case actions:
        break;
    }
    check_reads();
  }

  /// Somewhere between what was durable and what is applied: state is written behind.
  std::size_t durable(std::size_t id) {
    const Node& n = cluster_.node(id);
    return n.state_durable + dice_.below(n.applied.size() - n.state_durable + 1);
  }

  void begin_read(std::size_t id) {
    floors_[++reads_] = cluster_.applied_anywhere();
    cluster_.read(id, reads_);
  }
  void check_reads() {
    for (std::size_t id = 0; id < cluster_.size(); ++id) {
      for (const ReadIndex& read : cluster_.node(id).reads)
        EXPECT_GE(read.index, floors_[read.id])
            << "a read misses what was applied before it began, seed " << current_seed;
      cluster_.node(id).reads.clear();
    }
  }

  void recover() {
    cluster_.heal();
    cluster_.setup().auto_sync = true;
    for (std::size_t id = 0; id < cluster_.size(); ++id) {
      if (!cluster_.up(id)) cluster_.restart(id);
      cluster_.sync(id);
    }
    const Duration bound = 12 * cluster_.setup().election_timeout;
    ASSERT_TRUE(cluster_.run_until([&] { return ready(); }, bound))
        << "no leader can propose, seed " << current_seed;
    const std::string last = "last " + std::to_string(current_seed);
    std::size_t tries = 0;
    ASSERT_TRUE(cluster_.run_until(
        [&] {
          if (tries++ % 100 == 0 && ready()) (void)cluster_.try_propose(*cluster_.leader(), last);
          return everywhere(last);
        },
        bound))
        << "no progress, seed " << current_seed << "\n"
        << describe();
  }
  [[nodiscard]] std::string describe() {
    std::string out;
    for (std::size_t id = 0; id < cluster_.size(); ++id) {
      const Status s = cluster_.status(id);
      out += std::to_string(id) + ": " + to_string(s.role) + " promised " + to_string(s.ballot) +
             " follows " + to_string(s.leader_ballot) + " chosen " + std::to_string(s.chosen.n) + " of " +
             std::to_string(s.chosen_max.n) + " accepted " + std::to_string(s.accepted.n) + " applied " +
             std::to_string(s.applied.n) + (s.hole ? " with a hole\n" : "\n");
      const auto& events = cluster_.node(id).events;
      for (std::size_t i = events.size() > 6 ? events.size() - 6 : 0; i < events.size(); ++i)
        out += "     " + events[i] + "\n";
    }
    return out;
  }
  [[nodiscard]] bool ready() {
    // A hole that a leader left stays until a later ballot: the operator's way out is a new leader.
    const auto leader = cluster_.leader();
    if (!leader) return false;
    if (cluster_.status(*leader).hole) cluster_.campaign(*leader);
    return cluster_[*leader].can_propose();
  }
  [[nodiscard]] bool everywhere(const std::string& last) const {
    for (std::size_t id = 0; id < cluster_.size(); ++id) {
      bool found = false;
      const std::size_t count = cluster_.applied(id);
      for (std::size_t slot = count; slot > 0 && slot + 20 > count; --slot)
        found = found || cluster_.text(id, slot) == last;
      if (!found) return false;
    }
    return true;
  }

  Cluster cluster_;
  Random& dice_;
  std::array<unsigned, actions> weights_{};
  std::uint64_t commands_ = 0;
  std::uint64_t reads_ = 0;
  std::map<std::uint64_t, Slot> floors_;
};

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::size_t torture(std::uint64_t seed, std::size_t steps) {
  current_seed = seed;
  Torture run(seed);
  run.run(steps);
  if (run.broken() || testing::Test::HasFailure())
    std::fprintf(stderr, "replay with PAXOS_TORTURE_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return run.decided();
}

TEST(Torture, RandomSchedulesDecideOneDecreeASlotAndRecover) {
  std::signal(SIGABRT, on_abort);
  const std::uint64_t one = from_environment("PAXOS_TORTURE_SEED", 0);
  if (one != 0) {
    torture(one, 1200);
    return;
  }
  const std::uint64_t runs = from_environment("PAXOS_TORTURE_RUNS", 1500);
  const std::uint64_t first = from_environment("PAXOS_TORTURE_FIRST", 1);
  std::size_t decided = 0;
  for (std::uint64_t seed = first; seed < first + runs; ++seed) {
    decided += torture(seed, 1200);
    if (HasFailure()) return;
  }
  std::fprintf(stderr, "%zu slots decided in %llu runs\n", decided, static_cast<unsigned long long>(runs));
  EXPECT_GT(decided, runs * 2) << "the schedules hardly decide anything: they test nothing";
}

}  // namespace
}  // namespace paxos_test
