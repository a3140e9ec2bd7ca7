#include "daemon/host.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
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
          .founds = o.config.replicas.size() % 2 == 1,
          .ids = paxos::limits::replicas_max,
          .heartbeat = o.config.heartbeat,
          .election_timeout = o.config.election_timeout,
          .rules = o.rules_known,
          .seed = o.seed};
}

}  // namespace

std::optional<paxos::TrimSlack> slack_of(const config::ClusterConfig& config) {
  const paxos::TrimSlack slack{.slots = config.log_keep_slots, .bytes = config.log_keep_mib << 20};
  return slack.unbounded() ? std::nullopt : std::optional(slack);
}

namespace {

net::AddressBook::Options book_options(const Host::Options& o) {
  net::AddressBook::Options out{
      .names = {}, .literals = {}, .self = o.self.n, .probes = true, .seed = o.seed};
  for (const config::ReplicaConfig& r : o.config.replicas) {
    out.names.push_back(r.id == o.self && !r.listen.empty() ? r.listen : r.address);
    out.literals.push_back(net::Address::literal(out.names.back()));
  }
  // Members that are added later.
  out.names.resize(paxos::limits::replicas_max);
  out.literals.resize(paxos::limits::replicas_max);
  return out;
}

/// Incarnation, life, role and id of the key, length of the address.
constexpr std::size_t address_begin = sizeof(paxos::Incarnation::bytes) + 8 + 1 + 4 + 1;

/// Which program, under which key, and where: whoever gets an address later is another client.
chat::ClientAddress client_address(const net::Address& address, const net::Identity& who) {
  chat::ClientAddress out;
  const auto bytes = address.bytes();
  static_assert(sizeof(out.bytes) >= net::Address::bytes_max + address_begin);
  auto* at = std::copy(who.incarnation.bytes.begin(), who.incarnation.bytes.end(), out.bytes.begin());
  for (unsigned i = 0; i < 8; ++i) *at++ = static_cast<std::uint8_t>(who.life >> (8 * i));
  *at++ = static_cast<std::uint8_t>(who.whose.role);
  for (unsigned i = 0; i < 4; ++i) *at++ = static_cast<std::uint8_t>(who.whose.id >> (8 * i));
  *at++ = static_cast<std::uint8_t>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), at);
  return out;
}

/// That of its rules; and the one that has lives where one was heard: the rules were raised then, even if the
/// state that is here has not come to that yet, and the others count nothing that names none.
std::uint8_t spoken_at_start(const storage::Storage::Opened& opened) {
  const std::uint8_t by_rules = chat::formats_of(opened.machine.rules()).datagrams;
  return opened.recovered.peers.empty() ? by_rules : std::max(by_rules, net::format_named);
}

net::Address socket_address(const chat::ClientAddress& address) {
  return net::Address::from_bytes({address.bytes.data() + address_begin, address.bytes[address_begin - 1]});
}

net::Identity client_of(const chat::ClientAddress& address) {
  net::Identity who;
  const auto* at = address.bytes.data();
  std::copy_n(at, who.incarnation.bytes.size(), who.incarnation.bytes.begin());
  at += who.incarnation.bytes.size();
  for (unsigned i = 0; i < 8; ++i) who.life |= std::uint64_t{*at++} << (8 * i);
  who.whose.role = static_cast<chat::Role>(*at++);
  for (unsigned i = 0; i < 4; ++i) who.whose.id |= std::uint32_t{*at++} << (8 * i);
  return who;
}

}  // namespace

Host::Addresses::Addresses(net::Loop& loop, const Options& options)
    : resolver(loop), book(book_options(options), loop.now()) {}

