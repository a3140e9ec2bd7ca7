#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "net/address.h"
#include "net/seal.h"
#include "paxos/bounds.h"
#include "paxos/types.h"

/// Messages above the datagram's payload, cut and put together again. Pure; bounded whatever arrives.
namespace net {

/// kind of body, then its bytes; up to this much.
inline constexpr std::size_t fragmented_bytes_max = paxos::limits::message_bytes_max + 1024;
inline constexpr std::size_t fragment_header_bytes = 8 + 4 + 2 + 2;
inline constexpr std::size_t fragments_max = 1024;

struct FragmentHeader {
  std::uint64_t message = 0;
  std::uint32_t total = 0;  ///< bytes of the whole message
  std::uint16_t index = 0;
  std::uint16_t count = 0;
};
void encode(std::string& out, const FragmentHeader& header);

/// The receiver's half: parts come in, whole messages come out, and after a quiet while the missing parts are asked for.
class Reassembly {
 public:
  static constexpr std::size_t memory_max = 16u << 20;

  struct Need {
    Address to;
    std::uint64_t message = 0;
    std::vector<std::uint16_t> missing;
  };
  enum class Result : std::uint8_t { incomplete, refused, complete };

  /// One part, already authenticated. On `complete`, `whole` holds the message. A part of a message that was
  /// complete a short while ago gives it again: its answer was lost, and the handlers are idempotent.
  Result add(paxos::Time now, const Identity& sender, const Address& from, const paxos::Bytes& part,
             paxos::Bytes& whole);
  /// What is to be asked for now.
  std::vector<Need> tick(paxos::Time now);
  [[nodiscard]] paxos::Time deadline() const;
  [[nodiscard]] std::size_t memory() const { return memory_; }

 private:
  using Key = std::pair<Identity, std::uint64_t>;
  struct Partial {
    Address from;
    FragmentHeader header;
    std::shared_ptr<std::byte[]> buffer;
    std::vector<bool> have;
    std::size_t have_count = 0;
    std::size_t part_bytes = 0;  ///< of every part but the last
    bool complete = false;
    unsigned asked = 0;
    paxos::Time ask_at{};
    std::uint64_t order = 0;
  };
  void drop(const Key& key);
  void make_room(std::size_t bytes);

  std::map<Key, Partial> partials_;
  std::map<std::uint64_t, Key> by_order_;  ///< oldest first
  std::uint64_t next_order_ = 1;
  std::size_t memory_ = 0;
};

/// The sender's half: keeps what was sent in parts for a while, so that a repeat keeps its id and only what is
/// missing is sent again.
class FragmentCache {
 public:
  static constexpr std::size_t memory_max = 8u << 20;

  struct Entry {
    std::uint64_t id = 0;
    paxos::Bytes message;
    std::set<Address> sent_to;
  };
  /// The entry for these bytes: the one it has, or a new one.
  Entry& put(std::string message);
  Entry* find(std::uint64_t id);
  void set_first_id(std::uint64_t id) { next_id_ = id; }

 private:
  struct Digest {
    std::uint64_t low = 0, high = 0;
    friend auto operator<=>(const Digest&, const Digest&) = default;
  };
  std::map<std::uint64_t, Entry> entries_;
  std::map<Digest, std::uint64_t> by_content_;
  std::deque<std::pair<std::uint64_t, Digest>> order_;
  std::uint64_t next_id_ = 1;
  std::size_t memory_ = 0;
};

/// Wire form of a Need: message id, count, bitmap of missing parts.
[[nodiscard]] std::string encode_need(const Reassembly::Need& need, std::uint16_t count);
struct DecodedNeed {
  std::uint64_t message = 0;
  std::vector<std::uint16_t> missing;
};
[[nodiscard]] std::optional<DecodedNeed> decode_need(const paxos::Bytes& bytes);

}  // namespace net
