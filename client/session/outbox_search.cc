#include <algorithm>
#include <utility>

#include "client/session/outbox.h"

/// What became of messages whose session is gone: a linearizable history, read back to the session's open,
/// says.
namespace client {

namespace {
constexpr std::uint64_t chunk_messages = 256;
}  // namespace

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
  chat::HistoryRequest request{
      .id = s.id, .room = s.room, .from = 1, .last = 0, .limit = chat::limit_wants_stamps, .local = false};
  if (s.low == 0) {
    request.last = chunk_messages;
  } else {
    request.from = s.cursor;
    request.limit |= static_cast<std::uint32_t>(s.high - s.cursor + 1);
  }
  paxos::ReplicaId to = target_;
  for (std::size_t i = 0; i < s.moved % options_.replicas; ++i) to = next_member(to);
  out_.sends.push_back({to, std::move(request)});
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
  // What the room has forgotten stands in no page: it was there, maybe ours among it.
  s.forgotten = s.forgotten || reply.page.first > s.low;
  for (const chat::Message& message : reply.page.messages) {
    if (message.slot <= session_.slot) s.reached_open = true;
    if (message.session != session_) continue;
    Entry* entry = find(message.client_seq);
    if (entry == nullptr || entry->fate != Fate::lookup) continue;
    const chat::Message& own = entry->delivery.message;
    if (message.room == own.room && message.name == own.name && message.text != own.text &&
        (message.redacted || message.text == chat::redacted_text)) {
      // Its text is gone. Somebody else may have this session, too (a copied state file), so that it need not
      // have been this one: nothing is called delivered that perhaps is not.
      entry->delivery.refused = redacted_meanwhile;
      entry->delivery.unknown = true;
      abandon_ = true;
      settle(*entry);
      continue;
    }
    if (message.room != own.room || message.name != own.name || message.text != own.text) {
      // Somebody else has this session, too (a copied state file), and was first.
      entry->delivery.refused = chat::to_string(chat::Verdict::conflict);
      abandon_ = true;
      settle(*entry);
      continue;
    }
    if (entry->in_flight) flight_bytes_ -= weight(*entry);
    found(*entry, message);
  }
  const bool open_ones = std::any_of(entries_.begin(), entries_.end(), [&](const Entry& e) {
    return e.fate == Fate::lookup && e.delivery.message.room == s.room;
  });
  if (!open_ones) return finish_room();
  if (reply.page.next != 0 && reply.page.next > s.cursor && reply.page.next <= s.high) {
    s.cursor = reply.page.next;
  } else {
    if (s.low == 1 || s.reached_open || s.forgotten) return finish_room();
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
    // What stood below is forgotten, and the session's open was not seen above it: it may have been there,
    // and is not sent again, nor under its key, which the log may have forgotten as well.
    if (search_->forgotten && !search_->reached_open && !entry.may_repeat()) {
      entry.delivery.refused = forgotten_meanwhile;
      entry.delivery.unknown = true;
    } else if (entry.ran && entry.key.empty() && !entry.may_repeat()) {
      // With a key it can be asked for again: what stands is answered, and what does not was refused. So can
      // a redaction, which no history shows and which changes nothing the second time.
      entry.delivery.refused = "the log refused it earlier; its reason is gone";
    }
    if (!entry.delivery.refused.empty())
      settle(entry);
    else
      entry.fate = Fate::unsent;  // it can never run in the session that is gone: a new one sends it
  }
  search_.reset();
}

}  // namespace client
