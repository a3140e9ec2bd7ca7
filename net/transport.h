#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "chat/client_messages.h"
#include "net/address.h"
#include "net/fragment.h"
#include "net/seal.h"
#include "paxos/messages.h"

namespace net {

/// Payload of a datagram: what every path carries, and what loopback does.
inline constexpr std::size_t default_datagram_bytes = 1400;
inline constexpr std::size_t loopback_datagram_bytes = 60 * 1024;

using Body = std::variant<paxos::PeerMessage, chat::ClientMessage, chat::ClientReply, chat::OperatorRequest,
                          chat::OperatorReply>;

/// For UdpSocket::send.
struct Outgoing {
  Address to;
  paxos::Bytes data;
  std::size_t segment = 0;
};

struct Received {
  Address from;
  Identity sender;
  Body body;
};

/// Messages to sealed datagrams and back. Pure: no socket, no clock. Small messages to one address in one turn share
/// a datagram; a broadcast is encoded and sealed once; big ones are fragmented. Loop thread only.
class Transport {
 public:
  struct Options {
    Identity self;
    ClusterKey key;
    std::size_t datagram_bytes = default_datagram_bytes;
    std::size_t replicas = paxos::limits::replicas_max;
  };
  explicit Transport(Options options);

  void send(paxos::Time now, const Address& to, const Body& body);
  void broadcast(paxos::Time now, std::span<const Address> to, const Body& body);
  /// Ends the turn: seals what was packed.
  void flush(paxos::Time now);
  [[nodiscard]] std::vector<Outgoing> take_outgoing();

  /// One datagram; the messages in it are appended to `out`. What is not for us is counted by reason and dropped.
  void receive(paxos::Time now, const Address& from, std::span<const std::byte> datagram, std::vector<Received>& out);

  void tick(paxos::Time now);
  [[nodiscard]] paxos::Time deadline() const { return reassembly_.deadline(); }

  struct Figures {
    std::array<std::uint64_t, static_cast<std::size_t>(Drop::count_)> dropped{};
    std::uint64_t datagrams_out = 0;
    std::uint64_t fragments_again = 0;
  };
  [[nodiscard]] const Figures& figures() const { return figures_; }

 private:
  struct Pack {
    std::string plain;
    std::vector<Address> to;
  };
  [[nodiscard]] std::size_t plain_max() const { return options_.datagram_bytes - seal_overhead; }
  [[nodiscard]] std::size_t part_bytes() const { return plain_max() - fragment_header_bytes; }
  void append(Pack& pack, std::string_view encoded);
  void seal_pack(Pack& pack);
  void send_fragmented(std::span<const Address> to, std::string encoded);
  void send_parts(const Address& to, const FragmentCache::Entry& entry, std::span<const std::uint16_t> parts);
  void drop(Drop reason) { ++figures_.dropped[static_cast<std::size_t>(reason)]; }
  void unpack(const Address& from, const Identity& sender, const paxos::Bytes& plain, std::vector<Received>& out);
  bool decode(const Address& from, const Identity& sender, std::uint8_t kind, const paxos::Bytes& bytes,
              std::vector<Received>& out);

  Options options_;
  Sealer sealer_;
  Reassembly reassembly_;
  FragmentCache cache_;
  std::map<Address, Pack> packs_;
  Pack broadcast_;
  std::vector<Outgoing> outgoing_;
  std::map<std::pair<std::uint8_t, paxos::Incarnation>, std::uint64_t> boots_;  ///< highest seen, of replicas
  Figures figures_;
  std::string scratch_;
};

}  // namespace net
