#include "tests/fuzz/wire_entry.h"

#include <string>
#include <vector>

#include "chat/wire.h"
#include "net/codec.h"
#include "net/fragment.h"
#include "net/transport.h"
#include "paxos/coding.h"
#include "paxos/invariant.h"

namespace wire_fuzz {

namespace {

template <class Decoded>
void same_again(const Decoded& decoded, std::span<const std::byte> input) {
  if (!decoded) return;
  std::string out;
  encode(out, *decoded);
  const auto again = std::as_bytes(std::span{out});
  PAXOS_ASSERT(std::equal(again.begin(), again.end(), input.begin(), input.end()));
}

}  // namespace

void bodies(std::span<const std::byte> input) {
  if (input.empty()) return;
  // A buffer of exactly this size: one byte too far is the sanitizer's.
  const paxos::Bytes body = paxos::Bytes::copy_of(input.subspan(1));
  switch (static_cast<unsigned>(input.front()) % 8) {
    case 0: {
      const auto decoded = net::decode_peer(body);
      if (!decoded) return;
      std::string out;
      net::encode(out, *decoded);
      PAXOS_ASSERT(out == body.view());
      return;
    }
    case 1:
      return same_again(chat::decode_client_message(body), body.span());
    case 2:
      return same_again(chat::decode_client_reply(body), body.span());
    case 3:
      return same_again(chat::decode_operator_request(body), body.span());
    case 4:
      return same_again(chat::decode_operator_reply(body), body.span());
    case 5: {
      const auto decoded = chat::decode_named_operator_request(body);
      if (!decoded) return;
      std::string out;
      chat::encode_named(out, *decoded);
      PAXOS_ASSERT(out == body.view());
      return;
    }
    case 6:
      return same_again(chat::decode_snapshot_word(body), body.span());
    default:
      return same_again(net::decode_address_word(body.span()), body.span());
  }
}

void fragments(std::span<const std::byte> input) {
  net::Reassembly reassembly;
  paxos::Time now{};
  paxos::ByteReader r(input);
  while (r.ok() && r.remaining() > 0) {
    const auto control = r.fixed<std::uint8_t>();
    const auto size = std::min<std::size_t>(r.fixed<std::uint16_t>(), r.remaining());
    const auto part = r.raw(size);
    net::Identity sender;
    sender.sender = (control & 1) != 0 ? net::client_sender : std::uint8_t(control >> 5);
    const auto from = net::Address::loopback(static_cast<std::uint16_t>(1 + (control >> 4)));
    paxos::Bytes whole;
    if (reassembly.add(now, sender, from, part, (control & 2) != 0, whole) ==
        net::Reassembly::Result::complete)
      PAXOS_ASSERT(!whole.empty() && whole.size() <= net::fragmented_bytes_max);
    (void)net::decode_need(part);
    if ((control & 4) != 0) now += std::chrono::milliseconds{700};
    for (const auto& ask : reassembly.tick(now)) {
      const std::string bytes = encode(ask.need);
      const auto need = net::decode_need(std::as_bytes(std::span{bytes}));
      PAXOS_ASSERT(need && *need == ask.need);
    }
    const auto figures = reassembly.figures();
    PAXOS_ASSERT(figures.memory <= net::Reassembly::memory_max);
    PAXOS_ASSERT(figures.partials <= net::Reassembly::partials_max);
    PAXOS_ASSERT(figures.complete_bytes <= net::Reassembly::complete_bytes_max);
  }
}

void datagram(std::span<const std::byte> input) {
  static net::Transport transport(
      net::Transport::Options{.self = {.sender = 0, .incarnation = {{1}}, .boot = 1, .life = 1},
                              .key = {},
                              .datagram_bytes = 1400,
                              .replicas = 3,
                              .version_max = net::format_named});
  const paxos::Bytes exact = paxos::Bytes::copy_of(input);
  std::vector<net::Received> out;
  transport.receive(paxos::Time{}, net::Address::loopback(1), exact.span(), out);
  PAXOS_ASSERT(out.empty());  // nobody guesses a tag
}

void terms(std::span<const std::byte> input) {
  const net::Address replica_at = net::Address::loopback(1);
  const net::Address client_at = net::Address::loopback(2);
  const net::Identity replica{.sender = 0, .incarnation = {{1}}, .boot = 1, .life = 11};
  const net::Identity client{.incarnation = {{2}}, .boot = 1, .life = 22};
  const auto transport = [&](const net::Identity& self) {
    return net::Transport(net::Transport::Options{.self = self,
                                                  .key = {},
                                                  .datagram_bytes = 1400,
                                                  .replicas = 1,
                                                  .addresses = {replica_at},
                                                  .version_max = net::format_named,
                                                  .speaks = net::format_named});
  };
  net::Transport served(transport(client)), serving(transport(replica));
  net::Sealer as_client({}, client), as_replica({}, replica);
  serving.serve_clients_from(net::format_named);
  std::vector<net::Received> out;
  const paxos::Time now{};
  paxos::ByteReader r(input);
  while (r.ok() && r.remaining() > 0) {
    const auto control = r.fixed<std::uint8_t>();
    const auto receiver = (control & 1) != 0 ? r.fixed<std::uint64_t>() : client.life;
    const auto plain = r.raw(std::min<std::size_t>(r.fixed<std::uint8_t>(), r.remaining()));
    const std::string_view text(reinterpret_cast<const char*>(plain.data()), plain.size());
    const bool to_client = (control & 2) != 0;
    const auto content =
        static_cast<net::Content>((control & 4) != 0 ? 7 + (to_client ? 1 : 0) : 1 + (control >> 6));
    const auto version =
        static_cast<std::uint8_t>((control & 8) != 0 && content < net::Content::hello ? 1 : 2);
    std::string sealed;
    (to_client ? as_replica : as_client)
        .seal(sealed, {version, to_client ? net::any_destination : std::uint8_t{0}, receiver}, content, text);
    net::Transport& at = to_client ? served : serving;
    at.receive(now, to_client ? replica_at : client_at, std::as_bytes(std::span{sealed}), out);
    if ((control & 16) != 0)
      served.send(now, replica_at, chat::ClientMessage(chat::FollowRequest{1, "r", 0, 0}));
    at.flush(now);
    for (const net::Outgoing& datagram : at.take_outgoing())
      PAXOS_ASSERT(to_client || datagram.data.size() <= sealed.size());  // nobody guesses a ticket
    for (const net::Received& received : out) PAXOS_ASSERT(to_client || received.outdated);
    out.clear();
  }
}

}  // namespace wire_fuzz
