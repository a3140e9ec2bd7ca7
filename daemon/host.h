#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "chat/node.h"
#include "config/cluster_config.h"
#include "config/key_watch.h"
#include "daemon/address_file.h"
#include "daemon/after_sync.h"
#include "daemon/faults.h"
#include "daemon/flight_recorder.h"
#include "daemon/metrics.h"
#include "daemon/metrics_server.h"
#include "daemon/round_trips.h"
#include "daemon/service_manager.h"
#include "daemon/vitals.h"
#include "net/loop.h"
#include "net/address_book.h"
#include "net/mailbox.h"
#include "net/resolver.h"
#include "net/task.h"
#include "net/transport.h"
#include "net/udp.h"
#include "storage/stores.h"

namespace paxosd {

/// Joins the rooms of one replica in one event loop: datagrams and completions go into chat::Node, its
/// effects go to the log thread, the state thread and the socket. Decides nothing about the protocol.
/// Loop thread only, but for what the storage threads post into the mailbox.
class Host {
 public:
  struct Options {
    config::ClusterConfig config;
    net::ClusterKey key;
    paxos::ReplicaId self;
    std::uint64_t seed = 1;
    std::uint64_t life = 1;                ///< random at each start
    net::Opener::TicketKey tickets = {};   ///< the same
    std::string version = PAXOSD_VERSION;
    std::uint16_t rules_known = chat::rules_released;
    std::filesystem::path directory;     ///< of the data; not the config's where --data-dir says another
    bool level_by_flag = false;  ///< --log-level was given: a reload leaves it alone
    std::function<void()> lived;  ///< called once, when it has run for StartCounter::long_enough
  };

  Host(net::Loop& loop, Options options, storage::Storage::Opened opened);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  /// Runs until SIGTERM or SIGINT; hands the leadership over first. Returns the exit code.
  net::Task<int> run();

 private:
  /// Work that a storage thread posts back to the loop.
  using Posted = std::function<void()>;

  net::Task<void> receive_datagrams(std::shared_ptr<net::UdpSocket> socket);
  net::Task<void> wait_for_signals();
  void on_datagram(const net::Address& from, std::span<const std::byte> data);
  void on_body(net::Received received);
  [[nodiscard]] bool paused() const { return pause_until_ && loop_.now() < *pause_until_; }
  void resume();
  void end_turn();
  void carry_out(chat::NodeOutput out);
  void send_peer(const paxos::Envelope& envelope);
  void collect_packets();  ///< seals what was said so far into outgoing_
  void send_packets();
  void hold_while_behind(paxos::Time now);
  /// Tells the node how far the log thread has come.
  void notice_synced();
  /// Log thread.
  void send_synced(const AfterSync::Packets& packets);
  void hold_until_synced(std::uint64_t group, const std::vector<paxos::Envelope>& envelopes);
  /// A reader of the storage's met a record that does not read (damage.cc).
  void on_damage(storage::Damage damage);
  void read_history(chat::HistoryWish wish);
  void read_log(paxos::LogReadWish wish);
  void wake_at(paxos::Time at);

  // Addresses (addresses.cc): the own one, and the others'.
  /// Opens the socket as soon as this machine has the address and nobody else the port, and another one when the own name
  /// points elsewhere.
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
  void say_ready();
  void add_addresses(nlohmann::json& out) const;
  [[nodiscard]] const std::string& own_address() const;

  // Towards the service manager (supervision.cc).
  /// What `systemctl status` shows, and a sign of life while the loop and the storage threads move.
  void report(paxos::Time now);
  [[nodiscard]] std::string standing_line() const;
  void tell_trouble(paxos::Time now);
  [[nodiscard]] Counts counts() const;
  void warn_of_later_format(bool hears_leader);
  /// Reads the config again and takes what can change in a running replica.
  void reload();

  // Metrics (metrics.cc).
  void serve_metrics();
  [[nodiscard]] LoopFigures loop_figures() const;

  // Operator requests (operator.cc).
  void on_operator(const net::Address& from, const chat::OperatorRequest& request);
  void tell_outdated(const net::Received& received);
  void answer(const net::Address& to, std::uint64_t id, chat::OperatorAnswer answer);
  void answer_skip(const net::Address& to, std::uint64_t id, const chat::SkipRequest& request);
  void finish_skips();
  void answer_explain(const net::Address& to, std::uint64_t id, paxos::Slot slot);
  void prepare_flight_recorder();
  [[nodiscard]] std::filesystem::path crash_folder() const { return options_.directory / "crash"; }
  void read_for_operator(const net::Address& to, std::uint64_t id,
                         std::function<chat::OperatorAnswer(const storage::Storage::Reader&)> job,
                         std::function<chat::OperatorAnswer(const std::string& why)> unread = {});
  [[nodiscard]] std::string status_json() const;
  [[nodiscard]] std::optional<std::string> faults_refused() const;

