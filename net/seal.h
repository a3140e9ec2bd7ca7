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

#include "net/cipher.h"
#include "paxos/bytes.h"
#include "paxos/types.h"

/// One sealed datagram: a header that is authenticated but readable, then ChaCha20-Poly1305 ciphertext.
///
/// Keys. Every (sender, incarnation, boot) seals under a subkey of its own: BLAKE2b-256, keyed by the
/// cluster's key, over a context string and those three. A replica syncs boot + 1 before its first datagram,
/// and a client draws a random incarnation per process, so no subkey is ever used by two lives of a program.
///
/// Nonces. The nonce is four zero bytes and the header's 64-bit counter, which a Sealer raises by one for
/// each datagram and never resets: unique under its subkey, which is all that the construction asks of a
/// nonce (RFC 8439, section 2.8 and 4: "counters are acceptable"; libsodium: a nonce must never be used twice
/// with a key). Random nonces would be too short for it. There is one Sealer per identity in a process, and
/// it can't be copied.
namespace net {

using ClusterKey = std::array<std::uint8_t, 32>;

inline constexpr std::uint8_t client_sender = 255;    ///< sender: not a replica
inline constexpr std::uint8_t any_destination = 255;  ///< destination: whoever reads it

/// Who sealed a datagram.
struct Identity {
  std::uint8_t sender = client_sender;  ///< replica id, or client_sender
  paxos::Incarnation incarnation;
  std::uint64_t boot = 1;
  friend auto operator<=>(const Identity&, const Identity&) = default;
  [[nodiscard]] bool is_client() const { return sender == client_sender; }
};

/// Why an incoming datagram, or a part of it, was not taken. Counted, never answered.
enum class Drop : std::uint8_t {
  short_datagram,      ///< no room for a header and a tag
  magic,               ///< not ours
  version,             ///< another version of this format
  header,              ///< a header field out of range
  destination,         ///< for another replica
  own,                 ///< sealed by ourselves: reflected
  foreign_key,         ///< does not open: another cluster's key, or damaged
  old_boot,            ///< of an earlier boot of a replica's directory
  replayed,            ///< its counter was seen before, or is too far behind
  undecodable,         ///< opened, but not understood, or its sender may not say that to us
  reassembly,          ///< fragment sizes or numbers that don't fit together
  reassembly_bound,    ///< an incomplete message gave way to a newer one
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
  path_probe = 7,     ///< does a datagram of this size get there? From format 2 on, as the next one
  path_answer = 8,    ///< it did
};

inline constexpr std::size_t header_bytes = 40;
inline constexpr std::size_t seal_overhead = header_bytes + cipher::tag_bytes;
/// The first format, which every client speaks; replicas may speak later ones to each other (chat/versions.h).
inline constexpr std::uint8_t format_version = 1;

struct Header {
  Content content = Content::bodies;
  Identity sender;
  std::uint8_t destination = any_destination;
  std::uint64_t counter = 0;
  friend bool operator==(const Header&, const Header&) = default;
};

struct Opened {
  Identity sender;
  Content content = Content::bodies;
  paxos::Bytes plain;  ///< in a buffer of its own, so that decrees may refer to it
  bool newest = true;  ///< nothing that its sender sealed later in this life was opened here before
};

/// Opens what others sealed, and refuses what comes a second time. Loop thread only. Memory is bounded, and
/// only senders that hold the cluster's key take part in it: junk evicts nobody.
///
/// Each replica's highest boot per incarnation is kept; lower ones are dropped. Per sender, the last
/// `window` counters are remembered (as in RFC 4303, section 3.4.3), so that a recorded datagram can't be
/// used to make us answer to a forged address. A client that was idle while `clients_max` others spoke is
/// forgotten, and so is everything by a restart of ours: handlers must be idempotent all the same.
class Opener {
 public:
  static constexpr std::size_t window = 4096;
  static constexpr std::size_t clients_max = 4096;
  static constexpr std::size_t incarnations_max = 4;  ///< per replica id

  /// `self` may be a client. `replicas`: senders from there on are refused, other than clients.
  Opener(const ClusterKey& key, const Identity& self, std::size_t replicas);
  ~Opener();
  Opener(const Opener&) = delete;
  Opener& operator=(const Opener&) = delete;

  [[nodiscard]] tl::expected<Opened, Drop> open(std::span<const std::byte> datagram);

  /// Takes formats up to this one. The first only, unless told.
  void take_versions_to(std::uint8_t version_max) { version_max_ = version_max; }
  [[nodiscard]] std::size_t known_clients() const { return clients_.size(); }

 private:
  struct Sender {
    Identity identity;
    cipher::Key subkey{};
    std::uint64_t highest = 0;
    std::array<std::uint64_t, window / 64>
        seen{};  ///< bit (counter mod window), for (highest - window, highest]

    [[nodiscard]] bool is_new(std::uint64_t counter) const;
    void mark(std::uint64_t counter);
  };
  using List = std::list<Sender>;

  [[nodiscard]] List& list_of(const Identity& identity);
  [[nodiscard]] Sender* find(const Identity& identity);
  void enter(const Sender& sender);

  std::uint8_t version_max_ = format_version;
  ClusterKey key_;
  Identity self_;
  std::size_t replicas_;
  std::array<List, paxos::limits::replicas_max> replica_senders_;  ///< latest first
  List clients_;                                                   ///< latest first
  std::map<Identity, List::iterator> client_index_;
};

/// Both directions of one identity. Loop thread only.
class Sealer {
 public:
  /// Opens what replicas below `replicas` and any client sealed with the same key.
  Sealer(const ClusterKey& key, const Identity& self, std::size_t replicas = paxos::limits::replicas_max);
  ~Sealer();
  Sealer(const Sealer&) = delete;
  Sealer& operator=(const Sealer&) = delete;

  /// Appends one sealed datagram to `out`, plain.size() + seal_overhead bytes.
  void seal(std::string& out, std::uint8_t destination, Content content, std::string_view plain,
            std::uint8_t version = format_version);
  [[nodiscard]] tl::expected<Opened, Drop> open(std::span<const std::byte> datagram) {
    return opener_.open(datagram);
  }
  void take_versions_to(std::uint8_t version_max) { opener_.take_versions_to(version_max); }

  [[nodiscard]] const Identity& self() const { return self_; }

 private:
  Identity self_;
  cipher::Key subkey_{};
  std::uint64_t counter_ = 0;
  Opener opener_;
};

/// The subkey of one identity, as documented above.
[[nodiscard]] cipher::Key derive_subkey(const ClusterKey& key, const Identity& identity);

/// Header fields from the first bytes; checks magic, version and ranges, opens nothing.
[[nodiscard]] tl::expected<Header, Drop> parse_header(std::span<const std::byte> datagram,
                                                     std::uint8_t version_max = format_version);

}  // namespace net
