#include "net/fragment.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "paxos/coding.h"
#include "paxos/invariant.h"

namespace net {

namespace {
/// Quiet for this long with parts missing: ask. Doubles with each time of asking.
constexpr paxos::Duration first_ask{std::chrono::milliseconds{5}};
constexpr unsigned asks_max = 10;
/// A complete message is kept this long, for a sender that lost the answer.
constexpr paxos::Duration complete_kept{std::chrono::seconds{2}};
}  // namespace

void encode(std::string& out, const FragmentHeader& h) {
  paxos::ByteWriter w(out);
  w.fixed(h.message);
  w.fixed(h.total);
  w.fixed(h.index);
  w.fixed(h.count);
}

void Reassembly::drop(const Key& key) {
  const auto at = partials_.find(key);
  if (at == partials_.end()) return;
  memory_ -= at->second.header.total;
  by_order_.erase(at->second.order);
  partials_.erase(at);
}

void Reassembly::make_room(std::size_t bytes) {
  while (memory_ + bytes > memory_max && !by_order_.empty()) {
    const Key oldest = by_order_.begin()->second;
    drop(oldest);
  }
}

Reassembly::Result Reassembly::add(paxos::Time now, const Identity& sender, const Address& from,
                                   const paxos::Bytes& part, paxos::Bytes& whole) {
  paxos::ByteReader r(part.span());
  FragmentHeader h;
  h.message = r.fixed<std::uint64_t>();
  h.total = r.fixed<std::uint32_t>();
  h.index = r.fixed<std::uint16_t>();
  h.count = r.fixed<std::uint16_t>();
  const std::size_t size = r.remaining();
  if (!r.ok() || h.count < 2 || h.count > fragments_max || h.index >= h.count || h.total > fragmented_bytes_max ||
      size == 0)
    return Result::refused;
  // All parts are equal but the last, so any part tells where it belongs.
  const bool last = h.index + 1 == h.count;
  const std::size_t part_bytes = last ? (h.total - size) / (h.count - 1u) : size;
  if (size > h.total || part_bytes == 0 || size > part_bytes || part_bytes * (h.count - 1u) >= h.total ||
      h.total - part_bytes * (h.count - 1u) > part_bytes ||
      (last && part_bytes * (h.count - 1u) + size != h.total))
    return Result::refused;

  const Key key{sender, h.message};
  auto at = partials_.find(key);
  if (at == partials_.end()) {
    make_room(h.total);
    Partial p;
    p.from = from;
    p.header = h;
    p.buffer = std::make_shared_for_overwrite<std::byte[]>(h.total);
    p.have.resize(h.count);
    p.part_bytes = part_bytes;
    p.order = next_order_++;
    memory_ += h.total;
    by_order_.emplace(p.order, key);
    at = partials_.emplace(key, std::move(p)).first;
  }
  Partial& p = at->second;
  if (p.header.total != h.total || p.header.count != h.count || p.part_bytes != part_bytes) return Result::refused;
  p.from = from;
  const auto give = [&] {
    const std::byte* data = p.buffer.get();
    whole = paxos::Bytes(p.buffer, data, p.header.total);
    p.ask_at = now + complete_kept;
    return Result::complete;
  };
  if (p.complete) return give();
  p.ask_at = now + first_ask * (1 << std::min(p.asked, 6U));
  if (p.have[h.index]) return Result::incomplete;
  std::memcpy(p.buffer.get() + h.index * part_bytes, r.raw(size).data(), size);
  p.have[h.index] = true;
  ++p.have_count;
  p.asked = 0;
  if (p.have_count < p.have.size()) return Result::incomplete;
  p.complete = true;
  return give();
}

std::vector<Reassembly::Need> Reassembly::tick(paxos::Time now) {
  std::vector<Need> needs;
  std::vector<Key> gone;
  for (auto& [key, p] : partials_) {
    if (p.ask_at > now) continue;
    if (p.complete || p.asked >= asks_max) {
      gone.push_back(key);
      continue;
    }
    Need need{.to = p.from, .message = key.second, .missing = {}};
    for (std::size_t i = 0; i < p.have.size(); ++i)
      if (!p.have[i]) need.missing.push_back(static_cast<std::uint16_t>(i));
    ++p.asked;
    p.ask_at = now + first_ask * (1 << std::min(p.asked, 6U));
    needs.push_back(std::move(need));
  }
  for (const Key& key : gone) drop(key);
  return needs;
}

paxos::Time Reassembly::deadline() const {
  paxos::Time at = paxos::time_never;
  for (const auto& [key, p] : partials_) at = std::min(at, p.ask_at);
  return at;
}

FragmentCache::Entry& FragmentCache::put(std::string message) {
  const XXH128_hash_t hash = XXH3_128bits(message.data(), message.size());
  const Digest digest{hash.low64, hash.high64};
  if (const auto known = by_content_.find(digest); known != by_content_.end()) return entries_.at(known->second);
  while (memory_ + message.size() > memory_max && !order_.empty()) {
    const auto [id, content] = order_.front();
    order_.pop_front();
    memory_ -= entries_.at(id).message.size();
    entries_.erase(id);
    by_content_.erase(content);
  }
  const std::uint64_t id = next_id_++;
  memory_ += message.size();
  by_content_.emplace(digest, id);
  order_.emplace_back(id, digest);
  return entries_.emplace(id, Entry{.id = id, .message = paxos::Bytes::from(std::move(message)), .sent_to = {}})
      .first->second;
}

FragmentCache::Entry* FragmentCache::find(std::uint64_t id) {
  const auto at = entries_.find(id);
  return at == entries_.end() ? nullptr : &at->second;
}

std::string encode_need(const Reassembly::Need& need, std::uint16_t count) {
  std::string out;
  paxos::ByteWriter w(out);
  w.fixed(need.message);
  w.fixed(count);
  std::string bitmap((count + 7u) / 8, '\0');
  for (std::uint16_t index : need.missing) bitmap[index / 8] = static_cast<char>(bitmap[index / 8] | 1 << (index % 8));
  w.raw(bitmap);
  return out;
}

std::optional<DecodedNeed> decode_need(const paxos::Bytes& bytes) {
  paxos::ByteReader r(bytes.span());
  DecodedNeed need;
  need.message = r.fixed<std::uint64_t>();
  const auto count = r.fixed<std::uint16_t>();
  if (!r.ok() || count > fragments_max) return std::nullopt;
  const auto bitmap = r.raw((count + 7u) / 8);
  if (!r.done()) return std::nullopt;
  for (std::uint16_t index = 0; index < count; ++index)
    if ((static_cast<unsigned>(bitmap[index / 8]) >> (index % 8) & 1U) != 0) need.missing.push_back(index);
  return need;
}

}  // namespace net
