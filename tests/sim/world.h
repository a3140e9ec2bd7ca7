#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/node.h"
#include "chat/snapshot_puller.h"
#include "chat/snapshot_source.h"
#include "client/session/outbox.h"
#include "net/transport.h"
#include "tests/sim/conduct.h"
#include "tests/sim/disk.h"
#include "tests/sim/observer.h"
#include "tests/sim/own_rows.h"
#include "tests/sim/queue.h"
#include "tests/sim/random.h"
#include "tests/sim/rules_watch.h"
#include "tests/sim/scenario.h"
#include "tests/sim/timeline.h"

namespace sim {

inline constexpr std::size_t replicas_max = 9;
/// The one that asks whether there is progress.
inline constexpr std::uint64_t probe_client = 1'000'000;
/// The one that redacts: nothing of it is lost or in two minds but what goes through the network.
inline constexpr std::uint64_t redact_client = 1'000'001;

[[nodiscard]] inline paxos::Time at_time(Nanos now) { return paxos::Time{paxos::Duration{now}}; }
[[nodiscard]] inline chat::ClientAddress client_address(std::uint64_t client, std::uint64_t life) {
  chat::ClientAddress out;
  for (unsigned i = 0; i < 8; ++i) {
    out.bytes[i] = static_cast<std::uint8_t>(client >> (8 * i));
    out.bytes[8 + i] = static_cast<std::uint8_t>(life >> (8 * i));
  }
  return out;
}

/// Each bound of core, state machine, desk and datagrams (paxos/bounds.h, chat/bounds.h), and what happens at
/// it.
struct BoundName {
  const char* name;
  const char* what;
};
[[nodiscard]] const std::array<BoundName, bounds_count>& bound_names();
/// How a fault that lasts ends: `from` of its event.
namespace fault_end {
enum FaultEnd : std::uint8_t {
  unpause = 1,
  unslow,
  unhang,
  uncut,
  flap,
  unburst,
  restore,
  remedy,
  mend,
  unstall,
  release,
  make_room,
  deafen,
  candidate,
  sound,
  uncut_client,
  operate,
  empty,
};
}

/// A cluster, its clients, network and disks in virtual time. Everything follows from the scenario's seed.
/// The replicas are chat::Node and the clients client::Outbox, as in the programs.
class World {
 public:
  World(const Scenario& scenario, Timeline* timeline);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  /// Starts all replicas and clients.
  void begin();
  /// Runs until `end`, or until `until()` says so after an event. Throws Violation.
  void run(Nanos end);
  template <class F>
  bool run_until(Nanos end, F&& until) {
    while (queue_.next_at() <= end) {
      step();
      if (until()) return true;
    }
    now_ = end;
    return until();
  }
  void step();

