#include "chat/wire.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "paxos/coding.h"

namespace chat {

using paxos::ByteReader;
using paxos::Bytes;
using paxos::ByteWriter;
using paxos::Slot;

namespace {

constexpr std::size_t commands_max = 4096;
constexpr std::size_t receipts_max = 4096;
constexpr std::size_t reason_bytes_max = 4096;
constexpr std::size_t json_bytes_max = 256 * 1024;
constexpr std::size_t slots_max = 4096;
constexpr std::size_t log_slots_max = 65536;
/// docs/WIRE.md, kinds 2 and 3; in the order of the variants.
constexpr std::array<std::uint8_t, std::variant_size_v<ClientMessage>> client_message_numbers{1, 2, 3, 20,
                                                                                              21};
constexpr std::array<std::uint8_t, std::variant_size_v<ClientReply>> client_reply_numbers{1, 2,  3, 4,
                                                                                          5, 20, 21};
constexpr std::uint8_t stamped_history = 6;  ///< docs/WIRE.md, kind 3
constexpr std::uint8_t receipt_has_nonce = 1;
constexpr std::uint8_t receipt_has_first = 2;

class Writer {
 public:
  explicit Writer(std::string& out) : w_(out) {}
  void number(std::uint64_t n) { w_.varint(n); }
  void byte(std::uint8_t n) { w_.fixed(n); }
  void flag(bool f) { w_.fixed(static_cast<std::uint8_t>(f ? 1 : 0)); }
  void fixed(std::uint64_t n) { w_.fixed(n); }
  void text(std::string_view t) { w_.sized(t); }
  /// For people: cut between two characters where it is longer than a reader takes.
  void sentence(std::string_view t) {
    if (t.size() > reason_bytes_max) {
      std::size_t end = reason_bytes_max;
      while (end > 0 && (static_cast<unsigned char>(t[end]) & 0xc0) == 0x80) --end;
      t = t.substr(0, end);
    }
    w_.sized(t);
  }
  void bytes(const Bytes& b) { w_.sized(b.span()); }
  template <std::size_t N>
  void raw(const std::array<std::uint8_t, N>& a) {
    w_.raw(a);
  }
  void session(const SessionId& s) {
    number(s.slot.n);
    number(s.index);
  }
  void outcome(const Outcome& o) {
    byte(static_cast<std::uint8_t>(o.verdict));
    session(o.session);
    number(o.client_seq);
    number(o.slot.n);
    number(o.index);
    number(o.room_seq);
    fixed(static_cast<std::uint64_t>(o.time_ms));
  }
  void slots(const std::vector<Slot>& slots) {
    number(slots.size());
    for (Slot s : slots) number(s.n);
  }

 private:
  ByteWriter w_;
};

class Reader {
 public:
  explicit Reader(const Bytes& whole) : whole_(whole), r_(whole.span()) {}
  std::uint64_t number() { return r_.varint(); }
  std::uint32_t number32() { return static_cast<std::uint32_t>(r_.varint_max(UINT32_MAX)); }
  std::uint8_t byte() { return r_.fixed<std::uint8_t>(); }
  bool flag() {
    const auto value = byte();
    if (value > 1) r_.fail();
    return value == 1;
  }
  std::uint64_t fixed() { return r_.fixed<std::uint64_t>(); }
  std::string text(std::size_t max) { return std::string(r_.sized_view(max)); }
  Bytes bytes(std::size_t max) {
    const auto span = r_.sized(max);
    if (span.empty()) return {};
    return whole_.slice(static_cast<std::size_t>(span.data() - whole_.data()), span.size());
  }
  template <std::size_t N>
  std::array<std::uint8_t, N> array() {
    return r_.array<N>();
  }
  SessionId session() {
    SessionId s;
    s.slot.n = number();
    s.index = number32();
    return s;
  }
  Outcome outcome() {
    Outcome o;
    const auto verdict = byte();
    if (verdict < 1 || verdict >= verdicts_end) r_.fail();
    o.verdict = static_cast<Verdict>(verdict);
    o.session = session();
    o.client_seq = number();
    o.slot.n = number();
    o.index = number32();
    o.room_seq = number();
    o.time_ms = static_cast<std::int64_t>(fixed());
    return o;
  }
  std::size_t count(std::size_t max) { return static_cast<std::size_t>(r_.varint_max(max)); }
  std::vector<Slot> slots() {
    std::vector<Slot> out;
    for (std::size_t n = count(slots_max); n > 0 && ok(); --n) out.push_back({number()});
    return out;
  }
  paxos::ReplicaId replica() {
    const auto id = byte();
    if (id >= paxos::limits::replicas_max) return r_.failed<paxos::ReplicaId>();
    return {id};
  }
  void fail() { r_.fail(); }
  [[nodiscard]] bool ok() const { return r_.ok(); }
  [[nodiscard]] bool done() const { return r_.done(); }

