#include "chat/snapshot.h"

#include <xxhash.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "chat/redaction.h"
#include "chat/rows.h"
#include "chat/wire_fields.h"
#include "paxos/invariant.h"

namespace chat {

namespace {

/// Families are read one after the other: a store may keep them apart.
constexpr char first_family = 'a';
constexpr char last_family = 'z';

std::size_t varint_bytes(std::uint64_t n) {
  std::size_t bytes = 1;
  for (; n >= 0x80; n >>= 7) ++bytes;
  return bytes;
}

void put_row(std::string& out, std::string_view key, std::string_view value) {
  paxos::ByteWriter w(out);
  w.sized(key);
  w.sized(value);
}

std::size_t row_bytes(std::string_view key, std::string_view value) {
  return varint_bytes(key.size()) + key.size() + varint_bytes(value.size()) + value.size();
}

/// Rows that are each replica's own: no two have the same.
bool is_own(std::string_view key) { return !key.empty() && key.front() == rows::family_erasure; }

paxos::Hash to_hash(XXH128_hash_t sum) {
  paxos::Hash out;
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, sum);
  std::copy(std::begin(canonical.digest), std::end(canonical.digest), out.bytes.begin());
  return out;
}

}  // namespace

std::uint64_t snapshot_checksum(const SnapshotChunk& chunk) {
  std::string head;
  paxos::ByteWriter w(head);
  w.raw(chunk.id.source.bytes);
  w.fixed(chunk.id.number);
  w.fixed(chunk.id.slot.n);
  w.raw(chunk.id.hash.bytes);
  w.fixed(chunk.offset);
  w.fixed(chunk.next.offset);
  w.fixed(chunk.next.skip);
  w.sized(chunk.next.key);
  w.fixed(static_cast<std::uint8_t>(chunk.last ? 1 : 0));
  return XXH3_64bits_withSeed(chunk.bytes.data(), chunk.bytes.size(), XXH3_64bits(head.data(), head.size()));
}

void each_snapshot_row(const RowReader& rows, std::string_view from,
                       const std::function<bool(std::string_view, std::string_view)>& visit) {
  const char begin = from.empty() ? first_family : from.front();
  bool more = true;
  for (char family = std::max(begin, first_family); more && family <= last_family; ++family) {
    if (family == rows::family_progress) continue;
    const std::string first = family == begin && !from.empty() ? std::string(from) : std::string(1, family);
    rows.scan(first, rows::family_end(family), [&](std::string_view key, std::string_view value) {
      more = visit(key, value);
      return more;
    });
  }
}

SnapshotChunk read_snapshot(const RowReader& rows, const SnapshotId& id, const SnapshotPlace& from,
                            std::size_t bytes_max) {
  SnapshotChunk chunk{.id = id, .offset = from.offset, .next = from, .last = true, .bytes = {}};
  std::string bytes;
  bytes.reserve(bytes_max);
  std::uint64_t skip = from.skip;
  each_snapshot_row(rows, from.key, [&](std::string_view key, std::string_view value) {
    if (bytes.size() >= bytes_max) {
      chunk.last = false;
      return false;
    }
    const std::size_t size = row_bytes(key, value);
    const std::size_t room = bytes_max - bytes.size();
    if (skip == 0 && size <= room) {
      put_row(bytes, key, value);
    } else {
      std::string row;
      put_row(row, key, value);
      const std::string_view rest =
          std::string_view(row).substr(std::min<std::size_t>(static_cast<std::size_t>(skip), row.size()));
      if (rest.size() > room) {
        bytes.append(rest.substr(0, room));
        chunk.next.key = key;
        chunk.next.skip = skip + room;
        chunk.last = false;
        return false;
      }
      bytes.append(rest);
    }
    skip = 0;
    chunk.next.key = std::string(key) + '\0';
    chunk.next.skip = 0;
    return true;
  });
  chunk.next.offset = from.offset + bytes.size();
  chunk.bytes = paxos::Bytes::from(std::move(bytes));
  chunk.checksum = snapshot_checksum(chunk);
  return chunk;
}

// --- SnapshotCount ---

