#include "daemon/restore.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <tl/expected.hpp>

#include "chat/backup.h"
#include "config/generate_flags.h"
#include "storage/folders.h"
#include "storage/new_cluster.h"

namespace paxosd {

namespace {

namespace fs = std::filesystem;

/// A backup's file, part by part.
class BackupInput {
 public:
  explicit BackupInput(std::string name) : name_(std::move(name)) {}
  ~BackupInput() {
    if (fd_ > STDIN_FILENO) ::close(fd_);
  }
  BackupInput(const BackupInput&) = delete;
  BackupInput& operator=(const BackupInput&) = delete;

  std::string open() {
    fd_ = name_ == "-" ? STDIN_FILENO : ::open(name_.c_str(), O_RDONLY | O_CLOEXEC);
    return fd_ < 0 ? fmt::format("{}: {}", name_, std::strerror(errno)) : std::string();
  }
  /// The next part; its bytes stay until the next call.
  tl::expected<chat::BackupReader::Part, std::string> next() {
    for (;;) {
      if (auto why = fill(reader_.wants()); !why.empty()) return tl::make_unexpected(std::move(why));
      auto part = reader_.take(bytes_);
      if (!part) return tl::make_unexpected(fmt::format("{}: {}", name(), part.error()));
      if (!std::holds_alternative<std::monostate>(*part)) return part;
    }
  }
  /// After the last part: nothing may follow.
  std::string expect_end() {
    char more = 0;
    const ssize_t n = ::read(fd_, &more, 1);
    if (n == 0) return {};
    return n < 0 ? fmt::format("{}: {}", name(), std::strerror(errno))
                 : fmt::format("{}: more follows behind its end", name());
  }
  [[nodiscard]] std::string name() const { return name_ == "-" ? "standard input" : name_; }

 private:
  std::string fill(std::size_t wanted) {
    bytes_.resize(wanted);
    for (std::size_t have = 0; have < wanted;) {
      const ssize_t n = ::read(fd_, bytes_.data() + have, wanted - have);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fmt::format("{}: {}", name(), std::strerror(errno));
      if (n == 0) return fmt::format("{}: it is cut short: it ends at byte {}", name(), at_);
      have += static_cast<std::size_t>(n);
      at_ += static_cast<std::uint64_t>(n);
    }
    return {};
  }

  std::string name_;
  int fd_ = -1;
  std::uint64_t at_ = 0;
  std::string bytes_;
  chat::BackupReader reader_;
};

void random_bytes(void* out, std::size_t size) {
  if (::getrandom(out, size, 0) != static_cast<ssize_t>(size)) std::abort();
}

/// Until the end that the file says it has; what is wrong, or nothing.
std::string take_rows(BackupInput& input, const chat::BackupHead& head, storage::NewCluster& cluster) {
  chat::SnapshotRows rows;
  std::vector<chat::Row> whole;
  for (;;) {
    const auto part = input.next();
    if (!part) return part.error();
    if (const auto* end = std::get_if<chat::SnapshotSum>(&*part)) {
      if (rows.held() > 0) return input.name() + ": it ends within a row";
      if (std::string why = input.expect_end(); !why.empty()) return why;
      if (std::string why = cluster.check(head.id, *end); !why.empty())
        return fmt::format("{}: {}", input.name(), why);
      return cluster.finish(head.id, *end);
    }
    const auto* bytes = std::get_if<chat::BackupReader::Rows>(&*part);
    if (bytes == nullptr || !rows.take(bytes->bytes, whole))
      return input.name() + ": what is in it are no rows of a replica's state";
    if (std::string why = cluster.write(whole); !why.empty()) return why;
    whole.clear();
  }
}

}  // namespace

int restore_verb(const std::vector<std::string>& words, std::uint16_t rules_known) {
  config::Flags flags(
      "paxosctl restore", "PAXOSCTL",
      "A new cluster out of what `paxosctl backup` wrote: its config, a fresh key, and the data "
      "directory of each replica, with all messages and sessions.");
  config::add_generate_flags(flags);
  flags.value("cluster", "NAME", "its name (default: as the one that the backup is of)");
  flags.flag("json", "one JSON object at the end");
  flags.arguments_help("FILE   `-`: standard input");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() != 1) return flags.wrong_usage("give FILE, a backup, or - for standard input");
  auto options = config::generate_options(flags, "restored");
  if (!options) return options.error();
  const auto refuse = [](const std::string& why) {
    fmt::print(stderr, "paxosctl restore: {}. Nothing was restored\n", why);
    return config::exit_refused;
  };

