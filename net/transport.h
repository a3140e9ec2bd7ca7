#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "chat/client_messages.h"
#include "net/address.h"
#include "net/fragment.h"
#include "net/paths.h"
#include "net/seal.h"
#include "paxos/messages.h"

namespace net {

/// Replica to replica: "are you at this address?", and the answer to where that came from (net/address_book.h).
struct AddressProbe {
  std::uint64_t nonce = 0;
  friend bool operator==(const AddressProbe&, const AddressProbe&) = default;
};
struct AddressProof {
  std::uint64_t nonce = 0;  ///< of the probe
  friend bool operator==(const AddressProof&, const AddressProof&) = default;
};
using AddressWord = std::variant<AddressProbe, AddressProof>;
void encode(std::string& out, const AddressWord& word);
[[nodiscard]] tl::expected<AddressWord, const char*> decode_address_word(std::span<const std::byte> bytes);

using Body = std::variant<paxos::PeerMessage, chat::ClientMessage, chat::ClientReply, chat::OperatorRequest,
                          chat::OperatorReply, AddressWord>;

/// For UdpSocket::send.
struct Outgoing {
  Address to;
  paxos::Bytes data;
  std::size_t segment = 0;  ///< not 0: several datagrams of this size in a row; only the last may be shorter
};

struct Received {
  Address from;
  Identity sender;
  Body body;
  bool newest = true;  ///< as its datagram was (Opened::newest); of a message in parts: as its last part was
};

/// Messages to sealed datagrams and back. Pure: no socket, no clock. Small messages to one address in one
/// turn share a datagram; a broadcast is encoded and sealed once; big ones are fragmented. Loop thread only.
///
/// Each turn: receive() and send() in any order, tick() when deadline() has passed, then flush(), and what
/// take_outgoing() gives to the socket. A body that is said again in the same words (or with only its
/// sender's chosen prefix changed) costs one datagram however big it is, as long as the receiver still has
/// it.
class Transport {
 public:
  struct Options {
    Identity self;
    ClusterKey key;
    std::size_t datagram_bytes = default_datagram_bytes;  ///< of payload, at most; less where a path carries less
    std::size_t loopback_bytes = 0;                       ///< the same on loopback; 0: no other
    std::size_t replicas = paxos::limits::replicas_max;
    /// Of the replicas, by id; may be empty, and some of them may be. A datagram to one of them names it, and no other
    /// replica takes it. See set_owners().
    std::vector<Address> addresses = {};
    std::uint8_t version_max = format_version;  ///< the last format that is understood
  };
  explicit Transport(Options options);

  /// The format of what goes to other replicas from now on; clients always get the first.
  void speak(std::uint8_t version);
  /// Another `Options::datagram_bytes` from now on.
  void set_datagram_bytes(std::size_t bytes) { paths_.set_datagram_bytes(bytes); }
  /// What the socket could not send, and why.
  void refused(paxos::Time now, const Refusal& refusal) { paths_.refused(now, refusal); }
  /// Paths that turned out to carry something else than they were said to.
  [[nodiscard]] std::vector<Paths::Change> take_path_changes() { return paths_.take_changes(); }
  [[nodiscard]] const Paths& paths() const { return paths_; }

  /// Whose an address is, from now on: `owners` as AddressBook::owners() gives it.
  void set_owners(std::vector<std::pair<Address, std::uint8_t>> owners);

  void send(paxos::Time now, const Address& to, const Body& body);
  void broadcast(paxos::Time now, std::span<const Address> to, const Body& body);
  /// Ends the turn: seals what was packed.
  void flush(paxos::Time now);
  [[nodiscard]] std::vector<Outgoing> take_outgoing();

  /// One datagram; the messages in it are appended to `out`. What is not for us is counted by reason and
  /// dropped.
  void receive(paxos::Time now, const Address& from, std::span<const std::byte> datagram,
               std::vector<Received>& out);

  void tick(paxos::Time now);
  [[nodiscard]] paxos::Time deadline() const {
    return std::min({reassembly_.deadline(), cache_.deadline(), paths_.deadline()});
  }

  struct Figures {
    std::array<std::uint64_t, static_cast<std::size_t>(Drop::count_)> dropped{};  ///< by to_string(Drop)
    std::uint64_t datagrams_out = 0;
    std::uint64_t fragments_again = 0;  ///< sent because a receiver asked
    std::uint64_t probes = 0;           ///< big messages said again
    std::uint64_t needs = 0;            ///< asked for missing fragments
    std::uint64_t path_probes = 0;      ///< datagrams that ask whether their size gets there
    std::uint64_t oversized = 0;        ///< bodies above body_bytes_max that were not sent
    Reassembly::Figures reassembly;
  };
  [[nodiscard]] Figures figures() const;

 private:
  struct Pack {
    std::string plain;
    std::vector<Address> to;
  };
  /// Of one datagram to each of these.
  [[nodiscard]] std::size_t datagram_max(std::span<const Address> to) const;
  [[nodiscard]] std::size_t plain_max(std::span<const Address> to) const { return datagram_max(to) - seal_overhead; }
  [[nodiscard]] bool is_replica(const Address& address) const;
  [[nodiscard]] std::uint8_t version(std::span<const Address> to) const;
  [[nodiscard]] std::uint8_t destination(std::span<const Address> to) const;
  [[nodiscard]] Pack& pack_for(std::span<const Address> to, paxos::Time now);
  void send_to(paxos::Time now, std::span<const Address> to, const Body& body);
  void send_one(paxos::Time now, std::span<const Address> to, const Body& body);
  void seal_pack(Pack& pack, paxos::Time now);
  void send_fragmented(paxos::Time now, std::span<const Address> to, std::string message, std::size_t stable_bytes);
  void send_cut(paxos::Time now, std::span<const Address> to, std::string message, std::size_t stable_bytes,
                std::size_t datagram_bytes);
  /// Seals the parts once, and hands them out for each address in buffers that the kernel cuts (GSO).
  void send_parts(paxos::Time now, std::span<const Address> to, const FragmentCache::Entry& entry,
                  std::span<const std::uint16_t> parts, Content content);
  void drop(Drop reason) { ++figures_.dropped[static_cast<std::size_t>(reason)]; }
  void resend(paxos::Time now, const Address& from, const paxos::Bytes& plain);
  void tell_paths_of_peers();
  void probe_path(const Paths::Probe& probe);
  void answer_path_probe(const Address& from, std::uint8_t version, std::size_t bytes, const paxos::Bytes& plain);
  void note_path_answer(paxos::Time now, const paxos::Bytes& plain);
  void doubt(paxos::Time now, const Address& to);
  void seal_one(const Address& to, Content content, std::string_view plain, std::uint8_t version);
  void unpack(const Address& from, const Identity& sender, bool newest, const paxos::Bytes& plain,
              std::vector<Received>& out);
  void take_body(const Address& from, const Identity& sender, bool newest, std::uint8_t kind, paxos::Bytes bytes,
                 std::size_t buffer_bytes, std::vector<Received>& out);

  Options options_;
  std::vector<std::pair<Address, std::uint8_t>> owners_;  ///< of addresses that are replicas'
  Sealer sealer_;
  Reassembly reassembly_;
  FragmentCache cache_;
  Paths paths_;
  std::map<Address, Pack> packs_;
  Pack broadcast_;
  std::vector<Outgoing> outgoing_;
  Figures figures_;
  std::string scratch_;
  std::uint8_t peer_version_ = format_version;
};

}  // namespace net