  // For `paxosctl top` and `doctor` (doctor.cc).
  void tell_unopened(paxos::Time now);
  void tell_unsent(paxos::Time now);
  void tell_paths();
  [[nodiscard]] std::string whom(const net::Address& address) const;
  [[nodiscard]] nlohmann::json paths_json() const;
  void watch_vitals(paxos::Time now);
  void refresh_disk_figures();
  void add_vitals(nlohmann::json& out) const;
  void answer_doctor(const net::Address& to, std::uint64_t id, const chat::DoctorRequest& request);
  [[nodiscard]] std::string doctor_json() const;

  struct PendingSkip {
    net::Address to;
    std::uint64_t id = 0;
    chat::DoneReply reply;
    paxos::Slot last;
  };

  net::Loop& loop_;
  Options options_;
  paxos::Incarnation incarnation_;
  std::uint64_t boot_ = 0;
  std::unique_ptr<storage::Storage> storage_;
  net::Resolver resolver_;
  net::AddressBook book_;
  std::uint64_t book_revision_ = 0;   ///< what transport_ and peers_ follow
  paxos::Time book_at_{};             ///< no look into the book before, unless its revision changes
  RememberedAddresses saved_;         ///< what the file says
  bool saving_ = false;
  RoundTrips round_trips_;
  std::mutex socket_mutex_;                ///< the log thread sends, too
  std::shared_ptr<net::UdpSocket> socket_;  ///< none: it has no address yet; written under socket_mutex_
  net::Event changed_;                      ///< for who waits for an address: it came, or this replica stops
  std::string listen_fault_;                ///< why there is no socket, or no new one
  paxos::Time listen_told_{};
  std::vector<net::Address> metrics_addresses_;
  std::string metrics_fault_;
  bool ready_said_ = false;
  net::Transport transport_;
  chat::Node node_;
  net::Mailbox<Posted> mailbox_;
  Faults faults_;
  FlightRecorder flight_;
  std::vector<net::Address> peers_;  ///< all others, for broadcasts
  AfterSync after_sync_;
  std::uint64_t synced_group_ = 0;              ///< as the node knows
  std::atomic<std::uint64_t> log_synced_{0};    ///< as the log thread knows
  std::atomic<bool> waits_for_sync_{true};      ///< the loop wants to be woken for it
  std::vector<PendingSkip> pending_skips_;
  std::map<std::uint64_t, std::optional<chat::OperatorReply>> answered_;  ///< by request id; empty: under way
  std::deque<std::uint64_t> answered_order_;
  std::vector<net::Outgoing> outgoing_;  ///< of this turn, for the socket
  std::vector<net::Received> received_;  ///< scratch
  paxos::Time started_{};
  std::optional<paxos::Time> pause_until_;
  paxos::Time timer_at_ = paxos::time_never;
  net::TimerId timer_{};
  bool applying_held_ = false;
  bool stopping_ = false;
  bool ended_ = false;  ///< nothing is to be waited for any more
  int exit_code_ = 0;
  std::uint64_t dropped_by_loss_ = 0;
  std::uint64_t dropped_by_isolation_ = 0;
  std::uint64_t strays_ = 0;
  std::vector<storage::Damage> damages_;  ///< told of
  std::uint64_t damaged_log_reads_ = 0;
  std::uint64_t damaged_state_reads_ = 0;
  storage::Latency commits_;
  storage::Latency turns_;

  ServiceManager manager_;
  std::optional<paxos::Duration> watchdog_;
  paxos::Time alive_at_ = paxos::time_never;  ///< when the next sign of life is due
  paxos::Time standing_at_{};                 ///< no new status line before
  std::optional<paxos::ReplicaId> leader_told_;

  Vitals vitals_;
  struct DiskFigures {
    bool asked = false;  ///< the state thread is at it
    paxos::Time at{};    ///< none: never looked
    std::uint64_t used = 0;
    std::optional<std::uint64_t> free;
  } disk_;
  struct Probe {
    paxos::Time at{};
    std::string found;  ///< JSON
  };
  std::optional<Probe> probe_;
  bool probing_ = false;
  bool stuck_told_ = false;
  std::uint64_t unopened_told_ = 0;  ///< of the datagrams that did not open, the log has so many
  paxos::Time unopened_at_{};        ///< no new line about them before
  std::map<int, std::uint64_t> unsent_told_;  ///< of the sends that failed, by errno, the log has so many
  paxos::Time unsent_at_{};                   ///< no new line about them before
  std::optional<net::Refusal> last_refusal_;
  bool later_format_told_ = false;
  Reminder not_voting_told_;
  Reminder standstill_told_;
  paxos::Time counted_at_{};  ///< no new sample before
  RecentCounts recent_;
  config::KeyWatch key_watch_;

  // While it is paused: what came, as a socket's buffer would keep it, and what the storage threads said.
  std::deque<net::Received> held_;
  std::size_t held_bytes_ = 0;
  std::vector<Posted> held_work_;

  std::unique_ptr<MetricsServer> metrics_;  ///< its thread asks all of the above: goes first
};

}  // namespace paxosd
