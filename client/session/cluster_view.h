#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/session/connection.h"
#include "client/session/json.h"
#include "config/cluster_config.h"

/// The cluster as its replicas describe it in one round of answers; what is missing where it has no quorum.
namespace client {

/// One replica's answer to a status request: its own object, or nothing when it did not answer.
struct ReplicaStatus {
  paxos::ReplicaId id;
  std::optional<Json> json;
  std::string fault = {};    ///< its name gives no address
  std::string address = {};  ///< where it was asked; empty: not known
  std::string trouble = {};  ///< why it can't answer, where that is known: see Connection::version_trouble
  /// The life that answered, for a request that acts.
  [[nodiscard]] chat::Target target() const;
  [[nodiscard]] std::uint64_t boot() const { return json ? json->value("boot", std::uint64_t{0}) : 0; }
};
/// Asks one; asks all at once.
net::Task<ReplicaStatus> ask_status(Connection& connection, paxos::ReplicaId id,
                                    std::chrono::milliseconds timeout);
net::Task<std::vector<ReplicaStatus>> ask_all(Connection& connection, std::chrono::milliseconds timeout);
/// The same, but nobody waits for those whose machine says that nothing listens there. For a program that has
/// nothing else to do: it blocks for a moment where some don't answer, and takes a little longer than
/// `timeout` then.
net::Task<std::vector<ReplicaStatus>> ask_all_there(Connection& connection,
                                                    std::chrono::milliseconds timeout);

/// The cluster in one answer, as `status --json` prints it. *Healthy*: a quorum names one leader, which makes
/// progress (attention.h); *whole*: every voter is there besides, and nothing stands still anywhere.
[[nodiscard]] Json cluster_status(const config::ClusterConfig& config,
                                  const std::vector<ReplicaStatus>& replicas,
                                  std::chrono::milliseconds timeout);

/// What `status` (as cluster_status() gives it) says of one replica; null: it is no member.
[[nodiscard]] const Json* replica_in(const Json& status, unsigned id);

/// "healthy, replica 0 leads"; "degraded, can lose 0 more, replica 0 leads"; what is wrong where something
/// is.
[[nodiscard]] std::string headline(const Json& status);

/// Why nothing can be chosen now. Pure.
struct Outage {
  /// "no quorum", "no leader", "no replica answers", "the cluster is not born yet", "a majority has lost its
  /// data", "nothing moves"; empty: all is well
  std::string what;
  std::string why;                               ///< "replicas 1 and 2 are missing"
  std::optional<std::chrono::milliseconds> age;  ///< as the replica says that has been without it for longest
  std::vector<unsigned> missing;                 ///< replicas that don't answer here
  bool anyone = false;                           ///< some replica answers
  bool unborn = false;  ///< it never had a quorum: some replica has not been there even once
  bool lost = false;    ///< it never has one again: too many directories are gone
  bool stuck = false;   ///< there is a leader, and nothing gets on
  bool full = false;    ///< likewise, since too many disks are full: reading goes on
  std::vector<std::pair<unsigned, std::uint64_t>>
      left;  ///< who still has data, up to which slot; who has most first

  [[nodiscard]] bool over() const { return what.empty(); }
  /// "no quorum for 12 s: replicas 1, 3 and 4 are missing"
  [[nodiscard]] std::string sentence() const;
  /// Where this one tells something else than `other`; only the time that went by is nothing new.
  [[nodiscard]] bool differs(const Outage& other) const { return what != other.what || why != other.why; }
  /// What still works meanwhile, for readers and writers.
  [[nodiscard]] std::string still_works() const;
};
/// `status`: as cluster_status() gives it.
[[nodiscard]] Outage outage_of(const Json& status);
/// What an operator does about it, one sentence each. `status`: with what mark_closed_ports() found;
/// `key_file`: the one that was used. Pure.
[[nodiscard]] std::vector<std::string> next_steps(const Json& status, const std::string& key_file);
/// Adds `"port_closed": true` to the replicas that don't answer because nothing listens there, and says so in
/// `error`. Blocks shortly where some don't answer.
void mark_closed_ports(Json& status, const config::ClusterConfig& config);
/// Asks all replicas.
net::Task<Outage> look_for_outage(Connection& connection, std::chrono::milliseconds timeout);

/// "1", "1 and 2", "1, 3 and 4"
[[nodiscard]] std::string list_text(const std::vector<unsigned>& ids);
/// "replica 1", "replicas 1 and 2"
[[nodiscard]] std::string replicas_text(const std::vector<unsigned>& ids);
/// "350 ms", "12 s", "3 min", "5 h", "2 days"
[[nodiscard]] std::string age_text(std::chrono::milliseconds age);

/// Fields of a foreign object: nothing where they are missing or of another type.
[[nodiscard]] std::optional<double> number_in(const Json& object, const char* field);
[[nodiscard]] std::vector<unsigned> ids_in(const Json& object, const char* field);
[[nodiscard]] std::string text_in(const Json& object, const char* field);

}  // namespace client
