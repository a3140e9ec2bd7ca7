#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <set>

#include "client/ctl/ctl.h"
#include "client/ctl/daemon_binary.h"
#include "client/session/outbox.h"
#include "client/terminal/say.h"
#include "client/terminal/words.h"
#include "paxos/env.h"

/// run: script mode. A whole cluster of processes, clients, faults; then a check of every message.
namespace client {

namespace {

struct RunOptions {
  unsigned f = 2;
  std::size_t clients = 10;
  std::size_t messages = 100;
  std::chrono::milliseconds client_timeout{10'000};
  double loss = 0;
  std::vector<paxos::Slot> skip;
  std::size_t kills = 0;
  std::filesystem::path directory;
  bool temporary = false;
  bool json = false;
};

constexpr std::size_t window = 4;  ///< messages of one client under way
constexpr const char* room = "run";

/// The replicas' processes; whatever happens to us, they die with us.
class Processes {
 public:
  ~Processes() {
    for (auto& [id, pid] : running_) ::kill(pid, SIGTERM);
    for (auto& [id, pid] : running_) ::waitpid(pid, nullptr, 0);
  }
  std::string start(const std::filesystem::path& binary, const std::filesystem::path& config, unsigned id,
                    const std::filesystem::path& log) {
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) return fmt::format("fork: {}", std::strerror(errno));
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(1);
      sigset_t none;
      sigemptyset(&none);
      ::sigprocmask(SIG_SETMASK, &none, nullptr);
      const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
      if (fd >= 0) {
        ::dup2(fd, STDOUT_FILENO);
        ::dup2(fd, STDERR_FILENO);
      }
      const std::string number = std::to_string(id);
      ::execlp(binary.c_str(), "paxosd", "--config", config.c_str(), "--id", number.c_str(), nullptr);
      say(stderr, "{}: {}\n", binary.string(), std::strerror(errno));
      ::_exit(127);
    }
    running_[id] = pid;
    return {};
  }
  void kill(unsigned id) {
    const auto at = running_.find(id);
    if (at == running_.end()) return;
    ::kill(at->second, SIGKILL);
    ::waitpid(at->second, nullptr, 0);
    running_.erase(at);
  }
  [[nodiscard]] bool alive(unsigned id) const { return running_.contains(id); }
  /// A replica that ended by itself, if any.
  [[nodiscard]] std::optional<unsigned> died() {
    for (const auto& [id, pid] : running_)
      if (::waitpid(pid, nullptr, WNOHANG) == pid) {
        const unsigned gone = id;
        running_.erase(gone);
        return gone;
      }
    return std::nullopt;
  }

 private:
  std::map<unsigned, pid_t> running_;
};

/// The first of `count` consecutive UDP ports that are free now; 0 when there is no such run.
std::uint16_t free_ports(std::size_t count, std::uint64_t seed) {
  paxos::Random random(seed);
  for (int attempt = 0; attempt < 200; ++attempt) {
    const auto base = static_cast<std::uint16_t>(20'000 + random.below(12'000));
    std::size_t free = 0;
    for (; free < count; ++free) {
      const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      sockaddr_storage name{};
      const socklen_t size =
          net::Address::loopback(static_cast<std::uint16_t>(base + free)).to_sockaddr(name);
      const bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&name), size) == 0;
      ::close(fd);
      if (!bound) break;
    }
    if (free == count) return base;
  }
  return 0;
}

class Run {
 public:
  Run(Connection& connection, const RunOptions& options, Processes& processes)
      : c_(connection), o_(options), processes_(processes) {}

  net::Task<int> run() {
    const paxos::Time patience = c_.loop().now() + std::chrono::seconds{20};
    while (!co_await wait_healthy(std::chrono::milliseconds{500})) {
      // One that is gone already will not come back, and a first start needs all of them.
      if (const auto gone = processes_.died()) {
        if (o_.json) print_json(nothing_yet());
        co_return complain(
            "paxosctl run",
            fmt::format("replica {} ended as soon as it was started; see {}", *gone, log_of(*gone)),
            config::exit_refused);
      }
      if (c_.loop().now() > patience) co_return give_up_at_start("the cluster elected no leader within 20 s");
    }
    first_round_ = round_;
    if (!o_.skip.empty()) {
      const auto answer = co_await c_.ask(leader_->id, chat::SkipRequest{o_.skip, 0}, leader_->target(),
                                          std::chrono::seconds{10});
      if (const auto code = failed("paxosctl run", leader_->id, answer)) {
        if (o_.json) print_json(nothing_yet());
        co_return *code;
      }
    }
    start_clients();
    co_await drive();
    detach();
    co_return co_await judge();
  }

