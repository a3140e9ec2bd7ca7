#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "chat/node.h"
#include "config/cluster_config.h"
#include "config/key_watch.h"
#include "daemon/address_file.h"
#include "daemon/after_sync.h"
#include "daemon/alarm.h"
#include "daemon/answers.h"
#include "daemon/damages.h"
#include "daemon/disk.h"
#include "daemon/faults.h"
#include "daemon/flight_recorder.h"
#include "daemon/key_users.h"
#include "daemon/metrics.h"
#include "daemon/metrics_server.h"
#include "daemon/outlet.h"
#include "daemon/pause.h"
#include "daemon/round_trips.h"
#include "daemon/scrub.h"
#include "daemon/secrets.h"
#include "daemon/snapshots.h"
#include "daemon/supervision.h"
#include "daemon/vitals.h"
#include "net/address_book.h"
#include "net/loop.h"
#include "net/mailbox.h"
#include "net/resolver.h"
#include "net/signals.h"
#include "net/task.h"
#include "net/transport.h"
#include "storage/stores.h"

namespace paxosd {

/// run() gives this when a snapshot has taken the place of the state, or the state is to be made again: open
/// the directory again.
inline constexpr int exit_reopen = -1;

/// Joins the rooms of one replica in one event loop: datagrams and completions go into chat::Node, its
/// effects go to the log thread, the state thread and the socket. Decides nothing about the protocol.
/// Loop thread only, but for what the storage threads post into the mailbox.
class Host {
 public:
  struct Options {
    config::ClusterConfig config;
    Secrets::File secrets;  ///< one at least
    paxos::ReplicaId self;
    std::uint64_t seed = 1;
    std::uint64_t life = 1;               ///< random at each start
    net::Opener::TicketKey tickets = {};  ///< the same
    std::string version = PAXOSD_VERSION;
    std::uint16_t rules_known = chat::rules_released;
    std::filesystem::path directory;     ///< of the data; not the config's where --data-dir says another
    bool level_by_flag = false;          ///< --log-level was given: a reload leaves it alone
    std::function<void()> lived;         ///< called once, when it has run for StartCounter::long_enough
    std::string renew_state;             ///< where run() gives exit_reopen: why the state is to be put aside
    std::optional<paxos::Time> renewed;  ///< when this process put its state aside last, by itself
  };

  Host(net::Loop& loop, Options options, storage::Storage::Opened opened);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  /// Runs until SIGTERM or SIGINT; hands the leadership over first. Returns the exit code, or exit_reopen.
  net::Task<int> run();
  [[nodiscard]] const Options& options() const { return options_; }

 private:
  /// Work that a storage thread posts back to the loop.
  using Posted = Pause::Work;

  /// Which replica this is, in which life.
  struct Self {
    paxos::ReplicaId id;
    paxos::Incarnation incarnation;
    std::uint64_t boot = 0;
    paxos::Time started{};
  };
  /// The own address, which may come late: the socket is in outlet_.
  struct Listening {
    std::string fault;   ///< why there is no socket, or no new one
    paxos::Time told{};  ///< the log is not told of the same one before
  };
  /// Where the others are.
  struct Addresses {
    Addresses(net::Loop& loop, const Options& options);
    net::Resolver resolver;
    net::AddressBook book;
    std::uint64_t revision = 0;       ///< of the book: what transport_ and peers follow
    std::uint32_t configuration = 0;  ///< whose addresses the book has
    paxos::Time look_at{};            ///< no look into the book before, unless its revision changes
    std::vector<net::Address> peers;  ///< all others, for broadcasts
    RememberedAddresses saved;        ///< what the file says
    bool saving = false;
  };
  /// Where Prometheus finds it.
  struct Metrics {
    std::vector<net::Address> addresses;
    std::string fault;  ///< why nothing is served
    std::unique_ptr<MetricsServer> server;
  };
  struct Latencies {
    storage::Latency commits;
    storage::Latency turns;
  };
  struct End {
    bool reached = false;           ///< nothing is to be waited for any more
    std::optional<paxos::Time> at;  ///< it was taken out of the cluster, and ends then
    int exit_code = 0;
  };

