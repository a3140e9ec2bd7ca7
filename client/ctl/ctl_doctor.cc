#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>

#include "client/ctl/address_advice.h"
#include "client/ctl/ctl.h"
#include "client/ctl/doctor.h"
#include "client/session/cluster_view.h"
#include "client/session/port_probe.h"
#include "client/terminal/say.h"
#include "client/terminal/words.h"

/// doctor: looks at this machine, asks every replica about its own, and says what to mend.
namespace client {

using namespace std::chrono_literals;

namespace {

constexpr std::chrono::milliseconds doctor_timeout = 3000ms;
constexpr std::chrono::milliseconds clock_timeout = 500ms;
constexpr int clock_readings = 3;
constexpr std::chrono::milliseconds probe_patience = 300ms;
/// Between two looks at the counters of a replica that does not say by itself what happened lately.
constexpr std::chrono::milliseconds counting_time = 1000ms;

std::int64_t wall_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

Json limit(__rlimit_resource resource) {
  rlimit value{};
  if (::getrlimit(resource, &value) != 0) return nullptr;
  return value.rlim_cur == RLIM_INFINITY ? Json("unlimited") : Json(value.rlim_cur);
}

std::optional<double> cgroup_memory_max() {
  std::ifstream own("/proc/self/cgroup");
  for (std::string line; std::getline(own, line);) {
    if (!line.starts_with("0::")) continue;
    std::ifstream in("/sys/fs/cgroup" + line.substr(3) + "/memory.max");
    double bytes = 0;
    if (in >> bytes) return bytes;
  }
  return std::nullopt;
}

/// What the kernel knows of the way there: its own link, and what routers told it.
Finding path_mtu(const net::Address& to, std::size_t datagram_bytes) {
  sockaddr_storage name{};
  const socklen_t size = to.to_sockaddr(name);
  const bool v6 = to.family() == AF_INET6;
  const int fd = ::socket(to.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0);
  int mtu = 0;
  socklen_t length = sizeof mtu;
  const bool known =
      fd >= 0 && ::connect(fd, reinterpret_cast<sockaddr*>(&name), size) == 0 &&
      ::getsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &length) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!known)
    return {.replica = {},
            .check = "mtu",
            .verdict = Verdict::bad,
            .measured = fmt::format("no way to {}: {}", to.to_string(), std::strerror(error)),
            .advice = "check this machine's links and routes (ip route get)"};
  return judge_mtu(mtu, to.is_loopback(), datagram_bytes, v6);
}

