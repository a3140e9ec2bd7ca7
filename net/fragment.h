#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "chat/credential.h"
#include "net/address.h"
#include "net/seal.h"
#include "paxos/bounds.h"
#include "paxos/rtt.h"
#include "paxos/types.h"

/// Messages above a datagram's payload: cut into equal parts, put together again, repaired part by part.
/// Pure; bounded whatever arrives. Loop thread only.
///
/// A message keeps its id as long as its sender remembers it. Who has a part of it asks for what is missing
/// after a short quiet time. Who says the same message again sends only a probe, its last part: a receiver
/// that lacks something asks, one that had all of it takes it as said again (its answer may have been lost).
namespace net {

/// The kind of body, then its bytes.
inline constexpr std::size_t fragmented_bytes_max = paxos::limits::message_bytes_max + 1;
inline constexpr std::size_t fragment_header_bytes = 8 + 4 + 2 + 2;
inline constexpr std::size_t fragments_max = 2048;

struct FragmentHeader {
  std::uint64_t message = 0;  ///< unique within a boot of its sender; 0 is none
  std::uint32_t total = 0;    ///< bytes of the whole message
  std::uint16_t index = 0;
  std::uint16_t count = 0;

  /// Bytes of every part but the last, which has what remains. Requires count > 0.
  [[nodiscard]] std::size_t part_bytes() const { return (total + count - 1U) / count; }
  [[nodiscard]] std::size_t offset() const { return index * part_bytes(); }
  /// Bytes of this part. Requires is_valid().
  [[nodiscard]] std::size_t size() const { return std::min(part_bytes(), total - offset()); }
  [[nodiscard]] bool is_valid() const;
  friend bool operator==(const FragmentHeader&, const FragmentHeader&) = default;
};
void encode(std::string& out, const FragmentHeader& header);
/// Fails (nothing) where the numbers don't fit together.
[[nodiscard]] std::optional<FragmentHeader> decode_fragment_header(std::span<const std::byte> part);
/// How many parts of at most `part_bytes_max` bytes a message of `total` bytes takes.
[[nodiscard]] std::uint16_t fragment_count(std::size_t total, std::size_t part_bytes_max);

/// Which parts of `message` are missing. Names the life of the sender, whose ids start again with each.
struct FragmentNeed {
  paxos::Incarnation incarnation;
  std::uint64_t boot = 0;
  std::uint64_t message = 0;
  std::uint16_t count = 0;
  std::vector<std::uint16_t> missing;  ///< ascending, not empty, each below count
  friend bool operator==(const FragmentNeed&, const FragmentNeed&) = default;
};
[[nodiscard]] std::string encode(const FragmentNeed& need);
[[nodiscard]] std::optional<FragmentNeed> decode_need(std::span<const std::byte> bytes);

struct ReassemblyBounds;

/// The receiver's half.
///
/// A message that is on its way is not displaced by others while it makes progress: two that are said again
/// at the same time, and don't fit together, would displace each other each time. What finds no room keeps a
/// place without any bytes, and is asked for, all of it, as soon as there is room: in the order in which a
/// sender began.
class Reassembly {
 public:
  /// Defaults of ReassemblyBounds.
  static constexpr std::size_t memory_max = 16U << 20;    ///< incomplete messages, all together
  static constexpr std::size_t replica_share = 4U << 20;  ///< of one replica's
  static constexpr std::size_t client_share = 1U << 20;   ///< of one client's
  static constexpr std::size_t clients_share = 4U << 20;  ///< of all clients'
  static constexpr std::size_t partials_max = 256;  ///< those that have room, and those that wait for it
  static constexpr std::size_t partials_per_sender = 64;
  static constexpr std::size_t complete_bytes_max = 4U << 20;         ///< kept to be taken again
  static constexpr std::size_t complete_max = 1024;                   ///< ids that are known to be complete
  static constexpr paxos::Duration give_up{std::chrono::seconds{2}};  ///< without a new part
  static constexpr paxos::Duration in_the_way_max{
      std::chrono::seconds{4}};  ///< it holds room that others wait for
  static constexpr paxos::Duration complete_kept{std::chrono::seconds{5}};

  static_assert(client_share >= fragmented_bytes_max + 4096, "any one message fits its sender's share");
  static_assert(clients_share + 2 * replica_share <= memory_max);

  Reassembly();
  explicit Reassembly(const ReassemblyBounds& bounds);

  struct Ask {
    Address to;
    FragmentNeed need;
  };
  enum class Result : std::uint8_t {
    incomplete,
    refused,   ///< the part doesn't fit together with itself or with what came before
    complete,  ///< `whole` holds the message; also when a probe says a complete one again
  };

  /// One part, already authenticated.
  Result add(paxos::Time now, const Identity& sender, const Address& from, std::span<const std::byte> part,
             bool probe, paxos::Bytes& whole);
  /// What is to be asked for now; forgets what is too old.
  [[nodiscard]] std::vector<Ask> tick(paxos::Time now);
  [[nodiscard]] paxos::Time deadline() const;

  struct Figures {
    std::size_t memory = 0;    ///< held by incomplete messages
    std::size_t partials = 0;  ///< those messages
    std::size_t waiting = 0;   ///< for room
    std::size_t complete_bytes = 0;
    std::uint64_t crowded = 0;  ///< waited for room, found not even a place, or gave way
    std::uint64_t timed_out = 0;
  };
  [[nodiscard]] Figures figures() const;