  // What the phases and the topology tests steer by.
  [[nodiscard]] Nanos now() const { return now_; }
  [[nodiscard]] std::uint64_t trace_hash() const { return trace_; }
  [[nodiscard]] std::uint64_t events() const { return events_; }
  [[nodiscard]] const std::array<std::uint64_t, 32>& events_by_kind() const { return events_by_kind_; }
  [[nodiscard]] Observer& observer() { return observer_; }
  [[nodiscard]] const Scenario& scenario() const { return scenario_; }
  [[nodiscard]] const chat::Node* node(std::uint8_t replica) const { return hosts_[replica].node.get(); }
  [[nodiscard]] bool born(std::uint8_t replica) const;
  [[nodiscard]] std::optional<std::uint8_t> leader() const;
  [[nodiscard]] std::size_t pending() const;  ///< of all clients: messages without a known fate
  [[nodiscard]] bool settled() const;         ///< every replica runs and has applied the same
  [[nodiscard]] std::vector<paxos::Slot> applied() const;
  [[nodiscard]] std::uint64_t to_redo() const;  ///< of its own log, by whoever has most to
  [[nodiscard]] std::uint64_t lag()
      const;  ///< slots that some replica, which is not gone for good, has not learned
  [[nodiscard]] std::vector<std::uint16_t> rules() const;  ///< in force at each replica; 0: it is down
  [[nodiscard]] const RulesWatch* rules_watch() const { return rules_.get(); }
  [[nodiscard]] Random& random() { return random_; }
  void say(std::string line);
  [[nodiscard]] bool saying() const { return timeline_ != nullptr; }
  template <class Told>
  void note(const std::string& who, const Told& told) {
    if (timeline_ == nullptr) return;
    Timeline::Line line{.at = now_, .text = who};
    if (tell(told, line)) timeline_->add(std::move(line));
  }
  /// How far a client's command came: sends an open to every replica until one answers.
  void start_probe();
  [[nodiscard]] bool probe_answered() const { return !probing_; }
  [[nodiscard]] std::uint64_t leader_changes() const { return leader_changes_; }
  [[nodiscard]] std::uint64_t faults_injected() const { return faults_injected_; }
  [[nodiscard]] std::uint64_t reassembled() const { return reassembled_; }
  [[nodiscard]] std::uint64_t narrow_hits() const { return narrow_hits_; }
  [[nodiscard]] std::uint64_t snapshots() const { return snapshots_; }
  /// Configurations that were decided, without the first one.
  [[nodiscard]] std::uint64_t changes() const { return observer_.changes(); }
  [[nodiscard]] std::string standing() const;  ///< one line a replica, for people
  /// How often each bound was reached, by all replicas in all their lives. To be asked once, at the end.
  [[nodiscard]] BoundTotals bounds_reached();

  // Faults (world_faults.cc).
  void inject(const PlannedFault& planned);
  void stop_faults();
  void stop_posting() { posting_ = false; }
  /// Ends every fault: what is down starts, links and disks are well. With a core, only within it: links
  /// between others and everything else that was broken stay as they are, for good.
  void heal_all();
  void heal_core();
  /// Those from this number on have full disks; and none has any more (world_disks.cc).
  void fill_all_but(std::size_t others);
  void empty_disks();
  /// Asks every replica for a linearizable read until each has answered.
  void start_read_probe();
  [[nodiscard]] bool reads_answered() const;
  /// A probe was told that disks are full, since the last start_read_probe().
  [[nodiscard]] bool told_full() const { return told_full_; }
  /// Every client follows and posts once more, and reaches only one replica from now on.
  void reach_one();
  [[nodiscard]] bool all_followed() const;
  /// Every replica has carried out what was redacted, and nobody waits for an answer to a redaction.
  [[nodiscard]] bool all_erased() const;
  /// Of each: see Observer::nothing_left().
  void look_for_redacted();
  /// Every replica has taken off its disk what rooms have forgotten.
  [[nodiscard]] bool all_forgotten() const;
  /// Of each: see Observer::nothing_below().
  void look_for_forgotten();
  /// Exactly these links work (both ways); no loss, no delay beyond the scenario's least.
  void set_links(const std::array<std::uint32_t, replicas_max>& neighbours);