/// What can be told without a word from anyone.
std::vector<Finding> look_here(const config::ClusterConfig& config) {
  std::vector<Finding> out;
  const auto add = [&](std::string check, Verdict verdict, std::string measured, std::string advice = {}) {
    out.push_back({.replica = {},
                   .check = std::move(check),
                   .verdict = verdict,
                   .measured = std::move(measured),
                   .advice = std::move(advice)});
  };
  struct stat info{};
  if (::stat(config.file.c_str(), &info) == 0 && (info.st_mode & S_IWOTH) != 0)
    add("config", Verdict::bad, config.file.string() + " may be written by everybody", "chmod o-w");
  else
    add("config", Verdict::ok, config.file.string() + " is well-formed");
  // The mode first: who only has to mend that is not told to copy the key again.
  if (::stat(config.key_file.c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
      judge_key_mode(info.st_mode).verdict != Verdict::ok)
    out.push_back(judge_key_mode(info.st_mode));
  else if (const auto key = config::load_key(config.key_file); !key)
    add("key", Verdict::bad, key.error(),
        "copy the cluster's key file here (mode 0600, owned by who runs this)");
  else
    out.push_back(judge_key_mode(info.st_mode));
  std::vector<std::pair<unsigned, net::Address>> addresses;
  const std::vector<ResolvedReplica> resolved = resolve_replicas(config);
  for (const ResolvedReplica& r : resolved) {
    if (r.answer) addresses.emplace_back(r.id, r.answer->front());
  }
  for (Finding& finding : judge_addresses(resolved)) out.push_back(std::move(finding));
  if (addresses.size() == config.replicas.size()) add("address", Verdict::ok, "all addresses resolve");
  for (const auto& [id, address] : addresses) {
    Finding finding =
        path_mtu(address, address.is_loopback() ? net::loopback_datagram_bytes : config.datagram_bytes);
    finding.replica = id;
    out.push_back(std::move(finding));
  }
  utsname kernel{};
  if (::uname(&kernel) == 0) out.push_back(judge_kernel(kernel.release));
  if (const std::string lacks = net::Loop::probe(); lacks.empty())
    add("io_uring", Verdict::ok, "has all that is needed");
  else
    add("io_uring", Verdict::bad, lacks,
        "sysctl kernel.io_uring_disabled must be 0, and a container's seccomp profile must allow io_uring");
  out.push_back(judge_memlock(limit(RLIMIT_MEMLOCK)));
  out.push_back(judge_files(limit(RLIMIT_NOFILE)));
  out.push_back(judge_memory(cgroup_memory_max()));
  return out;
}

struct Asked {
  std::optional<Json> status;
  std::optional<Json> doctor;
  std::optional<ClockReading> clock;
};

net::Task<void> examine(Connection& c, paxos::ReplicaId id, Asked& out) {
  out.status = (co_await ask_status(c, id, status_timeout)).json;
  if (!out.status) co_return;
  for (int n = 0; n <= clock_readings; ++n) {
    // The probe of the disk takes its time: the clock is read from the answers after it.
    const bool probe = n == 0;
    const std::int64_t sent = wall_ms();
    const auto answer =
        co_await c.ask(id, chat::DoctorRequest{probe}, {}, probe ? doctor_timeout : clock_timeout);
    const std::int64_t received = wall_ms();
    const auto* reply = answer ? std::get_if<chat::DoctorReply>(&*answer) : nullptr;
    if (reply == nullptr) {
      if (probe) co_return;
      continue;
    }
    Json json = Json::parse(reply->json, nullptr, false);
    if (!json.is_object()) co_return;
    const auto remote = number_in(json, "time_ms");
    if (remote && !probe && (!out.clock || received - sent < out.clock->received_ms - out.clock->sent_ms))
      out.clock = ClockReading{
          .sent_ms = sent, .remote_ms = static_cast<std::int64_t>(*remote), .received_ms = received};
    out.doctor = std::move(json);
  }
  if (!out.doctor || out.doctor->contains("recent")) co_return;
  const paxos::Time began = c.loop().now();
  co_await c.loop().sleep(counting_time);
  const auto answer = co_await c.ask(id, chat::DoctorRequest{false}, {}, clock_timeout);
  const auto* reply = answer ? std::get_if<chat::DoctorReply>(&*answer) : nullptr;
  const Json again = reply != nullptr ? Json::parse(reply->json, nullptr, false) : Json();
  if (again.is_object())
    (*out.doctor)["recent"] =
        recent_between(*out.doctor, again,
                       std::chrono::duration_cast<std::chrono::milliseconds>(c.loop().now() - began).count());
}

net::Task<void> examine_all(Connection& c, std::vector<Asked>& out) {
  net::Scope scope(c.loop());
  const std::vector<config::ReplicaConfig> known = c.config().replicas;
  for (const config::ReplicaConfig& r : known)
    if (r.member && r.id.n < out.size()) scope.spawn(examine(c, r.id, out[r.id.n]));
  co_await scope.join();
}

void print(const std::vector<Finding>& findings, bool json, const Json& verdict) {
  if (json) {
    Json out{{"verdict", verdict}, {"checks", Json::array()}};
    for (const Finding& f : findings)
      out["checks"].push_back({{"replica", f.replica ? Json(*f.replica) : Json(nullptr)},
                               {"check", f.check},
                               {"verdict", to_string(f.verdict)},
                               {"measured", f.measured},
                               {"advice", f.advice}});
    print_json(out);
    return;
  }
  const bool colour = ::isatty(STDOUT_FILENO) == 1;
  const std::vector<FindingLine> lines = lines_of(findings);
  const auto who = [](const FindingLine& line) {
    return line.replicas.empty() ? "here" : replicas_text(line.replicas);
  };
  std::size_t width = 10;
  for (const FindingLine& line : lines) width = std::max(width, who(line).size());
  for (const FindingLine& line : lines) {
    const Finding& f = line.finding;
    const char* paint = !colour                      ? ""
                        : f.verdict == Verdict::ok   ? "\x1b[32m"
                        : f.verdict == Verdict::warn ? "\x1b[33m"
                                                     : "\x1b[31m";
    say(stdout, "{}{:<5}{} {:<{}} {:<11} {}\n", Own{paint}, to_string(f.verdict),
        Own{colour ? "\x1b[0m" : ""}, who(line), width, f.check, f.measured);
    if (!f.advice.empty()) say(stdout, "      -> {}\n", f.advice);
  }
}

}  // namespace

