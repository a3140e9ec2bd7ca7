#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "chat/credential.h"
#include "net/cipher.h"
#include "net/secret.h"
#include "paxos/bytes.h"
#include "paxos/types.h"

/// One sealed datagram: a header that is authenticated but readable, then ChaCha20-Poly1305 ciphertext.
///
/// Keys. The cluster's secret is replicas' own. A person or a program has a key that is derived from it, by
/// its role and its id (derive_key()), which stand in the header: so a replica needs no list of them to open
/// what comes under one, and seals its answer under the same. Who has one can open nothing that is sealed
/// under another.
///
/// The secret changes while the cluster runs: for a while two are good (`Opener::add_secret`), and each
/// datagram is tried with both. Nothing on the wire says which.
///
/// Every (sender, incarnation, boot, life) seals under a subkey of its own: BLAKE2b-256, keyed by the
/// key that it speaks under, over a context string, that key's role and id, and those four. A replica syncs
/// boot + 1 before its first datagram, a client draws a random incarnation per process, and both draw a
/// random *life* at each start (format 2), so that no subkey is ever used by two lives of a program, not even
/// where a directory was copied or rolled back.
///
/// Receivers. What a datagram of format 2 is for is part of what is sealed: the destination, and the
/// receiver's life (replica to replica, where it is known; replica to client, always), or the ticket that a
/// replica gave this client at this address (client to replica). So a recorded one is worth nothing at
/// another replica, and nothing after a restart.
///
/// Nonces. The nonce is four zero bytes and the header's 64-bit counter, which a Sealer raises by one for
/// each datagram and never resets: unique under its subkey, which is all that the construction asks of a
/// nonce (RFC 8439, section 2.8 and 4: "counters are acceptable"; libsodium: a nonce must never be used twice
/// with a key). Random nonces would be too short for it. There is one Sealer per identity in a process, and
/// it can't be copied.
namespace net {

using ClusterKey = Secret;

/// Names a secret without telling it; 0: none.
using Fingerprint = std::uint64_t;
[[nodiscard]] Fingerprint fingerprint(const Secret& secret);
/// What the log has of a claim (chat/access.h): 128 bits of BLAKE2b. Never zeros.
[[nodiscard]] std::array<std::uint64_t, 2> claim_of(const std::array<std::uint8_t, 32>& claim);
/// Sixteen hexadecimal digits.
[[nodiscard]] std::string to_string_fingerprint(Fingerprint fingerprint);

inline constexpr std::uint8_t client_sender = 255;  ///< sender: not a replica
/// destination: a client. In the first format from anyone to anyone: whoever reads it.
inline constexpr std::uint8_t any_destination = 255;
inline constexpr std::uint8_t all_replicas =
    254;  ///< destination, between replicas, from format 2 on: all others

/// Who sealed a datagram.
struct Identity {
  std::uint8_t sender = client_sender;  ///< replica id, or client_sender
  paxos::Incarnation incarnation;
  std::uint64_t boot = 1;
  std::uint64_t life = 0;       ///< random at each start; 0: it came in the first format, which has none
  chat::Credential whose = {};  ///< under which key; of what a replica says to a client: that client's
  friend auto operator<=>(const Identity&, const Identity&) = default;
  [[nodiscard]] bool is_client() const { return sender == client_sender; }
};

/// Why an incoming datagram, or a part of it, was not taken. Counted, never answered.
enum class Drop : std::uint8_t {
  short_datagram,    ///< no room for a header and a tag
  magic,             ///< not ours
  version,           ///< a format that this program does not know
  outdated,          ///< an earlier format, in which this sender is not heard (any more)
  header,            ///< a header field out of range
  destination,       ///< for another replica
  key,               ///< sealed under a key of a role that this program does not know, or not under ours
  own,               ///< sealed by ourselves: reflected
  foreign_key,       ///< does not open: another cluster's key, or damaged
  old_boot,          ///< of an earlier boot of a replica's directory
  other_life,        ///< for another life of this program
  unproven,          ///< from a client that does not show the ticket of its address: answered with a welcome
  replayed,          ///< its counter was seen before, or is too far behind
  undecodable,       ///< opened, but not understood, or its sender may not say that to us
  reassembly,        ///< fragment sizes or numbers that don't fit together
  reassembly_bound,  ///< a message found no room for its parts, or gave way
  reassembly_timeout,  ///< the rest of a message never came
  need_unknown,        ///< asks for fragments that are not kept any more
  count_,
};
inline constexpr std::size_t drop_reasons = static_cast<std::size_t>(Drop::count_);
/// As in `status --json`.
[[nodiscard]] const char* to_string(Drop reason);

/// What the plaintext is. Persistent: numbers are never reused; 0 stays reserved.
enum class Content : std::uint8_t {
  bodies = 1,         ///< bodies, each behind its length
  fragment = 2,       ///< a part of one body
  fragment_need = 3,  ///< which fragments of a message are missing
  probe = 4,          ///< the last fragment, said again: "have you got all of it?"
  path_probe =
      5,  ///< replica to replica, from format 2 on, as all below: does a datagram of this size get there?
  path_answer = 6,  ///< it did
  hello = 7,        ///< a client to a replica: which formats it speaks
  welcome = 8,      ///< the answer: which formats the replica speaks, and a ticket
};

/// The first format; what clients and replicas agree on: docs/WIRE.md. Replicas speak that of the rules to
/// each other (chat/versions.h).
inline constexpr std::uint8_t format_version = 1;
/// The first one whose datagrams name their receiver's life. Later ones have the same header.
inline constexpr std::uint8_t format_named = 2;

[[nodiscard]] constexpr std::size_t header_bytes_of(std::uint8_t version) {
  return version < format_named ? 40 : 64;
}
[[nodiscard]] constexpr std::size_t seal_overhead_of(std::uint8_t version) {
  return header_bytes_of(version) + cipher::tag_bytes;
}
/// At most, in any format.
inline constexpr std::size_t seal_overhead = seal_overhead_of(format_named);

/// What a sealer says of the way that a datagram goes.
struct Way {
  std::uint8_t version = format_version;
  std::uint8_t destination = any_destination;
  /// A life, or a client's ticket; 0: not known (yet), or for several. The first format has no such field.
  std::uint64_t receiver = 0;
  chat::Credential whose = {};  ///< under which key: the client's, whoever speaks. Likewise
  Fingerprint under = 0;        ///< and of which secret that key is; 0: the one that is spoken under
  friend bool operator==(const Way&, const Way&) = default;
};

struct Header {
  Way way;
  Content content = Content::bodies;
  Identity sender;
  std::uint64_t counter = 0;
  friend bool operator==(const Header&, const Header&) = default;
};

struct Opened {
  Header header;
  /// It names this very life: its sender, or whoever it is a recording of, meant nobody earlier. Always so
  /// for what a client takes in format 2. From a client to a replica: it shows the ticket of its address.
  bool bound = false;
  /// To be given to the client that sent it (a replica only; format 2).
  std::uint64_t ticket = 0;
  paxos::Bytes plain;  ///< in a buffer of its own, so that decrees may refer to it
  bool newest = true;  ///< nothing that its sender sealed later in this life was opened here before
  /// Of a replica's earlier boot (format 2): a recording, or an older copy of its directory. It was not
  /// looked at whether it came before.
  bool old_boot = false;
  Fingerprint under = 0;  ///< the secret that it was sealed under, or that its key is derived from
};

/// Opens what others sealed, and refuses what comes a second time. Loop thread only. Memory is bounded, and
/// only senders that hold the cluster's key take part in it: junk evicts nobody.
///
/// Each replica's highest boot per incarnation is kept; lower ones are dropped (in format 2: given out as
/// such, so that an older copy of a directory can be told that it is one). Per sender, the last `window`
/// counters are remembered (as in RFC 4303, section 3.4.3), so that a recorded datagram can't be used to make
/// us answer to a forged address. A restart of ours forgets them all, and so does a crowd: a client that was
/// idle while `clients_max` others spoke is unknown again. Neither opens a door (format 2): a client's ticket
/// belongs to what is remembered of it here, and is drawn anew with that.
class Opener {
 public:
  static constexpr std::size_t window = 4096;         ///< of a replica
  static constexpr std::size_t client_window = 1024;  ///< of a client
  static constexpr std::size_t clients_max = 16'384;
  static constexpr std::size_t incarnations_max = 4;  ///< per replica id
  using TicketKey = std::array<std::uint8_t, 16>;

