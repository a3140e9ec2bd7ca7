#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "client/ctl/ctl.h"
#include "client/ctl/member_view.h"
#include "client/session/attention.h"
#include "client/terminal/say.h"

/// member, transfer-leader: who belongs to the cluster, and who leads it (DESIGN.md section 4,
/// Configurations).
namespace client {

namespace {

using namespace std::chrono_literals;

constexpr const char* list_program = "paxosctl member list";
constexpr const char* replace_program = "paxosctl member replace";
constexpr const char* transfer_program = "paxosctl transfer-leader";

Json member_json(std::size_t id, const Json& member, const ReplicaStatus& r,
                 const config::ReplicaConfig& config, bool announced) {
  const std::string address = text_in(member, "address");
  Json out{{"id", id},
           {"role", text_in(member, "role")},
           {"incarnation", text_in(member, "incarnation")},
           {"address", address.empty() ? config.address : address},
           {"reachable", r.json.has_value()}};
  if (!r.json) return out;
  out["voting"] = votes(*r.json);
  out["applied"] = whole(*r.json, "applied");
  if (catches_up(*r.json)) out["catching_up"] = true;
  if (text_in(*r.json, "incarnation") != text_in(member, "incarnation")) {
    out["other_directory"] = true;
    if (announced) out["newcomer"] = true;
  }
  if (const std::string reason = text_in(*r.json, "reason"); !reason.empty()) out["reason"] = reason;
  return out;
}

std::string standing_of(const Json& member) {
  if (!member.at("reachable").get<bool>()) return "does not answer";
  const std::string reason = printable(text_in(member, "reason"));
  const unsigned id = member.at("id").get<unsigned>();
  if (member.value("newcomer", false))
    return fmt::format("runs from another directory: replace it with `paxosctl member replace {}`", id);
  if (member.value("other_directory", false))
    return fmt::format(
        "runs from another directory, which can't take the lost one's place: start it with its own again, or "
        "with an empty data directory first, then `paxosctl member replace {}`{}{}",
        id, reason.empty() ? "" : "; it says: ", reason);
  if (member.at("voting").get<bool>()) return "votes";
  if (member.value("catching_up", false))
    return fmt::format("catches up, at slot {}: it votes then", whole(member, "applied"));
  return "does not vote: " + reason;
}

net::Task<int> list(Connection& c, bool json) {
  const auto replicas = co_await ask_all(c, one_look);
  const Members known = latest(replicas);
  if (known.by_id.empty())
    co_return complain(list_program,
                       "no replica that answers says who belongs to the cluster; see `paxosctl status`",
                       config::exit_unknown);
  Json members = Json::array();
  const std::set<std::size_t> announced = announced_in(replicas);
  for (const auto& [id, member] : known.by_id)
    if (id < replicas.size() && text_in(member, "role") != "removed")
      members.push_back(
          member_json(id, member, replicas[id], c.config().replicas[id], announced.contains(id)));
  std::vector<unsigned> waiting;
  for (const std::size_t id : announced)
    if (const auto at = known.by_id.find(id);
        at == known.by_id.end() || text_in(at->second, "role") == "removed")
      waiting.push_back(static_cast<unsigned>(id));
  if (json) {
    print_json({{"configuration", known.number},
                {"begins", known.begins},
                {"members", members},
                {"waiting", waiting}});
    co_return config::exit_fine;
  }
  say(stdout, "configuration {}, from slot {} on\n", known.number, known.begins);
  for (const Json& member : members)
    say(stdout, "  {}  {:<8}  {:<22}  {}\n", member.at("id").get<unsigned>(), text_in(member, "role"),
        printable(text_in(member, "address")), standing_of(member));
  for (const unsigned id : waiting)
    say(stdout, "  {}  waits outside: `paxosctl member add {} --address HOST:PORT` takes it in\n", id, id);
  co_return config::exit_fine;
}

struct Replacement {
  paxos::ReplicaId id;
  std::string address;  ///< empty: it keeps the one that it has
  std::chrono::milliseconds timeout{60'000};
  bool json = false;
};

/// What one round of answers says about the replica that is to be replaced.
struct Look {
  bool there = false;
  std::uint64_t configuration = 0;  ///< the latest of which somebody tells; 0: nobody does
  std::string member;               ///< the incarnation that stands for it there
  bool in_force = false;            ///< that is the directory with which it runs
  bool votes = false;               ///< with that one
  bool joins = false;               ///< with that one, once it is told of it and has caught up
  bool announces = false;           ///< its directory could take a lost one's place
  std::string reason;               ///< why it does not vote, by its own word
  std::uint64_t applied = 0;
  std::uint64_t chosen = 0;  ///< by whoever knows most
  /// Of each that tells: what it has applied, and the incarnation that stands for the replica after that.
  std::vector<std::pair<std::uint64_t, std::string>> told;

