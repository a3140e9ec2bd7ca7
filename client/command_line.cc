#include "client/command_line.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>

#include "client/person.h"
#include "client/terminal/say.h"

namespace client {

int complain(const std::string& program, const std::string& sentence, int code) {
  // The sentence may hold what a replica, a file or an argument says.
  say(stderr, "{}: {}\n", program, Lines{sentence});
  return code;
}

VerbFlags::VerbFlags(std::string name, std::string prefix, std::string about)
    : Flags(std::move(name), std::move(prefix), std::move(about)) {
  value("config", "FILE", "the cluster's config (default: ./cluster.yaml, then /etc/paxosd/cluster.yaml)");
  value("key-file", "FILE", "speak under this key (default: the key_file of the config)");
}

std::optional<int> VerbFlags::parse_without_arguments(const std::vector<std::string>& words,
                                                      const std::string& instead) {
  if (const auto code = parse(words)) return code;
  if (arguments().empty()) return std::nullopt;
  return wrong_usage(fmt::format("{} takes no arguments, '{}' is one{}", name().substr(name().find(' ') + 1),
                                 printable(arguments().front()), instead.empty() ? "" : "; " + instead));
}

namespace {

/// So long a start waits for a replica to say who belongs to the cluster; once more where one has said hello.
constexpr std::chrono::milliseconds members_patience{100};

/// With the members that the cluster has now, by the first replica that answers. What keeps it from being
/// asked is told by whatever is done next.
config::ClusterConfig as_it_is_now(config::ClusterConfig config) {
  if (!net::Loop::probe().empty()) return config;
  net::Loop loop;
  auto connection = Connection::open(loop, config);
  if (!connection) return config;
  const Stopping stopping(loop, **connection);
  // A name server that says nothing was waited for long enough; the next connection waits as long.
  for (const config::ReplicaConfig& r : (*connection)->config().replicas)
    if (!(*connection)->fault(r.id).empty()) return config;
  loop.run(learn_members(**connection, members_patience, true));
  return (*connection)->config();
}

}  // namespace

namespace {

/// What whoever may read, or chat, may do with paxosctl, too. All else takes an operator's key.
constexpr std::array<std::string_view, 8> open_verbs{"bench", "config", "export", "import",
                                                     "rooms", "status", "top",    "verify"};

/// Why this program needs another key than this one; empty: it does not.
std::string role_fault(std::string_view program, const config::ClusterKey& key,
                       const std::filesystem::path& file) {
  constexpr std::string_view operators_program = "paxosctl ";
  if (key.is_secret() || !program.starts_with(operators_program)) return {};
  program.remove_prefix(operators_program.size());
  if (program == "key rotate" || program == "key retire")
    return fmt::format(
        "{} holds {} {}'s key: `paxosctl {}` takes the cluster's secret itself, as a replica's machine "
        "has it: who is told a new one could be a replica",
        file.string(), key.role == "operator" ? "an" : "a", key.role, program);
  if (key.role == "operator") return {};
  const std::string_view verb = program.substr(0, program.find(' '));
  if (program == "key renew" || (program != "verify --full" &&
                                 std::find(open_verbs.begin(), open_verbs.end(), verb) != open_verbs.end()))
    return {};
  return fmt::format(
      "{} holds a {}'s key: `paxosctl {}` takes an operator's (--key-file FILE), or the cluster's "
      "secret",
      file.string(), key.role, program);
}

}  // namespace

tl::expected<config::ClusterConfig, std::string> VerbFlags::read_config() const {
  const auto file = config::find(get("config"), nullptr);
  if (!file) return tl::make_unexpected(file.error());
  auto config = config::load(*file);
  if (!config) return config;
  std::error_code error;
  if (const auto key = get("key-file")) config->key_file = std::filesystem::absolute(*key, error);
  return config;
}

std::string VerbFlags::key_fault() const {
  const auto config = read_config();
  if (!config) return {};
  const auto key = config::load_key(config->key_file);
  if (!key) return {};
  const bool reads_all = name() == "paxosctl verify" && has("full");
  return role_fault(reads_all ? "paxosctl verify --full" : name(), *key, config->key_file);
}

tl::expected<config::ClusterConfig, std::string> VerbFlags::load_config() const {
  if (known_) return *known_;
  auto config = read_config();
  if (!config) return config;
  if (std::string fault = key_fault(); !fault.empty()) return tl::make_unexpected(std::move(fault));
  known_ = as_it_is_now(std::move(*config));
  return *known_;
}

tl::expected<std::string, std::string> VerbFlags::person(const std::string& flag) const {
  const auto given = get(flag);
  // What is wrong with them is told by whatever is done next.
  const auto config = read_config();
  const auto key = config ? config::load_key(config->key_file) : tl::make_unexpected(std::string());
  if (!key || key->name.empty()) return given ? *given : person_here();
  if (!given || *given == key->name) return key->name;
  return tl::make_unexpected(
      fmt::format("the key in {} posts as {} alone: leave --{} out, or name another key",
                  config->key_file.string(), printable_name(key->name), flag));
}

tl::expected<paxos::ReplicaId, std::string> VerbFlags::replica_in(const std::string& word,
                                                                  const config::ClusterConfig& config) {
  const auto number = config::parse_number(word);
  if (number && *number < paxos::limits::replicas_max)
    if (const paxos::ReplicaId id{static_cast<std::uint8_t>(*number)}; config.member(id)) return id;
  return tl::make_unexpected(
      config.replicas.size() == 1
          ? fmt::format("'{}' is no replica; {} has replica 0 alone", printable(word), config.file.string())
          : fmt::format("'{}' is no replica; {} has the replicas 0 to {}", printable(word),
                        config.file.string(), config.replicas.size() - 1));
}

tl::expected<std::optional<paxos::ReplicaId>, std::string> VerbFlags::replica(
    const config::ClusterConfig& config) const {
  const auto word = get("replica");
  if (!word) return std::optional<paxos::ReplicaId>{};
  const auto id = replica_in(*word, config);
  if (!id) return tl::make_unexpected("--replica " + id.error());
  return std::optional(*id);
}

tl::expected<std::chrono::milliseconds, std::string> VerbFlags::timeout(
    std::chrono::milliseconds fallback) const {
  auto time = duration("timeout", fallback);
  if (time && time->count() == 0) return tl::make_unexpected(std::string("--timeout 0 would hear no answer"));
  return time;
}

int VerbFlags::with_cluster(const std::function<net::Task<int>(Connection&)>& task) const {
  auto config = load_config();
  if (!config) return refused(config.error());
  if (const std::string missing = net::Loop::probe(); !missing.empty()) return refused(missing);
  net::Loop loop;
  auto connection = Connection::open(loop, std::move(*config));
  if (!connection) return refused(connection.error());
  const Stopping stopping(loop, **connection);
  (*connection)->keep_learning_members();
  return loop.run(task(**connection));
}

namespace {
/// A closed standard descriptor would be given to the next file or socket that is opened, and be read and
/// written as if it were still what its number says. What takes its place here can't be read or written
/// either.
void hold_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
      // The lowest free number is this one: those below are open.
      [[maybe_unused]] const int held = ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
}
}  // namespace

