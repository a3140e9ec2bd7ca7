#include "daemon/metrics.h"

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <limits>
#include <system_error>
#include <utility>
#include <vector>

#include "daemon/host.h"
#include "daemon/log.h"

namespace paxosd {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

/// The short word that a verdict has as a label; to_string() is for people.
const char* label(chat::Verdict verdict) {
  switch (verdict) {
    case chat::Verdict::done:
      return "done";
    case chat::Verdict::repeat:
      return "repeat";
    case chat::Verdict::conflict:
      return "conflict";
    case chat::Verdict::receipt_gone:
      return "receipt_gone";
    case chat::Verdict::early:
      return "early";
    case chat::Verdict::session_unknown:
      return "session_unknown";
    case chat::Verdict::rooms_full:
      return "rooms_full";
    case chat::Verdict::invalid:
      return "invalid";
    case chat::Verdict::key_conflict:
      return "key_conflict";
    case chat::Verdict::keys_full:
      return "keys_full";
    case chat::Verdict::no_message:
      return "no_message";
    case chat::Verdict::no_room:
      return "no_room";
    case chat::Verdict::kept_too_short:
      return "kept_too_short";
    case chat::Verdict::forgotten:
      return "forgotten";
    case chat::Verdict::key_unknown:
      return "key_unknown";
    case chat::Verdict::key_may_not:
      return "key_may_not";
    case chat::Verdict::name_owned:
      return "name_owned";
    case chat::Verdict::name_bound:
      return "name_bound";
    case chat::Verdict::names_closed:
      return "names_closed";
    case chat::Verdict::key_exists:
      return "key_exists";
    case chat::Verdict::access_full:
      return "access_full";
    case chat::Verdict::no_such_key:
      return "no_such_key";
    case chat::Verdict::rotation_open:
      return "rotation_open";
    case chat::Verdict::no_rotation:
      return "no_rotation";
  }
  return "unknown";
}

/// Families in the order in which they are served, each sample with the replica's own labels.
class Families {
 public:
  Families(std::string cluster, paxos::ReplicaId self)
      : common_{{"cluster", std::move(cluster)}, {"replica", std::to_string(self.n)}} {}

  Families& counter(const char* name, const char* help) { return family(name, help, MetricType::Counter); }
  Families& gauge(const char* name, const char* help) { return family(name, help, MetricType::Gauge); }

