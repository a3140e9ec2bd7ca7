#include <fmt/format.h>

#include <cstdio>

#include "client/ctl.h"

/// log and config: what one replica's log holds; making and checking configs.
namespace client {

namespace {

Json ballot_json(const paxos::Ballot& b) { return {{"round", b.round}, {"replica", b.replica.n}}; }

Json command_json(const chat::Command& c, std::size_t index, const chat::LogSlot& slot) {
  Json out{{"index", index}, {"session", chat::to_string(c.session)}, {"client_seq", c.seq}};
  if (const auto* post = std::get_if<chat::Post>(&c.operation)) {
    out["op"] = "post";
    out["room"] = post->room;
    out["name"] = post->name;
    out["text"] = post->text;
  } else if (std::holds_alternative<chat::Open>(c.operation)) {
    out["op"] = "open";
    out["session"] = chat::to_string(chat::SessionId{slot.slot, static_cast<std::uint32_t>(index)});
  } else {
    out["op"] = "close";
  }
  for (const chat::Outcome& o : slot.outcomes) {
    if (o.index != index) continue;
    if (o.verdict == chat::Verdict::repeat || o.verdict == chat::Verdict::receipt_gone)
      out["repeat"] = true;
    else if (o.verdict != chat::Verdict::done)
      out["refused"] = chat::to_string(o.verdict);
  }
  return out;
}

const char* kind_of(const paxos::Decree& decree) {
  switch (decree.kind) {
    case paxos::DecreeKind::noop:
      return "noop";
    case paxos::DecreeKind::commands:
      return "commands";
    case paxos::DecreeKind::rules:
      return "rules";
  }
  return "unknown";
}

Json slot_json(const chat::LogSlot& s) {
  if (s.empty) return {{"slot", s.slot.n}, {"kind", "empty"}, {"chosen", false}};
  Json out{{"slot", s.slot.n},
           {"kind", kind_of(s.decree)},
           {"ballot", ballot_json(s.ballot)},
           {"chosen", s.chosen}};
  if (const auto rules = chat::rules_in(s.decree)) out["rules"] = *rules;
  if (s.decree.kind != paxos::DecreeKind::commands) return out;
  const auto batch = chat::decode_batch(s.decree);
  if (!batch) {
    out["error"] = batch.error();
    return out;
  }
  out["time_ms"] = batch->time_ms;
  out["commands"] = Json::array();
  for (std::size_t i = 0; i < batch->commands.size(); ++i)
    out["commands"].push_back(command_json(batch->commands[i], i, s));
  return out;
}

void print_slot(const chat::LogSlot& s) {
  const Json j = slot_json(s);
  fmt::print("{:>8}  {:<8} {:>8}  {}", s.slot.n, j.at("kind").get<std::string>(),
             s.empty ? "-" : paxos::to_string(s.ballot), s.chosen ? "chosen" : "open");
  if (j.contains("commands")) {
    fmt::print("  {} command{}\n", j.at("commands").size(), j.at("commands").size() == 1 ? "" : "s");
    for (const Json& c : j.at("commands"))
      fmt::print("            {}.{} {}{}{}\n", c.at("session").get<std::string>(),
                 c.at("client_seq").get<std::uint64_t>(), c.at("op").get<std::string>(),
                 c.contains("text") ? fmt::format(" #{} {}: {}", printable(c.at("room").get<std::string>()),
                                                  printable(c.at("name").get<std::string>()),
                                                  printable(c.at("text").get<std::string>().substr(0, 60)))
                                    : std::string(),
                 c.contains("repeat") ? "  (repeat)" : "");
    return;
  }
  fmt::print("{}\n", j.contains("rules") ? fmt::format("  rules {} from the next slot on", j.at("rules").get<unsigned>()) : "");
}

net::Task<int> log(Connection& c, paxos::ReplicaId id, paxos::Slot from, paxos::Slot to, bool json) {
  const std::string program = "paxosctl log";
  for (paxos::Slot next = from;;) {
    const auto answer = co_await c.ask(id, chat::LogRequest{next, to}, 0, std::chrono::seconds{5});
    if (!answer)
      co_return complain(program,
                         fmt::format("replica {} does not answer; `paxosctl status` shows who does", id.n),
                         config::exit_unknown);
    if (const auto* done = std::get_if<chat::DoneReply>(&*answer))
      co_return complain(program, done->refused, config::exit_refused);
    const auto* page = std::get_if<chat::LogReply>(&*answer);
    if (page == nullptr) co_return complain(program, "an answer of another kind", config::exit_unknown);
    for (const chat::LogSlot& slot : page->slots) {
      if (json)
        print_json(slot_json(slot));
      else
        print_slot(slot);
    }
    if (page->next.none() || page->next <= next) co_return config::exit_fine;
    next = page->next;
  }
}

}  // namespace

int ctl_log(const Words& words) {
  config::Flags flags("paxosctl log", "PAXOSCTL", "The slots in one replica's log.");
  config_flag(flags);
  flags.value("from", "SLOT", "first slot (default: 1)");
  flags.value("to", "SLOT", "last slot (default: the end)");
  flags.flag("json", "one JSON object a slot");
  flags.arguments_help("ID");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() != 1) return flags.wrong_usage("name one replica");
  const auto from = flags.number("from", 1, UINT64_MAX / 2, 1);
  if (!from) return flags.wrong_usage(from.error());
  const auto to = flags.number("to", 1, UINT64_MAX / 2, UINT64_MAX / 2);
  if (!to) return flags.wrong_usage(to.error());
  const auto config = load_config(flags);
  if (!config) return complain("paxosctl log", config.error(), config::exit_refused);
  const auto id = config::parse_number(flags.arguments().front());
  if (!id || *id >= config->replicas.size())
    return flags.wrong_usage(fmt::format("'{}' is no replica; the config has 0 to {}",
                                         flags.arguments().front(), config->replicas.size() - 1));
  return with_cluster(flags, "paxosctl log", [&](Connection& c) {
    return log(c, paxos::ReplicaId{static_cast<std::uint8_t>(*id)}, {*from}, {*to}, flags.has("json"));
  });
}

