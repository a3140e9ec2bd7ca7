#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "paxos/env.h"
#include "paxos/replica.h"

/// N replicas of the protocol in memory, driven by messages alone: virtual time, a bag of letters that a
/// test delivers, drops, repeats and reorders, and a disk that forgets what was not synced.
namespace paxos_test {

using namespace paxos;

struct Letter {
  ReplicaId from;
  ReplicaId to;
  Incarnation incarnation;  ///< the sender's
  unsigned to_boot = 0;     ///< the receiver's life when it was sent: nothing crosses a restart
  Time due{};
  PeerMessage message;
};

struct Setup {
  std::size_t replicas = 3;
  bool born = true;
  bool even_founds = true;  ///< a cluster can be born with an even number of replicas
  std::size_t voters = 0;   ///< those that were born together; the rest are machines that wait. 0: all
  std::uint64_t seed = 1;
  Duration heartbeat{std::chrono::milliseconds{50}};
  Duration election_timeout{std::chrono::milliseconds{250}};
  /// Sync every group as soon as it is written. Off: a test calls sync(), or run_for() after disk_delay.
  bool auto_sync = true;
  Duration disk_delay{};  ///< with auto_sync off, how long run_for() lets a group wait
  Duration latency_min{std::chrono::microseconds{200}};
  Duration latency_max{std::chrono::microseconds{800}};
  unsigned loss_percent = 0;
  unsigned duplicate_percent = 0;
  Bounds bounds = {};
};

/// What the replica's log holds after a power cut.
struct Disk {
  Incarnation incarnation;
  std::optional<BirthRecord> birth;
  Ballot promised;
  Slot chosen_prefix;
  Slot first{1};
  std::map<Slot, LogEntry> entries;
  std::uint64_t group = 0;
};

struct Group {
  std::uint64_t number = 0;
  std::vector<Record> records;
  std::vector<Envelope> after;
  Time since{};
};

struct Node {
  std::unique_ptr<Replica> replica;  ///< null while it is down
  Disk disk;
  std::deque<Group> unsynced;
  bool disk_hangs = false;
  DiskRoom room = DiskRoom::enough;
  std::optional<Time> clock_stands_at;  ///< none of its deadlines comes
  Duration clock_ahead{};               ///< of the cluster's time
  unsigned boot = 0;
  std::size_t config_size = 0;        ///< how many replicas its config names
  std::vector<ChosenDecree> applied;  ///< applied[i] is slot i + 1
  std::vector<Hash> hashes;           ///< the chain at the same index
  std::size_t state_durable = 0;      ///< how much of `applied` survives a crash
  bool corrupt = false;               ///< its state machine computes something else
  std::vector<ReadIndex> reads;
  std::vector<std::uint64_t> reads_failed;
  std::vector<Bytes> forwarded;
  std::vector<std::string> events;
  std::uint64_t groups_written = 0;
};

class Cluster {
 public:
  using Which = std::function<bool(const Letter&)>;

  explicit Cluster(const Setup& setup);

  // --- replicas ---
  [[nodiscard]] Replica& operator[](std::size_t id) { return *nodes_[id].replica; }
  [[nodiscard]] Node& node(std::size_t id) { return nodes_[id]; }
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }
  [[nodiscard]] bool up(std::size_t id) const { return nodes_[id].replica != nullptr; }
  [[nodiscard]] Status status(std::size_t id) const { return nodes_[id].replica->status(); }
  [[nodiscard]] std::optional<std::size_t> leader() const;  ///< the one that leads with the highest ballot
  [[nodiscard]] std::uint64_t leader_changes() const { return leader_changes_; }

  // --- inputs ---
  void propose(std::size_t id, std::string_view text);
  bool try_propose(std::size_t id, std::string_view text);
  void read(std::size_t id, std::uint64_t read_id);
  void campaign(std::size_t id);
  void hold_applying(std::size_t id, bool held);
  void set_room(std::size_t id, DiskRoom room);
  void tick(std::size_t id);
  void tick_all();
  SkipResult skip(std::size_t id, std::vector<std::uint64_t> slots);
  /// Asks `at` to replace the directory of `id`.
  ChangeResult replace(std::size_t at, std::size_t id);
  ChangeResult change(std::size_t at, const MemberChange& change);
  void step(std::size_t to, std::size_t from, const PeerMessage& message);
  bool hand_over(std::size_t id);
  bool forward(std::size_t id, std::string_view command);

  // --- disk ---
  /// Syncs the oldest `count` groups of the replica.
  void sync(std::size_t id, std::size_t count = SIZE_MAX);
  void crash(std::size_t id);
  void restart(std::size_t id);
  /// A crash that also loses the directory: an empty one with a new incarnation starts.
  void wipe(std::size_t id);
  /// From its next start on its config names so many replicas.
  void set_config_size(std::size_t id, std::size_t replicas) { nodes_[id].config_size = replicas; }
  void hold_disk(bool hold) { setup_.auto_sync = !hold; }

