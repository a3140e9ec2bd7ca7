#include "client/outbox.h"

#include <algorithm>
#include <utility>

#include "paxos/invariant.h"

namespace client {

namespace {

using namespace std::chrono_literals;

/// Between two repeats of one command, unless the round trip itself takes longer: a new leader is found this
/// fast.
constexpr paxos::Duration repeat_max = 200ms;
/// A replica that has said "no leader" is asked again after this: about as often as it may answer.
constexpr paxos::Duration unhelpful_pause = 40ms;
constexpr unsigned unhelpful_max = 8;
/// Two replicas that each name the other as leader are not believed faster than this.
constexpr paxos::Duration redirect_pause = 20ms;
/// A replica that was silent is not tried directly for so long: commands for it are forwarded by another.
constexpr paxos::Duration silence_kept = 2s;
constexpr paxos::Duration forward_kept = 1s;
/// Repeats of one moment, in bytes: the first ones matter, the log takes a session in order.
constexpr std::size_t repeat_bytes_max = 64 * 1024;
constexpr std::uint64_t chunk_messages = 256;

std::size_t weight(const chat::Message& m) { return m.text.size() + m.name.size() + m.room.size() + 64; }

}  // namespace

std::string describe(paxos::ReplicaId from, const chat::Waiting& waiting) {
  std::string out = "replica " + std::to_string(from.n) + ": " + chat::to_string(waiting.reason);
  if (waiting.reason == chat::WaitReason::hole) out += " (slot " + std::to_string(waiting.slot.n) + ")";
  if (!waiting.missing.empty() && waiting.reason != chat::WaitReason::hole) {
    out += waiting.missing.size() == 1 ? "; not heard: replica " : "; not heard: replicas ";
    for (std::size_t i = 0; i < waiting.missing.size(); ++i)
      out += (i == 0 ? "" : ", ") + std::to_string(waiting.missing[i].n);
  }
  return out;
}

Outbox::Outbox(Options options, paxos::Time now, Ledger saved)
    : options_(std::move(options)),
      session_(saved.session),
      next_seq_(saved.next_seq),
      next_ticket_(saved.next_ticket),
      target_(options_.first),
      heard_(options_.replicas, paxos::Time::min()),
      silent_(options_.replicas, paxos::Time::min()) {
  PAXOS_ASSERT(options_.replicas > 0 && options_.first.n < options_.replicas && options_.random);
  if (!session_.none()) phase_ = Phase::open;
  for (Ledger::Entry& e : saved.entries) {
    Entry entry{.ticket = e.ticket, .seq = e.seq, .queued = now, .repeat = {}, .delivery = {}};
    entry.delivery.ticket = e.ticket;
    entry.delivery.message.room = std::move(e.post.room);
    entry.delivery.message.name = std::move(e.post.name);
    entry.delivery.message.text = std::move(e.post.text);
    entries_.push_back(std::move(entry));
  }
  moved_ = now;
}

// --- input from the user ---

std::uint64_t Outbox::post(paxos::Time now, chat::Post post) {
  PAXOS_ASSERT(!close_wanted_);
  const std::uint64_t ticket = next_ticket_++;
  if (options_.journal) out_.events.emplace_back(Queued{ticket, post});
  Entry entry{.ticket = ticket, .queued = now, .repeat = {}, .delivery = {}};
  entry.delivery.ticket = ticket;
  entry.delivery.message.room = std::move(post.room);
  entry.delivery.message.name = std::move(post.name);
  entry.delivery.message.text = std::move(post.text);
  entries_.push_back(std::move(entry));
  return ticket;
}

void Outbox::close(paxos::Time) { close_wanted_ = true; }

std::optional<paxos::Time> Outbox::oldest() const {
  if (entries_.empty()) return std::nullopt;
  return entries_.front().queued;
}

std::string Outbox::trouble() const {
  if (entries_.empty() && phase_ != Phase::opening && phase_ != Phase::closing) return {};
  if (waiting_) return describe(waiting_from_, *waiting_);
  if (laps_ > 0) {
    std::string out = "no answer from any replica";
    std::string silent;
    for (std::size_t i = 0; i < silent_.size(); ++i)
      if (silent_[i] != paxos::Time::min()) silent += (silent.empty() ? "" : ", ") + std::to_string(i);
    if (!silent.empty()) out = "no answer from replica " + silent;
    return out;
  }
  return {};
}

// --- replies ---

void Outbox::heard(paxos::Time now, paxos::ReplicaId from) {
  heard_[from.n] = now;
  if (from == target_) asked_ = paxos::time_never;
  silent_[from.n] = paxos::Time::min();
}

void Outbox::on_reply(paxos::Time now, paxos::ReplicaId from, const chat::ClientReply& reply) {
  if (from.n >= options_.replicas) return;
  if (const auto* receipts = std::get_if<chat::Receipts>(&reply)) {
    for (const chat::Receipt& receipt : receipts->receipts) on_receipt(now, from, receipt);
    return;
  }
  heard(now, from);
  if (const auto* redirect = std::get_if<chat::Redirect>(&reply))
    on_redirect(now, from, *redirect);
  else if (const auto* waiting = std::get_if<chat::Waiting>(&reply))
    on_waiting(now, from, *waiting);
  else if (const auto* refused = std::get_if<chat::CommandRefused>(&reply))
    on_refused(now, *refused);
  else
    on_history(now, std::get<chat::HistoryReply>(reply));
}

void Outbox::on_receipt(paxos::Time now, paxos::ReplicaId from, const chat::Receipt& receipt) {
  if (from.n >= options_.replicas) return;
  heard(now, from);
  const chat::Outcome& outcome = receipt.outcome;
  if (phase_ == Phase::opening) {
    if (outcome.client_seq == 0 && receipt.nonce == nonce_) {
      measured(now, single_sent_, single_);
      opened(now, outcome);
    }
    return;
  }
  if (session_.none() || outcome.session != session_ || outcome.client_seq == 0) return;
  laps_ = 0;
  unhelpful_ = 0;
  waiting_.reset();
  if (phase_ == Phase::closing && outcome.client_seq == next_seq_) {
    // Gone already is as good: nothing was under way in it.
    if (outcome.verdict != chat::Verdict::early) phase_ = Phase::closed;
    return;
  }
  if (phase_ != Phase::open) return;
  Entry* entry = find(outcome.client_seq);
  if (entry == nullptr || (entry->fate != Fate::sent && entry->fate != Fate::voided)) return;
  measured(now, entry->sent, entry->repeat);
  answer(now, *entry, outcome);
}

void Outbox::opened(paxos::Time, const chat::Outcome& outcome) {
  if (outcome.verdict != chat::Verdict::done && outcome.verdict != chat::Verdict::repeat) return;
  laps_ = 0;
  unhelpful_ = 0;
  waiting_.reset();
  session_ = outcome.session;
  next_seq_ = 1;
  phase_ = Phase::open;
  single_ = {};
  ++figures_.sessions;
  if (options_.journal) out_.events.emplace_back(Opened{session_});
}

Outbox::Entry* Outbox::find(std::uint64_t seq) {
  if (entries_.empty() || seq == 0) return nullptr;
  const std::uint64_t first = entries_.front().seq;
  if (first != 0 && seq >= first && seq - first < entries_.size() && entries_[seq - first].seq == seq)
    return &entries_[seq - first];
  for (Entry& entry : entries_)
    if (entry.seq == seq) return &entry;
  return nullptr;
}

void Outbox::settle(Entry& entry) {
  entry.fate = Fate::known;
  entry.repeat = {};
  if (entry.in_flight) flight_bytes_ -= weight(entry.delivery.message);
  entry.in_flight = false;
}

void Outbox::answer(paxos::Time now, Entry& entry, const chat::Outcome& outcome) {
  using chat::Verdict;
  switch (outcome.verdict) {
    case Verdict::done:
    case Verdict::repeat:
      if (outcome.room_seq == 0) {
        // Only the Close of a voided entry runs without a place in a room: nothing from this seq on can ever
        // run.
        if (entry.fate != Fate::voided) return;
        settle(entry);
        session_gone(now);
        return;
      }
      entry.delivery.refused.clear();
      entry.delivery.message.seq = outcome.room_seq;
      entry.delivery.message.slot = outcome.slot;
      entry.delivery.message.index = outcome.index;
      entry.delivery.message.session = session_;
      entry.delivery.message.client_seq = entry.seq;
      entry.delivery.message.time_ms = outcome.time_ms;
      settle(entry);
      return;
    case Verdict::conflict:
      abandon_ = true;
      if (entry.fate == Fate::voided) {  // the message itself took the seq after all
        entry.delivery.refused.clear();
        entry.fate = Fate::lookup;
        entry.ran = true;
        return;
      }
      entry.delivery.refused = chat::to_string(Verdict::conflict);
      settle(entry);
      return;
    case Verdict::receipt_gone:
      entry.delivery.refused.clear();
      entry.fate = Fate::lookup;
      entry.ran = true;
      return;
    case Verdict::session_unknown:
      session_gone(now);
      return;
    case Verdict::early:
      return;  // its predecessors are repeated, and so is it
    case Verdict::rooms_full:
    case Verdict::invalid:
      entry.delivery.refused = chat::to_string(outcome.verdict);
      settle(entry);
      return;
  }
}

/// Only the log says this: no command of the session runs from here on. Those that have a seq may have run
/// before.
void Outbox::session_gone(paxos::Time) {
  phase_ = Phase::searching;
  search_.reset();
  for (Entry& entry : entries_) {
    if (entry.fate == Fate::known || entry.seq == 0) continue;
    entry.fate = Fate::lookup;
    entry.repeat = {};
  }
}

void Outbox::new_session() {
  if (options_.journal) {
    // Their fate would be forgotten with their seq, and they would be sent again: those that wait for their
    // turn, and those that are handed out in this very turn, whose own Answered comes after what we store
    // here.
    for (const Delivery& delivery : out_.deliveries) out_.events.emplace_back(Answered{delivery.ticket});
    for (const Entry& entry : entries_)
      if (entry.fate == Fate::known) out_.events.emplace_back(Answered{entry.ticket});
    out_.events.emplace_back(Abandoned{});
  }
  session_ = {};
  next_seq_ = 1;
  unsent_ = 0;
  flight_bytes_ = 0;
  abandon_ = false;
  search_.reset();
  phase_ = Phase::idle;
  for (Entry& entry : entries_) {
    entry.seq = 0;
    entry.in_flight = false;
    entry.ran = false;
    entry.repeat = {};
    if (entry.fate != Fate::known) entry.fate = Fate::unsent;
  }
}

/// A replica of another version refused the content before the log saw it. Those after it wait for its seq,
/// so a Close takes it.
void Outbox::on_refused(paxos::Time now, const chat::CommandRefused& refused) {
  if (phase_ != Phase::open || refused.session != session_) return;
  Entry* entry = find(refused.client_seq);
  if (entry == nullptr || entry->fate != Fate::sent) return;
  entry->fate = Fate::voided;
  entry->delivery.refused = refused.reason.empty() ? "refused" : refused.reason;
  entry->repeat.attempts = 0;
  send_entry(now, *entry);
}

// --- where to ask ---

bool Outbox::silent_lately(paxos::Time now, paxos::ReplicaId replica) const {
  return silent_[replica.n] != paxos::Time::min() && now - silent_[replica.n] < silence_kept;
}

void Outbox::on_redirect(paxos::Time now, paxos::ReplicaId from, const chat::Redirect& redirect) {
  if (from != target_) return;
  if (!redirect.leader || *redirect.leader == from || redirect.leader->n >= options_.replicas) {
    on_waiting(now, from, {.reason = chat::WaitReason::no_leader, .slot = {}, .missing = {}});
    return;
  }
  waiting_.reset();
  if (silent_lately(now, *redirect.leader)) {
    if (!forward_) move_to(now, target_, true);  // it reaches the leader, maybe; we don't
    return;
  }
  move_to(now, *redirect.leader, false);
}

void Outbox::on_waiting(paxos::Time now, paxos::ReplicaId from, const chat::Waiting& waiting) {
  if (from != target_) return;
  waiting_ = waiting;
  waiting_from_ = from;
  switch (waiting.reason) {
    case chat::WaitReason::hole:
    case chat::WaitReason::overloaded:
      return;
    case chat::WaitReason::no_leader:
      ++unhelpful_;
      break;
    case chat::WaitReason::no_quorum:
    case chat::WaitReason::catching_up:
    case chat::WaitReason::not_voting:
      unhelpful_ = unhelpful_max;
      break;
  }
  delay_all(now + unhelpful_pause);
}

void Outbox::move_to(paxos::Time now, paxos::ReplicaId replica, bool forward) {
  const bool hasty = now - moved_ <= redirect_pause && figures_.moves > 0;
  if (replica != target_) ++figures_.moves;
  target_ = replica;
  asked_ = paxos::time_never;
  forward_ = forward;
  forward_until_ = now + forward_kept;
  moved_ = now;
  unhelpful_ = 0;
  if (hasty)
    delay_all(now + redirect_pause);
  else
    resend_all(now);
}

void Outbox::rotate(paxos::Time now) {
  ++laps_;
  const auto next = static_cast<std::uint8_t>((target_.n + 1u) % options_.replicas);
  ++figures_.moves;
  target_ = {next};
  asked_ = paxos::time_never;
  forward_ = false;
  moved_ = now;
  unhelpful_ = 0;
  resend_all(now);
}

// --- sending ---

paxos::Duration Outbox::interval(unsigned attempts) const {
  const paxos::Duration base = rtt_.timeout();
  return std::min(base * (1 << std::min(attempts + laps(), 10u)),
                  std::max<paxos::Duration>(base, repeat_max));
}

void Outbox::again(paxos::Time now, Repeat& repeat) {
  repeat.at = now + interval(repeat.attempts);
  if (repeat.attempts < 1000) ++repeat.attempts;
  next_repeat_ = std::min(next_repeat_, repeat.at);
}

/// Karn's rule: only what was said once is measured.
void Outbox::measured(paxos::Time now, paxos::Time sent, const Repeat& repeat) {
  if (repeat.attempts == 1) rtt_.measured(now - sent);
}

std::uint64_t Outbox::answered_below() const {
  return entries_.empty() || entries_.front().seq == 0 ? next_seq_ : entries_.front().seq;
}

chat::Command Outbox::command_of(const Entry& entry) const {
  chat::Command command{
      .session = session_, .seq = entry.seq, .answered_below = answered_below(), .operation = {}};
  if (entry.fate == Fate::voided) {
    command.operation = chat::Close{};
  } else {
    const chat::Message& m = entry.delivery.message;
    command.operation = chat::Post{m.room, m.name, m.text};
  }
  return command;
}

void Outbox::send_command(const chat::Command& command) {
  paxos::Bytes bytes = chat::encode(command);
  if (!pack_.empty() && pack_bytes_ + bytes.size() > pack_bytes_max) flush_pack();
  pack_bytes_ += bytes.size();
  pack_.push_back(std::move(bytes));
}

void Outbox::flush_pack() {
  if (pack_.empty()) return;
  out_.sends.push_back({target_, chat::ClientCommands{forward_, std::exchange(pack_, {})}});
  pack_bytes_ = 0;
}

void Outbox::send_entry(paxos::Time now, Entry& entry) {
  if (asked_ == paxos::time_never) asked_ = now;
  if (entry.repeat.attempts == 0)
    entry.sent = now;
  else
    ++figures_.repeats;
  again(now, entry.repeat);
  send_command(command_of(entry));
}

void Outbox::send_single(paxos::Time now) {
  if (asked_ == paxos::time_never) asked_ = now;
  if (single_.attempts == 0)
    single_sent_ = now;
  else
    ++figures_.repeats;
  again(now, single_);
  chat::Command command;
  if (phase_ == Phase::opening) {
    command.operation = chat::Open{nonce_};
  } else {
    command.session = session_;
    command.seq = next_seq_;
    command.answered_below = next_seq_;
    command.operation = chat::Close{};
  }
  send_command(command);
}

void Outbox::resend_all(paxos::Time now) {
  if (phase_ == Phase::opening || phase_ == Phase::closing) {
    send_single(now);
    return;
  }
  if (phase_ == Phase::searching && search_) {
    search_->moved = 0;
    ask_history(now);
    return;
  }
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < unsent_; ++i) {
    Entry& entry = entries_[i];
    if (entry.fate != Fate::sent && entry.fate != Fate::voided) continue;
    bytes += weight(entry.delivery.message);
    if (bytes <= repeat_bytes_max || i == 0) {
      entry.repeat.attempts = std::max(1u, std::min(entry.repeat.attempts, 2u));
      send_entry(now, entry);
    } else {
      again(now, entry.repeat);
    }
  }
  flush_pack();
}

