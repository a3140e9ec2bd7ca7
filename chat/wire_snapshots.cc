#include <utility>

#include "chat/snapshot.h"
#include "chat/wire.h"
#include "chat/wire_fields.h"
#include "paxos/overloaded.h"

/// Between replicas, about snapshots: docs/WIRE.md.
namespace chat {

using namespace wire;

namespace {

constexpr std::uint64_t slot_max = std::uint64_t{1} << 62;

void put(Writer& w, const SnapshotId& id) {
  w.raw(id.source.bytes);
  w.fixed(id.number);
  w.number(id.slot.n);
  w.raw(id.hash.bytes);
}

SnapshotId get_id(Reader& r) {
  SnapshotId id;
  id.source.bytes = r.array<16>();
  id.number = r.fixed();
  id.slot.n = r.number();
  id.hash.bytes = r.array<16>();
  if (id.slot.none() || id.slot.n > slot_max) r.fail();
  return id;
}

void put(Writer& w, const SnapshotPlace& place) {
  w.number(place.offset);
  w.text(place.key);
  w.number(place.skip);
}

SnapshotPlace get_place(Reader& r) {
  SnapshotPlace place;
  place.offset = r.number();
  place.key = r.text(limits::snapshot_key_bytes_max);
  place.skip = r.number();
  if (place.skip > limits::snapshot_row_bytes_max || place.skip > place.offset) r.fail();
  return place;
}

Slot get_slot(Reader& r) {
  const Slot slot{r.number()};
  if (slot.n > slot_max) r.fail();
  return slot;
}

template <class T, class F>
void put_maybe(Writer& w, const std::optional<T>& value, F&& put_value) {
  w.flag(value.has_value());
  if (value) put_value(*value);
}

SnapshotWord get_word(Reader& r) {
  switch (r.byte()) {
    case 1: {
      SnapshotAsk m;
      m.nonce = r.fixed();
      m.above = get_slot(r);
      if (r.flag()) m.begun = get_id(r);
      return m;
    }
    case 2: {
      SnapshotOffer m;
      m.nonce = r.fixed();
      const auto answer = r.byte();
      if (answer < 1 || answer > 4) r.fail();
      m.answer = static_cast<SnapshotAnswer>(answer);
      if (m.answer == SnapshotAnswer::offered) {
        m.id = get_id(r);
        m.bytes = r.number();
      }
      return m;
    }
    case 3: {
      SnapshotPull m;
      m.id = get_id(r);
      m.from = get_place(r);
      m.window = r.number32();
      m.again = r.flag();
      return m;
    }
    case 4: {
      SnapshotChunk m;
      m.id = get_id(r);
      m.offset = r.number();
      m.next = get_place(r);
      m.last = r.flag();
      m.checksum = r.fixed();
      m.bytes = r.bytes(limits::snapshot_chunk_bytes);
      if (m.next.offset < m.offset || m.next.offset - m.offset != m.bytes.size()) r.fail();
      return m;
    }
    case 5:
      return SnapshotSumAsk{get_id(r)};
    case 6: {
      SnapshotSummed m;
      m.id = get_id(r);
      if (r.flag()) {
        m.sum.emplace();
        m.sum->rows = r.number();
        m.sum->bytes = r.number();
        m.sum->sum.bytes = r.array<16>();
      }
      return m;
    }
    case 7:
      return SnapshotGone{get_id(r)};
    case 8: {
      SnapshotHashAsk m;
      m.nonce = r.fixed();
      m.slot = get_slot(r);
      return m;
    }
    case 9: {
      SnapshotHash m;
      m.nonce = r.fixed();
      m.slot = get_slot(r);
      if (r.flag()) m.hash = paxos::Hash{r.array<16>()};
      return m;
    }
    default:
      r.fail();
      return {};
  }
}

}  // namespace

void encode(std::string& out, const SnapshotWord& word) {
  Writer w(out);
  w.byte(static_cast<std::uint8_t>(word.index() + 1));
  std::visit(paxos::Overloaded{
                 [&](const SnapshotAsk& m) {
                   w.fixed(m.nonce);
                   w.number(m.above.n);
                   put_maybe(w, m.begun, [&](const SnapshotId& id) { put(w, id); });
                 },
                 [&](const SnapshotOffer& m) {
                   w.fixed(m.nonce);
                   w.byte(static_cast<std::uint8_t>(m.answer));
                   if (m.answer != SnapshotAnswer::offered) return;
                   put(w, m.id);
                   w.number(m.bytes);
                 },
                 [&](const SnapshotPull& m) {
                   put(w, m.id);
                   put(w, m.from);
                   w.number(m.window);
                   w.flag(m.again);
                 },
                 [&](const SnapshotChunk& m) {
                   put(w, m.id);
                   w.number(m.offset);
                   put(w, m.next);
                   w.flag(m.last);
                   w.fixed(m.checksum);
                   w.bytes(m.bytes);
                 },
                 [&](const SnapshotSumAsk& m) { put(w, m.id); },
                 [&](const SnapshotSummed& m) {
                   put(w, m.id);
                   put_maybe(w, m.sum, [&](const SnapshotSum& sum) {
                     w.number(sum.rows);
                     w.number(sum.bytes);
                     w.raw(sum.sum.bytes);
                   });
                 },
                 [&](const SnapshotGone& m) { put(w, m.id); },
                 [&](const SnapshotHashAsk& m) {
                   w.fixed(m.nonce);
                   w.number(m.slot.n);
                 },
                 [&](const SnapshotHash& m) {
                   w.fixed(m.nonce);
                   w.number(m.slot.n);
                   put_maybe(w, m.hash, [&](const paxos::Hash& hash) { w.raw(hash.bytes); });
                 },
             },
             word);
}

tl::expected<SnapshotWord, const char*> decode_snapshot_word(const paxos::Bytes& bytes) {
  return decode<SnapshotWord>(bytes, get_word);
}

}  // namespace chat