  // --- network ---
  std::vector<Letter>& bag() { return bag_; }
  void deliver(Letter letter);
  /// Delivers what is in the bag now and matches, in order. Returns how many.
  std::size_t deliver_if(const Which& which);
  std::size_t drop_if(const Which& which);
  [[nodiscard]] std::vector<Letter> take_if(const Which& which);
  [[nodiscard]] std::size_t count_if(const Which& which) const;
  /// Delivers everything, in order, until the bag is empty; time stands still and nobody ticks.
  void settle();
  void cut(std::size_t from, std::size_t to);  ///< one way
  void cut_both(std::size_t a, std::size_t b);
  void join(std::size_t from, std::size_t to);
  void join_both(std::size_t a, std::size_t b);
  void isolate(std::size_t id);
  void heal();
  /// Keeps only the undirected links named.
  void only_links(const std::vector<std::pair<std::size_t, std::size_t>>& links);

  // --- time ---
  [[nodiscard]] Time now() const { return now_; }
  [[nodiscard]] Time time(std::size_t id) const {
    return nodes_[id].clock_stands_at.value_or(now_ + nodes_[id].clock_ahead);
  }
  void advance(Duration d) { now_ += d; }
  /// Lets deadlines, letters and disks happen in the order of their times.
  void run_for(Duration d);
  bool run_until(const std::function<bool()>& condition, Duration at_most);
  /// Heartbeats go round once, so that everybody is connected; nobody campaigns.
  void connect();
  /// Makes the replica leader, all else being quiet.
  void elect(std::size_t id);

  // --- the outside checker ---
  [[nodiscard]] const std::vector<std::string>& violations() const { return violations_; }
  [[nodiscard]] const std::map<Slot, Decree>& truth() const { return truth_; }
  /// By number, from 1 on: as the first replica to apply a change made them.
  [[nodiscard]] const std::vector<Configuration>& configurations() const { return configurations_; }
  [[nodiscard]] std::string text(std::size_t id, std::uint64_t slot) const;
  [[nodiscard]] std::size_t applied(std::size_t id) const { return nodes_[id].applied.size(); }
  /// The highest slot that anyone has applied.
  [[nodiscard]] Slot applied_anywhere() const;

  Setup& setup() { return setup_; }
  Random& random() { return random_; }
  /// Called with every letter before it is put into the bag; true drops it.
  Which on_post;
  /// Sees every letter delivered and every event; for transcripts.
  std::function<void(const Letter&)> on_deliver;
  std::function<void(std::size_t id, const Ready&)> on_ready;

 private:
  void start(std::size_t id);
  void drain(std::size_t id);
  void take(std::size_t id, Ready ready);
  void apply(std::size_t id, const std::vector<ChosenDecree>& decrees);
  void release(std::size_t id, const std::vector<Envelope>& envelopes, bool synced);
  void post(std::size_t from, std::size_t to, const PeerMessage& message);
  void write(Node& node, const Record& record);
  void vote_durable(std::size_t id, const VoteRecord& vote);
  [[nodiscard]] std::optional<Configuration> configuration_at(std::size_t id) const;
  void configured(Configuration next);
  void check_leaving(std::size_t id, const PeerMessage& message, bool synced);
  void violation(std::string what);
  void after(std::size_t id);

  Setup setup_;
  Random random_;
  Time now_{std::chrono::seconds{1}};
  std::vector<Node> nodes_;
  std::vector<Letter> bag_;
  std::vector<std::vector<bool>> cut_;
  std::map<Slot, Decree> truth_;
  std::map<Slot, Hash> truth_hash_;
  std::vector<Configuration> configurations_;   ///< [i] has number i + 1
  std::map<Slot, std::uint32_t> chosen_under_;  ///< whose quorum chose the slot
  std::map<std::pair<Slot, Ballot>, Decree> proposed_;
  std::map<std::pair<Slot, Ballot>, ReplicaSet> votes_;
  Ballot highest_leader_;
  std::uint64_t leader_changes_ = 0;
  std::vector<std::string> violations_;
};

// Which letters: by type, and by both ends where they matter.
template <class M>
Cluster::Which is() {
  return [](const Letter& l) { return std::holds_alternative<M>(l.message); };
}
template <class M>
Cluster::Which is_from(std::size_t from) {
  return [from](const Letter& l) { return std::holds_alternative<M>(l.message) && l.from.n == from; };
}
template <class M>
Cluster::Which is_to(std::size_t to) {
  return [to](const Letter& l) { return std::holds_alternative<M>(l.message) && l.to.n == to; };
}
template <class M>
Cluster::Which is_link(std::size_t from, std::size_t to) {
  return [=](const Letter& l) {
    return std::holds_alternative<M>(l.message) && l.from.n == from && l.to.n == to;
  };
}
inline Cluster::Which to(std::size_t id) {
  return [id](const Letter& l) { return l.to.n == id; };
}
inline Cluster::Which from(std::size_t id) {
  return [id](const Letter& l) { return l.from.n == id; };
}
inline Cluster::Which any() {
  return [](const Letter&) { return true; };
}

/// Takes the messages of a type on their way from one replica to another out of the bag.
template <class M>
[[nodiscard]] std::vector<M> take(Cluster& cluster, std::size_t from, std::size_t to) {
  std::vector<M> out;
  for (const Letter& letter : cluster.take_if(is_link<M>(from, to)))
    out.push_back(std::get<M>(letter.message));
  return out;
}

[[nodiscard]] inline Decree noop() { return {}; }
[[nodiscard]] inline Decree command(std::string_view text) {
  return {DecreeKind::commands, Bytes::copy_of(text)};
}
[[nodiscard]] inline Ballot ballot(std::uint64_t round, std::uint8_t replica) {
  return {round, ReplicaId{replica}};
}

}  // namespace paxos_test
