#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <compare>
#include <cstdint>
#include <string>

#include "paxos/bounds.h"
#include "paxos/bytes.h"

namespace paxos {

/// A position in the replicated log: 1, 2, 3, …; 0 means none.
struct Slot {
  std::uint64_t n = 0;

  friend auto operator<=>(const Slot&, const Slot&) = default;
  friend Slot operator+(Slot slot, std::uint64_t count) { return {slot.n + count}; }
  /// Slots between; requires a >= b.
  friend std::uint64_t operator-(Slot a, Slot b) { return a.n - b.n; }
  Slot& operator++() {
    ++n;
    return *this;
  }
  [[nodiscard]] bool none() const { return n == 0; }
};

/// Which replica of the cluster's config, 0 to 254.
struct ReplicaId {
  std::uint8_t n = 0;
  friend auto operator<=>(const ReplicaId&, const ReplicaId&) = default;
};

/// A proposal number, totally ordered, owned by one replica of one configuration: compared by configuration,
/// then round, then replica. Round 0 is below every real ballot of its configuration.
/// Source: Lamport, Paxos Made Simple (2001), section 2.2: proposers choose from disjoint sets.
struct Ballot {
  std::uint64_t round = 0;
  ReplicaId replica{};
  std::uint32_t configuration = 1;  ///< that its quorum is of (paxos/configuration.h)

  friend bool operator==(const Ballot&, const Ballot&) = default;
  friend std::strong_ordering operator<=>(const Ballot& a, const Ballot& b) {
    if (a.configuration != b.configuration) return a.configuration <=> b.configuration;
    if (a.round != b.round) return a.round <=> b.round;
    return a.replica <=> b.replica;
  }
  [[nodiscard]] bool none() const { return round == 0; }
};

/// Random name of one life of a data directory; all zero means unknown.
struct Incarnation {
  std::array<std::uint8_t, 16> bytes{};
  friend auto operator<=>(const Incarnation&, const Incarnation&) = default;
  [[nodiscard]] bool none() const { return *this == Incarnation{}; }
};

/// One start of a directory.
struct Life {
  std::uint64_t boot = 0;    ///< its number, synced before its first word
  std::uint64_t number = 0;  ///< random; 0: the first datagram format, which has none
  friend auto operator<=>(const Life&, const Life&) = default;
};

/// Which life of which directory a message is from.
struct Origin {
  Incarnation incarnation;
  Life life;

  Origin() = default;
  /// Of an unknown life.
  Origin(const Incarnation& of) : incarnation(of) {}  // NOLINT(google-explicit-constructor)
  Origin(const Incarnation& of, std::uint64_t boot, std::uint64_t number)
      : incarnation(of), life{boot, number} {}
  friend auto operator<=>(const Origin&, const Origin&) = default;
};

/// 128 bits of the hash chain over slot, decree and outcomes (DESIGN.md section 4).
struct Hash {
  std::array<std::uint8_t, 16> bytes{};
  friend auto operator<=>(const Hash&, const Hash&) = default;
};

/// The core's clock: monotonic nanoseconds that the caller passes in; nothing here reads a clock.
struct CoreClock {
  using rep = std::int64_t;
  using period = std::nano;
  using duration = std::chrono::nanoseconds;
  using time_point = std::chrono::time_point<CoreClock, duration>;
  static constexpr bool is_steady = true;
};
using Time = CoreClock::time_point;
using Duration = CoreClock::duration;
inline constexpr Time time_never = Time::max();

/// Persisted: numbers are never reused. `rules` raises the rules by which commands are applied
/// (chat/versions.h); what its value means is the state machine's business, as with commands.
/// `configuration` is the last slot of its configuration: its value is the next one (paxos/configuration.h).
enum class DecreeKind : std::uint8_t { noop = 1, commands = 2, rules = 3, configuration = 4 };

/// What a slot decides: a batch of commands, opaque to the protocol, or a no-op.
struct Decree {
  DecreeKind kind = DecreeKind::noop;
  Bytes value;  ///< empty for a no-op

  friend bool operator==(const Decree&, const Decree&) = default;
};

/// Slots first..last, both included.
struct SlotRange {
  Slot first;
  Slot last;
  friend auto operator<=>(const SlotRange&, const SlotRange&) = default;
};

struct ChosenDecree {
  Slot slot;
  Ballot ballot;  ///< the ballot under which this replica knows it; may differ between replicas
  Decree decree;
  friend bool operator==(const ChosenDecree&, const ChosenDecree&) = default;
};

/// What a replica's disk has room for. Storage keeps a reserve, so that it is told before a write fails
/// (storage/space.h).
enum class DiskRoom : std::uint8_t {
  enough,
  reserve,  ///< it is full: what is under way can be finished from the reserve, and nothing else
  none,     ///< the reserve is used up, but for what a promise needs
};
[[nodiscard]] const char* to_string(DiskRoom room);

/// A set of replicas by position in the config.
class ReplicaSet {
 public:
  void insert(ReplicaId id) { bits_ |= std::uint64_t{1} << id.n; }
  void erase(ReplicaId id) { bits_ &= ~(std::uint64_t{1} << id.n); }
  void clear() { bits_ = 0; }
  [[nodiscard]] bool contains(ReplicaId id) const { return (bits_ >> id.n & 1) != 0; }
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(std::popcount(bits_)); }
  friend bool operator==(const ReplicaSet&, const ReplicaSet&) = default;
  friend ReplicaSet operator&(ReplicaSet a, const ReplicaSet& b) {
    a.bits_ &= b.bits_;
    return a;
  }

 private:
  std::uint64_t bits_ = 0;
};

[[nodiscard]] inline std::string to_string(Ballot b) {
  const std::string of = b.configuration == 1 ? std::string() : std::to_string(b.configuration) + ":";
  return of + std::to_string(b.round) + "." + std::to_string(b.replica.n);
}
[[nodiscard]] const char* to_string(DecreeKind kind);
[[nodiscard]] std::string to_hex(std::span<const std::uint8_t> bytes);
[[nodiscard]] inline std::string to_string(const Hash& h) { return to_hex(h.bytes); }
[[nodiscard]] inline std::string to_string(const Incarnation& i) { return to_hex(i.bytes); }

}  // namespace paxos
