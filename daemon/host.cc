#include "daemon/host.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iterator>
#include <thread>
#include <utility>

#include "daemon/log.h"
#include "daemon/stop_guard.h"
#include "net/signals.h"

namespace paxosd {

namespace {

/// Rows that wait for the state thread, in bytes; four windows of decrees.
constexpr std::size_t state_backlog_max = 4 * paxos::limits::window_bytes_max;

std::int64_t wall_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

paxos::Options core_options(const Host::Options& o) {
  return {.self = o.self,
          .replicas = o.config.replicas.size(),
          .heartbeat = o.config.heartbeat,
          .election_timeout = o.config.election_timeout,
          .rules = o.rules_known,
          .seed = o.seed};
}

net::AddressBook::Options book_options(const Host::Options& o) {
  net::AddressBook::Options out{.names = {}, .literals = {}, .self = o.self.n, .probes = true, .seed = o.seed};
  for (const config::ReplicaConfig& r : o.config.replicas) {
    out.names.push_back(r.id == o.self && !r.listen.empty() ? r.listen : r.address);
    out.literals.push_back(net::Address::literal(out.names.back()));
  }
  return out;
}

chat::ClientAddress client_address(const net::Address& address) {
  chat::ClientAddress out;
  const auto bytes = address.bytes();
  static_assert(sizeof(out.bytes) > net::Address::bytes_max);
  out.bytes[0] = static_cast<std::uint8_t>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), out.bytes.begin() + 1);
  return out;
}

net::Address socket_address(const chat::ClientAddress& address) {
  return net::Address::from_bytes({address.bytes.data() + 1, address.bytes[0]});
}

}  // namespace

Host::Host(net::Loop& loop, Options options, storage::Storage::Opened opened)
    : loop_(loop),
      options_(std::move(options)),
      incarnation_(opened.recovered.incarnation),
      boot_(opened.recovered.boot),
      storage_(std::move(opened.storage)),
      resolver_(loop),
      book_(book_options(options_), loop.now()),
      changed_(loop),
      transport_(net::Transport::Options{
          .self = {.sender = options_.self.n, .incarnation = incarnation_, .boot = boot_, .life = options_.life},
          .key = options_.key,
          .tickets = options_.tickets,
          .datagram_bytes = options_.config.datagram_bytes,
          .loopback_bytes = net::loopback_datagram_bytes,
          .replicas = options_.config.replicas.size(),
          .version_max = chat::formats_of(options_.rules_known).datagrams,
          .speaks = chat::formats_of(opened.machine.rules()).datagrams}),
      node_(core_options(options_), opened.recovered, std::move(opened.machine), loop.now()),
      mailbox_(loop),
      faults_(options_.config.loss, options_.seed),
      after_sync_(opened.recovered.last_group),
      synced_group_(opened.recovered.last_group),
      log_synced_(opened.recovered.last_group),
      started_(loop.now()),
      vitals_(loop.now()),
      key_watch_(options_.key.bytes(), options_.config.key_file) {
  begin_addresses();
  transport_.serve_clients_from(chat::formats_of(node_.machine().rules()).clients);
  flight_.started(loop.now(), opened.recovered.promised, node_.chosen(), opened.recovered.applied);
  prepare_flight_recorder();
}

// The storage threads call back into this object until they are joined, and so does the metrics' thread.
Host::~Host() {
  metrics_.reset();
  storage_.reset();
}

net::Task<int> Host::run() {
  mailbox_.on_receive([this](Posted& work) {
    if (paused())
      held_work_.push_back(std::move(work));
    else
      work();
  });
  storage_->start({.synced =
                       [this](std::uint64_t group) {
                         // From here at once: waking the loop first would cost the leader a wake-up more.
                         send_synced(after_sync_.synced(group));
                         flight_.synced_from_log_thread(group);
                         log_synced_ = group;
                         // A follower has said all by its vote: it hears of the sync when something else wakes it.
                         if (waits_for_sync_) mailbox_.push([] {});
                       },
                   .failed =
                       [this](std::string error) {
                         // Nothing that depends on a failed write may leave: not even one more turn.
                         daemon_log::error(
                             "storage failed: {}. This replica stops now, so that it promises nothing "
                             "it can't keep. Check the disk of {}, then start it again",
                             error, options_.directory.string());
                         daemon_log::exit_now(1);
                       },
                   .damaged =
                       [this](storage::Damage damage) {
                         mailbox_.push([this, damage = std::move(damage)]() mutable { on_damage(std::move(damage)); });
                       }});
  watchdog_ = ServiceManager::watchdog();
  if (watchdog_) alive_at_ = loop_.now();
  loop_.on_turn_end([this] { end_turn(); });
  net::Scope scope(loop_);
  scope.spawn(keep_socket(scope));
  scope.spawn(keep_metrics());
  co_await wait_for_signals();
  ended_ = true;
  changed_.notify();
  if (socket_) socket_->stop();
  co_await scope.join();
  loop_.on_turn_end({});
  co_return exit_code_;
}

