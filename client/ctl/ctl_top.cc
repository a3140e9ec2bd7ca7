#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "client/ctl/ctl.h"
#include "client/ctl/top.h"
#include "client/terminal/say.h"
#include "net/signals.h"

/// top: asks everyone again and again, in the background, and shows what has changed in between.
namespace client {

using namespace std::chrono_literals;

namespace {

constexpr std::chrono::milliseconds interval_min = 100ms;
constexpr std::chrono::milliseconds interval_max = 60s;
constexpr std::chrono::milliseconds answer_timeout = 1000ms;
constexpr std::size_t plain_columns = 100;

class View {
 public:
  View(Connection& connection, std::chrono::milliseconds interval, bool once, bool json)
      : c_(connection),
        interval_(interval),
        once_(once),
        json_(json),
        top_(connection.config()),
        changed_(connection.loop()) {}

  net::Task<int> run() {
    if (!once_ && !json_ && Screen::possible()) {
      co_await run_screen();
      co_return config::exit_fine;
    }
    net::Scope scope(c_.loop());
    for (const config::ReplicaConfig& r : c_.config().replicas)
      if (r.member && r.id.n < rounds_.size()) scope.spawn(ask_on(r.id));
    bool healthy = false;
    do {
      // Rates need two answers: the first sample is shown after one interval.
      const paxos::Time until = c_.loop().now() + interval_ + (shown_ == 0 ? first_patience() : 0ms);
      while (c_.loop().now() < until && (shown_ > 0 || !once_ || rounds_least() < 2))
        (void)co_await changed_.wait_until(until);
      healthy = top_.status().at("healthy").get<bool>();
      if (json_) {
        print_json(top_.json());
      } else {
        if (shown_ > 0) say(stdout, "\n");
        for (const ScreenLine& line : top_.lines(c_.loop().now(), plain_columns, false))
          say(stdout, "{}\n", line.text.substr(0, line.text.find_last_not_of(' ') + 1));
        std::fflush(stdout);
      }
      ++shown_;
    } while (!once_ && std::ferror(stdout) == 0);
    stop();
    co_await scope.join();
    co_return healthy ? config::exit_fine : config::exit_unknown;
  }

 private:
  /// The first answers, and a dead replica's silence, come on top of the interval.
  [[nodiscard]] std::chrono::milliseconds first_patience() const { return answer_timeout; }
  [[nodiscard]] std::size_t rounds_least() const { return *std::min_element(rounds_.begin(), rounds_.end()); }

  net::Task<void> run_screen() {
    Screen screen;
    net::Signals signals(c_.loop(), {SIGWINCH, SIGINT, SIGTERM, SIGHUP, SIGQUIT});
    net::Readable input(c_.loop(), STDIN_FILENO);
    net::Scope scope(c_.loop());
    for (const config::ReplicaConfig& r : c_.config().replicas)
      if (r.member && r.id.n < rounds_.size()) scope.spawn(ask_on(r.id));
    scope.spawn(read_keys(input));
    scope.spawn(watch_signals(signals));
    while (!stopped_) {
      screen.draw(top_.lines(c_.loop().now(), Screen::size().columns, true));
      (void)co_await changed_.wait_until(c_.loop().now() + interval_);
    }
    input.cancel();
    // Ends the wait for signals like any other.
    ::kill(::getpid(), SIGWINCH);
    co_await scope.join();
  }

  net::Task<void> read_keys(net::Readable& input) {
    char keys[64];
    while (!stopped_ && co_await input) {
      const ssize_t n = ::read(STDIN_FILENO, keys, sizeof keys);
      if (n <= 0) stop();
      for (ssize_t i = 0; i < n; ++i) {
        if (keys[i] == 'q' || keys[i] == 'Q' || keys[i] == 4) stop();
        if (keys[i] == 'r' || keys[i] == 'R') top_.reset();
      }
      changed_.notify();
    }
  }

  net::Task<void> watch_signals(net::Signals& signals) {
    while (!stopped_) {
      if (co_await signals.next() != SIGWINCH) stop();
      changed_.notify();
    }
  }

  void stop() {
    stopped_ = true;
    c_.give_up();
    changed_.notify();
  }

  /// One replica's questions; another's silence is not waited for.
  net::Task<void> ask_on(paxos::ReplicaId id) {
    while (!stopped_) {
      const paxos::Time next = c_.loop().now() + interval_;
      ReplicaStatus answer = co_await ask_status(c_, id, std::max(answer_timeout, interval_));
      if (stopped_) co_return;
      top_.replica(id).take(c_.loop().now(), std::move(answer.json));
      ++rounds_[id.n];
      if (once_) changed_.notify();
      while (!stopped_ && c_.loop().now() < next) (void)co_await changed_.wait_until(next);
    }
  }

  Connection& c_;
  std::chrono::milliseconds interval_;
  bool once_;
  bool json_;
  Top top_;
  std::vector<std::size_t> rounds_ = std::vector<std::size_t>(c_.config().replicas.size(), 0);
  std::size_t shown_ = 0;
  bool stopped_ = false;
  net::Event changed_;
};

net::Task<int> top(Connection& c, std::chrono::milliseconds interval, bool once, bool json) {
  View view(c, interval, once, json);
  co_return co_await view.run();
}

}  // namespace

int ctl_top(const Words& words) {
  VerbFlags flags("paxosctl top", "PAXOSCTL",
                  "The cluster live: roles, rates, lag, latency, disk, memory. Without a terminal it prints "
                  "sample after sample.");
  flags.value("interval", "TIME", "ask so often (default: 1s)");
  flags.flag("once", "one sample after one interval; exit 0 when healthy, else 3");
  flags.flag("json", "one JSON object a sample");
  if (const auto code = flags.parse_without_arguments(words)) return *code;
  const auto interval = flags.duration("interval", 1s);
  if (const auto code = flags.first_fault(interval)) return *code;
  if (*interval < interval_min || *interval > interval_max)
    return flags.wrong_usage(
        fmt::format("--interval '{}': from 100ms to 60s", flags.get("interval").value_or("")));
  return flags.with_cluster(
      [&](Connection& c) { return top(c, *interval, flags.has("once"), flags.has("json")); });
}

}  // namespace client