 private:
  struct Client {
    std::unique_ptr<Outbox> outbox;
    std::size_t posted = 0;
    std::map<std::uint64_t, std::string> texts;  ///< by ticket
    paxos::Time progress{};
  };

  /// The object at the end, of a run that was not judged.
  [[nodiscard]] Json nothing_yet() const {
    return {{"consistent", false},
            {"sent", sent_},
            {"acknowledged", acknowledged_.size()},
            {"lost", nullptr},
            {"duplicated", nullptr},
            {"noops", 0},
            {"view_changes", 0},
            {"replicas", Json::array()}};
  }
  int give_up_at_start(const std::string& why) {
    if (o_.json) print_json(nothing_yet());
    return give_up(why);
  }
  int give_up(const std::string& why) {
    return complain("paxosctl run",
                    fmt::format("{}; the replicas' logs are in {}", why, o_.directory.string()),
                    config::exit_unknown);
  }

  net::Task<bool> wait_healthy(paxos::Duration timeout) {
    const auto found =
        co_await find_leader(c_, std::chrono::duration_cast<std::chrono::milliseconds>(timeout));
    if (!found) co_return false;
    leader_ = found;
    round_ = found->json->at("leader_ballot").value("round", std::uint64_t{0});
    co_return true;
  }

  void start_clients() {
    // Skipped slots heal when the leader changes, so there is at least one change.
    kills_ = o_.skip.empty() ? o_.kills : std::max<std::size_t>(o_.kills, 1);
    clients_.resize(o_.clients);
    for (Client& client : clients_) {
      client.outbox = std::make_unique<Outbox>(Outbox::Options{.replicas = c_.config().replicas.size(),
                                                               .first = leader_->id,
                                                               .random = [this] { return c_.random(); },
                                                               .journal = false},
                                               c_.loop().now());
      client.progress = c_.loop().now();
    }
    c_.on_reply([this](paxos::ReplicaId from, const chat::ClientReply& reply) {
      // All sessions share the socket; each takes what is its own.
      for (Client& client : clients_) client.outbox->on_reply(c_.loop().now(), from, reply);
    });
    c_.on_turn_end([this] { pump(); });
  }
  void detach() {
    c_.on_reply({});
    c_.on_turn_end({});
  }