Host::Host(net::Loop& loop, Options options, storage::Storage::Opened opened)
    : loop_(loop),
      options_(std::move(options)),
      self_{.id = options_.self,
            .incarnation = opened.recovered.incarnation,
            .boot = opened.recovered.boot,
            .started = loop.now()},
      storage_(std::move(opened.storage)),
      addresses_(loop, options_),
      changed_(loop),
      transport_(net::Transport::Options{.self = {.sender = self_.id.n,
                                                  .incarnation = self_.incarnation,
                                                  .boot = self_.boot,
                                                  .life = options_.life},
                                         .key = options_.secrets.good.front(),
                                         .tickets = options_.tickets,
                                         .datagram_bytes = options_.config.datagram_bytes,
                                         .loopback_bytes = net::loopback_datagram_bytes,
                                         .version_max = chat::formats_of(options_.rules_known).datagrams,
                                         .speaks = spoken_at_start(opened)}),
      node_(core_options(options_), opened.recovered, std::move(opened.machine), loop.now()),
      mailbox_(loop),
      faults_(options_.config.loss, options_.seed),
      syncs_(opened.recovered.last_group),
      alarm_(loop),
      supervision_(self_.id, options_.config.election_timeout),
      vitals_(loop.now()),
      key_watch_(options_.secrets.good.back().bytes(), options_.config.key_file),
      secrets_(options_.secrets),
      snapshots_({.self = self_.id,
                  .replicas = options_.config.replicas.size(),
                  .seed = options_.seed,
                  .bytes_per_second = options_.config.snapshot_bytes_per_second},
                 opened.recovered, storage_->snapshots(), snapshot_hooks(), loop.now()) {
  for (const net::Secret& secret : secrets_.file.good) transport_.add_secret(secret);
  follow_secrets();
  begin_addresses();
  if (const storage::SpaceFigures space = storage_->space(); space.room != paxos::DiskRoom::enough)
    on_room(space);
  // Whoever pulls it goes on, and needs what comes behind it.
  if (const auto& served = storage_->snapshots().found_served())
    node_.hold_log(loop.now(), self_.id, served->id.slot + 1, loop.now() + std::chrono::seconds{10});
  node_.set_slack(loop.now(), slack_of(options_.config));
  transport_.serve_clients_from(chat::formats_of(node_.machine().rules()).clients);
  flight_.started(loop.now(), opened.recovered.promised, node_.chosen(), opened.recovered.applied);
  prepare_flight_recorder();
  repairs_.found(opened.has_put_aside, std::max(opened.recovered.chosen_prefix, opened.recovered.redo_to));
  scrub_.begin(loop.now(), since_last_scrub(options_.directory), options_.config.scrub_every);
}

// The storage threads call back into this object until they are joined, and so does the metrics' thread.
Host::~Host() {
  metrics_.server.reset();
  storage_.reset();
}

net::Task<int> Host::run() {
  mailbox_.on_receive([this](Posted& work) {
    if (pause_.lasts(loop_.now()))
      pause_.hold(std::move(work));
    else
      work();
  });
  storage_->start(
      {.synced =
           [this](std::uint64_t group) {
             // From here at once: waking the loop first would cost the leader a wake-up more.
             outlet_.send_now(syncs_.release(group));
             flight_.synced_from_log_thread(group);
             // A follower has said all by its vote: it hears of the sync when something else
             // wakes it.
             if (syncs_.note(group)) mailbox_.push([] {});
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
           },
       .state_durable =
           [this](paxos::Slot slot) {
             mailbox_.push([this, slot] { node_.state_durable(loop_.now(), slot); });
           },
       .room =
           [this](const storage::SpaceFigures& space) { mailbox_.push([this, space] { on_room(space); }); }});
  snapshots_.start();
  supervision_.begin(loop_.now());
  loop_.on_turn_end([this] { end_turn(); });
  net::Scope scope(loop_);
  scope.spawn(keep_socket(scope));
  scope.spawn(keep_metrics());
  co_await wait_for_signals();
  end_.reached = true;
  changed_.notify();
  if (outlet_) outlet_->stop();
  co_await scope.join();
  loop_.on_turn_end({});
  co_return end_.exit_code;
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
  signals_ = &signals;
  int signal = co_await signals.next();
  for (; signal == SIGHUP; signal = co_await signals.next()) reload();
  signals_ = nullptr;
  if (signal == 0) co_return;  // it begins anew, with another state
  supervision_.stopping();
  daemon_log::info("stopping on signal {}", signal);
  guard_stop();
  if (node_.hand_over(loop_.now())) {
    const paxos::Time until =
        loop_.now() + std::min<std::chrono::nanoseconds>(2 * options_.config.election_timeout, hand_over_max);
    while (node_.is_leader() && loop_.now() < until) co_await loop_.sleep(std::chrono::milliseconds{5});
    daemon_log::info(
        "{}", node_.is_leader() ? "nobody took the leadership over in time" : "handed the leadership over");
  }
}

