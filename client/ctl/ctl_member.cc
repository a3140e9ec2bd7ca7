#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "client/ctl/ctl.h"
#include "client/terminal/say.h"

/// member, transfer-leader: who belongs to the cluster, and who leads it (DESIGN.md section 4,
/// Configurations).
namespace client {

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds one_look{1000};  ///< how long one look at the cluster waits for answers
constexpr std::chrono::milliseconds between_looks{200};  ///< between two looks
constexpr const char* list_program = "paxosctl member list";
constexpr const char* replace_program = "paxosctl member replace";
constexpr const char* transfer_program = "paxosctl transfer-leader";

// What replicas answer is a foreign object: nothing is taken to be there, or of its type.

std::uint64_t whole(const Json& object, const char* field) {
  const double value = number_in(object, field).value_or(0);
  return value >= 1 && value < 1e15 ? static_cast<std::uint64_t>(value) : 0;
}

bool is_true(const Json& object, const char* field) {
  const auto at = object.find(field);
  return at != object.end() && at->is_boolean() && at->get<bool>();
}

/// The members by replica id, as the one says that is in the latest configuration; empty: nobody says it.
struct Members {
  std::uint64_t number = 0;
  std::uint64_t begins = 0;
  std::map<std::size_t, Json> by_id;
};

Members latest(const std::vector<ReplicaStatus>& replicas) {
  Members best;
  for (const ReplicaStatus& r : replicas) {
    if (!r.json || whole(*r.json, "configuration") <= best.number) continue;
    const auto members = r.json->find("members");
    if (members == r.json->end() || !members->is_array()) continue;
    best = {.number = whole(*r.json, "configuration"),
            .begins = whole(*r.json, "configuration_begins"),
            .by_id = {}};
    for (const Json& member : *members)
      if (const auto id = member.is_object() ? number_in(member, "id") : std::nullopt;
          id && *id >= 0 && *id < static_cast<double>(replicas.size()))
        best.by_id.emplace(static_cast<std::size_t>(*id), member);
  }
  return best;
}

Json member_json(std::size_t id, const Json& member, const ReplicaStatus& r,
                 const config::ReplicaConfig& config) {
  const std::string address = text_in(member, "address");
  Json out{{"id", id},
           {"role", text_in(member, "role")},
           {"incarnation", text_in(member, "incarnation")},
           {"address", address.empty() ? config.address : address},
           {"reachable", r.json.has_value()}};
  if (!r.json) return out;
  out["voting"] = is_true(*r.json, "voting");
  out["applied"] = whole(*r.json, "applied");
  if (text_in(*r.json, "incarnation") != text_in(member, "incarnation")) out["other_directory"] = true;
  if (const std::string reason = text_in(*r.json, "reason"); !reason.empty()) out["reason"] = reason;
  return out;
}

std::string standing_of(const Json& member) {
  if (!member.at("reachable").get<bool>()) return "does not answer";
  if (member.value("other_directory", false))
    return fmt::format("runs from another directory: replace it with `paxosctl member replace {}`",
                       member.at("id").get<unsigned>());
  if (member.at("voting").get<bool>()) return "votes";
  return "does not vote: " + printable(text_in(member, "reason"));
}

net::Task<int> list(Connection& c, bool json) {
  const auto replicas = co_await ask_all(c, one_look);
  const Members known = latest(replicas);
  if (known.by_id.empty())
    co_return complain(list_program,
                       "no replica that answers says who belongs to the cluster; see `paxosctl status`",
                       config::exit_unknown);
  Json members = Json::array();
  for (const auto& [id, member] : known.by_id)
    members.push_back(member_json(id, member, replicas[id], c.config().replicas[id]));
  if (json) {
    print_json({{"configuration", known.number}, {"begins", known.begins}, {"members", members}});
    co_return config::exit_fine;
  }
  say(stdout, "configuration {}, from slot {} on\n", known.number, known.begins);
  for (const Json& member : members)
    say(stdout, "  {}  {:<8}  {:<22}  {}\n", member.at("id").get<unsigned>(), text_in(member, "role"),
        printable(text_in(member, "address")), standing_of(member));
  co_return config::exit_fine;
}

struct Replacement {
  paxos::ReplicaId id;
  std::chrono::milliseconds timeout{60'000};
  bool json = false;
};

/// One word when it changes, so that nobody sits before a silent program.
class Progress {
 public:
  explicit Progress(bool json) : json_(json) {}
  void operator()(const std::string& line) {
    if (line != told_) say(json_ ? stderr : stdout, "{}\n", line);
    std::fflush(stdout);
    told_ = line;
  }