  /// Of derived keys that are kept, so that not each datagram costs two derivations.
  static constexpr std::size_t keys_kept_max = 1'024;

  /// `self` may be a client: `key` is then that of self.whose. `replicas`: senders from there on are refused,
  /// other than clients. `tickets`: random at each start; what a replica's tickets are made with.
  Opener(const ClusterKey& key, const Identity& self, std::size_t replicas, const TicketKey& tickets = {});
  ~Opener();
  Opener(const Opener&) = delete;
  Opener& operator=(const Opener&) = delete;

  /// `from`: the bytes of the address that it came from; what a ticket is bound to.
  [[nodiscard]] tl::expected<Opened, Drop> open(std::span<const std::byte> datagram,
                                                std::span<const std::uint8_t> from = {});

  /// An earlier boot of this replica's directory is no old one for its sake.
  void forget(const Identity& replica);
  /// This one is no old boot, whatever later ones of its directory were heard.
  void readmit(const Identity& replica);

  /// Takes formats up to this one. The first only, unless told.
  void take_versions_to(std::uint8_t version_max) { version_max_ = version_max; }
  [[nodiscard]] std::size_t known_clients() const { return clients_.size(); }
  /// A replica takes what comes under this one, too; the newest is the last that was added.
  void add_secret(const Secret& secret);
  /// Nothing that came under it is taken any more. Requires: another one is there.
  void drop_secret(Fingerprint secret);
  /// Oldest first.
  [[nodiscard]] std::vector<Fingerprint> secrets() const;
  /// The key of a credential, as derive_key() makes it; kept for the next time. Requires: ours, or we have
  /// that secret.
  [[nodiscard]] const Secret& key_of(const chat::Credential& whose, Fingerprint under);