struct SnapshotCount::State {
  XXH3_state_t* hash = XXH3_createState();
  SnapshotSum sum;
  std::string next;
  std::string scratch;
  State() { XXH3_128bits_reset(hash); }
  ~State() { XXH3_freeState(hash); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

SnapshotCount::SnapshotCount() : state_(std::make_unique<State>()) {}
SnapshotCount::~SnapshotCount() = default;
SnapshotCount::SnapshotCount(SnapshotCount&&) noexcept = default;
SnapshotCount& SnapshotCount::operator=(SnapshotCount&&) noexcept = default;

bool SnapshotCount::advance(const RowReader& rows, std::size_t bytes_max) {
  State& s = *state_;
  bool all = true;
  std::size_t bytes = 0;
  each_snapshot_row(rows, s.next, [&](std::string_view key, std::string_view value) {
    if (bytes >= bytes_max) {
      all = false;
      s.next = key;
      return false;
    }
    bytes += row_bytes(key, value);
    add(key, value);
    return true;
  });
  return all;
}

void SnapshotCount::add(std::string_view key, std::string_view value) {
  State& s = *state_;
  s.sum.bytes += row_bytes(key, value);
  if (is_own(key)) return;
  ++s.sum.rows;
  s.scratch.clear();
  put_row(s.scratch, key, value);
  XXH3_128bits_update(s.hash, s.scratch.data(), s.scratch.size());
}

SnapshotSum SnapshotCount::sum() const {
  SnapshotSum out = state_->sum;
  out.sum = to_hash(XXH3_128bits_digest(state_->hash));
  return out;
}

// --- SnapshotRows ---

void SnapshotRows::resume(std::string last_key) {
  rest_.clear();
  last_key_ = std::move(last_key);
}

bool SnapshotRows::take(std::string_view bytes, std::vector<Row>& out) {
  // A row in parts is gathered; rows that are whole in these bytes are not copied twice.
  const bool gathered = !rest_.empty();
  if (gathered) rest_.append(bytes);
  std::string_view left = gathered ? std::string_view(rest_) : bytes;
  while (!left.empty()) {
    paxos::ByteReader r(left);
    const std::string_view key = r.sized_view(limits::snapshot_key_bytes_max);
    const std::string_view value = r.sized_view(limits::snapshot_row_bytes_max);
    if (!r.ok()) break;  // cut short, or no row at all: the next bytes tell
    if (key.empty() || key.front() < first_family || key.front() > last_family ||
        key.front() == rows::family_progress || key <= last_key_)
      return false;
    last_key_ = key;
    if (key.front() == rows::family_erasure) {
      auto mark = decode_erasure(value);
      if (!mark) return false;
      mark->done = false;
      out.push_back({std::string(key), encode_erasure(*mark)});
    } else {
      out.push_back({std::string(key), std::string(value)});
    }
    left.remove_prefix(left.size() - r.remaining());
  }
  if (!gathered)
    rest_ = left;
  else if (left.size() != rest_.size())
    rest_ = std::string(left);
  return rest_.size() <= limits::snapshot_row_bytes_max;
}

// --- progress ---

std::string encode_progress(const SnapshotProgress& progress) {
  std::string out;
  wire::Writer w(out);
  w.byte(rows::row_version);
  w.flag(progress.complete);
  w.raw(progress.id.source.bytes);
  w.fixed(progress.id.number);
  w.fixed(progress.id.slot.n);
  w.raw(progress.id.hash.bytes);
  w.fixed(progress.place.offset);
  w.fixed(progress.bytes_about);
  w.text(progress.place.key);
  return out;
}

std::optional<SnapshotProgress> decode_progress(std::string_view value) {
  paxos::ByteReader r(value);
  SnapshotProgress out;
  const auto version = r.fixed<std::uint8_t>();
  const auto complete = r.fixed<std::uint8_t>();
  out.complete = complete == 1;
  out.id.source.bytes = r.array<16>();
  out.id.number = r.fixed<std::uint64_t>();
  out.id.slot.n = r.fixed<std::uint64_t>();
  out.id.hash.bytes = r.array<16>();
  out.place.offset = r.fixed<std::uint64_t>();
  out.bytes_about = r.fixed<std::uint64_t>();
  out.place.key = r.sized_view(limits::snapshot_key_bytes_max);
  if (!r.done() || version != rows::row_version || complete > 1 || out.id.slot.none()) return std::nullopt;
  return out;
}

}  // namespace chat