int ctl_doctor(const Words& words) {
  VerbFlags flags(
      "paxosctl doctor", "PAXOSCTL",
      "Checks this machine and every replica's, and says what to mend; exit 1 when something is bad, 3 when "
      "nobody answers.");
  flags.flag("json", "one JSON object");
  if (const auto code = flags.parse_without_arguments(words)) return *code;
  const bool json = flags.has("json");
  if (const std::string fault = flags.key_fault(); !fault.empty()) return flags.refused(fault);
  const auto config = flags.load_config();
  if (!config) {
    print({{.replica = {},
            .check = "config",
            .verdict = Verdict::bad,
            .measured = config.error(),
            .advice = "`paxosctl config check FILE` tells more; copy it from a machine where it works"}},
          json, "bad");
    return config::exit_refused;
  }
  std::vector<Finding> findings = look_here(*config);
  std::vector<Asked> asked(config->replicas.size());
  std::vector<std::string> in_use(config->replicas.size());
  bool could_ask = net::Loop::probe().empty();
  if (could_ask) {
    net::Loop loop;
    auto connection = Connection::open(loop, *config);
    could_ask = connection.has_value();
    if (could_ask) {
      const Stopping stopping(loop, **connection);
      loop.run(examine_all(**connection, asked));
      for (const config::ReplicaConfig& r : config->replicas)
        in_use[r.id.n] = (*connection)->address_in_use(r.id);
    } else if (std::none_of(findings.begin(), findings.end(),
                            [&](const Finding& f) { return f.measured == connection.error(); })) {
      findings.push_back({.replica = {},
                          .check = "asking",
                          .verdict = Verdict::bad,
                          .measured = "no replica could be asked: " + connection.error(),
                          .advice = "mend that, then ask again"});
    }
  }
  bool anyone = false;
  const DoctorOptions options{.version = PAXOSD_VERSION,
                              .agreed = config::agreed_parts(*config),
                              .election_timeout = config->election_timeout,
                              .same_address =
                                  [](const std::string& a, const std::string& b) {
                                    const auto one = net::Address::resolve(a);
                                    const auto other = net::Address::resolve(b);
                                    return one && other && *one == *other;
                                  },
                              .members_changed = std::any_of(asked.begin(), asked.end(), [](const Asked& a) {
                                return a.status && number_in(*a.status, "configuration").value_or(1) > 1;
                              })};
  if (could_ask) {
    std::map<unsigned, net::Address> silent;
    for (const config::ReplicaConfig& r : config->replicas)
      if (const auto address = net::Address::literal(in_use[r.id.n]);
          address && !asked[r.id.n].status && !asked[r.id.n].doctor)
        silent.emplace(r.id.n, *address);
    const std::set<unsigned> closed = closed_ports(silent, probe_patience);
    std::vector<ReplicaStatus> answers;
    for (const config::ReplicaConfig& r : config->replicas)
      answers.push_back({.id = r.id, .json = asked[r.id.n].status});
    for (Finding& finding : judge_cluster(cluster_status(*config, answers, status_timeout)))
      findings.push_back(std::move(finding));
    for (const config::ReplicaConfig& r : config->replicas) {
      if (!r.member) continue;
      const Asked& a = asked[r.id.n];
      anyone = anyone || a.status || a.doctor;
      for (Finding& finding :
           judge_replica(r.id.n, r.address, a.status, a.doctor, a.clock, options, closed.contains(r.id.n)))
        findings.push_back(std::move(finding));
    }
  }
  const int code = doctor_exit(findings, could_ask, anyone);
  Verdict worst = Verdict::ok;
  for (const Finding& f : findings) worst = std::max(worst, f.verdict);
  print(findings, json, code == config::exit_unknown ? "no answer" : to_string(worst));
  if (!json) {
    std::size_t bad = 0;
    std::size_t warn = 0;
    for (const FindingLine& line : lines_of(findings)) {
      bad += line.finding.verdict == Verdict::bad ? 1 : 0;
      warn += line.finding.verdict == Verdict::warn ? 1 : 0;
    }
    say(stdout, "{}: {} bad, {}{}\n", counted(findings.size(), "check"), bad, counted(warn, "warning"),
        could_ask && !anyone ? "; no replica answers" : "");
  }
  return code;
}

}  // namespace client
