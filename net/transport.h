#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "chat/client_messages.h"
#include "chat/snapshot.h"
#include "net/address.h"
#include "net/fragment.h"
#include "net/paths.h"
#include "net/seal.h"
#include "paxos/messages.h"

namespace net {

/// Replica to replica: "are you at this address?", and the answer to where that came from
/// (net/address_book.h).
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
                          chat::OperatorReply, AddressWord, chat::SnapshotWord>;

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
  /// From a client in a format that is no longer served (serve_clients_from): to be told so, and nothing
  /// else.
  bool outdated = false;
  /// From a life of a replica that is not heard (any more): a question that may be answered with its being so
  /// (answer()), and with nothing else.
  bool stale = false;
  Fingerprint under = 0;  ///< the secret that it came under, or that its key is derived from
};

/// Messages to sealed datagrams and back. Pure: no socket, no clock. Small messages to one address in one
/// turn share a datagram; a broadcast is encoded and sealed once; big ones are fragmented. Loop thread only.
///
/// Each turn: receive() and send() in any order, tick() when deadline() has passed, then flush(), and what
/// take_outgoing() gives to the socket. A body that is said again in the same words (or with only its
/// sender's chosen prefix changed) costs one datagram however big it is, as long as the receiver still has
/// it.
///
/// A client gets to know each replica first (format 2): it says hello, and is given a ticket for its address,
/// which all that follows shows. What it has to say meanwhile waits here. A replica answers nothing but a
/// welcome to whoever shows no ticket, or that of another address, another life of the replica, or another
/// replica: nothing longer than what came. To a replica that knows no hello a client speaks the first format,
/// once that has answered a question in it.
class Transport {
 public:
  struct Options {
    Identity self;
    Secret key;  ///< that of self.whose: the cluster's secret, or one that is derived from it
    Opener::TicketKey tickets = {};  ///< random at each start of a replica
    std::size_t datagram_bytes =
        default_datagram_bytes;      ///< of payload, at most; less where a path carries less
    std::size_t loopback_bytes = 0;  ///< the same on loopback; 0: no other
    std::size_t replicas = paxos::limits::replicas_max;
    /// Of the replicas, by id; may be empty, and some of them may be. A datagram to one of them names it, and
    /// no other replica takes it. A client speaks to no others. See set_owners().
    std::vector<Address> addresses = {};
    std::uint8_t version_max = format_version;  ///< the last format that is understood
    /// A replica: what it speaks to the others from the start. From format 2 on they are not taken in the
    /// first any more.
    std::uint8_t speaks = format_version;
    ReassemblyBounds reassembly = {};
  };
  explicit Transport(Options options);

  /// The format of what goes to other replicas from now on; and format 2 at least, once one of them has
  /// spoken it. Clients get the one that they speak.
  void speak(std::uint8_t version);
  /// Clients' earlier formats are not served from now on; the first one at most until a replica has spoken a
  /// later one.
  void serve_clients_from(std::uint8_t version) { clients_from_ = std::max(clients_from_, version); }

  /// Of a client: how it stands with a replica.
  struct Terms {
    std::uint8_t version = 0;  ///< that is spoken to it; 0: nothing came from it yet
    /// Which formats the replica takes, where none of them is known here; else 0.
    std::uint8_t lowest = 0, highest = 0;
    [[nodiscard]] bool refused() const { return lowest != 0; }
  };
  [[nodiscard]] Terms terms(paxos::ReplicaId replica) const;
  /// Of a replica: whether a client has shown the ticket of this address.
  [[nodiscard]] bool knows(const Address& client) const { return askers_.contains(client); }
  /// Of a replica: whether another client than this one has shown the ticket of its address since.
  [[nodiscard]] bool taken_by_another(const Address& client, const Identity& who) const {
    const auto at = askers_.find(client);
    return at != askers_.end() && (at->second.incarnation != who.incarnation || at->second.life != who.life ||
                                   at->second.whose != who.whose);
  }
  /// The life of another replica, where that is known from elsewhere (the simulator's short cut).
  void note_life(std::uint8_t replica, std::uint64_t life) { lives_[replica] = life; }