 private:
  /// What is served stays as it was then.
  struct Served {
    chat::SnapshotId id;
    Disk disk;  ///< of it, only what is this replica's own
  };
  /// A peer's state on its way, and the own one for others.
  struct Snapshots {
    std::unique_ptr<chat::SnapshotSource> source;  ///< of this life
    std::unique_ptr<chat::SnapshotPuller> puller;
    std::optional<Served> served;                     ///< of this directory
    std::vector<chat::SnapshotPuller::Write> staged;  ///< likewise, in the order in which they came
    std::size_t flushed = 0;                          ///< of those, a crash leaves at least so many
    Nanos staging_until = 0;                          ///< then all is done that is to be done with it
    Nanos tick_at = never;
  };
  struct Host {
    std::uint8_t id = 0;
    Disk disk;
    std::optional<Disk> shelf;  ///< the original directory, while an emptied or older one is in its place
    std::optional<Disk> copy;   ///< an older one, taken while it ran
    bool old_copy = false;      ///< that is in its place
    bool lost = false;          ///< the directory is gone for good, and not replaced yet
    std::unique_ptr<chat::Node> node;
    std::uint64_t life = 0;      ///< raised at every start and end: events of an earlier life are void
    std::uint64_t own_life = 0;  ///< as datagrams of this life of the directory have it; below 2^32
    std::uint16_t installed =
        chat::rules_released;  ///< the rules that the program knows which its next start runs
    std::uint16_t program = chat::rules_released;  ///< and that of this life
    unsigned paused = 0;
    std::deque<Event> backlog;
    Nanos clock_base = 0;  ///< its monotonic clock at `clock_at`
    Nanos clock_at = 0;
    std::int64_t clock_ppm = 0;
    unsigned stalled = 0;           ///< its clock stands at `clock_base`
    bool clock_catches_up = false;  ///< at the end of that
    Nanos stall_ended = -never;     ///< the last one
    std::int64_t wall_offset_ms = 0;
    Nanos tick_at = never;
    bool turn_due = false;
    std::size_t syncing = 0;  ///< groups in the sync that is under way
    std::uint64_t sync = 0;
    paxos::Time sync_started{};  ///< on its clock
    std::uint64_t synced = 0;    ///< last group on the disk that the node has not heard of (World::sync_done)
    bool sync_held = false;      ///< done, but the disk hangs
    unsigned hung = 0;
    unsigned slow = 0;
    bool fail_sync = false;
    unsigned full = 0;    ///< no write to its disk succeeds
    unsigned filled = 0;  ///< so often its disk was filled up
    paxos::DiskRoom room = paxos::DiskRoom::enough;
    bool room_known = false;            ///< to its node, since a whole turn
    std::uint64_t proposed_before = 0;  ///< then: figures().proposed
    unsigned held = 0;                  ///< nothing is applied
    bool held_hangs = false;            ///< since the state's disk hangs, which counts as its disk
    paxos::Time held_since{};           ///< on its clock
    bool led = false;  ///< at the end of its last turn; since it stopped it held so much at least:
    std::size_t held_bytes = 0;
    std::uint64_t held_slots = 0;
    Nanos narrow_until = 0;          ///< until then what carries decrees does not get through to it
    bool misapplies = false;         ///< its state has another hash than the others'
    paxos::Slot misapplies_from;     ///< in this life
    Nanos unnoticed_until = never;   ///< it must have noticed by then
    bool gone = false;               ///< stays down for good (liveness phase)
    std::int64_t effects_left = -1;  ///< dies when it reaches 0
    bool flushing = false;
    Snapshots snapshots;
    /// The newest boot of each directory of each peer, heard in this life.
    std::array<std::vector<std::pair<paxos::Incarnation, std::uint64_t>>, replicas_max> newest_boots;
    std::array<std::uint64_t, replicas_max> newest_boot{};  ///< of each peer, of the directory heard last
    std::unique_ptr<net::Transport> transport;              ///< of this life, once it is needed
    Nanos transport_at = never;
    paxos::Time transport_due =
        paxos::time_never;  ///< its deadline on its own clock; Time::min(): it holds something
  };
  struct Read {
    std::uint32_t room = 0;
    std::uint64_t floor = 0;
    bool linearizable = false;
    paxos::Slot after;         ///< highest slot that was acknowledged to anyone before
    std::size_t redacted = 0;  ///< redactions acknowledged before
  };
  struct Follow {
    std::uint32_t room = 0;
    std::uint64_t next = 1;
    std::uint64_t id = 0;  ///< of the poll that is under way
    Nanos asked = -never;
  };
  struct Client {
    std::uint32_t id = 0;
    std::unique_ptr<client::Outbox> outbox;                  ///< none: it died
    client::Ledger ledger;                                   ///< what its state file holds
    client::Ledger synced;                                   ///< of it, what a power cut leaves at least
    std::vector<std::vector<client::LedgerEvent>> unsynced;  ///< its records behind that
    std::uint64_t life = 0;
    Random random{0};
    Nanos tick_at = never;
    std::uint32_t next_message = 0;
    std::map<std::uint64_t, Read> reads;
    std::int64_t steps_left = -1;  ///< of what its turns want done; dies when it reaches 0
    std::uint32_t cut_to = 0;      ///< replicas that it does not reach
    std::uint32_t cut_from = 0;    ///< whose answers it does not get
    std::uint64_t cut = 0;         ///< which cut that is
    std::optional<Follow> follow;
    std::unique_ptr<net::Transport> transport;  ///< of its `transport_life`
    std::uint64_t transport_life = 0;
    Nanos transport_at = never;
  };

