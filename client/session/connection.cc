#include "client/session/connection.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "chat/versions.h"
#include "paxos/env.h"

namespace client {

namespace {

void fill_random(void* out, std::size_t size) {
  if (::getrandom(out, size, 0) != static_cast<ssize_t>(size)) std::abort();
}

/// So long a start waits for a name server; what it says later is taken then.
constexpr std::chrono::milliseconds first_lookups_max{1500};
/// How often the members are asked for while all is well; how long one answer is waited for; and between two
/// rounds, however much there is to wonder about.
constexpr std::chrono::seconds learn_every{30};
/// Who knows fewer than three has nobody left to ask once those are gone.
constexpr std::chrono::seconds learn_every_few{1};
constexpr std::size_t enough_members = 3;
constexpr std::chrono::milliseconds learn_timeout{500};
constexpr std::chrono::milliseconds learn_pause{500};

net::AddressBook::Options book_options(const config::ClusterConfig& config) {
  net::AddressBook::Options out{
      .names = {}, .literals = {}, .self = std::nullopt, .probes = false, .seed = 1};
  for (const config::ReplicaConfig& replica : config.replicas) {
    out.names.push_back(replica.address);
    out.literals.push_back(net::Address::literal(replica.address));
  }
  // Members that the config does not name.
  out.names.resize(paxos::limits::replicas_max);
  out.literals.resize(paxos::limits::replicas_max);
  return out;
}

/// Whether all of them are addresses of this machine, of the loopback kind.
bool all_local(const net::AddressBook& book) {
  for (std::size_t id = 0; id < book.size(); ++id)
    if (book.is_name(id) || (!book.at(id).empty() && !book.at(id).is_loopback())) return false;
  return true;
}

net::Transport::Options transport_options(net::Secret key, const chat::Credential& whose,
                                          std::size_t datagram_bytes, std::size_t replicas) {
  net::Identity self;
  self.whose = whose;
  fill_random(self.incarnation.bytes.data(), self.incarnation.bytes.size());
  while (self.life == 0) fill_random(&self.life, sizeof self.life);
  return {.self = self,
          .key = std::move(key),
          .datagram_bytes = datagram_bytes,
          .loopback_bytes = net::loopback_datagram_bytes,
          .replicas = replicas,
          .version_max = chat::formats_of(chat::rules_released).datagrams};
}

/// A socket that reaches every address that may come: a name may stand for one of either family tomorrow.
tl::expected<net::UdpSocket, std::string> open_socket(net::Loop& loop, const net::AddressBook& book) {
  bool v6 = false;
  for (std::size_t id = 0; id < book.size(); ++id)
    v6 = v6 || book.is_name(id) || (!book.at(id).empty() && book.at(id).family() == AF_INET6);
  if (v6) {
    auto both = net::UdpSocket::open(loop, *net::Address::literal("[::]:0"));
    if (both) return both;
    // A machine without IPv6.
  }
  return net::UdpSocket::open(loop,
                              *net::Address::literal(all_local(book) && !v6 ? "127.0.0.1:0" : "0.0.0.0:0"));
}

/// The request that an answer is for; 0: it names none.
std::uint64_t asked_id(const chat::ClientReply& reply) {
  return std::visit(
      []<class R>(const R& r) -> std::uint64_t {
        if constexpr (requires { r.id; }) return r.id;
        return 0;
      },
      reply);
}

}  // namespace

tl::expected<std::unique_ptr<Connection>, std::string> Connection::open(net::Loop& loop,
                                                                        config::ClusterConfig config) {
  auto key = config::load_key(config.key_file);
  if (!key) return tl::make_unexpected(key.error());
  net::Secret secret(key->bytes);
  const chat::Credential whose =
      key->is_secret() ? chat::Credential{} : chat::Credential{chat::parse_role(key->role).value(), key->id};
  std::string name = key->name;
  key = tl::make_unexpected(std::string("kept elsewhere"));  // the stack is in every core dump
  net::AddressBook book(book_options(config), loop.now());
  auto socket = open_socket(loop, book);
  if (!socket) return tl::make_unexpected(socket.error());
  std::uint64_t seed = 0;
  fill_random(&seed, sizeof seed);
  std::unique_ptr<Connection> out(new Connection(loop, std::move(config), std::move(book), std::move(*socket),
                                                 std::move(secret), whose, seed));
  out->key_name_ = std::move(name);
  loop.run(out->first_lookups());
  return out;
}

Connection::Connection(net::Loop& loop, config::ClusterConfig config, net::AddressBook book,
                       net::UdpSocket socket, net::Secret key, const chat::Credential& whose,
                       std::uint64_t seed)
    : loop_(loop),
      config_(std::move(config)),
      book_(std::move(book)),
      socket_(std::move(socket)),
      whose_(whose),
      transport_(transport_options(std::move(key), whose, config_.datagram_bytes, book_.size())),
      scope_(loop),
      wondering_(loop),
      random_state_(seed) {
  begin_lookups();
  take_addresses();
  loop_.on_turn_end([this] { end_turn(); });
  scope_.spawn(receive());
}

void Connection::begin_lookups() {
  if (resolver_) return;
  for (std::size_t id = 0; id < book_.size() && !resolver_; ++id)
    if (book_.is_name(id)) resolver_ = std::make_unique<net::Resolver>(loop_);
  if (resolver_)
    resolver_->on_answer([this](std::size_t id, net::Resolver::Answer& answer) {
      book_.looked_up(loop_.now(), id, std::move(answer));
      take_addresses();
    });
}

void Connection::know(const ClusterMembers& members) {
  if (members.configuration < configuration_) return;
  configuration_ = members.configuration;
  const bool changed = merge_members(config_, members);
  for (const config::ReplicaConfig& replica : config_.replicas)
    book_.rename(loop_.now(), replica.id.n, replica.member ? replica.address : std::string());
  for (const ClusterMembers::One& one : members.all)
    if (one.at && one.role != paxos::MemberRole::removed) book_.suggest(one.id, *one.at);
  begin_lookups();
  take_addresses();
  if (changed && on_members_) on_members_();
}

void Connection::keep_learning_members() { scope_.spawn(learn_again()); }

net::Task<void> Connection::learn_again() {
  while (!given_up_) {
    const bool few = config_.members() < enough_members;
    (void)co_await wondering_.wait_until(loop_.now() + (few ? learn_every_few : learn_every));
    if (given_up_) co_return;
    const paxos::Time began = loop_.now();
    co_await learn_members(*this, learn_timeout, false);
    while (!given_up_ && loop_.now() < began + learn_pause)
      (void)co_await wondering_.wait_until(began + learn_pause);
  }
}

net::Task<void> Connection::first_lookups() {
  const paxos::Time until = loop_.now() + first_lookups_max;
  const auto under_way = [this] {
    for (std::size_t id = 0; id < book_.size(); ++id)
      if (book_.looking_up(id)) return true;
    return false;
  };
  carry_addresses();
  while (under_way() && loop_.now() < until) co_await loop_.sleep(std::chrono::milliseconds{2});
}

void Connection::carry_addresses() {
  const paxos::Time now = loop_.now();
  book_.tick(now);
  take_addresses();
  if (resolver_)
    for (const std::size_t id : book_.take_lookups(now))
      resolver_->look_up(id, config_.replicas.at(id).address);
  (void)book_.take_events();  // who asks is told by fault()
}

/// Whose an address is: a datagram names the replica that it is for.
void Connection::take_addresses() {
  if (std::exchange(addresses_taken_, book_.revision()) != book_.revision())
    transport_.set_owners(book_.owners());
}

std::string Connection::fault(paxos::ReplicaId id) const {
  if (!book_.at(id.n).empty()) return {};
  if (!book_.fault(id.n).empty()) return book_.fault(id.n);
  if (id.n >= config_.replicas.size() || config_.replicas[id.n].address.empty())
    return "nobody says where it is";
  return fmt::format("name '{}' does not resolve: the name server has not answered yet",
                     config_.replicas[id.n].host);
}

std::string Connection::address_in_use(paxos::ReplicaId id) const {
  return book_.at(id.n).empty() ? std::string() : book_.at(id.n).to_string();
}

void Connection::send_body(paxos::ReplicaId to, const net::Body& body) {
  book_.sent(loop_.now(), to.n);
  if (!book_.at(to.n).empty()) transport_.send(loop_.now(), book_.at(to.n), body);
}

Connection::~Connection() {
  loop_.on_turn_end({});
  loop_.cancel_timer(timer_);
}

net::Task<void> Connection::stop() {
  give_up();
  socket_.stop();
  co_await scope_.join();
}

void Connection::give_up() {
  given_up_ = true;
  wondering_.notify();
  for (auto& [id, asked] : asked_) asked->event.notify();
}

std::uint64_t Connection::random() {
  paxos::Random next(random_state_);
  random_state_ = next.next();
  return random_state_;
}

void Connection::send(paxos::ReplicaId to, const chat::ClientMessage& message) {
  send_body(to, net::Body{message});
}

std::string Connection::version_trouble(paxos::ReplicaId replica) const {
  const net::Transport::Terms terms = transport_.terms(replica);
  if (!terms.refused()) return {};
  const unsigned known = chat::formats_of(chat::rules_released).datagrams;
  const bool newer = terms.lowest > known;
  return fmt::format(
      "it speaks datagram formats {} to {}, this program {} to {}: install {}", terms.lowest, terms.highest,
      net::format_version, known,
      newer ? "the paxosctl and paxoschat of its version here" : "the paxosd of this version there");
}

net::Task<void> Connection::receive() {
  for (;;) {
    const auto batch = co_await socket_.receive();
    if (batch.empty()) co_return;  // stopped
    for (const net::Datagram& datagram : batch) {
      received_.clear();
      transport_.receive(loop_.now(), datagram.from, datagram.data, received_);
      for (const net::Received& r : received_) {
        if (r.sender.sender >= book_.size()) continue;
        // From wherever it answers: a machine with several addresses may answer from another one.
        if (const net::Address& at = book_.at(r.sender.sender); !at.empty())
          book_.heard(loop_.now(), r.sender.sender, at, r.sender, r.newest);
        const paxos::ReplicaId from{r.sender.sender};
        if (const auto* reply = std::get_if<chat::OperatorReply>(&r.body)) {
          const auto asked = asked_.find(reply->id);
          if (asked == asked_.end()) continue;
          asked->second->answer = reply->answer;
          asked->second->event.notify();
        } else if (const auto* answer = std::get_if<chat::ClientReply>(&r.body)) {
          if (const auto asked = asked_.find(asked_id(*answer)); asked != asked_.end()) {
            asked->second->reply = *answer;
            asked->second->event.notify();
            continue;
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
  carry_addresses();
  for (const net::Refusal& refusal : socket_.take_refusals()) transport_.refused(now, refusal);
  transport_.flush(now);
  for (net::Outgoing& packet : transport_.take_outgoing())
    socket_.send(packet.to, std::move(packet.data), packet.segment);
  loop_.cancel_timer(timer_);
  if (const paxos::Time at = std::min(transport_.deadline(), book_.deadline()); at != paxos::time_never)
    timer_ = loop_.add_timer(at, [] {});
}

net::Task<std::optional<chat::OperatorAnswer>> Connection::ask(paxos::ReplicaId to,
                                                               chat::OperatorCommand command,
                                                               chat::Target target,
                                                               std::chrono::milliseconds timeout) {
  target.replica = to.n;
  const chat::OperatorRequest request{.id = random(), .target = target, .command = std::move(command)};
  Asked asked(loop_);
  asked_.emplace(request.id, &asked);
  paxos::Time until = loop_.now() + timeout;
  bool known = knows(to);
  paxos::Duration wait = std::chrono::milliseconds{100};
  while (!asked.answer && !given_up_ && loop_.now() < until) {
    send_body(to, net::Body{request});
    (void)co_await asked.event.wait_until(std::min(until, loop_.now() + wait));
    if (!std::exchange(known, known || knows(to)) && known) until = loop_.now() + timeout;
    wait = std::min<paxos::Duration>(wait * 2, std::chrono::milliseconds{500});
  }
  asked_.erase(request.id);
  co_return std::move(asked.answer);
}

template <class Answer, class Message>
net::Task<std::optional<Answer>> Connection::ask_client(paxos::ReplicaId to, Message request,
                                                        std::chrono::milliseconds timeout,
                                                        std::chrono::milliseconds repeat) {
  request.id = random();
  Asked asked(loop_);
  asked_.emplace(request.id, &asked);
  paxos::Time until = loop_.now() + timeout;
  bool known = knows(to);
  while (!asked.reply && !given_up_ && loop_.now() < until) {
    send_body(to, net::Body{chat::ClientMessage{request}});
    (void)co_await asked.event.wait_until(std::min<paxos::Time>(until, loop_.now() + repeat));
    if (!std::exchange(known, known || knows(to)) && known) until = loop_.now() + timeout;
  }
  asked_.erase(request.id);
  auto* answer = asked.reply ? std::get_if<Answer>(&*asked.reply) : nullptr;
  if (answer == nullptr) co_return std::nullopt;
  co_return std::move(*answer);
}

net::Task<std::optional<chat::HistoryReply>> Connection::history(paxos::ReplicaId to,
                                                                 chat::HistoryRequest request,
                                                                 std::chrono::milliseconds timeout) {
  co_return co_await ask_client<chat::HistoryReply>(to, std::move(request), timeout,
                                                    std::chrono::milliseconds{250});
}

net::Task<std::optional<chat::HistoryReply>> Connection::follow(paxos::ReplicaId to,
                                                                chat::FollowRequest request,
                                                                std::chrono::milliseconds timeout) {
  co_return co_await ask_client<chat::HistoryReply>(to, std::move(request), timeout,
                                                    std::chrono::milliseconds{300});
}

net::Task<std::optional<chat::RoomsReply>> Connection::rooms(paxos::ReplicaId to, chat::RoomsRequest request,
                                                             std::chrono::milliseconds timeout) {
  co_return co_await ask_client<chat::RoomsReply>(to, std::move(request), timeout,
                                                  std::chrono::milliseconds{250});
}

net::Task<std::optional<chat::WhoReply>> Connection::who(paxos::ReplicaId to, chat::WhoRequest request,
                                                         std::chrono::milliseconds timeout) {
  co_return co_await ask_client<chat::WhoReply>(to, std::move(request), timeout,
                                                std::chrono::milliseconds{250});
}

}  // namespace client
