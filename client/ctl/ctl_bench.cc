#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <unordered_map>
#include <vector>

#include "client/ctl/ctl.h"
#include "client/ctl/histogram.h"
#include "client/terminal/say.h"
#include "client/terminal/words.h"

/// bench: closed-loop sessions of one process against the leader. Commands that are ready at the same time
/// share a datagram, whatever session they are of.
namespace client {

namespace {

constexpr std::size_t pack_commands_max = 256;
constexpr std::size_t pack_bytes_max = 48 * 1024;
constexpr paxos::Duration repeat_after{std::chrono::milliseconds{250}};
constexpr paxos::Duration sweep_every{std::chrono::milliseconds{50}};

struct BenchOptions {
  std::size_t clients = 1;
  std::size_t outstanding = 1;
  std::size_t size = 100;
  std::chrono::milliseconds duration{10'000};
  std::chrono::milliseconds warmup{2'000};
  bool json = false;
};

std::int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

class Bench {
 public:
  Bench(Connection& connection, const BenchOptions& options, paxos::ReplicaId leader)
      : c_(connection),
        o_(options),
        target_(leader),
        done_(connection.loop()),
        texts_(texts_of(options.size, connection.random())) {
    sessions_.resize(o_.clients);
  }

  net::Task<int> run() {
    c_.on_reply([this](paxos::ReplicaId from, const chat::ClientReply& reply) { on_reply(from, reply); });
    c_.on_turn_end([this] { flush(); });
    for (Session& s : sessions_) {
      for (std::size_t i = 0; i < 16; i += 8) {
        const std::uint64_t bits = c_.random();
        for (std::size_t j = 0; j < 8; ++j) s.nonce[i + j] = static_cast<std::uint8_t>(bits >> (8 * j));
      }
      by_nonce_[s.nonce] = &s;
      queue(chat::encode(
          {.session = {}, .seq = 0, .answered_below = 0, .operation = chat::Open{s.nonce, c_.whose()}}));
    }
    const paxos::Time open_until = c_.loop().now() + std::chrono::seconds{10};
    while (!by_nonce_.empty() && c_.loop().now() < open_until) {
      co_await c_.loop().sleep(sweep_every);
      sweep();
    }
    if (!by_nonce_.empty()) {
      detach();
      co_return complain("paxosctl bench",
                         "sessions could not be opened within 10 s; `paxosctl status` shows why",
                         config::exit_unknown);
    }
    const std::int64_t begin = steady_ns();
    measure_from_ = begin + std::chrono::nanoseconds{o_.warmup}.count();
    stop_at_ = measure_from_ + std::chrono::nanoseconds{o_.duration}.count();
    for (Session& s : sessions_)
      for (std::size_t i = 0; i < o_.outstanding; ++i) post(s);
    while (steady_ns() < stop_at_) {
      co_await c_.loop().sleep(sweep_every);
      sweep();
    }
    detach();
    co_return report();
  }

 private:
  struct Flight {
    std::uint64_t seq = 0;
    std::int64_t since_ns = 0;
    paxos::Time sent{};
    paxos::Bytes command;
  };
  struct Session {
    chat::SessionId id;
    chat::Nonce nonce{};
    std::uint64_t next_seq = 1;
    std::vector<Flight> flights;  ///< ascending by seq
  };
  struct Hasher {
    std::size_t operator()(const chat::SessionId& id) const {
      return static_cast<std::size_t>(id.slot.n * 0x9e3779b97f4a7c15ULL + id.index);
    }
  };

  void detach() {
    c_.on_reply({});
    c_.on_turn_end({});
  }

  void queue(paxos::Bytes command) { ready_.push_back(std::move(command)); }

  void flush() {
    chat::ClientCommands pack;
    std::size_t bytes = 0;
    const auto send = [&] {
      if (!pack.commands.empty()) c_.send(target_, std::exchange(pack, {}));
      bytes = 0;
    };
    for (paxos::Bytes& command : ready_) {
      if (pack.commands.size() == pack_commands_max || bytes + command.size() > pack_bytes_max) send();
      bytes += command.size() + 4;
      pack.commands.push_back(std::move(command));
    }
    ready_.clear();
    send();
  }

  void post(Session& s) {
    Flight f;
    f.seq = s.next_seq++;
    f.since_ns = steady_ns();
    f.sent = c_.loop().now();
    f.command = chat::encode(
        {.session = s.id,
         .seq = f.seq,
         .answered_below = s.flights.empty() ? f.seq : s.flights.front().seq,
         .operation = chat::Post{"bench", c_.key_name().empty() ? "bench" : c_.key_name(), next_text()}});
    queue(f.command);
    s.flights.push_back(std::move(f));
  }

  void on_reply(paxos::ReplicaId from, const chat::ClientReply& reply) {
    heard_ = c_.loop().now();
    if (const auto* receipts = std::get_if<chat::Receipts>(&reply)) {
      const std::int64_t now = steady_ns();
      for (const chat::Receipt& r : receipts->receipts) on_receipt(r, now);
    } else if (const auto* redirect = std::get_if<chat::Redirect>(&reply)) {
      if (redirect->leader && from == target_ && *redirect->leader != target_) {
        target_ = *redirect->leader;
        repeat_all();
      }
    } else if (std::holds_alternative<chat::CommandRefused>(reply)) {
      ++errors_;
    }
  }

  void on_receipt(const chat::Receipt& r, std::int64_t now) {
    if (r.nonce != chat::Nonce{}) {
      const auto at = by_nonce_.find(r.nonce);
      if (at == by_nonce_.end()) return;
      at->second->id = r.outcome.session;
      by_id_[r.outcome.session] = at->second;
      by_nonce_.erase(at);
      return;
    }
    const auto at = by_id_.find(r.outcome.session);
    if (at == by_id_.end()) return;
    Session& s = *at->second;
    const auto f = std::find_if(s.flights.begin(), s.flights.end(),
                                [&](const Flight& x) { return x.seq == r.outcome.client_seq; });
    if (f == s.flights.end()) return;
    if (r.outcome.verdict == chat::Verdict::early) return;
    if (r.outcome.verdict != chat::Verdict::done && r.outcome.verdict != chat::Verdict::repeat) {
      ++errors_;
    } else if (now >= measure_from_ && now < stop_at_) {
      latency_.add(static_cast<std::uint64_t>((now - f->since_ns) / 1000));
    }
    s.flights.erase(f);
    if (now < stop_at_) post(s);
  }

  void repeat_all() {
    ready_.clear();
    for (const auto& [nonce, s] : by_nonce_)
      queue(chat::encode(
          {.session = {}, .seq = 0, .answered_below = 0, .operation = chat::Open{nonce, c_.whose()}}));
    for (Session& s : sessions_)
      for (Flight& f : s.flights) {
        f.sent = c_.loop().now();
        queue(f.command);
      }
  }

  /// What got no answer for a while is said again; a silent target is left for the next.
  void sweep() {
    const paxos::Time now = c_.loop().now();
    if (now - heard_ > repeat_after && now - rotated_ > repeat_after) {
      rotated_ = now;
      target_ = c_.config().next_member(target_);
      repeat_all();
      return;
    }
    if (!by_nonce_.empty() && now - rotated_ > repeat_after) {
      rotated_ = now;
      repeat_all();
      return;
    }
    for (Session& s : sessions_)
      for (Flight& f : s.flights)
        if (now - f.sent > repeat_after) {
          f.sent = now;
          queue(f.command);
        }
  }

  int report() {
    const double seconds = static_cast<double>(o_.duration.count()) / 1000;
    const double throughput = static_cast<double>(latency_.count()) / seconds;
    if (o_.json) {
      print_json({{"clients", o_.clients},
                  {"outstanding", o_.outstanding},
                  {"size", o_.size},
                  {"seconds", seconds},
                  {"messages", latency_.count()},
                  {"errors", errors_},
                  {"throughput", throughput},
                  {"latency_us",
                   {{"p50", latency_.quantile(0.5)},
                    {"p99", latency_.quantile(0.99)},
                    {"p999", latency_.quantile(0.999)},
                    {"max", latency_.max()}}}});
    } else {
      say(stdout, "{}, {} outstanding each, {}: {:.0f} messages/s, {}\n", counted(o_.clients, "client"),
          o_.outstanding, counted(o_.size, "byte"), throughput, counted(errors_, "error"));
      say(stdout, "latency p50 {} us, p99 {} us, p99.9 {} us, max {} us\n", latency_.quantile(0.5),
          latency_.quantile(0.99), latency_.quantile(0.999), latency_.max());
    }
    if (latency_.count() == 0)
      return complain("paxosctl bench", "no message was acknowledged; `paxosctl status` shows why",
                      config::exit_unknown);
    return errors_ == 0 ? config::exit_fine : config::exit_refused;
  }

  Connection& c_;
  BenchOptions o_;
  paxos::ReplicaId target_;
  net::Event done_;
  /// One after the other: nothing that compresses.
  const std::string& next_text() { return texts_[next_text_++ % texts_.size()]; }
  static std::vector<std::string> texts_of(std::size_t size, std::uint64_t seed) {
    constexpr std::string_view letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
    static_assert(letters.size() == 64);
    constexpr std::size_t bytes_max = 1 << 22;
    paxos::Random random(seed);
    std::vector<std::string> out(std::clamp<std::size_t>(bytes_max / size, 16, 4096));
    for (std::string& text : out) {
      text.resize(size);
      std::uint64_t bits = 0;
      for (std::size_t i = 0; i < size; ++i, bits >>= 6) {
        if (i % 10 == 0) bits = random.next();
        text[i] = letters[bits & 63];
      }
    }
    return out;
  }
  std::vector<std::string> texts_;
  std::size_t next_text_ = 0;
  std::vector<Session> sessions_;
  std::map<chat::Nonce, Session*> by_nonce_;
  std::unordered_map<chat::SessionId, Session*, Hasher> by_id_;
  std::vector<paxos::Bytes> ready_;
  Histogram latency_;
  std::uint64_t errors_ = 0;
  std::int64_t measure_from_ = INT64_MAX;
  std::int64_t stop_at_ = INT64_MAX;
  paxos::Time heard_{};
  paxos::Time rotated_{};
};

net::Task<int> bench(Connection& c, BenchOptions options) {
  const auto leader = co_await find_leader(c, std::chrono::seconds{5});
  if (!leader)
    co_return complain("paxosctl bench", "there is no leader; `paxosctl status` shows why",
                       config::exit_unknown);
  Bench run(c, options, leader->id);
  co_return co_await run.run();
}

}  // namespace

int ctl_bench(const Words& words) {
  VerbFlags flags("paxosctl bench", "PAXOSCTL",
                  "Load from closed-loop sessions; writes into the room `bench`.");
  flags.value("clients", "N", "sessions (default: 64)");
  flags.value("size", "BYTES", "of each message's text (default: 100)");
  flags.value("duration", "TIME", "measured time (default: 10s)");
  flags.value("warmup", "TIME", "before it (default: 2s)");
  flags.value("outstanding", "N", "messages under way in each session (default: 1)");
  flags.flag("json", "one JSON object");
  if (const auto code = flags.parse_without_arguments(words)) return *code;
  BenchOptions o;
  const auto clients = flags.number("clients", 1, 10'000, 64);
  const auto size = flags.number("size", 1, chat::limits::text_bytes_max, 100);
  const auto outstanding = flags.number("outstanding", 1, chat::limits::outstanding_max, 1);
  const auto duration = flags.duration("duration", std::chrono::seconds{10});
  const auto warmup = flags.duration("warmup", std::chrono::seconds{2});
  if (const auto code = flags.first_fault(clients, size, outstanding, duration, warmup)) return *code;
  if (duration->count() < 1) return flags.wrong_usage("--duration: at least 1ms");
  o = {.clients = *clients,
       .outstanding = *outstanding,
       .size = *size,
       .duration = *duration,
       .warmup = *warmup,
       .json = flags.has("json")};
  return flags.with_cluster([&](Connection& c) { return bench(c, o); });
}

}  // namespace client
