#include "client/cluster_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "client/port_probe.h"

namespace client {

std::optional<double> number_in(const Json& object, const char* field) {
  const auto at = object.find(field);
  return at != object.end() && at->is_number() ? std::optional(at->get<double>()) : std::nullopt;
}

std::vector<unsigned> ids_in(const Json& object, const char* field) {
  std::vector<unsigned> out;
  const auto at = object.find(field);
  if (at == object.end() || !at->is_array()) return out;
  for (const Json& one : *at)
    if (one.is_number_integer() && one.get<std::int64_t>() >= 0 && one.get<std::int64_t>() < static_cast<std::int64_t>(paxos::limits::replicas_max))
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
    if (std::from_chars(hex.data() + 2 * i, hex.data() + 2 * i + 2, bytes[i], 16).ptr != hex.data() + 2 * i + 2) bytes[i] = 0;
  return out;
}

net::Task<ReplicaStatus> ask_status(Connection& connection, paxos::ReplicaId id, std::chrono::milliseconds timeout) {
  ReplicaStatus out{.id = id, .json = {}};
  const auto answer = co_await connection.ask(id, chat::StatusRequest{}, {}, timeout);
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
bool votes(const Json& answer) {
  const auto at = answer.find("voting");
  return at != answer.end() && at->is_boolean() && at->get<bool>();
}

net::Task<void> ask_into(Connection& connection, paxos::ReplicaId id, std::chrono::milliseconds timeout,
                         ReplicaStatus& out) {
  out = co_await ask_status(connection, id, timeout);
}
}  // namespace

net::Task<std::vector<ReplicaStatus>> ask_all(Connection& connection, std::chrono::milliseconds timeout) {
  std::vector<ReplicaStatus> out(connection.config().replicas.size());
  net::Scope scope(connection.loop());
  for (const config::ReplicaConfig& r : connection.config().replicas)
    scope.spawn(ask_into(connection, r.id, timeout, out[r.id.n]));
  co_await scope.join();
  co_return out;
}

Json cluster_status(const config::ClusterConfig& config, const std::vector<ReplicaStatus>& replicas,
                    std::chrono::milliseconds timeout) {
  // A quorum of voting replicas that name the same leader and ballot, in this one answer.
  std::map<std::pair<int, std::string>, std::size_t> named;
  for (const ReplicaStatus& r : replicas) {
    if (!r.json || !votes(*r.json)) continue;
    const auto leader = number_in(*r.json, "leader");
    const auto ballot = r.json->find("leader_ballot");
    if (leader && *leader >= 0 && *leader < static_cast<double>(replicas.size()) && ballot != r.json->end())
      ++named[{static_cast<int>(*leader), ballot->dump()}];
  }
  Json leader = nullptr;
  for (const auto& [who, count] : named)
    if (count >= config.quorum()) leader = who.first;
  Json out{{"cluster", config.cluster},    {"cluster_id", config.id}, {"quorum", config.quorum()},
           {"healthy", !leader.is_null()}, {"leader", leader},        {"replicas", Json::array()}};
  for (const ReplicaStatus& r : replicas) {
    Json one{{"id", r.id.n}, {"address", config.replicas[r.id.n].address}, {"reachable", r.json.has_value()}};
    if (r.json) {
      one.update(*r.json);
      // Whatever it says of these: they are ours to tell.
      one["id"] = r.id.n;
      one["address"] = config.replicas[r.id.n].address;
      one["reachable"] = true;
    } else {
      one["error"] = r.trouble.empty() ? fmt::format("no answer in {} ms", timeout.count()) : r.trouble;
      if (!r.trouble.empty()) one["version_trouble"] = true;
    }
    out["replicas"].push_back(std::move(one));
  }
  if (const Outage outage = outage_of(out); !outage.over()) {
    Json& told = out["outage"] = Json{{"what", outage.what}, {"why", outage.why}, {"missing", outage.missing}};
    told["age_ms"] = outage.age ? Json(outage.age->count()) : Json(nullptr);
  }
  return out;
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
  return anyone ? "reading with --local still works; what waits in an open chat or in `send --state` goes out, once, when a quorum is back"
                : "what waits in an open chat or in `send --state` goes out, once, when a quorum answers";
}

Outage outage_of(const Json& status) {
  Outage out;
  if (status.at("healthy").get<bool>()) return out;
  const std::size_t quorum = status.at("quorum").get<std::size_t>();
  std::size_t voters = 0;
  bool cut = false;
  std::string deaf;
  std::string silent_voters;
  std::vector<unsigned> unborn;
  std::string unheard_at_birth;
  std::set<unsigned> absent;
  const auto answers = [&](unsigned id) {
    const Json& all = status.at("replicas");
    return id < all.size() && all[id].at("reachable").get<bool>();
  };
  for (const Json& r : status.at("replicas")) {
    const unsigned id = r.at("id").get<unsigned>();
    if (!r.at("reachable").get<bool>()) {
      out.missing.push_back(id);
      continue;
    }
    out.anyone = true;
    if (const auto age = number_in(r, "no_quorum_age_ms")) {
      cut = true;
      const std::chrono::milliseconds ms{static_cast<std::int64_t>(std::clamp(*age, 0.0, 1e15))};
      out.age = std::max(out.age.value_or(ms), ms);
    }
    if (votes(r)) {
      ++voters;
    } else if (text_in(r, "role") == "unborn") {
      unborn.push_back(id);
      for (const unsigned other : ids_in(r, "missing_at_birth")) {
        if (!answers(other))
          absent.insert(other);
        else if (const auto unheard = ids_in(r, "missing"); std::find(unheard.begin(), unheard.end(), other) != unheard.end())
          unheard_at_birth += fmt::format("; replica {} does not hear replica {}, which answers here", id, other);
      }
    } else {
      const std::string reason = printable(text_in(r, "reason"));
      silent_voters += fmt::format("{}replica {} does not vote{}{}", silent_voters.empty() ? "" : "; ", id,
                                   reason.empty() ? "" : ": ", reason);
    }
    const std::vector<unsigned> unheard = ids_in(r, "missing");
    if (!unheard.empty())
      deaf += fmt::format("{}replica {} does not hear {}", deaf.empty() ? "" : "; ", id, list_text(unheard));
  }
  if (!out.anyone) {
    out.what = "no replica answers";
    out.why =
        "none runs, or a firewall stops UDP, or the addresses or the key here are not the cluster's; `paxosctl doctor` tells more";
    return out;
  }
  if (!unborn.empty() && voters < quorum) {
    out.unborn = true;
    out.age.reset();
    out.what = "the cluster is not born yet";
    out.why = "its first start needs every replica once";
    if (!absent.empty()) {
      const std::vector<unsigned> ids(absent.begin(), absent.end());
      out.why += fmt::format("; {} {} not been there yet", replicas_text(ids), ids.size() == 1 ? "has" : "have");
    }
    out.why += unheard_at_birth;
    if (!silent_voters.empty()) out.why += "; " + silent_voters;
    return out;
  }
  const std::string missing =
      out.missing.empty() ? std::string()
                          : fmt::format("{} {} missing", replicas_text(out.missing), out.missing.size() == 1 ? "is" : "are");
  if (voters < quorum) {
    out.what = "no quorum";
    out.why = missing + (missing.empty() || silent_voters.empty() ? "" : "; ") + silent_voters;
  } else if (cut) {
    out.what = "no quorum";
    out.why = missing + (missing.empty() ? "" : "; ") + "the replicas don't hear each other: " + deaf;
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
  for (const Json& r : status.at("replicas")) {
    if (r.at("reachable").get<bool>()) continue;
    (r.value("port_closed", false) ? closed : silent).push_back(r.at("id").get<unsigned>());
  }
  const auto one_of = [](const std::vector<unsigned>& ids) {
    return ids.size() == 1 ? std::to_string(ids.front()) : std::string("ID");
  };
  if (!closed.empty())
    out.push_back(fmt::format("{} {} not running: nothing listens on the port. There: `systemctl start paxosd@{}` or `paxosd "
                              "--id {}`; if it ends again, its log says why",
                              replicas_text(closed), closed.size() == 1 ? "is" : "are", one_of(closed), one_of(closed)));
  if (!silent.empty()) {
    const bool all = silent.size() == status.at("replicas").size();
    const std::string id = one_of(silent);
    out.push_back(fmt::format(
        "{} may be down or hang, or a firewall swallows UDP, or {} key is not the one in {}{}: what does not open is never "
        "answered, so only {} can tell. There: `systemctl status paxosd@{}`; `journalctl -u paxosd@{}` (or the log of paxosd) has "
        "a line when datagrams did not open, and metrics count them as foreign_key; `sha256sum` compares the key files; `paxosctl "
        "doctor` checks what can be checked from here",
        replicas_text(silent), silent.size() == 1 ? "its" : "their", key_file,
        all ? " (likely, where all run and none answers)" : "", silent.size() == 1 ? "its machine" : "their machines", id, id));
  }
  if (outage_of(status).unborn && closed.empty() && silent.empty())
    out.push_back("all answer here, so look at the network between them: UDP must pass both ways, and all need the same key and "
                  "config; `paxosctl doctor` looks at each");
  return out;
}

void mark_closed_ports(Json& status, const config::ClusterConfig& config) {
  constexpr std::chrono::milliseconds patience{200};
  std::vector<unsigned> unanswered;
  for (const Json& r : status.at("replicas"))
    if (!r.at("reachable").get<bool>()) unanswered.push_back(r.at("id").get<unsigned>());
  if (unanswered.empty()) return;
  const std::set<unsigned> closed = closed_ports(config, unanswered, patience);
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