void Outbox::delay_all(paxos::Time at) {
  next_repeat_ = at;
  if (phase_ == Phase::opening || phase_ == Phase::closing) single_.at = at;
  for (std::size_t i = 0; i < unsent_; ++i)
    if (entries_[i].fate == Fate::sent || entries_[i].fate == Fate::voided) entries_[i].repeat.at = at;
}

void Outbox::tick(paxos::Time now) {
  if (search_ && search_->repeat.at <= now) {
    ++search_->moved;
    ask_history(now);
  }
  if (next_repeat_ <= now) on_due(now);
}

/// Something was not answered in time.
void Outbox::on_due(paxos::Time now) {
  next_repeat_ = paxos::time_never;
  const bool single = phase_ == Phase::opening || phase_ == Phase::closing;
  paxos::Time oldest = paxos::time_never;  // first sending of what is due
  if (single) {
    if (single_.at <= now) oldest = single_sent_;
    next_repeat_ = single_.at;
  }
  for (std::size_t i = 0; i < unsent_; ++i) {
    const Entry& entry = entries_[i];
    if (entry.fate != Fate::sent && entry.fate != Fate::voided) continue;
    if (entry.repeat.at <= now) oldest = std::min(oldest, entry.sent);
    next_repeat_ = std::min(next_repeat_, entry.repeat.at);
  }
  if (oldest == paxos::time_never) return;
  if (unhelpful_ >= unhelpful_max && options_.replicas > 1) {
    rotate(now);
    return;
  }
  const paxos::Duration patience =
      std::min<paxos::Duration>(3 * rtt_.timeout() * (1 << std::min(laps(), 5u)),
                                std::max<paxos::Duration>(3 * repeat_max, 3 * rtt_.timeout()));
  // Silence counts from the first question that it left open: who has told us to wait was not asked since.
  if (asked_ != paxos::time_never && now - asked_ >= patience) {
    silent_[target_.n] = now;
    rotate(now);
    return;
  }
  if (forward_ && now >= forward_until_) forward_ = false;  // the leader may be in reach again
  next_repeat_ = paxos::time_never;
  if (single) {
    if (single_.at <= now)
      send_single(now);
    else
      next_repeat_ = single_.at;
  }
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < unsent_; ++i) {
    Entry& entry = entries_[i];
    if (entry.fate != Fate::sent && entry.fate != Fate::voided) continue;
    if (entry.repeat.at <= now) {
      bytes += weight(entry.delivery.message);
      if (bytes <= repeat_bytes_max || bytes == weight(entry.delivery.message)) {
        send_entry(now, entry);
        continue;
      }
      again(now, entry.repeat);
    }
    next_repeat_ = std::min(next_repeat_, entry.repeat.at);
  }
  flush_pack();
}

