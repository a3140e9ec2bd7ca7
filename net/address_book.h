#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "net/address.h"
#include "net/seal.h"
#include "paxos/env.h"
#include "paxos/types.h"

namespace net {

/// Where each replica is now: what its name stands for, what was remembered of it, and where it really speaks
/// from. Pure: no socket, no clock, no resolver. Loop thread only.
///
/// A replica that answers stays where it answers, whatever its name says meanwhile. It moves
///  1. to an address that proved itself: the newest datagram (Opened::newest) of it came from there, or its
///  name points there
///     now, so a fresh nonce was sent to that address, and came back from it. A recorded datagram has no
///     fresh nonce, and so moves nobody (WireGuard, from which roaming is taken, moves on the datagram
///     itself); nor does a name server that lies;
///  2. without a proof only while nothing is heard from where it was: then what is known is gone through, one
///  after the other.
/// A name is looked up again after 1 s, 2 s, ... 30 s while nothing is known or heard, and every 5 minutes
/// otherwise.
class AddressBook {
 public:
  static constexpr paxos::Duration silence{std::chrono::seconds{2}};  ///< asked, and not heard for so long
  static constexpr paxos::Duration probe_stray{std::chrono::milliseconds{100}};
  static constexpr paxos::Duration probe_other{std::chrono::seconds{1}};
  static constexpr paxos::Duration stray_kept{std::chrono::seconds{2}};  ///< after its newest datagram
  static constexpr paxos::Duration probe_kept{std::chrono::seconds{10}};
  static constexpr paxos::Duration lookup_min{std::chrono::seconds{1}};
  static constexpr paxos::Duration lookup_max{std::chrono::seconds{30}};
  static constexpr paxos::Duration lookup_settled{std::chrono::minutes{5}};
  static constexpr std::size_t known_max = 8;    ///< addresses of one name
  static constexpr std::size_t probes_max = 16;  ///< under way to one replica

  struct Options {
    std::vector<std::string> names;  ///< as in the config, "host:port", by replica id; empty: not known yet
    std::vector<std::optional<Address>> literals;  ///< what of them is an address; the rest are names
    std::optional<std::size_t> self;               ///< which one is ours: looked up, never asked
    bool probes = true;                            ///< false: a client, who moves on silence alone
    std::uint64_t seed = 1;
  };
  AddressBook(Options options, paxos::Time now);

  [[nodiscard]] std::size_t size() const { return peers_.size(); }
  /// Where it was when an earlier life of this program heard it last. Used until its name says something.
  void remember(std::size_t id, const Address& address);
  /// Where somebody else hears it: tried where it is not heard at its own address.
  void suggest(std::size_t id, const Address& address);
  /// Another name, or address, than before; empty: none is known, and it is found where it speaks from. Who
  /// is heard where it is stays there until it proves to be elsewhere.
  void rename(paxos::Time now, std::size_t id, std::string name);

  // --- names ---

  /// Whose names are to be looked up now; each is under way from here on.
  [[nodiscard]] std::vector<std::size_t> take_lookups(paxos::Time now);
  using Answer = tl::expected<std::vector<Address>, std::string>;
  void looked_up(paxos::Time now, std::size_t id, Answer answer);
  /// Whether a look-up that was begun has not come back.
  [[nodiscard]] bool looking_up(std::size_t id) const { return peers_[id].lookup_under_way; }
  [[nodiscard]] bool is_name(std::size_t id) const {
    return !options_.literals[id] && !options_.names[id].empty();
  }
  /// All that the name stands for now, or the literal; may be empty.
  [[nodiscard]] const std::vector<Address>& known(std::size_t id) const { return peers_[id].known; }
  /// Why it has no address, or why the last look-up failed; empty when it did not.
  [[nodiscard]] const std::string& fault(std::size_t id) const { return peers_[id].fault; }

  // --- datagrams ---