  /// `slot` is applied somewhere, and `before` still stands for the replica: something else was chosen there.
  [[nodiscard]] bool went_by(std::uint64_t slot, const std::string& before) const {
    return std::any_of(told.begin(), told.end(),
                       [&](const auto& one) { return one.first >= slot && one.second == before; });
  }
};

net::Task<Look> look_at(Connection& c, paxos::ReplicaId id) {
  const auto replicas = co_await ask_all(c, one_look);
  Look out;
  for (const ReplicaStatus& r : replicas) {
    if (!r.json) continue;
    out.chosen = std::max(out.chosen, whole(*r.json, "chosen"));
    if (std::string member = member_in(*r.json, id.n); !member.empty())
      out.told.emplace_back(whole(*r.json, "applied"), std::move(member));
  }
  const Members known = latest(replicas);
  const auto member = known.by_id.find(id.n);
  if (member != known.by_id.end()) {
    out.configuration = known.number;
    out.member = text_in(member->second, "incarnation");
  }
  const ReplicaStatus& target = replicas[id.n];
  out.there = target.json.has_value();
  if (!out.there) co_return out;
  const Json& own = *target.json;
  out.applied = whole(own, "applied");
  out.reason = text_in(own, "reason");
  out.announces = newcomer(own);
  out.in_force = !out.member.empty() && out.member == text_in(own, "incarnation");
  out.votes = out.in_force && votes(own);
  // Until somebody tells it that it is a member now, it goes on announcing itself.
  out.joins = out.in_force && !out.votes && out.configuration > 1 && (catches_up(own) || out.announces);
  co_return out;
}

/// `member replace`. An answer that does not come may be one to a change that was proposed, and one that came
/// is of a change that may yet lose its slot: so what counts is which directory the replicas say stands for
/// the replica, and whether it votes. Nothing is called refused that may still come about.
class Replacing {
 public:
  Replacing(Connection& c, const Replacement& wish)
      : c_(c),
        wish_(wish),
        name_(fmt::format("replica {}", wish.id.n)),
        progress_(wish.json),
        until_(c.loop().now() + wish.timeout) {
    ask_for_a_while();
  }

  net::Task<int> run() {
    for (;;) {
      const Look now = co_await look_at(c_, wish_.id);
      judge(now);
      if (now.votes && now.configuration == known_ && replaced_) co_return done(now);
      if (waits(now)) {
        tell(now);
      } else {
        const std::optional<int> code = co_await ask(now);
        if (code) co_return *code;
      }
      if (c_.loop().now() >= until_) co_return late(now);
      co_await c_.loop().sleep(between_looks);
    }
  }

 private:
  void ask_for_a_while() { asked_until_ = std::min<paxos::Time>(until_, c_.loop().now() + asked_for); }

  [[nodiscard]] bool certainly_not() const { return !replaced_ && !perhaps_ && proposed_ == 0; }

  void judge(const Look& now) {
    // Who knows more did not answer this time.
    if (now.member.empty() || now.configuration < known_) return;
    known_ = now.configuration;
    if (first_.empty()) first_ = now.member;
    // Since this call began; or by an earlier one, or somebody else's, and it still catches up.
    if (!replaced_ && (now.joins || now.member != first_)) {
      replaced_ = true;
      asked_until_ = until_;
    }
    if (proposed_ == 0) return;
    if (now.member != before_proposal_) {
      proposed_ = 0;
    } else if (now.went_by(proposed_, before_proposal_)) {
      progress_(fmt::format("{}: something else was chosen in slot {}; asks again", name_, proposed_));
      proposed_ = 0;
      ask_for_a_while();
    }
  }