  /// A sample of the family begun last; `key` names a further label.
  template <class Number>
  Families& value(Number number, const char* key = nullptr, std::string word = {}) {
    ClientMetric& metric = sample();
    if (key != nullptr) metric.label.push_back({key, std::move(word)});
    const auto value = static_cast<double>(number);
    (all_.back().type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    return *this;
  }

  void latency(const char* name, const char* help, const storage::Latency::Figures& figures) {
    family(name, help, MetricType::Histogram);
    auto& histogram = sample().histogram;
    for (std::size_t i = 0; i < figures.counts.size(); ++i) {
      histogram.sample_count += figures.counts[i];
      const double bound = i < storage::Latency::bounds_ns.size()
                               ? static_cast<double>(storage::Latency::bounds_ns[i]) / 1e9
                               : std::numeric_limits<double>::infinity();
      histogram.bucket.push_back({.cumulative_count = histogram.sample_count, .upper_bound = bound});
    }
    histogram.sample_sum = static_cast<double>(figures.sum_ns) / 1e9;
  }

  [[nodiscard]] std::string text() const { return prometheus::TextSerializer().Serialize(all_); }

 private:
  Families& family(const char* name, const char* help, MetricType type) {
    MetricFamily family;
    family.name = name;
    family.help = help;
    family.type = type;
    all_.push_back(std::move(family));
    return *this;
  }
  ClientMetric& sample() {
    all_.back().metric.emplace_back();
    all_.back().metric.back().label = common_;
    return all_.back().metric.back();
  }

  std::vector<ClientMetric::Label> common_;
  std::vector<MetricFamily> all_;
};

void add_protocol(Families& out, const LoopFigures& loop) {
  const paxos::Status& s = loop.status;
  out.gauge("paxosd_build_info", "The program's version, in a label; always 1.")
      .value(1, "version", PAXOSD_VERSION);
  out.counter("paxosd_boots_total", "Starts of this replica's directory.").value(loop.boot);
  out.gauge("paxosd_replicas", "Voters of the configuration; before it is known, replicas in the config.")
      .value(loop.replicas);
  out.gauge("paxosd_quorum_replicas", "Replicas that make a quorum.").value(loop.replicas / 2 + 1);
  out.gauge("paxosd_connected_replicas", "Replicas connected both ways, this one included.")
      .value(s.connected.size() + 1);
  out.gauge("paxosd_role", "1 for the role that this replica has now.");
  const std::string role = paxos::to_string(s.role);
  for (const paxos::Role each :
       {paxos::Role::leader, paxos::Role::candidate, paxos::Role::follower, paxos::Role::unborn,
        paxos::Role::dormant, paxos::Role::learner, paxos::Role::removed}) {
    const std::string word = paxos::to_string(each);
    out.value(word == role ? 1 : 0, "role", word);
  }
  out.gauge("paxosd_leader_known", "1 while this replica leads or follows a leader.").value(s.leader ? 1 : 0);
  out.gauge("paxosd_voting", "1 while this replica votes; 0: unborn, dormant or diverged.")
      .value(s.voting ? 1 : 0);
  out.gauge("paxosd_diverged", "1 when the hash chain here disagrees with a quorum's.")
      .value(loop.diverged ? 1 : 0);
  out.gauge("paxosd_disagreeing_replicas", "Others whose hash chain is another than the one here.")
      .value(s.disagreeing.size());
  out.gauge("paxosd_disputed",
            "1 while it disagrees with another and no quorum tells which is right: it confirms no read.")
      .value(s.disputed ? 1 : 0);
  out.gauge("paxosd_ballot_round", "Round of the highest ballot promised.").value(s.ballot.round);
  out.gauge("paxosd_leader_ballot_round", "Round of the ballot that is followed.")
      .value(s.leader_ballot.round);
  out.counter("paxosd_leader_changes_total", "Ballots taken up as the leader's, own ones included.")
      .value(s.leader_changes);
  out.counter("paxosd_slots_proposed_total", "Slots in which this replica proposed commands.")
      .value(loop.node.proposed);
  out.counter("paxosd_slots_chosen_total", "The slot up to which every slot is known to be chosen.")
      .value(s.chosen.n);
  out.counter("paxosd_slots_applied_total", "The last slot applied.").value(s.applied.n);
  out.counter("paxosd_noops_applied_total", "No-ops among the slots applied since the start.")
      .value(loop.node.noops);
  out.gauge("paxosd_slots_in_flight", "Slots proposed here and not chosen yet.").value(s.inflight);
  out.gauge("paxosd_hole_waiting", "1 while applying waits for a skipped slot.").value(s.hole ? 1 : 0);
  const auto seconds_since = [&](paxos::Time since) {
    return std::chrono::duration<double>(loop.now - since).count();
  };
  out.gauge("paxosd_waiting_seconds",
            "Age of the oldest slot that is known here and not applied; 0: none waits.")
      .value(s.waiting ? seconds_since(s.waiting->since) : 0.0);
  out.gauge("paxosd_standing_seconds",
            "How long nothing has been applied though something waits; 0: it gets on.")
      .value(s.waiting ? seconds_since(s.waiting->still) : 0.0);
  out.counter("paxosd_retransmissions_total", "Prepares and Accepts sent again.").value(s.retransmissions);
  out.latency("paxosd_commit_duration_seconds", "From proposing a slot here to applying it here.",
              loop.commits);
}

void add_chat(Families& out, const LoopFigures& loop) {
  out.gauge("paxosd_sessions", "Open sessions.").value(loop.sessions);
  out.gauge("paxosd_stored_answer_bytes", "Memory of the answers kept for clients that may ask again.")
      .value(loop.answer_bytes);
  out.gauge("paxosd_rooms", "Rooms.").value(loop.rooms);
  out.counter("paxosd_commands_applied_total",
              "Client commands applied since the start, by what became of them.");
  for (std::size_t i = 1; i < loop.node.verdicts.size(); ++i)
    out.value(loop.node.verdicts[i], "verdict", label(static_cast<chat::Verdict>(i)));
  out.gauge("paxosd_receipts_waiting", "Commands whose clients wait for a receipt here.")
      .value(loop.desk.waiting_receipts);
  out.gauge("paxosd_commands_queued", "Commands that wait to be proposed.").value(loop.desk.queued_commands);
  out.gauge("paxosd_polls_waiting", "Long polls that wait for new messages.").value(loop.desk.polls);
  out.gauge("paxosd_reads_waiting", "Linearizable reads under way.").value(loop.desk.reads);
}

void add_disk(Families& out, const LoopFigures& loop, const OtherFigures& other) {
  out.latency("paxosd_log_sync_duration_seconds", "Synced writes of the log.", other.log.sync_latency);
  out.counter("paxosd_log_groups_total", "Record groups synced; many may share a sync.")
      .value(other.log.groups);
  out.counter("paxosd_log_written_bytes_total", "Bytes given to the log's write-ahead log.")
      .value(other.log.bytes);
  out.gauge("paxosd_storage_oldest_work_seconds", "Age of the oldest unfinished work of a storage thread.")
      .value(other.oldest_work_seconds);
  out.gauge("paxosd_state_backlog_bytes", "Rows that wait for the state's disk.")
      .value(other.state_backlog_bytes);
  out.gauge("paxosd_applying_held", "1 while nothing is applied, because the state's disk does not keep up.")
      .value(loop.applying_held ? 1 : 0);
  const auto both = [&](std::uint64_t storage::DatabaseFigures::* what) {
    out.value(other.disk.log.*what, "db", "log").value(other.disk.state.*what, "db", "state");
  };
  using Database = storage::DatabaseFigures;
  out.gauge("paxosd_rocksdb_memtable_bytes", "Memory of RocksDB's write buffers.");
  both(&Database::memtable_bytes);
  out.gauge("paxosd_rocksdb_block_cache_bytes", "Memory of RocksDB's block cache.");
  both(&Database::cache_bytes);
  out.gauge("paxosd_rocksdb_live_sst_bytes", "Size of RocksDB's live table files.");
  both(&Database::sst_bytes);
  out.gauge("paxosd_rocksdb_wal_bytes", "Disk blocks of RocksDB's write-ahead log files.");
  both(&Database::wal_bytes);
  out.gauge("paxosd_rocksdb_pending_compaction_bytes",
            "RocksDB's estimate of what compaction has still to rewrite.");
  both(&Database::pending_compaction_bytes);
  out.gauge("paxosd_rocksdb_running_compactions", "Compactions under way.");
  both(&Database::compactions_running);
  out.counter("paxosd_rocksdb_background_errors_total", "Background errors that RocksDB has counted.");
  both(&Database::background_errors);
  out.counter("paxosd_damaged_reads_total", "Reads that met a record which does not read as it was written.")
      .value(loop.damaged_log_reads, "db", "log")
      .value(loop.damaged_state_reads, "db", "state");
  out.gauge("paxosd_disk_free_bytes", "Free space of the data directory's file system.")
      .value(other.disk.free_bytes);
  out.gauge("paxosd_disk_size_bytes", "Size of the data directory's file system.")
      .value(other.disk.size_bytes);
  out.gauge("paxosd_disk_reserve_bytes", "Of it, kept in a file for what must be written though it is full.")
      .value(other.space.held);
  out.gauge("paxosd_disk_full", "1 while its disk is full: it votes for nothing new.")
      .value(other.space.room == paxos::DiskRoom::enough ? 0 : 1);
}

void add_network(Families& out, const LoopFigures& loop) {
  out.counter("paxosd_datagrams_received_total", "Datagrams received, dropped ones included.")
      .value(loop.socket.received);
  out.counter("paxosd_datagrams_sent_total", "Datagrams sealed for sending.")
      .value(loop.transport.datagrams_out);
  out.counter("paxosd_datagrams_dropped_total",
              "Received datagrams, or messages in them, not taken, by reason.");
  for (std::size_t i = 0; i < loop.transport.dropped.size(); ++i)
    out.value(loop.transport.dropped[i], "reason", net::to_string(static_cast<net::Drop>(i)));
  out.value(loop.socket.truncated, "reason", "truncated");
  out.value(loop.strays, "reason", "stray");
  out.value(loop.dropped_by_loss, "reason", "injected_loss");
  out.value(loop.dropped_by_isolation, "reason", "isolated");
  out.counter("paxosd_datagrams_unsent_total", "Sends that failed, by errno, or found no room.")
      .value(loop.socket.dropped_sends, "reason", "queue_full");
  for (const auto& [error, count] : loop.send_errors) out.value(count, "reason", errno_name(error));
  out.counter("paxosd_datagrams_sent_singly_total",
              "Datagrams that the kernel would not cut out of a buffer for their path.")
      .value(loop.socket.sent_singly);
  out.gauge("paxosd_path_datagram_bytes", "The largest datagram that the path to a peer is taken to carry.");
  for (const auto& [peer, bytes] : loop.datagrams) out.value(bytes, "peer", std::to_string(peer));
  out.counter("paxosd_path_probes_total", "Datagrams that asked whether their size gets there.")
      .value(loop.transport.path_probes);
  out.counter("paxosd_messages_oversized_total", "Messages too large to be sent.")
      .value(loop.transport.oversized);
  out.counter("paxosd_fragments_repeated_total", "Fragments sent again because a receiver asked.")
      .value(loop.transport.fragments_again);
  out.counter("paxosd_fragment_probes_total", "Large messages said again by a probe.")
      .value(loop.transport.probes);
  out.counter("paxosd_fragment_requests_total", "Requests for missing fragments sent.")
      .value(loop.transport.needs);
  out.gauge("paxosd_reassembly_bytes", "Memory of messages that are not complete yet.")
      .value(loop.transport.reassembly.memory);
  out.gauge("paxosd_reassembly_messages", "Messages that are not complete yet.")
      .value(loop.transport.reassembly.partials);
}

void add_loop(Families& out, const LoopFigures& loop) {
  out.latency("paxosd_loop_turn_duration_seconds", "Turns of the event loop, without the wait before them.",
              loop.turns);
  out.counter("paxosd_log_lines_lost_total", "Log lines that nobody took: a full pipe, a journal that hangs.")
      .value(loop.log_lines_lost);
  out.counter("paxosd_ring_submissions_total", "Operations given to io_uring.").value(loop.ring.submissions);
  out.counter("paxosd_ring_completions_total", "Completions taken from io_uring.")
      .value(loop.ring.completions);
  out.counter("paxosd_receive_buffer_exhaustions_total",
              "Times that receiving ended for want of a provided buffer.")
      .value(loop.socket.out_of_buffers);
  out.counter("paxosd_receive_rearms_total", "Times that the multishot receive was started again.")
      .value(loop.socket.rearms);
}

void add_process(Families& out, const OtherFigures& other) {
  out.counter("paxosd_http_responses_total",
              "Answers of the metrics listener before this one, by HTTP status.");
  for (const unsigned code : {200U, 400U, 404U, 405U, 431U, 503U}) {
    const auto found = other.server.responses.find(code);
    out.value(found == other.server.responses.end() ? 0 : found->second, "code", std::to_string(code));
  }
  out.counter("paxosd_http_refused_total", "Connections to the metrics listener above its bound.")
      .value(other.server.refused);
  out.counter("process_cpu_seconds_total", "Processor time, user and system.")
      .value(other.process.cpu_seconds);
  out.gauge("process_resident_memory_bytes", "Resident memory.").value(other.process.resident_bytes);
  out.gauge("process_open_fds", "Open file descriptors.").value(other.process.open_files);
  out.gauge("process_start_time_seconds", "When the process started, Unix time.")
      .value(other.process.start_time_seconds);
}

const double started_at =
    std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();

}  // namespace

OtherFigures::Process process_figures() {
  OtherFigures::Process out{.start_time_seconds = started_at};
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0)
    for (const timeval& time : {usage.ru_utime, usage.ru_stime})
      out.cpu_seconds += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  if (std::ifstream statm("/proc/self/statm"); statm >> size >> resident)
    out.resident_bytes = static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  std::error_code error;
  for (std::filesystem::directory_iterator at("/proc/self/fd", error), end; !error && at != end;
       at.increment(error))
    ++out.open_files;
  out.open_files = std::max(out.open_files - 1, 0.0);  // the look itself
  return out;
}

