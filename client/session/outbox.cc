#include "client/session/outbox.h"

#include <algorithm>
#include <utility>

#include "paxos/invariant.h"

namespace client {

std::string describe(paxos::ReplicaId from, const chat::Waiting& waiting) {
  if (waiting.reason == chat::WaitReason::disks_full) return chat::disks_full_text(waiting.missing);
  std::string out = "replica " + std::to_string(from.n) + ": " + chat::to_string(waiting.reason);
  if (waiting.reason == chat::WaitReason::hole) out += " (slot " + std::to_string(waiting.slot.n) + ")";
  if (!waiting.missing.empty() && waiting.reason != chat::WaitReason::hole) {
    out += waiting.missing.size() == 1 ? "; not heard: replica " : "; not heard: replicas ";
    for (std::size_t i = 0; i < waiting.missing.size(); ++i)
      out += (i == 0 ? "" : ", ") + std::to_string(waiting.missing[i].n);
  }
  return out;
}

namespace {
constexpr paxos::Duration written_after = std::chrono::seconds{3};
constexpr paxos::Duration refusals_linger = std::chrono::seconds{1};
}  // namespace

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
    Entry entry{.ticket = e.ticket,
                .seq = e.seq,
                .key = std::move(e.post.key),
                .topic = std::move(e.post.topic),
                .written_ms = e.post.written_ms,
                .restored = true,
                .queued = now,
                .repeat = {},
                .delivery = {}};
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
  Entry entry{.ticket = ticket,
              .key = std::move(post.key),
              .topic = std::move(post.topic),
              .written_ms = post.written_ms,
              .queued = now,
              .repeat = {},
              .delivery = {}};
  entry.delivery.ticket = ticket;
  entry.delivery.message.room = std::move(post.room);
  entry.delivery.message.name = std::move(post.name);
  entry.delivery.message.text = std::move(post.text);
  entries_.push_back(std::move(entry));
  return ticket;
}

std::uint64_t Outbox::enqueue_deed(paxos::Time now, chat::Operation deed, std::string room,
                                   std::uint64_t seq) {
  PAXOS_ASSERT(!close_wanted_ && !options_.journal);
  const std::uint64_t ticket = next_ticket_++;
  Entry entry{.ticket = ticket, .queued = now, .repeat = {}, .delivery = {}};
  entry.delivery.ticket = ticket;
  entry.delivery.message.room = std::move(room);
  entry.delivery.message.seq = seq;
  entry.deed = std::move(deed);
  entries_.push_back(std::move(entry));
  return ticket;
}

std::uint64_t Outbox::redact(paxos::Time now, chat::Redact redact) {
  std::string room = redact.room;
  const std::uint64_t seq = redact.seq;
  return enqueue_deed(now, std::move(redact), std::move(room), seq);
}

std::uint64_t Outbox::retain(paxos::Time now, chat::Retain retain) {
  std::string room = retain.room;
  return enqueue_deed(now, std::move(retain), std::move(room), 0);
}

std::uint64_t Outbox::set_access(paxos::Time now, chat::SetAccess access) {
  return enqueue_deed(now, std::move(access), {}, 0);
}

void Outbox::close(paxos::Time) { close_wanted_ = true; }

std::optional<paxos::Time> Outbox::oldest() const {
  if (entries_.empty()) return std::nullopt;
  return entries_.front().queued;
}

