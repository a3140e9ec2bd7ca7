#include "net/codec.h"

#include <algorithm>

#include "chat/bounds.h"
#include "net/fields.h"
#include "paxos/overloaded.h"

namespace net {

namespace {

using paxos::Slot;

constexpr const char* malformed =
    "a peer message of unknown type, cut short, out of range, or with bytes to spare";

constexpr std::size_t promise_entry_bytes_min = 1 + 2 + 1 + 1;
constexpr std::size_t chosen_bytes_min = 1 + 2 + 1;

/// Returns the identifying bytes' end; 0 stands for all.
std::size_t put(std::string& out, const paxos::PeerMessage& message) {
  FieldWriter w(out);
  const auto head = [&](PeerType type) { w.u8(static_cast<std::uint8_t>(type)); };
  std::size_t stable_end = 0;
  std::visit(paxos::Overloaded{
                 [&](const paxos::HeartbeatRequest& m) {
                   const bool first = m.configuration == 1;
                   head(first ? PeerType::heartbeat_request : PeerType::configured_heartbeat_request);
                   w.fixed(m.nonce);
                   if (!first) w.varint(m.configuration);
                 },
                 [&](const paxos::HeartbeatReply& m) {
                   head(PeerType::heartbeat_reply);
                   w.fixed(m.nonce);
                   w.ballot(m.ballot);
                   w.ballot(m.leader);
                   w.u8(static_cast<std::uint8_t>((m.happy ? 1 : 0) | (m.candidate ? 2 : 0) |
                                                  (m.groups != 0 ? 4 : 0) | (m.configuration != 1 ? 8 : 0) |
                                                  (m.voting ? 0 : 16) | (m.full ? 32 : 0)));
                   w.slot(m.chosen_prefix);
                   w.slot(m.applied);
                   w.raw(m.hash.bytes);
                   w.varint(m.rules);
                   w.varint(m.sync_age_ms);
                   if (m.groups != 0) w.varint(m.groups);  // the first format has none, nor the next one
                   if (m.configuration != 1) w.varint(m.configuration);
                 },
                 [&](const paxos::HandOver& m) {
                   head(PeerType::hand_over);
                   w.ballot(m.ballot);
                 },
                 [&](const paxos::Prepare& m) {
                   head(PeerType::prepare);
                   w.ballot(m.ballot);
                   w.slot(m.from);
                 },
                 [&](const paxos::Promise& m) {
                   PAXOS_ASSERT(m.entries.size() <= paxos::limits::page_entries_max);
                   head(PeerType::promise);
                   w.ballot(m.ballot);
                   w.slot(m.from);
                   w.slot(m.chosen_prefix);
                   w.slot(m.next);
                   w.varint(m.entries.size());
                   for (const paxos::PromiseEntry& e : m.entries) {
                     w.slot(e.slot);
                     w.ballot(e.ballot);
                     w.flag(e.chosen);
                     w.decree(e.decree);
                   }
                 },
                 [&](const paxos::Accept& m) {
                   head(PeerType::accept);
                   w.ballot(m.ballot);
                   w.slot(m.slot);
                   w.decree(m.decree);
                   stable_end = out.size();
                   w.slot(m.chosen_prefix);
                 },
                 [&](const paxos::Accepted& m) {
                   PAXOS_ASSERT(m.slots.size() <= paxos::limits::accepted_ranges_max);
                   head(PeerType::accepted);
                   w.ballot(m.ballot);
                   w.varint(m.slots.size());
                   for (const paxos::SlotRange& range : m.slots) {
                     w.slot(range.first);
                     w.varint(range.last - range.first);
                   }
                 },
                 [&](const paxos::Nack& m) {
                   head(PeerType::nack);
                   w.ballot(m.refused);
                   w.ballot(m.promised);
                 },
                 [&](const paxos::Commit& m) {
                   head(PeerType::commit);
                   w.ballot(m.ballot);
                   w.slot(m.chosen_prefix);
                 },
                 [&](const paxos::LearnRequest& m) {
                   head(PeerType::learn_request);
                   w.slot(m.from);
                   w.slot(m.to);
                 },
                 [&](const paxos::LearnReply& m) {
                   PAXOS_ASSERT(m.decrees.size() <= paxos::limits::page_entries_max);
                   head(PeerType::learn_reply);
                   w.varint(m.decrees.size());
                   for (const paxos::ChosenDecree& d : m.decrees) {
                     w.slot(d.slot);
                     w.ballot(d.ballot);
                     w.decree(d.decree);
                   }
                   stable_end = out.size();
                   w.slot(m.first_slot);
                   w.slot(m.chosen_prefix);
                 },
                 [&](const paxos::ReadConfirm& m) {
                   head(PeerType::read_confirm);
                   w.ballot(m.ballot);
                   w.fixed(m.nonce);
                 },
                 [&](const paxos::ReadConfirmed& m) {
                   head(PeerType::read_confirmed);
                   w.ballot(m.ballot);
                   w.fixed(m.nonce);
                 },
                 [&](const paxos::ReadRequest& m) {
                   head(PeerType::read_request);
                   w.fixed(m.id);
                 },
                 [&](const paxos::ReadReply& m) {
                   head(PeerType::read_reply);
                   w.fixed(m.id);
                   w.slot(m.index);
                 },
                 [&](const paxos::Birth& m) {
                   PAXOS_ASSERT(m.members.size() <= paxos::limits::replicas_max);
                   head(PeerType::birth);
                   w.u8(static_cast<std::uint8_t>((m.synced ? 1 : 0) | (m.born ? 2 : 0) |
                                                  (m.configuration != 1 ? 4 : 0)));
                   w.varint(m.members.size());
                   for (const paxos::Incarnation& i : m.members) w.raw(i.bytes);
                   if (m.configuration != 1) w.varint(m.configuration);
                 },
                 [&](const paxos::Forward& m) {
                   PAXOS_ASSERT(m.commands.size() <= paxos::limits::forward_commands_max);
                   head(PeerType::forward);
                   w.varint(m.commands.size());
                   for (const paxos::Bytes& c : m.commands) w.sized(c.span());
                 },
                 [&](const paxos::Outdated& m) {
                   head(PeerType::outdated);
                   w.life(m.meant);
                   w.varint(m.known_boot);
                   w.varint(m.known_groups);
                 },
                 [&](const paxos::Introduce&) { head(PeerType::introduce); },
                 [&](const paxos::Introduction& m) {
                   PAXOS_ASSERT(m.lives.size() <= paxos::limits::lives_max);
                   head(PeerType::introduction);
                   w.varint(m.groups_at_start);
                   w.varint(m.lives.size());
                   for (const paxos::Life& life : m.lives) w.life(life);
                 },
             },
             message);
  return stable_end;
}

paxos::PeerMessage promise(FieldReader& r) {
  paxos::Promise m;
  m.ballot = r.ballot(Round::above_zero);
  m.from = r.slot();
  m.chosen_prefix = r.slot_or_none();
  m.next = r.slot_or_none();
  m.entries.resize(r.count(paxos::limits::page_entries_max, promise_entry_bytes_min));
  Slot above = std::max(m.chosen_prefix, Slot{m.from.n == 0 ? 0 : m.from.n - 1});
  for (paxos::PromiseEntry& e : m.entries) {
    e.slot = r.slot();
    e.ballot = r.ballot(Round::above_zero);
    e.chosen = r.flag();
    e.decree = r.decree();
    if (e.slot <= above) r.fail();
    if (!r.ok()) break;
    above = e.slot;
  }
  // A page that leads back to itself would be pulled for ever.
  if (!m.next.none() && (m.entries.empty() || m.next <= above)) r.fail();
  return m;
}

paxos::PeerMessage accepted(FieldReader& r) {
  paxos::Accepted m;
  m.ballot = r.ballot(Round::above_zero);
  m.slots.resize(r.count(paxos::limits::accepted_ranges_max, 2));
  Slot above;
  for (paxos::SlotRange& range : m.slots) {
    range.first = r.slot();
    range.last = range.first + r.varint_max(accepted_range_max - 1);
    if (range.first <= above) r.fail();
    if (!r.ok()) break;
    above = range.last;
  }
  if (m.slots.empty()) r.fail();
  return m;
}

paxos::PeerMessage learn_reply(FieldReader& r) {
  paxos::LearnReply m;
  m.decrees.resize(r.count(paxos::limits::page_entries_max, chosen_bytes_min));
  Slot above;
  for (paxos::ChosenDecree& d : m.decrees) {
    d.slot = r.slot();
    d.ballot = r.ballot(Round::above_zero);
    d.decree = r.decree();
    if (d.slot <= above) r.fail();
    if (!r.ok()) break;
    above = d.slot;
  }
  m.first_slot = r.slot_or_none();
  m.chosen_prefix = r.slot_or_none();
  return m;
}

paxos::PeerMessage introduction(FieldReader& r) {
  paxos::Introduction m;
  m.groups_at_start = r.varint();
  m.lives.resize(r.count(paxos::limits::lives_max, 9));
  std::uint64_t above = 0;
  for (paxos::Life& life : m.lives) {
    life = r.life();
    if (life.boot <= above) r.fail();
    if (!r.ok()) break;
    above = life.boot;
  }
  if (m.lives.empty()) r.fail();
  return m;
}

/// Reads one message; whether all went well is in `r`. An unknown type fails, too.
paxos::PeerMessage peer_message(FieldReader& r, PeerType type) {
  switch (type) {
    case PeerType::heartbeat_request:
      return paxos::HeartbeatRequest{r.fixed<std::uint64_t>()};
    case PeerType::configured_heartbeat_request: {
      paxos::HeartbeatRequest m;
      m.nonce = r.fixed<std::uint64_t>();
      m.configuration = r.later();
      return m;
    }
    case PeerType::heartbeat_reply: {
      paxos::HeartbeatReply m;
      m.nonce = r.fixed<std::uint64_t>();
      m.ballot = r.ballot(Round::may_be_zero);
      m.leader = r.ballot(Round::may_be_zero);
      const std::uint8_t flags = r.u8();
      if (flags > 63) r.fail();
      m.voting = (flags & 16) == 0;
      m.full = (flags & 32) != 0;
      m.happy = (flags & 1) != 0;
      m.candidate = (flags & 2) != 0;
      m.chosen_prefix = r.slot_or_none();
      m.applied = r.slot_or_none();
      m.hash.bytes = r.array<16>();
      m.rules = static_cast<std::uint16_t>(r.varint_max(UINT16_MAX));
      if (m.rules == 0) r.fail();
      m.sync_age_ms = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
      if ((flags & 4) != 0 && (m.groups = r.varint()) == 0) r.fail();
      if ((flags & 8) != 0) m.configuration = r.later();
      return m;
    }
    case PeerType::hand_over:
      return paxos::HandOver{r.ballot(Round::above_zero)};
    case PeerType::prepare: {
      paxos::Prepare m;
      m.ballot = r.ballot(Round::above_zero);
      m.from = r.slot();
      return m;
    }
    case PeerType::promise:
      return promise(r);
    case PeerType::accept: {
      paxos::Accept m;
      m.ballot = r.ballot(Round::above_zero);
      m.slot = r.slot();
      m.decree = r.decree();
      m.chosen_prefix = r.slot_or_none();
      return m;
    }
    case PeerType::accepted:
      return accepted(r);
    case PeerType::nack: {
      paxos::Nack m;
      m.refused = r.ballot(Round::above_zero);
      m.promised = r.ballot(Round::above_zero);
      return m;
    }
    case PeerType::commit: {
      paxos::Commit m;
      m.ballot = r.ballot(Round::above_zero);
      m.chosen_prefix = r.slot_or_none();
      return m;
    }
    case PeerType::learn_request: {
      paxos::LearnRequest m;
      m.from = r.slot();
      m.to = r.slot();
      if (m.to < m.from) r.fail();
      return m;
    }
    case PeerType::learn_reply:
      return learn_reply(r);
    case PeerType::read_confirm: {
      paxos::ReadConfirm m;
      m.ballot = r.ballot(Round::above_zero);
      m.nonce = r.fixed<std::uint64_t>();
      return m;
    }
    case PeerType::read_confirmed: {
      paxos::ReadConfirmed m;
      m.ballot = r.ballot(Round::above_zero);
      m.nonce = r.fixed<std::uint64_t>();
      return m;
    }
    case PeerType::read_request:
      return paxos::ReadRequest{r.fixed<std::uint64_t>()};
    case PeerType::read_reply: {
      paxos::ReadReply m;
      m.id = r.fixed<std::uint64_t>();
      m.index = r.slot_or_none();
      return m;
    }
    case PeerType::birth: {
      paxos::Birth m;
      const std::uint8_t flags = r.u8();
      if (flags > 7) r.fail();
      m.synced = (flags & 1) != 0;
      m.born = (flags & 2) != 0;
      m.members.resize(r.count(paxos::limits::replicas_max, 16));
      for (paxos::Incarnation& i : m.members) i.bytes = r.array<16>();
      if ((flags & 4) != 0) m.configuration = r.later();
      return m;
    }
    case PeerType::outdated: {
      paxos::Outdated m;
      m.meant = r.life();
      m.known_boot = r.varint();
      m.known_groups = r.varint();
      return m;
    }
    case PeerType::introduce:
      return paxos::Introduce{};
    case PeerType::introduction:
      return introduction(r);
    case PeerType::forward: {
      paxos::Forward m;
      m.commands.resize(r.count(paxos::limits::forward_commands_max, 1));
      for (paxos::Bytes& c : m.commands) c = r.slice(chat::limits::command_bytes_max);
      return m;
    }
  }
  r.fail();
  return {};
}

}  // namespace

std::size_t encode_stable(std::string& out, const paxos::PeerMessage& message) {
  const std::size_t begin = out.size();
  const std::size_t stable_end = put(out, message);
  return (stable_end == 0 ? out.size() : stable_end) - begin;
}

void encode(std::string& out, const paxos::PeerMessage& message) { put(out, message); }

tl::expected<paxos::PeerMessage, const char*> decode_peer(const paxos::Bytes& bytes) {
  FieldReader r(bytes);
  const auto type = static_cast<PeerType>(r.u8());
  paxos::PeerMessage message = peer_message(r, type);
  if (!r.done()) return tl::make_unexpected(malformed);
  return message;
}

bool keeps_slices(std::span<const std::byte> peer_message) {
  if (peer_message.empty()) return false;
  const auto type = static_cast<PeerType>(peer_message.front());
  return type == PeerType::promise || type == PeerType::accept || type == PeerType::learn_reply ||
         type == PeerType::forward;
}

}  // namespace net
