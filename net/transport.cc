#include "net/transport.h"

#include <algorithm>
#include <utility>

#include "chat/wire.h"
#include "net/codec.h"
#include "paxos/coding.h"
#include "paxos/invariant.h"

namespace net {

namespace {

/// Numbers of the bodies: never reused, 0 reserved. The variant's order.
enum class Kind : std::uint8_t {
  peer = 1,
  client_message = 2,
  client_reply = 3,
  operator_request = 4,
  operator_reply = 5,
};
constexpr std::size_t boots_max = 1024;

void encode_body(std::string& out, const Body& body) {
  std::visit([&](const auto& m) { encode(out, m); }, body);
}

}  // namespace

Transport::Transport(Options options) : options_(options), sealer_(options.key, options.self) {
  PAXOS_ASSERT(options_.datagram_bytes > seal_overhead + fragment_header_bytes + 256);
  PAXOS_ASSERT(fragmented_bytes_max / part_bytes() < fragments_max);
}

void Transport::append(Pack& pack, std::string_view encoded) {
  if (!pack.plain.empty() && pack.plain.size() + encoded.size() > plain_max()) seal_pack(pack);
  pack.plain.append(encoded);
}

void Transport::seal_pack(Pack& pack) {
  if (pack.plain.empty()) return;
  std::string sealed;
  sealed.reserve(pack.plain.size() + seal_overhead);
  sealer_.seal(sealed, any_destination, Content::bodies, pack.plain);
  const paxos::Bytes data = paxos::Bytes::from(std::move(sealed));
  for (const Address& to : pack.to) outgoing_.push_back({to, data, 0});
  figures_.datagrams_out += pack.to.size();
  pack.plain.clear();
}

namespace {
/// kind, length, bytes: as it stands in a datagram.
void frame(std::string& out, const Body& body, std::string& scratch) {
  scratch.clear();
  encode_body(scratch, body);
  paxos::ByteWriter w(out);
  w.fixed(static_cast<std::uint8_t>(body.index() + 1));
  w.sized(scratch);
}
}  // namespace

void Transport::send(paxos::Time, const Address& to, const Body& body) {
  std::string framed;
  frame(framed, body, scratch_);
  if (framed.size() > plain_max()) {
    send_fragmented({&to, 1}, std::move(framed));
    return;
  }
  Pack& pack = packs_[to];
  if (pack.to.empty()) pack.to.push_back(to);
  append(pack, framed);
}

void Transport::broadcast(paxos::Time, std::span<const Address> to, const Body& body) {
  if (to.empty()) return;
  std::string framed;
  frame(framed, body, scratch_);
  if (framed.size() > plain_max()) {
    send_fragmented(to, std::move(framed));
    return;
  }
  if (!std::equal(broadcast_.to.begin(), broadcast_.to.end(), to.begin(), to.end())) {
    seal_pack(broadcast_);
    broadcast_.to.assign(to.begin(), to.end());
  }
  append(broadcast_, framed);
}

void Transport::send_fragmented(std::span<const Address> to, std::string encoded) {
  PAXOS_ASSERT(encoded.size() <= fragmented_bytes_max);
  FragmentCache::Entry& entry = cache_.put(std::move(encoded));
  const std::size_t count = (entry.message.size() + part_bytes() - 1) / part_bytes();
  std::vector<std::uint16_t> parts(count);
  for (std::size_t i = 0; i < count; ++i) parts[i] = static_cast<std::uint16_t>(i);
  for (const Address& address : to) {
    // A repeat: one part is enough for the receiver to see what it lacks.
    if (entry.sent_to.insert(address).second)
      send_parts(address, entry, parts);
    else
      send_parts(address, entry, std::span(parts).last(1));
  }
}

void Transport::send_parts(const Address& to, const FragmentCache::Entry& entry, std::span<const std::uint16_t> parts) {
  const std::size_t count = (entry.message.size() + part_bytes() - 1) / part_bytes();
  // Equal datagrams go to the kernel as one buffer that it cuts (GSO); only the last may be shorter.
  std::string sealed;
  std::string plain;
  const auto give = [&] {
    if (sealed.empty()) return;
    outgoing_.push_back({to, paxos::Bytes::from(std::exchange(sealed, {})), options_.datagram_bytes});
  };
  for (std::uint16_t index : parts) {
    if (index >= count) continue;
    const std::size_t at = index * part_bytes();
    const std::size_t size = std::min(part_bytes(), entry.message.size() - at);
    plain.clear();
    encode(plain, FragmentHeader{.message = entry.id,
                                 .total = static_cast<std::uint32_t>(entry.message.size()),
                                 .index = index,
                                 .count = static_cast<std::uint16_t>(count)});
    plain.append(entry.message.view().substr(at, size));
    // A bundle has to fit one IP datagram's length field.
    if (sealed.size() + plain.size() + seal_overhead > 64'000) give();
    sealer_.seal(sealed, any_destination, Content::fragment, plain);
    ++figures_.datagrams_out;
    if (plain.size() < plain_max()) give();
  }
  give();
}

void Transport::flush(paxos::Time) {
  seal_pack(broadcast_);
  for (auto& [address, pack] : packs_) seal_pack(pack);
  // Addresses come and go (clients); the map holds those of one turn.
  packs_.clear();
}

std::vector<Outgoing> Transport::take_outgoing() { return std::exchange(outgoing_, {}); }

void Transport::receive(paxos::Time now, const Address& from, std::span<const std::byte> datagram,
                        std::vector<Received>& out) {
  auto opened = sealer_.open(datagram);
  if (!opened) return drop(opened.error());
  const Identity& sender = opened->sender;
  if (sender.sender != client_sender) {
    if (sender.sender >= options_.replicas) return drop(Drop::undecodable);
    if (boots_.size() >= boots_max) boots_.clear();
    std::uint64_t& boot = boots_[{sender.sender, sender.incarnation}];
    if (sender.boot < boot) return drop(Drop::old_boot);  // nothing of an earlier boot is taken for this one
    boot = sender.boot;
  }
  switch (opened->content) {
    case Content::bodies:
      return unpack(from, sender, opened->plain, out);
    case Content::fragment: {
      paxos::Bytes whole;
      const auto result = reassembly_.add(now, sender, from, opened->plain, whole);
      if (result == Reassembly::Result::refused) return drop(Drop::reassembly);
      if (result == Reassembly::Result::complete) unpack(from, sender, whole, out);
      return;
    }
    case Content::fragment_need: {
      const auto need = decode_need(opened->plain);
      if (!need) return drop(Drop::undecodable);
      const FragmentCache::Entry* entry = cache_.find(need->message);
      // Only to whom it was sent: the id alone must not make us talk to strangers.
      if (entry == nullptr || !entry->sent_to.contains(from)) return;
      figures_.fragments_again += need->missing.size();
      send_parts(from, *entry, need->missing);
      return;
    }
  }
  drop(Drop::undecodable);
}

void Transport::unpack(const Address& from, const Identity& sender, const paxos::Bytes& plain,
                       std::vector<Received>& out) {
  paxos::ByteReader r(plain.span());
  while (r.ok() && r.remaining() > 0) {
    const auto kind = r.fixed<std::uint8_t>();
    const auto body = r.sized(fragmented_bytes_max);
    if (!r.ok()) return drop(Drop::undecodable);
    const paxos::Bytes bytes =
        body.empty() ? paxos::Bytes{} : plain.slice(static_cast<std::size_t>(body.data() - plain.data()), body.size());
    if (!decode(from, sender, kind, bytes, out)) drop(Drop::undecodable);
  }
}

bool Transport::decode(const Address& from, const Identity& sender, std::uint8_t kind, const paxos::Bytes& bytes,
                       std::vector<Received>& out) {
  const auto take = [&](auto decoded) {
    if (!decoded) return false;
    out.push_back({from, sender, Body{std::move(*decoded)}});
    return true;
  };
  const bool replica = sender.sender != client_sender;
  switch (static_cast<Kind>(kind)) {
    case Kind::peer:
      return replica && take(decode_peer(bytes));
    case Kind::client_message:
      return !replica && take(chat::decode_client_message(bytes));
    case Kind::client_reply:
      return replica && take(chat::decode_client_reply(bytes));
    case Kind::operator_request:
      return !replica && take(chat::decode_operator_request(bytes));
    case Kind::operator_reply:
      return replica && take(chat::decode_operator_reply(bytes));
  }
  return false;
}

void Transport::tick(paxos::Time now) {
  for (const Reassembly::Need& need : reassembly_.tick(now)) {
    const auto count = static_cast<std::uint16_t>(need.missing.empty() ? 0 : need.missing.back() + 1);
    std::string sealed;
    sealer_.seal(sealed, any_destination, Content::fragment_need, encode_need(need, count));
    ++figures_.datagrams_out;
    outgoing_.push_back({need.to, paxos::Bytes::from(std::move(sealed)), 0});
  }
}

}  // namespace net
