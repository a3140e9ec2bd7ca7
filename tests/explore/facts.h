#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "paxos/types.h"

namespace explore {

/// A broken invariant (DESIGN.md section 9): which, and what was seen.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

__extension__ using VoteSet = unsigned __int128;  ///< bits: votes that Facts has numbered
using DecreeSet = std::uint64_t;                  ///< bits: (slot, decree) that Facts has numbered

/// What a message or a replica says about what is chosen.
struct Claims {
  DecreeSet decrees = 0;       ///< these are chosen
  std::uint64_t prefix = 0;    ///< every slot up to here is chosen
  std::int16_t proposal = -1;  ///< an Accept's vote number: this is *the* decree of its (slot, ballot)
};

/// The observer's own idea of what is chosen: a quorum of disks that have ever held votes of one ballot.
/// Shares no code with the protocol; numbers the votes and decrees that it meets, so that a state is judged
/// by a few bit operations.
class Facts {
 public:
  static constexpr std::size_t votes_max = 128;
  static constexpr std::size_t decrees_max = 64;

  explicit Facts(std::size_t quorum) : quorum_(quorum) {}

  std::uint8_t vote(paxos::Slot slot, paxos::Ballot ballot, const paxos::Decree& decree);
  std::uint8_t decree(paxos::Slot slot, const paxos::Decree& decree);

  struct Chosen {
    DecreeSet decrees = 0;
    std::uint64_t prefix = 0;
  };
  /// What is chosen when the disks have ever held these votes. Throws when that breaks I1.
  [[nodiscard]] Chosen chosen(const VoteSet* votes, std::size_t replicas) const;
  /// Throws when `who` says more than that.
  void check(const char* who, const Claims& claims, const Chosen& chosen) const;
  /// Votes for another decree in the same (slot, ballot).
  [[nodiscard]] VoteSet rivals(std::size_t vote) const { return rivals_[vote]; }
  [[nodiscard]] std::string vote_text(std::size_t vote) const;
  [[nodiscard]] std::string decree_text(std::size_t decree) const;

  [[nodiscard]] static VoteSet bit(std::size_t vote) { return VoteSet{1} << vote; }

 private:
  struct Vote {
    paxos::Slot slot;
    paxos::Ballot ballot;
    std::uint8_t decree = 0;
  };
  struct SlotDecree {
    paxos::Slot slot;
    paxos::Decree decree;
  };
  std::size_t quorum_;
  std::vector<Vote> votes_;
  std::vector<SlotDecree> decrees_;
  std::array<VoteSet, votes_max> rivals_{};
  std::array<DecreeSet, decrees_max> other_decrees_{};  ///< of the same slot
};

}  // namespace explore