int run_program(const std::string& program, const std::function<int()>& run) {
  hold_standard_descriptors();
  // Widths of characters; the texts themselves are UTF-8 whatever the locale.
  if (std::setlocale(LC_CTYPE, "") == nullptr || MB_CUR_MAX < 4) (void)std::setlocale(LC_CTYPE, "C.UTF-8");
  int code = config::exit_refused;
  try {
    code = run();
  } catch (const std::exception& error) {
    complain(program, error.what(), 0);
  }
  errno = 0;
  const bool flushed = std::fflush(stdout) == 0;
  const int why = errno;
  if (flushed && std::ferror(stdout) == 0) return code;
  // What failed before it was done keeps its own code; "refused" would say that nothing was done.
  return complain(program,
                  fmt::format("standard output can't be written{}{}: what was to be printed is lost",
                              why != 0 ? ": " : "", why != 0 ? std::strerror(why) : ""),
                  code == config::exit_fine ? config::exit_unknown : code);
}

int reader_gone() {
  std::raise(SIGPIPE);
  return config::exit_unknown;
}

void print_json(const Json& json) {
  // Text is valid UTF-8 by the rules; a replica of another version must not be able to stop us. JSON leaves
  // what moves a terminal above 0x7f alone, so that a terminal gets it in ASCII.
  const bool ascii = ::isatty(STDOUT_FILENO) == 1;
  say(stdout, "{}\n", Own{json.dump(-1, ' ', ascii, Json::error_handler_t::replace)});
  std::fflush(stdout);
}

}  // namespace client