  /// Something that wants an answer was sent to where it is.
  void sent(paxos::Time now, std::size_t id);
  /// An authenticated datagram of replica `id` came, never seen before; `newest`: no later one of its boot
  /// was.
  void heard(paxos::Time now, std::size_t id, const Address& from, const Identity& sender, bool newest);
  struct Probe {
    std::size_t id = 0;
    Address to;
    std::uint64_t nonce = 0;
  };
  /// To be sent now; the nonce is to be given back from there.
  [[nodiscard]] std::vector<Probe> take_probes(paxos::Time now);
  /// It came back.
  void proved(paxos::Time now, std::size_t id, const Address& from, const Identity& sender,
              std::uint64_t nonce);
  /// Where our own socket may be opened: what our name stands for, then what it was when we listened last.
  [[nodiscard]] std::vector<Address> own_choices() const { return candidates(peers_[*options_.self]); }
  /// Our own socket is open there.
  void listens(paxos::Time now, const Address& local);

  /// Goes on to the next address where nothing is heard. To be called when deadline() has passed.
  void tick(paxos::Time now);
  [[nodiscard]] paxos::Time deadline() const;

  // --- what comes of it ---

  /// Empty: not known yet.
  [[nodiscard]] const Address& at(std::size_t id) const { return peers_[id].at; }
  /// It is somewhere else than its name, or the address in the config, says.
  [[nodiscard]] bool moved(std::size_t id) const;
  /// Addresses that are being probed belong to their replica, too.
  [[nodiscard]] std::vector<std::pair<Address, std::uint8_t>> owners() const;
  /// Grows whenever at() or owners() may have changed.
  [[nodiscard]] std::uint64_t revision() const { return revision_; }
  /// What is worth remembering: where a replica was heard, or listens itself, and its address in the config
  /// does not say it anyway.
  struct Remembered {
    std::size_t id = 0;
    std::string name;
    Address address;
    friend bool operator==(const Remembered&, const Remembered&) = default;
  };
  [[nodiscard]] std::vector<Remembered> worth_remembering() const;
  struct Event {
    enum class Kind : std::uint8_t {
      unresolved,  ///< `text` says why
      resolved,    ///< again, or at last
      moved,       ///< proved
      tried,       ///< nothing was heard where it was
    };
    Kind kind = Kind::moved;
    std::size_t id = 0;
    Address from;  ///< may be empty
    Address to;
    std::string text;
  };
  [[nodiscard]] std::vector<Event> take_events() { return std::exchange(events_, {}); }

 private:
  struct Sent {
    Address to;
    std::uint64_t nonce = 0;
    paxos::Time when{};
  };
  struct Peer {
    std::vector<Address> known;
    std::optional<Address> remembered;
    std::string fault;
    Address at;
    std::optional<paxos::Incarnation> who;   ///< was heard at `at` last
    std::optional<paxos::Time> heard_at;     ///< there
    std::optional<paxos::Time> asked_since;  ///< the first thing that it was sent since
    bool searching = false;                  ///< it was silent, and has not been heard since
    std::optional<Address> stray;            ///< its newest datagram came from here
    paxos::Time stray_until{};
    paxos::Time stray_probe_at{};
    paxos::Time other_probe_at{};
    std::vector<Sent> probes;
    paxos::Time next_try{};
    bool lookup_under_way = false;
    bool renamed = false;        ///< since the look-up that is under way began
    bool answered_once = false;  ///< its name gave something in this life
    bool complained = false;
    paxos::Time looked_at{};
    paxos::Time lookup_at = paxos::time_never;
    paxos::Duration lookup_wait = lookup_min;
  };
  [[nodiscard]] bool asked(std::size_t id) const { return id != options_.self; }
  [[nodiscard]] bool silent(const Peer& p, paxos::Time now) const;
  [[nodiscard]] std::vector<Address> candidates(const Peer& p) const;
  void move(std::size_t id, const Address& to, Event::Kind kind);
  void plan_lookup(Peer& p, paxos::Time now);

  Options options_;
  std::vector<Peer> peers_;
  std::vector<Event> events_;
  paxos::Random random_;
  std::uint64_t revision_ = 1;
};

}  // namespace net
