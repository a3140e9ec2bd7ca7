#include "net/seal.h"

#include <sodium.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "paxos/coding.h"
#include "paxos/invariant.h"

namespace net {

namespace {

constexpr std::array<std::uint8_t, 3> magic{'P', 'X', 'D'};
constexpr std::string_view first_key_context = "paxosd datagram key 1";
constexpr std::string_view key_context = "paxosd datagram key 2";
constexpr std::string_view fingerprint_context = "paxosd secret's name 1";
constexpr std::string_view claim_context = "paxosd claim of a key 1";
constexpr std::string_view role_key_context = "paxosd access key 1";

cipher::Nonce nonce_of(std::uint64_t counter) {
  cipher::Nonce nonce{};
  for (std::size_t i = 0; i < 8; ++i) nonce[4 + i] = static_cast<std::uint8_t>(counter >> (8 * i));
  return nonce;
}

std::string header_of(const Header& h) {
  std::string out;
  out.reserve(header_bytes_of(h.way.version));
  paxos::ByteWriter w(out);
  w.raw(magic);
  w.fixed(h.way.version);
  w.fixed(static_cast<std::uint8_t>(h.content));
  w.fixed(h.sender.sender);
  w.fixed(h.way.destination);
  w.fixed(static_cast<std::uint8_t>(h.way.whose.role));
  if (h.way.version >= format_named) w.fixed(std::uint64_t{h.way.whose.id});
  w.raw(h.sender.incarnation.bytes);
  w.fixed(h.sender.boot);
  if (h.way.version >= format_named) {
    w.fixed(h.sender.life);
    w.fixed(h.way.receiver);
  }
  w.fixed(h.counter);
  PAXOS_ASSERT(out.size() == header_bytes_of(h.way.version));
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
    case Drop::outdated:
      return "outdated";
    case Drop::header:
      return "header";
    case Drop::destination:
      return "destination";
    case Drop::own:
      return "own";
    case Drop::key:
      return "key";
    case Drop::foreign_key:
      return "foreign_key";
    case Drop::old_boot:
      return "old_boot";
    case Drop::other_life:
      return "other_life";
    case Drop::unproven:
      return "unproven";
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

namespace {
Secret derive(const Secret& key, std::string_view input) {
  Secret out;
  const int failed = crypto_generichash(out.bytes().data(), Secret::size(),
                                        reinterpret_cast<const unsigned char*>(input.data()), input.size(),
                                        key.data(), key.size());
  PAXOS_ASSERT(failed == 0);
  return out;
}
}  // namespace

Fingerprint fingerprint(const Secret& secret) {
  const Secret name = derive(secret, fingerprint_context);
  paxos::ByteReader r(std::as_bytes(std::span(name.bytes())));
  return std::max<Fingerprint>(r.fixed<std::uint64_t>(), 1);
}

std::array<std::uint64_t, 2> claim_of(const std::array<std::uint8_t, 32>& claim) {
  std::array<std::uint8_t, 16> hash{};
  const int failed =
      crypto_generichash(hash.data(), hash.size(), claim.data(), claim.size(),
                         reinterpret_cast<const unsigned char*>(claim_context.data()), claim_context.size());
  PAXOS_ASSERT(failed == 0);
  paxos::ByteReader r(std::as_bytes(std::span(hash)));
  const auto low = r.fixed<std::uint64_t>();
  return {std::max<std::uint64_t>(low, 1), std::max<std::uint64_t>(r.fixed<std::uint64_t>(), 1)};
}

std::string to_string_fingerprint(Fingerprint fingerprint) {
  std::array<char, 17> out{};
  std::snprintf(out.data(), out.size(), "%016llx", static_cast<unsigned long long>(fingerprint));
  return out.data();
}

Secret derive_key(const ClusterKey& secret, const chat::Credential& whose) {
  if (whose.is_secret()) return secret;
  std::string input(role_key_context);
  paxos::ByteWriter w(input);
  w.fixed(static_cast<std::uint8_t>(whose.role));
  w.fixed(std::uint64_t{whose.id});
  return derive(secret, input);
}

Secret derive_subkey(const Secret& key, const Identity& identity) {
  const bool first = identity.life == 0;
  std::string input(first ? first_key_context : key_context);
  paxos::ByteWriter w(input);
  if (!first) {
    w.fixed(static_cast<std::uint8_t>(identity.whose.role));
    w.fixed(std::uint64_t{identity.whose.id});
  }
  w.fixed(identity.sender);
  w.raw(identity.incarnation.bytes);
  w.fixed(identity.boot);
  if (!first) w.fixed(identity.life);
  return derive(key, input);
}

tl::expected<Header, Drop> parse_header(std::span<const std::byte> datagram, std::uint8_t version_max) {
  if (datagram.size() < seal_overhead_of(format_version)) return tl::make_unexpected(Drop::short_datagram);
  paxos::ByteReader r(datagram);
  if (r.array<3>() != magic) return tl::make_unexpected(Drop::magic);
  Header h;
  const auto version = h.way.version = r.fixed<std::uint8_t>();
  if (version < format_version || version > version_max) return tl::make_unexpected(Drop::version);
  if (datagram.size() < seal_overhead_of(version)) return tl::make_unexpected(Drop::short_datagram);
  const bool named = version >= format_named;
  const auto kind = r.fixed<std::uint8_t>();
  h.content = static_cast<Content>(kind);
  h.sender.sender = r.fixed<std::uint8_t>();
  h.way.destination = r.fixed<std::uint8_t>();
  const auto role = r.fixed<std::uint8_t>();
  const std::uint64_t key_id = named ? r.fixed<std::uint64_t>() : 0;
  h.sender.incarnation.bytes = r.array<16>();
  h.sender.boot = r.fixed<std::uint64_t>();
  if (named) {
    h.sender.life = r.fixed<std::uint64_t>();
    h.way.receiver = r.fixed<std::uint64_t>();
  }
  h.counter = r.fixed<std::uint64_t>();
  PAXOS_ASSERT(r.ok());
  const auto known = [](std::uint8_t id) { return id < paxos::limits::replicas_max || id == client_sender; };
  const bool from_client = h.sender.is_client();
  const bool to_client = h.way.destination == any_destination;
  bool good = known(h.sender.sender) && h.counter != 0 && h.sender.boot != 0;
  // In the first format the byte of the role is reserved, and 255 is whoever reads it.
  if (named)
    good = good && h.sender.life != 0 &&
           (h.way.destination == all_replicas ? !from_client : known(h.way.destination)) &&
           !(from_client && to_client);
  else
    good = good && known(h.way.destination) && role == 0;
  switch (h.content) {
    case Content::bodies:
    case Content::fragment:
    case Content::fragment_need:
    case Content::probe:
      break;
    case Content::path_probe:
    case Content::path_answer:
      good = good && named && !from_client && h.way.destination < paxos::limits::replicas_max;
      break;
    case Content::hello:
      good = good && named && from_client;
      break;
    case Content::welcome:
      good = good && named && to_client;
      break;
    default:
      good = false;
  }
  if (!good) return tl::make_unexpected(Drop::header);
  const bool secret = role == static_cast<std::uint8_t>(chat::Role::secret);
  if (role >= chat::roles_end || key_id > UINT32_MAX || secret != (key_id == 0))
    return tl::make_unexpected(Drop::key);
  // Replicas have the secret, and speak under it to each other.
  if (!secret && !from_client && !to_client) return tl::make_unexpected(Drop::header);
  h.way.whose = h.sender.whose = {static_cast<chat::Role>(role), static_cast<std::uint32_t>(key_id)};
  return h;
}

Sealer::Sealer(const ClusterKey& key, const Identity& self, std::size_t replicas,
               const Opener::TicketKey& tickets)
    : self_(self), opener_(key, self, replicas, tickets) {
  PAXOS_ASSERT(self.boot != 0);
  // Under a key with a role nobody speaks the first format.
  if (self.whose.is_secret()) {
    Identity first = self;
    first.life = 0;
    first_subkey_ = derive_subkey(key, first);
  }
  speaks_ = opener_.secrets().front();
}

void Sealer::speak_under(Fingerprint secret) {
  speaks_ = secret;
  Identity first = self_;
  first.life = 0;
  if (self_.whose.is_secret()) first_subkey_ = derive_subkey(opener_.key_of({}, secret), first);
}

void Sealer::drop_secret(Fingerprint secret) {
  PAXOS_ASSERT(secret != speaks_);
  opener_.drop_secret(secret);
  std::erase_if(subkeys_, [&](const auto& known) { return known.first.first == secret; });
}

void Sealer::seal(std::string& out, const Way& way, Content content, std::string_view plain) {
  PAXOS_ASSERT(counter_ != UINT64_MAX);  // 580 years at a datagram a nanosecond
  const bool named = way.version >= format_named;
  PAXOS_ASSERT(!named || self_.life != 0);
  PAXOS_ASSERT(named || way.whose.is_secret());
  const Header header{.way = way, .content = content, .sender = self_, .counter = ++counter_};
  const std::string head = header_of(header);
  const std::size_t begin = out.size();
  out.append(head);
  out.resize(begin + seal_overhead_of(way.version) + plain.size());
  cipher::encrypt(reinterpret_cast<std::byte*>(out.data() + begin + head.size()), plain, head,
                  nonce_of(header.counter), (named ? subkey_for(way) : first_subkey_).bytes());
}

const Secret& Sealer::subkey_for(const Way& way) {
  const std::pair which(way.under == 0 ? speaks_ : way.under, way.whose);
  const auto known = subkeys_.find(which);
  if (known != subkeys_.end()) return known->second;
  Identity self = self_;
  self.whose = way.whose;
  if (subkeys_.size() >= Opener::keys_kept_max) subkeys_.clear();
  return subkeys_.emplace(which, derive_subkey(opener_.key_of(way.whose, which.first), self)).first->second;
}

const Secret& Opener::key_of(const chat::Credential& whose, Fingerprint under) {
  const auto held =
      std::find_if(secrets_.begin(), secrets_.end(), [&](const Held& h) { return h.name == under; });
  PAXOS_ASSERT(held != secrets_.end());
  if (whose == self_.whose) return held->secret;
  PAXOS_ASSERT(self_.whose.is_secret());
  const auto known = derived_.find({under, whose});
  if (known != derived_.end()) return known->second;
  if (derived_.size() >= keys_kept_max) derived_.clear();
  return derived_.emplace(std::pair(under, whose), derive_key(held->secret, whose)).first->second;
}

void Opener::add_secret(const Secret& secret) {
  const Fingerprint name = fingerprint(secret);
  for (const Held& held : secrets_)
    if (held.name == name) return;
  secrets_.push_back({name, secret});
}

void Opener::drop_secret(Fingerprint secret) {
  if (std::erase_if(secrets_, [&](const Held& held) { return held.name == secret; }) == 0) return;
  PAXOS_ASSERT(!secrets_.empty());
  std::erase_if(derived_, [&](const auto& known) { return known.first.first == secret; });
  // Of who has not come under another one yet.
  for (auto at = clients_.begin(); at != clients_.end();) {
    const auto next = std::next(at);
    if (at->under == secret) {
      client_index_.erase(at->identity);
      clients_.erase(at);
    }
    at = next;
  }
}

std::vector<Fingerprint> Opener::secrets() const {
  std::vector<Fingerprint> out;
  for (const Held& held : secrets_) out.push_back(held.name);
  return out;
}

Secret Opener::subkey_of(const Held& held, const Identity& from) const {
  const auto known = derived_.find({held.name, from.whose});
  if (known != derived_.end()) return derive_subkey(known->second, from);
  return derive_subkey(from.whose == self_.whose ? held.secret : derive_key(held.secret, from.whose), from);
}

Opener::Opener(const ClusterKey& key, const Identity& self, std::size_t replicas, const TicketKey& tickets)
    : tickets_(tickets), self_(self), replicas_(replicas) {
  static_assert(crypto_shorthash_KEYBYTES == std::tuple_size_v<TicketKey> && crypto_shorthash_BYTES == 8);
  PAXOS_ASSERT(sodium_init() >= 0);
  PAXOS_ASSERT(replicas <= paxos::limits::replicas_max);
  add_secret(key);
}

Opener::~Opener() { sodium_memzero(tickets_.data(), tickets_.size()); }

bool Opener::Sender::is_new(std::uint64_t counter) const {
  const std::uint64_t bits = seen.size() * 64;
  if (counter > highest) return true;
  if (highest - counter >= bits) return false;
  const std::uint64_t bit = counter % bits;
  return (seen[bit / 64] >> (bit % 64) & 1) == 0;
}

void Opener::Sender::mark(std::uint64_t counter) {
  const std::uint64_t bits = seen.size() * 64;
  if (counter > highest) {
    if (counter - highest >= bits) {
      std::fill(seen.begin(), seen.end(), 0);
    } else {
      for (std::uint64_t c = highest + 1; c < counter; ++c) seen[c % bits / 64] &= ~(1ULL << (c % 64));
    }
    highest = counter;
  }
  seen[counter % bits / 64] |= 1ULL << (counter % 64);
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
    if (s.identity == identity) return &s;
  return nullptr;
}

Opener::Sender& Opener::enter(const Identity& identity, Secret subkey, Fingerprint under) {
  List& list = list_of(identity);
  if (!identity.is_client()) {
    List& retired = retired_[identity.sender];
    const auto back =
        std::find_if(retired.begin(), retired.end(), [&](const Sender& s) { return s.identity == identity; });
    if (back != retired.end()) list.splice(list.begin(), retired, back);
    if (!list.empty() && list.front().identity == identity) return list.front();
  }
  if (list.size() >= (identity.is_client() ? clients_max : incarnations_max)) {
    if (identity.is_client()) client_index_.erase(list.back().identity);
    list.pop_back();
  }
  list.push_front({.identity = identity,
                   .subkey = std::move(subkey),
                   .under = under,
                   .entered = ++entered_,
                   .highest = 0,
                   .seen = std::vector<std::uint64_t>((identity.is_client() ? client_window : window) / 64)});
  if (identity.is_client()) client_index_.emplace(identity, list.begin());
  return list.front();
}

template <class Which>
void Opener::retire(std::uint8_t replica, Which which) {
  List& list = replica_senders_[replica];
  List& retired = retired_[replica];
  for (auto at = list.begin(); at != list.end();) {
    const auto next = std::next(at);
    if (which(at->identity)) retired.splice(retired.begin(), list, at);
    at = next;
  }
  while (retired.size() > incarnations_max) retired.pop_back();
}

void Opener::forget(const Identity& replica) {
  if (!replica.is_client()) retire(replica.sender, [&](const Identity& of) { return of == replica; });
}

void Opener::readmit(const Identity& replica) {
  if (!replica.is_client())
    retire(replica.sender, [&](const Identity& of) {
      return of.incarnation == replica.incarnation && of.boot > replica.boot;
    });
}

/// Never 0, which means that there is none.
std::uint64_t Opener::ticket(const Sender& client, std::span<const std::uint8_t> from) const {
  std::string input;
  paxos::ByteWriter w(input);
  w.fixed(client.entered);
  w.raw(std::as_bytes(from));
  std::array<unsigned char, 8> out{};
  crypto_shorthash(out.data(), reinterpret_cast<const unsigned char*>(input.data()), input.size(),
                   tickets_.data());
  std::uint64_t value = 0;
  for (const unsigned char byte : out) value = value << 8 | byte;
  return std::max<std::uint64_t>(value, 1);
}

tl::expected<Opened, Drop> Opener::open(std::span<const std::byte> datagram,
                                        std::span<const std::uint8_t> address) {
  const auto parsed = parse_header(datagram, version_max_);
  if (!parsed) return tl::make_unexpected(parsed.error());
  const Header& h = *parsed;
  const Identity& from = h.sender;
  const bool named = h.way.version >= format_named;
  if (!from.is_client() && from.sender >= replicas_) return tl::make_unexpected(Drop::header);
  const bool for_us = h.way.destination == self_.sender || (h.way.destination == any_destination && !named) ||
                      (h.way.destination == all_replicas && !self_.is_client());
  if (!for_us) return tl::make_unexpected(Drop::destination);
  // Whatever life: a copy of our directory is no peer of ours.
  if (from.sender == self_.sender && from.incarnation == self_.incarnation && from.boot == self_.boot)
    return tl::make_unexpected(Drop::own);

  // Whoever has a key that is derived can't open what came under another.
  if (from.whose != self_.whose && !self_.whose.is_secret()) return tl::make_unexpected(Drop::key);
  if (self_.is_client() && from.whose != self_.whose) return tl::make_unexpected(Drop::key);

  const std::size_t size = datagram.size() - seal_overhead_of(h.way.version);
  const std::size_t head = header_bytes_of(h.way.version);
  // Never empty, so that a plaintext of no bytes has an address.
  auto buffer = std::make_shared_for_overwrite<std::byte[]>(std::max<std::size_t>(size, 1));
  const auto opens = [&](const Secret& subkey) {
    return cipher::decrypt(buffer.get(), datagram.subspan(head), datagram.first(head), nonce_of(h.counter),
                           subkey.bytes());
  };
  // Whoever is not known yet enters only once the tag has shown that it holds the key. Who is may have gone
  // over to another secret.
  Sender* known = find(from);
  const bool good = known != nullptr && std::any_of(secrets_.begin(), secrets_.end(),
                                                    [&](const Held& h) { return h.name == known->under; });
  Fingerprint under = good && opens(known->subkey) ? known->under : 0;
  std::optional<Secret> derived;
  for (auto held = secrets_.rbegin(); under == 0 && held != secrets_.rend(); ++held) {
    if (good && known->under == held->name) continue;
    derived = subkey_of(*held, from);
    if (opens(*derived)) under = held->name;
  }
  if (under == 0) return tl::make_unexpected(Drop::foreign_key);

  List& list = list_of(from);
  bool newest = true;
  if (known != nullptr) {
    if (!known->is_new(h.counter)) return tl::make_unexpected(Drop::replayed);
    if (known->under != under) {
      known->under = under;
      known->subkey = std::move(*derived);
    }
    newest = h.counter > known->highest;
    if (&list.front() != known) {
      const auto at = from.is_client() ? client_index_.find(from)->second
                                       : std::find_if(list.begin(), list.end(),
                                                      [&](const Sender& s) { return &s == known; });
      list.splice(list.begin(), list, at);
    }
  } else {
    if (!from.is_client()) {
      const auto same = [&](const Sender& s) { return s.identity.incarnation == from.incarnation; };
      if (std::any_of(list.begin(), list.end(),
                      [&](const Sender& s) { return same(s) && s.identity.boot > from.boot; })) {
        if (!named || self_.is_client()) return tl::make_unexpected(Drop::old_boot);
        const std::byte* data = buffer.get();
        return Opened{.header = h,
                      .bound = false,
                      .ticket = 0,
                      .plain = paxos::Bytes(std::move(buffer), data, size),
                      .newest = false,
                      .old_boot = true,
                      .under = under};
      }
      retire(from.sender,
             [&](const Identity& of) { return of.incarnation == from.incarnation && of.boot < from.boot; });
    }
    known = &enter(from, std::move(*derived), under);
    if (!known->is_new(h.counter)) return tl::make_unexpected(Drop::replayed);
  }
  known->mark(h.counter);

  const std::byte* data = buffer.get();
  Opened out{.header = h,
             .bound = false,
             .ticket = 0,
             .plain = paxos::Bytes(std::move(buffer), data, size),
             .newest = newest,
             .old_boot = false,
             .under = under};
  if (!named) return out;
  if (from.is_client()) {
    out.ticket = ticket(*known, address);
    out.bound = h.way.receiver == out.ticket;
  } else {
    out.bound = h.way.receiver == self_.life;
    // Between replicas a broadcast names none, nor does whoever has not heard from us yet.
    if (!out.bound && (self_.is_client() || h.way.receiver != 0))
      return tl::make_unexpected(Drop::other_life);
  }
  return out;
}

}  // namespace net
