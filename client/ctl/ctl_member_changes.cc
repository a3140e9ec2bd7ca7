#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "client/ctl/ctl.h"
#include "client/ctl/member_view.h"
#include "client/session/attention.h"
#include "client/terminal/say.h"

/// member add, promote, remove, set-address: another configuration, and the wait until it is in force
/// (DESIGN.md section 4, Configurations).
namespace client {

namespace {

using namespace std::chrono_literals;
using Kind = paxos::MemberChange::Kind;

struct Wish {
  paxos::MemberChange change;
  std::chrono::milliseconds timeout{60'000};
  bool json = false;
  [[nodiscard]] std::string program() const {
    return std::string("paxosctl member ") + paxos::to_string(change.kind);
  }
};

/// An answer that does not come may be one to a change that was proposed, and one that came is of a change
/// that may yet lose its slot: what counts is what the replicas say of the configuration in force. Nothing is
/// called refused that may still come about.
class Changing {
 public:
  Changing(Connection& c, Wish wish)
      : c_(c),
        wish_(std::move(wish)),
        name_(fmt::format("replica {}", wish_.change.id.n)),
        progress_(wish_.json),
        until_(c.loop().now() + wish_.timeout),
        asked_until_(std::min<paxos::Time>(until_, c.loop().now() + asked_for)) {}

  net::Task<int> run() {
    for (;;) {
      replicas_ = co_await ask_all(c_, one_look);
      now_ = latest(replicas_);
      if (!now_.by_id.empty()) {
        if (first_.by_id.empty()) {
          first_ = now_;
          if (const std::string why = senseless(); !why.empty()) co_return refused(why);
          if (reached()) co_return done("already");
        }
        if (reached() && in_use()) co_return done({});
        if (reached() || under_way()) proposed_ = 0;
        if (proposed_ != 0 && went_by()) {
          progress_(fmt::format("{}: something else was decided instead; asks again", name_));
          proposed_ = 0;
        }
      }
      if (!now_.by_id.empty() && reached()) {
        progress_(fmt::format("{}: a voter, in configuration {}; waits until it votes", name_, now_.number));
      } else if (under_way()) {
        tell();
      } else if (proposed_ == 0) {
        const std::optional<int> code = co_await ask();
        if (code) co_return *code;
      }
      if (c_.loop().now() >= until_) co_return late();
      co_await c_.loop().sleep(between_looks);
    }
  }

 private:
  [[nodiscard]] unsigned id() const { return wish_.change.id.n; }

  [[nodiscard]] bool reached() const {
    switch (wish_.change.kind) {
      case Kind::add:
        return now_.role(id()) == "voter" || (wish_.change.by_hand && now_.role(id()) == "learner");
      case Kind::promote:
        return now_.role(id()) == "voter";
      case Kind::remove:
        return !now_.holds(id());
      case Kind::set_address:
        return now_.holds(id()) && text_in(now_.by_id.at(id()), "address") == wish_.change.address;
      case Kind::replace:
        break;
    }
    return false;
  }

  /// Who became a voter says itself that it votes: until then the cluster may lose no more than before.
  [[nodiscard]] bool in_use() const {
    if (now_.role(id()) != "voter" || wish_.change.kind == Kind::set_address) return true;
    return id() < replicas_.size() && replicas_[id()].json && votes(*replicas_[id()].json);
  }

  /// What never can be, whoever leads.
  [[nodiscard]] std::string senseless() const {
    const std::string role = first_.role(id());
    if (wish_.change.kind == Kind::add && first_.holds(id()))
      return fmt::format("it is a member already, as a {}; `paxosctl member list` shows all", role);
    if (wish_.change.kind != Kind::add && !first_.holds(id()))
      return "it is no member; `paxosctl member list` shows who is";
    if (!wish_.change.address.empty())
      for (const auto& [other, member] : first_.by_id)
        if (other != id() && first_.holds(other) && address_of(other, member) == wish_.change.address)
          return fmt::format("replica {} has the address {}", other, wish_.change.address);
    return {};
  }

  [[nodiscard]] std::string address_of(std::size_t other, const Json& member) const {
    const std::string own = text_in(member, "address");
    if (!own.empty()) return own;
    return other < c_.config().replicas.size() ? c_.config().replicas[other].address : std::string();
  }