  /// What a client sent, and to which boot of which replica it went.
  struct Recording {
    std::uint8_t to = 0;
    std::uint64_t boot = 0;
    std::uint64_t client = 0;
    std::uint64_t life = 0;  ///< as the client's address has it
    std::shared_ptr<const paxos::Bytes> bytes;
  };

  // Replicas (world.cc).
  void start(Host& host);
  /// `rules`: in force, as its state says; none where the program does not know them.
  [[nodiscard]] std::optional<paxos::Recovered> open(Host& host, paxos::Slot applied, const paxos::Hash& hash,
                                                     std::optional<std::uint16_t> rules);
  /// How many cannot take part until an operator mends them.
  [[nodiscard]] std::size_t unfit() const;
  void crash(Host& host, const char* why);
  void restart_later(Host& host, Nanos wait);
  bool effect(Host& host);
  void node_input_done(Host& host);
  void turn(Host& host);
  void carry_out(Host& host, chat::NodeOutput& out);
  void start_sync(Host& host);
  void sync_done(Host& host, std::uint64_t sync);
  void schedule_tick(Host& host);
  void send(Host& host, paxos::Envelope&& envelope);
  void carry(std::uint8_t from, std::uint8_t to, const Event& packet);
  [[nodiscard]] std::uint8_t speaks(const Host& host) const;
  [[nodiscard]] std::uint64_t origin_word(const Host& host) const;
  void readmit(Host& host, std::uint8_t from, const paxos::Origin& origin);
  void disown(Host& host, std::uint8_t from, const paxos::Origin& origin, std::uint64_t known_boot);
  bool is_outdated(Host& host, std::uint8_t from, const paxos::Origin& origin,
                   const paxos::PeerMessage& message);
  // Datagrams (world_network.cc).
  [[nodiscard]] bool fits(std::size_t bytes) const {
    // Where paths are narrow, what has the size to be refused is a datagram.
    if (scenario_.narrow && bytes + net::seal_overhead + 8 > 400) return false;
    return !scenario_.seal_all &&
           (scenario_.datagram_bytes == 0 || bytes + net::seal_overhead + 8 <= scenario_.datagram_bytes);
  }
  [[nodiscard]] net::Transport& transport(Host& host);
  [[nodiscard]] net::Transport& transport(Client& client);
  void learn_boot(Host& host, std::uint8_t from, std::uint64_t boot);
  void keep_recording(Recording recording);
  void replay_recordings(Random& random);
  void send_sealed(Host& host, const paxos::Envelope& envelope);
  /// Seals what was packed, and gives each datagram to the network.
  void ship(Host& host);
  /// At the end of a turn: most have nothing for the transport.
  void ship_if_due(Host& host) {
    if (host.transport_due != paxos::time_never && host.transport_due <= local(host)) ship(host);
  }
  void ship(Client& client);
  /// As net::Opener does it: of each directory the latest boot only. Anything else is dropped.
  [[nodiscard]] static bool latest_boot(Host& host, std::uint8_t from, const paxos::Incarnation& incarnation,
                                        std::uint64_t boot);
  // Narrow paths (narrow.cc). `from`, `to`: net::client_sender for any client.
  [[nodiscard]] const Narrowing* narrow(std::uint8_t from, std::uint8_t to);
  /// Whether it is for the network to carry; its sender is told as its kernel would tell it.
  [[nodiscard]] bool passes(net::Transport& transport, paxos::Time now, std::uint8_t from, std::uint8_t to,
                            const net::Outgoing& out);
  /// True when the node got something.
  bool receive(Host& host, const Event& event);
  void client_receive(Client& client, const Event& event);
  void reply(Host& host, const chat::Reply& reply);
  void on_host(Host& host, const Event& event);
  void watch_leader(Host& host);
  // Bounds (bounds.cc).
  void within_bounds(Host& host);
  void count_bounds(const Host& host);
  [[nodiscard]] paxos::Time local(const Host& host) const;
  [[nodiscard]] Nanos global(const Host& host, paxos::Time at) const;
  [[nodiscard]] std::int64_t wall_ms(const Host& host) const {
    return 1'750'000'000'000 + now_ / millisecond + host.wall_offset_ms;
  }