 private:
  struct Sender {
    Identity identity;
    Secret subkey;
    Fingerprint under = 0;
    std::uint64_t entered = 0;  ///< different for each that was ever entered
    std::uint64_t highest = 0;
    std::vector<std::uint64_t> seen;  ///< bit (counter mod its bits), for (highest - its bits, highest]

    [[nodiscard]] bool is_new(std::uint64_t counter) const;
    void mark(std::uint64_t counter);
  };
  using List = std::list<Sender>;

  [[nodiscard]] List& list_of(const Identity& identity);
  [[nodiscard]] Sender* find(const Identity& identity);
  Sender& enter(const Identity& identity, Secret subkey, Fingerprint under);
  struct Held {
    Fingerprint name = 0;
    Secret secret;
  };
  [[nodiscard]] Secret subkey_of(const Held& held, const Identity& from) const;
  template <class Which>
  void retire(std::uint8_t replica, Which which);
  [[nodiscard]] std::uint64_t ticket(const Sender& client, std::span<const std::uint8_t> from) const;

  std::uint8_t version_max_ = format_version;
  std::vector<Held> secrets_;  ///< of a client its key alone; the newest last
  std::map<std::pair<Fingerprint, chat::Credential>, Secret> derived_;
  TicketKey tickets_;
  Identity self_;
  std::size_t replicas_;
  std::uint64_t entered_ = 0;
  std::array<List, paxos::limits::replicas_max> replica_senders_;  ///< latest first
  /// Those that gave way, with their windows: what was taken of them is not taken again should they come
  /// back.
  std::array<List, paxos::limits::replicas_max> retired_;
  List clients_;  ///< latest first
  std::map<Identity, List::iterator> client_index_;
};

/// Both directions of one identity. Loop thread only.
class Sealer {
 public:
  /// Opens what replicas below `replicas` and any client sealed with the same secret, or a key derived from
  /// it; as a client with a key that is derived (self.whose), what replicas sealed with that.
  Sealer(const ClusterKey& key, const Identity& self, std::size_t replicas = paxos::limits::replicas_max,
         const Opener::TicketKey& tickets = {});
  Sealer(const Sealer&) = delete;
  Sealer& operator=(const Sealer&) = delete;

  /// Appends one sealed datagram to `out`, plain.size() + seal_overhead_of(way.version) bytes.
  /// Requires: a life, for format 2 and later.
  void seal(std::string& out, const Way& way, Content content, std::string_view plain);
  [[nodiscard]] tl::expected<Opened, Drop> open(std::span<const std::byte> datagram,
                                                std::span<const std::uint8_t> from = {}) {
    return opener_.open(datagram, from);
  }
  void take_versions_to(std::uint8_t version_max) { opener_.take_versions_to(version_max); }
  void add_secret(const Secret& secret) { opener_.add_secret(secret); }
  /// Requires: it is not the one that is spoken under.
  void drop_secret(Fingerprint secret);
  [[nodiscard]] std::vector<Fingerprint> secrets() const { return opener_.secrets(); }
  /// From now on. Requires: it was added.
  void speak_under(Fingerprint secret);
  [[nodiscard]] Fingerprint speaks_under() const { return speaks_; }
  void forget(const Identity& replica) { opener_.forget(replica); }
  void readmit(const Identity& replica) { opener_.readmit(replica); }

  [[nodiscard]] const Identity& self() const { return self_; }

 private:
  [[nodiscard]] const Secret& subkey_for(const Way& way);

  Identity self_;
  Secret first_subkey_;  ///< of the first format
  Fingerprint speaks_ = 0;
  /// Ours under each secret, and of a replica for its answers under clients' keys.
  std::map<std::pair<Fingerprint, chat::Credential>, Secret> subkeys_;
  std::uint64_t counter_ = 0;  ///< of all of them
  Opener opener_;
};

/// The key of this credential, by the cluster's secret: BLAKE2b-256, keyed by that, over a context string,
/// role and id. The secret's own is the secret.
[[nodiscard]] Secret derive_key(const ClusterKey& secret, const chat::Credential& whose);

/// The subkey of one identity under its key, as documented above; of the first format where it has no life.
[[nodiscard]] Secret derive_subkey(const Secret& key, const Identity& identity);

/// Header fields from the first bytes; checks magic, version and ranges, opens nothing.
[[nodiscard]] tl::expected<Header, Drop> parse_header(std::span<const std::byte> datagram,
                                                      std::uint8_t version_max = format_version);

}  // namespace net