 private:
  const Bytes& whole_;
  ByteReader r_;
};

template <class T, class F>
tl::expected<T, const char*> decode(const Bytes& bytes, F&& get) {
  Reader r(bytes);
  T message = get(r);
  if (!r.done()) return tl::make_unexpected("a message that is cut short, out of range, or of unknown type");
  return message;
}

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

/// A page with a message that says when it was written is a reply of its own number; only clients that ask
/// for it get one.
bool has_stamps(const HistoryReply& reply) {
  return std::any_of(reply.page.messages.begin(), reply.page.messages.end(),
                     [](const Message& m) { return m.written_ms != 0; });
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
  if (stamps) w.number(static_cast<std::uint64_t>(m.written_ms));
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
  if (stamps) m.written_ms = static_cast<std::int64_t>(r.number());
  return m;
}

void put_room(Writer& w, const RoomLine& line) {
  w.text(line.name);
  w.number(line.messages);
  w.fixed(static_cast<std::uint64_t>(line.last_ms));
  w.text(line.topic);
  w.text(line.topic_by);
  w.fixed(static_cast<std::uint64_t>(line.topic_ms));
}

RoomLine get_room(Reader& r) {
  RoomLine line;
  line.name = r.text(limits::room_bytes_max);
  line.messages = r.number();
  line.last_ms = static_cast<std::int64_t>(r.fixed());
  line.topic = r.text(limits::topic_bytes_max);
  line.topic_by = r.text(limits::name_bytes_max);
  line.topic_ms = static_cast<std::int64_t>(r.fixed());
  return line;
}

}  // namespace

void encode(std::string& out, const ClientReply& message) {
  Writer w(out);
  const auto* stamped = std::get_if<HistoryReply>(&message);
  const bool stamps = stamped != nullptr && has_stamps(*stamped);
  w.byte(stamps ? stamped_history : client_reply_numbers[message.index()]);
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
    // All messages of a page are of one room: its name stands once.
    w.text(h->page.messages.empty() ? std::string_view() : std::string_view(h->page.messages.front().room));
    w.number(h->page.messages.size());
    for (const Message& m : h->page.messages) put_message(w, m, stamps);
  } else if (const auto* rooms = std::get_if<RoomsReply>(&message)) {
    w.fixed(rooms->id);
    w.sentence(rooms->refused);
    w.number(rooms->applied.n);
    w.text(rooms->page.next);
    w.number(rooms->page.rooms.size());
    for (const RoomLine& line : rooms->page.rooms) put_room(w, line);
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
        if (reason < 1 || reason > static_cast<std::uint8_t>(WaitReason::overloaded)) r.fail();
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
      case stamped_history: {
        HistoryReply m;
        m.id = r.fixed();
        m.refused = r.text(reason_bytes_max);
        m.applied.n = r.number();
        m.page.next = r.number();
        m.page.head = r.number();
        const std::string room = r.text(limits::room_bytes_max);
        const bool nameless = room.empty();
        for (std::size_t n = r.count(limits::page_messages_max); n > 0 && r.ok(); --n)
          m.page.messages.push_back(get_message(r, room, number == stamped_history));
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

// --- operators ---

namespace {

void put_explain(Writer& w, const ExplainReply& a) {
  w.number(a.boot);
  for (const std::int64_t ns : {a.now_ns, a.started_ns, a.oldest_ns}) w.fixed(static_cast<std::uint64_t>(ns));
  for (const Slot s : {a.first_slot, a.chosen, a.applied, a.accepted}) w.number(s.n);
  w.sentence(a.damage);
  w.flag(a.held.has_value());
  if (a.held) {
    w.flag(a.held->chosen);
    w.number(a.held->ballot.round);
    w.byte(a.held->ballot.replica.n);
    w.byte(static_cast<std::uint8_t>(a.held->kind));
    w.number(a.held->commands);
    w.number(a.held->bytes);
  }
  w.number(a.left_out);
  PAXOS_ASSERT(a.records.size() <= ExplainReply::records_max);
  w.number(a.records.size());
  for (const FlightEntry& e : a.records) {
    w.fixed(static_cast<std::uint64_t>(e.ns));
    w.byte(static_cast<std::uint8_t>(e.kind));
    w.byte(e.peer);
    w.number(e.slot);
    w.number(e.count);
    w.number(e.ballot);
    w.number(e.detail);
  }
}

ExplainReply get_explain(Reader& r) {
  ExplainReply a;
  a.boot = r.number();
  for (std::int64_t* ns : {&a.now_ns, &a.started_ns, &a.oldest_ns})
    *ns = static_cast<std::int64_t>(r.fixed());
  for (Slot* s : {&a.first_slot, &a.chosen, &a.applied, &a.accepted}) s->n = r.number();
  a.damage = r.text(reason_bytes_max);
  if (r.flag()) {
    a.held = ExplainReply::Held{};
    a.held->chosen = r.flag();
    a.held->ballot.round = r.number();
    a.held->ballot.replica = r.replica();
    const auto kind = r.byte();
    if (kind < 1 || kind > 3) r.fail();
    a.held->kind = static_cast<paxos::DecreeKind>(kind);
    a.held->commands = r.number32();
    a.held->bytes = r.number32();
  }
  a.left_out = r.number();
  for (std::size_t n = r.count(ExplainReply::records_max); n > 0 && r.ok(); --n) {
    FlightEntry e;
    e.ns = static_cast<std::int64_t>(r.fixed());
    // A kind of a newer replica is shown by its number.
    e.kind = static_cast<FlightKind>(r.byte());
    if (e.kind == FlightKind{}) r.fail();
    e.peer = r.byte();
    e.slot = r.number();
    e.count = r.number32();
    e.ballot = r.number();
    const std::uint32_t detail = r.number32();
    if (detail > UINT16_MAX) r.fail();
    e.detail = static_cast<std::uint16_t>(detail);
    a.records.push_back(e);
  }
  return a;
}

}  // namespace

namespace {

void put(std::string& out, const OperatorRequest& message, bool named) {
  Writer w(out);
  w.fixed(message.id);
  if (named) {
    w.byte(message.target.replica);
    w.raw(message.target.incarnation.bytes);
  }
  w.number(message.target.boot);
  w.byte(static_cast<std::uint8_t>(message.command.index() + 1));
  std::visit(
      [&](const auto& c) {
        using C = std::decay_t<decltype(c)>;
        if constexpr (std::is_same_v<C, HashRequest>) {
          w.number(c.slot.n);
        } else if constexpr (std::is_same_v<C, ScrubRequest>) {
          w.number(c.from.n);
        } else if constexpr (std::is_same_v<C, LogRequest>) {
          w.number(c.from.n);
          w.number(c.to.n);
        } else if constexpr (std::is_same_v<C, SkipRequest>) {
          w.slots(c.slots);
          w.number(c.next);
        } else if constexpr (std::is_same_v<C, LossRequest>) {
          w.fixed(std::bit_cast<std::uint64_t>(c.share));
        } else if constexpr (std::is_same_v<C, PauseRequest> || std::is_same_v<C, IsolateRequest>) {
          w.number(c.duration_ms);
        } else if constexpr (std::is_same_v<C, DoctorRequest>) {
          w.flag(c.probe_disk);
        } else if constexpr (std::is_same_v<C, ExplainRequest>) {
          w.number(c.slot.n);
        } else {
          static_assert(std::is_same_v<C, StatusRequest> || std::is_same_v<C, KillRequest> ||
                        std::is_same_v<C, RestartRequest>);
        }
      },
      message.command);
}

tl::expected<OperatorRequest, const char*> get_operator_request(const Bytes& bytes, bool named) {
  return decode<OperatorRequest>(bytes, [&](Reader& r) {
    OperatorRequest m;
    m.id = r.fixed();
    if (named) {
      m.target.replica = r.replica().n;
      m.target.incarnation.bytes = r.array<16>();
    }
    m.target.boot = r.number();
    switch (r.byte()) {
      case 1:
        m.command = StatusRequest{};
        break;
      case 2:
        m.command = HashRequest{{r.number()}};
        break;
      case 3:
        m.command = ScrubRequest{{r.number()}};
        break;
      case 4: {
        LogRequest c;
        c.from.n = r.number();
        c.to.n = r.number();
        m.command = c;
        break;
      }
      case 5:
        m.command = KillRequest{};
        break;
      case 6: {
        SkipRequest c;
        c.slots = r.slots();
        c.next = r.number32();
        m.command = std::move(c);
        break;
      }
      case 7:
        m.command = LossRequest{std::bit_cast<double>(r.fixed())};
        // Minus zero would be a second encoding of zero; a NaN fails both comparisons.
        if (const double share = std::get<LossRequest>(m.command).share;
            std::signbit(share) || !(share >= 0 && share <= 1))
          r.fail();
        break;
      case 8:
        m.command = PauseRequest{r.number32()};
        break;
      case 9:
        m.command = IsolateRequest{r.number32()};
        break;
      case 10:
        m.command = RestartRequest{};
        break;
      case 11:
        m.command = DoctorRequest{r.flag()};
        break;
      case 12:
        m.command = ExplainRequest{{r.number()}};
        break;
      default:
        r.fail();
    }
    return m;
  });
}

}  // namespace

void encode(std::string& out, const OperatorRequest& message) { put(out, message, false); }
void encode_named(std::string& out, const OperatorRequest& message) { put(out, message, true); }

tl::expected<OperatorRequest, const char*> decode_operator_request(const Bytes& bytes) {
  return get_operator_request(bytes, false);
}
tl::expected<OperatorRequest, const char*> decode_named_operator_request(const Bytes& bytes) {
  return get_operator_request(bytes, true);
}

void encode(std::string& out, const OperatorReply& message) {
  Writer w(out);
  w.fixed(message.id);
  w.byte(static_cast<std::uint8_t>(message.answer.index() + 1));
  std::visit(
      [&](const auto& a) {
        using A = std::decay_t<decltype(a)>;
        if constexpr (std::is_same_v<A, StatusReply> || std::is_same_v<A, DoctorReply>) {
          PAXOS_ASSERT(a.json.size() <= json_bytes_max);
          w.text(a.json);
        } else if constexpr (std::is_same_v<A, HashReply>) {
          w.number(a.applied.n);
          w.flag(a.hash.has_value());
          if (a.hash) w.raw(a.hash->bytes);
        } else if constexpr (std::is_same_v<A, ScrubReply>) {
          w.number(a.next.n);
          w.number(a.records);
          w.sentence(a.damage);
        } else if constexpr (std::is_same_v<A, LogReply>) {
          w.number(a.next.n);
          w.number(a.slots.size());
          for (const LogSlot& s : a.slots) {
            w.number(s.slot.n);
            w.flag(s.empty);
            w.flag(s.chosen);
            w.number(s.ballot.round);
            w.byte(s.ballot.replica.n);
            w.byte(static_cast<std::uint8_t>(s.decree.kind));
            w.bytes(s.decree.value);
            w.number(s.outcomes.size());
            for (const Outcome& o : s.outcomes) w.outcome(o);
          }
        } else if constexpr (std::is_same_v<A, ExplainReply>) {
          put_explain(w, a);
        } else {
          static_assert(std::is_same_v<A, DoneReply>);
          w.sentence(a.refused);
          w.slots(a.slots);
          w.number(a.next_free.n);
        }
      },
      message.answer);
}

tl::expected<OperatorReply, const char*> decode_operator_reply(const Bytes& bytes) {
  return decode<OperatorReply>(bytes, [](Reader& r) {
    OperatorReply m;
    m.id = r.fixed();
    switch (r.byte()) {
      case 1:
        m.answer = StatusReply{r.text(json_bytes_max)};
        break;
      case 2: {
        HashReply a;
        a.applied.n = r.number();
        if (r.flag()) a.hash = paxos::Hash{r.array<16>()};
        m.answer = a;
        break;
      }
      case 3: {
        ScrubReply a;
        a.next.n = r.number();
        a.records = r.number();
        a.damage = r.text(reason_bytes_max);
        m.answer = std::move(a);
        break;
      }
      case 4: {
        LogReply a;
        a.next.n = r.number();
        for (std::size_t n = r.count(log_slots_max); n > 0 && r.ok(); --n) {
          LogSlot s;
          s.slot.n = r.number();
          s.empty = r.flag();
          s.chosen = r.flag();
          s.ballot.round = r.number();
          s.ballot.replica = r.replica();
          const auto kind = r.byte();
          if (kind < 1 || kind > 3) r.fail();
          s.decree.kind = static_cast<paxos::DecreeKind>(kind);
          s.decree.value = r.bytes(paxos::limits::decree_bytes_max);
          if (s.decree.kind == paxos::DecreeKind::noop && !s.decree.value.empty()) r.fail();
          for (std::size_t o = r.count(limits::commands_per_decree_max); o > 0 && r.ok(); --o)
            s.outcomes.push_back(r.outcome());
          a.slots.push_back(std::move(s));
        }
        m.answer = std::move(a);
        break;
      }
      case 5: {
        DoneReply a;
        a.refused = r.text(reason_bytes_max);
        a.slots = r.slots();
        a.next_free.n = r.number();
        m.answer = std::move(a);
        break;
      }
      case 6:
        m.answer = DoctorReply{r.text(json_bytes_max)};
        break;
      case 7:
        m.answer = get_explain(r);
        break;
      default:
        r.fail();
    }
    return m;
  });
}

}  // namespace chat