std::vector<Outbox::Unfinished> Outbox::unfinished(std::size_t at_most) const {
  std::vector<Unfinished> out;
  for (const Entry& entry : entries_) {
    if (out.size() == at_most) break;
    // A seq is given right before sending; a restored one may have been sent by whoever had it.
    out.push_back({entry.delivery.message.room, entry.delivery.message.text, entry.queued, entry.seq != 0});
  }
  return out;
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

std::optional<std::string> Outbox::disks_full() const {
  return told_full() ? std::optional(chat::disks_full_text(waiting_->missing)) : std::nullopt;
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
  else if (const auto* page = std::get_if<chat::HistoryReply>(&reply))
    on_history(now, *page);
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
  answer(now, *entry, receipt);
}

/// Under this key nothing of what waits is ever said.
void Outbox::open_refused(const std::string& why) {
  phase_ = Phase::idle;
  single_ = {};
  for (Entry& entry : entries_) {
    if (entry.fate != Fate::unsent) continue;
    entry.delivery.refused = why;
    entry.delivery.unknown = entry.said;  // in an earlier session, which is gone, and its answer with it
    settle(entry);
  }
}

void Outbox::opened(paxos::Time, const chat::Outcome& outcome) {
  if (outcome.verdict == chat::Verdict::key_unknown || outcome.verdict == chat::Verdict::key_may_not)
    return open_refused(chat::to_string(outcome.verdict));
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

std::size_t Outbox::weight(const Entry& entry) {
  const chat::Message& message = entry.delivery.message;
  return entry.key.size() + message.text.size() + message.name.size() + message.room.size() + 64;
}

void Outbox::settle(Entry& entry) {
  entry.fate = Fate::known;
  entry.repeat = {};
  if (entry.in_flight) flight_bytes_ -= weight(entry);
  entry.in_flight = false;
}

/// It ran, says the log, and no more than that.
void Outbox::look_up(Entry& entry) {
  entry.delivery.refused.clear();
  entry.ran = true;
  if (std::exchange(entry.fate, Fate::lookup) == Fate::lookup) return;  // the same answer once more
  // A search of its room that is under way may have passed it already.
  if (search_ && search_->room == entry.delivery.message.room) search_.reset();
}

void Outbox::answer(paxos::Time now, Entry& entry, const chat::Receipt& receipt) {
  using chat::Verdict;
  const chat::Outcome& outcome = receipt.outcome;
  switch (outcome.verdict) {
    case Verdict::done:
    case Verdict::repeat:
      if (outcome.room_seq == 0 && !(entry.deed && entry.fate == Fate::sent)) {
        // Only the Close of a voided entry, the rule for all rooms and what is said of keys run without a
        // place in a room: nothing from this seq on can ever run.
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
      entry.delivery.message.key = options_.whose.id;
      entry.delivery.message.proven = options_.proven;
      if (receipt.first && receipt.first->session != session_) {
        // Under which key that one came, its receipt does not say.
        entry.delivery.message.key = 0;
        entry.delivery.message.proven = false;
      }
      if (receipt.first) {
        // The message under this key: ours, or another's that says the same.
        entry.delivery.repeat = receipt.first->session != session_ || receipt.first->client_seq != entry.seq;
        entry.delivery.message.session = receipt.first->session;
        entry.delivery.message.client_seq = receipt.first->client_seq;
        entry.delivery.message.name = receipt.first->name;
      }
      settle(entry);
      return;
    case Verdict::conflict:
      abandon_ = true;
      if (entry.fate == Fate::voided) {  // the message itself took the seq after all
        if (!entry.may_repeat()) return look_up(entry);
        // No history shows what a redaction or a rule came to (and no room is the one of a rule for all): it
        // is asked for anew, in the next session.
        entry.delivery.refused.clear();
        entry.fate = Fate::unsent;
        entry.repeat = {};
        return;
      }
      entry.delivery.refused = chat::to_string(Verdict::conflict);
      settle(entry);
      return;
    case Verdict::receipt_gone:
      entry.delivery.refused.clear();
      if (entry.may_repeat()) return settle(entry);
      look_up(entry);
      return;
    case Verdict::session_unknown:
      session_gone(now);
      return;
    case Verdict::early:
      return;  // its predecessors are repeated, and so is it
    case Verdict::rooms_full:
    case Verdict::invalid:
    case Verdict::key_conflict:
    case Verdict::keys_full:
    case Verdict::no_message:
    case Verdict::no_room:
    case Verdict::kept_too_short:
    case Verdict::forgotten:
    case Verdict::key_unknown:
    case Verdict::key_may_not:
    case Verdict::name_owned:
    case Verdict::name_bound:
    case Verdict::names_closed:
    case Verdict::key_exists:
    case Verdict::access_full:
    case Verdict::no_such_key:
    case Verdict::rotation_open:
    case Verdict::no_rotation:
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
    if (entry.fate == Fate::known || entry.seq == 0 || entry.may_repeat()) continue;
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
  if (phase_ == Phase::opening && !options_.whose.is_secret() && refused.session.none())
    return open_refused(refused.reason);
  if (phase_ != Phase::open) return;
  if (refused.session.none() && refused.client_seq == 0) {
    if (go_plain(now)) return;
    // It could not even read what it was sent. All that an older replica does not read are messages with a
    // key, or a topic, redactions, and what rooms keep.
    for (Entry& entry : entries_)
      if (entry.fate == Fate::sent && entry.may_repeat())
        put_aside(now, entry,
                  std::string("a replica of an older version does not know ") +
                      (std::holds_alternative<chat::Redact>(*entry.deed)   ? "redactions"
                       : std::holds_alternative<chat::Retain>(*entry.deed) ? "retention"
                                                                           : "keys with roles") +
                      " (`paxosctl status` shows which): " + refused.reason);
    for (Entry& entry : entries_)
      if (entry.fate == Fate::sent && now >= entry.heed_refusals && (!entry.key.empty() || entry.topic))
        put_aside(now, entry,
                  std::string("a replica of an older version does not know ") +
                      (entry.topic ? "topics" : "messages with a key") +
                      " (`paxosctl status` shows which): " + refused.reason);
    return;
  }
  if (refused.session != session_) return;
  if (refused.reason.starts_with(chat::session_of_another_key)) {
    of_another_key_ = true;
    return;
  }
  Entry* entry = find(refused.client_seq);
  if (entry == nullptr || entry->fate != Fate::sent) return;
  if ((says_when(now, *entry) && go_plain(now)) || now < entry->heed_refusals) return;
  // Of a copy that was sent before, by somebody who read it late: it goes without by now.
  if (refused.reason.starts_with(chat::written_not_known)) return;
  put_aside(now, *entry, refused.reason.empty() ? "refused" : refused.reason);
}

/// When it was written is worth a word only of a message that waited: what is posted at once has its time.
bool Outbox::says_when(paxos::Time now, const Entry& entry) const {
  if (options_.always_written) return entry.written_ms != 0;
  return !plain_ && entry.written_ms != 0 && (entry.restored || now - entry.queued >= written_after);
}

/// A replica of an older version, or one of a cluster that has some, takes no message with the time it was
/// written: from here on they go without. The log takes the two forms of a message for one. True where that
/// was the case.
bool Outbox::go_plain(paxos::Time now) {
  if (options_.always_written) return false;
  bool any = false;
  for (const Entry& entry : entries_) any = any || (entry.fate == Fate::sent && says_when(now, entry));
  if (!any) return false;
  for (Entry& entry : entries_)
    if (entry.fate == Fate::sent && says_when(now, entry)) entry.heed_refusals = now + refusals_linger;
  plain_ = true;
  resend_all(now);
  return true;
}

void Outbox::put_aside(paxos::Time now, Entry& entry, std::string why) {
  entry.fate = Fate::voided;
  entry.delivery.refused = std::move(why);
  entry.repeat.attempts = 0;
  send_entry(now, entry);
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
  // What an earlier life of this client gave a seq it may have sent, too: it is asked for in this session
  // before that is left, or it would run twice.
  const bool owed = std::any_of(entries_.begin(), entries_.end(), [](const Entry& e) { return e.owed(); });
  if (phase_ == Phase::open && abandon_ && !owed && !any(Fate::sent, Fate::voided, Fate::lookup))
    new_session();
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
    send_unsent(now);
    if (close_wanted_ && entries_.empty()) {
      phase_ = Phase::closing;
      single_ = {};
      send_single(now);
    }
  }
}

void Outbox::send_unsent(paxos::Time now) {
  for (; unsent_ < entries_.size() && unsent_ < options_.outstanding; ++unsent_) {
    Entry& entry = entries_[unsent_];
    if (entry.fate != Fate::unsent) continue;
    if (abandon_ && !entry.owed()) return;
    // What never left can be given back, and told to be refused.
    if (told_full() && unsent_ > 0) return;
    const std::size_t size = weight(entry);
    if (unsent_ > 0 && flight_bytes_ + size > flight_bytes_max) return;
    if (entry.seq == 0) entry.seq = next_seq_++;
    entry.fate = Fate::sent;
    entry.in_flight = true;
    flight_bytes_ += size;
    entry.repeat = {};
    send_entry(now, entry);
  }
}

}  // namespace client
