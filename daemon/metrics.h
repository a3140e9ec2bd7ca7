#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "chat/desk.h"
#include "chat/node.h"
#include "daemon/metrics_server.h"
#include "net/loop.h"
#include "net/transport.h"
#include "net/udp.h"
#include "paxos/replica.h"
#include "storage/latency.h"
#include "storage/stores.h"

/// What a replica serves to Prometheus; docs/METRICS.md has the table.
namespace paxosd {

/// A copy of what only the loop may look at.
struct LoopFigures {
  std::string cluster;
  paxos::ReplicaId self;
  std::size_t replicas = 1;
  std::uint64_t boot = 1;
  paxos::Status status;
  paxos::Time now{};  ///< of the loop, when the rest was copied
  bool diverged = false;
  bool applying_held = false;
  chat::Node::Figures node;
  chat::Desk::Figures desk;
  std::size_t sessions = 0;
  std::size_t answer_bytes = 0;
  std::size_t rooms = 0;
  net::Transport::Figures transport;
  net::UdpSocket::Figures socket;
  std::map<int, std::uint64_t> send_errors;      ///< by errno
  std::map<std::size_t, std::size_t> datagrams;  ///< by peer: the largest that its path is taken to carry
  net::Loop::Figures ring;
  std::uint64_t dropped_by_loss = 0;
  std::uint64_t dropped_by_isolation = 0;
  std::uint64_t strays = 0;
  storage::Latency::Figures commits;
  storage::Latency::Figures turns;
  std::uint64_t log_lines_lost = 0;
  std::uint64_t damaged_log_reads = 0;
  std::uint64_t damaged_state_reads = 0;
};

/// As in errno.h.
[[nodiscard]] std::string errno_name(int error);

/// What the metrics' thread looks up itself.
struct OtherFigures {
  storage::Storage::Figures log;
  storage::Storage::DiskFigures disk;
  storage::SpaceFigures space;
  std::size_t state_backlog_bytes = 0;
  double oldest_work_seconds = 0;
  MetricsServer::Figures server;
  struct Process {
    double cpu_seconds = 0;
    double resident_bytes = 0;
    double open_files = 0;
    double start_time_seconds = 0;  ///< Unix time
  };
  Process process;
};
[[nodiscard]] OtherFigures::Process process_figures();

/// Prometheus' text format, version 0.0.4.
[[nodiscard]] std::string metrics_text(const LoopFigures& loop, const OtherFigures& other);

}  // namespace paxosd