std::string metrics_text(const LoopFigures& loop, const OtherFigures& other) {
  Families out(loop.cluster, loop.self);
  add_protocol(out, loop);
  add_chat(out, loop);
  add_disk(out, loop, other);
  add_network(out, loop);
  add_loop(out, loop);
  add_process(out, other);
  return out.text();
}

LoopFigures Host::loop_figures() const {
  std::map<std::size_t, std::size_t> datagrams;
  for (std::size_t id = 0; id < addresses_.book.size(); ++id)
    if (id != self_.id.n && !addresses_.book.at(id).empty())
      datagrams[id] = transport_.paths().datagram_bytes(addresses_.book.at(id));
  return {.cluster = options_.config.cluster,
          .self = self_.id,
          .replicas = node_.configuration().members.empty() ? options_.config.replicas.size()
                                                            : node_.configuration().voters().size(),
          .boot = self_.boot,
          .status = node_.status(),
          .now = loop_.now(),
          .diverged = node_.diverged().has_value(),
          .applying_held = applying_held_,
          .node = node_.figures(),
          .desk = node_.desk_figures(),
          .sessions = node_.machine().sessions(),
          .answer_bytes = node_.machine().answer_bytes(),
          .rooms = node_.machine().rooms(),
          .transport = transport_.figures(),
          .socket = outlet_ ? outlet_->figures() : net::UdpSocket::Figures{},
          .send_errors = outlet_ ? outlet_->errors() : std::map<int, std::uint64_t>{},
          .datagrams = std::move(datagrams),
          .ring = loop_.figures(),
          .dropped_by_loss = faults_.dropped_by_loss(),
          .dropped_by_isolation = faults_.dropped_by_isolation(),
          .strays = strays_,
          .commits = latencies_.commits.figures(),
          .turns = latencies_.turns.figures(),
          .log_lines_lost = daemon_log::lines_lost(),
          .damaged_log_reads = damages_.log_reads(),
          .damaged_state_reads = damages_.state_reads()};
}

void Host::serve_metrics() {
  if (!metrics_.server) return;
  metrics_.server->start([this](std::function<void(MetricsServer::Render)> reply) {
    mailbox_.push([this, reply = std::move(reply)] {
      // The loop copies its figures; RocksDB is asked, and the text made, in the metrics' own thread.
      reply([storage = storage_.get(), loop = loop_figures()](const MetricsServer::Figures& server) {
        const std::int64_t began = storage->oldest_work_started_ns();
        const std::int64_t now = std::chrono::steady_clock::now().time_since_epoch().count();
        return metrics_text(
            loop, {.log = storage->figures(),
                   .disk = storage->disk_figures(),
                   .space = storage->space(),
                   .state_backlog_bytes = storage->state_backlog_bytes(),
                   .oldest_work_seconds =
                       began == 0 ? 0.0 : static_cast<double>(std::max<std::int64_t>(now - began, 0)) / 1e9,
                   .server = server,
                   .process = process_figures()});
      });
    });
  });
}

}  // namespace paxosd