void Host::on_datagram(const net::Address& from, std::span<const std::byte> data) {
  if (faults_.drop()) return;
  received_.clear();
  transport_.receive(loop_.now(), from, data, received_);
  for (net::Received& r : received_) {
    // A replica that is paused is a hung process to its peers and clients. Operators still get an answer: who
    // asks why it takes no part must not be left to guess.
    if (!pause_.lasts(loop_.now()) || std::holds_alternative<chat::OperatorRequest>(r.body))
      on_body(std::move(r));
    else if (outlet_)
      pause_.hold(std::move(r), data.size(), outlet_->receive_buffer());
  }
}

void Host::resume() {
  Pause::Held held = pause_.end();
  for (Posted& work : held.work) work();
  for (net::Received& r : held.received) on_body(std::move(r));
}

void Host::on_body(net::Received received) {
  const paxos::Time now = loop_.now();
  note_key_use(received);
  if (received.outdated) {
    tell_outdated(received);
    return;
  }
  if (const auto* request = std::get_if<chat::OperatorRequest>(&received.body)) {
    on_operator(received, *request);
    return;
  }
  if (faults_.drop_isolated(now)) return;
  if (const auto* peer = std::get_if<paxos::PeerMessage>(&received.body)) {
    if (received.sender.sender >= addresses_.book.size()) {
      ++strays_;
      return;
    }
    const paxos::ReplicaId from{received.sender.sender};
    const paxos::Origin origin(received.sender.incarnation, received.sender.boot, received.sender.life);
    if (const auto word = node_.outdated(from, origin)) {
      // Nothing that it says counts, nor where it says it.
      transport_.disown(received.sender);
      if (std::holds_alternative<paxos::HeartbeatRequest>(*peer)) transport_.answer(received, *word);
      return;
    }
    // The later boot that was heard of may be the copy, and this one the right directory.
    if (received.stale) return transport_.readmit(received.sender);
    addresses_.book.heard(now, received.sender.sender, received.from, received.sender, received.newest);
    if (const auto* reply = std::get_if<paxos::HeartbeatReply>(peer))
      round_trips_.answered(now, from, reply->nonce);
    flight_.received(now, from, *peer);
    node_.peer_message(now, from, origin, *peer);
    if (std::holds_alternative<paxos::Introduction>(*peer))
      if (const auto word = node_.outdated(from, origin)) {
        transport_.disown(received.sender);
        transport_.answer(received, *word);
      }
  } else if (const auto* client = std::get_if<chat::ClientMessage>(&received.body)) {
    if (const auto* commands = std::get_if<chat::ClientCommands>(client))
      flight_.commands_came(now, commands->commands.size());
    node_.client_message(now, client_address(received.from, received.sender), received.sender.whose, *client);
  } else if (const auto* word = std::get_if<net::AddressWord>(&received.body)) {
    on_address_word(received, *word);
  } else if (const auto* snapshot = std::get_if<chat::SnapshotWord>(&received.body)) {
    if (received.sender.sender < addresses_.book.size())
      snapshots_.message(now, paxos::ReplicaId{received.sender.sender}, *snapshot);
    else
      ++strays_;
  } else {
    ++strays_;  // a reply: a replica is nobody's client
  }
}