  void pump() {
    const paxos::Time now = c_.loop().now();
    paxos::Time next = paxos::time_never;
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      Client& client = clients_[i];
      while (!stopping_ && client.posted < o_.messages && client.outbox->pending() < window && may_post()) {
        const std::string text = fmt::format("client {} message {}", i, client.posted);
        client.texts[client.outbox->post(
            now, {.room = room, .name = fmt::format("client{}", i), .text = text})] = text;
        ++client.posted;
        ++sent_;
      }
      if (client.outbox->deadline() <= now) client.outbox->tick(now);
      OutboxOutput out = client.outbox->take_output(now);
      for (const Sending& s : out.sends) c_.send(s.to, s.message);
      for (const Delivery& d : out.deliveries) {
        client.progress = now;
        if (d.refused.empty()) acknowledged_.push_back(client.texts.at(d.ticket));
      }
      next = std::min(next, client.outbox->deadline());
    }
    c_.loop().cancel_timer(timer_);
    if (next != paxos::time_never)
      timer_ = c_.loop().add_timer(std::max(next, now + std::chrono::microseconds{200}), [] {});
  }

  /// The primary dies when its share of the messages is on its way, in the middle of it all; further messages
  /// wait until the next primary is known, if that one is to die too.
  bool may_post() {
    if (killed_ == kills_ || sent_ < o_.clients * o_.messages * (killed_ + 1) / (kills_ + 1)) return true;
    if (!leader_) return false;
    kill_leader();
    return true;
  }
  void kill_leader() {
    processes_.kill(leader_->id.n);
    leader_.reset();
    ++killed_;
  }

  /// Until everything is acknowledged or a client waited too long; kills primaries on the way.
  net::Task<void> drive() {
    const std::size_t total = o_.clients * o_.messages;
    const bool bar = ::isatty(STDERR_FILENO) != 0 && !o_.json;
    const paxos::Time skipped_at = c_.loop().now();
    while (acknowledged_.size() < total) {
      co_await c_.loop().sleep(std::chrono::milliseconds{20});
      const paxos::Time now = c_.loop().now();
      if (bar) {
        const std::size_t width = 40 * acknowledged_.size() / std::max<std::size_t>(total, 1);
        say(stderr, "\r[{:#<{}}{:<{}}] {}/{}", "", width, "", 40 - width, acknowledged_.size(), total);
      }
      // Nothing above a skipped slot is applied before the leader changes.
      if (!o_.skip.empty() && killed_ == 0 && leader_ && now - skipped_at > std::chrono::milliseconds{300})
        kill_leader();
      if (!leader_) {
        (void)co_await wait_healthy(std::chrono::milliseconds{100});
        if (leader_ && !processes_.alive(leader_->id.n))
          leader_.reset();  // its followers have not noticed yet
      }
      if (const auto gone = processes_.died()) {
        complain("paxosctl run", fmt::format("replica {} ended by itself; see {}", *gone, log_of(*gone)), 0);
        died_ = true;
      }
      const bool patient = std::any_of(clients_.begin(), clients_.end(), [&](const Client& client) {
        return client.outbox->pending() > 0 && now - client.progress > o_.client_timeout;
      });
      if (patient) break;
    }
    stopping_ = true;
    if (bar) say(stderr, "\r{:70}\r", "");
    c_.loop().cancel_timer(timer_);
  }

  [[nodiscard]] std::string log_of(unsigned id) const {
    return (o_.directory / fmt::format("replica{}.log", id)).string();
  }

  net::Task<int> judge() {
    Json out = nothing_yet();
    std::string trouble;
    // All living replicas at one slot with one hash.
    std::vector<ReplicaStatus> replicas;
    bool agree = false;
    const paxos::Time until = c_.loop().now() + std::chrono::seconds{20};
    while (!agree && c_.loop().now() < until) {
      replicas = co_await ask_all(c_, std::chrono::milliseconds{500});
      std::set<std::string> states;
      std::size_t missing = 0;
      for (const ReplicaStatus& r : replicas) {
        if (!processes_.alive(r.id.n)) continue;
        if (r.json)
          states.insert(r.json->at("applied").dump() + r.json->at("hash").dump());
        else
          ++missing;
      }
      agree = states.size() == 1 && missing == 0;
      if (!agree) co_await c_.loop().sleep(std::chrono::milliseconds{50});
    }
    if (!agree) trouble = "the living replicas do not stand at the same slot with the same hash";
    for (const ReplicaStatus& r : replicas) {
      const bool alive = processes_.alive(r.id.n);
      Json one{{"id", r.id.n}, {"alive", alive}};
      if (alive && r.json) {
        one["applied"] = r.json->at("applied");
        one["hash"] = r.json->at("hash");
      }
      out["replicas"].push_back(std::move(one));
    }
    if (co_await wait_healthy(std::chrono::seconds{10})) {
      out["view_changes"] = round_ - first_round_;
      std::map<std::string, std::size_t> seen;
      if (!co_await read_history(seen)) {
        trouble = "the history could not be read back";
      } else {
        std::size_t lost = 0;
        std::size_t duplicated = 0;
        for (const std::string& text : acknowledged_) lost += seen.contains(text) ? 0 : 1;
        for (const auto& [text, count] : seen) duplicated += count > 1 ? 1 : 0;
        out["lost"] = lost;
        out["duplicated"] = duplicated;
        if (lost > 0)
          trouble = fmt::format("{} {} not in the log", counted(lost, "acknowledged message"),
                                lost == 1 ? "is" : "are");
        if (duplicated > 0)
          trouble = fmt::format("{} {} in the log more than once", counted(duplicated, "message"),
                                duplicated == 1 ? "stands" : "stand");
      }
      out["noops"] = co_await count_noops();
      if (out["noops"].get<std::size_t>() < o_.skip.size()) trouble = "a skipped slot did not become a no-op";
    } else {
      trouble = "there is no leader at the end";
    }
    if (acknowledged_.size() < o_.clients * o_.messages && trouble.empty())
      trouble = fmt::format("{} of {} messages were not acknowledged in time",
                            o_.clients * o_.messages - acknowledged_.size(), o_.clients * o_.messages);
    if (died_ && trouble.empty()) trouble = "a replica ended by itself";
    out["consistent"] = agree && trouble.empty();
    if (o_.json) {
      print_json(out);
    } else {
      say(stdout,
          "{} sent, {} acknowledged, lost {}, duplicated {}, no-ops in skipped slots {}, view changes {}\n",
          sent_, acknowledged_.size(), out["lost"].dump(), out["duplicated"].dump(), out["noops"].dump(),
          out["view_changes"].dump());
      for (const Json& r : out["replicas"])
        say(stdout, "  replica {}  {}\n", r.at("id").get<int>(),
            r.contains("hash") ? fmt::format("applied {:>8}  hash {}", r.at("applied").get<std::uint64_t>(),
                                             r.at("hash").get<std::string>())
                               : std::string("dead"));
      say(stdout, "{}\n", trouble.empty() ? "consistent" : "NOT CONSISTENT");
    }
    if (!trouble.empty()) co_return give_up(trouble);
    co_return config::exit_fine;
  }

  net::Task<bool> read_history(std::map<std::string, std::size_t>& seen) {
    for (std::uint64_t from = 1; from != 0;) {
      std::optional<chat::HistoryReply> page;
      for (int attempt = 0; attempt < 20 && (!page || !page->refused.empty()); ++attempt)
        page = co_await c_.history(
            leader_->id, {.id = 0, .room = room, .from = from, .last = 0, .limit = 0, .local = false},
            std::chrono::seconds{3});
      if (!page || !page->refused.empty()) co_return false;
      for (const chat::Message& m : page->page.messages) ++seen[m.text];
      from = page->page.next;
    }
    co_return true;
  }

  net::Task<std::size_t> count_noops() {
    std::size_t noops = 0;
    for (paxos::Slot slot : o_.skip) {
      const auto answer =
          co_await c_.ask(leader_->id, chat::LogRequest{slot, slot}, {}, std::chrono::seconds{3});
      const auto* log = answer ? std::get_if<chat::LogReply>(&*answer) : nullptr;
      if (log != nullptr && log->slots.size() == 1 && !log->slots[0].empty && log->slots[0].chosen &&
          log->slots[0].decree.kind == paxos::DecreeKind::noop)
        ++noops;
    }
    co_return noops;
  }

  Connection& c_;
  RunOptions o_;
  Processes& processes_;
  std::optional<ReplicaStatus> leader_;
  std::uint64_t first_round_ = 0;
  std::uint64_t round_ = 0;
  std::vector<Client> clients_;
  std::vector<std::string> acknowledged_;
  std::size_t sent_ = 0;
  std::size_t kills_ = 0;
  std::size_t killed_ = 0;
  net::TimerId timer_ = 0;
  bool stopping_ = false;
  bool died_ = false;
};

