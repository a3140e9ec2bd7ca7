#include "chat/sessions.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "paxos/coding.h"
#include "paxos/invariant.h"

namespace chat {

void Answers::move_to(std::size_t capacity) {
  if (capacity == capacity_) {
    std::copy_n(items_.get() + head_, size_, items_.get());
  } else {
    auto items = std::make_unique<StoredAnswer[]>(capacity);
    std::copy_n(items_.get() + head_, size_, items.get());
    items_ = std::move(items);
    capacity_ = static_cast<std::uint32_t>(capacity);
  }
  head_ = 0;
}

void Answers::push(const StoredAnswer& answer) {
  // A quarter free is worth a move to the front; less would move again soon.
  if (head_ + size_ == capacity_)
    move_to(4 * size_ <= 3 * capacity_ && capacity_ != 0
                ? capacity_
                : std::max<std::size_t>(capacity_min, size_ + size_ / 2 + 1));
  items_[head_ + size_++] = answer;
}

void Answers::drop_front(std::size_t count) {
  PAXOS_ASSERT(count <= size_);
  head_ += static_cast<std::uint32_t>(count);
  size_ -= static_cast<std::uint32_t>(count);
  if (capacity_ > capacity_min && 2 * size_ + 1 < capacity_)
    move_to(std::max<std::size_t>(capacity_min, size_ + size_ / 2 + 1));
}

std::size_t SessionTable::IdHash::operator()(const SessionId& id) const {
  const std::uint64_t h = (id.slot.n ^ std::uint64_t{id.index} << 40) * 0x9e3779b97f4a7c15ULL;
  return static_cast<std::size_t>(h ^ h >> 32);
}

std::size_t SessionTable::NonceHash::operator()(const Nonce& nonce) const {
  // Random bytes already; a client that picks bad ones slows down opens, no more. The order of this table
  // is never looked at.
  std::uint64_t a = 0, b = 0;
  std::memcpy(&a, nonce.data(), 8);
  std::memcpy(&b, nonce.data() + 8, 8);
  return static_cast<std::size_t>((a ^ b * 0x9e3779b97f4a7c15ULL) * 0xbf58476d1ce4e5b9ULL);
}

Session* SessionTable::find(const SessionId& id) {
  const auto at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : &at->second;
}
const Session* SessionTable::find(const SessionId& id) const {
  const auto at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : &at->second;
}
Session* SessionTable::find(const Nonce& nonce) {
  const auto at = by_nonce_.find(nonce);
  return at == by_nonce_.end() ? nullptr : at->second;
}

Session& SessionTable::insert(Session session) {
  const SessionId id = session.id;
  const auto [at, fresh] = by_id_.emplace(id, std::move(session));
  PAXOS_ASSERT(fresh);
  Session& stored = at->second;
  by_nonce_[stored.nonce] = &stored;
  answers_ += stored.answers.size();
  answer_bytes_ += stored.answers.bytes_held();
  order_.add(stored);
  return stored;
}

void SessionTable::erase(const SessionId& id) {
  const auto at = by_id_.find(id);
  PAXOS_ASSERT(at != by_id_.end());
  const auto nonce = by_nonce_.find(at->second.nonce);
  if (nonce != by_nonce_.end() && nonce->second == &at->second) by_nonce_.erase(nonce);
  answers_ -= at->second.answers.size();
  answer_bytes_ -= at->second.answers.bytes_held();
  order_.remove(at->second);
  by_id_.erase(at);
}

void SessionTable::touch(Session& session, std::int64_t clock_ms, paxos::Slot slot, std::uint32_t index) {
  session.active_ms = clock_ms;
  session.active_slot = slot;
  session.active_index = index;
  order_.touch(session);
}

void SessionTable::answer(Session& session, const StoredAnswer& answer) {
  PAXOS_ASSERT(session.answers.size() < limits::outstanding_max);
  ++session.last_seq;
  const std::size_t before = session.answers.bytes_held();
  session.answers.push(answer);
  answer_bytes_ += session.answers.bytes_held() - before;
  ++answers_;
}

void SessionTable::answered(Session& session, std::uint64_t seq) {
  seq = std::min(seq, session.last_seq + 1);
  if (seq <= session.answered_below) return;
  const auto count = static_cast<std::size_t>(seq - session.answered_below);
  session.answered_below = seq;
  const std::size_t before = session.answers.bytes_held();
  session.answers.drop_front(count);
  answer_bytes_ -= before - session.answers.bytes_held();
  answers_ -= count;
}

namespace {

/// Small numbers of either sign as small varints.
std::uint64_t zigzag(std::uint64_t difference) {
  return difference << 1 ^ (difference >> 63 == 0 ? 0 : ~std::uint64_t{0});
}
std::uint64_t unzigzag(std::uint64_t value) {
  return value >> 1 ^ ((value & 1) == 0 ? 0 : ~std::uint64_t{0});
}

/// What each answer is told as a difference to.
struct Before {
  std::uint64_t slot = 0, room_seq = 0, time_ms = 0;
};

void encode_answers(std::string& out, std::span<const StoredAnswer> answers, Before before) {
  // Answers of one slot follow each other: differences keep them at about 14 bytes.
  for (const StoredAnswer& a : answers) {
    const auto time = static_cast<std::uint64_t>(a.time_ms);
    paxos::FewBytes<64> answer;
    answer.fixed(a.content).fixed(static_cast<std::uint8_t>(a.verdict));
    answer.varint(a.slot.n - std::exchange(before.slot, a.slot.n)).varint(a.index);
    answer.varint(zigzag(a.room_seq - std::exchange(before.room_seq, a.room_seq)));
    answer.varint(zigzag(time - std::exchange(before.time_ms, time))).append_to(out);
  }
}

void decode_answers(paxos::ByteReader& r, std::uint64_t count, Before before, Answers& into) {
  for (std::uint64_t i = 0; i < count && r.ok(); ++i) {
    StoredAnswer a;
    a.content = r.fixed<std::uint64_t>();
    a.verdict = static_cast<Verdict>(r.fixed<std::uint8_t>());
    a.slot.n = before.slot += r.varint();
    a.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
    a.room_seq = before.room_seq += unzigzag(r.varint());
    before.time_ms += unzigzag(r.varint());
    a.time_ms = static_cast<std::int64_t>(before.time_ms);
    into.push(a);
  }
}

}  // namespace

std::uint64_t row_phase(const SessionId& id, std::uint64_t ring) {
  std::uint64_t h = (id.slot.n ^ std::uint64_t{id.index} << 40) * 0x9e3779b97f4a7c15ULL;
  h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9ULL;
  return (h >> 32) % ring;
}

void encode_change(std::string& out, const Session& s) {
  const std::uint64_t first = std::max(s.seq_before + 1, s.answered_below);
  paxos::FewBytes<48> head;
  head.varint(s.seq_before).varint(s.last_seq - s.seq_before).varint(s.answered_below).varint(s.active_index);
  head.append_to(out);
  encode_answers(out, s.answers.view().subspan(static_cast<std::size_t>(first - s.answered_below)),
                 {.slot = s.active_slot.n, .time_ms = static_cast<std::uint64_t>(s.active_ms)});
}

bool apply_change(Session& s, paxos::Slot slot, std::int64_t clock_ms, std::string_view bytes) {
  paxos::ByteReader r(bytes);
  const std::uint64_t before = r.varint();
  const std::uint64_t ran = r.varint();
  const std::uint64_t answered_below = r.varint();
  const auto index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
  if (!r.ok() || before != s.last_seq || ran > UINT32_MAX || answered_below < s.answered_below ||
      answered_below > before + ran + 1)
    return false;
  const std::uint64_t kept = before + 1 - s.answered_below;
  s.answers.drop_front(static_cast<std::size_t>(std::min(answered_below - s.answered_below, kept)));
  s.last_seq = before + ran;
  s.answered_below = answered_below;
  if (s.last_seq + 1 - answered_below > limits::outstanding_max) return false;
  decode_answers(r, s.last_seq + 1 - std::max(before + 1, answered_below),
                 {.slot = slot.n, .time_ms = static_cast<std::uint64_t>(clock_ms)}, s.answers);
  s.active_ms = clock_ms;
  s.active_slot = slot;
  s.active_index = index;
  return r.done();
}

void encode_session(std::string& out, const Session& s) {
  paxos::FewBytes<80> head;
  head.raw(s.nonce)
      .varint(s.last_seq)
      .varint(s.answered_below)
      .varint(static_cast<std::uint64_t>(s.active_ms));
  head.varint(s.active_slot.n).varint(s.active_index).append_to(out);
  encode_answers(out, s.answers.view(), {});
  if (s.whose.is_secret()) return;
  paxos::FewBytes<8> whose;
  whose.fixed(static_cast<std::uint8_t>(s.whose.role)).fixed(s.whose.id).append_to(out);
}

std::optional<Session> decode_session(const SessionId& id, std::string_view bytes) {
  paxos::ByteReader r(bytes);
  Session s;
  s.id = id;
  s.nonce = r.array<16>();
  s.last_seq = r.varint();
  s.answered_below = r.varint();
  s.active_ms = static_cast<std::int64_t>(r.varint());
  s.active_slot.n = r.varint();
  s.active_index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
  const std::uint64_t count = s.last_seq + 1 - s.answered_below;
  if (!r.ok() || s.answered_below == 0 || s.answered_below > s.last_seq + 1 ||
      count > limits::outstanding_max)
    return std::nullopt;
  decode_answers(r, count, {}, s.answers);
  if (r.ok() && r.remaining() > 0) {
    s.whose.role = static_cast<Role>(r.fixed<std::uint8_t>());
    s.whose.id = r.fixed<std::uint32_t>();
    if (!s.whose.valid() || s.whose.is_secret()) return std::nullopt;
  }
  if (!r.done()) return std::nullopt;
  return s;
}

}  // namespace chat