  net::Task<void> receive_datagrams(std::shared_ptr<net::UdpSocket> socket);
  net::Task<void> wait_for_signals();
  void on_datagram(const net::Address& from, std::span<const std::byte> data);
  void on_body(net::Received received);
  void resume();
  void end_turn();
  void carry_out(chat::NodeOutput out);
  void send_peer(const paxos::Envelope& envelope);
  void collect_packets();  ///< seals what was said so far into outlet_
  void send_packets();
  void hold_while_behind(paxos::Time now);
  /// What the disk has room for is another thing now.
  void on_room(const storage::SpaceFigures& space);
  /// Tells the node how far the log thread has come.
  void notice_synced();
  void hold_until_synced(std::uint64_t group, const std::vector<paxos::Envelope>& envelopes);
  /// A reader of the storage's met a record that does not read (damage.cc).
  void on_damage(storage::Damage damage);
  /// Finds where the log reads again behind `damaged`, and has it begin there (damage.cc).
  void cut_log_behind(paxos::Slot damaged);
  /// What can be repaired now, is: damaged records of the log go, a damaged state is made again.
  void repair(paxos::Time now);
  /// A page of all that is on the disk, now and then (Scrub).
  void read_some(paxos::Time now);
  void read_history(chat::HistoryWish wish);
  void read_log(paxos::LogReadWish wish);
  /// Age of the oldest unfinished work of a storage thread.
  [[nodiscard]] paxos::Duration unfinished(paxos::Time now) const;
  // What redactions take off the disk (redactions.cc).
  void carry_out_redactions(chat::NodeOutput& out);
  void advance_erasure(std::shared_ptr<chat::ErasePlan> plan);

  // Snapshots (snapshot_hooks.cc).
  [[nodiscard]] Snapshots::Hooks snapshot_hooks();
  void begin_anew();

  // Addresses (addresses.cc): the own one, and the others'.
  /// Opens the socket as soon as this machine has the address and nobody else the port, and another one when
  /// the own name points elsewhere.
  net::Task<void> keep_socket(net::Scope& scope);
  /// Serves metrics as soon as it can.
  net::Task<void> keep_metrics();
  void listen_failed(std::string why, bool ready, bool loud);
  void begin_addresses();
  void carry_addresses(paxos::Time now);
  void follow_book();
  void tell(const net::AddressBook::Event& event);
  void on_address_word(const net::Received& received, const net::AddressWord& word);
  void save_addresses();
  [[nodiscard]] const std::string& own_address() const;
  /// Where a replica is, by the configuration or by the config; empty: neither knows it.
  [[nodiscard]] std::string name_of(std::size_t id) const;
  /// Ends the program a while after this replica was taken out of the cluster: what only it and the leader
  /// have, the others may still ask for.
  void leave_when_removed(paxos::Time now);
  /// The book's names are those of the configuration in force.
  void follow_members();

  // Unasked (report.cc).
  /// Names the dumps of earlier runs that crashed, and has a crash leave one.
  void prepare_flight_recorder();
  [[nodiscard]] std::filesystem::path crash_folder() const { return options_.directory / "crash"; }
  /// What the service manager and the log hear of how it is.
  void report(paxos::Time now);
  [[nodiscard]] std::string standing_line() const;
  [[nodiscard]] Counts counts() const;
  /// Reads the config again and takes what can change in a running replica.
  void reload();

  // Metrics (metrics.cc).
  void serve_metrics();
  [[nodiscard]] LoopFigures loop_figures() const;