namespace {

int generate(const Words& words) {
  config::Flags flags("paxosctl config generate", "PAXOSCTL",
                      "Writes the config of 2F+1 replicas and a fresh key file (mode 0600) beside it.");
  flags.value("failures", "F", "crashes to survive: 2F+1 replicas", 'f');
  flags.value("output", "FILE", "the config (default: cluster.yaml)", 'o');
  flags.list("host", "H", "a machine's address; several make one replica a machine (default: 127.0.0.1)");
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
  if (!flags.has("failures")) return flags.wrong_usage("-f F is missing: how many crashes shall it survive?");
  const auto f = flags.number("failures", 0, 4);
  if (!f) return flags.wrong_usage(f.error());
  o.f = static_cast<unsigned>(*f);
  const auto port = flags.number("base-port", 1, 65535, 7400);
  if (!port) return flags.wrong_usage(port.error());
  o.base_port = static_cast<std::uint16_t>(*port);
  const auto metrics = flags.number("metrics-base-port", 1, 65535, 0);
  if (!metrics) return flags.wrong_usage(metrics.error());
  o.metrics_base_port = static_cast<std::uint16_t>(*metrics);
  const auto loss = flags.share("loss", 0);
  if (!loss) return flags.wrong_usage(loss.error());
  o.loss = *loss;
  o.output = flags.get("output").value_or("cluster.yaml");
  o.hosts = flags.all("host");
  o.data_root = flags.get("data-root").value_or("data");
  o.cluster = flags.get("cluster").value_or("demo");
  o.production = flags.has("production");
  o.force = flags.has("force");
  const auto done = config::generate(o);
  if (!done) return complain("paxosctl config generate", done.error(), config::exit_refused);
  fmt::print("wrote {} ({} replicas) and {}\n", o.output.string(), 2 * o.f + 1,
             std::filesystem::path(o.output).replace_extension(".key").string());
  return config::exit_fine;
}

int check(const Words& words) {
  config::Flags flags("paxosctl config check", "PAXOSCTL",
                      "Reads a config and its key file, and says what is wrong.");
  config_flag(flags);
  flags.arguments_help("[FILE]");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() > 1) return flags.wrong_usage("one file at a time");
  const auto file =
      config::find(flags.arguments().empty() ? flags.get("config") : flags.arguments().front(), nullptr);
  if (!file) return complain("paxosctl config check", file.error(), config::exit_refused);
  const auto config = config::load(*file);
  if (!config) return complain("paxosctl config check", config.error(), config::exit_refused);
  if (const auto key = config::load_key(config->key_file); !key)
    return complain("paxosctl config check", key.error(), config::exit_refused);
  fmt::print("{}: fine: cluster {}, {} replicas, survives {} crashes{}\n", file->string(), config->cluster,
             config->replicas.size(), (config->replicas.size() - 1) / 2,
             config->fault_injection ? "; fault injection is on" : "");
  return config::exit_fine;
}

}  // namespace

int ctl_config(const Words& words) {
  const std::string verb = words.empty() ? "" : words.front();
  const Words rest(words.empty() ? words.begin() : words.begin() + 1, words.end());
  if (verb == "generate") return generate(rest);
  if (verb == "check") return check(rest);
  if (verb == "--help") {
    fmt::print("usage: paxosctl config generate|check ...\n");
    return config::exit_fine;
  }
  return complain("paxosctl config", "say `config generate` or `config check`; each has --help",
                  config::exit_usage);
}

}  // namespace client
