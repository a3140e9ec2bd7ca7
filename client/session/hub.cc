#include "client/session/hub.h"

#include <algorithm>
#include <utility>

#include "client/session/carry_out.h"

namespace client {

namespace {
/// Deadlines of many sessions are looked at together, this far apart.
constexpr paxos::Duration sweep_min = std::chrono::milliseconds{2};
constexpr paxos::Duration sweep_max = std::chrono::milliseconds{10};
constexpr std::size_t few_sessions = 16;
}  // namespace

std::uint64_t HubSession::post(chat::Post post) {
  hub_.touch(*this);
  return outbox_.post(hub_.connection_.loop().now(), std::move(post));
}

std::uint64_t HubSession::redact(chat::Redact redact) {
  hub_.touch(*this);
  return outbox_.redact(hub_.connection_.loop().now(), std::move(redact));
}

std::uint64_t HubSession::retain(chat::Retain retain) {
  hub_.touch(*this);
  return outbox_.retain(hub_.connection_.loop().now(), std::move(retain));
}

std::uint64_t HubSession::set_access(chat::SetAccess access) {
  hub_.touch(*this);
  return outbox_.set_access(hub_.connection_.loop().now(), std::move(access));
}

void HubSession::close() {
  hub_.touch(*this);
  outbox_.close(hub_.connection_.loop().now());
}

Hub::Hub(Connection& connection) : connection_(connection), progress_(connection.loop()) {
  connection_.on_reply(
      [this](paxos::ReplicaId from, const chat::ClientReply& reply) { on_reply(from, reply); });
  connection_.on_turn_end([this] { end_turn(); });
  connection_.on_members([this] {
    for (HubSession& session : sessions_)
      session.outbox_.know(connection_.config().replicas.size(), members());
  });
}

Hub::~Hub() {
  connection_.on_reply({});
  connection_.on_members({});
  connection_.on_turn_end({});
  connection_.loop().cancel_timer(timer_);
}

HubSession& Hub::add(paxos::ReplicaId first, std::function<void(Delivery&&)> on_delivery,
                     std::unique_ptr<StateFile> state, bool always_written) {
  Outbox::Options options{.replicas = connection_.config().replicas.size(),
                          .members = members(),
                          .first = first,
                          .random = [this] { return connection_.random(); },
                          .journal = state != nullptr,
                          .always_written = always_written,
                          .whose = connection_.whose(),
                          .proven = !connection_.key_name().empty()};
  Outbox outbox(std::move(options), connection_.loop().now(), state ? state->ledger() : Ledger{});
  sessions_.push_back(HubSession(*this, std::move(outbox), std::move(state), std::move(on_delivery)));
  touch(sessions_.back());
  return sessions_.back();
}

paxos::ReplicaSet Hub::members() const {
  paxos::ReplicaSet out;
  for (const config::ReplicaConfig& r : connection_.config().replicas)
    if (r.member) out.insert(r.id);
  return out;
}

void Hub::touch(HubSession& session) {
  if (session.dirty_) return;
  session.dirty_ = true;
  dirty_.push_back(&session);
}

void Hub::on_reply(paxos::ReplicaId from, const chat::ClientReply& reply) {
  const paxos::Time now = connection_.loop().now();
  if (const auto* receipts = std::get_if<chat::Receipts>(&reply)) {
    for (const chat::Receipt& receipt : receipts->receipts) {
      HubSession* session = nullptr;
      if (receipt.outcome.client_seq == 0) {
        if (const auto at = by_nonce_.find(receipt.nonce); at != by_nonce_.end()) session = at->second;
      } else if (const auto at = by_session_.find(receipt.outcome.session); at != by_session_.end()) {
        session = at->second;
      }
      if (session == nullptr) continue;
      session->outbox_.on_receipt(now, from, receipt);
      touch(*session);
    }
    return;
  }
  if (const auto* redirect = std::get_if<chat::Redirect>(&reply);
      redirect != nullptr && redirect->leader && !connection_.config().member(*redirect->leader))
    connection_.wonder();
  // A redirect or a reason to wait holds for all that was sent from here.
  for (HubSession& session : sessions_) {
    session.outbox_.on_reply(now, from, reply);
    touch(session);
  }
}

void Hub::route(HubSession& session) {
  const chat::SessionId& id = session.outbox_.session();
  if (id != session.routed_) {
    if (!session.routed_.none()) by_session_.erase(session.routed_);
    if (!id.none()) by_session_[id] = &session;
    session.routed_ = id;
  }
  if (id.none()) {
    if (session.routed_by_nonce_ && session.nonce_ != session.outbox_.nonce())
      by_nonce_.erase(session.nonce_);
    session.nonce_ = session.outbox_.nonce();
    by_nonce_[session.nonce_] = &session;
    session.routed_by_nonce_ = true;
  } else if (session.routed_by_nonce_) {
    by_nonce_.erase(session.nonce_);
    session.routed_by_nonce_ = false;
  }
}

void Hub::end_turn() {
  const paxos::Time now = connection_.loop().now();
  if (timer_at_ <= now) {
    timer_at_ = paxos::time_never;
    for (HubSession& session : sessions_) {
      if (session.outbox_.deadline() <= now) {
        session.outbox_.tick(now);
        touch(session);
      }
    }
  }
  while (!dirty_.empty() && failure_.empty()) {
    for (HubSession* session : std::exchange(dirty_, {})) {
      session->dirty_ = false;
      carry_out(*session);
    }
  }
  flush();
  wake();
  if (std::exchange(moved_, false)) progress_.notify();
}

void Hub::carry_out(HubSession& session) {
  const paxos::Time now = connection_.loop().now();
  for (;;) {
    OutboxOutput out = session.outbox_.take_output(now);
    route(session);
    if (out.empty()) break;
    const bool delivers = !out.deliveries.empty();
    auto done = client::carry_out(
        std::move(out),
        [&](const std::vector<LedgerEvent>& events, bool sync) -> tl::expected<void, std::string> {
          return session.state_ ? session.state_->append(events, sync) : tl::expected<void, std::string>{};
        },
        [&](Sending&& sending) {
          if (!session.outbox_.session().none()) sent_commands_ = true;
          send(std::move(sending));
        },
        [&](Delivery&& delivery) {
          session.on_delivery_(std::move(delivery));
          moved_ = true;
        });
    if (!done) {
      failure_ = done.error();
      moved_ = true;
      return;
    }
    if (!delivers) break;
  }
  if (session.outbox_.of_another_key() && failure_.empty()) {
    failure_ = std::string(chat::session_of_another_key) +
               ": what waits in it can be said under that key alone (--key-file)";
    moved_ = true;
  }
  if (session.outbox_.closed() && !std::exchange(session.closed_, true)) moved_ = true;
}

std::size_t Hub::pack_bytes_max(paxos::ReplicaId to) const {
  const std::size_t datagram = connection_.datagram_bytes(to);
  return datagram >= net::loopback_datagram_bytes ? Outbox::pack_bytes_max : datagram - 128;
}

void Hub::send(Sending sending) {
  auto* commands = std::get_if<chat::ClientCommands>(&sending.message);
  if (commands == nullptr) {
    connection_.send(sending.to, sending.message);
    return;
  }
  Pack& pack = packs_[{sending.to, commands->forward}];
  for (paxos::Bytes& bytes : commands->commands) {
    if (!pack.commands.empty() && pack.bytes + bytes.size() > pack_bytes_max(sending.to)) {
      connection_.send(sending.to, chat::ClientCommands{commands->forward, std::exchange(pack.commands, {})});
      pack.bytes = 0;
    }
    pack.bytes += bytes.size() + 4;
    pack.commands.push_back(std::move(bytes));
  }
}

void Hub::flush() {
  for (auto& [where, pack] : packs_) {
    if (pack.commands.empty()) continue;
    connection_.send(where.first, chat::ClientCommands{where.second, std::exchange(pack.commands, {})});
    pack.bytes = 0;
  }
}

void Hub::wake() {
  const paxos::Time now = connection_.loop().now();
  // With many sessions the earliest deadline is nearly always one that was met meanwhile: look rarely.
  if (timer_at_ != paxos::time_never && sessions_.size() > few_sessions) return;
  paxos::Time at = paxos::time_never;
  for (const HubSession& session : sessions_) at = std::min(at, session.outbox_.deadline());
  if (at != paxos::time_never && sessions_.size() > few_sessions)
    at = std::clamp<paxos::Time>(at, now + sweep_min, now + sweep_max);
  if (at == timer_at_) return;
  connection_.loop().cancel_timer(timer_);
  timer_at_ = at;
  if (at != paxos::time_never) timer_ = connection_.loop().add_timer(at, [] {});
}

}  // namespace client
