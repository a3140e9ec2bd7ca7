#include "daemon/restore.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <tl/expected.hpp>

#include "chat/backup.h"
#include "config/generate_flags.h"
#include "daemon/new_config.h"
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
  NewConfig made("restore", std::move(*options));
  if (const std::string why = made.check(); !why.empty()) return refuse(why);
  if (const std::string why = made.begin(); !why.empty()) return refuse(why);
  {
    storage::NewCluster cluster(made.members(rules_known));
    std::string why = cluster.begin();
    if (why.empty()) why = take_rows(input, *head, cluster);
    if (!why.empty()) return refuse(why);
  }
  if (const std::string why = made.finish(); !why.empty()) {
    fmt::print(stderr, "paxosctl restore: {}\n", why);
    return config::exit_refused;
  }
  const config::ClusterConfig& config = made.config();

  if (flags.has("json")) {
    nlohmann::json out{{"config", made.file().string()},
                       {"cluster", config.cluster},
                       {"cluster_id", config.id},
                       {"from_cluster", head->cluster},
                       {"from_cluster_id", head->cluster_id},
                       {"slot", head->id.slot.n},
                       {"hash", paxos::to_string(head->id.hash)},
                       {"taken_ms", head->time_ms},
                       {"replicas", nlohmann::json::array()}};
    for (const config::ReplicaConfig& r : config.replicas)
      out["replicas"].push_back({{"id", r.id.n}, {"address", r.address}, {"directory", r.data_dir.string()}});
    fmt::print("{}\n", out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    return config::exit_fine;
  }
  fmt::print("restored slot {}, hash {}, into a new cluster of {} replicas: {}\n", head->id.slot.n,
             paxos::to_string(head->id.hash), config.replicas.size(), made.file().string());
  for (const config::ReplicaConfig& r : config.replicas)
    fmt::print("  replica {}  {}  {}\n", r.id.n, r.address, r.data_dir.string());
  fmt::print(
      "Each directory belongs on its own machine, in the place that the config names there, before its "
      "replica starts.\nUse each once: a replica that lost it later is not helped by restoring this "
      "again.\n");
  return config::exit_fine;
}

}  // namespace paxosd