  /// There is nothing to ask for now. Who starts again while it catches up is waited for.
  [[nodiscard]] bool waits(const Look& now) const {
    return now.joins || proposed_ != 0 || (replaced_ && !now.there);
  }

  void tell(const Look& now) {
    if (!now.there)
      progress_(fmt::format("{}: does not answer", name_));
    else if (!now.joins)
      progress_(fmt::format("{}: waiting for the new configuration", name_));
    else
      progress_(fmt::format("{}: catches up, at slot {} of {}", name_, now.applied, now.chosen));
  }

  /// Asks the leader once; gives the exit code where that is the end.
  net::Task<std::optional<int>> ask(const Look& now) {
    const auto leader = co_await find_leader(c_, 5s);
    std::string why = "there is no leader; `paxosctl status` shows why";
    if (leader) {
      const std::string before = member_in(*leader->json, wish_.id.n);
      if (now.votes && now.member == before && certainly_not())
        co_return refused(fmt::format("it is there, and votes, in configuration {}: nothing needs to be done",
                                      now.configuration));
      const auto answer = co_await c_.ask(
          leader->id, chat::MemberRequest{{.id = wish_.id, .address = wish_.address}}, leader->target(), 5s);
      const auto* done = answer ? std::get_if<chat::DoneReply>(&*answer) : nullptr;
      const bool proposed = done != nullptr && done->refused.empty();
      if (answer && (done == nullptr || (proposed && done->slots.empty())))
        co_return unknown(
            fmt::format("replica {} gave an answer of another kind: is it another version?", leader->id.n));
      if (proposed) {
        proposed_ = done->slots.front().n;
        before_proposal_ = before;
        if (first_.empty()) first_ = before;
        progress_(fmt::format("{}: another configuration is proposed, in slot {}", name_, proposed_));
        co_return std::nullopt;
      }
      perhaps_ = perhaps_ || !answer;
      why = answer ? done->refused : fmt::format("no answer from replica {}", leader->id.n);
    }
    if (c_.loop().now() < asked_until_) {
      progress_(fmt::format("{}: waiting: {}", name_, why));
      co_return std::nullopt;
    }
    if (now.there && !now.announces && !now.reason.empty())
      why += fmt::format(
          "; its own word is: {}; to put another directory in its place, start it with an "
          "empty one first",
          now.reason);
    if (leader && certainly_not()) co_return refused(why);
    co_return unknown(certainly_not() ? fmt::format("{} is not replaced: {}", name_, why)
                      : replaced_ ? fmt::format("{} has another directory, and does not vote: {}", name_, why)
                                  : maybe(why));
  }

  [[nodiscard]] std::string maybe(const std::string& why) const {
    return fmt::format(
        "{} may be replaced, or not: {}; `paxosctl member list` shows it, and to ask again does "
        "no harm",
        name_, why);
  }

  int done(const Look& now) {
    if (wish_.json)
      print_json({{"replica", wish_.id.n},
                  {"replaced", true},
                  {"configuration", now.configuration},
                  {"applied", now.applied}});
    else
      say(stdout, "{}: votes, in configuration {}\n", name_, now.configuration);
    return config::exit_fine;
  }

  int refused(const std::string& why) {
    if (wish_.json) print_json({{"replica", wish_.id.n}, {"replaced", false}, {"refused", why}});
    return complain(replace_program, fmt::format("{} is not replaced: {}", name_, why), config::exit_refused);
  }

  int unknown(const std::string& text) {
    if (wish_.json) print_json({{"replica", wish_.id.n}, {"replaced", nullptr}, {"unknown", text}});
    return complain(replace_program, text, config::exit_unknown);
  }