  // Upgrades (upgrades.cc).
  void change_program(Random& random, Nanos length);
  void install(Host& host, std::uint16_t rules);
  /// It ended, or does not start, because its program is too old for what its directory says.
  void refused(Host& host, const std::string& why);
  /// What operators do when faults end: those that could not go on with the old program get the next one; at
  /// the very end all do that ever will.
  void finish_upgrades(bool at_the_end);
  [[nodiscard]] std::uint8_t format_spoken(const Host& host) const;
  /// Whether this life's program reads a datagram of `format`; what it does not read is as good as lost.
  [[nodiscard]] bool reads(const Host& host, std::uint64_t format);

  // Clients (world_clients.cc).
  void start_client(Client& client);
  void client_turn(Client& client);
  /// Its process ends, or its machine: then of its journal what was not synced may be lost.
  void client_dies(Client& client, Nanos resume);
  void follow(Client& client);
  void follow_reply(Client& client, const chat::HistoryReply& reply);
  void cut_client(Random& random, Nanos length);
  void share_session(Random& random);
  void client_event(Event event);
  void post(Client& client);
  void begin_read(Client& client);
  void begin_poll(Client& client, std::uint32_t room);
  void to_replica(std::uint32_t client, std::uint64_t life, std::uint8_t to,
                  std::shared_ptr<const chat::ClientMessage> message);
  void on_reply(std::uint64_t client, std::uint64_t life, std::uint8_t from,
                const chat::ClientReply& message);
  void probe();

  // Trimmed logs (world_trims.cc).
  void state_durable(Host& host);
  // Snapshots (world_snapshots.cc).
  void start_snapshots(Host& host);
  void crash_snapshots(Host& host);
  void want_snapshot(Host& host, const paxos::SnapshotWish& wish);
  void snapshot(Host& host, const Event& event);
  void snapshot_turn(Host& host);
  void say_snapshot_word(Host& host, std::optional<paxos::ReplicaId> to, const chat::SnapshotWord& said);
  void with_served(const Served& served, const std::function<void(const chat::RowReader&)>& use);
  void install_snapshot(Host& host, const chat::SnapshotProgress& progress);

  // Redactions (world_redactions.cc).
  // What rooms keep (world_retention.cc).
  void retain();
  void forget(Host& host, const chat::NodeOutput& out);

  void start_redactor();
  void redact();
  void redact_turn();
  void keep_own_rows(Host& host, const chat::StateWrite& write);
  void carry_out_redactions(Host& host, chat::NodeOutput& out);
  void erase(Host& host, const Event& event);

