#include "client/session/cluster_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "client/session/attention.h"
#include "client/session/port_probe.h"
#include "client/terminal/printable.h"

namespace client {

using namespace std::chrono_literals;

std::optional<double> number_in(const Json& object, const char* field) {
  const auto at = object.find(field);
  return at != object.end() && at->is_number() ? std::optional(at->get<double>()) : std::nullopt;
}

std::vector<unsigned> ids_in(const Json& object, const char* field) {
  std::vector<unsigned> out;
  const auto at = object.find(field);
  if (at == object.end() || !at->is_array()) return out;
  for (const Json& one : *at)
    if (one.is_number_integer() && one.get<std::int64_t>() >= 0 &&
        one.get<std::int64_t>() < static_cast<std::int64_t>(paxos::limits::replicas_max))
      out.push_back(one.get<unsigned>());
  return out;
}

std::string text_in(const Json& object, const char* field) {
  const auto at = object.find(field);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

chat::Target ReplicaStatus::target() const {
  chat::Target out{.replica = id.n, .incarnation = {}, .boot = boot()};
  const std::string hex = json ? text_in(*json, "incarnation") : std::string();
  auto& bytes = out.incarnation.bytes;
  if (hex.size() != 2 * bytes.size()) return out;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if (std::from_chars(hex.data() + 2 * i, hex.data() + 2 * i + 2, bytes[i], 16).ptr !=
        hex.data() + 2 * i + 2)
      bytes[i] = 0;
  return out;
}

net::Task<ReplicaStatus> ask_status(Connection& connection, paxos::ReplicaId id,
                                    std::chrono::milliseconds timeout) {
  ReplicaStatus out{.id = id, .json = {}};
  const auto answer = co_await connection.ask(id, chat::StatusRequest{}, {}, timeout);
  out.fault = connection.fault(id);
  out.address = connection.address_in_use(id);
  const auto* status = answer ? std::get_if<chat::StatusReply>(&*answer) : nullptr;
  if (status == nullptr) {
    out.trouble = connection.version_trouble(id);
    co_return out;
  }
  Json json = Json::parse(status->json, nullptr, false);
  if (json.is_object()) out.json = std::move(json);
  co_return out;
}

namespace {
/// Before it is looked at who is there at all.
constexpr std::chrono::milliseconds first_look{250};
/// For machines in the same building; another one is waited for as before.
constexpr std::chrono::milliseconds probe_patience{50};

net::Task<void> ask_into(Connection& connection, paxos::ReplicaId id, std::chrono::milliseconds timeout,
                         ReplicaStatus& out) {
  out = co_await ask_status(connection, id, timeout);
}
}  // namespace

namespace {
net::Task<std::vector<ReplicaStatus>> ask_those_known(Connection& connection,
                                                      std::chrono::milliseconds timeout) {
  // Others may become known meanwhile.
  const std::vector<config::ReplicaConfig> known = connection.config().replicas;
  std::vector<ReplicaStatus> out(known.size());
  net::Scope scope(connection.loop());
  for (const config::ReplicaConfig& r : known) {
    out[r.id.n].id = r.id;
    if (r.member) scope.spawn(ask_into(connection, r.id, timeout, out[r.id.n]));
  }
  co_await scope.join();
  co_return out;
}

bool someone_unasked(const Connection& connection, const std::vector<ReplicaStatus>& asked) {
  const auto& known = connection.config().replicas;
  return std::any_of(known.begin(), known.end(),
                     [&](const config::ReplicaConfig& r) { return r.member && r.id.n >= asked.size(); });
}
}  // namespace

net::Task<std::vector<ReplicaStatus>> ask_all(Connection& connection, std::chrono::milliseconds timeout) {
  std::vector<ReplicaStatus> out = co_await ask_those_known(connection, timeout);
  for (const ReplicaStatus& r : out)
    if (const auto members = r.json ? members_in(*r.json) : std::nullopt) connection.know(*members);
  if (someone_unasked(connection, out)) out = co_await ask_those_known(connection, timeout);
  co_return out;
}

net::Task<std::vector<ReplicaStatus>> ask_all_there(Connection& connection,
                                                    std::chrono::milliseconds timeout) {
  std::vector<ReplicaStatus> out = co_await ask_all(connection, std::min(timeout, first_look));
  std::map<unsigned, net::Address> silent;
  std::vector<paxos::ReplicaId> again;
  for (const ReplicaStatus& r : out) {
    if (r.json || !connection.config().member(r.id)) continue;
    again.push_back(r.id);
    const std::string& where =
        r.address.empty() ? connection.config().replicas.at(r.id.n).address : r.address;
    if (const auto address = net::Address::literal(where)) silent.emplace(r.id.n, *address);
  }
  if (again.empty() || timeout <= first_look || connection.given_up()) co_return out;
  const std::set<unsigned> closed = closed_ports(silent, probe_patience);
  net::Scope scope(connection.loop());
  for (const paxos::ReplicaId id : again)
    if (!closed.contains(id.n)) scope.spawn(ask_into(connection, id, timeout, out[id.n]));
  co_await scope.join();
  co_return out;
}

namespace {

/// The leader and ballot that a quorum of voting replicas name, all in this one answer; null where there is
/// none.
struct Named {
  Json leader = nullptr;
  std::size_t voters = 0;  ///< that name it; where nobody is named: that answer at all
};
Named named_by_quorum(const config::ClusterConfig& config, const std::vector<ReplicaStatus>& replicas) {
  Named out;
  std::map<std::pair<unsigned, std::string>, std::size_t> named;
  std::size_t voting = 0;
  for (const ReplicaStatus& r : replicas) {
    if (!r.json || !votes(*r.json)) continue;
    ++voting;
    const auto leader = number_in(*r.json, "leader");
    const auto ballot = r.json->find("leader_ballot");
    if (leader && *leader >= 0 && *leader < static_cast<double>(replicas.size()) && ballot != r.json->end())
      ++named[{static_cast<unsigned>(*leader), ballot->dump()}];
  }
  out.voters = voting;
  for (const auto& [who, count] : named) {
    if (count < config.quorum()) continue;
    // Its followers take a candidate for the leader before it is done with phase 1; by its own word it is
    // none yet.
    const std::optional<Json>& own = replicas[who.first].json;
    if (own && number_in(*own, "leader") != static_cast<double>(who.first)) continue;
    out.leader = who.first;
    out.voters = count;
  }
  return out;
}

}  // namespace

Json cluster_status(const config::ClusterConfig& config, const std::vector<ReplicaStatus>& replicas,
                    std::chrono::milliseconds timeout) {
  const Named named = named_by_quorum(config, replicas);
  Json out{{"cluster", config.cluster}, {"cluster_id", config.id},
           {"quorum", config.quorum()}, {"healthy", !named.leader.is_null()},
           {"leader", named.leader},    {"can_lose", 0},
           {"degraded", false},         {"whole", false},
           {"replicas", Json::array()}};
  for (const ReplicaStatus& r : replicas) {
    if (!config.member(r.id)) continue;
    Json one{{"id", r.id.n}, {"address", config.replicas[r.id.n].address}, {"reachable", r.json.has_value()}};
    if (!config.replicas[r.id.n].votes) one["voter"] = false;
    if (r.json) {
      one.update(*r.json);
      // Whatever it says of these: they are ours to tell.
      one["id"] = r.id.n;
      one["address"] = config.replicas[r.id.n].address;
      one["reachable"] = true;
    } else {
      const std::string& why = r.fault.empty() ? r.trouble : r.fault;
      one["error"] = why.empty() ? fmt::format("no answer in {} ms", timeout.count()) : printable(why);
      if (!r.fault.empty()) one["unresolved_here"] = true;
      if (!r.trouble.empty()) one["version_trouble"] = true;
    }
    if (!r.address.empty() && r.address != config.replicas[r.id.n].address) one["address_in_use"] = r.address;
    out["replicas"].push_back(std::move(one));
  }
  const auto leader = named.leader.is_null() ? std::nullopt : std::optional(named.leader.get<unsigned>());
  std::optional<Standstill> still;
  if (leader) still = standstill_of(out["replicas"], *leader, config.election_timeout);
  if (still) {
    out["healthy"] = false;
    out["stuck"] = still->why;
    out["stuck_slot"] = still->slot;
    out["stuck_ms"] =
        still->age > 0ms ? Json(still->age.count()) : Json(nullptr);  // an older program does not tell
    out["stuck_advice"] = still->advice;
    if (still->disks_full) out["stuck_by_full_disks"] = true;
  }
  if (named.voters > config.quorum()) out["can_lose"] = named.voters - config.quorum();
  Json& attention = out["attention"] = Json::array();
  bool all_move = true;
  for (const Attention& a : attention_of(out["replicas"], leader, config.election_timeout)) {
    attention.push_back(to_json(a));
    all_move = all_move && a.what != "stands_still" && a.what != "behind" && a.what != "unheard" &&
               a.what != "disk_full";
  }
  out["degraded"] = out["healthy"].get<bool>() && named.voters < config.voters();
  out["whole"] = out["healthy"].get<bool>() && named.voters == config.voters() && all_move;
  if (const Outage outage = outage_of(out); !outage.over()) {
    Json& told = out["outage"] =
        Json{{"what", outage.what}, {"why", outage.why}, {"missing", outage.missing}};
    told["age_ms"] = outage.age ? Json(outage.age->count()) : Json(nullptr);
    if (!outage.left.empty()) {
      Json& left = told["readable"] = Json::array();
      for (const auto& [id, slot] : outage.left) left.push_back({{"replica", id}, {"applied", slot}});
    }
  }
  return out;
}

const Json* replica_in(const Json& status, unsigned id) {
  for (const Json& r : status.at("replicas"))
    if (r.at("id").get<unsigned>() == id) return &r;
  return nullptr;
}

std::string headline(const Json& status) {
  if (!status.at("healthy").get<bool>()) return outage_of(status).what;
  return fmt::format("{}, replica {} leads",
                     status.at("degraded").get<bool>()
                         ? fmt::format("degraded, can lose {} more", status.at("can_lose").get<std::size_t>())
                         : "healthy",
                     status.at("leader").get<unsigned>());
}

std::string list_text(const std::vector<unsigned>& ids) {
  std::string out;
  for (std::size_t i = 0; i < ids.size(); ++i)
    out += fmt::format("{}{}", i == 0 ? "" : i + 1 == ids.size() ? " and " : ", ", ids[i]);
  return out;
}

std::string replicas_text(const std::vector<unsigned>& ids) {
  return (ids.size() == 1 ? "replica " : "replicas ") + list_text(ids);
}

std::string age_text(std::chrono::milliseconds age) {
  const auto ms = std::max<std::int64_t>(0, age.count());
  if (ms < 1000) return fmt::format("{} ms", ms);
  if (ms < 120'000) return fmt::format("{} s", ms / 1000);
  if (ms < 2 * 3'600'000) return fmt::format("{} min", ms / 60'000);
  if (ms < 48LL * 3'600'000) return fmt::format("{} h", ms / 3'600'000);
  return fmt::format("{} days", ms / 86'400'000);
}

std::string Outage::sentence() const {
  if (over()) return {};
  return what + (age ? " for " + age_text(*age) : "") + (why.empty() ? "" : ": " + why);
}

std::string Outage::still_works() const {
  if (unborn) return "until then nothing can be sent or read; what is sent now waits";
  if (lost) return "nothing can be sent any more; what is left can be read with --local";
  if (full)
    return "reading and following go on; what waits in an open chat or in `send --state` goes out, once, "
           "when there "
           "is room";
  if (stuck) return "what is sent now waits until it goes on; reading with --local still works";
  return anyone ? "reading with --local still works; what waits in an open chat or in `send --state` goes "
                  "out, once, when a quorum is back"
                : "what waits in an open chat or in `send --state` goes out, once, when a quorum answers";
}

namespace {

/// Who stands where, as far as it matters without a leader.
struct Census {
  std::size_t voters = 0;
  bool cut = false;           ///< some voter has no quorum
  bool born = false;          ///< there is, or was, a cluster: some replica votes, or is none of its members
  std::string deaf;           ///< "replica 0 does not hear 1; …"
  std::string silent_voters;  ///< who answers and does not vote, and why
  std::vector<unsigned> unborn;
  std::vector<unsigned> dormant;
  std::set<unsigned> absent;  ///< whom the unborn wait for, and who does not answer here
  std::string unheard_at_birth;
};

Census count(const Json& replicas, Outage& out) {
  Census census;
  const auto answers = [&](unsigned id) {
    return std::any_of(replicas.begin(), replicas.end(), [&](const Json& r) {
      return r.at("id").get<unsigned>() == id && r.at("reachable").get<bool>();
    });
  };
  for (const Json& r : replicas) {
    const unsigned id = r.at("id").get<unsigned>();
    const bool counts = r.value("voter", true);
    if (!r.at("reachable").get<bool>()) {
      if (counts) out.missing.push_back(id);
      continue;
    }
    out.anyone = true;
    const double applied = number_in(r, "applied").value_or(0);
    if (applied >= 1 && !dormant(r) && !unborn(r))
      out.left.emplace_back(id, static_cast<std::uint64_t>(std::min(applied, 1e18)));
    if (const auto age = age_in(r, "no_quorum_age_ms")) {
      census.cut = true;
      out.age = std::max(out.age.value_or(*age), *age);
    }
    const std::vector<unsigned> unheard = ids_in(r, "missing");
    if (votes(r)) {
      ++census.voters;
      census.born = true;
    } else if (unborn(r)) {
      census.unborn.push_back(id);
      for (const unsigned other : ids_in(r, "missing_at_birth")) {
        if (!answers(other))
          census.absent.insert(other);
        else if (std::find(unheard.begin(), unheard.end(), other) != unheard.end())
          census.unheard_at_birth +=
              fmt::format("; replica {} does not hear replica {}, which answers here", id, other);
      }
    } else if (counts) {
      if (dormant(r)) {
        census.dormant.push_back(id);
        census.born = true;
      }
      const std::string reason = printable(text_in(r, "reason"));
      census.silent_voters +=
          fmt::format("{}replica {} does not vote{}{}", census.silent_voters.empty() ? "" : "; ", id,
                      reason.empty() ? "" : ": ", reason);
    }
    if (!unheard.empty())
      census.deaf += fmt::format("{}replica {} does not hear {}", census.deaf.empty() ? "" : "; ", id,
                                 list_text(unheard));
  }
  // The longest first.
  std::sort(out.left.begin(), out.left.end(), [](const auto& a, const auto& b) {
    return std::pair(b.second, a.first) < std::pair(a.second, b.first);
  });
  return census;
}

std::string is_or_are(const std::vector<unsigned>& ids) { return ids.size() == 1 ? "is" : "are"; }

}  // namespace

Outage outage_of(const Json& status) {
  Outage out;
  if (status.at("healthy").get<bool>()) return out;
  const Json& replicas = status.at("replicas");
  const std::size_t quorum = status.at("quorum").get<std::size_t>();
  const Census census = count(replicas, out);
  if (!out.anyone) {
    out.what = "no replica answers";
    const auto unresolved = [](const Json& r) { return r.value("unresolved_here", false); };
    if (const Json& all = status.at("replicas"); std::all_of(all.begin(), all.end(), unresolved)) {
      out.why =
          "none of their names resolves here, so that none could be asked: " + text_in(all.front(), "error");
      return out;
    }
    out.why =
        "none runs, or a firewall stops UDP, or the addresses or the key here are not the cluster's; "
        "`paxosctl doctor` tells more";
    return out;
  }
  if (const std::string stuck = text_in(status, "stuck"); !stuck.empty()) {
    out.stuck = true;
    out.full = status.value("stuck_by_full_disks", false);
    out.what = out.full ? "nothing can be sent" : "nothing moves";
    out.age = age_in(status, "stuck_ms");
    out.why = stuck;
    return out;
  }
  const std::size_t voters = static_cast<std::size_t>(
      std::count_if(replicas.begin(), replicas.end(), [](const Json& r) { return r.value("voter", true); }));
  if (census.dormant.size() > voters - quorum) {
    out.lost = true;
    out.what = "a majority has lost its data";
    out.age.reset();
    out.why = fmt::format(
        "{} came back with other data directories than the cluster was born with, and can never vote again: "
        "{} would "
        "be a quorum",
        replicas_text(census.dormant), quorum);
    if (out.left.empty()) out.why += "; no replica that answers has anything left";
    for (const auto& [id, slot] : out.left)
      out.why += fmt::format("; replica {} still has everything up to slot {}", id, slot);
    if (!out.missing.empty())
      out.why += fmt::format("; {} {} missing", replicas_text(out.missing), is_or_are(out.missing));
    return out;
  }
  if (!census.unborn.empty() && census.voters < quorum && !census.born) {
    out.unborn = true;
    out.age.reset();
    out.what = "the cluster is not born yet";
    out.why = "its first start needs every replica once";
    if (!census.absent.empty()) {
      const std::vector<unsigned> ids(census.absent.begin(), census.absent.end());
      out.why +=
          fmt::format("; {} {} not been there yet", replicas_text(ids), ids.size() == 1 ? "has" : "have");
    }
    out.why += census.unheard_at_birth;
    if (!census.silent_voters.empty()) out.why += "; " + census.silent_voters;
    return out;
  }
  const auto and_then = [](std::string& all, const std::string& more) {
    if (!more.empty()) all += (all.empty() ? "" : "; ") + more;
  };
  std::string missing =
      out.missing.empty() ? std::string()
                          : fmt::format("{} {} missing", replicas_text(out.missing), is_or_are(out.missing));
  if (census.voters < quorum) {
    out.what = "no quorum";
    and_then(missing, census.silent_voters);
    if (!census.unborn.empty())
      and_then(missing,
               fmt::format("{} {} never been part of it: not reached by the others since the first start, or "
                           "back with an empty "
                           "data directory",
                           replicas_text(census.unborn), census.unborn.size() == 1 ? "has" : "have"));
    out.why = missing;
  } else if (census.cut) {
    out.what = "no quorum";
    and_then(missing, "the replicas don't hear each other: " + census.deaf);
    out.why = missing;
  } else {
    out.what = "no leader";
    out.why = "an election is under way";
    out.age.reset();
  }
  return out;
}

std::vector<std::string> next_steps(const Json& status, const std::string& key_file) {
  std::vector<std::string> out;
  std::vector<unsigned> closed;
  std::vector<unsigned> silent;
  std::vector<unsigned> unresolved;
  for (const Json& r : status.at("replicas")) {
    if (r.at("reachable").get<bool>()) continue;
    (r.value("unresolved_here", false) ? unresolved
     : r.value("port_closed", false)   ? closed
                                       : silent)
        .push_back(r.at("id").get<unsigned>());
  }
  const auto one_of = [](const std::vector<unsigned>& ids) {
    return ids.size() == 1 ? std::to_string(ids.front()) : std::string("ID");
  };
  if (!unresolved.empty())
    out.push_back(
        fmt::format("the {} of {} {} not resolve on this machine: look at `address` in the config, at "
                    "/etc/hosts and at the name "
                    "server (getent ahosts NAME); it is looked up again and again meanwhile",
                    unresolved.size() == 1 ? "name" : "names", replicas_text(unresolved),
                    unresolved.size() == 1 ? "does" : "do"));
  if (!closed.empty())
    out.push_back(fmt::format(
        "{} {} not running: nothing listens on the port. There: `systemctl start paxosd@{}` or `paxosd "
        "--id {}`; if it ends again, its log says why",
        replicas_text(closed), closed.size() == 1 ? "is" : "are", one_of(closed), one_of(closed)));
  if (!silent.empty()) {
    const bool all = silent.size() == status.at("replicas").size();
    const std::string id = one_of(silent);
    out.push_back(
        fmt::format("{} may be down or hang, or a firewall swallows UDP, or {} key is not the one in {}{}: "
                    "what does not open is never "
                    "answered, so only {} can tell. There: `systemctl status paxosd@{}`; `journalctl -u "
                    "paxosd@{}` (or the log of paxosd) has "
                    "a line when datagrams did not open, and metrics count them as foreign_key; `sha256sum` "
                    "compares the key files; `paxosctl "
                    "doctor` checks what can be checked from here",
                    replicas_text(silent), silent.size() == 1 ? "its" : "their", key_file,
                    all ? " (likely, where all run and none answers)" : "",
                    silent.size() == 1 ? "its machine" : "their machines", id, id));
  }
  const Outage outage = outage_of(status);
  if (outage.lost) {
    for (const auto& [id, slot] : outage.left)
      out.push_back(
          fmt::format("what replica {} has, up to slot {}: `paxoschat history --local --replica {} --room "
                      "ROOM`, `paxosctl log {}`; "
                      "keep a copy of its data directory",
                      id, slot, id, id));
    out.push_back(
        "a directory that was only moved, or not mounted, is put back where it was, and its replica started: "
        "enough of them, and "
        "the cluster goes on. Without them it does not: see 'A majority has lost its disks' in "
        "OPERATIONS.md");
  }
  if (outage.stuck) out.push_back(text_in(status, "stuck_advice"));
  if (outage.unborn && closed.empty() && silent.empty())
    out.push_back(
        "all answer here, so look at the network between them: UDP must pass both ways, and all need the "
        "same key and "
        "config; `paxosctl doctor` looks at each");
  return out;
}

void mark_closed_ports(Json& status, const config::ClusterConfig& config) {
  constexpr std::chrono::milliseconds patience{200};
  std::map<unsigned, net::Address> unanswered;
  for (const Json& r : status.at("replicas")) {
    if (r.at("reachable").get<bool>()) continue;
    const unsigned id = r.at("id").get<unsigned>();
    const std::string where = text_in(r, "address_in_use");
    if (const auto address = net::Address::literal(where.empty() ? config.replicas.at(id).address : where))
      unanswered.emplace(id, *address);
  }
  if (unanswered.empty()) return;
  const std::set<unsigned> closed = closed_ports(unanswered, patience);
  for (Json& r : status.at("replicas")) {
    if (!closed.contains(r.at("id").get<unsigned>())) continue;
    r["port_closed"] = true;
    r["error"] = r.at("error").get<std::string>() + ": nothing listens on that port";
  }
}

net::Task<Outage> look_for_outage(Connection& connection, std::chrono::milliseconds timeout) {
  const auto replicas = co_await ask_all(connection, timeout);
  co_return outage_of(cluster_status(connection.config(), replicas, timeout));
}

}  // namespace client