int run_in(const RunOptions& o) {
  const std::string program = "paxosctl run";
  const std::size_t replicas = 2 * o.f + 1;
  std::uint64_t seed = static_cast<std::uint64_t>(::getpid()) * 0x9e3779b97f4a7c15ULL;
  const std::uint16_t port = free_ports(replicas, seed);
  if (port == 0) return complain(program, "no free ports on 127.0.0.1", config::exit_refused);
  const auto file = o.directory / "cluster.yaml";
  if (std::error_code error; std::filesystem::exists(file, error))
    return complain(program,
                    fmt::format("{}: a cluster is there already, and a run makes its own; name another --dir",
                                file.string()),
                    config::exit_refused);
  config::GenerateOptions generate;
  generate.f = o.f;
  generate.output = file;
  generate.base_port = port;
  generate.loss = o.loss;
  generate.cluster = "run";
  if (const auto done = config::generate(generate); !done)
    return complain(program, done.error(), config::exit_refused);
  auto config = config::load(file);
  if (!config) return complain(program, config.error(), config::exit_refused);
  if (const std::string missing = net::Loop::probe(); !missing.empty())
    return complain(program, missing, config::exit_refused);

  Processes processes;
  const auto binary = daemon_binary();
  for (unsigned id = 0; id < replicas; ++id)
    if (const std::string why =
            processes.start(binary, file, id, o.directory / fmt::format("replica{}.log", id));
        !why.empty())
      return complain(program, why, config::exit_refused);
  net::Loop loop;
  auto connection = Connection::open(loop, std::move(*config));
  if (!connection) return complain(program, connection.error(), config::exit_refused);
  Run run(**connection, o, processes);
  const Stopping stopping(loop, **connection);
  return loop.run(run.run());
}

}  // namespace

