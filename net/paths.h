#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "net/address.h"
#include "paxos/types.h"

/// What the way to each address carries: how large a datagram may be, and whether the kernel may cut a buffer
/// into them (GSO). Pure; bounded. Loop thread only.
///
/// Two things teach it. A send that the kernel *refuses* (EMSGSIZE, EINVAL, EIO) says that the way is
/// narrower than it was taken for, or that its device cuts nothing. What is *swallowed* without a word,
/// because a router's answer is lost or a firewall drops fragments, is found as RFC 8899 (Datagram
/// Packetization Layer Path MTU Discovery) finds it: by probes that are acknowledged. They go in pairs, a
/// tiny one and one of the size in doubt: when the tiny ones are answered and none of the large ones is, the
/// size does not get through. When nothing is answered, nobody is there, and nothing follows. More than
/// default_datagram_bytes is used only where a probe has shown that it passes.
namespace net {

/// Payload of a datagram: what IPv6 carries everywhere (1,280 bytes less its header and UDP's), and what
/// loopback does.
inline constexpr std::size_t default_datagram_bytes = 1232;
inline constexpr std::size_t loopback_datagram_bytes = 60 * 1024;
/// What every IPv4 host takes (576 bytes, less a longest header and UDP's).
inline constexpr std::size_t datagram_bytes_least = 508;

/// The kernel did not take a send.
struct Refusal {
  Address to;
  int error = 0;           ///< errno
  std::size_t bytes = 0;   ///< of one datagram
  bool segmented = false;  ///< the kernel should have cut a buffer into datagrams of that size
};

class Paths {
 public:
  static constexpr std::size_t others_max = 256;    ///< addresses that are not a replica's
  static constexpr std::size_t small_back_min = 4;  ///< answered tiny probes that condemn an unanswered size
  static constexpr unsigned pairs_max = 30;         ///< then nobody is there
  static constexpr paxos::Duration pair_every{std::chrono::milliseconds{100}};
  static constexpr paxos::Duration doubt_every{
      std::chrono::seconds{1}};  ///< a confirmation that young is believed
  static constexpr paxos::Duration confirm_every{
      std::chrono::seconds{5}};  ///< a size in use is looked at again
  static constexpr paxos::Duration raise_after{
      std::chrono::seconds{60}};  ///< what was swallowed is tried again
  static constexpr paxos::Duration forget_after{
      std::chrono::minutes{10}};  ///< what was refused is tried again
  static constexpr paxos::Duration settled_after{
      std::chrono::seconds{1}};  ///< a change that holds so long is told

  struct Options {
    std::size_t datagram_bytes = default_datagram_bytes;  ///< never more than that
    std::size_t loopback_bytes = 0;                       ///< on loopback, without any probe; 0: as elsewhere
  };
  explicit Paths(Options options) : options_(options) {}

  /// Another largest size from now on.
  void set_datagram_bytes(std::size_t bytes);
  /// Of the replicas that answer probes: more than default_datagram_bytes may be tried with them, and what is
  /// in use is confirmed.
  void set_peers(std::vector<Address> peers);

  [[nodiscard]] std::size_t datagram_bytes(const Address& to) const;
  /// Whether the kernel may cut buffers for it.
  [[nodiscard]] bool segments(const Address& to) const;

  void refused(paxos::Time now, const Refusal& refusal);
  /// Something had to be said again to an address that answers probes.
  void doubt(paxos::Time now, const Address& to);
  /// A datagram of that size was sent.
  void used(paxos::Time now, const Address& to, std::size_t bytes);
  void answered(paxos::Time now, std::uint64_t probe, std::size_t bytes);

  struct Probe {
    Address to;
    std::uint64_t id = 0;
    std::size_t bytes = 0;  ///< of the datagram; 0: as few as it takes
  };
  [[nodiscard]] std::vector<Probe> tick(paxos::Time now);
  [[nodiscard]] paxos::Time deadline() const { return deadline_; }

  /// A path that carries something else than it was said to, and has for a while.
  struct Change {
    Address to;
    std::size_t before = 0;
    std::size_t bytes = 0;
    bool segments = true;
    bool swallowed = false;  ///< found out by probes; else refused by the kernel
  };
  [[nodiscard]] std::vector<Change> take_changes();

 private:
  struct Path {
    std::size_t bytes = 0;
    bool segments = true;
    std::size_t refused_at = 0;  ///< the kernel refused that much, until `forget_at`; 0: nothing
    paxos::Time forget_at = paxos::time_never;
    std::uint64_t probe = 0;  ///< under way; 0: none
    std::size_t probed = 0;   ///< its size
    std::size_t resume = 0;   ///< a search that gave way goes on here; 0: at the largest
    unsigned pairs = 0;
    std::size_t small_back = 0;
    paxos::Time small_back_at{};  ///< when they were enough
    paxos::Time pair_at = paxos::time_never;
    paxos::Time search_at = paxos::time_never;  ///< then more than `bytes` is tried
    paxos::Time confirmed_at = paxos::Time::min();
    std::size_t told = 0;
    bool told_segments = true;
    bool swallowed = false;
    paxos::Time tell_at = paxos::time_never;
    paxos::Time touched_at{};
  };

  [[nodiscard]] std::size_t first_bytes(const Address& to) const;
  [[nodiscard]] bool is_peer(const Address& to) const;
  [[nodiscard]] bool is_exempt(const Address& to) const {
    return options_.loopback_bytes != 0 && to.is_loopback();
  }
  [[nodiscard]] std::size_t most(const Address& to, const Path& path) const;
  Path& path(paxos::Time now, const Address& to);
  void changed(paxos::Time now, Path& path);
  void begin(paxos::Time now, Path& path, std::size_t bytes);
  void end(Path& path);
  void confirm(paxos::Time now, Path& path, paxos::Duration every);
  void passes(paxos::Time now, const Address& to, Path& path);
  void fails(paxos::Time now, const Address& to, Path& path);
  void wake(paxos::Time at) { deadline_ = std::min(deadline_, at); }

  Options options_;
  std::vector<Address> peers_;
  std::map<Address, Path> paths_;
  std::vector<Change> changes_;
  std::uint64_t last_probe_ = 0;
  paxos::Time deadline_ = paxos::time_never;
};

}  // namespace net