  BackupInput input(flags.arguments().front());
  if (const std::string why = input.open(); !why.empty()) return refuse(why);
  const auto first = input.next();
  if (!first) return refuse(first.error());
  const auto* head = std::get_if<chat::BackupHead>(&*first);
  if (head == nullptr) return refuse(input.name() + ": it does not begin as a backup does");
  if (head->rules > rules_known)
    return refuse(
        fmt::format("{}: it is of a cluster by rules {}, and this program knows rules up to {}: install "
                    "the newer paxosd",
                    input.name(), head->rules, rules_known));

  options->cluster = flags.get("cluster").value_or(head->cluster);
  // It gets its name last: a cluster that is started with it before its directories are there would be a new
  // one, without a message.
  options->config_as = options->output.string() + ".restoring";
  const fs::path key_file = fs::path(options->output).replace_extension(".key");
  std::error_code error;
  if (fs::exists(options->config_as, error))
    return refuse(fmt::format(
        "{}: an earlier restore was broken off, or is under way; if it is not, remove that file and {}",
        options->config_as.string(), key_file.string()));
  for (const fs::path& file : {options->output, key_file})
    if (fs::exists(file, error))
      return refuse(fmt::format("{}: is there already: move it away, or give another -o", file.string()));
  if (const auto made = config::generate(*options); !made) return refuse(made.error());
  // Made a moment ago: nobody else's.
  const auto give_up = [&](const std::string& why) {
    fs::remove(options->config_as, error);
    fs::remove(key_file, error);
    return refuse(why);
  };
  const auto config = config::load(options->config_as);
  if (!config) return give_up(config.error());
  storage::NewCluster::Options members{
      .cluster_id = config->id, .members = {}, .rules_known = rules_known, .life = 0};
  for (const config::ReplicaConfig& replica : config->replicas) {
    members.members.push_back({.directory = replica.data_dir, .incarnation = {}});
    random_bytes(members.members.back().incarnation.bytes.data(), 16);
  }
  random_bytes(&members.life, sizeof members.life);
  std::string why;
  {
    storage::NewCluster cluster(std::move(members));
    why = cluster.begin();
    if (why.empty()) why = take_rows(input, *head, cluster);
  }
  if (!why.empty()) return give_up(why);
  if (::link(options->config_as.c_str(), options->output.c_str()) != 0) {
    fmt::print(stderr, "paxosctl restore: {}: {}. All else is there: give {} that name\n",
               options->output.string(), std::strerror(errno), options->config_as.string());
    return config::exit_refused;
  }
  fs::remove(options->config_as, error);
  (void)storage::sync_folder(options->output.has_parent_path() ? options->output.parent_path() : ".");

  if (flags.has("json")) {
    nlohmann::json out{{"config", options->output.string()},
                       {"cluster", config->cluster},
                       {"cluster_id", config->id},
                       {"from_cluster", head->cluster},
                       {"from_cluster_id", head->cluster_id},
                       {"slot", head->id.slot.n},
                       {"hash", paxos::to_string(head->id.hash)},
                       {"taken_ms", head->time_ms},
                       {"replicas", nlohmann::json::array()}};
    for (const config::ReplicaConfig& r : config->replicas)
      out["replicas"].push_back({{"id", r.id.n}, {"address", r.address}, {"directory", r.data_dir.string()}});
    fmt::print("{}\n", out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return config::exit_fine;
  }
  fmt::print("restored slot {}, hash {}, into a new cluster of {} replicas: {}\n", head->id.slot.n,
             paxos::to_string(head->id.hash), config->replicas.size(), options->output.string());
  for (const config::ReplicaConfig& r : config->replicas)
    fmt::print("  replica {}  {}  {}\n", r.id.n, r.address, r.data_dir.string());
  fmt::print(
      "Each directory belongs on its own machine, in the place that the config names there, before its "
      "replica starts.\nUse each once: a replica that lost it later is not helped by restoring this "
      "again.\n");
  return config::exit_fine;
}

}  // namespace paxosd
