#pragma once

#include <cstddef>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/transport.h"

/// Random messages of every kind, within the bounds that decoders hold to. One seed gives one sequence.
namespace wire_test {

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span{text}); }

class Samples {
 public:
  explicit Samples(std::uint64_t seed) : engine_(seed) {}

  std::uint64_t below(std::uint64_t bound) { return engine_() % bound; }
  bool coin() { return below(2) == 1; }
  /// Mostly small, sometimes huge: varints of every length.
  std::uint64_t number(std::uint64_t max = UINT64_MAX) {
    const std::uint64_t n = engine_() >> below(64);
    return max == UINT64_MAX ? n : n % (max + 1);
  }
  std::uint32_t number32() { return static_cast<std::uint32_t>(number(UINT32_MAX)); }
  std::int64_t signed_number() { return static_cast<std::int64_t>(number()); }
  std::string text(std::size_t size_max) {
    std::string out(below(size_max + 1), '\0');
    for (char& c : out) c = static_cast<char>(engine_());
    return out;
  }
  paxos::Bytes bytes(std::size_t size_max) { return paxos::Bytes::copy_of(text(size_max)); }
  template <std::size_t N>
  std::array<std::uint8_t, N> array() {
    std::array<std::uint8_t, N> out{};
    for (auto& b : out) b = static_cast<std::uint8_t>(engine_());
    out[0] |= 1;  // never all zero
    return out;
  }
  paxos::Slot slot() { return {1 + number((std::uint64_t{1} << 61) - 1)}; }
  paxos::ReplicaId replica() { return {static_cast<std::uint8_t>(below(9))}; }
  std::uint32_t configuration() {
    return coin() ? 1 : static_cast<std::uint32_t>(2 + number(UINT32_MAX - 2));
  }
  paxos::Ballot ballot() { return {1 + number((std::uint64_t{1} << 61) - 1), replica(), configuration()}; }
  paxos::Decree decree(std::size_t bytes_max = 300) {
    if (below(4) == 0) return {};
    return {below(8) == 0 ? paxos::DecreeKind::configuration : paxos::DecreeKind::commands, bytes(bytes_max)};
  }