paxos::Time Outbox::deadline() const {
  return search_ ? std::min(next_repeat_, search_->repeat.at) : next_repeat_;
}

// --- the end of a turn ---

OutboxOutput Outbox::take_output(paxos::Time now) {
  pump(now);
  flush_pack();
  return std::exchange(out_, {});
}

void Outbox::emit_known() {
  while (!entries_.empty() && entries_.front().fate == Fate::known) {
    out_.deliveries.push_back(std::move(entries_.front().delivery));
    entries_.pop_front();
    if (unsent_ > 0) --unsent_;
  }
}

void Outbox::pump(paxos::Time now) {
  emit_known();
  const auto any = [&](auto... fates) {
    return std::any_of(entries_.begin(), entries_.end(),
                       [&](const Entry& e) { return ((e.fate == fates) || ...); });
  };
  if ((phase_ == Phase::searching || phase_ == Phase::open) && !search_) {
    if (phase_ == Phase::searching ||
        std::any_of(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(unsent_),
                    [](const Entry& e) { return e.fate == Fate::lookup; })) {
      search_next_room(now);
      if (!search_ && phase_ == Phase::searching) new_session();
      emit_known();
    }
  }
  if (phase_ == Phase::open && abandon_ && !any(Fate::sent, Fate::voided, Fate::lookup)) new_session();
  if (phase_ == Phase::idle) {
    if (any(Fate::unsent)) {
      phase_ = Phase::opening;
      for (std::size_t i = 0; i < 16; i += 8) {
        const std::uint64_t r = options_.random();
        for (std::size_t k = 0; k < 8; ++k) nonce_[i + k] = static_cast<std::uint8_t>(r >> (8 * k));
      }
      single_ = {};
      send_single(now);
    } else if (close_wanted_ && entries_.empty()) {
      phase_ = Phase::closed;
    }
  } else if (phase_ == Phase::open) {
    if (!abandon_) send_unsent(now);
    if (close_wanted_ && entries_.empty()) {
      phase_ = Phase::closing;
      single_ = {};
      send_single(now);
    }
  }
}

