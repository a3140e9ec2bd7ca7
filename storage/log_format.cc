#include "storage/log_format.h"

#include <xxhash.h>

#include "paxos/ballot_coding.h"
#include "paxos/coding.h"

namespace storage {

using paxos::ByteReader;
using paxos::ByteWriter;

std::string log_key::slot(paxos::Slot slot) {
  std::string key(1, slot_family);
  ByteWriter(key).key64(slot.n);
  return key;
}

std::string log_key::peer(paxos::ReplicaId id) { return "m/peer/" + std::to_string(id.n); }

std::optional<paxos::Slot> log_key::parse_slot(std::string_view key) {
  if (key.size() != 9 || key.front() != slot_family) return std::nullopt;
  return paxos::Slot{ByteReader(key.substr(1)).key64()};
}

namespace {
std::uint64_t checksum(std::string_view key, std::string_view value) {
  return XXH3_64bits_withSeed(value.data(), value.size(), XXH3_64bits(key.data(), key.size()));
}
}  // namespace

std::string seal_value(std::string_view key, std::string value) {
  const std::uint64_t sum = checksum(key, value);
  ByteWriter(value).fixed(sum);
  return value;
}

std::optional<std::string_view> open_value(std::string_view key, std::string_view stored) {
  if (stored.size() < 8) return std::nullopt;
  const std::string_view value = stored.substr(0, stored.size() - 8);
  if (ByteReader(stored.substr(value.size())).fixed<std::uint64_t>() != checksum(key, value))
    return std::nullopt;
  return value;
}

std::string encode_number(std::uint64_t n) {
  std::string out;
  ByteWriter(out).fixed(n);
  return out;
}
std::optional<std::uint64_t> decode_number(std::string_view value) {
  ByteReader r(value);
  const auto n = r.fixed<std::uint64_t>();
  if (!r.done()) return std::nullopt;
  return n;
}

std::string encode_group(const GroupValue& group) {
  std::string out;
  ByteWriter w(out);
  w.fixed(group.last);
  w.fixed(group.before);
  return out;
}
std::optional<GroupValue> decode_group(std::string_view value) {
  ByteReader r(value);
  GroupValue group;
  group.last = r.fixed<std::uint64_t>();
  group.before = r.fixed<std::uint64_t>();
  if (!r.done() || (group.before >= group.last && group.last != 0) || group.before > group.last)
    return std::nullopt;
  return group;
}

namespace {
// Not paxos/ballot_coding.h's: numbers have a fixed size on the disk.
void put_fixed_ballot(ByteWriter& w, const paxos::Ballot& ballot) {
  w.fixed(ballot.round);
  w.fixed(paxos::replica_byte(ballot));
  if (ballot.configuration != 1) w.fixed(ballot.configuration);
}
paxos::Ballot get_fixed_ballot(ByteReader& r) {
  paxos::Ballot b;
  b.round = r.fixed<std::uint64_t>();
  const auto byte = r.fixed<std::uint8_t>();
  b.replica.n = byte & static_cast<std::uint8_t>(~paxos::later_configuration);
  if ((byte & paxos::later_configuration) != 0) b.configuration = r.fixed<std::uint32_t>();
  if ((byte & paxos::later_configuration) != 0 && b.configuration < 2) r.fail();
  return b;
}
}  // namespace

std::string encode_ballot(paxos::Ballot ballot) {
  std::string out;
  ByteWriter w(out);
  put_fixed_ballot(w, ballot);
  return out;
}
std::optional<paxos::Ballot> decode_ballot(std::string_view value) {
  ByteReader r(value);
  const paxos::Ballot b = get_fixed_ballot(r);
  if (!r.done()) return std::nullopt;
  return b;
}

namespace {
void put_life(ByteWriter& w, const paxos::Life& life) {
  w.fixed(life.boot);
  w.fixed(life.number);
}
paxos::Life get_life(ByteReader& r) {
  paxos::Life life;
  life.boot = r.fixed<std::uint64_t>();
  life.number = r.fixed<std::uint64_t>();
  return life;
}
}  // namespace

std::string encode_peer(const paxos::PeerRecord& peer) {
  std::string out;
  ByteWriter w(out);
  w.raw(peer.origin.incarnation.bytes);
  put_life(w, peer.origin.life);
  w.fixed(peer.groups);
  put_life(w, peer.refused);
  return out;
}
std::optional<paxos::PeerRecord> decode_peer(paxos::ReplicaId id, std::string_view value) {
  ByteReader r(value);
  paxos::PeerRecord peer;
  peer.peer = id;
  peer.origin.incarnation.bytes = r.array<16>();
  peer.origin.life = get_life(r);
  peer.groups = r.fixed<std::uint64_t>();
  peer.refused = get_life(r);
  if (!r.done() || peer.origin.life.number == 0) return std::nullopt;
  return peer;
}

std::string encode_lives(const std::vector<paxos::Life>& lives) {
  std::string out;
  ByteWriter w(out);
  w.varint(lives.size());
  for (const paxos::Life& life : lives) put_life(w, life);
  return out;
}
std::optional<std::vector<paxos::Life>> decode_lives(std::string_view value) {
  ByteReader r(value);
  std::vector<paxos::Life> lives;
  for (auto n = r.varint_max(paxos::limits::lives_max); n > 0; --n) lives.push_back(get_life(r));
  if (!r.done()) return std::nullopt;
  return lives;
}

std::string encode_outdated(const paxos::OutdatedRecord& outdated) {
  std::string out;
  ByteWriter w(out);
  w.fixed(outdated.by.n);
  w.fixed(outdated.known_boot);
  w.fixed(outdated.known_groups);
  return out;
}
std::optional<paxos::OutdatedRecord> decode_outdated(std::string_view value) {
  ByteReader r(value);
  paxos::OutdatedRecord outdated;
  outdated.by.n = r.fixed<std::uint8_t>();
  outdated.known_boot = r.fixed<std::uint64_t>();
  outdated.known_groups = r.fixed<std::uint64_t>();
  if (!r.done()) return std::nullopt;
  return outdated;
}

std::string encode_birth(const paxos::BirthRecord& birth) {
  std::string out;
  ByteWriter w(out);
  w.fixed(static_cast<std::uint8_t>(birth.born ? 1 : 0));
  w.varint(birth.members.size());
  for (const paxos::Incarnation& i : birth.members) w.raw(i.bytes);
  if (birth.configuration != 1) w.fixed(birth.configuration);
  return out;
}
std::optional<paxos::BirthRecord> decode_birth(std::string_view value) {
  ByteReader r(value);
  paxos::BirthRecord birth;
  birth.born = r.fixed<std::uint8_t>() != 0;
  for (auto n = r.varint_max(paxos::limits::replicas_max); n > 0; --n)
    birth.members.push_back({r.array<16>()});
  if (r.ok() && r.remaining() > 0) birth.configuration = r.fixed<std::uint32_t>();
  if (!r.done() || birth.configuration == 0) return std::nullopt;
  return birth;
}

std::string encode_slot(bool chosen, paxos::Ballot ballot, const paxos::Decree& decree) {
  std::string out;
  out.reserve(decree.value.size() + 32);
  ByteWriter w(out);
  w.fixed(static_cast<std::uint8_t>(chosen ? 2 : 1));
  put_fixed_ballot(w, ballot);
  w.fixed(static_cast<std::uint8_t>(decree.kind));
  w.raw(decree.value.span());
  return out;
}
std::optional<paxos::LogEntry> decode_slot(paxos::Slot slot, std::string_view value) {
  ByteReader r(value);
  paxos::LogEntry entry;
  entry.slot = slot;
  const auto kind = r.fixed<std::uint8_t>();
  entry.chosen = kind == 2;
  entry.ballot = get_fixed_ballot(r);
  const auto decree = r.fixed<std::uint8_t>();
  if (!r.ok() || (kind != 1 && kind != 2) || decree < 1 || decree > 4) return std::nullopt;
  entry.decree.kind = static_cast<paxos::DecreeKind>(decree);
  const auto bytes = r.raw(r.remaining());
  if (entry.decree.kind == paxos::DecreeKind::noop && !bytes.empty()) return std::nullopt;
  entry.decree.value = paxos::Bytes::copy_of(bytes);
  return entry;
}

}  // namespace storage
