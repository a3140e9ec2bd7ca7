#include "client/ctl/address_advice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "client/session/cluster_view.h"
#include "client/terminal/printable.h"

namespace client {

namespace {

constexpr std::chrono::milliseconds patience{5000};

bool has(const ResolvedReplica& r, int family) {
  return std::any_of(r.answer->begin(), r.answer->end(),
                     [&](const net::Address& a) { return a.family() == family; });
}

std::string port_of(const std::string& address) { return address.substr(address.rfind(':') + 1); }

Finding make(std::optional<unsigned> replica, std::string check, Verdict verdict, std::string measured,
             std::string advice) {
  return {.replica = replica,
          .check = std::move(check),
          .verdict = verdict,
          .measured = std::move(measured),
          .advice = std::move(advice)};
}

/// Upwards to something that a person would write.
double rounded(double ms) { return std::ceil(ms / 50) * 50; }

}  // namespace

std::vector<ResolvedReplica> resolve_replicas(const config::ClusterConfig& config) {
  std::vector<std::string> texts;
  for (const config::ReplicaConfig& r : config.replicas) texts.push_back(r.address);
  auto answers = net::resolve_within(texts, patience);
  std::vector<ResolvedReplica> out;
  for (const config::ReplicaConfig& r : config.replicas)
    out.push_back(
        {.id = r.id.n, .address = r.address, .listen = r.listen, .answer = std::move(answers[r.id.n])});
  return out;
}

std::vector<Finding> judge_addresses(const std::vector<ResolvedReplica>& replicas) {
  std::vector<Finding> out;
  std::vector<const ResolvedReplica*> known;
  for (const ResolvedReplica& r : replicas) {
    if (r.answer)
      known.push_back(&r);
    else
      out.push_back(make(r.id, "address", Verdict::bad, printable(r.answer.error()),
                         "check `address` in the config, DNS and /etc/hosts (getent ahosts NAME); it is "
                         "looked up again and again meanwhile"));
  }
  std::vector<unsigned> only4;
  std::vector<unsigned> only6;
  for (const ResolvedReplica* r : known) {
    if (!has(*r, AF_INET6)) only4.push_back(r->id);
    if (!has(*r, AF_INET)) only6.push_back(r->id);
  }
  if (!only4.empty() && !only6.empty())
    out.push_back(
        make(std::nullopt, "address", Verdict::bad,
             fmt::format("IPv4 and IPv6 mixed: {} {} only IPv4, {} only IPv6", replicas_text(only4),
                         only4.size() == 1 ? "has" : "have", replicas_text(only6)),
             "a replica that listens on an IPv4 address can't reach an IPv6 one, nor the other way round: "
             "give all of them `address`es of one "
             "kind; or set `listen: \"[::]:7400\"` (with its port) for those on machines that have both"));
  std::vector<unsigned> loopback;
  for (const ResolvedReplica* r : known)
    if (r->answer->front().is_loopback()) loopback.push_back(r->id);
  if (loopback.empty() || loopback.size() == known.size()) return out;
  for (const ResolvedReplica* r : known) {
    if (!r->answer->front().is_loopback() || !r->listen.empty()) continue;
    out.push_back(make(r->id, "address", Verdict::bad,
                       fmt::format("{} is a loopback address on this machine, {}, and the others' are not: "
                                   "bound there, it reaches nobody",
                                   printable(r->address), r->answer->front().to_string()),
                       fmt::format("on its machine: give the name its real address in /etc/hosts (Debian "
                                   "writes 127.0.1.1), or set `listen: "
                                   "\"0.0.0.0:{}\"` (or its real address) for this replica",
                                   port_of(r->address))));
  }
  return out;
}

std::vector<Finding> judge_links(const Json& doctor, std::chrono::milliseconds election_timeout) {
  std::vector<Finding> out;
  const auto each = [&](const char* field, const auto& visit) {
    const auto at = doctor.find(field);
    if (at == doctor.end() || !at->is_array()) return;
    for (const Json& one : *at)
      if (one.is_object())
        if (const auto id = number_in(one, "id")) visit(static_cast<unsigned>(*id), one);
  };
  double worst = 0;
  unsigned farthest = 0;
  bool measured = false;
  each("round_trips_us", [&](unsigned id, const Json& one) {
    const double ms = number_in(one, "us").value_or(0) / 1000;
    measured = true;
    if (ms >= worst) {
      worst = ms;
      farthest = id;
    }
  });
  if (measured) {
    const std::string text = fmt::format("{:.1f} ms to replica {} and back, at most", worst, farthest);
    if (worst * 3 > static_cast<double>(election_timeout.count())) {
      const double timeout = rounded(worst * 5);
      out.push_back(make(
          std::nullopt, "round trip", Verdict::warn, text,
          fmt::format("that is above a third of election_timeout_ms ({}): leaders change for nothing. Set "
                      "`election_timeout_ms: "
                      "{:.0f}` and `heartbeat_ms: {:.0f}` in every config, then `paxosctl rolling-restart`",
                      election_timeout.count(), timeout, timeout / 5)));
    } else {
      out.push_back(make(std::nullopt, "round trip", Verdict::ok, text, {}));
    }
  }
  each("unresolved", [&](unsigned id, const Json& one) {
    out.push_back(make(std::nullopt, "names", Verdict::warn,
                       fmt::format("of replica {}: {}", id, printable(text_in(one, "error"))),
                       "on its machine: check DNS and /etc/hosts; the last address that worked is used "
                       "meanwhile, where there is one"));
  });
  each("moved", [&](unsigned id, const Json& one) {
    out.push_back(make(std::nullopt, "names", Verdict::warn,
                       fmt::format("replica {} answers it from {}, which is not what its `address` says", id,
                                   printable(text_in(one, "address"))),
                       "it is followed, but clients and a replica that starts anew look at `address` first: "
                       "mend the name, or the config"));
  });
  if (const std::string error = text_in(doctor, "metrics_error"); !error.empty())
    out.push_back(make(
        std::nullopt, "metrics", Verdict::warn, "it serves no metrics: " + printable(error),
        "stop what uses the port, or change `metrics` and restart the replica; it tries again by itself"));
  return out;
}

}  // namespace client
