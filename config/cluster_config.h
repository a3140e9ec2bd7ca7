#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "paxos/types.h"

/// cluster.yaml in, one validated immutable struct out.
namespace config {

/// A peer that was down for a moment is not to need a snapshot.
inline constexpr std::uint64_t log_keep_slots_min = 256;
inline constexpr std::uint64_t log_keep_mib_min = 1;
/// What it takes to be away for a while, without a snapshot afterwards, on a disk of a few GiB.
inline constexpr std::uint64_t log_keep_mib_default = 512;
inline constexpr std::int64_t log_keep_max = 1'000'000'000;
inline constexpr std::int64_t disk_reserve_mib_max = 1 << 20;
inline constexpr std::size_t crash_dumps_max = 100;  ///< of up to 4 MiB each
/// What IPv6 carries everywhere; what every IPv4 host takes; what fits into one packet with all headers.
inline constexpr std::size_t datagram_bytes_default = 1232;
inline constexpr std::size_t datagram_bytes_min = 508;
inline constexpr std::size_t datagram_bytes_max = 60 * 1024;

struct ReplicaConfig {
  paxos::ReplicaId id;
  std::string address;  ///< as written, "host:port" or "[v6]:port"
  std::string host;
  std::uint16_t port = 0;
  std::string listen;              ///< "host:port" that it binds; empty: its address
  std::filesystem::path data_dir;  ///< absolute (resolved against the config file)
  std::string metrics;             ///< "host:port" (TCP) of its metrics; empty: it serves none
  /// What the replicas say of it, where a client has asked them (client/session/members.h): it may have been
  /// taken out of the cluster, or its id never been used.
  bool member = true;
  bool votes = true;
};

struct ClusterConfig {
  std::filesystem::path file;
  std::string cluster;                  ///< name
  std::string id;                       ///< uuid
  std::filesystem::path key_file;       ///< absolute
  std::vector<ReplicaConfig> replicas;  ///< by id, ids are 0 .. n-1
  std::chrono::milliseconds heartbeat{50};
  std::chrono::milliseconds election_timeout{250};
  bool fault_injection = false;
  double loss = 0.0;
  /// How long a replica's threads look for work before they sleep, under a steady load (paxos/patience.h);
  /// zero: never.
  std::chrono::microseconds busy_poll{400};
  std::size_t datagram_bytes =
      datagram_bytes_default;  ///< largest payload to others than loopback; a bound, not a promise
  /// A replica lets go of its log beyond so many slots, or MiB of decrees, behind what its state has on the
  /// disk, whichever is less; 0: no such bound, and with both it keeps all of it.
  std::uint64_t log_keep_slots = 0;
  std::uint64_t log_keep_mib = log_keep_mib_default;
  /// What is kept of the data's volume for what must be written though it is full; 0: nothing; not set: 64,
  /// or 5 % of a volume where that is less.
  std::optional<std::uint64_t> disk_reserve_mib;
  /// At most so much of a snapshot is sent to replicas that fell behind the log.
  std::uint64_t snapshot_bytes_per_second = 32u << 20;
  /// A replica reads all that it has on its disk so often, to find what does not read any more; 0: never.
  std::chrono::hours scrub_every{24 * 7};
  std::string log_level = "info";    ///< error, warning, info or debug
  std::size_t crash_dumps_kept = 4;  ///< of the flight recorder, the newest; 1 to crash_dumps_max

  [[nodiscard]] std::size_t voters() const;
  [[nodiscard]] std::size_t quorum() const { return voters() / 2 + 1; }
  [[nodiscard]] std::size_t members() const;
  [[nodiscard]] bool member(paxos::ReplicaId id) const {
    return id.n < replicas.size() && replicas[id.n].member;
  }
  /// The next one, in a circle, and one by a random number. Require a member.
  [[nodiscard]] paxos::ReplicaId next_member(paxos::ReplicaId id) const;
  [[nodiscard]] paxos::ReplicaId some_member(std::uint64_t random) const;
};

/// The parts of a config that all machines of a cluster must have alike, as name and value, in a fixed order.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> agreed_parts(const ClusterConfig& config);

/// A key on its way from the file to where it is kept (net/secret.h), the cluster's secret or one that was
/// issued to somebody: wiped when it goes.
class ClusterKey {
 public:
  ClusterKey() = default;
  ~ClusterKey();
  ClusterKey(const ClusterKey&) = default;
  ClusterKey& operator=(const ClusterKey&) = default;

