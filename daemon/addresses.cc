#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <utility>

#include "daemon/host.h"
#include "daemon/log.h"

/// The own address, which may come late, and where the others are. What is decided is decided by
/// net::AddressBook.
namespace paxosd {

namespace {

/// The ring of a process that was killed lets go of its socket only a moment after the process is gone:
/// nothing to say yet.
constexpr paxos::Duration predecessor_max = std::chrono::seconds{3};
constexpr paxos::Duration predecessor_pause = std::chrono::milliseconds{20};
constexpr paxos::Duration listen_pause = std::chrono::milliseconds{200};
constexpr paxos::Duration metrics_pause = std::chrono::seconds{2};
constexpr paxos::Duration told_again = std::chrono::minutes{1};
constexpr paxos::Duration book_pause = std::chrono::milliseconds{250};

}  // namespace

const std::string& Host::own_address() const {
  const config::ReplicaConfig& self = options_.config.replicas[self_.id.n];
  return self.listen.empty() ? self.address : self.listen;
}

std::string Host::name_of(std::size_t id) const {
  if (id == self_.id.n) return own_address();
  const paxos::Configuration& members = node_.configuration();
  const paxos::ReplicaId replica{static_cast<std::uint8_t>(id)};
  // Who is none any more may have left its address to another one.
  if (!members.members.empty() && !members.holds(replica)) return {};
  if (members.holds(replica) && !members.find(replica)->address.empty())
    return members.find(replica)->address;
  return id < options_.config.replicas.size() ? options_.config.replicas[id].address : std::string();
}

void Host::follow_members() {
  if (std::exchange(addresses_.configuration, node_.configuration().number) == node_.configuration().number)
    return;
  for (std::size_t id = 0; id < addresses_.book.size(); ++id)
    if (id != self_.id.n) addresses_.book.rename(loop_.now(), id, name_of(id));
  addresses_.look_at = {};
}

void Host::begin_addresses() {
  follow_members();
  auto read = read_address_file(options_.directory);
  if (!read) {
    daemon_log::warning("{}: what it remembers of the others' addresses is not used", read.error());
  } else {
    // A name that stands in the config no more has nothing to remember.
    std::erase_if(*read, [&](const auto& one) {
      return one.id >= addresses_.book.size() || one.name != name_of(one.id);
    });
    for (const auto& one : *read) addresses_.book.remember(one.id, one.address);
    addresses_.saved = std::move(*read);
  }
  addresses_.resolver.on_answer([this](std::size_t number, net::Resolver::Answer& answer) {
    if (number < addresses_.book.size()) {
      addresses_.book.looked_up(loop_.now(), number, std::move(answer));
      if (number == self_.id.n) changed_.notify();
      addresses_.look_at = {};
      return;
    }
    if (answer)
      metrics_.addresses = std::move(*answer);
    else
      metrics_.fault = answer.error();
    changed_.notify();
  });
  follow_book();
}

void Host::follow_book() {
  if (addresses_.revision == addresses_.book.revision()) return;
  addresses_.revision = addresses_.book.revision();
  transport_.set_owners(addresses_.book.owners());
  addresses_.peers.clear();
  for (std::size_t id = 0; id < addresses_.book.size(); ++id)
    if (id != self_.id.n && !addresses_.book.at(id).empty())
      addresses_.peers.push_back(addresses_.book.at(id));
}

void Host::carry_addresses(paxos::Time now) {
  addresses_.look_at = now + book_pause;
  if (outlet_ && listening_.fault.empty()) addresses_.book.listens(now, outlet_->local_address());
  addresses_.book.tick(now);
  for (const std::size_t id : addresses_.book.take_lookups(now)) addresses_.resolver.look_up(id, name_of(id));
  follow_book();
  const auto probes = addresses_.book.take_probes(now);
  follow_book();
  if (!faults_.isolated(now))
    for (const auto& probe : probes)
      transport_.send(now, probe.to, net::Body{net::AddressWord{net::AddressProbe{probe.nonce}}});
  for (const auto& event : addresses_.book.take_events()) tell(event);
  save_addresses();
}

void Host::tell(const net::AddressBook::Event& event) {
  using Kind = net::AddressBook::Event::Kind;
  const std::string who = event.id == self_.id.n ? std::string("this replica's own address")
                                                 : fmt::format("replica {}", event.id);
  switch (event.kind) {
    case Kind::unresolved:
      daemon_log::warning("{}: {}; {}it is looked up again and again", who, event.text,
                          event.to.empty() ? std::string()
                                           : fmt::format("the last address that is known, {}, is used, and ",
                                                         event.to.to_string()));
      return;
    case Kind::resolved:
      daemon_log::info("{}: its name resolves now: {}", who, event.to.to_string());
      return;
    case Kind::moved:
      daemon_log::write(
          daemon_log::Level::info, {.event = "moved", .ballot = {}, .slot = {}},
          fmt::format("{} answers from {} now{}", who, event.to.to_string(),
                      event.from.empty() ? std::string() : ", and no more from " + event.from.to_string()));
      return;
    case Kind::tried:
      daemon_log::debug("{} is not heard at {}: {} is tried", who, event.from.to_string(),
                        event.to.to_string());
  }
}

void Host::on_address_word(const net::Received& received, const net::AddressWord& word) {
  const paxos::Time now = loop_.now();
  const std::size_t id = received.sender.sender;
  if (id >= addresses_.book.size()) return;
  addresses_.book.heard(now, id, received.from, received.sender, received.newest);
  if (const auto* proof = std::get_if<net::AddressProof>(&word)) {
    addresses_.book.proved(now, id, received.from, received.sender, proof->nonce);
    return;
  }
  follow_book();  // so that the answer names whom it is for
  transport_.send(now, received.from,
                  net::Body{net::AddressWord{net::AddressProof{std::get<net::AddressProbe>(word).nonce}}});
}

void Host::save_addresses() {
  if (addresses_.saving) return;
  RememberedAddresses fresh = addresses_.book.worth_remembering();
  if (fresh == addresses_.saved) return;
  addresses_.saving = true;
  addresses_.saved = fresh;
  // On the state thread: a disk may take its time.
  storage_->read(
      [this, directory = options_.directory, fresh = std::move(fresh)](const storage::Storage::Reader&) {
        mailbox_.push([this, why = write_address_file(directory, fresh)] {
          addresses_.saving = false;
          if (!why.empty()) daemon_log::warning("the others' addresses are not remembered: {}", why);
        });
      });
}

void Host::listen_failed(std::string why, bool ready, bool loud) {
  const paxos::Time now = loop_.now();
  if (listening_.fault != why || now >= listening_.told) {
    if (loud)
      daemon_log::error("{}; it is tried again and again, and this replica takes no part until then", why);
    else
      daemon_log::warning("{}; it is waited for", why);
    listening_.told = now + told_again;
    supervision_.show_soon();
  }
  listening_.fault = std::move(why);
  if (ready) supervision_.ready();
}

net::Task<void> Host::keep_socket(net::Scope& scope) {
  const paxos::Time began = loop_.now();
  listening_.fault = fmt::format("for its address, {}", own_address());
  while (!end_.reached) {
    // What is remembered is bound while the name server says nothing; a name that points elsewhere later has
    // another one opened.
    const auto known = addresses_.book.known(self_.id.n).empty() ? addresses_.book.own_choices()
                                                                 : addresses_.book.known(self_.id.n);
    const bool here =
        outlet_ && (known.empty() || std::any_of(known.begin(), known.end(), [this](const net::Address& a) {
                      const net::Address local = outlet_->local_address();
                      return a == local || a.is_any();
                    }));
    if (here) {
      listening_.fault.clear();
      (void)co_await changed_.wait();
      continue;
    }
    paxos::Duration pause = listen_pause;
    std::shared_ptr<net::UdpSocket> opened;
    std::optional<net::UdpSocket::Refused> refused;
    for (const net::Address& local : known) {
      auto one = net::UdpSocket::try_open(loop_, local, {});
      if (one) {
        opened = std::make_shared<net::UdpSocket>(std::move(*one));
        break;
      }
      if (!refused || refused->error == EADDRNOTAVAIL) refused = std::move(one.error());
    }
    if (opened) {
      if (const auto before = outlet_.change(std::move(opened)))
        before->stop();  // its own task lets go of it
      scope.spawn(receive_datagrams(outlet_.socket()));
      daemon_log::info("listens on {}", outlet_->local_address().to_string());
      listening_.fault.clear();
      supervision_.show_soon();
      supervision_.ready();
      continue;
    }
    if (!refused) {
      // Its name is being looked up, or gave nothing.
      if (!addresses_.book.fault(self_.id.n).empty())
        listen_failed(addresses_.book.fault(self_.id.n), true, false);
    } else if (!refused->may_pass()) {
      daemon_log::error("{}", refused->sentence);
      end_.exit_code = 1;
      ::kill(::getpid(), SIGTERM);
      co_return;
    } else if (refused->error == EADDRNOTAVAIL) {
      // As a cable that is not plugged in: the replica is ready, the network is not.
      listen_failed(refused->sentence, true, false);
    } else if (loop_.now() - began < predecessor_max) {
      pause = predecessor_pause;
    } else {
      // Somebody's mistake. Whoever waits for this start is not told that it went well.
      listen_failed(refused->sentence, false, true);
    }
    (void)co_await changed_.wait_until(loop_.now() + pause);
  }
}

net::Task<void> Host::keep_metrics() {
  const std::string& where = options_.config.replicas[self_.id.n].metrics;
  if (where.empty()) co_return;
  if (const auto literal = net::Address::literal(where)) metrics_.addresses = {*literal};
  paxos::Time told{};
  while (!end_.reached) {
    if (metrics_.addresses.empty()) addresses_.resolver.look_up(addresses_.book.size(), where);
    for (const net::Address& local : metrics_.addresses) {
      auto listening = MetricsServer::open(local);
      if (listening) {
        metrics_.server = std::move(*listening);
        metrics_.fault.clear();
        serve_metrics();
        daemon_log::info("metrics on http://{}/metrics", metrics_.server->local_address().to_string());
        co_return;
      }
      metrics_.fault = listening.error();
    }
    if (!metrics_.fault.empty() && loop_.now() >= told) {
      daemon_log::warning("{}; this replica goes on without, and tries again", metrics_.fault);
      told = loop_.now() + told_again;
    }
    (void)co_await changed_.wait_until(loop_.now() + metrics_pause);
  }
}

}  // namespace paxosd