net::Task<void> Host::receive_datagrams(std::shared_ptr<net::UdpSocket> socket) {
  for (;;) {
    const auto batch = co_await socket->receive();
    if (batch.empty()) co_return;  // stopped
    for (const net::Datagram& datagram : batch) on_datagram(datagram.from, datagram.data);
  }
}

net::Task<void> Host::wait_for_signals() {
  net::Signals signals(loop_, {SIGTERM, SIGINT, SIGHUP});
  int signal = co_await signals.next();
  for (; signal == SIGHUP; signal = co_await signals.next()) reload();
  manager_.stopping();
  daemon_log::info("stopping on signal {}", signal);
  stopping_ = true;
  guard_stop();
  if (node_.hand_over(loop_.now())) {
    const paxos::Time until = loop_.now() + std::min<std::chrono::nanoseconds>(2 * options_.config.election_timeout, hand_over_max);
    while (node_.is_leader() && loop_.now() < until) co_await loop_.sleep(std::chrono::milliseconds{5});
    daemon_log::info(
        "{}", node_.is_leader() ? "nobody took the leadership over in time" : "handed the leadership over");
  }
}

void Host::on_datagram(const net::Address& from, std::span<const std::byte> data) {
  if (faults_.drop()) {
    ++dropped_by_loss_;
    return;
  }
  received_.clear();
  transport_.receive(loop_.now(), from, data, received_);
  for (net::Received& r : received_) {
    // A replica that is paused is a hung process to its peers and clients. Operators still get an answer: who asks why it
    // takes no part must not be left to guess.
    if (!paused() || std::holds_alternative<chat::OperatorRequest>(r.body)) {
      on_body(std::move(r));
    } else if (socket_ && held_bytes_ + data.size() <= socket_->receive_buffer()) {
      held_bytes_ += data.size();
      held_.push_back(std::move(r));
    }
  }
}

void Host::resume() {
  pause_until_.reset();
  held_bytes_ = 0;
  for (Posted& work : std::exchange(held_work_, {})) work();
  for (net::Received& r : std::exchange(held_, {})) on_body(std::move(r));
}

void Host::on_body(net::Received received) {
  const paxos::Time now = loop_.now();
  if (received.outdated) {
    tell_outdated(received);
    return;
  }
  if (const auto* request = std::get_if<chat::OperatorRequest>(&received.body)) {
    on_operator(received.from, *request);
    return;
  }
  if (faults_.isolated(now)) {
    ++dropped_by_isolation_;
    return;
  }
  if (const auto* peer = std::get_if<paxos::PeerMessage>(&received.body)) {
    if (received.sender.sender >= book_.size()) {
      ++strays_;
      return;
    }
    book_.heard(now, received.sender.sender, received.from, received.sender, received.newest);
    if (const auto* reply = std::get_if<paxos::HeartbeatReply>(peer))
      round_trips_.answered(now, paxos::ReplicaId{received.sender.sender}, reply->nonce);
    flight_.received(now, paxos::ReplicaId{received.sender.sender}, *peer);
    node_.peer_message(now, paxos::ReplicaId{received.sender.sender}, received.sender.incarnation, *peer);
  } else if (const auto* client = std::get_if<chat::ClientMessage>(&received.body)) {
    if (const auto* commands = std::get_if<chat::ClientCommands>(client))
      flight_.commands_came(now, commands->commands.size());
    node_.client_message(now, client_address(received.from), *client);
  } else if (const auto* word = std::get_if<net::AddressWord>(&received.body)) {
    on_address_word(received, *word);
  } else {
    ++strays_;  // a reply: a replica is nobody's client
  }
}