int ctl_run(const Words& words) {
  config::Flags flags(
      "paxosctl run", "PAXOSCTL",
      "Script mode: starts 2F+1 replicas on this machine, lets clients chat, injects faults, and checks that "
      "each acknowledged message stands exactly once in every living replica's log.");
  flags.value("failures", "F", "crashes to survive: 2F+1 replicas (default: 2)", 'f');
  flags.value("clients", "N", "clients (default: 10)");
  flags.value("messages", "M", "messages of each (default: 100)");
  flags.value("client-timeout", "TIME", "a client gives up after so long without progress (default: 10s)");
  flags.value("loss", "SHARE", "share of datagrams each process drops on receipt");
  flags.value("skip-slots", "LIST",
              "slots that the first primary leaves empty, as in 3,7 (then it is killed at least once)");
  flags.value("kill-primary", "N", "kill the primary N times on the way, at most F");
  flags.value("dir", "DIR", "where config, data and logs go, and stay (default: a temporary folder)");
  flags.flag("json", "one JSON object at the end");
  if (const auto code = flags.parse(words)) return *code;
  if (!flags.arguments().empty())
    return flags.wrong_usage(
        fmt::format("run takes no arguments, '{}' is one", printable(flags.arguments().front())));
  RunOptions o;
  const auto f = flags.number("failures", 0, 4, 2);
  const auto clients = flags.number("clients", 1, 1000, 10);
  const auto messages = flags.number("messages", 1, 1'000'000, 100);
  const auto kills = flags.number("kill-primary", 0, 4, 0);
  const auto timeout = flags.duration("client-timeout", o.client_timeout);
  const auto loss = flags.share("loss", 0);
  if (const auto code = flags.first_fault(f, clients, messages, kills, timeout, loss)) return *code;
  o.f = static_cast<unsigned>(*f);
  o.clients = *clients;
  o.messages = *messages;
  o.kills = *kills;
  o.client_timeout = *timeout;
  o.loss = *loss;
  o.json = flags.has("json");
  if (const auto list = flags.get("skip-slots")) {
    std::size_t at = 0;
    while (at <= list->size()) {
      const std::size_t comma = std::min(list->find(',', at), list->size());
      const auto slot = config::parse_number(std::string_view(*list).substr(at, comma - at));
      if (!slot || *slot == 0 || *slot > 200)
        return flags.wrong_usage(
            fmt::format("--skip-slots '{}': slots from 1 to 200, with commas between", *list));
      o.skip.push_back({*slot});
      at = comma + 1;
    }
    std::sort(o.skip.begin(), o.skip.end());
    o.skip.erase(std::unique(o.skip.begin(), o.skip.end()), o.skip.end());
  }
  if (std::max<std::size_t>(o.kills, o.skip.empty() ? 0 : 1) > o.f)
    return flags.wrong_usage(fmt::format("{} survive{} {} crash{}, not {}: use a larger -f",
                                         counted(2 * o.f + 1, "replica"), o.f == 0 ? "s" : "", o.f,
                                         o.f == 1 ? "" : "es", std::max<std::size_t>(o.kills, 1)));
  if (const auto dir = flags.get("dir")) {
    o.directory = *dir;
    std::error_code error;
    std::filesystem::create_directories(o.directory, error);
    if (error)
      return complain("paxosctl run", fmt::format("--dir {}: can't be made: {}", *dir, error.message()),
                      config::exit_refused);
  } else {
    std::string name = (std::filesystem::temp_directory_path() / "paxos-run-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
      return complain("paxosctl run", fmt::format("{}: {}", name, std::strerror(errno)),
                      config::exit_refused);
    o.directory = name;
    o.temporary = true;
  }
  const int code = run_in(o);
  std::error_code ignored;
  if (o.temporary && code == config::exit_fine) std::filesystem::remove_all(o.directory, ignored);
  return code;
}

}  // namespace client
