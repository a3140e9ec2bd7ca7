#include "client/command_line.h"

#include <fmt/format.h>

#include <cstdio>
#include <ctime>

namespace client {

int complain(const std::string& program, const std::string& sentence, int code) {
  fmt::print(stderr, "{}: {}\n", program, sentence);
  return code;
}

void config_flag(config::Flags& flags) {
  flags.value("config", "FILE",
              "the cluster's config (default: ./cluster.yaml, then /etc/paxosd/cluster.yaml)");
}

tl::expected<config::ClusterConfig, std::string> load_config(const config::Flags& flags) {
  const auto file = config::find(flags.get("config"), nullptr);
  if (!file) return tl::make_unexpected(file.error());
  return config::load(*file);
}

void print_json(const Json& json) {
  // Text is valid UTF-8 by the rules; a replica of another version must not be able to stop us.
  const std::string line = json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fflush(stdout);
}

Json to_json(const chat::Message& m) {
  return {{"room", m.room},
          {"seq", m.seq},
          {"slot", m.slot.n},
          {"index", m.index},
          {"name", m.name},
          {"session", chat::to_string(m.session)},
          {"client_seq", m.client_seq},
          {"time_ms", m.time_ms},
          {"text", m.text}};
}

std::string to_line(const chat::Message& m, bool colour) {
  const std::time_t seconds = m.time_ms / 1000;
  std::tm local{};
  localtime_r(&seconds, &local);
  const std::string who = m.name.empty() ? "someone" : printable(m.name);
  const std::string time = fmt::format("{:02}:{:02}:{:02}", local.tm_hour, local.tm_min, local.tm_sec);
  if (!colour) return fmt::format("{} {}: {}", time, who, printable(m.text));
  return fmt::format("\x1b[2m{}\x1b[0m \x1b[1m{}\x1b[0m: {}", time, who, printable(m.text));
}

int with_cluster(const config::Flags& flags, const std::string& program,
                 const std::function<net::Task<int>(Connection&)>& task) {
  auto config = load_config(flags);
  if (!config) return complain(program, config.error(), config::exit_refused);
  if (const std::string missing = net::Loop::probe(); !missing.empty())
    return complain(program, missing, config::exit_refused);
  net::Loop loop;
  auto connection = Connection::open(loop, std::move(*config));
  if (!connection) return complain(program, connection.error(), config::exit_refused);
  const Stopping stopping(loop, **connection);
  return loop.run(task(**connection));
}

}  // namespace client