  /// Of a replica: this life of another one is an older copy of its directory. What it says is dropped from
  /// now on, but for its heartbeats, which come as `stale`.
  void disown(const Identity& peer);
  /// This life, which came as `stale`, may be the right one all the same: its next datagram is heard.
  void readmit(const Identity& peer) { sealer_.readmit(peer); }
  /// Says this to a life of a replica that is not heard: back to where its word came from.
  void answer(const Received& stale, const paxos::Outdated& word);

  /// Of a replica, while the cluster's secret changes: this one is good, too.
  void add_secret(const Secret& secret) { sealer_.add_secret(secret); }
  /// Nothing that comes under it is taken any more.
  void drop_secret(Fingerprint secret);
  /// To other replicas; and from the moment on in which one of them is heard under a newer one, under that.
  void speak_under(Fingerprint secret) { sealer_.speak_under(secret); }
  [[nodiscard]] Fingerprint speaks_under() const { return sealer_.speaks_under(); }
  /// Those that are good, oldest first.
  [[nodiscard]] std::vector<Fingerprint> secrets() const { return sealer_.secrets(); }

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
  [[nodiscard]] paxos::Time deadline() const;

  struct Figures {
    std::array<std::uint64_t, static_cast<std::size_t>(Drop::count_)> dropped{};  ///< by to_string(Drop)
    std::uint64_t datagrams_out = 0;
    std::uint64_t fragments_again = 0;  ///< sent because a receiver asked
    std::uint64_t probes = 0;           ///< big messages said again
    std::uint64_t needs = 0;            ///< asked for missing fragments
    std::uint64_t path_probes = 0;      ///< datagrams that ask whether their size gets there
    std::uint64_t oversized = 0;        ///< bodies above body_bytes_max that were not sent
    std::uint64_t welcomes = 0;         ///< tickets given to clients
    Reassembly::Figures reassembly;
  };
  [[nodiscard]] Figures figures() const;

 private:
  struct Pack {
    std::string plain;
    std::vector<Address> to;
  };
  /// A client's acquaintance with a replica.
  struct Contact {
    std::uint8_t version = 0;  ///< see Terms
    std::uint64_t ticket = 0;
    std::uint8_t lowest = 0, highest = 0;
    unsigned hellos = 0;                         ///< since the last answer
    paxos::Time hello_at{};                      ///< none before
    paxos::Time unanswered = paxos::time_never;  ///< since when something is
    std::uint64_t question = 0;                  ///< id of what was asked in the first format; 0: nothing was
    struct Held {
      Body body;
      paxos::Time until{};
    };
    std::deque<Held> held;
    Address address;  ///< where it was last asked
  };
  /// Who showed a ticket from an address.
  struct Asker {
    std::uint8_t version = format_version;
    std::uint64_t life = 0;
    paxos::Incarnation incarnation;
    chat::Credential whose;
    Fingerprint under = 0;
    std::list<Address>::iterator place;
  };

