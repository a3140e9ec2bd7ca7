#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "chat/client_messages.h"
#include "client/connection.h"
#include "client/printable.h"
#include "config/cluster_config.h"
#include "config/flags.h"

/// What the verbs of paxosctl and paxoschat share.
namespace client {

using Json = nlohmann::ordered_json;

/// Prints "program: sentence" to standard error; gives `code`.
int complain(const std::string& program, const std::string& sentence, int code);

/// --config of the verb, for the flags declared with it.
void config_flag(config::Flags& flags);
[[nodiscard]] tl::expected<config::ClusterConfig, std::string> load_config(const config::Flags& flags);

/// Declares --json and the like on stdout: one object a line.
void print_json(const Json& json);

/// A message as `history`, `follow` and receipts show it (CLI.md).
[[nodiscard]] Json to_json(const chat::Message& message);

/// "12:34:56 ann: hello"
[[nodiscard]] std::string to_line(const chat::Message& message, bool colour);

/// Runs `task(connection)` on a loop of its own; a config or socket error is printed and gives 1.
int with_cluster(const config::Flags& flags, const std::string& program,
                 const std::function<net::Task<int>(Connection&)>& task);

}  // namespace client