void Host::notice_synced() {
  if (const auto group = syncs_.news()) node_.synced(loop_.now(), *group);
}

/// Promises and votes are sealed now, by the loop, which owns the keys; they leave from the log thread as
/// soon as they are true after a restart, too.
void Host::hold_until_synced(std::uint64_t group, const std::vector<paxos::Envelope>& envelopes) {
  collect_packets();
  const std::size_t before = outlet_.size();
  for (const paxos::Envelope& envelope : envelopes) send_peer(envelope);
  collect_packets();
  outlet_.add(syncs_.hold(group, outlet_.take_behind(before)));  // those for which the log thread was faster
}

void Host::end_turn() {
  const paxos::Time now = loop_.now();
  if (pause_.lasts(now)) {
    // As a hung process: no timer runs, nothing is said, no sign of life is given; only operators get their
    // answers.
    send_packets();
    alarm_.set(*pause_.until());
    return;
  }
  if (pause_.until()) resume();
  notice_synced();
  node_.set_sync_age(now, unfinished(now));
  hold_while_behind(now);
  if (node_.deadline() <= now) node_.tick(now);
  if (transport_.deadline() <= now) transport_.tick(now);
  flight_.take_syncs();
  carry_out(node_.turn(now, wall_ms()));
  const chat::Standing& standing = node_.last_standing();
  vitals_.standing(now, standing.quorum_connected,
                   node_.is_leader() ? std::optional(self_.id) : standing.leader, standing.missing);
  tell_paths();
  finish_skips();
  snapshots_.turn(now, node_.machine().applied());
  follow_members();
  if (now >= addresses_.look_at || addresses_.book.revision() != addresses_.revision) carry_addresses(now);
  send_packets();
  if (syncs_.await(node_.waits_for_sync())) mailbox_.push([] {});
  report(now);
  leave_when_removed(now);
  alarm_.set(std::min({node_.deadline(), transport_.deadline(), supervision_.deadline(),
                       snapshots_.deadline(), std::max(addresses_.book.deadline(), addresses_.look_at),
                       end_.at && *end_.at > now ? *end_.at : paxos::time_never}));
  latencies_.turns.add(std::chrono::steady_clock::now().time_since_epoch().count() -
                       now.time_since_epoch().count());
}

paxos::Duration Host::unfinished(paxos::Time now) const {
  const std::int64_t began = storage_->oldest_work_started_ns();
  return paxos::Duration{began == 0 ? 0 : std::max<std::int64_t>(now.time_since_epoch().count() - began, 0)};
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
    daemon_log::warning(
        "the state's disk does not keep up: {} MiB of rows wait; nothing more is applied until half of them "
        "are written",
        backlog >> 20);
  else
    daemon_log::info("the state's disk has caught up; applying goes on");
}

void Host::on_room(const storage::SpaceFigures& space) {
  const auto mib = [](std::uint64_t bytes) { return bytes >> 20; };
  if (space.room == paxos::DiskRoom::enough)
    daemon_log::info(
        "the disk of {} has room again: {} MiB are free beside the reserve; this replica votes again",
        options_.directory.string(), mib(space.free));
  else
    daemon_log::warning(
        "the disk of {} is full: {} MiB are free, and {} MiB in the reserve's file. This replica votes for "
        "nothing "
        "new until there is room for the reserve of {} MiB and half of it more{}: make room, or give the "
        "file system "
        "more",
        options_.directory.string(), mib(space.free), mib(space.held), mib(space.reserve),
        space.room == paxos::DiskRoom::none ? "; most of the reserve is used up" : "");
  node_.set_room(loop_.now(), space.room);
  snapshots_.hold_pulling(space.room != paxos::DiskRoom::enough);
}

