#include "net/transport.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "chat/wire.h"
#include "net/codec.h"
#include "paxos/coding.h"
#include "paxos/invariant.h"
#include "paxos/overloaded.h"

namespace net {

namespace {

/// Numbers of the bodies: never reused, 0 reserved.
enum class Kind : std::uint8_t {
  peer = 1,
  client_message = 2,
  client_reply = 3,
  operator_request = 4,
  operator_reply = 5,
  address_word = 6,
  named_operator_request = 7,  ///< from format 2 on instead of 4: it names the replica and its incarnation
  snapshot_word = 8,
};

constexpr std::size_t body_bytes_max = fragmented_bytes_max - 1;
/// A buffer of datagrams that the kernel cuts has to fit one IP packet's length field, and its limit of
/// segments.
constexpr std::size_t bundle_bytes_max = 64'000;
constexpr std::size_t bundle_segments_max = 64;
/// In each datagram of a fragmented message, beside the part of it.
constexpr std::size_t part_overhead = seal_overhead + fragment_header_bytes;
/// Before what fills a path's probe up.
constexpr std::size_t path_id_bytes = 8;
constexpr std::size_t path_probe_bytes = path_id_bytes + 4;
/// In front of a body that shares a datagram: its kind and a length of up to three bytes.
constexpr std::size_t frame_bytes_max = 4;

Kind kind_of(const Body& body, std::uint8_t version) {
  return std::visit(paxos::Overloaded{
                        [](const paxos::PeerMessage&) { return Kind::peer; },
                        [](const chat::ClientMessage&) { return Kind::client_message; },
                        [](const chat::ClientReply&) { return Kind::client_reply; },
                        [&](const chat::OperatorRequest&) {
                          return version < format_named ? Kind::operator_request
                                                        : Kind::named_operator_request;
                        },
                        [](const chat::OperatorReply&) { return Kind::operator_reply; },
                        [](const AddressWord&) { return Kind::address_word; },
                        [](const chat::SnapshotWord&) { return Kind::snapshot_word; },
                    },
                    body);
}

/// Appends the body's bytes; returns how many of them identify it (see encode_stable).
std::size_t encode_body(std::string& out, const Body& body, std::uint8_t version) {
  const std::size_t begin = out.size();
  if (const auto* peer = std::get_if<paxos::PeerMessage>(&body)) return encode_stable(out, *peer);
  if (const auto* request = std::get_if<chat::OperatorRequest>(&body);
      request != nullptr && version >= format_named) {
    chat::encode_named(out, *request);
    return out.size() - begin;
  }
  std::visit([&](const auto& m) { encode(out, m); }, body);
  return out.size() - begin;
}

/// Cuts `items` into runs of at most `count_max` items and about `bytes_max` bytes; gives each run of more
/// than none.
template <class T, class Size, class Give>
void in_runs(const std::vector<T>& items, std::size_t bytes_max, std::size_t count_max, Size size,
             Give give) {
  auto begin = items.begin();
  std::size_t bytes = 0;
  for (auto at = items.begin(); at != items.end(); ++at) {
    const std::size_t next = size(*at);
    if (at != begin && (bytes + next > bytes_max || static_cast<std::size_t>(at - begin) == count_max)) {
      give(std::vector<T>(begin, at));
      begin = at;
      bytes = 0;
    }
    bytes += next;
  }
  if (begin != items.end()) give(std::vector<T>(begin, items.end()));
}

// What an element takes at most, encoded.
constexpr std::size_t command_frame_bytes = 3;
constexpr std::size_t receipt_bytes = 1 + 15 + 10 + 10 + 5 + 10 + 8 + 1 + 16;
constexpr std::size_t range_bytes = 20;

/// Lists whose elements stand each for itself go out as several bodies that each fit a datagram: losing one
/// then costs only what was in it, and nothing has to be reassembled. Calls give(Body) for each; false:
/// `body` is not such a list, or short enough as it is.
template <class Give>
bool split(const Body& body, std::size_t bytes_max, Give give) {
  const auto command_bytes = [](const paxos::Bytes& c) { return c.size() + command_frame_bytes; };
  const auto sum = [&](const std::vector<paxos::Bytes>& commands) {
    return std::accumulate(commands.begin(), commands.end(), std::size_t{0},
                           [&](std::size_t n, const paxos::Bytes& c) { return n + command_bytes(c); });
  };
  if (const auto* peer = std::get_if<paxos::PeerMessage>(&body)) {
    if (const auto* m = std::get_if<paxos::Forward>(peer)) {
      if (m->commands.size() <= 1 ||
          (sum(m->commands) <= bytes_max && m->commands.size() <= paxos::limits::forward_commands_max))
        return false;
      in_runs(m->commands, bytes_max, paxos::limits::forward_commands_max, command_bytes,
              [&](auto run) { give(Body(paxos::PeerMessage(paxos::Forward{std::move(run)}))); });
      return true;
    }
    if (const auto* m = std::get_if<paxos::Accepted>(peer)) {
      if (m->slots.size() * range_bytes <= bytes_max) return false;
      in_runs(
          m->slots, bytes_max, paxos::limits::accepted_ranges_max, [](const auto&) { return range_bytes; },
          [&](auto run) { give(Body(paxos::PeerMessage(paxos::Accepted{m->ballot, std::move(run)}))); });
      return true;
    }
    return false;
  }
  if (const auto* message = std::get_if<chat::ClientMessage>(&body)) {
    const auto* m = std::get_if<chat::ClientCommands>(message);
    if (m == nullptr || m->commands.size() <= 1 ||
        (sum(m->commands) <= bytes_max && m->commands.size() <= paxos::limits::forward_commands_max))
      return false;
    in_runs(m->commands, bytes_max, paxos::limits::forward_commands_max, command_bytes, [&](auto run) {
      give(Body(chat::ClientMessage(chat::ClientCommands{m->forward, std::move(run)})));
    });
    return true;
  }
  if (const auto* reply = std::get_if<chat::ClientReply>(&body)) {
    const auto* m = std::get_if<chat::Receipts>(reply);
    if (m == nullptr || m->receipts.size() * receipt_bytes <= bytes_max) return false;
    in_runs(
        m->receipts, bytes_max, chat::limits::commands_per_decree_max,
        [](const auto&) { return receipt_bytes; },
        [&](auto run) { give(Body(chat::ClientReply(chat::Receipts{std::move(run)}))); });
    return true;
  }
  return false;
}

}  // namespace

void encode(std::string& out, const AddressWord& word) {
  paxos::ByteWriter w(out);
  w.fixed(static_cast<std::uint8_t>(word.index() + 1));
  std::visit([&](const auto& m) { w.fixed(m.nonce); }, word);
}

tl::expected<AddressWord, const char*> decode_address_word(std::span<const std::byte> bytes) {
  paxos::ByteReader r(bytes);
  const auto type = r.fixed<std::uint8_t>();
  const auto nonce = r.fixed<std::uint64_t>();
  if (!r.done()) return tl::make_unexpected("an address word of another size");
  if (type == 1) return AddressWord{AddressProbe{nonce}};
  if (type == 2) return AddressWord{AddressProof{nonce}};
  return tl::make_unexpected("an unknown address word");
}

Transport::Transport(Options options)
    : options_(std::move(options)),
      sealer_(options_.key, options_.self, options_.replicas, options_.tickets),
      reassembly_(options_.reassembly),
      paths_({.datagram_bytes = options_.datagram_bytes, .loopback_bytes = options_.loopback_bytes}) {
  sealer_.take_versions_to(options_.version_max);
  peer_version_ = options_.speaks;
  // What it began with it does not fall behind: it takes nothing earlier from the others.
  if (options_.speaks >= format_named) heard_version_ = format_named;
  if (options_.self.is_client()) contacts_.resize(options_.replicas);
  PAXOS_ASSERT(options_.datagram_bytes >= datagram_bytes_least &&
               options_.datagram_bytes <= bundle_bytes_max);
  static_assert(fragmented_bytes_max / (datagram_bytes_least - part_overhead) < fragments_max);
  PAXOS_ASSERT(options_.addresses.empty() || options_.addresses.size() == options_.replicas);
  for (std::size_t id = 0; id < options_.addresses.size(); ++id)
    if (!options_.addresses[id].empty())
      owners_.emplace_back(options_.addresses[id], static_cast<std::uint8_t>(id));
  tell_paths_of_peers();
}

// --- out ---

std::optional<std::uint8_t> Transport::replica_at(const Address& address) const {
  const auto at =
      std::find_if(owners_.begin(), owners_.end(), [&](const auto& owner) { return owner.first == address; });
  if (at == owners_.end()) return std::nullopt;
  return at->second;
}

void Transport::set_owners(std::vector<std::pair<Address, std::uint8_t>> owners) {
  owners_ = std::move(owners);
  tell_paths_of_peers();
}

/// From the second format on replicas know of paths' probes.
void Transport::tell_paths_of_peers() {
  if (options_.self.is_client() || peer_version_ < format_named) return;
  std::vector<Address> peers;
  for (const auto& [address, id] : owners_)
    if (id != options_.self.sender) peers.push_back(address);
  paths_.set_peers(std::move(peers));
}

std::size_t Transport::datagram_max(std::span<const Address> to) const {
  std::size_t out = bundle_bytes_max;
  for (const Address& address : to) out = std::min(out, paths_.datagram_bytes(address));
  return out;
}

/// Several are replicas always.
Way Transport::way(std::span<const Address> to) const {
  if (to.size() != 1)
    return {peer_version_, peer_version_ < format_named ? any_destination : all_replicas, 0};
  const auto replica = replica_at(to.front());
  if (!replica) {
    const auto asker = askers_.find(to.front());
    if (asker == askers_.end()) return {};
    return {asker->second.version, any_destination, asker->second.life, asker->second.whose,
            asker->second.under};
  }
  if (options_.self.is_client())
    return {contacts_[*replica].version, *replica, contacts_[*replica].ticket, options_.self.whose};
  return {peer_version_, *replica, peer_version_ < format_named ? 0 : lives_[*replica]};
}

void Transport::send(paxos::Time now, const Address& to, const Body& body) {
  if (options_.self.is_client()) {
    const auto replica = replica_at(to);
    if (!replica || !ready(now, *replica, to, body)) return;
  } else if (nobody_at(to)) {
    return drop(Drop::unproven);
  }
  send_to(now, {&to, 1}, body);
}

bool Transport::nobody_at(const Address& to) const {
  return clients_from_ >= format_named && !replica_at(to) && !askers_.contains(to) &&
         std::find(outdated_.begin(), outdated_.end(), to) == outdated_.end();
}

void Transport::broadcast(paxos::Time now, std::span<const Address> to, const Body& body) {
  if (!to.empty()) send_to(now, to, body);
}

void Transport::send_to(paxos::Time now, std::span<const Address> to, const Body& body) {
  // A list's own head (type, ballot, flags, count) takes up to 24 bytes.
  const std::size_t bytes_max = plain_max(to) - frame_bytes_max - 24;
  if (!split(body, bytes_max, [&](const Body& run) { send_one(now, to, run); })) send_one(now, to, body);
}

Transport::Pack& Transport::pack_for(std::span<const Address> to, paxos::Time now) {
  if (to.size() == 1) {
    Pack& pack = packs_[to.front()];
    if (pack.to.empty()) pack.to.push_back(to.front());
    return pack;
  }
  if (!std::equal(broadcast_.to.begin(), broadcast_.to.end(), to.begin(), to.end())) {
    seal_pack(broadcast_, now);
    broadcast_.to.assign(to.begin(), to.end());
  }
  return broadcast_;
}

void Transport::send_one(paxos::Time now, std::span<const Address> to, const Body& body) {
  const std::uint8_t version = way(to).version;
  scratch_.assign(1, static_cast<char>(kind_of(body, version)));
  const std::size_t stable = encode_body(scratch_, body, version);
  const std::size_t size = scratch_.size() - 1;
  if (size > body_bytes_max) {
    ++figures_.oversized;
    return;
  }
  const std::size_t room = plain_max(to);
  if (size + frame_bytes_max > room) {
    send_fragmented(now, to, std::exchange(scratch_, {}), 1 + stable);
    return;
  }
  Pack& pack = pack_for(to, now);
  if (pack.plain.size() + frame_bytes_max + size > room) seal_pack(pack, now);
  paxos::ByteWriter w(pack.plain);
  w.raw(std::string_view(scratch_).substr(0, 1));
  w.sized(std::string_view(scratch_).substr(1));
}

void Transport::seal_pack(Pack& pack, paxos::Time now) {
  if (pack.plain.empty()) return;
  if (!options_.self.is_client() && pack.to.size() == 1 && nobody_at(pack.to.front())) {
    pack.plain.clear();
    return drop(Drop::unproven);
  }
  std::string sealed;
  sealed.reserve(pack.plain.size() + seal_overhead);
  const Way how = way(pack.to);
  named_said_ = named_said_ || (how.version >= format_named && how.destination != any_destination);
  sealer_.seal(sealed, how, Content::bodies, pack.plain);
  const paxos::Bytes data = paxos::Bytes::from(std::move(sealed));
  for (const Address& to : pack.to) {
    paths_.used(now, to, data.size());
    outgoing_.push_back({to, data, 0});
  }
  figures_.datagrams_out += pack.to.size();
  pack.plain.clear();
}

void Transport::send_fragmented(paxos::Time now, std::span<const Address> to, std::string message,
                                std::size_t stable_bytes) {
  // Nearly always all of them carry the same.
  std::vector<Address> same;
  std::vector<Address> rest(to.begin(), to.end());
  while (!rest.empty()) {
    const std::size_t bytes = paths_.datagram_bytes(rest.front());
    const auto other = std::partition(rest.begin(), rest.end(),
                                      [&](const Address& a) { return paths_.datagram_bytes(a) == bytes; });
    same.assign(rest.begin(), other);
    rest.erase(rest.begin(), other);
    send_cut(now, same, rest.empty() ? std::move(message) : message, stable_bytes, bytes);
  }
}

FragmentCache::Owner Transport::owner_at(std::span<const Address> to) const {
  if (options_.self.is_client() || to.size() != 1 || replica_at(to.front())) return {};
  const auto asker = askers_.find(to.front());
  if (asker == askers_.end()) return {.client = true, .who = {}, .life = 0, .whose = {}};
  return {.client = true,
          .who = asker->second.incarnation,
          .life = asker->second.life,
          .whose = asker->second.whose};
}

void Transport::send_cut(paxos::Time now, std::span<const Address> to, std::string message,
                         std::size_t stable_bytes, std::size_t datagram_bytes) {
  // Where others carry less it is cut for this path, too, though it might fit.
  const std::size_t part_bytes_max = std::min(datagram_bytes - part_overhead, (message.size() + 1) / 2);
  FragmentCache::Entry& entry =
      cache_.put(now, std::move(message), stable_bytes, part_bytes_max, owner_at(to));
  std::vector<Address> first_time;
  std::vector<Address> again;
  for (const Address& address : to) (entry.was_sent_to(address) ? again : first_time).push_back(address);
  for (const Address& address : first_time) entry.note_sent_to(address);
  if (!first_time.empty()) {
    std::vector<std::uint16_t> parts(entry.shape.count);
    std::iota(parts.begin(), parts.end(), std::uint16_t{0});
    send_parts(now, first_time, entry, parts, Content::fragment);
  }
  if (!again.empty()) {
    figures_.probes += again.size();
    for (const Address& address : again) doubt(now, address);
    const auto last = static_cast<std::uint16_t>(entry.shape.count - 1);
    send_parts(now, again, entry, {&last, 1}, Content::probe);
  }
}

void Transport::send_parts(paxos::Time now, std::span<const Address> to, const FragmentCache::Entry& entry,
                           std::span<const std::uint16_t> parts, Content content) {
  const Way how = way(to);
  named_said_ = named_said_ || (how.version >= format_named && how.destination != any_destination);
  const std::size_t segment =
      seal_overhead_of(how.version) + fragment_header_bytes + entry.shape.part_bytes();
  const std::size_t bundle_parts_max =
      std::clamp<std::size_t>(bundle_bytes_max / segment, 1, bundle_segments_max);
  std::string plain;
  for (std::size_t begin = 0; begin < parts.size(); begin += bundle_parts_max) {
    const auto run = parts.subspan(begin, std::min(bundle_parts_max, parts.size() - begin));
    std::string sealed;
    sealed.reserve(run.size() * segment);
    for (std::uint16_t index : run) {
      FragmentHeader header = entry.shape;
      header.index = index;
      plain.clear();
      encode(plain, header);
      plain.append(entry.message.view().substr(header.offset(), header.size()));
      sealer_.seal(sealed, how, content, plain);
    }
    const paxos::Bytes data = paxos::Bytes::from(std::move(sealed));
    for (const Address& address : to) {
      paths_.used(now, address, segment);
      if (run.size() == 1 || paths_.segments(address)) {
        outgoing_.push_back({address, data, run.size() > 1 ? segment : 0});
        continue;
      }
      for (std::size_t at = 0; at < data.size(); at += segment)
        outgoing_.push_back({address, data.slice(at, std::min(segment, data.size() - at)), 0});
    }
    figures_.datagrams_out += run.size() * to.size();
  }
}

void Transport::doubt(paxos::Time now, const Address& to) {
  if (const Way how = way({&to, 1}); how.version >= format_named &&
                                     how.destination < paxos::limits::replicas_max &&
                                     !options_.self.is_client())
    paths_.doubt(now, to);
}

void Transport::flush(paxos::Time now) {
  // A probe that came in this turn may be asked back at once.
  if (reassembly_.deadline() <= now || paths_.deadline() <= now) tick(now);
  seal_pack(broadcast_, now);
  for (auto& [address, pack] : packs_) seal_pack(pack, now);
  // Addresses come and go (clients); the map holds those of one turn.
  packs_.clear();
  welcomed_.clear();
  outdated_.clear();
}

std::vector<Outgoing> Transport::take_outgoing() { return std::exchange(outgoing_, {}); }

void Transport::tick(paxos::Time now) {
  for (const Reassembly::Ask& ask : reassembly_.tick(now)) {
    if (!options_.self.is_client() && nobody_at(ask.to)) continue;
    ++figures_.needs;
    seal_one(ask.to, way({&ask.to, 1}), Content::fragment_need, encode(ask.need));
  }
  cache_.tick(now);
  greet_again(now);
  if (paths_.deadline() <= now)
    for (const Paths::Probe& probe : paths_.tick(now)) probe_path(probe);
}

void Transport::seal_one(const Address& to, const Way& way, Content content, std::string_view plain) {
  std::string sealed;
  sealed.reserve(plain.size() + seal_overhead);
  sealer_.seal(sealed, way, content, plain);
  ++figures_.datagrams_out;
  outgoing_.push_back({to, paxos::Bytes::from(std::move(sealed)), 0});
}

void Transport::probe_path(const Paths::Probe& probe) {
  const Way how = way({&probe.to, 1});
  if (how.version < format_named || how.destination == any_destination)
    return;  // no replica's address any more
  std::string plain;
  paxos::ByteWriter(plain).fixed(probe.id);
  plain.resize(std::max(path_probe_bytes, probe.bytes - std::min(probe.bytes, seal_overhead)));
  ++figures_.path_probes;
  seal_one(probe.to, how, Content::path_probe, plain);
}

// --- in ---

void Transport::receive(paxos::Time now, const Address& from, std::span<const std::byte> datagram,
                        std::vector<Received>& out) {
  auto opened = sealer_.open(datagram, from.bytes());
  if (!opened) {
    // Authentic, and for an earlier life: whoever comes back behind the raise hears of it from nothing else,
    // as nobody takes what it says in the first format, nor knows its life.
    if (opened.error() == Drop::other_life && !options_.self.is_client()) hear_named();
    return drop(opened.error());
  }
  const Identity& sender = opened->header.sender;
  if (opened->old_boot || (!sender.is_client() && disowns(sender))) {
    drop(Drop::old_boot);
    return unpack_stale(from, *opened, out);
  }
  const bool to_client = options_.self.is_client();
  if (to_client            ? !admit_reply(now, from, *opened)
      : sender.is_client() ? !admit_client(now, from, *opened)
                           : !admit_peer(*opened))
    return;
  const std::size_t begin = out.size();
  switch (opened->header.content) {
    case Content::bodies:
      unpack(from, *opened, out);
      break;
    case Content::fragment:
    case Content::probe: {
      paxos::Bytes whole;
      const auto result = reassembly_.add(now, sender, address_to_ask(from, *opened), opened->plain.span(),
                                          opened->header.content == Content::probe, whole);
      if (result == Reassembly::Result::refused) return drop(Drop::reassembly);
      if (result == Reassembly::Result::complete)
        take_body(from, *opened, static_cast<std::uint8_t>(whole.data()[0]), whole.slice(1, whole.size() - 1),
                  whole.size(), out);
      break;
    }
    case Content::fragment_need:
      return resend(now, from, *opened);
    case Content::path_probe:
      return answer_path_probe(from, *opened, datagram.size());
    case Content::path_answer:
      return note_path_answer(now, *opened);
    case Content::hello:
    case Content::welcome:
      return;  // admitted is all that they want
  }
  if (to_client && opened->header.way.version < format_named)
    sift_first_format(now, sender.sender, begin, out);
}

/// Where what is missing of a message is asked for. Whoever recorded a replica's datagram before our start is
/// not asked.
Address Transport::address_to_ask(const Address& from, const Opened& opened) const {
  const Identity& sender = opened.header.sender;
  if (sender.is_client() || opened.bound || replica_at(from) == sender.sender) return from;
  const auto at = std::find_if(owners_.begin(), owners_.end(),
                               [&](const auto& owner) { return owner.second == sender.sender; });
  return at == owners_.end() ? from : at->first;
}

void Transport::resend(paxos::Time now, const Address& from, const Opened& opened) {
  const auto need = decode_need(opened.plain.span());
  if (!need) return drop(Drop::undecodable);
  const Identity& self = options_.self;
  if (need->incarnation != self.incarnation || need->boot != self.boot) return drop(Drop::need_unknown);
  // A program of the first format has no life, and what is said to it is one word.
  const Identity& asker = opened.header.sender;
  FragmentCache::Owner owner;
  if (asker.is_client())
    owner = asker.life == 0
                ? FragmentCache::Owner{.client = true, .who = {}, .life = 0, .whose = {}}
                : FragmentCache::Owner{
                      .client = true, .who = asker.incarnation, .life = asker.life, .whose = asker.whose};
  FragmentCache::Entry* entry = cache_.find(now, need->message, owner);
  if (entry == nullptr || entry->shape.count != need->count) return drop(Drop::need_unknown);
  // A host with several addresses may ask from another than we sent to.
  doubt(now, from);
  figures_.fragments_again += need->missing.size();
  // Cut for a path that carries less by now, or was found to: nothing of it would get there. All of it again,
  // smaller.
  if (part_overhead + entry->shape.part_bytes() > paths_.datagram_bytes(from))
    return send_fragmented(now, {&from, 1}, std::string(entry->message.view()), entry->stable_bytes);
  entry->note_sent_to(from);
  send_parts(now, {&from, 1}, *entry, need->missing, Content::fragment);
}

/// Whoever asks is answered where he asks from, with nothing longer.
void Transport::answer_path_probe(const Address& from, const Opened& opened, std::size_t bytes) {
  if (opened.plain.size() < path_probe_bytes) return drop(Drop::undecodable);
  std::string answer(opened.plain.view().substr(0, path_id_bytes));
  paxos::ByteWriter(answer).fixed(static_cast<std::uint32_t>(bytes));
  const Identity& asker = opened.header.sender;
  seal_one(from, {opened.header.way.version, asker.sender, asker.life}, Content::path_answer, answer);
}

void Transport::note_path_answer(paxos::Time now, const Opened& opened) {
  if (!opened.bound) return drop(Drop::other_life);
  paxos::ByteReader r(opened.plain.span());
  const auto probe = r.fixed<std::uint64_t>();
  const auto bytes = r.fixed<std::uint32_t>();
  if (!r.done()) return drop(Drop::undecodable);
  paths_.answered(now, probe, bytes);
}

void Transport::unpack(const Address& from, const Opened& opened, std::vector<Received>& out) {
  const paxos::Bytes& plain = opened.plain;
  paxos::ByteReader r(plain.span());
  while (r.ok() && r.remaining() > 0) {
    const auto kind = r.fixed<std::uint8_t>();
    const auto body = r.sized(body_bytes_max);
    if (!r.ok() || body.empty()) return drop(Drop::undecodable);
    take_body(from, opened, kind,
              plain.slice(static_cast<std::size_t>(body.data() - plain.data()), body.size()), plain.size(),
              out);
  }
}

void Transport::unpack_stale(const Address& from, const Opened& opened, std::vector<Received>& out) {
  if (opened.header.content != Content::bodies) return;
  paxos::ByteReader r(opened.plain.span());
  while (r.ok() && r.remaining() > 0) {
    const auto kind = r.fixed<std::uint8_t>();
    const auto body = r.sized(body_bytes_max);
    if (!r.ok() || body.empty()) return;
    if (static_cast<Kind>(kind) != Kind::peer) continue;
    const auto message = decode_peer(paxos::Bytes::copy_of(body));
    if (!message || !std::holds_alternative<paxos::HeartbeatRequest>(*message)) continue;
    out.push_back({.from = from,
                   .sender = opened.header.sender,
                   .body = Body{*message},
                   .newest = false,
                   .outdated = false,
                   .stale = true,
                   .under = opened.under});
    return;  // one answer to a datagram
  }
}

void Transport::answer(const Received& stale, const paxos::Outdated& word) {
  std::string body, plain;
  encode(body, paxos::PeerMessage{word});
  paxos::ByteWriter w(plain);
  w.fixed(static_cast<std::uint8_t>(Kind::peer));
  w.sized(std::string_view(body));
  seal_one(stale.from, {std::max(peer_version_, format_named), stale.sender.sender, stale.sender.life},
           Content::bodies, plain);
}

void Transport::take_body(const Address& from, const Opened& opened, std::uint8_t kind, paxos::Bytes bytes,
                          std::size_t buffer_bytes, std::vector<Received>& out) {
  const Identity& sender = opened.header.sender;
  const std::uint8_t version = opened.header.way.version;
  const bool named = version >= format_named;
  const bool outdated = sender.is_client() && version < clients_from_;
  const auto take = [&](auto decoded) {
    if (!decoded) return drop(Drop::undecodable);
    out.push_back({.from = from,
                   .sender = sender,
                   .body = Body{std::move(*decoded)},
                   .newest = opened.newest,
                   .outdated = outdated,
                   .stale = false,
                   .under = opened.under});
  };
  // A decree or command may be kept for long, and its slice keeps the whole buffer: not for a small part of
  // it.
  const bool small = bytes.size() * 4 < buffer_bytes;
  const auto unpinned = [&](bool keeps) {
    return keeps && small ? paxos::Bytes::copy_of(bytes.span()) : bytes;
  };
  // Replicas talk to each other and answer; clients and operators ask. Anything else is a reflection or a
  // fault.
  const bool to_replica = !options_.self.is_client();
  const bool from_replica = !sender.is_client();
  switch (static_cast<Kind>(kind)) {
    case Kind::peer:
      if (!from_replica || !to_replica) break;
      // Whoever never heard of our life was not asked by it. Before the first word in this format nobody can
      // have.
      if (named && !opened.bound && named_said_)
        if (const auto answer = decode_peer(bytes); answer && is_answer(*answer))
          return drop(Drop::other_life);
      return take(decode_peer(unpinned(keeps_slices(bytes.span()))));
    case Kind::client_message:
      if (from_replica || !to_replica) break;
      return take(chat::decode_client_message(unpinned(true)));
    case Kind::client_reply:
      if (!from_replica || to_replica) break;
      return take(chat::decode_client_reply(bytes));
    case Kind::operator_request:
      if (from_replica || !to_replica || named) break;
      return take(chat::decode_operator_request(bytes));
    case Kind::named_operator_request:
      if (from_replica || !to_replica || !named) break;
      return take(chat::decode_named_operator_request(bytes));
    case Kind::operator_reply:
      if (!from_replica || to_replica) break;
      return take(chat::decode_operator_reply(bytes));
    case Kind::address_word:
      if (!from_replica || !to_replica) break;
      return take(decode_address_word(bytes.span()));
    case Kind::snapshot_word:
      if (!from_replica || !to_replica) break;
      return take(chat::decode_snapshot_word(bytes));
  }
  drop(Drop::undecodable);
}

Transport::Figures Transport::figures() const {
  Figures f = figures_;
  f.reassembly = reassembly_.figures();
  f.dropped[static_cast<std::size_t>(Drop::reassembly_bound)] = f.reassembly.crowded;
  f.dropped[static_cast<std::size_t>(Drop::reassembly_timeout)] = f.reassembly.timed_out;
  return f;
}

}  // namespace net