 private:
  using Key = std::pair<Identity, std::uint64_t>;
  struct Partial {
    Address from;
    FragmentHeader shape;                 ///< index unused
    std::uint64_t order = 0;              ///< later ones have a higher one
    std::shared_ptr<std::byte[]> buffer;  ///< none: it waits for room
    std::vector<bool> have;
    std::size_t have_count = 0;
    unsigned asked = 0;  ///< times since the last new part
    paxos::Time asked_at{};
    paxos::Time begun_at{};     ///< it has its room since
    paxos::Time progress_at{};  ///< while it waits for room: it was last heard of
    paxos::Time ask_at = paxos::time_never;
    [[nodiscard]] bool waits() const { return buffer == nullptr; }
    [[nodiscard]] std::size_t charge() const { return shape.total + sizeof(Partial) + shape.count / 8U; }
  };
  struct Complete {
    FragmentHeader shape;
    paxos::Bytes whole;  ///< empty: only known to be complete
    paxos::Time until{};
    std::list<Key>::iterator place;
  };
  using Partials = std::map<Key, Partial>;

  [[nodiscard]] paxos::RttEstimator& rtt(const Identity& sender);
  [[nodiscard]] paxos::Duration quiet(const Identity& sender);
  /// Whether there is room for one more of this sender with so many bytes, or place for one more that waits;
  /// what gives way goes for it.
  bool keep_within(paxos::Time now, bool waiting, const Identity& sender, std::size_t bytes);
  template <class Counts>
  bool keep_within(paxos::Time now, bool waiting, std::size_t number, std::size_t share, std::size_t bytes,
                   Counts counts);
  /// Gives one that waits its room; false: there is none.
  bool admit(paxos::Time now, Partials::iterator at);
  /// Those that wait, in their order: of one sender until one finds no room.
  void admit_waiting(paxos::Time now, const Identity* only = nullptr);
  [[nodiscard]] bool gives_way(paxos::Time now, Partials::const_iterator at);
  void drop(Partials::iterator at);
  Result finish(paxos::Time now, Partials::iterator at, paxos::Bytes& whole);
  void forget(const Key& key);
  /// Keeps the bytes of complete messages within their bound: the oldest lose theirs first.
  void trim_complete();

  Partials partials_;
  std::map<Key, Complete> complete_;
  std::list<Key> complete_order_;  ///< oldest first
  std::size_t complete_bytes_ = 0;
  std::size_t memory_ = 0;
  std::size_t waiting_ = 0;  ///< of partials_, those that wait for room
  std::uint64_t order_ = 0;
  std::uint64_t crowded_ = 0;
  std::uint64_t timed_out_ = 0;
  std::array<paxos::RttEstimator, paxos::limits::replicas_max + 1> rtt_;  ///< the last one is all clients'
  std::size_t memory_max_, replica_share_, client_share_, clients_share_, partials_max_, partials_per_sender_,
      complete_bytes_max_, complete_max_;
};

/// What a receiver keeps of incomplete and complete messages. Parameters, so that a simulator has small ones;
/// one message always fits, whatever they are.
struct ReassemblyBounds {
  std::size_t memory = Reassembly::memory_max;
  std::size_t replica_share = Reassembly::replica_share;
  std::size_t client_share = Reassembly::client_share;
  std::size_t clients_share = Reassembly::clients_share;
  std::size_t partials = Reassembly::partials_max;
  std::size_t partials_per_sender = Reassembly::partials_per_sender;
  std::size_t complete_bytes = Reassembly::complete_bytes_max;
  std::size_t complete = Reassembly::complete_max;
};

/// For whom a message was cut: other replicas, or one client under its key. To nobody else its parts are
/// given.
struct FragmentOwner {
  bool client = false;
  paxos::Incarnation who;
  std::uint64_t life = 0;
  chat::Credential whose;
  friend bool operator==(const FragmentOwner&, const FragmentOwner&) = default;
};

/// The sender's half: remembers for a while what was sent in parts.
class FragmentCache {
 public:
  static constexpr std::size_t memory_max = 16U << 20;
  static constexpr std::size_t addresses_max = 64;                  ///< per message
  static constexpr paxos::Duration kept{std::chrono::seconds{10}};  ///< after its last use

  using Owner = FragmentOwner;
  struct Entry {
    FragmentHeader shape;  ///< index unused
    Owner owner;
    paxos::Bytes message;
    std::size_t part_bytes_max = 0;  ///< it was cut for
    std::size_t stable_bytes = 0;
    std::uint64_t digest = 0;
    std::vector<Address> sent_to;
    paxos::Time used_at{};

    [[nodiscard]] bool was_sent_to(const Address& to) const;
    void note_sent_to(const Address& to);
  };

  /// The entry of a message whose first `stable_bytes` bytes (what identifies it) are those of `message`, cut
  /// for the same `part_bytes_max`, or a new one: what is said again to where less passes than before is
  /// another message. The entry stays valid until the next call.
  [[nodiscard]] Entry& put(paxos::Time now, std::string message, std::size_t stable_bytes,
                           std::size_t part_bytes_max, const Owner& owner = {});
  /// Nothing where it is somebody else's.
  [[nodiscard]] Entry* find(paxos::Time now, std::uint64_t id, const Owner& owner = {});
  void tick(paxos::Time now);
  [[nodiscard]] paxos::Time deadline() const;
  [[nodiscard]] std::size_t memory() const { return memory_; }

 private:
  using List = std::list<Entry>;
  Entry& touch(paxos::Time now, List::iterator at);
  void drop_oldest();

  List entries_;  ///< least recently used first
  std::unordered_map<std::uint64_t, List::iterator> by_id_;
  std::unordered_multimap<std::uint64_t, List::iterator> by_digest_;
  std::uint64_t next_id_ = 1;
  std::size_t memory_ = 0;
};

}  // namespace net
