#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "paxos/types.h"

namespace paxos {

/// Persisted: numbers are never reused.
enum class MemberRole : std::uint8_t {
  voter = 1,
  learner = 2,  ///< follows; its word counts in no quorum
  removed = 3,
};
[[nodiscard]] const char* to_string(MemberRole role);

struct Member {
  Incarnation incarnation;  ///< none: not known here
  MemberRole role = MemberRole::removed;
  std::string address;   ///< "host:port"; empty: as the config file says
  bool by_hand = false;  ///< a learner that becomes a voter when an operator says so, not by itself
  friend bool operator==(const Member&, const Member&) = default;
};

/// Who votes about which slots: the only place that counts how many make a quorum (DESIGN.md section 4).
///
/// Configuration 1 is what birth decided. Each further one is the value of a decree, which is the last slot
/// of the configuration before it; it decides the slots from the next one on, with ballots that name it, so
/// that quorums of two configurations never vote about the same slot.
struct Configuration {
  std::uint32_t number = 1;
  Slot begins{1};               ///< the first slot that it decides; not part of the decree
  std::vector<Member> members;  ///< by replica id; empty: not known here, and then nobody is one

  /// Of all voters with their first incarnations.
  [[nodiscard]] static Configuration of_birth(const std::vector<Incarnation>& incarnations);

  [[nodiscard]] const Member* find(ReplicaId id) const {
    return id.n < members.size() ? &members[id.n] : nullptr;
  }
  /// Is this directory the one that `id` stands for?
  [[nodiscard]] bool member(ReplicaId id, const Incarnation& incarnation) const {
    const Member* m = find(id);
    return m != nullptr && m->role != MemberRole::removed && m->incarnation == incarnation;
  }
  /// Does a directory stand for `id`, whatever its role?
  [[nodiscard]] bool holds(ReplicaId id) const {
    const Member* m = find(id);
    return m != nullptr && m->role != MemberRole::removed;
  }
  [[nodiscard]] bool learns(ReplicaId id) const {
    const Member* m = find(id);
    return m != nullptr && m->role == MemberRole::learner;
  }
  [[nodiscard]] bool votes(ReplicaId id) const {
    const Member* m = find(id);
    return m != nullptr && m->role == MemberRole::voter;
  }
  [[nodiscard]] bool voter(ReplicaId id, const Incarnation& incarnation) const {
    return votes(id) && member(id, incarnation);
  }
  [[nodiscard]] ReplicaSet voters() const;
  /// How many of the voters a quorum needs; more than there are, where nobody is known to vote.
  [[nodiscard]] std::size_t quorum() const { return voters().size() / 2 + 1; }
  /// Do the voters among these make one? Others count for nothing.
  [[nodiscard]] bool is_quorum(const ReplicaSet& set) const;

  /// The one after it in which `member` stands for `id`; without its `begins`. Requires that somebody is
  /// known to be a member here.
  [[nodiscard]] Configuration with(ReplicaId id, Member member) const;
  /// The same for another directory of the same member.
  [[nodiscard]] Configuration with_incarnation(ReplicaId id, const Incarnation& incarnation) const;

  friend bool operator==(const Configuration&, const Configuration&) = default;
};

/// One step from a configuration to the next one.
struct MemberChange {
  /// On the wire: numbers are never reused.
  enum class Kind : std::uint8_t {
    replace = 0,      ///< the directory that announces itself for `id`, in place of one that was lost
    add = 1,          ///< the directory that announces itself for `id`, as a learner
    promote = 2,      ///< a learner votes from then on
    remove = 3,       ///< nobody stands for `id`
    set_address = 4,  ///< where it is
  };
  Kind kind = Kind::replace;
  ReplicaId id;
  std::string address;   ///< of add and set_address; of replace: empty leaves it as it is
  bool by_hand = false;  ///< of add: it does not become a voter by itself
  friend bool operator==(const MemberChange&, const MemberChange&) = default;
};
[[nodiscard]] const char* to_string(MemberChange::Kind kind);

/// The decree that closes the configuration before `next`.
[[nodiscard]] Decree make_configuration_decree(const Configuration& next);
/// What such a decree says, without `begins`; nothing: it is another one, or does not decode.
[[nodiscard]] std::optional<Configuration> configuration_in(const Decree& decree);
/// The configuration that the slot's decree, once it is chosen, puts in the place of configuration `number`:
/// nothing where it puts none. All replicas, and each part of one, decide that here.
[[nodiscard]] std::optional<Configuration> configuration_after(std::uint32_t number, Slot slot,
                                                               const Decree& decree);

/// A configuration with `begins`, as the state keeps it.
[[nodiscard]] std::string encode_configuration(const Configuration& configuration);
[[nodiscard]] std::optional<Configuration> decode_configuration(std::string_view bytes);

}  // namespace paxos