void Outbox::send_unsent(paxos::Time now) {
  for (; unsent_ < entries_.size() && unsent_ < chat::limits::outstanding_max; ++unsent_) {
    Entry& entry = entries_[unsent_];
    if (entry.fate != Fate::unsent) continue;
    const std::size_t size = weight(entry.delivery.message);
    if (unsent_ > 0 && flight_bytes_ + size > flight_bytes_max) return;
    if (entry.seq == 0) entry.seq = next_seq_++;
    entry.fate = Fate::sent;
    entry.in_flight = true;
    flight_bytes_ += size;
    entry.repeat = {};
    send_entry(now, entry);
  }
}

// --- what became of messages: the history says ---

void Outbox::search_next_room(paxos::Time now) {
  for (const Entry& entry : entries_) {
    if (entry.fate != Fate::lookup) continue;
    search_ = Search{};
    search_->room = entry.delivery.message.room;
    ask_history(now);
    return;
  }
}

void Outbox::ask_history(paxos::Time now) {
  Search& s = *search_;
  s.id = options_.random();
  s.repeat.at = now + interval(std::max(2u, s.repeat.attempts));
  if (s.repeat.attempts < 1000) ++s.repeat.attempts;
  chat::HistoryRequest request{.id = s.id, .room = s.room, .from = 1, .last = 0, .limit = 0, .local = false};
  if (s.low == 0) {
    request.last = chunk_messages;
  } else {
    request.from = s.cursor;
    request.limit = static_cast<std::uint32_t>(s.high - s.cursor + 1);
  }
  const auto to = static_cast<std::uint8_t>((target_.n + s.moved) % options_.replicas);
  out_.sends.push_back({paxos::ReplicaId{to}, std::move(request)});
}