  static constexpr std::size_t peer_kinds = std::variant_size_v<paxos::PeerMessage>;
  paxos::PeerMessage peer(std::size_t kind) {
    switch (kind) {
      case 0:
        return paxos::HeartbeatRequest{number(), configuration()};
      case 1: {
        paxos::HeartbeatReply m;
        m.nonce = number();
        m.ballot = coin() ? ballot() : paxos::Ballot{0, replica()};
        m.leader = coin() ? ballot() : paxos::Ballot{};
        m.happy = coin();
        m.candidate = coin();
        m.chosen_prefix = slot();
        m.applied = slot();
        m.hash.bytes = array<16>();
        m.sync_age_ms = number32();
        if (coin()) return m;  // as the first format has it
        m.groups = 1 + number(1ULL << 40);
        m.configuration = configuration();
        m.voting = coin();
        m.full = coin();
        return m;
      }
      case 2:
        return paxos::HandOver{ballot()};
      case 3:
        return paxos::Prepare{ballot(), slot()};
      case 4: {
        paxos::Promise m;
        m.ballot = ballot();
        m.from = slot();
        m.chosen_prefix = {number(1ULL << 40)};
        paxos::Slot at = std::max(m.from, m.chosen_prefix + 1);
        for (std::uint64_t n = below(6); n > 0; --n, at = at + 1 + below(3))
          m.entries.push_back({at, ballot(), coin(), decree()});
        if (!m.entries.empty() && coin()) m.next = m.entries.back().slot + 1 + below(9);
        return m;
      }
      case 5:
        return paxos::Accept{ballot(), slot(), coin() ? slot() : paxos::Slot{}, decree()};
      case 6: {
        paxos::Accepted m;
        m.ballot = ballot();
        paxos::Slot at = slot();
        for (std::uint64_t n = 1 + below(6); n > 0; --n) {
          m.slots.push_back({at, at + below(100)});
          at = m.slots.back().last + 1 + below(100);
        }
        return m;
      }
      case 7:
        return paxos::Nack{ballot(), ballot()};
      case 8:
        return paxos::Commit{ballot(), slot()};
      case 9: {
        const paxos::Slot from = slot();
        return paxos::LearnRequest{from, from + below(1000)};
      }
      case 10: {
        paxos::LearnReply m;
        paxos::Slot at = slot();
        for (std::uint64_t n = below(6); n > 0; --n, at = at + 1 + below(3))
          m.decrees.push_back({at, ballot(), decree()});
        m.first_slot = slot();
        m.chosen_prefix = slot();
        return m;
      }
      case 11:
        return paxos::ReadConfirm{ballot(), number()};
      case 12:
        return paxos::ReadConfirmed{ballot(), number()};
      case 13:
        return paxos::ReadRequest{number()};
      case 14:
        return paxos::ReadReply{number(), slot()};
      case 15: {
        paxos::Birth m;
        for (std::uint64_t n = below(10); n > 0; --n)
          m.members.push_back(coin() ? paxos::Incarnation{array<16>()} : paxos::Incarnation{});
        m.synced = coin();
        m.born = coin();
        m.configuration = configuration();
        return m;
      }
      case 17:
        return paxos::Outdated{{1 + number(1ULL << 40), 1 + number(1ULL << 40)}, number(), number()};
      case 18:
        return paxos::Introduce{};
      case 19: {
        paxos::Introduction m;
        m.groups_at_start = number();
        std::uint64_t boot = 0;
        for (std::uint64_t n = 1 + below(paxos::limits::lives_max); n > 0; --n)
          m.lives.push_back({boot += 1 + below(9), 1 + number(1ULL << 40)});
        return m;
      }
      default: {
        paxos::Forward m;
        for (std::uint64_t n = below(6); n > 0; --n) m.commands.push_back(bytes(200));
        return m;
      }
    }
  }

  chat::SessionId session() { return {slot(), number32()}; }
  chat::Outcome outcome() {
    return {.verdict = static_cast<chat::Verdict>(1 + below(chat::verdicts_end - 1)),
            .session = session(),
            .client_seq = number(),
            .slot = slot(),
            .index = number32(),
            .room_seq = number(),
            .time_ms = static_cast<std::int64_t>(number())};
  }

  static constexpr std::size_t client_message_kinds = std::variant_size_v<chat::ClientMessage>;
  chat::ClientMessage client_message(std::size_t kind) {
    switch (kind) {
      case 0: {
        chat::ClientCommands m{.forward = coin(), .commands = {}};
        for (std::uint64_t n = below(6); n > 0; --n) m.commands.push_back(bytes(200));
        return m;
      }
      case 1:
        return chat::HistoryRequest{.id = number(),
                                    .room = text(64),
                                    .from = number(),
                                    .last = number32(),
                                    .limit = number32(),
                                    .local = coin()};
      case 3:
        return chat::RoomsRequest{.id = number(), .from = text(64), .limit = number32(), .local = coin()};
      case 4:
        return chat::WhoRequest{.id = number(),
                                .what = static_cast<chat::Whereabouts>(1 + below(3)),
                                .room = text(64),
                                .name = text(64)};
      default:
        return chat::FollowRequest{.id = number(), .room = text(64), .from = number(), .wait_ms = number32()};
    }
  }