 private:
  bool json_;
  std::string told_;
};

/// The directory with which it runs is the one that the cluster counts on.
struct Look {
  bool there = false;
  bool in_force = false;
  bool votes = false;
  std::uint64_t configuration = 0;
  std::uint64_t applied = 0;
  std::uint64_t chosen = 0;  ///< by whoever knows most
};

net::Task<Look> look_at(Connection& c, paxos::ReplicaId id) {
  const auto replicas = co_await ask_all(c, one_look);
  Look out;
  for (const ReplicaStatus& r : replicas)
    if (r.json) out.chosen = std::max(out.chosen, whole(*r.json, "chosen"));
  const Members known = latest(replicas);
  const ReplicaStatus& target = replicas[id.n];
  out.there = target.json.has_value();
  const auto member = known.by_id.find(id.n);
  if (member == known.by_id.end() || !out.there) co_return out;
  out.configuration = known.number;
  out.applied = whole(*target.json, "applied");
  out.in_force = text_in(member->second, "incarnation") == text_in(*target.json, "incarnation");
  out.votes = out.in_force && is_true(*target.json, "voting");
  co_return out;
}

std::string not_done(const Replacement& wish, const std::string& why) {
  return fmt::format("replica {} is not replaced: {}", wish.id.n, why);
}

net::Task<int> replace(Connection& c, Replacement wish) {
  const paxos::Time until = c.loop().now() + wish.timeout;
  Progress progress(wish.json);
  const std::string name = fmt::format("replica {}", wish.id.n);
  // What is refused for a moment only (its old self was heard a moment ago; an election) is asked again.
  const paxos::Time asked_until = std::min(until, c.loop().now() + 10s);
  for (;;) {
    // Of an earlier call, whose answer was lost or not waited for.
    if (const Look now = co_await look_at(c, wish.id); now.in_force && !now.votes && now.configuration > 1)
      break;
    const auto leader = co_await find_leader(c, 5s);
    if (!leader)
      co_return complain(replace_program, not_done(wish, "there is no leader; `paxosctl status` shows why"),
                         config::exit_unknown);
    const auto answer = co_await c.ask(leader->id, chat::ReplaceRequest{wish.id}, leader->target(), 5s);
    const auto* done = answer ? std::get_if<chat::DoneReply>(&*answer) : nullptr;
    if (answer && done == nullptr)
      co_return complain(
          replace_program,
          not_done(wish, fmt::format("replica {} gave an answer of another kind: is it another "
                                     "version?",
                                     leader->id.n)),
          config::exit_unknown);
    if (done != nullptr && done->refused.empty()) {
      progress(fmt::format("{}: another configuration is proposed, in slot {}", name,
                           done->slots.empty() ? 0 : done->slots.front().n));
      break;
    }
    const std::string why =
        done != nullptr ? done->refused : fmt::format("no answer from replica {}", leader->id.n);
    if (c.loop().now() >= asked_until) {
      if (wish.json) print_json({{"replica", wish.id.n}, {"replaced", false}, {"refused", why}});
      co_return complain(replace_program, not_done(wish, why), config::exit_refused);
    }
    progress(fmt::format("{}: waiting: {}", name, why));
    co_await c.loop().sleep(between_looks);
  }
  for (;;) {
    const Look now = co_await look_at(c, wish.id);
    if (now.votes) {
      if (wish.json)
        print_json({{"replica", wish.id.n},
                    {"replaced", true},
                    {"configuration", now.configuration},
                    {"applied", now.applied}});
      else
        say(stdout, "{}: votes, in configuration {}\n", name, now.configuration);
      co_return config::exit_fine;
    }
    if (!now.there)
      progress(fmt::format("{}: does not answer", name));
    else if (!now.in_force)
      progress(fmt::format("{}: waiting for the new configuration", name));
    else
      progress(fmt::format("{}: catches up, at slot {} of {}", name, now.applied, now.chosen));
    if (c.loop().now() >= until) break;
    co_await c.loop().sleep(between_looks);
  }
  co_return complain(
      replace_program,
      fmt::format("{} does not vote yet, after {} s; it goes on by itself: see `paxosctl member list`", name,
                  wish.timeout.count() / 1000),
      config::exit_unknown);
}

int member_list(const Words& words) {
  VerbFlags flags(list_program, "PAXOSCTL", "Who belongs to the cluster, and who of them is there.");
  flags.flag("json", "one JSON object");
  if (const auto code = flags.parse(words)) return *code;
  if (!flags.arguments().empty()) return flags.wrong_usage("there is nothing more to name");
  return flags.with_cluster([&](Connection& c) { return list(c, flags.has("json")); });
}

int member_replace(const Words& words) {
  VerbFlags flags(
      replace_program, "PAXOSCTL",
      "Puts the directory with which a replica runs in the place of its lost one. Start that replica "
      "with an empty data directory first. Waits until it has caught up, and votes.");
  flags.value("timeout", "TIME", "how long to wait until it votes (default: 60s); it goes on by itself");
  flags.flag("json", "one JSON object; what goes on meanwhile goes to standard error");
  flags.arguments_help("ID");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() != 1) return flags.wrong_usage("name one replica");
  Replacement wish;
  const auto timeout = flags.timeout(wish.timeout);
  if (const auto code = flags.first_fault(timeout)) return *code;
  wish.timeout = *timeout;
  wish.json = flags.has("json");
  const auto config = flags.load_config();
  if (!config) return flags.refused(config.error());
  const auto id = VerbFlags::replica_in(flags.arguments().front(), *config);
  if (!id) return flags.wrong_usage(id.error());
  wish.id = *id;
  return flags.with_cluster([&](Connection& c) { return replace(c, wish); });
}

net::Task<int> transfer(Connection& c, paxos::ReplicaId to) {
  const auto leader = co_await find_leader(c, 5s);
  if (!leader)
    co_return complain(transfer_program, "there is no leader; `paxosctl status` shows why",
                       config::exit_unknown);
  if (leader->id == to) {
    say(stdout, "replica {} leads already\n", to.n);
    co_return config::exit_fine;
  }
  const auto answer = co_await c.ask(leader->id, chat::TransferRequest{to}, leader->target(), 5s);
  if (const auto code = failed(transfer_program, leader->id, answer)) co_return *code;
  const paxos::Time until = c.loop().now() + 5s;
  while (c.loop().now() < until) {
    const auto now = co_await find_leader(c, 1s);
    if (now && now->id == to) {
      say(stdout, "replica {} leads\n", to.n);
      co_return config::exit_fine;
    }
    co_await c.loop().sleep(between_looks);
  }
  co_return complain(
      transfer_program,
      fmt::format("replica {} was asked to lead, and does not after 5 s; see `paxosctl status`", to.n),
      config::exit_unknown);
}

}  // namespace

int ctl_member(const Words& words) {
  const std::string verb = words.empty() ? std::string() : words.front();
  const Words rest(words.empty() ? words.end() : std::next(words.begin()), words.end());
  if (verb == "list") return member_list(rest);
  if (verb == "replace") return member_replace(rest);
  if (verb == "--help" || verb == "-h") {
    say(stdout, "usage: paxosctl member list|replace ...   (each has --help)\n");
    return config::exit_fine;
  }
  return complain("paxosctl member",
                  (verb.empty() ? std::string() : fmt::format("there is no `member {}`; ", printable(verb))) +
                      "say `member list` or `member replace ID`; each has --help",
                  config::exit_usage);
}

int ctl_transfer_leader(const Words& words) {
  VerbFlags flags(transfer_program, "PAXOSCTL",
                  "Has the leader hand over to another replica. Returns once that one leads.");
  flags.arguments_help("ID");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() != 1) return flags.wrong_usage("name one replica");
  const auto config = flags.load_config();
  if (!config) return flags.refused(config.error());
  const auto id = VerbFlags::replica_in(flags.arguments().front(), *config);
  if (!id) return flags.wrong_usage(id.error());
  return flags.with_cluster([&](Connection& c) { return transfer(c, *id); });
}

}  // namespace client
