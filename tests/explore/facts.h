#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "paxos/types.h"
#include "tests/explore/members.h"

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
/// Those of the voters of that ballot's configuration count, and no others. Shares no code with the protocol;
/// numbers the votes and decrees that it meets, so that a state is judged by a few bit operations.
class Facts {
 public:
  static constexpr std::size_t votes_max = 128;
  static constexpr std::size_t decrees_max = 64;

  explicit Facts(const Members& members);

  std::uint8_t vote(paxos::Slot slot, paxos::Ballot ballot, const paxos::Decree& decree);
  std::uint8_t decree(paxos::Slot slot, const paxos::Decree& decree);

  struct Chosen {
    DecreeSet decrees = 0;
    DecreeSet by_next = 0;  ///< of those the ones that the configuration after the change decided
    std::uint64_t prefix = 0;
  };
  /// What is chosen when the disks of all directories have ever held these votes. Throws when that breaks I1,
  /// or C11.
  [[nodiscard]] Chosen chosen(const VoteSet* votes) const;
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
  /// Who decides with ballots of one configuration.
  struct Electorate {
    std::uint32_t number = 0;
    std::vector<std::size_t> voters;  ///< directories
    VoteSet votes = 0;                ///< at ballots of this configuration
  };
  /// C11: nothing is decided by the first one above the change, nor voted for by the next one up to there.
  void check_border(VoteSet by_quorum, VoteSet held) const;

  std::size_t directories_;
  std::vector<Electorate> electorates_;  ///< the first configuration's, and the next one's where there is one
  paxos::Decree change_;
  DecreeSet given_ = 0;     ///< chosen before the search begins
  std::uint64_t base_ = 0;  ///< its slots
  std::vector<Vote> votes_;
  std::vector<SlotDecree> decrees_;
  std::array<VoteSet, votes_max> rivals_{};
  std::array<DecreeSet, decrees_max> other_decrees_{};  ///< of the same slot
};

}  // namespace explore