  // Faults.
  void next_fault(std::size_t index);
  void pretend(Fault fault);
  void end_fault(const Event& event);
  void until_later(std::uint64_t what, std::uint8_t a, std::uint64_t mask, Nanos length);
  void cut(std::uint8_t from, std::uint8_t to, int by);
  [[nodiscard]] bool lost();
  [[nodiscard]] Nanos delay();
  [[nodiscard]] std::uint8_t any_replica(Random& random) const {
    return static_cast<std::uint8_t>(random.below(scenario_.replicas));
  }
  void unwipe(Host& host);
  void roll_back(Host& host, Nanos length);
  void lose_directory(Host& host, Random& random, Nanos length);
  /// The operator's part: asks the leader until the replica votes again.
  void replace_directory(Host& host);
  [[nodiscard]] paxos::MemberChange next_change(const Host& host, const paxos::Configuration& now) const;
  [[nodiscard]] bool knows_better(const Host& other, const Host& host) const;
  void disk_goes_on(Host& host);
  void end_disk_faults(Host& host);
  void hold_applying(Host& host);
  // Disks that fill up (world_disks.cc).
  void fill_disks(Random& random, Nanos length);
  void set_room(Host& host, paxos::DiskRoom room);
  void empty_disk(Host& host);
  void within_room(Host& host, const chat::NodeOutput& out);
  void ask_read_probe();
  void on_probe_reply(std::uint8_t from, const chat::ClientReply& message);
  void apply_again(Host& host);
  void lag(Host& host, Random& random, Nanos length);
  void end_of_lag(Host& host, bool campaign);
  void misapply(Host& host, Random& random, Nanos length);
  void end_misapplying(Host& host);
  void watch_misapplying(Host& host);
  /// The state's rows as this host sees them.
  [[nodiscard]] tl::expected<chat::Machine, std::string> load(const Host& host,
                                                              const chat::RowReader& rows) const;
  void cut_links(std::vector<std::pair<std::uint8_t, std::uint8_t>> links, Nanos length);
  void stall_clock(Host& host);
  void resume_clock(Host& host);
  void wake_by_clock(Host& host);

  Scenario scenario_;
  Random random_;
  Timeline* timeline_;
  Observer observer_;
  Conduct conduct_;
  std::unique_ptr<RulesWatch> rules_;  ///< in runs with upgrades
  Queue queue_;
  Nanos now_ = 0;
  std::uint64_t trace_ = 0;
  std::uint64_t events_ = 0;
  std::array<std::uint64_t, 32> events_by_kind_{};
  std::vector<Host> hosts_;
  std::vector<Client> clients_;

  std::array<std::array<int, replicas_max>, replicas_max> cuts_{};
  std::uint32_t loss_ppm_;
  std::uint32_t burst_ppm_ = 0;
  bool faults_on_ = true;
  bool posting_ = true;
  std::uint64_t era_ = 0;  ///< ends of faults of an earlier era are void
  std::vector<Event> old_packets_;
  std::vector<net::Received> received_;
  chat::NodeOutput output_;       ///< of a turn; kept for its memory
  BoundTotals bounds_reached_{};  ///< of lives that ended
  std::uint64_t faults_injected_ = 0;
  std::vector<Recording> recordings_;
  std::uint64_t recorded_ = 0;
  std::uint64_t replayed_ = 0;  ///< of those, given to somebody whom they were not for
  std::size_t narrowed_ = 0;    ///< of the scenario's, so many have happened
  std::array<std::array<const Narrowing*, replicas_max + 1>, replicas_max + 1>
      links_{};  ///< the last index: all clients
  std::uint64_t narrow_hits_ = 0;
  std::uint64_t snapshots_ = 0;    ///< taken
  std::uint64_t reassembled_ = 0;  ///< bodies that came through net::Transport
  std::vector<Fault> pretend_;     ///< of the scenario's, those that have not happened yet

  std::unique_ptr<client::Outbox> redactor_;
  Random redact_random_{0};
  Random retain_random_{0};
  Nanos redact_tick_at_ = never;
  std::vector<std::pair<std::uint32_t, std::uint64_t>>
      redact_asked_;  ///< [i] is ticket i + 1; seq 0: what a room keeps
  bool probing_ = false;
  std::uint64_t probe_nonce_ = 0;
  bool reading_ = false;
  std::uint32_t read_by_ = 0;  ///< replicas that have answered
  bool told_full_ = false;
  std::optional<std::uint8_t> last_leader_;
  std::uint64_t leader_changes_ = 0;
};

}  // namespace sim