  /// Of one datagram to each of these.
  [[nodiscard]] std::size_t datagram_max(std::span<const Address> to) const;
  [[nodiscard]] std::size_t plain_max(std::span<const Address> to) const {
    return datagram_max(to) - seal_overhead;
  }
  [[nodiscard]] std::optional<std::uint8_t> replica_at(const Address& address) const;
  [[nodiscard]] Way way(std::span<const Address> to) const;
  /// A replica: nobody is known at this client's address (any more), under whose key an answer could be
  /// sealed.
  [[nodiscard]] bool nobody_at(const Address& to) const;
  [[nodiscard]] Pack& pack_for(std::span<const Address> to, paxos::Time now);
  void send_to(paxos::Time now, std::span<const Address> to, const Body& body);
  void send_one(paxos::Time now, std::span<const Address> to, const Body& body);
  void seal_pack(Pack& pack, paxos::Time now);
  void send_fragmented(paxos::Time now, std::span<const Address> to, std::string message,
                       std::size_t stable_bytes);
  void send_cut(paxos::Time now, std::span<const Address> to, std::string message, std::size_t stable_bytes,
                std::size_t datagram_bytes);
  /// Seals the parts once, and hands them out for each address in buffers that the kernel cuts (GSO).
  void send_parts(paxos::Time now, std::span<const Address> to, const FragmentCache::Entry& entry,
                  std::span<const std::uint16_t> parts, Content content);
  void drop(Drop reason) { ++figures_.dropped[static_cast<std::size_t>(reason)]; }
  [[nodiscard]] Address address_to_ask(const Address& from, const Opened& opened) const;
  void resend(paxos::Time now, const Address& from, const Opened& opened);
  /// For whom what goes to these is cut.
  [[nodiscard]] FragmentCache::Owner owner_at(std::span<const Address> to) const;
  void unpack(const Address& from, const Opened& opened, std::vector<Received>& out);
  void take_body(const Address& from, const Opened& opened, std::uint8_t kind, paxos::Bytes bytes,
                 std::size_t buffer_bytes, std::vector<Received>& out);
  void seal_one(const Address& to, const Way& way, Content content, std::string_view plain);

  // What paths carry.
  void tell_paths_of_peers();
  void probe_path(const Paths::Probe& probe);
  void answer_path_probe(const Address& from, const Opened& opened, std::size_t bytes);
  void note_path_answer(paxos::Time now, const Opened& opened);
  void doubt(paxos::Time now, const Address& to);

  // Who is served, and in which format (transport_terms.cc). Each admit: false, and nothing more of it is
  // looked at.
  bool admit_peer(const Opened& opened);
  /// Of a life that is not heard: nothing but whether it asks to be.
  [[nodiscard]] bool disowns(const Identity& peer) const;
  void unpack_stale(const Address& from, const Opened& opened, std::vector<Received>& out);
  void hear_named();
  void hear_secret(Fingerprint secret);
  bool admit_client(paxos::Time now, const Address& from, const Opened& opened);
  bool admit_reply(paxos::Time now, const Address& from, const Opened& opened);
  void note_asker(paxos::Time now, const Address& from, const Opened& opened);
  void forget_asker(const Address& from);
  void send_welcome(const Address& to, const Opened& opened);
  /// A client: whether this can be said now; else it waits.
  bool ready(paxos::Time now, std::uint8_t replica, const Address& to, const Body& body);
  void greet(paxos::Time now, std::uint8_t replica);
  void on_welcome(paxos::Time now, std::uint8_t replica, const paxos::Bytes& plain);
  void agree(paxos::Time now, Contact& contact, std::uint8_t version, std::uint64_t ticket);
  /// Of what a replica said in the first format: takes the answer to our question out, and what it may no
  /// longer say.
  void sift_first_format(paxos::Time now, std::uint8_t replica, std::size_t begin,
                         std::vector<Received>& out);
  void greet_again(paxos::Time now);

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
  std::uint8_t heard_version_ = format_version;  ///< the highest that matters of what replicas spoke
  bool named_said_ = false;                      ///< to other replicas, in this life
  std::uint8_t clients_from_ = format_version;
  std::array<std::uint64_t, paxos::limits::replicas_max>
      lives_{};  ///< of the other replicas, as last heard; 0: not yet
  std::array<std::deque<std::uint64_t>, paxos::limits::replicas_max> disowned_;  ///< lives; latest first
  std::unordered_map<Address, Asker, AddressHash> askers_;
  std::list<Address> askers_order_;  ///< latest first
  std::vector<Address> welcomed_;    ///< in this turn
  std::vector<Address>
      outdated_;  ///< likewise: who asked in the first format and is to be told one word in it
  std::vector<Contact> contacts_;  ///< of a client, by replica id
};

/// Of messages between replicas: those that answer one of the receiver's own. Who recorded one can't say it
/// to a later life of the receiver; the others ask or propose, and carry a ballot that tells what they are
/// worth.
[[nodiscard]] bool is_answer(const paxos::PeerMessage& message);

}  // namespace net
