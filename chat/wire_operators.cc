#include "chat/wire.h"
#include "chat/wire_fields.h"

/// Operators and replicas: docs/WIRE.md.
namespace chat {

using namespace wire;

namespace {

void put_explain(Writer& w, const ExplainReply& a) {
  w.number(a.boot);
  for (const std::int64_t ns : {a.now_ns, a.started_ns, a.oldest_ns}) w.fixed(static_cast<std::uint64_t>(ns));
  for (const Slot s : {a.first_slot, a.chosen, a.applied, a.accepted}) w.number(s.n);
  w.sentence(a.damage);
  w.flag(a.held.has_value());
  if (a.held) {
    w.flag(a.held->chosen);
    w.ballot(a.held->ballot);
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
    a.held->ballot = r.ballot();
    const auto kind = r.byte();
    if (kind < 1 || kind > 4) r.fail();
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

void put_sized_word(Writer& w, const SnapshotWord& word) {
  std::string bytes;
  encode(bytes, word);
  w.text(bytes);
}

std::optional<SnapshotWord> get_sized_word(Reader& r) {
  auto word = decode_snapshot_word(r.bytes(limits::snapshot_word_bytes_max));
  if (word) return std::move(*word);
  r.fail();
  return std::nullopt;
}

void put_access_keys(Writer& w, const AccessKeysReply& a) {
  w.number(a.applied.n);
  w.flag(a.open.allowed);
  w.fixed(static_cast<std::uint64_t>(a.open.time_ms));
  w.text(a.open.by);
  w.number(a.next);
  w.number(a.keys.size());
  for (const AccessKey& key : a.keys) {
    w.credential(key.whose);
    w.text(key.name);
    w.fixed(static_cast<std::uint64_t>(key.issued_ms));
    w.text(key.issued_by);
    w.fixed(static_cast<std::uint64_t>(key.revoked_ms));
    w.text(key.revoked_by);
  }
}

AccessKeysReply get_access_keys(Reader& r) {
  AccessKeysReply a;
  a.applied.n = r.number();
  a.open.allowed = r.flag();
  a.open.time_ms = static_cast<std::int64_t>(r.fixed());
  a.open.by = r.text(limits::name_bytes_max);
  a.next = r.number32();
  for (std::size_t n = r.count(limits::page_access_keys_max); n > 0 && r.ok(); --n) {
    AccessKey key;
    key.whose = r.credential();
    if (key.whose.is_secret()) r.fail();
    key.name = r.text(limits::name_bytes_max);
    key.issued_ms = static_cast<std::int64_t>(r.fixed());
    key.issued_by = r.text(limits::name_bytes_max);
    key.revoked_ms = static_cast<std::int64_t>(r.fixed());
    key.revoked_by = r.text(limits::name_bytes_max);
    a.keys.push_back(std::move(key));
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
        } else if constexpr (std::is_same_v<C, SnapshotRequest>) {
          put_sized_word(w, c.word);
        } else if constexpr (std::is_same_v<C, MemberRequest>) {
          w.byte(static_cast<std::uint8_t>(c.change.kind));
          w.byte(c.change.id.n);
          w.text(c.change.address);
          w.flag(c.change.by_hand);
        } else if constexpr (std::is_same_v<C, TransferRequest>) {
          w.byte(c.to.n);
        } else if constexpr (std::is_same_v<C, AccessKeysRequest>) {
          w.number(c.from);
        } else if constexpr (std::is_same_v<C, DeriveKeyRequest>) {
          w.credential(c.whose);
          w.raw(c.claim);
        } else if constexpr (std::is_same_v<C, AddSecretRequest>) {
          w.text(c.sealed);
        } else if constexpr (std::is_same_v<C, RenewKeyRequest>) {
          w.raw(c.door);
        } else {
          static_assert(std::is_same_v<C, StatusRequest> || std::is_same_v<C, KillRequest> ||
                        std::is_same_v<C, RestartRequest> || std::is_same_v<C, SecretDoorRequest>);
        }
      },
      message.command);
}

namespace {

paxos::MemberChange get_member_change(Reader& r) {
  paxos::MemberChange out;
  const std::uint8_t kind = r.byte();
  if (kind > static_cast<std::uint8_t>(paxos::MemberChange::Kind::set_address)) r.fail();
  out.kind = static_cast<paxos::MemberChange::Kind>(kind);
  out.id = r.replica();
  out.address = r.text(paxos::limits::address_bytes_max);
  out.by_hand = r.flag();
  return out;
}

}  // namespace

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
      case 13:
        if (auto word = get_sized_word(r)) {
          if (std::holds_alternative<SnapshotAsk>(*word) || std::holds_alternative<SnapshotPull>(*word) ||
              std::holds_alternative<SnapshotSumAsk>(*word))
            m.command = SnapshotRequest{std::move(*word)};
          else
            r.fail();
        }
        break;
      case 14:
        m.command = MemberRequest{get_member_change(r)};
        break;
      case 15:
        m.command = TransferRequest{r.replica()};
        break;
      case 16:
        m.command = AccessKeysRequest{r.number32()};
        break;
      case 17:
        m.command = DeriveKeyRequest{r.credential(), r.array<32>()};
        if (std::get<DeriveKeyRequest>(m.command).whose.is_secret()) r.fail();
        break;
      case 18:
        m.command = SecretDoorRequest{};
        break;
      case 19:
        m.command = AddSecretRequest{r.text(limits::sealed_box_bytes_max)};
        break;
      case 20:
        m.command = RenewKeyRequest{r.array<32>()};
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
            w.ballot(s.ballot);
            w.byte(static_cast<std::uint8_t>(s.decree.kind));
            w.bytes(s.decree.value);
            w.number(s.outcomes.size());
            for (const Outcome& o : s.outcomes) w.outcome(o);
          }
        } else if constexpr (std::is_same_v<A, ExplainReply>) {
          put_explain(w, a);
        } else if constexpr (std::is_same_v<A, SnapshotReply>) {
          put_sized_word(w, a.word);
        } else if constexpr (std::is_same_v<A, AccessKeysReply>) {
          put_access_keys(w, a);
        } else if constexpr (std::is_same_v<A, DerivedKeyReply>) {
          w.raw(a.bytes);
        } else if constexpr (std::is_same_v<A, SecretDoorReply>) {
          w.raw(a.door);
        } else if constexpr (std::is_same_v<A, RenewedKeyReply>) {
          w.text(a.sealed);
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
          s.ballot = r.ballot();
          const auto kind = r.byte();
          if (kind < 1 || kind > 4) r.fail();
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
      case 8:
        if (auto word = get_sized_word(r)) {
          if (std::holds_alternative<SnapshotOffer>(*word) || std::holds_alternative<SnapshotChunk>(*word) ||
              std::holds_alternative<SnapshotSummed>(*word) || std::holds_alternative<SnapshotGone>(*word))
            m.answer = SnapshotReply{std::move(*word)};
          else
            r.fail();
        }
        break;
      case 9:
        m.answer = get_access_keys(r);
        break;
      case 10:
        m.answer = DerivedKeyReply{r.array<32>()};
        break;
      case 11:
        m.answer = SecretDoorReply{r.array<32>()};
        break;
      case 12:
        m.answer = RenewedKeyReply{r.text(limits::sealed_box_bytes_max)};
        break;
      default:
        r.fail();
    }
    return m;
  });
}

}  // namespace chat
