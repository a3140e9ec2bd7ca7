#include "chat/wire.h"
#include "chat/wire_fields.h"

/// Clients and replicas: docs/WIRE.md.
namespace chat {

using namespace wire;

namespace {
/// docs/WIRE.md, kinds 2 and 3; in the order of the variants.
constexpr std::array<std::uint8_t, std::variant_size_v<ClientMessage>> client_message_numbers{1, 2, 3, 20,
                                                                                              21};
constexpr std::array<std::uint8_t, std::variant_size_v<ClientReply>> client_reply_numbers{1, 2,  3, 4,
                                                                                          5, 20, 21};
constexpr std::uint8_t stamped_history = 6;  ///< docs/WIRE.md, kind 3
constexpr std::uint8_t kept_history = 7;
constexpr std::uint8_t rule_is_there = 1;
constexpr std::uint8_t message_was_written = 1;
constexpr std::uint8_t message_is_redacted = 2;
constexpr std::uint8_t message_has_key = 4;
constexpr std::uint8_t message_is_proven = 8;  ///< with the above only
constexpr std::uint8_t receipt_has_nonce = 1;
constexpr std::uint8_t receipt_has_first = 2;
}  // namespace

// --- client to replica ---

void encode(std::string& out, const ClientMessage& message) {
  Writer w(out);
  w.byte(client_message_numbers[message.index()]);
  if (const auto* c = std::get_if<ClientCommands>(&message)) {
    w.flag(c->forward);
    w.number(c->commands.size());
    for (const Bytes& command : c->commands) w.bytes(command);
  } else if (const auto* h = std::get_if<HistoryRequest>(&message)) {
    w.fixed(h->id);
    w.text(h->room);
    w.number(h->from);
    w.number(h->last);
    w.number(h->limit);
    w.flag(h->local);
  } else if (const auto* f = std::get_if<FollowRequest>(&message)) {
    w.fixed(f->id);
    w.text(f->room);
    w.number(f->from);
    w.number(f->wait_ms);
  } else if (const auto* rooms = std::get_if<RoomsRequest>(&message)) {
    w.fixed(rooms->id);
    w.text(rooms->from);
    w.number(rooms->limit);
    w.flag(rooms->local);
  } else {
    const auto& who = std::get<WhoRequest>(message);
    w.fixed(who.id);
    w.byte(static_cast<std::uint8_t>(who.what));
    w.text(who.room);
    w.text(who.name);
  }
}

tl::expected<ClientMessage, const char*> decode_client_message(const Bytes& bytes) {
  return decode<ClientMessage>(bytes, [](Reader& r) -> ClientMessage {
    switch (r.byte()) {
      case 1: {
        ClientCommands m;
        m.forward = r.flag();
        for (std::size_t n = r.count(commands_max); n > 0 && r.ok(); --n)
          m.commands.push_back(r.bytes(limits::command_bytes_max));
        return m;
      }
      case 2: {
        HistoryRequest m;
        m.id = r.fixed();
        m.room = r.text(limits::room_bytes_max);
        m.from = r.number();
        m.last = r.number32();
        m.limit = r.number32();
        m.local = r.flag();
        return m;
      }
      case 3: {
        FollowRequest m;
        m.id = r.fixed();
        m.room = r.text(limits::room_bytes_max);
        m.from = r.number();
        m.wait_ms = r.number32();
        return m;
      }
      case 20: {
        RoomsRequest m;
        m.id = r.fixed();
        m.from = r.text(limits::room_bytes_max);
        m.limit = r.number32();
        m.local = r.flag();
        return m;
      }
      case 21: {
        WhoRequest m;
        m.id = r.fixed();
        const auto what = r.byte();
        if (what < 1 || what > static_cast<std::uint8_t>(Whereabouts::gone)) r.fail();
        m.what = static_cast<Whereabouts>(what);
        m.room = r.text(limits::room_bytes_max);
        m.name = r.text(limits::name_bytes_max);
        return m;
      }
      default:
        r.fail();
        return ClientCommands{};
    }
  });
}

// --- replica to client ---

namespace {

std::uint8_t extras_of(const Message& m) {
  return static_cast<std::uint8_t>((m.written_ms != 0 ? message_was_written : 0) |
                                   (m.redacted ? message_is_redacted : 0) |
                                   (m.key != 0 ? message_has_key : 0) | (m.proven ? message_is_proven : 0));
}

/// A page with a message that says when it was written, or that it was redacted, is a reply of its own
/// number; only clients that ask for it get one.
bool has_stamps(const HistoryReply& reply) {
  return std::any_of(reply.page.messages.begin(), reply.page.messages.end(),
                     [](const Message& m) { return extras_of(m) != 0; });
}

void put_message(Writer& w, const Message& m, bool stamps) {
  w.number(m.seq);
  w.number(m.slot.n);
  w.number(m.index);
  w.text(m.name);
  w.session(m.session);
  w.number(m.client_seq);
  w.fixed(static_cast<std::uint64_t>(m.time_ms));
  w.text(m.text);
  if (!stamps) return;
  w.byte(extras_of(m));
  if (m.written_ms != 0) w.number(static_cast<std::uint64_t>(m.written_ms));
  if (m.key != 0) w.number(m.key);
  if (!m.redacted) return;
  w.text(m.redacted->by);
  w.text(m.redacted->reason);
  w.fixed(static_cast<std::uint64_t>(m.redacted->time_ms));
}

Message get_message(Reader& r, const std::string& room, bool stamps) {
  Message m;
  m.room = room;
  m.seq = r.number();
  m.slot.n = r.number();
  m.index = r.number32();
  m.name = r.text(limits::name_bytes_max);
  m.session = r.session();
  m.client_seq = r.number();
  m.time_ms = static_cast<std::int64_t>(r.fixed());
  m.text = r.text(limits::text_bytes_max);
  if (!stamps) return m;
  const std::uint8_t extras = r.byte();
  if (extras > (message_was_written | message_is_redacted | message_has_key | message_is_proven)) r.fail();
  if ((extras & message_was_written) != 0) {
    m.written_ms = static_cast<std::int64_t>(r.number());
    if (m.written_ms == 0) r.fail();  // one value, one encoding
  }
  if ((extras & message_has_key) != 0 && (m.key = r.number32()) == 0) r.fail();
  m.proven = (extras & message_is_proven) != 0;
  if (m.proven && m.key == 0) r.fail();
  if ((extras & message_is_redacted) != 0) {
    Redaction& redaction = m.redacted.emplace();
    redaction.by = r.text(limits::name_bytes_max);
    redaction.reason = r.text(limits::reason_bytes_max);
    redaction.time_ms = static_cast<std::int64_t>(r.fixed());
  }
  return m;
}

void put_rule(Writer& w, const RetentionRule& rule) {
  w.number(rule.count);
  w.number(static_cast<std::uint64_t>(rule.age_ms));
  w.fixed(static_cast<std::uint64_t>(rule.time_ms));
  w.text(rule.by);
}

RetentionRule get_rule(Reader& r) {
  RetentionRule rule;
  rule.count = r.number();
  rule.age_ms = static_cast<std::int64_t>(r.number());
  if (rule.age_ms < 0 || rule.age_ms > limits::retention_age_ms_max) r.fail();
  rule.time_ms = static_cast<std::int64_t>(r.fixed());
  rule.by = r.text(limits::name_bytes_max);
  return rule;
}

void put_room(Writer& w, const RoomLine& line) {
  w.text(line.name);
  w.number(line.messages);
  w.fixed(static_cast<std::uint64_t>(line.last_ms));
  w.text(line.topic);
  w.text(line.topic_by);
  w.fixed(static_cast<std::uint64_t>(line.topic_ms));
  w.number(line.first);
  w.byte(line.rule ? rule_is_there : 0);
  if (line.rule) put_rule(w, *line.rule);
}

RoomLine get_room(Reader& r) {
  RoomLine line;
  line.name = r.text(limits::room_bytes_max);
  line.messages = r.number();
  line.last_ms = static_cast<std::int64_t>(r.fixed());
  line.topic = r.text(limits::topic_bytes_max);
  line.topic_by = r.text(limits::name_bytes_max);
  line.topic_ms = static_cast<std::int64_t>(r.fixed());
  line.first = r.number();
  const std::uint8_t has = r.byte();
  if (line.first == 0 || has > rule_is_there) r.fail();
  if (has == rule_is_there) line.rule = get_rule(r);
  return line;
}

}  // namespace

void encode(std::string& out, const ClientReply& message) {
  Writer w(out);
  const auto* stamped = std::get_if<HistoryReply>(&message);
  const bool stamps = stamped != nullptr && has_stamps(*stamped);
  const bool kept = stamped != nullptr && stamped->page.first > 1;
  w.byte(kept ? kept_history : stamps ? stamped_history : client_reply_numbers[message.index()]);
  if (const auto* receipts = std::get_if<Receipts>(&message)) {
    w.number(receipts->receipts.size());
    for (const Receipt& r : receipts->receipts) {
      w.outcome(r.outcome);
      w.byte(static_cast<std::uint8_t>((r.nonce != Nonce{} ? receipt_has_nonce : 0) |
                                       (r.first ? receipt_has_first : 0)));
      if (r.nonce != Nonce{}) w.raw(r.nonce);
      if (r.first) {
        w.session(r.first->session);
        w.number(r.first->client_seq);
        w.text(r.first->name);
      }
    }
  } else if (const auto* redirect = std::get_if<Redirect>(&message)) {
    w.byte(redirect->leader ? redirect->leader->n : 255);
  } else if (const auto* waiting = std::get_if<Waiting>(&message)) {
    w.byte(static_cast<std::uint8_t>(waiting->reason));
    w.number(waiting->slot.n);
    w.number(waiting->missing.size());
    for (paxos::ReplicaId id : waiting->missing) w.byte(id.n);
  } else if (const auto* refused = std::get_if<CommandRefused>(&message)) {
    w.session(refused->session);
    w.number(refused->client_seq);
    w.sentence(refused->reason);
  } else if (const auto* h = std::get_if<HistoryReply>(&message)) {
    w.fixed(h->id);
    w.sentence(h->refused);
    w.number(h->applied.n);
    w.number(h->page.next);
    w.number(h->page.head);
    if (kept) w.number(h->page.first);
    // All messages of a page are of one room: its name stands once.
    w.text(h->page.messages.empty() ? std::string_view() : std::string_view(h->page.messages.front().room));
    w.number(h->page.messages.size());
    for (const Message& m : h->page.messages) put_message(w, m, stamps || kept);
  } else if (const auto* rooms = std::get_if<RoomsReply>(&message)) {
    w.fixed(rooms->id);
    w.sentence(rooms->refused);
    w.number(rooms->applied.n);
    w.text(rooms->page.next);
    w.number(rooms->page.rooms.size());
    for (const RoomLine& line : rooms->page.rooms) put_room(w, line);
    put_rule(w, rooms->page.for_all);
  } else {
    const auto& who = std::get<WhoReply>(message);
    w.fixed(who.id);
    w.number(who.present.size());
    for (const Present& present : who.present) {
      w.text(present.name);
      w.number(present.heard_ms);
    }
  }
}

tl::expected<ClientReply, const char*> decode_client_reply(const Bytes& bytes) {
  return decode<ClientReply>(bytes, [](Reader& r) -> ClientReply {
    const std::uint8_t number = r.byte();
    switch (number) {
      case 1: {
        Receipts m;
        for (std::size_t n = r.count(receipts_max); n > 0 && r.ok(); --n) {
          Receipt receipt;
          receipt.outcome = r.outcome();
          const auto has = r.byte();
          if (has > (receipt_has_nonce | receipt_has_first)) r.fail();
          if ((has & receipt_has_nonce) != 0) {
            receipt.nonce = r.array<16>();
            if (receipt.nonce == Nonce{}) r.fail();  // the flag says so already: one value, one encoding
          }
          if ((has & receipt_has_first) != 0) {
            receipt.first.emplace();
            receipt.first->session = r.session();
            receipt.first->client_seq = r.number();
            receipt.first->name = r.text(limits::name_bytes_max);
          }
          m.receipts.push_back(std::move(receipt));
        }
        return m;
      }
      case 2: {
        Redirect m;
        const auto leader = r.byte();
        if (leader < paxos::limits::replicas_max)
          m.leader = paxos::ReplicaId{leader};
        else if (leader != 255)
          r.fail();
        return m;
      }
      case 3: {
        Waiting m;
        const auto reason = r.byte();
        if (reason < 1 || reason > static_cast<std::uint8_t>(WaitReason::disks_full)) r.fail();
        m.reason = static_cast<WaitReason>(reason);
        m.slot.n = r.number();
        for (std::size_t n = r.count(paxos::limits::replicas_max); n > 0 && r.ok(); --n)
          m.missing.push_back(r.replica());
        return m;
      }
      case 4: {
        CommandRefused m;
        m.session = r.session();
        m.client_seq = r.number();
        m.reason = r.text(reason_bytes_max);
        return m;
      }
      case 5:
      case stamped_history:
      case kept_history: {
        HistoryReply m;
        m.id = r.fixed();
        m.refused = r.text(reason_bytes_max);
        m.applied.n = r.number();
        m.page.next = r.number();
        m.page.head = r.number();
        if (number == kept_history && (m.page.first = r.number()) <= 1) r.fail();
        const std::string room = r.text(limits::room_bytes_max);
        const bool nameless = room.empty();
        for (std::size_t n = r.count(limits::page_messages_max); n > 0 && r.ok(); --n)
          m.page.messages.push_back(get_message(r, room, number != 5));
        if (!nameless && m.page.messages.empty()) r.fail();
        if (number == stamped_history && !has_stamps(m)) r.fail();
        return m;
      }
      case 20: {
        RoomsReply m;
        m.id = r.fixed();
        m.refused = r.text(reason_bytes_max);
        m.applied.n = r.number();
        m.page.next = r.text(limits::room_bytes_max);
        for (std::size_t n = r.count(limits::page_rooms_max); n > 0 && r.ok(); --n)
          m.page.rooms.push_back(get_room(r));
        m.page.for_all = get_rule(r);
        return m;
      }
      case 21: {
        WhoReply m;
        m.id = r.fixed();
        for (std::size_t n = r.count(limits::present_shown_max); n > 0 && r.ok(); --n) {
          Present present;
          present.name = r.text(limits::name_bytes_max);
          present.heard_ms = r.number();
          m.present.push_back(std::move(present));
        }
        return m;
      }
      default:
        r.fail();
        return Redirect{};
    }
  });
}

}  // namespace chat
