#include <algorithm>
#include <utility>

#include "chat/wire.h"
#include "net/transport.h"
#include "paxos/coding.h"
#include "paxos/invariant.h"

/// In which format a Transport speaks to whom, and whom it serves: clients that know the ticket of their
/// address, peers that know its life. docs/WIRE.md, "Hello and welcome".
namespace net {

namespace {

using namespace std::chrono_literals;

/// The plaintext of a hello: as long as nobody can want a welcome to be.
constexpr std::size_t hello_bytes = 16;
/// Lowest and highest format, ticket.
constexpr std::size_t welcome_bytes = 1 + 1 + 8;
static_assert(hello_bytes >= welcome_bytes, "nobody gets more than it sent before it has shown a ticket");

constexpr paxos::Duration hello_again_min = 30ms;
constexpr paxos::Duration hello_again_max = 500ms;
/// An old acquaintance that has been silent for so long may have been replaced by a program of another
/// version.
constexpr paxos::Duration silence_max = 1s;
constexpr paxos::Duration held_for = 2s;
constexpr std::size_t held_max = 64;  ///< bodies for one replica
constexpr std::size_t askers_max = Opener::clients_max;

}  // namespace

bool is_answer(const paxos::PeerMessage& message) {
  return std::holds_alternative<paxos::HeartbeatReply>(message) ||
         std::holds_alternative<paxos::Promise>(message) ||
         std::holds_alternative<paxos::Accepted>(message) || std::holds_alternative<paxos::Nack>(message) ||
         std::holds_alternative<paxos::LearnReply>(message) ||
         std::holds_alternative<paxos::ReadConfirmed>(message) ||
         std::holds_alternative<paxos::ReadReply>(message) ||
         std::holds_alternative<paxos::Outdated>(message) ||
         std::holds_alternative<paxos::Introduction>(message);
}

void Transport::speak(std::uint8_t version) {
  const std::uint8_t now = std::max(version, heard_version_);
  if (std::exchange(peer_version_, now) != now) tell_paths_of_peers();
}

paxos::Time Transport::deadline() const {
  paxos::Time at = std::min({reassembly_.deadline(), cache_.deadline(), paths_.deadline()});
  for (const Contact& contact : contacts_)
    if (contact.version == 0 && !contact.held.empty()) at = std::min(at, contact.hello_at);
  return at;
}

// --- of a replica ---

bool Transport::admit_peer(const Opened& opened) {
  const Identity& sender = opened.header.sender;
  if (opened.header.way.version < format_named) {
    // A recording from before the rules were raised; a peer that lags hears from us that they were, and says
    // it again.
    if (options_.speaks < format_named && lives_[sender.sender] == 0) return true;
    drop(Drop::outdated);
    return false;
  }
  hear_named();
  hear_secret(opened.under);
  lives_[sender.sender] = sender.life;
  return true;
}

/// The others speak under it because the log says so, for which every replica had to have it. Whoever lags
/// would be heard by nobody once the earlier one is retired.
void Transport::hear_secret(Fingerprint secret) {
  if (secret == sealer_.speaks_under()) return;
  const std::vector<Fingerprint> all = sealer_.secrets();
  const auto place = [&](Fingerprint of) { return std::find(all.begin(), all.end(), of); };
  if (place(secret) != all.end() && place(secret) > place(sealer_.speaks_under()))
    sealer_.speak_under(secret);
}

void Transport::drop_secret(Fingerprint secret) {
  sealer_.drop_secret(secret);
  std::vector<Address> gone;
  for (const auto& [address, asker] : askers_)
    if (asker.under == secret) gone.push_back(address);
  for (const Address& address : gone) forget_asker(address);
}

void Transport::disown(const Identity& peer) {
  if (peer.life == 0) return;
  sealer_.forget(peer);
  if (disowns(peer)) return;
  auto& lives = disowned_[peer.sender];
  lives.push_front(peer.life);
  if (lives.size() > Opener::incarnations_max) lives.pop_back();
  // The next word of the right one says whose it is.
  if (lives_[peer.sender] == peer.life) lives_[peer.sender] = 0;
}

bool Transport::disowns(const Identity& peer) const {
  const auto& lives = disowned_[peer.sender];
  return peer.life != 0 && std::find(lives.begin(), lives.end(), peer.life) != lives.end();
}

/// A replica speaks so because the rules were raised, for which every replica's program had to know this
/// format. That holds for recordings, too.
void Transport::hear_named() {
  heard_version_ = std::max(heard_version_, format_named);
  speak(peer_version_);
  clients_from_ = std::max(clients_from_, format_named);
}

bool Transport::admit_client(paxos::Time now, const Address& from, const Opened& opened) {
  const std::uint8_t version = opened.header.way.version;
  if (version < format_named) {
    forget_asker(from);
    if (version >= clients_from_) return true;
    // A program that names us in the first format knows the second, and has said hello, too. The others are
    // told.
    if (opened.header.way.destination == any_destination && opened.header.content != Content::fragment_need) {
      outdated_.push_back(from);
      return true;
    }
    drop(Drop::outdated);
    return false;
  }
  if (opened.header.content == Content::hello) {
    send_welcome(from, opened);
    return false;
  }
  if (!opened.bound || version < clients_from_) {
    drop(opened.bound ? Drop::outdated : Drop::unproven);
    send_welcome(from, opened);
    return false;
  }
  note_asker(now, from, opened);
  return true;
}

void Transport::note_asker(paxos::Time now, const Address& from, const Opened& opened) {
  const Identity& who = opened.header.sender;
  const auto [at, fresh] = askers_.try_emplace(from);
  // What was packed in this turn was packed for who was here before.
  const Asker& before = at->second;
  if (!fresh &&
      (before.version != opened.header.way.version || before.life != who.life ||
       before.incarnation != who.incarnation || before.whose != who.whose || before.under != opened.under))
    if (const auto pack = packs_.find(from); pack != packs_.end()) seal_pack(pack->second, now);
  if (fresh) {
    at->second.place = askers_order_.insert(askers_order_.begin(), from);
    if (askers_.size() > askers_max) forget_asker(Address(askers_order_.back()));
  } else {
    askers_order_.splice(askers_order_.begin(), askers_order_, at->second.place);
  }
  at->second.version = opened.header.way.version;
  at->second.life = opened.header.sender.life;
  at->second.incarnation = opened.header.sender.incarnation;
  at->second.whose = opened.header.way.whose;
  at->second.under = opened.under;
}

void Transport::forget_asker(const Address& from) {
  const auto at = askers_.find(from);
  if (at == askers_.end()) return;
  askers_order_.erase(at->second.place);
  askers_.erase(at);
}

/// Never longer than what it answers, and one a turn.
void Transport::send_welcome(const Address& to, const Opened& opened) {
  if (opened.plain.size() < welcome_bytes) return;
  if (std::find(welcomed_.begin(), welcomed_.end(), to) != welcomed_.end()) return;
  welcomed_.push_back(to);
  std::string plain;
  paxos::ByteWriter w(plain);
  w.fixed(clients_from_);
  w.fixed(options_.version_max);
  w.fixed(opened.ticket);
  PAXOS_ASSERT(plain.size() == welcome_bytes);
  ++figures_.welcomes;
  // In the format that each later one can read.
  seal_one(to,
           {format_named, any_destination, opened.header.sender.life, opened.header.way.whose, opened.under},
           Content::welcome, plain);
}

// --- of a client ---

Transport::Terms Transport::terms(paxos::ReplicaId replica) const {
  if (replica.n >= contacts_.size()) return {};
  const Contact& contact = contacts_[replica.n];
  return {.version = contact.version, .lowest = contact.lowest, .highest = contact.highest};
}

bool Transport::ready(paxos::Time now, std::uint8_t replica, const Address& to, const Body& body) {
  Contact& contact = contacts_[replica];
  contact.address = to;
  if (contact.version != 0) {
    if (contact.unanswered == paxos::time_never) contact.unanswered = now;
    if (now - contact.unanswered > silence_max) greet(now, replica);
    return true;
  }
  if (contact.lowest == 0) {
    const auto same =
        std::find_if(contact.held.begin(), contact.held.end(), [&](const auto& h) { return h.body == body; });
    if (same != contact.held.end()) {
      same->until = now + held_for;
    } else {
      if (contact.held.size() == held_max) contact.held.pop_front();
      contact.held.push_back({body, now + held_for});
    }
  }
  greet(now, replica);
  return false;
}

void Transport::greet(paxos::Time now, std::uint8_t replica) {
  Contact& contact = contacts_[replica];
  if (now < contact.hello_at) return;
  const bool named = options_.version_max >= format_named;
  if (named) {
    std::string plain;
    paxos::ByteWriter w(plain);
    w.fixed(format_version);
    w.fixed(options_.version_max);
    plain.resize(hello_bytes);
    seal_one(contact.address, {format_named, replica, contact.ticket, options_.self.whose}, Content::hello,
             plain);
  }
  // Who does not know what a hello is may answer a question of the first format: the cheapest there is. It
  // knows no keys with roles.
  if ((contact.hellos > 0 || !named) && options_.self.whose.is_secret()) {
    contact.question = options_.self.life | 1;
    std::string question;
    chat::encode(question,
                 chat::OperatorRequest{.id = contact.question, .target = {}, .command = chat::HashRequest{}});
    std::string plain(1, '\x04');
    paxos::ByteWriter(plain).sized(question);
    seal_one(contact.address, {format_version, replica, 0}, Content::bodies, plain);
  }
  contact.hello_at = now + std::min(hello_again_min * (1U << std::min(contact.hellos, 8U)), hello_again_max);
  ++contact.hellos;
}

void Transport::greet_again(paxos::Time now) {
  for (std::size_t id = 0; id < contacts_.size(); ++id) {
    Contact& contact = contacts_[id];
    std::erase_if(contact.held, [&](const Contact::Held& h) { return h.until <= now; });
    if (contact.version == 0 && !contact.held.empty()) greet(now, static_cast<std::uint8_t>(id));
  }
}

bool Transport::admit_reply(paxos::Time now, const Address& from, const Opened& opened) {
  const std::uint8_t replica = opened.header.sender.sender;
  if (opened.header.sender.is_client() || replica >= contacts_.size()) {
    drop(Drop::header);
    return false;
  }
  Contact& contact = contacts_[replica];
  if (contact.address.empty()) contact.address = from;
  if (opened.header.content == Content::welcome) {
    on_welcome(now, replica, opened.plain);
    return false;
  }
  // The first format names no receiver: only who was asked in it may say something in it.
  if (opened.header.way.version < format_named && contact.version != format_version &&
      contact.question == 0) {
    drop(Drop::outdated);
    return false;
  }
  if (opened.header.way.version >= format_named || contact.version == format_version)
    contact.unanswered = paxos::time_never;
  return true;
}

void Transport::on_welcome(paxos::Time now, std::uint8_t replica, const paxos::Bytes& plain) {
  paxos::ByteReader r(plain.span());
  const auto lowest = r.fixed<std::uint8_t>();
  const auto highest = r.fixed<std::uint8_t>();
  const auto ticket = r.fixed<std::uint64_t>();
  if (!r.ok() || lowest == 0 || lowest > highest || highest < format_named || ticket == 0)
    return drop(Drop::undecodable);
  Contact& contact = contacts_[replica];
  const std::uint8_t version = std::min(highest, options_.version_max);
  if (version >= lowest) return agree(now, contact, version, ticket);
  contact.version = 0;
  contact.lowest = lowest;
  contact.highest = highest;
  contact.held.clear();
  contact.hello_at = now + silence_max;
}

void Transport::agree(paxos::Time now, Contact& contact, std::uint8_t version, std::uint64_t ticket) {
  // What was packed in this turn was packed for other terms.
  if (const auto pack = packs_.find(contact.address); pack != packs_.end()) seal_pack(pack->second, now);
  contact.version = version;
  contact.ticket = ticket;
  contact.lowest = contact.highest = 0;
  contact.hellos = 0;
  contact.hello_at = now;
  contact.question = 0;
  contact.unanswered = paxos::time_never;
  for (const Contact::Held& held : std::exchange(contact.held, {}))
    if (held.until > now) send_to(now, {&contact.address, 1}, held.body);
}

void Transport::sift_first_format(paxos::Time now, std::uint8_t replica, std::size_t begin,
                                  std::vector<Received>& out) {
  Contact& contact = contacts_[replica];
  for (std::size_t i = begin; i < out.size(); ++i) {
    const auto* reply = std::get_if<chat::OperatorReply>(&out[i].body);
    if (reply == nullptr || contact.question == 0 || reply->id != contact.question) continue;
    out.erase(out.begin() + static_cast<std::ptrdiff_t>(i));
    agree(now, contact, format_version, 0);
    return;
  }
  if (contact.version == format_version) return;
  out.erase(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end());
  drop(Drop::outdated);
}

}  // namespace net
