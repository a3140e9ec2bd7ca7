#include "client/session.h"

#include <algorithm>
#include <set>
#include <utility>

#include "paxos/invariant.h"

namespace client {

namespace {
/// After so many repeats without any answer another replica is asked, and asked to pass on.
constexpr unsigned silent_max = 2;
constexpr std::size_t commands_per_send = 64;
constexpr std::size_t bytes_per_send = 48 * 1024;
constexpr std::uint32_t search_window = 256;
}  // namespace

Session::Session(Options options, std::optional<SavedSession> saved)
    : options_(options), random_(options.seed) {
  target_ =
      options_.first.value_or(paxos::ReplicaId{static_cast<std::uint8_t>(random_.below(options_.replicas))});
  if (!saved) return;
  session_ = saved->session;
  nonce_ = saved->nonce;
  next_seq_ = saved->next_seq;
  next_ticket_ = saved->next_ticket;
  outbox_.assign(saved->outbox.begin(), saved->outbox.end());
  next_done_ = outbox_.empty() ? next_ticket_ : outbox_.front().ticket;
  if (!session_.none()) phase_ = Phase::open;
  // Perhaps sent before the program died: all of it is sent again under the same numbers.
  for (const Pending& p : outbox_)
    if (p.client_seq != 0) flights_[p.ticket];
}

SavedSession Session::saved() const {
  return {.session = session_,
          .nonce = nonce_,
          .next_seq = next_seq_,
          .next_ticket = next_ticket_,
          .outbox = {outbox_.begin(), outbox_.end()}};
}

chat::Nonce Session::random_nonce() {
  chat::Nonce nonce;
  for (std::size_t i = 0; i < nonce.size(); i += 8) {
    const std::uint64_t bits = random_.next();
    for (std::size_t j = 0; j < 8; ++j) nonce[i + j] = static_cast<std::uint8_t>(bits >> (8 * j));
  }
  return nonce;
}

std::uint64_t Session::post(chat::Post post) {
  const std::uint64_t ticket = next_ticket_++;
  // Numbered at once, so that what is written down before sending is final.
  outbox_.push_back({ticket, phase_ == Phase::searching ? 0 : next_seq_, std::move(post)});
  if (phase_ != Phase::searching) {
    ++next_seq_;
    flights_[ticket];
  }
  changed();
  return ticket;
}

void Session::tick(paxos::Time now) {
  if (closed_) return;
  if (phase_ == Phase::idle) {
    if (outbox_.empty()) {
      if (closing_) closed_ = true;
      return;
    }
    if (nonce_ == chat::Nonce{}) {
      nonce_ = random_nonce();
      changed();
    }
    phase_ = Phase::opening;
    control_ = {};
  }
  if (phase_ == Phase::searching) {
    if (search_repeat_.due(now)) {
      if (search_repeat_.attempts() > silent_max) rotate(now);
      search_next(now);
    }
    return;
  }
  send_commands(now);
}

void Session::send_commands(paxos::Time now) {
  bool repeated = false;
  chat::ClientCommands pack;
  std::size_t bytes = 0;
  const auto flush = [&] {
    if (pack.commands.empty()) return;
    pack.forward = forward_;
    sends_.push_back({target_, std::exchange(pack, {})});
    bytes = 0;
  };
  const auto add = [&](Flight& flight, const chat::Command& command) {
    if (flight.sent && !flight.repeat.due(now)) return;
    if (flight.sent) {
      flight.repeat.again(now);
      repeated = true;
    } else {
      flight.sent = true;
      flight.first_sent = now;
      flight.repeat.start(now, rtt_.timeout() * 2);
    }
    paxos::Bytes encoded = chat::encode(command);
    if (pack.commands.size() == commands_per_send || bytes + encoded.size() > bytes_per_send) flush();
    bytes += encoded.size();
    pack.commands.push_back(std::move(encoded));
  };
  if (phase_ == Phase::opening) {
    add(control_, {.session = {}, .seq = 0, .answered_below = 0, .operation = chat::Open{nonce_}});
  } else {
    const std::uint64_t answered = outbox_.empty() ? next_seq_ : outbox_.front().client_seq;
    std::size_t count = 0;
    for (const Pending& p : outbox_) {
      if (++count > options_.window) break;
      add(flights_.at(p.ticket),
          {.session = session_, .seq = p.client_seq, .answered_below = answered, .operation = p.post});
    }
    if (closing_ && outbox_.empty()) {
      close_seq_ = next_seq_;
      add(control_,
          {.session = session_, .seq = next_seq_, .answered_below = answered, .operation = chat::Close{}});
    }
  }
  flush();
  if (!repeated) return;
  if (++silent_ > silent_max) rotate(now);
}

/// Nobody answers here: the next replica, and it shall pass on what we send, since its leader may not hear
/// us.
void Session::rotate(paxos::Time) {
  silent_ = 0;
  target_ = paxos::ReplicaId{static_cast<std::uint8_t>((target_.n + 1) % options_.replicas)};
  forward_ = true;
}

paxos::Time Session::deadline() const {
  if (closed_) return paxos::time_never;
  if (phase_ == Phase::searching) return search_repeat_.at();
  if (phase_ == Phase::opening) return control_.sent ? control_.repeat.at() : paxos::Time::min();
  if (phase_ == Phase::idle) return outbox_.empty() && !closing_ ? paxos::time_never : paxos::Time::min();
  paxos::Time at = paxos::time_never;
  std::size_t count = 0;
  for (const Pending& p : outbox_) {
    if (++count > options_.window) break;
    const Flight& f = flights_.at(p.ticket);
    at = std::min(at, f.sent ? f.repeat.at() : paxos::Time::min());
  }
  if (closing_ && outbox_.empty())
    at = std::min(at, control_.sent ? control_.repeat.at() : paxos::Time::min());
  return at;
}

void Session::on_reply(paxos::Time now, paxos::ReplicaId from, const chat::ClientReply& reply) {
  if (closed_) return;
  if (const auto* receipts = std::get_if<chat::Receipts>(&reply)) {
    silent_ = 0;
    waiting_.clear();
    for (const chat::Receipt& r : receipts->receipts) on_receipt(now, r);
    return;
  }
  if (const auto* redirect = std::get_if<chat::Redirect>(&reply)) {
    if (!redirect->leader || *redirect->leader == target_ || from != target_) return;
    if (redirect->leader->n >= options_.replicas) return;
    target_ = *redirect->leader;
    silent_ = 0;
    forward_ = false;
    // At once, to whom it concerns.
    for (auto& [ticket, flight] : flights_) flight.sent = false;
    control_.sent = false;
    return;
  }
  if (const auto* waiting = std::get_if<chat::Waiting>(&reply)) {
    waiting_ = chat::to_string(waiting->reason);
    if (waiting->reason == chat::WaitReason::hole)
      waiting_ += " (slot " + std::to_string(waiting->slot.n) + ")";
    if (!waiting->missing.empty()) {
      waiting_ += "; replica " + std::to_string(from.n) + " does not hear replica";
      for (paxos::ReplicaId id : waiting->missing) waiting_ += " " + std::to_string(id.n);
    }
    return;
  }
  if (const auto* refused = std::get_if<chat::CommandRefused>(&reply)) {
    if (phase_ != Phase::open || refused->session != session_) return;
    // Checked before it was sent, so this is a replica with other rules. Its number must not stay empty: the
    // log would hold back all that follow. It is told as refused, and the session goes on in a new one.
    for (const Pending& p : outbox_)
      if (p.client_seq == refused->client_seq) {
        finish(p.ticket,
               {.ticket = p.ticket, .refused = refused->reason, .receipt_gone = false, .message = {}});
        begin_search(now);
        return;
      }
    return;
  }
  on_history(now, std::get<chat::HistoryReply>(reply));
}

void Session::on_receipt(paxos::Time now, const chat::Receipt& receipt) {
  const chat::Outcome& o = receipt.outcome;
  if (phase_ == Phase::opening) {
    if (receipt.nonce != nonce_ || (o.verdict != chat::Verdict::done && o.verdict != chat::Verdict::repeat))
      return;
    if (control_.repeat.attempts() == 1) rtt_.measured(now - control_.first_sent);
    session_ = o.session;
    phase_ = Phase::open;
    control_ = {};
    changed();
    return;
  }
  if (phase_ != Phase::open || o.session != session_ || o.client_seq == 0) return;
  if (closing_ && o.client_seq == close_seq_ && outbox_.empty()) {
    closed_ = true;  // done, or unknown because an earlier copy of it was done
    return;
  }
  const auto at = std::find_if(outbox_.begin(), outbox_.end(),
                               [&](const Pending& p) { return p.client_seq == o.client_seq; });
  if (at == outbox_.end()) return;
  const Flight& flight = flights_.at(at->ticket);
  if (flight.repeat.attempts() == 1) rtt_.measured(now - flight.first_sent);
  switch (o.verdict) {
    case chat::Verdict::done:
    case chat::Verdict::repeat:
    case chat::Verdict::receipt_gone: {
      Finished f{.ticket = at->ticket,
                 .refused = {},
                 .receipt_gone = o.verdict == chat::Verdict::receipt_gone,
                 .message = {}};
      f.message = {.room = at->post.room,
                   .seq = o.room_seq,
                   .slot = o.slot,
                   .index = o.index,
                   .name = at->post.name,
                   .session = session_,
                   .client_seq = o.client_seq,
                   .time_ms = o.time_ms,
                   .text = at->post.text};
      finish(at->ticket, std::move(f));
      return;
    }
    case chat::Verdict::conflict:
    case chat::Verdict::rooms_full:
    case chat::Verdict::invalid:
      finish(at->ticket, {.ticket = at->ticket,
                          .refused = chat::to_string(o.verdict),
                          .receipt_gone = false,
                          .message = {}});
      return;
    case chat::Verdict::session_unknown:
      begin_search(now);
      return;
    case chat::Verdict::early:
      return;
  }
}

void Session::finish(std::uint64_t ticket, Finished finished) {
  std::erase_if(outbox_, [&](const Pending& p) { return p.ticket == ticket; });
  flights_.erase(ticket);
  done_.emplace(ticket, std::move(finished));
  changed();
}

/// The log says that the session is gone, so nothing numbered in it can run any more. What of the outbox did
/// run stands in the history; the rest goes into a new session.
void Session::begin_search(paxos::Time now) {
  phase_ = Phase::searching;
  lost_session_ = session_;
  std::set<std::string> rooms;
  for (const Pending& p : outbox_)
    if (p.client_seq != 0) rooms.insert(p.post.room);
  rooms_to_search_.assign(rooms.begin(), rooms.end());
  window_ = {};
  search_next(now);
}

void Session::search_next(paxos::Time now) {
  if (rooms_to_search_.empty()) {
    renumber();
    return;
  }
  const std::uint64_t id = random_.next();
  search_id_ = id;
  if (search_repeat_.at() == paxos::time_never)
    search_repeat_.start(now, std::chrono::milliseconds{300});
  else
    search_repeat_.again(now);
  chat::HistoryRequest request{.id = id,
                               .room = rooms_to_search_.back(),
                               .from = std::max<std::uint64_t>(window_.cursor, 1),
                               .last = window_.cursor == 0 ? search_window : 0,
                               .limit = search_window,
                               .local = false};
  sends_.push_back({target_, std::move(request)});
}

void Session::on_history(paxos::Time now, const chat::HistoryReply& reply) {
  if (phase_ != Phase::searching || reply.id != search_id_) return;
  if (!reply.refused.empty()) {
    waiting_ = reply.refused;
    return;  // the timer asks again, and another replica after a while
  }
  const auto& page = reply.page.messages;
  for (const chat::Message& m : page) {
    if (m.session != lost_session_) continue;
    const auto at = std::find_if(outbox_.begin(), outbox_.end(),
                                 [&](const Pending& p) { return p.client_seq == m.client_seq; });
    if (at != outbox_.end())
      finish(at->ticket, {.ticket = at->ticket, .refused = {}, .receipt_gone = false, .message = m});
  }
  search_repeat_.stop();
  if (!page.empty() && window_.first == 0) {
    window_.first = page.front().seq;
    window_.first_slot = page.front().slot;
  }
  if (reply.page.next != 0 && reply.page.next <= window_.last) {
    window_.cursor = reply.page.next;  // the page was cut short by its bytes
  } else if (window_.first <= 1 || window_.first_slot < lost_session_.slot) {
    rooms_to_search_.pop_back();  // from here on down it is older than the session
    window_ = {};
  } else {
    const std::uint64_t last = window_.first - 1;
    window_ = {.cursor = last > search_window ? last - search_window + 1 : 1,
               .first = 0,
               .last = last,
               .first_slot = {}};
  }
  search_next(now);
}

void Session::renumber() {
  session_ = {};
  nonce_ = random_nonce();
  next_seq_ = 1;
  flights_.clear();
  for (Pending& p : outbox_) {
    p.client_seq = next_seq_++;
    flights_[p.ticket];
  }
  search_repeat_.stop();
  control_ = {};
  phase_ = Phase::opening;
  changed();
}

std::vector<Session::Send> Session::take_sends() { return std::exchange(sends_, {}); }

std::vector<Finished> Session::take_finished() {
  std::vector<Finished> out;
  while (!done_.empty() && done_.begin()->first == next_done_) {
    out.push_back(std::move(done_.begin()->second));
    done_.erase(done_.begin());
    ++next_done_;
  }
  return out;
}

}  // namespace client
