#include "chat/keys.h"

#include <utility>

#include "paxos/coding.h"
#include "paxos/invariant.h"

namespace chat {

std::string KeyTable::name_of(std::string_view room, std::string_view key) {
  std::string out;
  out.reserve(1 + room.size() + key.size());
  out.push_back(static_cast<char>(room.size()));
  out.append(room).append(key);
  return out;
}

/// What it really takes, about: two hash nodes' worth, and texts that don't fit into a string itself twice.
std::size_t KeyTable::weight(std::size_t name_bytes, std::size_t sender_bytes) {
  return sizeof(Map::value_type) + 48 + name_bytes + sender_bytes;
}

const KeyedMessage* KeyTable::find(std::string_view room, std::string_view key) const {
  return find(name_of(room, key));
}
const KeyedMessage* KeyTable::find(const std::string& name) const {
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? nullptr : &at->second;
}

bool KeyTable::takes(std::string_view room, std::string_view key, std::size_t sender_bytes) const {
  return by_name_.size() < limits::keys_max &&
         bytes_ + weight(1 + room.size() + key.size(), sender_bytes) <= limits::keys_bytes_max;
}

void KeyTable::insert(std::string name, KeyedMessage message) {
  PAXOS_ASSERT(order_.empty() || order_.back()->second.clock_ms <= message.clock_ms);
  auto [at, fresh] = by_name_.try_emplace(std::move(name), std::move(message));
  PAXOS_ASSERT(fresh);
  bytes_ += weight(at->first.size(), at->second.name.size());
  order_.push_back(at);
}

std::optional<std::string> KeyTable::expire(std::int64_t clock_ms) {
  if (order_.empty() || clock_ms - order_.front()->second.clock_ms <= limits::key_kept_ms)
    return std::nullopt;
  const auto at = order_.front();
  order_.pop_front();
  bytes_ -= weight(at->first.size(), at->second.name.size());
  auto node = by_name_.extract(at);
  return std::move(node.key());
}

void encode_keyed(std::string& out, const KeyedMessage& m) {
  paxos::FewBytes<96> few;
  few.fixed(m.content).varint(m.session.slot.n).varint(m.session.index).varint(m.client_seq);
  few.varint(m.slot.n).varint(m.index).varint(m.room_seq);
  few.fixed(static_cast<std::uint64_t>(m.time_ms))
      .fixed(static_cast<std::uint64_t>(m.clock_ms))
      .append_to(out);
  paxos::ByteWriter(out).sized(m.name);
}

std::optional<KeyedMessage> decode_keyed(std::string_view bytes) {
  paxos::ByteReader r(bytes);
  KeyedMessage m;
  m.content = r.fixed<std::uint64_t>();
  m.session.slot.n = r.varint();
  m.session.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
  m.client_seq = r.varint();
  m.slot.n = r.varint();
  m.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
  m.room_seq = r.varint();
  m.time_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  m.clock_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  m.name = r.sized_view(limits::name_bytes_max);
  if (!r.done()) return std::nullopt;
  return m;
}

}  // namespace chat