  /// Its slot is applied somewhere; and what was asked for is not so, by the word of the same round.
  [[nodiscard]] bool went_by() const {
    return std::any_of(replicas_.begin(), replicas_.end(), [this](const ReplicaStatus& r) {
      return r.json && whole(*r.json, "applied") >= proposed_;
    });
  }

  /// It has joined, and the rest comes by itself.
  [[nodiscard]] bool under_way() const {
    return wish_.change.kind == Kind::add && !first_.by_id.empty() && now_.role(id()) == "learner";
  }

  void tell() {
    std::uint64_t chosen = 0;
    for (const ReplicaStatus& r : replicas_)
      if (r.json) chosen = std::max(chosen, whole(*r.json, "chosen"));
    const ReplicaStatus* own = id() < replicas_.size() ? &replicas_[id()] : nullptr;
    if (own != nullptr && own->json)
      progress_(fmt::format("{}: a learner; catches up, at slot {} of {}", name_,
                            whole(*own->json, "applied"), chosen));
    else
      progress_(fmt::format("{}: a learner", name_));
  }

  /// Asks the leader once; gives the exit code where that is the end.
  net::Task<std::optional<int>> ask() {
    const auto leader = co_await find_leader(c_, 5s);
    std::string why = "there is no leader; `paxosctl status` shows why";
    if (leader && wish_.change.kind == Kind::remove && leader->id == wish_.change.id) {
      why = co_await hand_over(*leader);
    } else if (leader) {
      const auto answer =
          co_await c_.ask(leader->id, chat::MemberRequest{wish_.change}, leader->target(), 5s);
      const auto* said = answer ? std::get_if<chat::DoneReply>(&*answer) : nullptr;
      const bool proposed = said != nullptr && said->refused.empty();
      if (answer && (said == nullptr || (proposed && said->slots.empty())))
        co_return unknown(
            fmt::format("replica {} gave an answer of another kind: is it another version?", leader->id.n));
      if (proposed) {
        proposed_ = said->slots.front().n;
        progress_(fmt::format("{}: another configuration is proposed, in slot {}", name_, proposed_));
        co_return std::nullopt;
      }
      perhaps_ = perhaps_ || !answer;
      why = answer ? said->refused : fmt::format("no answer from replica {}", leader->id.n);
    }
    if (c_.loop().now() < asked_until_) {
      progress_(fmt::format("{}: waiting: {}", name_, why));
      co_return std::nullopt;
    }
    if (leader && !perhaps_) co_return refused(why);
    co_return unknown(
        fmt::format("{}; `paxosctl member list` shows what came of it, and to ask again does no harm", why));
  }

  /// The leader can't be taken out: the voter that has applied most leads instead.
  net::Task<std::string> hand_over(const ReplicaStatus& leader) {
    std::optional<paxos::ReplicaId> to;
    std::uint64_t most = 0;
    for (const ReplicaStatus& r : replicas_)
      if (r.json && r.id != leader.id && votes(*r.json) && (!to || whole(*r.json, "applied") > most)) {
        to = r.id;
        most = whole(*r.json, "applied");
      }
    if (!to) co_return "it leads, and no other voter answers that could";
    (void)co_await c_.ask(leader.id, chat::TransferRequest{*to}, leader.target(), 1s);
    co_return fmt::format("it leads: replica {} is asked to lead first", to->n);
  }

  int done(const std::string& already) {
    if (wish_.json) {
      Json out{{"replica", id()}, {"change", paxos::to_string(wish_.change.kind)}, {"done", true}};
      if (!already.empty()) out["already"] = true;
      out["configuration"] = now_.number;
      print_json(out);
      return config::exit_fine;
    }
    const std::string role = now_.role(id());
    say(stdout, "{}: {}, in configuration {}\n", name_,
        wish_.change.kind == Kind::remove        ? "is no member any more"
        : wish_.change.kind == Kind::set_address ? "is at " + printable(wish_.change.address)
        : role == "voter"                        ? std::string(in_use() ? "votes" : "is a voter")
                          : fmt::format("is a learner; `paxosctl member promote {}` makes it a voter", id()),
        now_.number);
    return config::exit_fine;
  }

  int refused(const std::string& why) {
    if (wish_.json)
      print_json({{"replica", id()},
                  {"change", paxos::to_string(wish_.change.kind)},
                  {"done", false},
                  {"refused", why}});
    return complain(wish_.program(), fmt::format("{}: {}", name_, why), config::exit_refused);
  }