void Host::notice_synced() {
  const std::uint64_t group = log_synced_;
  if (group <= synced_group_) return;
  synced_group_ = group;
  node_.synced(loop_.now(), group);
}

void Host::send_synced(const AfterSync::Packets& packets) {
  // What has no socket to leave by is lost, as datagrams are.
  const std::lock_guard lock(socket_mutex_);
  if (!socket_) return;
  for (const net::Outgoing& packet : packets) socket_->send_now(packet.to, packet.data, packet.segment);
}

/// Promises and votes are sealed now, by the loop, which owns the keys; they leave from the log thread as
/// soon as they are true after a restart, too.
void Host::hold_until_synced(std::uint64_t group, const std::vector<paxos::Envelope>& envelopes) {
  collect_packets();
  const std::size_t before = outgoing_.size();
  for (const paxos::Envelope& envelope : envelopes) send_peer(envelope);
  collect_packets();
  AfterSync::Packets packets(std::make_move_iterator(outgoing_.begin() + static_cast<std::ptrdiff_t>(before)),
                             std::make_move_iterator(outgoing_.end()));
  outgoing_.resize(before);
  packets = after_sync_.hold(group, std::move(packets));
  std::move(packets.begin(), packets.end(), std::back_inserter(outgoing_));  // the log thread was faster
}

void Host::end_turn() {
  const paxos::Time now = loop_.now();
  if (paused()) {
    // As a hung process: no timer runs, nothing is said, no sign of life is given; only operators get their answers.
    send_packets();
    wake_at(*pause_until_);
    return;
  }
  if (pause_until_) resume();
  notice_synced();
  const std::int64_t began = storage_->oldest_work_started_ns();
  const auto age = began == 0 ? std::int64_t{0} : now.time_since_epoch().count() - began;
  node_.set_sync_age(now, paxos::Duration{std::max<std::int64_t>(age, 0)});
  hold_while_behind(now);
  if (node_.deadline() <= now) node_.tick(now);
  if (transport_.deadline() <= now) transport_.tick(now);
  flight_.take_syncs();
  carry_out(node_.turn(now, wall_ms()));
  watch_vitals(now);
  tell_paths();
  finish_skips();
  if (now >= book_at_ || book_.revision() != book_revision_) carry_addresses(now);
  send_packets();
  // In this order, as the log thread does it in the other: one of the two sees what the other wrote.
  waits_for_sync_ = node_.waits_for_sync();
  if (waits_for_sync_ && log_synced_ > synced_group_) mailbox_.push([] {});
  report(now);
  wake_at(std::min({node_.deadline(), transport_.deadline(), alive_at_, std::max(book_.deadline(), book_at_)}));
  turns_.add(std::chrono::steady_clock::now().time_since_epoch().count() - now.time_since_epoch().count());
}

/// Rows that the state thread can't get rid of stay in memory: above a bound nothing more is applied, and the
/// window closes by itself.
void Host::hold_while_behind(paxos::Time now) {
  const std::size_t backlog = storage_->state_backlog_bytes();
  const bool hold = applying_held_ ? backlog > state_backlog_max / 2 : backlog > state_backlog_max;
  if (hold == applying_held_) return;
  applying_held_ = hold;
  node_.hold_applying(now, hold);
  if (hold)
    daemon_log::warning("the state's disk does not keep up: {} MiB of rows wait; nothing more is applied until half of them "
                        "are written", backlog >> 20);
  else
    daemon_log::info("the state's disk has caught up; applying goes on");
}

