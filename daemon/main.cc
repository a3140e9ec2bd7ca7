#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>

#include "chat/versions.h"
#include "config/cluster_config.h"
#include "config/flags.h"
#include "daemon/host.h"
#include "daemon/log.h"
#include "daemon/metrics_server.h"
#include "net/loop.h"
#include "net/udp.h"
#include "storage/stores.h"

/// paxosd: one replica. Bugs abort; what an operator can mend ends with status 1 and a sentence.
namespace {

#ifdef PAXOSD_REHEARSAL
// The program that upgrades are rehearsed with (tests/systemd): the same, but for what it says of itself.
constexpr std::uint16_t rules_known = chat::rules_rehearsal;
constexpr const char* version = PAXOSD_VERSION "+rehearsal";
#else
constexpr std::uint16_t rules_known = chat::rules_released;
constexpr const char* version = PAXOSD_VERSION;
#endif

[[nodiscard]] int refuse(const std::string& sentence) {
  daemon_log::error("{}", sentence);
  return 1;
}

void fill_random(void* out, std::size_t size) {
  if (::getrandom(out, size, 0) != static_cast<ssize_t>(size)) std::abort();
}

int run(int argc, char** argv) {
  config::Flags flags("paxosd", "PAXOSD",
                      "One replica of a cluster. Runs in the foreground until SIGTERM or SIGINT.");
  flags.value("config", "FILE",
              "the cluster's config (default: ./cluster.yaml, then /etc/paxosd/cluster.yaml)");
  flags.value("id", "N", "which replica of the config this is");
  flags.value("data-dir", "DIR", "where its data lies (default: as in the config)");
  flags.value("log-level", "LEVEL", "error, warning, info or debug (default: as in the config)");
  if (const auto code = flags.parse(argc, argv)) return *code;
  if (!flags.arguments().empty())
    return flags.wrong_usage(fmt::format("'{}' is not expected here", flags.arguments().front()));

  if (const auto level = flags.get("log-level"); level && !daemon_log::set_level(*level))
    return flags.wrong_usage(fmt::format("--log-level '{}': use error, warning, info or debug", *level));
  if (!flags.get("id")) return flags.wrong_usage("--id is missing: which replica of the config is this?");
  const auto id = flags.number("id", 0, paxos::limits::replicas_max - 1);
  if (!id) return flags.wrong_usage(id.error());

  daemon_log::begin();
  const auto file = config::find(flags.get("config"), nullptr);
  if (!file) return refuse(file.error());
  const auto config = config::load(*file);
  if (!config) return refuse(config.error());
  if (*id >= config->replicas.size())
    return refuse(fmt::format("{}: there is no replica {}; the config has replicas 0 to {}", file->string(),
                              *id, config->replicas.size() - 1));
  if (!flags.get("log-level") && !daemon_log::set_level(config->log_level)) std::abort();  // load() checked it
  const auto key = config::load_key(*config);
  if (!key) return refuse(key.error());
  daemon_log::set_replica(static_cast<unsigned>(*id));

  if (const std::string missing = net::Loop::probe(); !missing.empty()) return refuse(missing);

  std::vector<net::Address> addresses;
  for (const config::ReplicaConfig& replica : config->replicas) {
    const auto address = net::Address::resolve(replica.address);
    if (!address) return refuse(fmt::format("replica {}: {}", replica.id.n, address.error()));
    addresses.push_back(*address);
  }

  // Before any thread starts, so that only the loop sees these signals.
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  net::Loop loop(config->busy_poll);
  // The socket first: a second paxosd of this replica must not even touch the directory.
  auto socket = net::UdpSocket::open(loop, addresses[*id], {.busy_patience = std::chrono::seconds{3}});
  if (!socket) return refuse(socket.error());

  const config::ReplicaConfig& self = config->replicas[*id];
  std::unique_ptr<paxosd::MetricsServer> metrics;
  if (!self.metrics.empty()) {
    const auto address = net::Address::resolve(self.metrics);
    if (!address) return refuse(fmt::format("key 'metrics' of replica {}: {}", self.id.n, address.error()));
    auto listening = paxosd::MetricsServer::open(*address);
    if (!listening) return refuse(listening.error());
    metrics = std::move(*listening);
  }
  storage::OpenOptions options;
  options.directory = flags.get("data-dir") ? std::filesystem::path(*flags.get("data-dir")) : self.data_dir;
  options.cluster_id = config->id;
  options.replica = self.id;
  options.replicas = config->replicas.size();
  options.rules_known = rules_known;
  options.busy_poll = config->busy_poll;
  fill_random(options.fresh_incarnation.bytes.data(), options.fresh_incarnation.bytes.size());
  auto opened = storage::Storage::open(options);
  if (!opened) return refuse(opened.error().message);
  daemon_log::info("paxosd {} on {}, one of {}, boot {}, chosen {}, applied {}, data in {}", version,
                   addresses[*id].to_string(), config->replicas.size(), opened->recovered.boot,
                   opened->recovered.chosen_prefix.n, opened->recovered.applied.n,
                   options.directory.string());
  if (metrics) daemon_log::info("metrics on http://{}/metrics", metrics->local_address().to_string());

  paxosd::Host::Options host_options{
      .config = *config, .key = *key, .self = self.id, .replicas = std::move(addresses),
      .version = version, .rules_known = rules_known, .directory = options.directory, .level_by_flag = flags.get("log-level").has_value()};
  fill_random(&host_options.seed, sizeof host_options.seed);
  paxosd::Host host(loop, std::move(host_options), std::move(*opened), std::move(*socket),
                    std::move(metrics));
  const int code = loop.run(host.run());
  daemon_log::info("stopped");
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  // What it makes is for its own user alone, however it is started.
  ::umask(077);
  int code = 1;
  try {
    code = run(argc, argv);
  } catch (const std::exception& error) {
    code = refuse(error.what());
  }
  daemon_log::finish();
  return code;
}
