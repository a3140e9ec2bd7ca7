#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/client_messages.h"
#include "client/session/connection.h"
#include "client/session/json.h"
#include "client/terminal/printable.h"
#include "config/cluster_config.h"
#include "config/flags.h"

/// What the verbs of paxosctl and paxoschat share.
namespace client {

/// Prints "program: sentence" to standard error; gives `code`.
int complain(const std::string& program, const std::string& sentence, int code);

/// The command line of one verb that works with a cluster: --config and --key-file are declared, the faults
/// that all verbs can have are told in one way.
class VerbFlags : public config::Flags {
 public:
  VerbFlags(std::string name, std::string prefix, std::string about);

  /// parse(), for a verb that takes flags only.
  [[nodiscard]] std::optional<int> parse_without_arguments(const std::vector<std::string>& words,
                                                           const std::string& instead = {});
  /// The file, with the members that the cluster has now, where a replica answers in time
  /// (session/members.h).
  [[nodiscard]] tl::expected<config::ClusterConfig, std::string> load_config() const;
  /// Why this verb takes another key than the one that is spoken under; empty: it does not. load_config()
  /// says it, too.
  [[nodiscard]] std::string key_fault() const;
  /// Who types: --name, or what `flag` says, else the name of the key that is spoken under, else the person's
  /// login. The error: that key has another name than was given.
  [[nodiscard]] tl::expected<std::string, std::string> person(const std::string& flag = "name") const;
  /// `word` as a replica of the config.
  [[nodiscard]] static tl::expected<paxos::ReplicaId, std::string> replica_in(
      const std::string& word, const config::ClusterConfig& config);
  /// --replica, where it is given.
  [[nodiscard]] tl::expected<std::optional<paxos::ReplicaId>, std::string> replica(
      const config::ClusterConfig& config) const;
  /// --timeout, or `fallback`; no answer comes in no time.
  [[nodiscard]] tl::expected<std::chrono::milliseconds, std::string> timeout(
      std::chrono::milliseconds fallback) const;
  /// Prints the sentence; gives 1.
  int refused(const std::string& sentence) const { return complain(name(), sentence, config::exit_refused); }
  /// Runs `task(connection)` on a loop of its own; a config or socket error is printed and gives 1.
  [[nodiscard]] int with_cluster(const std::function<net::Task<int>(Connection&)>& task) const;

 private:
  [[nodiscard]] tl::expected<config::ClusterConfig, std::string> read_config() const;

  mutable std::optional<config::ClusterConfig> known_;
};

/// For main(): runs it with standard input, output and error open, whatever the caller closed, and says so
/// when something that it printed could not be written.
int run_program(const std::string& program, const std::function<int()>& run);
/// Ends a program whose reader has gone as the write that it no longer makes would: by SIGPIPE, or with exit
/// 3 where that is ignored.
int reader_gone();

/// Declares --json and the like on stdout: one object a line.
void print_json(const Json& json);

}  // namespace client