  // Operators' requests (operator.cc): who is answered, and one handler each.
  void on_operator(const net::Received& received, const chat::OperatorRequest& request);
  [[nodiscard]] bool means_us(const chat::OperatorRequest& request) const;
  void tell_outdated(const net::Received& received);
  void answer(const Asker& asker, chat::OperatorAnswer answer);
  [[nodiscard]] std::optional<std::string> faults_refused() const;
  void on(const Asker& asker, const chat::KillRequest& request);
  void on(const Asker& asker, const chat::SkipRequest& request);
  void on(const Asker& asker, const chat::LossRequest& request);
  void on(const Asker& asker, const chat::PauseRequest& request);
  void on(const Asker& asker, const chat::IsolateRequest& request);
  void on(const Asker& asker, const chat::RestartRequest& request);
  void on(const Asker& asker, const chat::MemberRequest& request);
  void on(const Asker& asker, const chat::TransferRequest& request);
  void finish_skips();
  // Those that read the disk (operator_reads.cc).
  void on(const Asker& asker, const chat::SnapshotRequest& request);
  void on(const Asker& asker, const chat::AccessKeysRequest& request);
  void on(const Asker& asker, const chat::DeriveKeyRequest& request);
  void on(const Asker& asker, const chat::SecretDoorRequest& request);
  void on(const Asker& asker, const chat::AddSecretRequest& request);
  void on(const Asker& asker, const chat::RenewKeyRequest& request);
  void follow_secrets();
  [[nodiscard]] const net::Secret& spoken_secret() const;
  void store_secrets();
  void secrets_stored(const std::string& why, const std::vector<net::Fingerprint>& stored);
  void add_secrets(nlohmann::json& out) const;
  void note_key_use(const net::Received& received);
  void on(const Asker& asker, const chat::HashRequest& request);
  void on(const Asker& asker, const chat::ScrubRequest& request);
  void on(const Asker& asker, const chat::LogRequest& request);
  void on(const Asker& asker, const chat::ExplainRequest& request);
  void read_for_operator(const Asker& asker,
                         std::function<chat::OperatorAnswer(const storage::Storage::Reader&)> job,
                         std::function<chat::OperatorAnswer(const std::string& why)> unread = {});
  // Those that are answered with JSON (status.cc, doctor.cc).
  void on(const Asker& asker, const chat::StatusRequest& request);
  void on(const Asker& asker, const chat::DoctorRequest& request);
  [[nodiscard]] nlohmann::json status_json() const;
  [[nodiscard]] nlohmann::json doctor_json() const;
  void add_vitals(nlohmann::json& out) const;
  void add_latencies(nlohmann::json& out) const;
  void add_addresses(nlohmann::json& out) const;
  void refresh_disk_figures();

  // The ways to the others (paths.cc).
  void tell_unsent(paxos::Time now);
  void tell_paths();
  [[nodiscard]] std::string whom(const net::Address& address) const;
  [[nodiscard]] nlohmann::json paths_json() const;

  net::Loop& loop_;
  Options options_;
  const Self self_;
  std::unique_ptr<storage::Storage> storage_;
  Addresses addresses_;
  RoundTrips round_trips_;
  Outlet outlet_;
  Listening listening_;
  net::Event changed_;  ///< for who waits for an address: it came, or this replica stops
  net::Transport transport_;
  chat::Node node_;
  net::Mailbox<Posted> mailbox_;
  Faults faults_;
  Pause pause_;
  FlightRecorder flight_;
  Syncs syncs_;
  Answers answers_;
  SkipsUnderWay skips_;
  std::vector<net::Received> received_;  ///< scratch
  Alarm alarm_;
  bool applying_held_ = false;
  End end_;
  std::uint64_t strays_ = 0;
  Damages damages_;
  Repairs repairs_;
  Scrub scrub_;
  Latencies latencies_;
  Supervision supervision_;
  SendFailures send_failures_;
  Vitals vitals_;
  RecentCounts recent_;
  DiskFigures disk_;
  DiskProbe probe_;
  config::KeyWatch key_watch_;
  /// Of the cluster, while they change (keys.cc).
  struct SecretsHeld {
    explicit SecretsHeld(Secrets::File held);
    Secrets::File file;
    std::array<std::uint8_t, 32> door{};  ///< public key, of this life, for which a new one is sealed
    net::Secret door_key;
    chat::SecretNames followed;                               ///< what the log says, as it was carried out
    net::Fingerprint attempt = 0;                             ///< added in this life, the last one
    std::vector<std::pair<Asker, net::Fingerprint>> waiting;  ///< for those to be on the disk
    bool storing = false;
    bool store_again = false;
    KeyUsers old_users;     ///< who came under a secret that is not spoken under any more
    KeyUsers secret_users;  ///< who has the secret, and is no replica's machine
  };
  /// The one that is spoken under, the one before, and one that is to come.
  static constexpr std::size_t secrets_good_max = 3;
  SecretsHeld secrets_;
  Snapshots snapshots_;
  net::Signals* signals_ = nullptr;  ///< that run() waits for
  Metrics metrics_;                  ///< the server's thread asks all of the above: it goes first
};

/// How much of its log a replica keeps, as the config says it.
[[nodiscard]] std::optional<paxos::TrimSlack> slack_of(const config::ClusterConfig& config);

}  // namespace paxosd