  static constexpr std::size_t client_reply_kinds = std::variant_size_v<chat::ClientReply>;
  chat::ClientReply client_reply(std::size_t kind) {
    switch (kind) {
      case 0: {
        chat::Receipts m;
        for (std::uint64_t n = below(6); n > 0; --n)
          m.receipts.push_back({outcome(), coin() ? array<16>() : chat::Nonce{}});
        return m;
      }
      case 1:
        return chat::Redirect{coin() ? std::optional(replica()) : std::nullopt};
      case 2: {
        chat::Waiting m{.reason = static_cast<chat::WaitReason>(1 + below(7)), .slot = slot(), .missing = {}};
        for (std::uint64_t n = below(5); n > 0; --n) m.missing.push_back(replica());
        return m;
      }
      case 3:
        return chat::CommandRefused{session(), number(), text(300)};
      case 5: {
        chat::RoomsReply m;
        m.id = number();
        m.refused = text(100);
        m.applied = slot();
        m.page.next = text(64);
        for (std::uint64_t n = below(5); n > 0; --n)
          m.page.rooms.push_back({.name = text(64),
                                  .messages = number(),
                                  .last_ms = static_cast<std::int64_t>(number()),
                                  .topic = text(256),
                                  .topic_by = text(64),
                                  .topic_ms = static_cast<std::int64_t>(number()),
                                  .first = number() | 1,
                                  .rule = coin() ? std::optional(rule()) : std::nullopt});
        m.page.for_all = rule();
        return m;
      }
      case 6: {
        chat::WhoReply m{.id = number(), .present = {}};
        for (std::uint64_t n = below(5); n > 0; --n) m.present.push_back({text(64), number()});
        return m;
      }
      default: {
        chat::HistoryReply m;
        m.id = number();
        m.refused = text(100);
        const std::string room = text(63) + "r";
        for (std::uint64_t n = below(5); n > 0; --n)
          m.page.messages.push_back(
              {.room = room,
               .seq = number(),
               .slot = slot(),
               .index = number32(),
               .name = text(64),
               .session = session(),
               .client_seq = number(),
               .time_ms = static_cast<std::int64_t>(number()),
               .text = text(500),
               .written_ms = coin() ? static_cast<std::int64_t>(number()) : 0,
               .redacted = coin() ? std::optional(chat::Redaction{text(64), text(256),
                                                                  static_cast<std::int64_t>(number())})
                                  : std::nullopt,
               .key = coin() ? 1 + static_cast<std::uint32_t>(below(1U << 31)) : 0});
        for (chat::Message& message : m.page.messages) message.proven = message.key != 0 && coin();
        m.page.next = number();
        m.page.head = number();
        if (coin()) m.page.first = number() | 1;
        m.applied = slot();
        return m;
      }
    }
  }
  chat::RetentionRule rule() {
    return {.count = number(),
            .age_ms = static_cast<std::int64_t>(below(1'000'000'000)),
            .time_ms = static_cast<std::int64_t>(number()),
            .by = text(64)};
  }

  std::vector<paxos::Slot> slots() {
    std::vector<paxos::Slot> out(below(5));
    for (auto& s : out) s = slot();
    return out;
  }
  chat::Credential credential() {
    return {static_cast<chat::Role>(1 + below(chat::roles_end - 1)),
            1 + static_cast<std::uint32_t>(below(1U << 31))};
  }
  static constexpr std::size_t operator_request_kinds = std::variant_size_v<chat::OperatorCommand>;
  chat::OperatorRequest operator_request(std::size_t kind) {
    chat::OperatorRequest m{.id = number(), .target = {.boot = number()}, .command = {}};
    switch (kind) {
      case 0:
        break;
      case 1:
        m.command = chat::HashRequest{slot()};
        break;
      case 2:
        m.command = chat::ScrubRequest{slot()};
        break;
      case 3:
        m.command = chat::LogRequest{slot(), slot()};
        break;
      case 4:
        m.command = chat::KillRequest{};
        break;
      case 5:
        m.command = chat::SkipRequest{slots(), number32()};
        break;
      case 6:
        m.command = chat::LossRequest{static_cast<double>(below(1001)) / 1000};
        break;
      case 7:
        m.command = chat::PauseRequest{number32()};
        break;
      case 8:
        m.command = chat::IsolateRequest{number32()};
        break;
      case 9:
        m.command = chat::RestartRequest{};
        break;
      case 10:
        m.command = chat::DoctorRequest{coin()};
        break;
      case 11:
        m.command = chat::ExplainRequest{slot()};
        break;
      case 12:
        m.command = chat::SnapshotRequest{snapshot_word(2 * below(3))};
        break;
      case 13:
        m.command = chat::MemberRequest{{.kind = static_cast<paxos::MemberChange::Kind>(below(5)),
                                         .id = replica(),
                                         .address = coin() ? "replica.example:7400" : "",
                                         .by_hand = coin()}};
        break;
      case 15:
        m.command = chat::AccessKeysRequest{number32()};
        break;
      case 16:
        m.command = chat::DeriveKeyRequest{credential(), array<32>()};
        break;
      case 17:
        m.command = chat::SecretDoorRequest{};
        break;
      case 18:
        m.command = chat::AddSecretRequest{text(chat::limits::sealed_box_bytes_max)};
        break;
      case 19:
        m.command = chat::RenewKeyRequest{array<32>()};
        break;
      default:
        m.command = chat::TransferRequest{replica()};
    }
    return m;
  }

  static constexpr std::size_t operator_reply_kinds = std::variant_size_v<chat::OperatorAnswer>;
  chat::OperatorReply operator_reply(std::size_t kind) {
    chat::OperatorReply m{.id = number(), .answer = {}};
    switch (kind) {
      case 0:
        m.answer = chat::StatusReply{text(500)};
        break;
      case 1:
        m.answer = chat::HashReply{slot(), coin() ? std::optional(paxos::Hash{array<16>()}) : std::nullopt};
        break;
      case 2:
        m.answer = chat::ScrubReply{slot(), number(), text(100)};
        break;
      case 3: {
        chat::LogReply reply;
        for (std::uint64_t n = below(4); n > 0; --n) {
          chat::LogSlot s{.slot = slot(),
                          .empty = coin(),
                          .chosen = coin(),
                          .ballot = ballot(),
                          .decree = decree(),
                          .outcomes = {}};
          for (std::uint64_t o = below(3); o > 0; --o) s.outcomes.push_back(outcome());
          reply.slots.push_back(std::move(s));
        }
        reply.next = slot();
        m.answer = std::move(reply);
        break;
      }
      case 4:
        m.answer = chat::DoneReply{text(100), slots(), slot()};
        break;
      case 5:
        m.answer = chat::DoctorReply{text(500)};
        break;
      case 8: {
        chat::AccessKeysReply reply{.applied = slot(),
                                    .open = {.allowed = coin(), .time_ms = signed_number(), .by = text(64)},
                                    .keys = {},
                                    .next = number32()};
        for (std::uint64_t n = below(4); n > 0; --n)
          reply.keys.push_back({.whose = credential(),
                                .name = text(64),
                                .issued_ms = signed_number(),
                                .issued_by = text(64),
                                .revoked_ms = signed_number(),
                                .revoked_by = text(64)});
        m.answer = std::move(reply);
        break;
      }
      case 9:
        m.answer = chat::DerivedKeyReply{array<32>()};
        break;
      case 10:
        m.answer = chat::SecretDoorReply{array<32>()};
        break;
      case 11:
        m.answer = chat::RenewedKeyReply{text(chat::limits::sealed_box_bytes_max)};
        break;
      case 7:
        m.answer = chat::SnapshotReply{snapshot_word(std::array<std::size_t, 4>{1, 3, 5, 6}[below(4)])};
        break;
      default: {
        chat::ExplainReply reply{.boot = number(),
                                 .now_ns = signed_number(),
                                 .started_ns = signed_number(),
                                 .oldest_ns = signed_number(),
                                 .first_slot = slot(),
                                 .chosen = slot(),
                                 .applied = slot(),
                                 .accepted = slot(),
                                 .damage = text(50),
                                 .held = {},
                                 .left_out = number(),
                                 .records = {}};
        if (coin()) {
          const auto d = decree();
          reply.held = {coin(), ballot(), d.kind, number32(), number32()};
        }
        for (std::uint64_t n = below(5); n > 0; --n)
          reply.records.push_back({.ns = signed_number(),
                                   .slot = number(),
                                   .ballot = number(),
                                   .count = number32(),
                                   .kind = static_cast<chat::FlightKind>(1 + below(255)),
                                   .peer = static_cast<std::uint8_t>(below(256)),
                                   .detail = static_cast<std::uint16_t>(below(65536))});
        m.answer = std::move(reply);
      }
    }
    return m;
  }

  static constexpr std::size_t snapshot_kinds = std::variant_size_v<chat::SnapshotWord>;
  chat::SnapshotId snapshot_id() { return {{array<16>()}, engine_(), slot(), {array<16>()}}; }
  chat::SnapshotWord snapshot_word(std::size_t kind) {
    const auto place = [this] {
      const std::uint64_t skip = below(3000);
      return chat::SnapshotPlace{.offset = skip + number(1ULL << 40), .key = text(90), .skip = skip};
    };
    switch (kind) {
      case 0: {
        chat::SnapshotAsk m{.nonce = engine_(), .above = slot()};
        if (coin()) m.begun = snapshot_id();
        return m;
      }
      case 1: {
        chat::SnapshotOffer m{
            .nonce = engine_(), .answer = static_cast<chat::SnapshotAnswer>(1 + below(4)), .id = {}};
        if (m.answer == chat::SnapshotAnswer::offered) {
          m.id = snapshot_id();
          m.bytes = number();
        }
        return m;
      }
      case 2:
        return chat::SnapshotPull{snapshot_id(), place(), number32(), coin()};
      case 3: {
        chat::SnapshotChunk m{.id = snapshot_id(), .next = place(), .last = coin(), .bytes = {}};
        m.bytes = bytes(std::min<std::size_t>(200, static_cast<std::size_t>(m.next.offset)));
        m.offset = m.next.offset - m.bytes.size();
        m.checksum = engine_();
        return m;
      }
      case 4:
        return chat::SnapshotSumAsk{snapshot_id()};
      case 5: {
        chat::SnapshotSummed m{snapshot_id(), {}};
        if (coin()) m.sum = chat::SnapshotSum{number(), number(), {array<16>()}};
        return m;
      }
      case 6:
        return chat::SnapshotGone{snapshot_id()};
      case 7:
        return chat::SnapshotHashAsk{engine_(), slot()};
      default: {
        chat::SnapshotHash m{engine_(), slot(), {}};
        if (coin()) m.hash = paxos::Hash{array<16>()};
        return m;
      }
    }
  }

  static constexpr std::size_t body_kinds = peer_kinds + client_message_kinds + client_reply_kinds +
                                            operator_request_kinds + operator_reply_kinds + 2 +
                                            snapshot_kinds;
  /// Every kind of body there is, by number.
  net::Body body(std::size_t kind) {
    if (kind < peer_kinds) return peer(kind);
    kind -= peer_kinds;
    if (kind < client_message_kinds) return client_message(kind);
    kind -= client_message_kinds;
    if (kind < client_reply_kinds) return client_reply(kind);
    kind -= client_reply_kinds;
    if (kind < operator_request_kinds) return operator_request(kind);
    kind -= operator_request_kinds;
    if (kind < operator_reply_kinds) return operator_reply(kind);
    if (kind == operator_reply_kinds) return net::AddressWord{net::AddressProbe{engine_()}};
    if (kind == operator_reply_kinds + 1) return net::AddressWord{net::AddressProof{engine_()}};
    return snapshot_word(kind - operator_reply_kinds - 2);
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace wire_test