  /// The time is up.
  int late(const Look& now) {
    const auto seconds = wish_.timeout.count() / 1000;
    if (replaced_)
      return unknown(fmt::format("{} does not vote yet, after {} s; {}see `paxosctl member list`", name_,
                                 seconds, now.joins || !now.there ? "it goes on by itself: " : ""));
    if (proposed_ != 0)
      return unknown(
          maybe(fmt::format("another configuration is proposed, in slot {}, and not decided after {} "
                            "s",
                            proposed_, seconds)));
    return unknown(maybe(fmt::format("nothing is known of it after {} s", seconds)));
  }

  Connection& c_;
  const Replacement wish_;
  const std::string name_;
  Progress progress_;
  const paxos::Time until_;
  paxos::Time asked_until_{};    ///< refused longer than that, it is given up
  std::uint64_t known_ = 0;      ///< the latest configuration of which somebody told
  std::string first_;            ///< the incarnation that stood for it when this began
  bool replaced_ = false;        ///< another one does, or one that still catches up
  bool perhaps_ = false;         ///< an answer did not come: the change may be proposed
  std::uint64_t proposed_ = 0;   ///< the slot of the change that the leader proposed; 0: none is open
  std::string before_proposal_;  ///< the incarnation that stood for it then
};

net::Task<int> replace(Connection& c, Replacement wish) {
  Replacing replacing(c, wish);
  co_return co_await replacing.run();
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
  flags.value("address", "ADDRESS", "where the new one is, if not where the lost one was");
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
  wish.address = flags.get("address").value_or("");
  if (const std::string fault = wish.address.empty() ? "" : config::address_fault(wish.address);
      !fault.empty())
    return flags.wrong_usage("--address " + wish.address + ": " + fault);
  return flags.with_cluster([&](Connection& c) { return replace(c, wish); });
}

/// The word to the other one is a datagram that is sent once: so the leader is asked again each second.
net::Task<int> transfer(Connection& c, paxos::ReplicaId to) {
  const paxos::Time until = c.loop().now() + asked_for;
  paxos::Time next = c.loop().now();
  bool asked = false;  // it may be under way
  std::string why;     // what the leader said last
  for (;;) {
    const auto leader = co_await find_leader(c, 1s);
    if (leader && leader->id == to) {
      say(stdout, "replica {} leads{}\n", to.n, asked ? "" : " already");
      co_return config::exit_fine;
    }
    if (leader && c.loop().now() >= next) {
      const auto answer = co_await c.ask(leader->id, chat::TransferRequest{to}, leader->target(), 1s);
      const auto* done = answer ? std::get_if<chat::DoneReply>(&*answer) : nullptr;
      const bool refused = done == nullptr || !done->refused.empty();
      if (answer && refused && (done == nullptr || !asked))
        co_return failed(transfer_program, leader->id, answer).value_or(config::exit_unknown);
      why = !answer   ? fmt::format("; no answer from replica {}", leader->id.n)
            : refused ? fmt::format("; replica {}: {}", leader->id.n, done->refused)
                      : std::string();
      asked = true;
      next = c.loop().now() + 1s;
    }
    if (c.loop().now() >= until) break;
    co_await c.loop().sleep(between_looks);
  }
  if (!asked)
    co_return complain(transfer_program, "there is no leader; `paxosctl status` shows why",
                       config::exit_unknown);
  co_return complain(
      transfer_program,
      fmt::format("replica {} was asked to lead, and does not after {} s{}; see `paxosctl status`", to.n,
                  asked_for.count() / 1000, why),
      config::exit_unknown);
}

}  // namespace

int ctl_member(const Words& words) {
  const std::string verb = words.empty() ? std::string() : words.front();
  const Words rest(words.empty() ? words.end() : std::next(words.begin()), words.end());
  if (verb == "list") return member_list(rest);
  if (verb == "replace") return member_replace(rest);
  if (const auto code = ctl_member_change(verb, rest)) return *code;
  if (verb == "--help" || verb == "-h") {
    say(stdout,
        "usage: paxosctl member list|add|promote|remove|replace|set-address ...   (each has --help)\n");
    return config::exit_fine;
  }
  return complain(
      "paxosctl member",
      (verb.empty() ? std::string() : fmt::format("there is no `member {}`; ", printable(verb))) +
          "say `member list`, `add`, `promote`, `remove`, `replace` or `set-address`; each has --help",
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
