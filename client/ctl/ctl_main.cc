#include <fmt/format.h>

#include <cstdio>
#include <map>

#include "client/ctl/ctl.h"
#include "client/terminal/say.h"

/// paxosctl: the operator's tool.
namespace {

struct Verb {
  int (*run)(const client::Words&);
  const char* about;
};

const std::map<std::string, Verb>& verbs() {
  static const std::map<std::string, Verb> all{
      {"config", {client::ctl_config, "generate a config, check one"}},
      {"status", {client::ctl_status, "who leads, who lags, who is missing"}},
      {"top", {client::ctl_top, "a live view: rates, latency, disk, memory"}},
      {"doctor", {client::ctl_doctor, "what is wrong with machines, network and config, and what to do"}},
      {"verify", {client::ctl_verify, "compare the replicas' hash chains"}},
      {"log", {client::ctl_log, "the slots in one replica's log"}},
      {"rooms", {client::ctl_rooms, "which rooms there are, how many messages, the last one's time"}},
      {"redact", {client::ctl_redact, "take a message's text out of every replica's history, state and log"}},
      {"retention", {client::ctl_retention, "which messages rooms keep"}},
      {"key", {client::ctl_key, "keys with roles: issue, list, revoke; who may post without one"}},
      {"backup", {client::ctl_backup, "everything that the cluster keeps, in one file, while it runs"}},
      {"restore", {client::ctl_restore, "a new cluster out of what `backup` wrote"}},
      {"export", {client::ctl_export, "every room with its messages, to standard output"}},
      {"import", {client::ctl_import, "post what `export` wrote into this cluster, each message once"}},
      {"explain", {client::ctl_explain, "what happened to a slot on every replica"}},
      {"kill", {client::ctl_kill, "kill replicas as if the power failed"}},
      {"skip", {client::ctl_skip, "have the leader leave slots empty"}},
      {"loss", {client::ctl_loss, "have replicas drop datagrams"}},
      {"pause", {client::ctl_pause, "have a replica stand still"}},
      {"isolate", {client::ctl_isolate, "cut a replica off"}},
      {"rolling-restart", {client::ctl_rolling_restart, "restart one replica after another"}},
      {"member",
       {client::ctl_member, "who belongs to the cluster; put a new directory in a lost one's place"}},
      {"transfer-leader", {client::ctl_transfer_leader, "have another replica lead"}},
      {"run", {client::ctl_run, "script mode: a whole cluster, clients and faults in one command"}},
      {"bench", {client::ctl_bench, "throughput and latency"}},
  };
  return all;
}

int help() {
  client::say(stdout, "usage: paxosctl VERB ...\n\nOperates a paxosd cluster.\n\n");
  for (const auto& [name, verb] : verbs()) client::say(stdout, "  {:<15}  {}\n", name, verb.about);
  client::say(
      stdout,
      "\n`paxosctl VERB --help` tells more. Exit codes: 0 fine, 1 refused, 2 wrong usage, 3 no quorum or no "
      "answer.\n");
  return config::exit_fine;
}

int run(int argc, const char* const* argv) {
  if (argc < 2) {
    help();
    return config::exit_usage;
  }
  const std::string name = argv[1];
  if (name == "help" && argc > 2) {
    std::vector<const char*> again{argv[0]};  // `help VERB`, `help config generate`
    again.insert(again.end(), argv + 2, argv + argc);
    again.push_back("--help");
    return run(static_cast<int>(again.size()), again.data());
  }
  if (name == "--help" || name == "-h" || name == "help") return help();
  if (name == "--version") {
    client::say(stdout, "paxosctl {}\n", PAXOSD_VERSION);
    return config::exit_fine;
  }
  const auto verb = verbs().find(name);
  if (verb != verbs().end()) return verb->second.run(client::Words(argv + 2, argv + argc));
  if (name.starts_with('-'))
    for (int i = 2; i < argc; ++i)
      if (verbs().contains(argv[i]))
        return client::complain(
            "paxosctl",
            fmt::format("the verb comes first: `paxosctl {0} {1} ...`\nTry `paxosctl {0} --help`.", argv[i],
                        client::printable(name)),
            config::exit_usage);
  std::vector<std::string> names;
  for (const auto& [known, ignored] : verbs()) names.push_back(known);
  const std::string near = config::nearest(name, names);
  client::say(stderr, "paxosctl: there is no verb '{}'{}\nTry `paxosctl --help`.\n", client::printable(name),
              near.empty() ? "" : fmt::format("; did you mean `{}`?", near));
  return config::exit_usage;
}

}  // namespace

int main(int argc, char** argv) {
  return client::run_program("paxosctl", [&] { return run(argc, argv); });
}
