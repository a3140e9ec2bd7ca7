#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <tuple>

#include "config/cluster_config.h"
#include "config/files.h"

namespace config {

namespace {

constexpr std::size_t file_bytes_max = 1 << 20;
constexpr std::array<std::string_view, 4> log_levels{"error", "warning", "info", "debug"};
constexpr std::string_view generate_hint = "make one with `paxosctl config generate -f 1`";

struct Refused {
  std::string message;
};

/// Reads one file's nodes; every complaint names file, line and key.
class Reader {
 public:
  explicit Reader(std::string file) : file_(std::move(file)) {}

  [[noreturn]] void refuse(const YAML::Mark& mark, std::string_view key, std::string_view what) const {
    throw Refused{fmt::format("{}:{}: {}{}", file_, mark.is_null() ? 1 : mark.line + 1,
                              key.empty() ? std::string() : fmt::format("key '{}': ", key), what)};
  }

  /// The keys of a mapping, each known and there once.
  std::map<std::string, YAML::Node> mapping(const YAML::Node& node, std::string_view what,
                                            const std::set<std::string>& known) const {
    if (!node.IsMap()) refuse(node.Mark(), "", fmt::format("{} is a mapping of keys and values", what));
    std::map<std::string, YAML::Node> out;
    for (const auto& entry : node) {
      const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : std::string("(not a word)");
      if (!known.contains(key)) {
        std::string names;
        for (const std::string& name : known) names += (names.empty() ? "" : ", ") + name;
        refuse(entry.first.Mark(), key, fmt::format("is not known here; allowed are: {}", names));
      }
      if (!out.emplace(key, entry.second).second) refuse(entry.first.Mark(), key, "stands here twice");
      // Here, because a missing value's own mark is that of whatever follows it.
      if (entry.second.IsNull()) refuse(entry.first.Mark(), key, "has no value");
    }
    return out;
  }

  std::string text(const std::map<std::string, YAML::Node>& nodes, const YAML::Node& parent,
                   const std::string& key, std::size_t bytes_max = 4096) const {
    const auto at = nodes.find(key);
    if (at == nodes.end()) refuse(parent.Mark(), key, "is missing");
    if (!at->second.IsScalar() || at->second.Scalar().empty())
      refuse(at->second.Mark(), key, "is a text, not empty");
    if (at->second.Scalar().size() > bytes_max)
      refuse(at->second.Mark(), key, fmt::format("is longer than {} bytes", bytes_max));
    for (const char c : at->second.Scalar())
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
        refuse(at->second.Mark(), key, "has a control character; allowed is one line of text");
    return at->second.Scalar();
  }

  std::int64_t number(const YAML::Node& node, const std::string& key, std::int64_t min,
                      std::int64_t max) const {
    std::int64_t value = 0;
    const std::string digits = node.IsScalar() ? node.Scalar() : std::string();
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size() || value < min ||
        value > max)
      refuse(node.Mark(), key, fmt::format("'{}' is no whole number from {} to {}", digits, min, max));
    return value;
  }

 private:
  std::string file_;
};

bool is_uuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : std::isxdigit(static_cast<unsigned char>(text[i])) == 0) return false;
  }
  return true;
}

/// "host:port" or "[v6]:port"; the error says what is wrong.
std::string split_address(const std::string& address, std::string& host, std::uint16_t& port) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 || address.find_first_of(" /@") != std::string::npos)
    return "write host:port, as in 10.0.0.1:7400 or [fd00::1]:7400";
  host = address.substr(0, colon);
  if (host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  else if (host.find(':') != std::string::npos)
    return "an IPv6 address stands in brackets: [fd00::1]:7400";
  const std::string digits = address.substr(colon + 1);
  unsigned value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size() || value < 1 ||
      value > 65535)
    return fmt::format("'{}' is no port from 1 to 65535", digits);
  port = static_cast<std::uint16_t>(value);
  return host.empty() ? "the host is missing" : std::string();
}

}  // namespace

std::size_t ClusterConfig::voters() const {
  return static_cast<std::size_t>(
      std::count_if(replicas.begin(), replicas.end(), [](const auto& r) { return r.member && r.votes; }));
}

std::size_t ClusterConfig::members() const {
  return static_cast<std::size_t>(
      std::count_if(replicas.begin(), replicas.end(), [](const auto& r) { return r.member; }));
}

paxos::ReplicaId ClusterConfig::next_member(paxos::ReplicaId id) const {
  for (std::size_t i = 1; i <= replicas.size(); ++i)
    if (const ReplicaConfig& r = replicas[(id.n + i) % replicas.size()]; r.member) return r.id;
  return id;
}

