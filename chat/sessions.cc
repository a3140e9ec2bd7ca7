#include "chat/sessions.h"

#include "paxos/coding.h"
#include "paxos/invariant.h"

namespace chat {

Session* SessionTable::find(const SessionId& id) {
  const auto at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : &at->second.session;
}
const Session* SessionTable::find(const SessionId& id) const {
  const auto at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : &at->second.session;
}
Session* SessionTable::find(const Nonce& nonce) {
  const auto at = by_nonce_.find(nonce);
  return at == by_nonce_.end() ? nullptr : find(at->second);
}

Session& SessionTable::insert(Session session) {
  const SessionId id = session.id;
  PAXOS_ASSERT(by_id_.find(id) == by_id_.end());
  by_nonce_[session.nonce] = id;
  const auto idle = idle_.insert(idle_.end(), id);
  return by_id_.emplace(id, Entry{std::move(session), idle}).first->second.session;
}

void SessionTable::erase(const SessionId& id) {
  const auto at = by_id_.find(id);
  PAXOS_ASSERT(at != by_id_.end());
  const auto nonce = by_nonce_.find(at->second.session.nonce);
  if (nonce != by_nonce_.end() && nonce->second == id) by_nonce_.erase(nonce);
  idle_.erase(at->second.idle);
  by_id_.erase(at);
}

void SessionTable::touch(Session& session, std::int64_t clock_ms, paxos::Slot slot, std::uint32_t index) {
  session.active_ms = clock_ms;
  session.active_slot = slot;
  session.active_index = index;
  const auto at = by_id_.find(session.id);
  idle_.splice(idle_.end(), idle_, at->second.idle);
}

const Session* SessionTable::longest_idle() const { return idle_.empty() ? nullptr : find(idle_.front()); }

std::string encode_session(const Session& s) {
  std::string out;
  paxos::ByteWriter w(out);
  w.fixed(std::uint8_t{1});
  w.raw(s.nonce);
  w.varint(s.last_seq);
  w.varint(s.answered_below);
  w.fixed(static_cast<std::uint64_t>(s.active_ms));
  w.varint(s.active_slot.n);
  w.varint(s.active_index);
  w.varint(s.answers.size());
  for (const StoredAnswer& a : s.answers) {
    w.varint(a.seq);
    w.fixed(a.content);
    w.fixed(static_cast<std::uint8_t>(a.verdict));
    w.varint(a.slot.n);
    w.varint(a.index);
    w.varint(a.room_seq);
    w.fixed(static_cast<std::uint64_t>(a.time_ms));
  }
  return out;
}

std::optional<Session> decode_session(const SessionId& id, std::string_view bytes) {
  paxos::ByteReader r(bytes);
  Session s;
  s.id = id;
  if (r.fixed<std::uint8_t>() != 1) return std::nullopt;
  s.nonce = r.array<16>();
  s.last_seq = r.varint();
  s.answered_below = r.varint();
  s.active_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  s.active_slot.n = r.varint();
  s.active_index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
  const auto count = r.varint_max(limits::outstanding_max);
  for (std::uint64_t i = 0; i < count && r.ok(); ++i) {
    StoredAnswer a;
    a.seq = r.varint();
    a.content = r.fixed<std::uint64_t>();
    a.verdict = static_cast<Verdict>(r.fixed<std::uint8_t>());
    a.slot.n = r.varint();
    a.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
    a.room_seq = r.varint();
    a.time_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
    s.answers.push_back(a);
  }
  if (!r.done()) return std::nullopt;
  return s;
}

}  // namespace chat
