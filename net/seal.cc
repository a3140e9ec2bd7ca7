#include "net/seal.h"

#include <sodium.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>

#include "paxos/coding.h"
#include "paxos/invariant.h"

namespace net {

namespace {

constexpr std::array<std::uint8_t, 3> magic{'P', 'X', 'D'};
constexpr std::string_view key_context = "paxosd datagram key 1";

cipher::Nonce nonce_of(std::uint64_t counter) {
  cipher::Nonce nonce{};
  for (std::size_t i = 0; i < 8; ++i) nonce[4 + i] = static_cast<std::uint8_t>(counter >> (8 * i));
  return nonce;
}

std::string header_of(const Header& h, std::uint8_t version) {
  std::string out;
  out.reserve(header_bytes);
  paxos::ByteWriter w(out);
  w.raw(magic);
  w.fixed(version);
  w.fixed(static_cast<std::uint8_t>(h.content));
  w.fixed(h.sender.sender);
  w.fixed(h.destination);
  w.fixed(std::uint8_t{0});
  w.raw(h.sender.incarnation.bytes);
  w.fixed(h.sender.boot);
  w.fixed(h.counter);
  PAXOS_ASSERT(out.size() == header_bytes);
  return out;
}

}  // namespace

const char* to_string(Drop reason) {
  switch (reason) {
    case Drop::short_datagram:
      return "short";
    case Drop::magic:
      return "magic";
    case Drop::version:
      return "version";
    case Drop::header:
      return "header";
    case Drop::destination:
      return "destination";
    case Drop::own:
      return "own";
    case Drop::foreign_key:
      return "foreign_key";
    case Drop::old_boot:
      return "old_boot";
    case Drop::replayed:
      return "replayed";
    case Drop::undecodable:
      return "undecodable";
    case Drop::reassembly:
      return "reassembly";
    case Drop::reassembly_bound:
      return "reassembly_bound";
    case Drop::reassembly_timeout:
      return "reassembly_timeout";
    case Drop::need_unknown:
      return "need_unknown";
    case Drop::count_:
      break;
  }
  return "?";
}

cipher::Key derive_subkey(const ClusterKey& key, const Identity& identity) {
  std::string input(key_context);
  paxos::ByteWriter w(input);
  w.fixed(identity.sender);
  w.raw(identity.incarnation.bytes);
  w.fixed(identity.boot);
  cipher::Key out{};
  const int failed =
      crypto_generichash(out.data(), out.size(), reinterpret_cast<const unsigned char*>(input.data()),
                         input.size(), key.data(), key.size());
  PAXOS_ASSERT(failed == 0);
  return out;
}

tl::expected<Header, Drop> parse_header(std::span<const std::byte> datagram, std::uint8_t version_max) {
  if (datagram.size() < seal_overhead) return tl::make_unexpected(Drop::short_datagram);
  paxos::ByteReader r(datagram.first(header_bytes));
  if (r.array<3>() != magic) return tl::make_unexpected(Drop::magic);
  const auto version = r.fixed<std::uint8_t>();
  if (version < format_version || version > version_max) return tl::make_unexpected(Drop::version);
  Header h;
  const auto kind = r.fixed<std::uint8_t>();
  h.content = static_cast<Content>(kind);
  h.sender.sender = r.fixed<std::uint8_t>();
  h.destination = r.fixed<std::uint8_t>();
  const auto reserved = r.fixed<std::uint8_t>();
  h.sender.incarnation.bytes = r.array<16>();
  h.sender.boot = r.fixed<std::uint64_t>();
  h.counter = r.fixed<std::uint64_t>();
  PAXOS_ASSERT(r.done());
  const auto known = [](std::uint8_t id) { return id < paxos::limits::replicas_max || id == client_sender; };
  const bool good = kind >= static_cast<std::uint8_t>(Content::bodies) &&
                    (kind <= static_cast<std::uint8_t>(Content::probe) ||
                     (version > format_version && (h.content == Content::path_probe || h.content == Content::path_answer))) &&
                    known(h.sender.sender) &&
                    known(h.destination) && reserved == 0 && h.counter != 0 && h.sender.boot != 0;
  if (!good) return tl::make_unexpected(Drop::header);
  return h;
}

Sealer::Sealer(const ClusterKey& key, const Identity& self, std::size_t replicas)
    : self_(self), opener_(key, self, replicas) {
  PAXOS_ASSERT(self.boot != 0);
  subkey_ = derive_subkey(key, self);
}

Sealer::~Sealer() { sodium_memzero(subkey_.data(), subkey_.size()); }

void Sealer::seal(std::string& out, std::uint8_t destination, Content content, std::string_view plain,
                  std::uint8_t version) {
  PAXOS_ASSERT(counter_ != UINT64_MAX);  // 580 years at a datagram a nanosecond
  const Header header{.content = content, .sender = self_, .destination = destination, .counter = ++counter_};
  const std::string head = header_of(header, version);
  const std::size_t begin = out.size();
  out.append(head);
  out.resize(begin + seal_overhead + plain.size());
  cipher::encrypt(reinterpret_cast<std::byte*>(out.data() + begin + header_bytes), plain, head, nonce_of(header.counter),
                  subkey_);
}

Opener::Opener(const ClusterKey& key, const Identity& self, std::size_t replicas)
    : key_(key), self_(self), replicas_(replicas) {
  PAXOS_ASSERT(sodium_init() >= 0);
  PAXOS_ASSERT(replicas <= paxos::limits::replicas_max);
}

Opener::~Opener() { sodium_memzero(key_.data(), key_.size()); }

bool Opener::Sender::is_new(std::uint64_t counter) const {
  if (counter > highest) return true;
  if (highest - counter >= window) return false;
  const std::uint64_t bit = counter % window;
  return (seen[bit / 64] >> (bit % 64) & 1) == 0;
}

void Opener::Sender::mark(std::uint64_t counter) {
  if (counter > highest) {
    if (counter - highest >= window) {
      seen.fill(0);
    } else {
      for (std::uint64_t c = highest + 1; c < counter; ++c) seen[c % window / 64] &= ~(1ULL << (c % 64));
    }
    highest = counter;
  }
  seen[counter % window / 64] |= 1ULL << (counter % 64);
}

Opener::List& Opener::list_of(const Identity& identity) {
  return identity.is_client() ? clients_ : replica_senders_[identity.sender];
}

Opener::Sender* Opener::find(const Identity& identity) {
  if (identity.is_client()) {
    const auto at = client_index_.find(identity);
    return at == client_index_.end() ? nullptr : &*at->second;
  }
  for (Sender& s : replica_senders_[identity.sender])
    if (s.identity.incarnation == identity.incarnation) return &s;
  return nullptr;
}

void Opener::enter(const Sender& sender) {
  List& list = list_of(sender.identity);
  if (list.size() >= (sender.identity.is_client() ? clients_max : incarnations_max)) {
    if (sender.identity.is_client()) client_index_.erase(list.back().identity);
    list.pop_back();
  }
  list.push_front(sender);
  if (sender.identity.is_client()) client_index_.emplace(sender.identity, list.begin());
}

tl::expected<Opened, Drop> Opener::open(std::span<const std::byte> datagram) {
  const auto parsed = parse_header(datagram, version_max_);
  if (!parsed) return tl::make_unexpected(parsed.error());
  const Header& h = *parsed;
  const Identity& from = h.sender;
  if (!from.is_client() && from.sender >= replicas_) return tl::make_unexpected(Drop::header);
  if (h.destination != any_destination && h.destination != self_.sender)
    return tl::make_unexpected(Drop::destination);
  if (from == self_) return tl::make_unexpected(Drop::own);

  // Whoever is not known yet enters only once the tag has shown that it holds the cluster's key.
  Sender* known = find(from);
  const bool same_boot = known != nullptr && known->identity.boot == from.boot;
  cipher::Key derived{};
  if (!same_boot) derived = derive_subkey(key_, from);

  const std::size_t size = datagram.size() - seal_overhead;
  // Never empty, so that a plaintext of no bytes has an address.
  auto buffer = std::make_shared_for_overwrite<std::byte[]>(std::max<std::size_t>(size, 1));
  if (!cipher::decrypt(buffer.get(), datagram.subspan(header_bytes), datagram.first(header_bytes), nonce_of(h.counter),
                       same_boot ? known->subkey : derived))
    return tl::make_unexpected(Drop::foreign_key);

  bool newest = true;
  if (same_boot) {
    if (!known->is_new(h.counter)) return tl::make_unexpected(Drop::replayed);
    newest = h.counter > known->highest;
    known->mark(h.counter);
    List& list = list_of(from);
    if (&list.front() != known) {
      const auto at = from.is_client() ? client_index_.find(from)->second
                                       : std::find_if(list.begin(), list.end(),
                                                      [&](const Sender& s) { return &s == known; });
      list.splice(list.begin(), list, at);
    }
  } else if (known != nullptr && from.boot < known->identity.boot) {
    return tl::make_unexpected(Drop::old_boot);
  } else {
    Sender fresh{.identity = from, .subkey = derived, .highest = 0, .seen = {}};
    fresh.mark(h.counter);
    if (known != nullptr)
      *known = fresh;  // a later boot of the same directory; clients never come here, their key is the whole
                       // identity
    else
      enter(fresh);
  }
  const std::byte* data = buffer.get();
  return Opened{from, h.content, paxos::Bytes(std::move(buffer), data, size), newest};
}

}  // namespace net