void Host::carry_out(chat::NodeOutput out) {
  // What goes to the others first: their syncs begin later than ours by the way there, and wait for it.
  for (const paxos::Envelope& envelope : out.send_now) {
    send_peer(envelope);
  }
  if (!out.groups.empty() && !out.send_now.empty()) {
    send_packets();
    loop_.submit();
  }
  flight_.effects(loop_.now(), out, synced_group_);
  flight_.standing(loop_.now(), node_.chosen(), node_.chosen_max());
  for (const chat::StateWrite& write : out.state) flight_.applied(loop_.now(), write.slot);
  for (chat::GroupWrite& group : out.groups) {
    if (group.group <= synced_group_) {
      for (const paxos::Envelope& envelope : group.send_after_sync) send_peer(envelope);
    } else if (!group.send_after_sync.empty()) {
      hold_until_synced(group.group, group.send_after_sync);
    }
    if (!group.records.empty()) storage_->append(group.group, std::move(group.records));
  }
  if (!faults_.isolated(loop_.now()))
    for (chat::Reply& reply : out.replies)
      transport_.send(loop_.now(), socket_address(reply.to), net::Body{std::move(reply.message)});
  for (chat::StateWrite& write : out.state) storage_->write_state(write.slot, std::move(write.rows));
  for (chat::HistoryWish& wish : out.history) read_history(std::move(wish));
  for (const paxos::LogReadWish& wish : out.log_reads) read_log(wish);
  for (const paxos::Duration& commit : out.commits) commits_.add(commit.count());
  for (const paxos::Event& event : out.events) daemon_log::tell(event);
  transport_.speak(chat::formats_of(node_.machine().rules()).datagrams);
  transport_.serve_clients_from(chat::formats_of(node_.machine().rules()).clients);
  if (!out.stop.empty()) {
    daemon_log::error("this replica stops: {}", out.stop);
    daemon_log::exit_now(1);
  }
}

void Host::send_peer(const paxos::Envelope& envelope) {
  const paxos::Time now = loop_.now();
  if (faults_.isolated(now)) return;
  if (const auto* request = std::get_if<paxos::HeartbeatRequest>(&envelope.message)) round_trips_.asked(now, request->nonce);
  if (!envelope.to) {
    for (std::size_t id = 0; id < book_.size(); ++id) book_.sent(now, id);
    transport_.broadcast(now, peers_, net::Body{envelope.message});
  } else {
    book_.sent(now, envelope.to->n);
    if (const net::Address& to = book_.at(envelope.to->n); !to.empty()) transport_.send(now, to, net::Body{envelope.message});
  }
}

void Host::collect_packets() {
  for (const net::Refusal& refusal : socket_ ? socket_->take_refusals() : std::vector<net::Refusal>{}) {
    last_refusal_ = refusal;
    transport_.refused(loop_.now(), refusal);
  }
  transport_.flush(loop_.now());
  for (net::Outgoing& packet : transport_.take_outgoing()) outgoing_.push_back(std::move(packet));
}

void Host::send_packets() {
  collect_packets();
  if (socket_)
    for (net::Outgoing& packet : outgoing_) socket_->send(packet.to, std::move(packet.data), packet.segment);
  outgoing_.clear();
}

void Host::wake_at(paxos::Time at) {
  if (at == timer_at_) return;
  loop_.cancel_timer(timer_);
  timer_at_ = at;
  if (at != paxos::time_never) timer_ = loop_.add_timer(at, [this] { timer_at_ = paxos::time_never; });
}

void Host::read_history(chat::HistoryWish wish) {
  const auto answer = [this, token = wish.token](tl::expected<chat::Page, std::string> page) {
    mailbox_.push([this, token, page = std::move(page)]() mutable { node_.history_read(loop_.now(), token, std::move(page)); });
  };
  storage_->read([wish = std::move(wish), answer](const storage::Storage::Reader& reader) {
                   answer(chat::read_page(reader.rows, wish));
                 },
                 [answer](const std::string&) { answer(tl::make_unexpected(std::string("a record on its disk is damaged"))); });
}

void Host::read_log(paxos::LogReadWish wish) {
  storage_->read([this, wish](const storage::Storage::Reader& reader) {
    auto entries = reader.log(wish.from, wish.last, paxos::limits::page_bytes_max);
    mailbox_.push([this, wish, entries = std::move(entries)] {
      std::vector<paxos::ChosenDecree> decrees;
      if (entries) {  // else on_damage() has heard of it
        for (const paxos::LogEntry& entry : *entries) {
          // Only an unbroken run from the wished slot on is an answer.
          if (entry.slot != wish.from + decrees.size() || decrees.size() == paxos::limits::page_entries_max)
            break;
          decrees.push_back({entry.slot, entry.ballot, entry.decree});
        }
      }
      node_.log_read(loop_.now(), wish, std::move(decrees));
    });
  });
}

}  // namespace paxosd
