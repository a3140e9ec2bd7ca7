#include "client/connection.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "paxos/env.h"

namespace client {

namespace {

void fill_random(void* out, std::size_t size) {
  if (::getrandom(out, size, 0) != static_cast<ssize_t>(size)) std::abort();
}

net::Transport::Options transport_options(const config::ClusterKey& key, std::size_t datagram_bytes, std::size_t replicas) {
  net::Identity self;
  fill_random(self.incarnation.bytes.data(), self.incarnation.bytes.size());
  return {.self = self,
          .key = key,
          .datagram_bytes = datagram_bytes,
          .loopback_bytes = net::loopback_datagram_bytes,
          .replicas = replicas};
}

}  // namespace

tl::expected<std::unique_ptr<Connection>, std::string> Connection::open(net::Loop& loop,
                                                                        config::ClusterConfig config) {
  const auto key = config::load_key(config.key_file);
  if (!key) return tl::make_unexpected(key.error());
  std::vector<net::Address> replicas;
  bool v6 = false;
  bool local = true;
  for (const config::ReplicaConfig& replica : config.replicas) {
    const auto address = net::Address::resolve(replica.address);
    if (!address) return tl::make_unexpected(fmt::format("replica {}: {}", replica.id.n, address.error()));
    v6 = v6 || address->family() == AF_INET6;
    local = local && address->is_loopback();
    replicas.push_back(*address);
  }
  const auto any = net::Address::resolve(v6 ? "[::]:0" : local ? "127.0.0.1:0" : "0.0.0.0:0");
  if (!any) return tl::make_unexpected(any.error());
  auto socket = net::UdpSocket::open(loop, *any);
  if (!socket) return tl::make_unexpected(socket.error());
  std::uint64_t seed = 0;
  fill_random(&seed, sizeof seed);
  return std::unique_ptr<Connection>(
      new Connection(loop, std::move(config), std::move(replicas), std::move(*socket), *key, seed));
}

Connection::Connection(net::Loop& loop, config::ClusterConfig config, std::vector<net::Address> replicas,
                       net::UdpSocket socket, const config::ClusterKey& key, std::uint64_t seed)
    : loop_(loop),
      config_(std::move(config)),
      replicas_(std::move(replicas)),
      socket_(std::move(socket)),
      transport_(transport_options(key, config_.datagram_bytes, replicas_.size())),
      scope_(loop),
      random_state_(seed) {
  loop_.on_turn_end([this] { end_turn(); });
  scope_.spawn(receive());
}

Connection::~Connection() {
  loop_.on_turn_end({});
  loop_.cancel_timer(timer_);
}

net::Task<void> Connection::stop() {
  socket_.stop();
  co_await scope_.join();
}

void Connection::give_up() {
  given_up_ = true;
  for (auto& [id, asked] : asked_) asked->event.notify();
}

std::uint64_t Connection::random() {
  paxos::Random next(random_state_);
  random_state_ = next.next();
  return random_state_;
}

void Connection::send(paxos::ReplicaId to, const chat::ClientMessage& message) {
  transport_.send(loop_.now(), replicas_[to.n], net::Body{message});
}

net::Task<void> Connection::receive() {
  for (;;) {
    const auto batch = co_await socket_.receive();
    if (batch.empty()) co_return;  // stopped
    for (const net::Datagram& datagram : batch) {
      received_.clear();
      transport_.receive(loop_.now(), datagram.from, datagram.data, received_);
      for (const net::Received& r : received_) {
        if (r.sender.sender >= replicas_.size()) continue;
        const paxos::ReplicaId from{r.sender.sender};
        if (const auto* reply = std::get_if<chat::OperatorReply>(&r.body)) {
          const auto asked = asked_.find(reply->id);
          if (asked == asked_.end()) continue;
          asked->second->answer = reply->answer;
          asked->second->event.notify();
        } else if (const auto* answer = std::get_if<chat::ClientReply>(&r.body)) {
          if (const auto* page = std::get_if<chat::HistoryReply>(answer)) {
            if (const auto asked = asked_.find(page->id); asked != asked_.end()) {
              asked->second->history = *page;
              asked->second->event.notify();
              continue;
            }
          }
          if (on_reply_) on_reply_(from, *answer);
        }
      }
    }
  }
}

void Connection::end_turn() {
  if (turn_end_) turn_end_();
  const paxos::Time now = loop_.now();
  if (transport_.deadline() <= now) transport_.tick(now);
  for (const net::Refusal& refusal : socket_.take_refusals()) transport_.refused(now, refusal);
  transport_.flush(now);
  for (net::Outgoing& packet : transport_.take_outgoing())
    socket_.send(packet.to, std::move(packet.data), packet.segment);
  loop_.cancel_timer(timer_);
  if (const paxos::Time at = transport_.deadline(); at != paxos::time_never)
    timer_ = loop_.add_timer(at, [] {});
}

net::Task<std::optional<chat::OperatorAnswer>> Connection::ask(paxos::ReplicaId to,
                                                               chat::OperatorCommand command,
                                                               std::uint64_t boot,
                                                               std::chrono::milliseconds timeout) {
  const chat::OperatorRequest request{.id = random(), .target_boot = boot, .command = std::move(command)};
  Asked asked(loop_);
  asked_.emplace(request.id, &asked);
  const paxos::Time until = loop_.now() + timeout;
  paxos::Duration wait = std::chrono::milliseconds{100};
  while (!asked.answer && !given_up_ && loop_.now() < until) {
    transport_.send(loop_.now(), replicas_[to.n], net::Body{request});
    (void)co_await asked.event.wait_until(std::min(until, loop_.now() + wait));
    wait = std::min<paxos::Duration>(wait * 2, std::chrono::milliseconds{500});
  }
  asked_.erase(request.id);
  co_return std::move(asked.answer);
}

template <class Message>
net::Task<std::optional<chat::HistoryReply>> Connection::ask_history(paxos::ReplicaId to, Message request,
                                                                     std::chrono::milliseconds timeout,
                                                                     std::chrono::milliseconds repeat) {
  request.id = random();
  Asked asked(loop_);
  asked_.emplace(request.id, &asked);
  const paxos::Time until = loop_.now() + timeout;
  while (!asked.history && !given_up_ && loop_.now() < until) {
    transport_.send(loop_.now(), replicas_[to.n], net::Body{chat::ClientMessage{request}});
    (void)co_await asked.event.wait_until(std::min<paxos::Time>(until, loop_.now() + repeat));
  }
  asked_.erase(request.id);
  co_return std::move(asked.history);
}

net::Task<std::optional<chat::HistoryReply>> Connection::history(paxos::ReplicaId to,
                                                                 chat::HistoryRequest request,
                                                                 std::chrono::milliseconds timeout) {
  co_return co_await ask_history(to, std::move(request), timeout, std::chrono::milliseconds{250});
}

net::Task<std::optional<chat::HistoryReply>> Connection::follow(paxos::ReplicaId to,
                                                                chat::FollowRequest request,
                                                                std::chrono::milliseconds timeout) {
  co_return co_await ask_history(to, std::move(request), timeout, std::chrono::milliseconds{300});
}

}  // namespace client