  int unknown(const std::string& why) {
    if (wish_.json)
      print_json({{"replica", id()},
                  {"change", paxos::to_string(wish_.change.kind)},
                  {"done", nullptr},
                  {"unknown", why}});
    return complain(wish_.program(), fmt::format("{}: {}", name_, why), config::exit_unknown);
  }

  int late() {
    const auto seconds = wish_.timeout.count() / 1000;
    if (under_way() || (!now_.by_id.empty() && reached()))
      return unknown(fmt::format(
          "it does not vote yet, after {} s: it goes on by itself; see `paxosctl member list`", seconds));
    if (proposed_ == 0 && !perhaps_)
      return unknown(fmt::format("nothing is known of it after {} s", seconds));
    return unknown(fmt::format(
        "the change may have been made, or not, after {} s; see `paxosctl member list`", seconds));
  }

  Connection& c_;
  const Wish wish_;
  const std::string name_;
  Progress progress_;
  const paxos::Time until_;
  const paxos::Time asked_until_;
  std::vector<ReplicaStatus> replicas_;
  Members now_;
  Members first_;               ///< when this began
  bool perhaps_ = false;        ///< an answer did not come: the change may be proposed
  std::uint64_t proposed_ = 0;  ///< the slot of the change that the leader proposed; 0: none is open
};

net::Task<int> change(Connection& c, Wish wish) {
  Changing changing(c, std::move(wish));
  co_return co_await changing.run();
}

struct Verb {
  const char* name;
  Kind kind;
  const char* about;
  const char* arguments;
};

constexpr Verb verbs[] = {
    {"add", Kind::add,
     "Takes a new replica into the cluster, as a learner that becomes a voter once it keeps up. Start it "
     "first, "
     "with an empty data directory, the cluster's key, and a config that names it beside the others.",
     "ID"},
    {"promote", Kind::promote, "Makes a voter of a learner that was added with --manual.", "ID"},
    {"remove", Kind::remove,
     "Takes a replica out of the cluster. It says so and ends; its directory never votes again. Where it "
     "leads, "
     "another one does first.",
     "ID"},
    {"set-address", Kind::set_address, "Tells all replicas where one is now. Start it there first.",
     "ID HOST:PORT"},
};

}  // namespace

std::optional<int> ctl_member_change(const std::string& verb, const std::vector<std::string>& words) {
  const auto at =
      std::find_if(std::begin(verbs), std::end(verbs), [&](const Verb& v) { return verb == v.name; });
  if (at == std::end(verbs)) return std::nullopt;
  VerbFlags flags("paxosctl member " + verb, "PAXOSCTL", at->about);
  const bool adds = at->kind == Kind::add, moves = at->kind == Kind::set_address;
  if (adds) {
    flags.value("address", "ADDRESS", "where it is");
    flags.flag("manual", "it stays a learner until `member promote`");
  }
  flags.value("timeout", "TIME", "how long to wait until that is so (default: 60s)");
  flags.flag("json", "one JSON object; what goes on meanwhile goes to standard error");
  flags.arguments_help(at->arguments);
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() != (moves ? 2U : 1U))
    return flags.wrong_usage(moves ? "name one replica and its address" : "name one replica");
  Wish wish;
  wish.change.kind = at->kind;
  const auto timeout = flags.timeout(wish.timeout);
  if (const auto code = flags.first_fault(timeout)) return *code;
  wish.timeout = *timeout;
  wish.json = flags.has("json");
  wish.change.by_hand = adds && flags.has("manual");
  if (moves) wish.change.address = flags.arguments()[1];
  if (adds) wish.change.address = flags.get("address").value_or("");
  if (adds && wish.change.address.empty()) return flags.wrong_usage("say where it is: --address HOST:PORT");
  if (adds || moves)
    if (const std::string fault = config::address_fault(wish.change.address); !fault.empty())
      return flags.wrong_usage("address '" + wish.change.address + "': " + fault);
  const auto id = config::parse_number(flags.arguments().front());
  if (!id || *id >= paxos::limits::replicas_max)
    return flags.wrong_usage(fmt::format("'{}' is no replica's id: those are 0 to {}",
                                         printable(flags.arguments().front()),
                                         paxos::limits::replicas_max - 1));
  wish.change.id = {static_cast<std::uint8_t>(*id)};
  return flags.with_cluster([&](Connection& c) { return change(c, wish); });
}

}  // namespace client
