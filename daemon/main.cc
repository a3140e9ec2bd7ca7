#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "chat/versions.h"
#include "config/cluster_config.h"
#include "config/flags.h"
#include "daemon/data_directory.h"
#include "daemon/host.h"
#include "daemon/inspect.h"
#include "daemon/log.h"
#include "daemon/rescue.h"
#include "daemon/restore.h"
#include "daemon/secrets.h"
#include "daemon/service_manager.h"
#include "daemon/start_delay.h"
#include "net/loop.h"
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
  config::Flags flags(
      "paxosd", "PAXOSD",
      "One replica of a cluster. Runs in the foreground until SIGTERM or SIGINT.\n\n"
      "  inspect  DIR [flags]: what a stopped replica's directory holds, and whether it reads\n"
      "  rescue   DIR ... [flags]: a new cluster out of what is left when a majority has lost its disks");
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
  paxosd::StartCounter starts;
  if (const auto delay = paxosd::start_delay(starts.early_ends()); delay.count() > 0) {
    const std::string line =
        fmt::format("the last {} lives of this replica ended within a minute: it starts in {} s",
                    starts.early_ends(), delay.count() / 1000);
    daemon_log::warning("{}", line);
    paxosd::ServiceManager().status(line);
    std::this_thread::sleep_for(delay);  // a signal ends it, and the program
  }
  const auto file = config::find(flags.get("config"), nullptr);
  if (!file) return refuse(file.error());
  const auto config = config::load(*file);
  if (!config) return refuse(config.error());
  if (*id >= config->replicas.size())
    return refuse(fmt::format("{}: there is no replica {}; the config has replicas 0 to {}", file->string(),
                              *id, config->replicas.size() - 1));
  if (!flags.get("log-level") && !daemon_log::set_level(config->log_level))
    std::abort();  // load() checked it
  auto key = config::load_key(*config);
  if (!key) return refuse(key.error());
  net::ClusterKey secret(key->bytes);
  key = tl::make_unexpected(std::string("kept elsewhere"));  // the stack is in every core dump
  daemon_log::set_replica(static_cast<unsigned>(*id));

  if (const std::string missing = net::Loop::probe(); !missing.empty()) return refuse(missing);

  // Before any thread starts, so that only the loop sees these signals.
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  const config::ReplicaConfig& self = config->replicas[*id];
  // The log first, then the socket: an address may come late, and a second paxosd of this replica finds the
  // directory locked.
  storage::OpenOptions options;
  options.directory = flags.get("data-dir") ? std::filesystem::path(*flags.get("data-dir")) : self.data_dir;
  options.cluster_id = config->id;
  options.replica = self.id;
  options.replicas = config->replicas.size();
  options.rules_known = rules_known;
  options.busy_poll = config->busy_poll;
  options.reserve = config->disk_reserve_mib ? std::optional(*config->disk_reserve_mib << 20) : std::nullopt;
  options.look_every = std::min<paxos::Duration>(config->heartbeat, std::chrono::milliseconds{50});
  fill_random(options.fresh_incarnation.bytes.data(), options.fresh_incarnation.bytes.size());
  const auto taken = paxosd::take_data_directory(options.directory);
  if (!taken) return refuse(taken.error());
  if (taken->tightened > 0)
    daemon_log::info(
        "others could reach {} files and folders in {}: they are this user's alone now (0600 and 0700)",
        taken->tightened, options.directory.string());
  if (taken->left_open > 0)
    daemon_log::warning(
        "others may reach {} files and folders in {}, and the file system doesn't let that be changed",
        taken->left_open, options.directory.string());
  paxosd::Host::Options host_options{.config = *config,
                                     .secrets = {},
                                     .self = self.id,
                                     .version = version,
                                     .rules_known = rules_known,
                                     .directory = options.directory,
                                     .level_by_flag = flags.get("log-level").has_value()};
  // More than once only where a snapshot has come, or the state is made again: opening the directory is what
  // does it, and a replica with another state is a fresh one, of the next boot, in the same process.
  int code = paxosd::exit_reopen;
  for (bool first = true; code == paxosd::exit_reopen; first = false) {
    do fill_random(&options.life, sizeof options.life);
    while (options.life == 0);
    options.renew_state = std::exchange(host_options.renew_state, {});
    auto opened = storage::Storage::open(options);
    if (!opened)
      return refuse(opened.error().message + paxosd::opening_hint(opened.error().message, options.directory));
    daemon_log::info("paxosd {} on {}, one of {}, boot {}, chosen {}, applied {}, data in {}", version,
                     self.listen.empty() ? self.address : self.listen, config->replicas.size(),
                     opened->recovered.boot, opened->recovered.chosen_prefix.n, opened->recovered.applied.n,
                     options.directory.string());
    if (!opened->put_aside.empty())
      daemon_log::write(
          daemon_log::Level::warning, {.event = "damaged", .ballot = {}, .slot = {}},
          opened->put_aside +
              (opened->recovered.first_slot > paxos::Slot{1}
                   ? ". It is put aside as state-damaged, and taken from another replica instead"
                   : ". It is put aside as state-damaged, and made again from the log"));
    if (const std::string note =
            paxosd::elsewhere_note(options.directory, self.data_dir, opened->recovered.boot == 1);
        first && !note.empty())
      daemon_log::warning("{}", note);
    host_options.lived = [&starts] { starts.lived(); };
    fill_random(&host_options.seed, sizeof host_options.seed);
    host_options.life = options.life;
    fill_random(host_options.tickets.data(), host_options.tickets.size());
    auto secrets = paxosd::Secrets::load(options.directory, secret);
    if (!secrets) return refuse(secrets.error());
    if (secrets->differs)
      daemon_log::warning(
          "the key file holds another secret than those in {}/secrets, and all of them are good. If it was "
          "changed by "
          "hand, so that the earlier ones shall open nothing: stop, delete that file, start",
          options.directory.string());
    host_options.secrets = std::move(*secrets);
    net::Loop loop(config->busy_poll);
    paxosd::Host host(loop, std::move(host_options), std::move(*opened));
    code = loop.run(host.run());
    host_options = host.options();  // as it was reloaded
  }
  if (code == 0 || code == paxosd::exit_restart) starts.lived();
  daemon_log::info("stopped");
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  // What it makes is for its own user alone, however it is started.
  ::umask(077);
  int code = 1;
  try {
    // On the machine of a stopped replica. The words of a verb come before any flag.
    const std::string_view verb = argc > 1 ? argv[1] : "";
    code = verb == "inspect"   ? paxosd::inspect_verb({argv + 2, argv + argc}, rules_known)
           : verb == "rescue"  ? paxosd::rescue_verb({argv + 2, argv + argc}, rules_known)
           : verb == "restore" ? paxosd::restore_verb({argv + 2, argv + argc}, rules_known)
                               : run(argc, argv);
  } catch (const std::exception& error) {
    code = refuse(error.what());
  }
  daemon_log::finish();
  return code;
}