void Host::carry_out(chat::NodeOutput out) {
  // Rules that were raised in this turn first: what is sent in it may need their format.
  transport_.speak(chat::formats_of(node_.machine().rules()).datagrams);
  transport_.serve_clients_from(chat::formats_of(node_.machine().rules()).clients);
  follow_secrets();
  // What goes to the others first: their syncs begin later than ours by the way there, and wait for it.
  for (const paxos::Envelope& envelope : out.send_now) {
    send_peer(envelope);
  }
  if (!out.groups.empty() && !out.send_now.empty()) {
    send_packets();
    loop_.submit();
  }
  flight_.effects(loop_.now(), out, syncs_.told());
  flight_.standing(loop_.now(), node_.chosen(), node_.chosen_max());
  for (const chat::StateWrite& write : out.state) flight_.applied(loop_.now(), write.slot);
  for (chat::GroupWrite& group : out.groups) {
    if (group.group <= syncs_.told()) {
      for (const paxos::Envelope& envelope : group.send_after_sync) send_peer(envelope);
    } else if (!group.send_after_sync.empty()) {
      hold_until_synced(group.group, group.send_after_sync);
    }
    if (!group.records.empty()) storage_->append(group.group, std::move(group.records));
  }
  if (!faults_.isolated(loop_.now()))
    for (chat::Reply& reply : out.replies)
      if (const net::Address at = socket_address(reply.to);
          !transport_.taken_by_another(at, client_of(reply.to)))
        transport_.send(loop_.now(), at, net::Body{std::move(reply.message)});
  for (chat::StateWrite& write : out.state) storage_->write_state(write.slot, std::move(write.rows));
  for (chat::HistoryWish& wish : out.history) read_history(std::move(wish));
  for (const paxos::LogReadWish& wish : out.log_reads) read_log(wish);
  if (out.hashes_below) storage_->drop_hashes(*out.hashes_below);
  for (chat::MessageName& room : out.forget) storage_->forget_messages(std::move(room));
  carry_out_redactions(out);
  if (out.snapshot_wanted) snapshots_.want(loop_.now(), *out.snapshot_wanted);
  for (const paxos::Duration& commit : out.commits) latencies_.commits.add(commit.count());
  for (const paxos::Event& event : out.events) daemon_log::tell(event);
  if (!out.stop.empty()) {
    daemon_log::error("this replica stops: {}", out.stop);
    daemon_log::exit_now(1);
  }
}

void Host::send_peer(const paxos::Envelope& envelope) {
  const paxos::Time now = loop_.now();
  if (faults_.isolated(now)) return;
  if (const auto* request = std::get_if<paxos::HeartbeatRequest>(&envelope.message))
    round_trips_.asked(now, request->nonce);
  if (!envelope.to) {
    for (std::size_t id = 0; id < addresses_.book.size(); ++id) addresses_.book.sent(now, id);
    transport_.broadcast(now, addresses_.peers, net::Body{envelope.message});
  } else {
    addresses_.book.sent(now, envelope.to->n);
    if (const net::Address& to = addresses_.book.at(envelope.to->n); !to.empty())
      transport_.send(now, to, net::Body{envelope.message});
  }
}

void Host::collect_packets() {
  for (const net::Refusal& refusal : outlet_ ? outlet_->take_refusals() : std::vector<net::Refusal>{}) {
    send_failures_.note(refusal);
    transport_.refused(loop_.now(), refusal);
  }
  transport_.flush(loop_.now());
  outlet_.add(transport_.take_outgoing());
}

void Host::send_packets() {
  collect_packets();
  outlet_.send();
}

void Host::read_history(chat::HistoryWish wish) {
  const auto answer = [this, token = wish.token](tl::expected<chat::Page, std::string> page) {
    mailbox_.push([this, token, page = std::move(page)]() mutable {
      node_.history_read(loop_.now(), token, std::move(page));
    });
  };
  storage_->read([wish = std::move(wish), answer](
                     const storage::Storage::Reader& reader) { answer(chat::read_page(reader.rows, wish)); },
                 [answer](const std::string&) {
                   answer(tl::make_unexpected(std::string("a record on its disk is damaged")));
                 });
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