  std::array<std::uint8_t, 32> bytes{};
  std::string role;      ///< of one that was issued: "reader", "client" or "operator"; empty: the secret
  std::uint32_t id = 0;  ///< likewise
  std::string name;      ///< likewise: under which alone it posts; empty: under any that is nobody's
  [[nodiscard]] bool is_secret() const { return role.empty(); }
};

/// What a file of a key that was issued holds: comments, `pxk1-ROLE-ID-KEY` (id and key in hexadecimal
/// digits), and `name: NAME` where it has one.
[[nodiscard]] std::string key_file_text(const ClusterKey& key, const std::string& cluster);
/// The key's line alone: what somebody types where only a password is asked for. Requires that it was issued.
[[nodiscard]] std::string key_text(const ClusterKey& key);
/// Writes it, mode 0600, synced; `force`: also over another file. The error is a sentence.
[[nodiscard]] tl::expected<void, std::string> write_key_file(const std::filesystem::path& file,
                                                             const std::string& text, bool force);

/// Reads and validates. The error is one sentence with file, line, key and what is allowed.
[[nodiscard]] tl::expected<ClusterConfig, std::string> load(const std::filesystem::path& file);
/// Why that is no address, "host:port" or "[v6]:port", of a replica; empty: it is one.
[[nodiscard]] std::string address_fault(const std::string& address);
/// Requires that it is one.
void set_address(ReplicaConfig& replica, const std::string& address);

/// What of `now` a running replica can't take over from `fresh`, one sentence; empty when it can. It can take
/// fault_injection, loss, datagram_bytes, snapshot_bytes_per_second, log_keep_slots, log_keep_mib,
/// scrub_hours, log_level and crash_dumps_kept.
[[nodiscard]] std::string fixed_difference(const ClusterConfig& now, const ClusterConfig& fresh);

/// What is wrong with a key file of this mode; empty when nothing is. Its group may read it (0640
/// root:paxosd: a group with the one user that runs replicas); nobody else, and nobody but its owner may
/// write it.
[[nodiscard]] std::string key_mode_fault(unsigned mode);

/// Reads a key file: the secret's, 64 hex digits and a newline, or key_file_text(); refuses one with a
/// key_mode_fault().
[[nodiscard]] tl::expected<ClusterKey, std::string> load_key(const std::filesystem::path& file);

/// A replica's key, which is the cluster's secret: the credential `cluster.key` when the service manager
/// passed one
/// ($CREDENTIALS_DIRECTORY, whose modes are its own business), else the config's key file.
[[nodiscard]] tl::expected<ClusterKey, std::string> load_key(const ClusterConfig& config);

/// `--config`, else $`environment`, else ./cluster.yaml, else /etc/paxosd/cluster.yaml; the error says
/// what was looked at and how to make one.
[[nodiscard]] tl::expected<std::filesystem::path, std::string> find(const std::optional<std::string>& flag,
                                                                    const char* environment);

struct GenerateOptions {
  unsigned f = 1;  ///< 2f+1 replicas; 0 to 4
  std::filesystem::path output = "cluster.yaml";
  std::vector<std::string> hosts;  ///< none: 127.0.0.1; one: consecutive ports there; 2f+1: one replica a
                                   ///< host, all on the base port
  std::uint16_t base_port = 7400;
  std::uint16_t metrics_base_port = 0;  ///< on 127.0.0.1 of each machine; 0: no metrics
  std::string data_root = "data";
  double loss = 0.0;
  bool production = false;
  bool force = false;
  /// Where the config is put instead of `output`, by somebody who gives it that name later; empty: there.
  std::filesystem::path config_as;
  std::string cluster = "demo";
};
/// Why these options can't be meant, whatever is on the disk: one sentence; empty when they can.
[[nodiscard]] std::string wrong_options(const GenerateOptions& options);
/// Writes the YAML and a fresh key file (mode 0600) beside it; what exists is not overwritten without force.
[[nodiscard]] tl::expected<void, std::string> generate(const GenerateOptions& options);

}  // namespace config