void Outbox::found(Entry& entry, const chat::Message& message) {
  entry.delivery.refused.clear();
  entry.delivery.message = message;
  entry.in_flight = false;
  entry.fate = Fate::known;
}

void Outbox::on_history(paxos::Time now, const chat::HistoryReply& reply) {
  if (!search_ || reply.id != search_->id) return;
  Search& s = *search_;
  if (!reply.refused.empty()) return;  // the repeat goes to another replica
  s.repeat = {};
  if (s.low == 0) {
    if (reply.page.head == 0) return finish_room();
    s.high = reply.page.head;
    s.low = s.high > chunk_messages ? s.high - chunk_messages + 1 : 1;
    s.cursor = s.low;
  }
  for (const chat::Message& message : reply.page.messages) {
    if (message.slot <= session_.slot) s.reached_open = true;
    if (message.session != session_) continue;
    Entry* entry = find(message.client_seq);
    if (entry == nullptr || entry->fate != Fate::lookup) continue;
    if (entry->in_flight) flight_bytes_ -= weight(entry->delivery.message);
    found(*entry, message);
  }
  const bool open_ones = std::any_of(entries_.begin(), entries_.end(), [&](const Entry& e) {
    return e.fate == Fate::lookup && e.delivery.message.room == s.room;
  });
  if (!open_ones) return finish_room();
  if (reply.page.next != 0 && reply.page.next > s.cursor && reply.page.next <= s.high) {
    s.cursor = reply.page.next;
  } else {
    if (s.low == 1 || s.reached_open) return finish_room();
    s.high = s.low - 1;
    s.low = s.high > chunk_messages ? s.high - chunk_messages + 1 : 1;
    s.cursor = s.low;
  }
  ask_history(now);
}

/// What was not found in a room that was read back to the session's open does not stand in it.
void Outbox::finish_room() {
  for (Entry& entry : entries_) {
    if (entry.fate != Fate::lookup || entry.delivery.message.room != search_->room) continue;
    if (entry.ran) entry.delivery.refused = "the log refused it earlier; its reason is gone";
    if (!entry.delivery.refused.empty())
      settle(entry);
    else
      entry.fate = Fate::unsent;  // it can never run in the session that is gone: a new one sends it
  }
  search_.reset();
}

}  // namespace client
