#include <gtest/gtest.h>

#include <limits>
#include <optional>

#include "chat/wire.h"
#include "net/codec.h"
#include "tests/fuzz/wire_entry.h"
#include "tests/net/wire_samples.h"

namespace {

using paxos::Bytes;
using wire_test::bytes_of;
using wire_test::Samples;

std::string encoded(const net::Body& body) {
  using net::encode;
  std::string out;
  std::visit([&](const auto& m) { encode(out, m); }, body);
  return out;
}

/// Decodes `bytes` as the same kind of body as `like`.
std::optional<net::Body> decoded(const net::Body& like, const Bytes& bytes) {
  const auto widen = [](auto result) {
    return result ? std::optional<net::Body>(*std::move(result)) : std::nullopt;
  };
  switch (like.index()) {
    case 0:
      return widen(net::decode_peer(bytes));
    case 1:
      return widen(chat::decode_client_message(bytes));
    case 2:
      return widen(chat::decode_client_reply(bytes));
    case 3:
      return widen(chat::decode_operator_request(bytes));
    case 4:
      return widen(chat::decode_operator_reply(bytes));
    case 5:
      return widen(net::decode_address_word(bytes.span()));
    default:
      return widen(chat::decode_snapshot_word(bytes));
  }
}

std::optional<paxos::PeerMessage> through_wire(const paxos::PeerMessage& message) {
  std::string out;
  net::encode(out, message);
  const auto result = net::decode_peer(Bytes::copy_of(out));
  return result ? std::optional(*result) : std::nullopt;
}

std::string hex(std::string_view bytes) {
  return paxos::to_hex({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

TEST(WireCodec, EveryBodyComesBackAsItWas) {
  Samples samples(1);
  for (std::size_t round = 0; round < 300; ++round)
    for (std::size_t kind = 0; kind < Samples::body_kinds; ++kind) {
      const net::Body body = samples.body(kind);
      const auto again = decoded(body, Bytes::copy_of(encoded(body)));
      ASSERT_TRUE(again) << "kind " << kind << " round " << round;
      ASSERT_TRUE(*again == body) << "kind " << kind << " round " << round;
    }
}

TEST(WireCodec, EveryTruncatedBodyIsRefused) {
  Samples samples(2);
  for (std::size_t round = 0; round < 8; ++round)
    for (std::size_t kind = 0; kind < Samples::body_kinds; ++kind) {
      const net::Body body = samples.body(kind);
      const std::string bytes = encoded(body);
      for (std::size_t size = 0; size < bytes.size(); ++size)
        ASSERT_FALSE(decoded(body, Bytes::copy_of(std::string_view(bytes).substr(0, size))))
            << "kind " << kind << " at " << size << " of " << bytes.size();
      ASSERT_FALSE(decoded(body, Bytes::copy_of(bytes + '\0'))) << "kind " << kind << ": a byte to spare";
    }
}

TEST(WireCodec, ABitFlipIsRefusedOrIsAnotherMessageWithItsOwnEncoding) {
  Samples samples(3);
  std::size_t other = 0;
  for (std::size_t round = 0; round < 4; ++round)
    for (std::size_t kind = 0; kind < Samples::body_kinds; ++kind) {
      const net::Body body = samples.body(kind);
      std::string bytes = encoded(body);
      for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << (bit % 8));
        const auto result = decoded(body, Bytes::copy_of(bytes));
        if (result) {
          ++other;
          ASSERT_EQ(encoded(*result), bytes) << "kind " << kind << " bit " << bit;
          ASSERT_FALSE(*result == body);
        }
        bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << (bit % 8));
      }
    }
  EXPECT_GT(other, 0U);  // texts and numbers have no redundancy: the seal is what catches these
}

TEST(WireCodec, JunkNeverCrashesADecoder) {
  Samples samples(4);
  for (std::size_t round = 0; round < 200'000; ++round) {
    std::string junk = samples.text(60);
    if (junk.size() > 2) {
      junk[0] = static_cast<char>(round % 8);
      junk[1] = static_cast<char>(samples.below(20));
    }
    wire_fuzz::bodies(bytes_of(junk));
  }
}

TEST(WireCodec, HugeCountsReserveNothing) {
  // Each claims as many elements as its bound allows, and ends there: it must fail at once. Under a sanitizer
  // with a small allocation limit, or by the clock, a decoder that believed the count would show.
  for (unsigned type = 0; type < 32; ++type)
    for (unsigned lead = 0; lead < 40; ++lead) {
      std::string bytes(1, static_cast<char>(type));
      bytes.append(lead, '\1');
      bytes.append("\xff\x1f");  // 4,095
      for (unsigned decoder = 0; decoder < 8; ++decoder)
        wire_fuzz::bodies(bytes_of(std::string(1, static_cast<char>(decoder)) + bytes));
    }
}

TEST(WireCodec, DecreesAndCommandsAreSlicesOfTheReceivedBytes) {
  const std::string text(1000, 'x');
  std::string out;
  net::encode(out, paxos::Accept{{3, {1}}, {7}, {6}, {paxos::DecreeKind::commands, Bytes::copy_of(text)}});
  const Bytes received = Bytes::copy_of(out);
  const auto message = net::decode_peer(received);
  ASSERT_TRUE(message);
  const Bytes& value = std::get<paxos::Accept>(*message).decree.value;
  EXPECT_GE(value.data(), received.data());
  EXPECT_LE(value.data() + value.size(), received.data() + received.size());
  EXPECT_EQ(value.view(), text);
}

TEST(WireCodec, OnlyTheSendersProgressIsNotPartOfWhatIdentifiesAnAccept) {
  const paxos::Decree decree{paxos::DecreeKind::commands, Bytes::copy_of("hello")};
  std::string early, late, other;
  const std::size_t a = net::encode_stable(early, paxos::Accept{{3, {1}}, {7}, {6}, decree});
  const std::size_t b = net::encode_stable(late, paxos::Accept{{3, {1}}, {7}, {1'000'000}, decree});
  const std::size_t c = net::encode_stable(other, paxos::Accept{{3, {1}}, {8}, {6}, decree});
  EXPECT_EQ(early.substr(0, a), late.substr(0, b));
  EXPECT_NE(early.substr(0, a), other.substr(0, c));
}

TEST(WireCodec, OutOfRangeFieldsAreRefused) {
  const paxos::Ballot good{5, {2}};
  EXPECT_TRUE(through_wire(paxos::Prepare{good, {1}}));
  EXPECT_FALSE(through_wire(paxos::Prepare{{5, {9}}, {1}})) << "replica 9 of at most nine";
  EXPECT_FALSE(through_wire(paxos::Prepare{{0, {2}}, {1}})) << "round 0";
  EXPECT_FALSE(through_wire(paxos::Prepare{good, {0}})) << "slot 0";
  EXPECT_FALSE(through_wire(paxos::Prepare{good, {1ULL << 63}})) << "a slot near overflow";
  EXPECT_FALSE(through_wire(paxos::LearnRequest{{9}, {8}})) << "a range that ends before it begins";
  EXPECT_FALSE(through_wire(paxos::Accepted{good, {}})) << "votes for nothing";
  EXPECT_FALSE(through_wire(paxos::Accepted{good, {{{1}, {1'000'000}}}})) << "more than anyone votes ahead";
  EXPECT_FALSE(through_wire(paxos::Accepted{good, {{{5}, {6}}, {{6}, {7}}}})) << "ranges that overlap";
  EXPECT_TRUE(through_wire(paxos::Accepted{good, {{{5}, {6}}, {{8}, {8}}}}));

  const paxos::PromiseEntry at7{{7}, good, false, {}}, at8{{8}, good, true, {}};
  EXPECT_TRUE(through_wire(paxos::Promise{good, {7}, {6}, {at7, at8}, {9}}));
  EXPECT_FALSE(through_wire(paxos::Promise{good, {7}, {6}, {at8, at7}, {9}})) << "descending";
  EXPECT_FALSE(through_wire(paxos::Promise{good, {7}, {6}, {at7, at7}, {9}})) << "one slot twice";
  EXPECT_FALSE(through_wire(paxos::Promise{good, {7}, {7}, {at7}, {}})) << "an entry at or below w";
  EXPECT_FALSE(through_wire(paxos::Promise{good, {8}, {6}, {at7}, {}})) << "below the page asked for";
  EXPECT_FALSE(through_wire(paxos::Promise{good, {7}, {6}, {at7}, {7}})) << "a next page that is this one";
  EXPECT_FALSE(through_wire(paxos::Promise{good, {7}, {6}, {}, {7}})) << "an empty page with a next one";
  EXPECT_FALSE(through_wire(paxos::LearnReply{{{{8}, good, {}}, {{7}, good, {}}}, {1}, {8}})) << "descending";
}

TEST(WireCodec, AShareIsANumberBetweenZeroAndOne) {
  const auto survives = [](double share) {
    std::string out;
    chat::encode(out,
                 chat::OperatorRequest{.id = 1, .target = {.boot = 2}, .command = chat::LossRequest{share}});
    return chat::decode_operator_request(Bytes::copy_of(out)).has_value();
  };
  EXPECT_TRUE(survives(0.0));
  EXPECT_TRUE(survives(1.0));
  EXPECT_FALSE(survives(-0.0));
  EXPECT_FALSE(survives(1.5));
  EXPECT_FALSE(survives(-0.1));
  EXPECT_FALSE(survives(std::numeric_limits<double>::quiet_NaN()));
  EXPECT_FALSE(survives(std::numeric_limits<double>::infinity()));
}

TEST(WireCodec, ANamedRequestCarriesAllOfItsTarget) {
  wire_test::Samples samples(8);
  for (std::size_t kind = 0; kind < wire_test::Samples::operator_request_kinds; ++kind) {
    chat::OperatorRequest request = samples.operator_request(kind);
    request.target = {.replica = 2, .incarnation = {{9, 8, 7}}, .boot = 300};
    std::string out;
    chat::encode_named(out, request);
    const auto again = chat::decode_named_operator_request(Bytes::copy_of(out));
    ASSERT_TRUE(again);
    EXPECT_TRUE(*again == request);
    out[8] = static_cast<char>(255);
    EXPECT_FALSE(chat::decode_named_operator_request(Bytes::copy_of(out))) << "whoever reads it";
  }
  std::string out;
  chat::encode_named(out, {1, {.replica = 2, .incarnation = {{9}}, .boot = 3}, chat::KillRequest{}});
  EXPECT_EQ(paxos::to_hex({reinterpret_cast<const std::uint8_t*>(out.data()), out.size()}),
            "0100000000000000"
            "02"
            "09000000000000000000000000000000"
            "03"
            "05");
}

TEST(WireCodec, ALongReasonIsCutBetweenTwoCharacters) {
  std::string reason;
  while (reason.size() < 10'000) reason += "\xe2\x82\xac";  // a euro sign: three bytes
  std::string out;
  chat::encode(out, chat::ClientReply(chat::CommandRefused{{{1}, 2}, 3, reason}));
  const auto reply = chat::decode_client_reply(Bytes::copy_of(out));
  ASSERT_TRUE(reply);
  const std::string& cut = std::get<chat::CommandRefused>(*reply).reason;
  EXPECT_EQ(cut.size() % 3, 0U);
  EXPECT_GT(cut.size(), 900U);
  EXPECT_TRUE(reason.starts_with(cut));

  out.clear();  // no text at all: there is no place to cut between two characters
  chat::encode(out, chat::ClientReply(chat::CommandRefused{{{1}, 2}, 3, std::string(10'000, '\x80')}));
  const auto garbled = chat::decode_client_reply(Bytes::copy_of(out));
  ASSERT_TRUE(garbled);
  EXPECT_EQ(std::get<chat::CommandRefused>(*garbled).reason, "");
}

/// What is on the wire stays there: docs/WIRE.md shows these bytes, and a change needs another format
/// version.
TEST(WireCodec, NumbersOnTheWireAreThoseOfTheDocument) {
  const paxos::Ballot b{5, {2}};
  const std::string h16(32, '0');
  const std::vector<std::pair<paxos::PeerMessage, std::string>> peers = {
      {paxos::HeartbeatRequest{1}, "010100000000000000"},
      {paxos::HeartbeatReply{.nonce = 1,
                             .ballot = b,
                             .leader = b,
                             .happy = true,
                             .candidate = true,
                             .chosen_prefix = {300},
                             .applied = {4},
                             .hash = {},
                             .rules = 7,
                             .sync_age_ms = 6},
       "0201000000000000000502050203ac0204" + h16 + "0706"},
      {paxos::HandOver{b}, "030502"},
      {paxos::Prepare{b, {7}}, "04050207"},
      {paxos::Promise{b, {7}, {6}, {{{7}, b, true, {}}}, {9}}, "050502070609010705020101"},
      {paxos::Accept{b, {7}, {6}, {paxos::DecreeKind::commands, Bytes::copy_of("hi")}},
       "06050207020268"
       "6906"},
      {paxos::Accepted{b, {{{7}, {9}}}}, "070502010702"},
      {paxos::Nack{b, b}, "0805020502"},
      {paxos::Commit{b, {7}}, "09050207"},
      {paxos::LearnRequest{{7}, {9}}, "0a0709"},
      {paxos::LearnReply{{{{7}, b, {}}}, {1}, {8}}, "0b01070502010108"},
      {paxos::ReadConfirm{b, 1}, "0c05020100000000000000"},
      {paxos::ReadConfirmed{b, 1}, "0d05020100000000000000"},
      {paxos::ReadRequest{1}, "0e0100000000000000"},
      {paxos::ReadReply{1, {7}}, "0f010000000000000007"},
      {paxos::Birth{{paxos::Incarnation{}}, true, false}, "100101" + h16},
      {paxos::Forward{{Bytes::copy_of("hi")}}, "1101026869"},
      {paxos::Outdated{.meant = {2, 3}, .known_boot = 300, .known_groups = 9}, "12020300000000000000ac0209"},
      {paxos::Introduce{}, "13"},
      {paxos::Introduction{.groups_at_start = 300, .lives = {{2, 3}, {4, 5}}},
       "14ac0202020300000000000000040500000000000000"},
  };
  ASSERT_EQ(peers.size(), Samples::peer_kinds);
  for (const auto& [message, bytes] : peers) {
    EXPECT_EQ(hex(encoded(message)), bytes);
    EXPECT_TRUE(through_wire(message) == message) << bytes;
  }

  // What only the second format has.
  const paxos::PeerMessage told = paxos::HeartbeatReply{.nonce = 1, .ballot = b, .leader = b, .groups = 300};
  EXPECT_EQ(hex(encoded(told)), "02010000000000000005020502040000" + h16 + "0100ac02");
  EXPECT_TRUE(through_wire(told) == told);
  // Of a later configuration than the first.
  const paxos::Ballot later{5, {2}, 300};
  const std::vector<std::pair<paxos::PeerMessage, std::string>> configured = {
      {paxos::HeartbeatRequest{1, 300}, "150100000000000000ac02"},
      {paxos::HeartbeatReply{.nonce = 1, .ballot = later, .leader = b, .groups = 300, .configuration = 300},
       "02010000000000000005"
       "82ac02"
       "0502"
       "0c0000" +
           h16 + "0100ac02ac02"},
      {paxos::Prepare{later, {7}}, "040582ac0207"},
      {paxos::Accept{later, {7}, {6}, {paxos::DecreeKind::configuration, Bytes::copy_of("hi")}},
       "060582ac02070402686906"},
      {paxos::Birth{.members = {paxos::Incarnation{}}, .synced = true, .born = true, .configuration = 300},
       "100701" + h16 + "ac02"},
  };
  for (const auto& [message, bytes] : configured) {
    EXPECT_EQ(hex(encoded(message)), bytes);
    EXPECT_TRUE(through_wire(message) == message) << bytes;
  }
  // One value has one encoding: the first configuration is not named.
  for (const std::string_view bytes :
       {std::string_view("\x04\x05\x82\x01\x07", 5), std::string_view("\x04\x05\x82\x00\x07", 5)})
    EXPECT_FALSE(net::decode_peer(Bytes::copy_of(bytes)));

  const chat::SessionId session{{3}, 4};
  const chat::Outcome outcome{chat::Verdict::repeat, session, 5, {6}, 7, 8, 9};
  const std::string outcome_hex = "020304050607080900000000000000";
  const std::string id = "0100000000000000";
  const std::vector<std::pair<net::Body, std::string>> others = {
      {chat::ClientMessage(chat::ClientCommands{true, {Bytes::copy_of("hi")}}), "010101026869"},
      {chat::ClientMessage(chat::HistoryRequest{1, "r", 2, 3, 4, true}), "02" + id + "017202030401"},
      {chat::ClientMessage(chat::FollowRequest{1, "r", 2, 3}), "03" + id + "01720203"},
      {chat::ClientReply(chat::Receipts{{{outcome, {}}}}), "0101" + outcome_hex + "00"},
      {chat::ClientReply(chat::Redirect{paxos::ReplicaId{2}}), "0202"},
      {chat::ClientReply(chat::Redirect{}), "02ff"},
      {chat::ClientReply(chat::Waiting{chat::WaitReason::hole, {7}, {{1}}}), "0303070101"},
      {chat::ClientReply(chat::CommandRefused{session, 5, "no"}), "04030405026e6f"},
      {chat::ClientReply(chat::HistoryReply{1, "", {{{"r", 2, {3}, 4, "n", session, 5, 6, "t"}}, 7, 8}, {9}}),
       "05" + id +
           "00"
           "09"
           "07"
           "08"
           "0172"
           "01"
           "020304016e03040506000000000000000174"},
      {chat::OperatorRequest{1, {.boot = 2}, chat::StatusRequest{}}, id + "0201"},
      {chat::OperatorRequest{1, {.boot = 2}, chat::HashRequest{{7}}}, id + "020207"},
      {chat::OperatorRequest{1, {.boot = 2}, chat::ScrubRequest{{7}}}, id + "020307"},
      {chat::OperatorRequest{1, {.boot = 2}, chat::LogRequest{{7}, {8}}}, id + "02040708"},
      {chat::OperatorRequest{1, {.boot = 2}, chat::KillRequest{}}, id + "0205"},
      {chat::OperatorRequest{1, {.boot = 2}, chat::SkipRequest{{{7}}, 3}}, id + "0206010703"},
      {chat::OperatorRequest{1, {.boot = 2}, chat::LossRequest{1.0}}, id + "0207000000000000f03f"},
      {chat::OperatorRequest{1, {.boot = 2}, chat::PauseRequest{3}}, id + "020803"},
      {chat::OperatorRequest{1, {.boot = 2}, chat::IsolateRequest{3}}, id + "020903"},
      {chat::OperatorRequest{1, {.boot = 2}, chat::RestartRequest{}}, id + "020a"},
      {chat::OperatorRequest{1, {.boot = 2}, chat::DoctorRequest{true}}, id + "020b01"},
      {chat::OperatorRequest{1, {.boot = 2}, chat::ExplainRequest{{7}}}, id + "020c07"},
      // A word of docs/WIRE.md's snapshots, with its size.
      {chat::OperatorRequest{
           1, {.boot = 2}, chat::SnapshotRequest{chat::SnapshotAsk{.nonce = 1, .above = {7}}}},
       id + "020d" + "0b" + "01" + id + "0700"},
      {chat::OperatorRequest{1, {.boot = 2}, chat::MemberRequest{{.id = {7}, .address = {}}}},
       id + "020e00070000"},
      {chat::OperatorRequest{
           1,
           {.boot = 2},
           chat::MemberRequest{
               {.kind = paxos::MemberChange::Kind::add, .id = {7}, .address = "h:1", .by_hand = true}}},
       id + "020e010703683a3101"},
      {chat::OperatorRequest{1, {.boot = 2}, chat::TransferRequest{{7}}}, id + "020f07"},
      {chat::OperatorReply{1, chat::StatusReply{"{}"}}, id + "01027b7d"},
      {chat::OperatorReply{1, chat::HashReply{{7}, std::nullopt}}, id + "020700"},
      {chat::OperatorReply{1, chat::ScrubReply{{7}, 8, ""}}, id + "03070800"},
      {chat::OperatorReply{1, chat::LogReply{{{{7}, false, true, b, {}, {}}}, {8}}},
       id + "04080107000105020100"
            "00"},
      {chat::OperatorReply{1, chat::DoneReply{"", {{7}}, {8}}}, id + "0500010708"},
      {chat::OperatorReply{1, chat::DoctorReply{"{}"}}, id + "06027b7d"},
      {chat::OperatorReply{1, chat::SnapshotReply{chat::SnapshotOffer{
                                  .nonce = 1, .answer = chat::SnapshotAnswer::making, .id = {}}}},
       id + "08" + "0a" + "02" + id + "02"},
      {chat::OperatorReply{
           1, chat::ExplainReply{.boot = 2,
                                 .now_ns = 1,
                                 .started_ns = 1,
                                 .oldest_ns = 1,
                                 .first_slot = {3},
                                 .chosen = {4},
                                 .applied = {5},
                                 .accepted = {6},
                                 .damage = {},
                                 .held = chat::ExplainReply::Held{true, b, paxos::DecreeKind::commands, 8, 9},
                                 .left_out = 10,
                                 .records = {{.ns = 1,
                                              .slot = 7,
                                              .ballot = 0x102,
                                              .count = 1,
                                              .kind = chat::FlightKind::voted,
                                              .peer = 255,
                                              .detail = 3}}}},
       id +
           "07"
           "02" +
           id + id + id +
           "03040506"
           "00"
           "01"
           "01050202"
           "0809"
           "0a"
           "01" +
           id +
           "17"
           "ff"
           "07"
           "01"
           "8202"
           "03"},
  };
  for (const auto& [message, bytes] : others) {
    EXPECT_EQ(hex(encoded(message)), bytes);
    const auto again = decoded(message, Bytes::copy_of(encoded(message)));
    EXPECT_TRUE(again && *again == message) << bytes;
  }
}

}  // namespace
