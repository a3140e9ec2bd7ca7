#include <algorithm>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <unistd.h>
#include <utility>

#include "daemon/host.h"
#include "daemon/log.h"

/// The own address, which may come late, and where the others are. What is decided is decided by net::AddressBook.
namespace paxosd {

namespace {

/// The ring of a process that was killed lets go of its socket only a moment after the process is gone: nothing to say yet.
constexpr paxos::Duration predecessor_max = std::chrono::seconds{3};
constexpr paxos::Duration predecessor_pause = std::chrono::milliseconds{20};
constexpr paxos::Duration listen_pause = std::chrono::milliseconds{200};
constexpr paxos::Duration metrics_pause = std::chrono::seconds{2};
constexpr paxos::Duration told_again = std::chrono::minutes{1};
constexpr paxos::Duration book_pause = std::chrono::milliseconds{250};

}  // namespace

const std::string& Host::own_address() const {
  const config::ReplicaConfig& self = options_.config.replicas[options_.self.n];
  return self.listen.empty() ? self.address : self.listen;
}

void Host::begin_addresses() {
  auto read = read_address_file(options_.directory);
  if (!read) {
    daemon_log::warning("{}: what it remembers of the others' addresses is not used", read.error());
  } else {
    // A name that stands in the config no more has nothing to remember.
    std::erase_if(*read, [&](const auto& one) {
      return one.id >= book_.size() || one.name != (one.id == options_.self.n ? own_address() : options_.config.replicas[one.id].address);
    });
    for (const auto& one : *read) book_.remember(one.id, one.address);
    saved_ = std::move(*read);
  }
  resolver_.on_answer([this](std::size_t number, net::Resolver::Answer& answer) {
    if (number < book_.size()) {
      book_.looked_up(loop_.now(), number, std::move(answer));
      if (number == options_.self.n) changed_.notify();
      book_at_ = {};
      return;
    }
    if (answer)
      metrics_addresses_ = std::move(*answer);
    else
      metrics_fault_ = answer.error();
    changed_.notify();
  });
  follow_book();
}

void Host::follow_book() {
  if (book_revision_ == book_.revision()) return;
  book_revision_ = book_.revision();
  transport_.set_owners(book_.owners());
  peers_.clear();
  for (std::size_t id = 0; id < book_.size(); ++id)
    if (id != options_.self.n && !book_.at(id).empty()) peers_.push_back(book_.at(id));
}

void Host::carry_addresses(paxos::Time now) {
  book_at_ = now + book_pause;
  if (socket_ && listen_fault_.empty()) book_.listens(now, socket_->local_address());
  book_.tick(now);
  for (const std::size_t id : book_.take_lookups(now))
    resolver_.look_up(id, id == options_.self.n ? own_address() : options_.config.replicas[id].address);
  follow_book();
  const auto probes = book_.take_probes(now);
  follow_book();
  if (!faults_.isolated(now))
    for (const auto& probe : probes)
      transport_.send(now, probe.to, net::Body{net::AddressWord{net::AddressProbe{probe.nonce}}});
  for (const auto& event : book_.take_events()) tell(event);
  save_addresses();
}

void Host::tell(const net::AddressBook::Event& event) {
  using Kind = net::AddressBook::Event::Kind;
  const std::string who = event.id == options_.self.n ? std::string("this replica's own address") : fmt::format("replica {}", event.id);
  switch (event.kind) {
    case Kind::unresolved:
      daemon_log::warning("{}: {}; {}it is looked up again and again", who, event.text,
                          event.to.empty() ? std::string() : fmt::format("the last address that is known, {}, is used, and ", event.to.to_string()));
      return;
    case Kind::resolved:
      daemon_log::info("{}: its name resolves now: {}", who, event.to.to_string());
      return;
    case Kind::moved:
      daemon_log::write(daemon_log::Level::info, {.event = "moved", .ballot = {}, .slot = {}},
                        fmt::format("{} answers from {} now{}", who, event.to.to_string(),
                                    event.from.empty() ? std::string() : ", and no more from " + event.from.to_string()));
      return;
    case Kind::tried:
      daemon_log::debug("{} is not heard at {}: {} is tried", who, event.from.to_string(), event.to.to_string());
  }
}

void Host::on_address_word(const net::Received& received, const net::AddressWord& word) {
  const paxos::Time now = loop_.now();
  const std::size_t id = received.sender.sender;
  if (id >= book_.size()) return;
  book_.heard(now, id, received.from, received.sender, received.newest);
  if (const auto* proof = std::get_if<net::AddressProof>(&word)) {
    book_.proved(now, id, received.from, received.sender, proof->nonce);
    return;
  }
  follow_book();  // so that the answer names whom it is for
  transport_.send(now, received.from, net::Body{net::AddressWord{net::AddressProof{std::get<net::AddressProbe>(word).nonce}}});
}

void Host::save_addresses() {
  if (saving_) return;
  RememberedAddresses fresh = book_.worth_remembering();
  if (fresh == saved_) return;
  saving_ = true;
  saved_ = fresh;
  // On the state thread: a disk may take its time.
  storage_->read([this, directory = options_.directory, fresh = std::move(fresh)](const storage::Storage::Reader&) {
    mailbox_.push([this, why = write_address_file(directory, fresh)] {
      saving_ = false;
      if (!why.empty()) daemon_log::warning("the others' addresses are not remembered: {}", why);
    });
  });
}

void Host::say_ready() {
  if (std::exchange(ready_said_, true)) return;
  manager_.ready();
}

void Host::listen_failed(std::string why, bool ready, bool loud) {
  const paxos::Time now = loop_.now();
  if (listen_fault_ != why || now >= listen_told_) {
    if (loud)
      daemon_log::error("{}; it is tried again and again, and this replica takes no part until then", why);
    else
      daemon_log::warning("{}; it is waited for", why);
    listen_told_ = now + told_again;
    standing_at_ = now;
  }
  listen_fault_ = std::move(why);
  if (ready) say_ready();
}

net::Task<void> Host::keep_socket(net::Scope& scope) {
  const paxos::Time began = loop_.now();
  listen_fault_ = fmt::format("for its address, {}", own_address());
  while (!ended_) {
    // What is remembered is bound while the name server says nothing; a name that points elsewhere later has another one opened.
    const auto known = book_.known(options_.self.n).empty() ? book_.own_choices() : book_.known(options_.self.n);
    const bool here = socket_ && (known.empty() || std::any_of(known.begin(), known.end(), [this](const net::Address& a) {
                        const net::Address local = socket_->local_address();
                        return a == local || a.is_any();
                      }));
    if (here) {
      listen_fault_.clear();
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
      {
        const std::lock_guard lock(socket_mutex_);
        std::swap(socket_, opened);
      }
      if (opened) opened->stop();  // its own task lets go of it
      opened.reset();
      scope.spawn(receive_datagrams(socket_));
      daemon_log::info("listens on {}", socket_->local_address().to_string());
      listen_fault_.clear();
      standing_at_ = loop_.now();
      say_ready();
      continue;
    }
    if (!refused) {
      // Its name is being looked up, or gave nothing.
      if (!book_.fault(options_.self.n).empty()) listen_failed(book_.fault(options_.self.n), true, false);
    } else if (!refused->may_pass()) {
      daemon_log::error("{}", refused->sentence);
      exit_code_ = 1;
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
  const std::string& where = options_.config.replicas[options_.self.n].metrics;
  if (where.empty()) co_return;
  if (const auto literal = net::Address::literal(where)) metrics_addresses_ = {*literal};
  paxos::Time told{};
  while (!ended_) {
    if (metrics_addresses_.empty()) resolver_.look_up(book_.size(), where);
    for (const net::Address& local : metrics_addresses_) {
      auto listening = MetricsServer::open(local);
      if (listening) {
        metrics_ = std::move(*listening);
        metrics_fault_.clear();
        serve_metrics();
        daemon_log::info("metrics on http://{}/metrics", metrics_->local_address().to_string());
        co_return;
      }
      metrics_fault_ = listening.error();
    }
    if (!metrics_fault_.empty() && loop_.now() >= told) {
      daemon_log::warning("{}; this replica goes on without, and tries again", metrics_fault_);
      told = loop_.now() + told_again;
    }
    (void)co_await changed_.wait_until(loop_.now() + metrics_pause);
  }
}

void Host::add_addresses(nlohmann::json& out) const {
  for (std::size_t id = 0; id < book_.size(); ++id) {
    if (id != options_.self.n && book_.moved(id)) out["moved"].push_back({{"id", id}, {"address", book_.at(id).to_string()}});
    if (!book_.fault(id).empty()) out["unresolved"].push_back({{"id", id}, {"error", book_.fault(id)}});
  }
  if (socket_) out["listens_on"] = socket_->local_address().to_string();
  if (!metrics_fault_.empty()) out["metrics_error"] = metrics_fault_;
}

}  // namespace paxosd
