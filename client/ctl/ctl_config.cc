#include <fmt/format.h>

#include <cstdio>

#include "client/ctl/address_advice.h"
#include "client/ctl/ctl.h"
#include "client/terminal/say.h"
#include "client/terminal/words.h"
#include "config/generate_flags.h"

/// config: making and checking configs.
namespace client {

namespace {

int generate(const Words& words) {
  config::Flags flags("paxosctl config generate", "PAXOSCTL",
                      "Writes the config of 2F+1 replicas and a fresh key file (mode 0600) beside it.");
  config::add_generate_flags(flags);
  flags.value("cluster", "NAME", "its name (default: demo)");
  flags.flag("force", "overwrite what is there, the key with it");
  if (const auto code = flags.parse(words)) return *code;
  if (!flags.arguments().empty())
    return flags.wrong_usage(fmt::format("'{}' is not expected here", flags.arguments().front()));
  auto options = config::generate_options(flags, "demo");
  if (!options) return options.error();
  config::GenerateOptions& o = *options;
  o.force = flags.has("force");
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
  if (config->replicas.size() % 2 == 0)
    say(stdout,
        "note: no cluster is born with {} replicas, since an even number survives no more crashes than one "
        "less; one that has grown may have them\n",
        config->replicas.size());
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
