#include <fmt/format.h>

#include <cstdio>

#include "client/ctl/address_advice.h"
#include "client/ctl/ctl.h"
#include "client/terminal/say.h"
#include "client/terminal/words.h"

/// config: making and checking configs.
namespace client {

namespace {

int generate(const Words& words) {
  config::Flags flags("paxosctl config generate", "PAXOSCTL",
                      "Writes the config of 2F+1 replicas and a fresh key file (mode 0600) beside it.");
  flags.value("failures", "F", "crashes to survive: 2F+1 replicas", 'f');
  flags.value("output", "FILE", "the config (default: cluster.yaml)", 'o');
  flags.list("host", "H",
             "a machine's address: once for all replicas, or 2F+1 times, one a machine (default: 127.0.0.1)");
  flags.value("base-port", "PORT", "first port (default: 7400)");
  flags.value("metrics-base-port", "PORT",
              "each replica serves metrics over HTTP on 127.0.0.1, from this port on (default: none does)");
  flags.value("data-root", "DIR", "where the data directories go (default: data, beside the config)");
  flags.value("loss", "SHARE", "share of datagrams each process drops on receipt");
  flags.value("cluster", "NAME", "its name (default: demo)");
  flags.flag("production", "without fault injection");
  flags.flag("force", "overwrite what is there, the key with it");
  if (const auto code = flags.parse(words)) return *code;
  if (!flags.arguments().empty())
    return flags.wrong_usage(fmt::format("'{}' is not expected here", flags.arguments().front()));
  config::GenerateOptions o;
  if (!flags.has("failures"))
    return flags.wrong_usage(
        "-f F is missing: how many crashes shall it survive? -f 1 makes 3 replicas, -f 2 makes 5");
  const auto f = flags.number("failures", 0, 4);
  const auto port = flags.number("base-port", 1, 65535, 7400);
  const auto metrics = flags.number("metrics-base-port", 1, 65535, 0);
  const auto loss = flags.share("loss", 0);
  if (const auto code = flags.first_fault(f, port, metrics, loss)) return *code;
  o.f = static_cast<unsigned>(*f);
  o.base_port = static_cast<std::uint16_t>(*port);
  o.metrics_base_port = static_cast<std::uint16_t>(*metrics);
  o.loss = *loss;
  o.output = flags.get("output").value_or("cluster.yaml");
  o.hosts = flags.all("host");
  o.data_root = flags.get("data-root").value_or("data");
  o.cluster = flags.get("cluster").value_or("demo");
  o.production = flags.has("production");
  o.force = flags.has("force");
  if (const std::string why = config::wrong_options(o); !why.empty()) return flags.wrong_usage(why);
  const auto done = config::generate(o);
  if (!done) return complain(flags.name(), done.error(), config::exit_refused);
  say(stdout, "wrote {} ({}) and {}\n", o.output.string(), counted(2 * o.f + 1, "replica"),
      std::filesystem::path(o.output).replace_extension(".key").string());
  return config::exit_fine;
}

int check(const Words& words) {
  VerbFlags flags("paxosctl config check", "PAXOSCTL",
                  "Reads a config and its key file, and says what is wrong.");
  flags.arguments_help("[FILE]");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() > 1) return flags.wrong_usage("one file at a time");
  const auto file =
      config::find(flags.arguments().empty() ? flags.get("config") : flags.arguments().front(), nullptr);
  if (!file) return flags.refused(file.error());
  const auto config = config::load(*file);
  if (!config) return flags.refused(config.error());
  if (const auto key = config::load_key(config->key_file); !key) return flags.refused(key.error());
  const std::size_t crashes = (config->replicas.size() - 1) / 2;
  say(stdout, "{}: fine: cluster {}, {}, survives {}{}\n", file->string(), printable(config->cluster),
      counted(config->replicas.size(), "replica"),
      crashes == 0 ? std::string("no crash") : fmt::format("{} crash{}", crashes, crashes == 1 ? "" : "es"),
      config->fault_injection ? "; fault injection is on" : "");
  // Seen from here, and now: worth a word, not a refusal.
  for (const Finding& finding : judge_addresses(resolve_replicas(*config)))
    say(stdout, "warning: {}{}\n  -> {}\n",
        finding.replica ? fmt::format("replica {}: ", *finding.replica) : "", finding.measured,
        finding.advice);
  return config::exit_fine;
}

}  // namespace

int ctl_config(const Words& words) {
  const std::string verb = words.empty() ? "" : words.front();
  const Words rest(words.empty() ? words.begin() : words.begin() + 1, words.end());
  if (verb == "generate") return generate(rest);
  if (verb == "check") return check(rest);
  if (verb == "--help" || verb == "-h") {
    say(stdout, "usage: paxosctl config generate|check ...   (each has --help)\n");
    return config::exit_fine;
  }
  return complain("paxosctl config",
                  (verb.empty() ? std::string() : fmt::format("there is no `config {}`; ", printable(verb))) +
                      "say `config generate` or `config check`; each has --help",
                  config::exit_usage);
}

}  // namespace client