paxos::ReplicaId ClusterConfig::some_member(std::uint64_t random) const {
  const paxos::ReplicaId at{static_cast<std::uint8_t>(random % replicas.size())};
  return member(at) ? at : next_member(at);
}

std::string address_fault(const std::string& address) {
  std::string host;
  std::uint16_t port = 0;
  if (address.size() > paxos::limits::address_bytes_max)
    return fmt::format("longer than {} bytes", paxos::limits::address_bytes_max);
  return split_address(address, host, port);
}

void set_address(ReplicaConfig& replica, const std::string& address) {
  replica.address = address;
  (void)split_address(address, replica.host, replica.port);
}

namespace {

ClusterConfig read(const std::filesystem::path& file, const YAML::Node& root, const Reader& r) {
  ClusterConfig out;
  out.file = file;
  std::error_code lost;
  auto base = std::filesystem::absolute(file, lost).parent_path();
  // For the eye only: behind a symbolic link `..` is another folder than before it.
  if (std::find(base.begin(), base.end(), "..") == base.end()) base = base.lexically_normal();
  if (lost) r.refuse(YAML::Mark::null_mark(), "", fmt::format("has no absolute path: {}", lost.message()));
  const auto nodes = r.mapping(
      root, "the config",
      {"cluster", "id", "key_file", "replicas", "heartbeat_ms", "election_timeout_ms", "busy_poll_us",
       "fault_injection", "loss", "datagram_bytes", "snapshot_bytes_per_second", "log_keep_slots",
       "log_keep_mib", "disk_reserve_mib", "scrub_hours", "log_level", "crash_dumps_kept"});
  out.cluster = r.text(nodes, root, "cluster", 64);
  out.id = r.text(nodes, root, "id");
  if (!is_uuid(out.id))
    r.refuse(nodes.at("id").Mark(), "id", "is a uuid, as `paxosctl config generate` makes one");
  out.key_file = base / r.text(nodes, root, "key_file");

  const auto replicas = nodes.find("replicas");
  if (replicas == nodes.end()) r.refuse(root.Mark(), "replicas", "is missing");
  if (!replicas->second.IsSequence() || replicas->second.size() == 0 ||
      replicas->second.size() > paxos::limits::replicas_max)
    r.refuse(replicas->second.Mark(), "replicas",
             fmt::format("is a list of 1 to {} replicas", paxos::limits::replicas_max));
  std::map<std::pair<std::string, std::uint16_t>, std::int64_t> addresses;
  // Machines of their own may well use the same folder; two replicas of one machine may not.
  std::map<std::pair<std::string, std::filesystem::path>, std::int64_t> directories;
  // By machine too: 127.0.0.1:9480 of one is not that of another.
  std::map<std::tuple<std::string, std::string, std::uint16_t>, std::int64_t> listeners;
  std::map<std::tuple<std::string, std::string, std::uint16_t>, std::int64_t> sockets;
  std::set<std::int64_t> ids;
  const auto count = static_cast<std::int64_t>(replicas->second.size());
  for (const YAML::Node& node : replicas->second) {
    const auto one = r.mapping(node, "a replica", {"id", "address", "listen", "data_dir", "metrics"});
    if (!one.contains("id")) r.refuse(node.Mark(), "id", "is missing");
    ReplicaConfig replica;
    const std::int64_t id = r.number(one.at("id"), "id", 0, count - 1);
    if (!ids.insert(id).second)
      r.refuse(one.at("id").Mark(), "id", fmt::format("replica {} stands here twice", id));
    replica.id = paxos::ReplicaId{static_cast<std::uint8_t>(id)};
    replica.address = r.text(one, node, "address", 256);
    if (const std::string fault = split_address(replica.address, replica.host, replica.port); !fault.empty())
      r.refuse(one.at("address").Mark(), "address", fault);
    if (const auto [at, fresh] = addresses.emplace(std::pair(replica.host, replica.port), id); !fresh)
      r.refuse(one.at("address").Mark(), "address",
               fmt::format("{} is replica {}'s already; each needs its own", replica.address, at->second));
    std::string bound_host = replica.host;
    std::uint16_t bound_port = replica.port;
    if (one.contains("listen")) {
      replica.listen = r.text(one, node, "listen", 256);
      if (const std::string fault = split_address(replica.listen, bound_host, bound_port); !fault.empty())
        r.refuse(one.at("listen").Mark(), "listen",
                 fault + "; to listen on all addresses, 0.0.0.0:7400 or [::]:7400");
    }
    if (const auto [at, fresh] = sockets.emplace(std::tuple(replica.host, bound_host, bound_port), id);
        !fresh)
      r.refuse(one.at(one.contains("listen") ? "listen" : "address").Mark(),
               one.contains("listen") ? "listen" : "address",
               fmt::format("replica {} of the same machine listens there already; each needs its own port",
                           at->second));
    replica.data_dir = (base / r.text(one, node, "data_dir")).lexically_normal();
    if (!replica.data_dir.has_filename()) replica.data_dir = replica.data_dir.parent_path();  // "data/0/"
    if (const auto [at, fresh] = directories.emplace(std::pair(replica.host, replica.data_dir), id); !fresh)
      r.refuse(one.at("data_dir").Mark(), "data_dir",
               fmt::format("{} is replica {}'s already; each replica of a machine needs its own",
                           replica.data_dir.string(), at->second));
    if (one.contains("metrics")) {
      replica.metrics = r.text(one, node, "metrics", 256);
      std::string host;
      std::uint16_t port = 0;
      if (const std::string fault = split_address(replica.metrics, host, port); !fault.empty())
        r.refuse(one.at("metrics").Mark(), "metrics", fault);
      if (const auto [at, fresh] = listeners.emplace(std::tuple(replica.host, host, port), id); !fresh)
        r.refuse(one.at("metrics").Mark(), "metrics",
                 fmt::format("{} is replica {}'s already; each replica of a machine needs its own",
                             replica.metrics, at->second));
    }
    out.replicas.push_back(std::move(replica));
  }
  std::sort(out.replicas.begin(), out.replicas.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });

  if (const auto at = nodes.find("heartbeat_ms"); at != nodes.end())
    out.heartbeat = std::chrono::milliseconds{r.number(at->second, "heartbeat_ms", 5, 10'000)};
  if (const auto at = nodes.find("election_timeout_ms"); at != nodes.end())
    out.election_timeout = std::chrono::milliseconds{r.number(at->second, "election_timeout_ms", 15, 60'000)};
  if (out.election_timeout < 3 * out.heartbeat) {
    const auto at = nodes.find("election_timeout_ms");
    const auto beat = nodes.find("heartbeat_ms");
    r.refuse((at == nodes.end() ? beat : at)->second.Mark(), "election_timeout_ms",
             fmt::format("{} is less than three heartbeats of {} ms: one lost datagram would cost the leader",
                         out.election_timeout.count(), out.heartbeat.count()));
  }
  if (const auto at = nodes.find("busy_poll_us"); at != nodes.end())
    out.busy_poll = std::chrono::microseconds{r.number(at->second, "busy_poll_us", 0, 10'000)};
  if (const auto at = nodes.find("fault_injection"); at != nodes.end()) {
    const std::string word = at->second.IsScalar() ? at->second.Scalar() : std::string();
    if (word != "true" && word != "false") r.refuse(at->second.Mark(), "fault_injection", "is true or false");
    out.fault_injection = word == "true";
  }
  if (const auto at = nodes.find("loss"); at != nodes.end()) {
    const std::string digits = at->second.IsScalar() ? at->second.Scalar() : std::string();
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.loss);
    if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size() || !(out.loss >= 0) ||
        out.loss > 1)
      r.refuse(at->second.Mark(), "loss", "is a share from 0 to 1 of datagrams to drop");
    if (out.loss > 0 && !out.fault_injection)
      r.refuse(at->second.Mark(), "loss", "is fault injection: it needs `fault_injection: true`");
  }
  if (const auto at = nodes.find("datagram_bytes"); at != nodes.end())
    out.datagram_bytes = static_cast<std::size_t>(
        r.number(at->second, "datagram_bytes", datagram_bytes_min, datagram_bytes_max));
  if (const auto at = nodes.find("snapshot_bytes_per_second"); at != nodes.end())
    out.snapshot_bytes_per_second =
        r.number(at->second, "snapshot_bytes_per_second", 64 * 1024, std::uint64_t{1} << 40);
  const auto keep = [&](const char* key, std::uint64_t least, std::uint64_t& to) {
    const auto at = nodes.find(key);
    if (at == nodes.end()) return;
    to = static_cast<std::uint64_t>(r.number(at->second, key, 0, log_keep_max));
    if (to != 0 && to < least)
      r.refuse(at->second.Mark(), key, fmt::format("{} is less than {}; 0 keeps all of the log", to, least));
  };
  keep("log_keep_slots", log_keep_slots_min, out.log_keep_slots);
  keep("log_keep_mib", log_keep_mib_min, out.log_keep_mib);
  if (const auto at = nodes.find("disk_reserve_mib"); at != nodes.end())
    out.disk_reserve_mib =
        static_cast<std::uint64_t>(r.number(at->second, "disk_reserve_mib", 0, disk_reserve_mib_max));
  if (const auto at = nodes.find("scrub_hours"); at != nodes.end())
    out.scrub_every = std::chrono::hours{r.number(at->second, "scrub_hours", 0, 24 * 365)};
  if (const auto at = nodes.find("log_level"); at != nodes.end()) {
    out.log_level = r.text(nodes, root, "log_level");
    if (std::find(log_levels.begin(), log_levels.end(), out.log_level) == log_levels.end())
      r.refuse(at->second.Mark(), "log_level",
               fmt::format("'{}' is none of error, warning, info, debug", out.log_level));
  }
  if (const auto at = nodes.find("crash_dumps_kept"); at != nodes.end())
    out.crash_dumps_kept =
        static_cast<std::size_t>(r.number(at->second, "crash_dumps_kept", 1, crash_dumps_max));
  return out;
}

}  // namespace

tl::expected<ClusterConfig, std::string> load(const std::filesystem::path& file) {
  const auto fail = [&](std::string_view why) {
    return tl::make_unexpected(fmt::format("{}: {}", file.string(), why));
  };
  const auto bytes = read_bounded(file, file_bytes_max);
  if (!bytes) {
    if (bytes.error() == ENOENT) return fail(fmt::format("there is no such file; {}", generate_hint));
    if (bytes.error() == EISDIR) return fail("is a folder, not a config file");
    return fail(fmt::format("can't be read: {}", std::strerror(bytes.error())));
  }
  if (bytes->size() > file_bytes_max) return fail("is larger than 1 MiB: that is no cluster config");
  if (bytes->find_first_not_of(" \t\r\n") == std::string::npos)
    return fail(fmt::format("is empty; {}", generate_hint));
  const Reader reader(file.string());
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(*bytes);
    if (documents.size() > 1) reader.refuse(documents[1].Mark(), "", "a second document; a config is one");
    if (documents.empty()) return fail(fmt::format("holds nothing but comments; {}", generate_hint));
    return read(file, documents.front(), reader);
  } catch (const Refused& refused) {
    return tl::make_unexpected(refused.message);
  } catch (const YAML::Exception& bad) {
    return tl::make_unexpected(fmt::format("{}:{}: is not YAML: {}", file.string(),
                                           bad.mark.is_null() ? 1 : bad.mark.line + 1, bad.msg));
  }
}

std::vector<std::pair<std::string, std::string>> agreed_parts(const ClusterConfig& config) {
  std::vector<std::pair<std::string, std::string>> out{
      {"id", config.id},
      {"heartbeat_ms", std::to_string(config.heartbeat.count())},
      {"election_timeout_ms", std::to_string(config.election_timeout.count())},
      {"replicas", std::to_string(config.replicas.size())}};
  for (const ReplicaConfig& replica : config.replicas)
    if (replica.member) out.emplace_back(fmt::format("address of replica {}", replica.id.n), replica.address);
  return out;
}

std::string fixed_difference(const ClusterConfig& now, const ClusterConfig& fresh) {
  const auto differs = [](std::string_view key) {
    return fmt::format("`{}` differs from what this replica was started with; restart it to change that",
                       key);
  };
  if (now.cluster != fresh.cluster) return differs("cluster");
  if (now.id != fresh.id) return differs("id");
  if (now.key_file != fresh.key_file) return differs("key_file");
  if (now.heartbeat != fresh.heartbeat) return differs("heartbeat_ms");
  if (now.election_timeout != fresh.election_timeout) return differs("election_timeout_ms");
  if (now.busy_poll != fresh.busy_poll) return differs("busy_poll_us");
  if (now.disk_reserve_mib != fresh.disk_reserve_mib) return differs("disk_reserve_mib");
  const auto same = [](const ReplicaConfig& a, const ReplicaConfig& b) {
    return a.id == b.id && a.address == b.address && a.listen == b.listen && a.data_dir == b.data_dir &&
           a.metrics == b.metrics;
  };
  if (!std::equal(now.replicas.begin(), now.replicas.end(), fresh.replicas.begin(), fresh.replicas.end(),
                  same))
    return differs("replicas");
  return {};
}

tl::expected<std::filesystem::path, std::string> find(const std::optional<std::string>& flag,
                                                      const char* environment) {
  if (flag) return std::filesystem::path(*flag);
  if (environment != nullptr)
    if (const char* value = std::getenv(environment); value != nullptr && *value != '\0')
      return std::filesystem::path(value);
  std::error_code error;
  for (const char* candidate : {"./cluster.yaml", "/etc/paxosd/cluster.yaml"})
    if (std::filesystem::exists(candidate, error)) return std::filesystem::path(candidate);
  return tl::make_unexpected(
      fmt::format("no config: there is neither ./cluster.yaml nor /etc/paxosd/cluster.yaml; name one with "
                  "--config FILE, or {}",
                  generate_hint));
}

}  // namespace config
