#include "tests/explore/facts.h"

#include <bit>

#include "paxos/invariant.h"
#include "tests/explore/letter.h"

namespace explore {

using namespace paxos;

namespace {
template <class Visit>
void each_bit(VoteSet set, Visit&& visit) {
  for (int half = 0; half < 2; ++half)
    for (auto bits = static_cast<std::uint64_t>(set >> (64 * half)); bits != 0; bits &= bits - 1)
      visit(static_cast<std::size_t>(64 * half + std::countr_zero(bits)));
}
}  // namespace

std::uint8_t Facts::decree(Slot slot, const Decree& decree) {
  for (std::size_t i = 0; i < decrees_.size(); ++i)
    if (decrees_[i].slot == slot && decrees_[i].decree == decree) return static_cast<std::uint8_t>(i);
  const std::size_t number = decrees_.size();
  if (number == decrees_max)
    throw std::length_error("more than 64 different decrees in slots: a smaller configuration, please");
  for (std::size_t i = 0; i < number; ++i) {
    if (decrees_[i].slot != slot) continue;
    other_decrees_[i] |= DecreeSet{1} << number;
    other_decrees_[number] |= DecreeSet{1} << i;
  }
  decrees_.push_back({slot, decree});
  return static_cast<std::uint8_t>(number);
}

std::uint8_t Facts::vote(Slot slot, Ballot ballot, const Decree& decree_voted) {
  const std::uint8_t what = decree(slot, decree_voted);
  for (std::size_t i = 0; i < votes_.size(); ++i)
    if (votes_[i].slot == slot && votes_[i].ballot == ballot && votes_[i].decree == what)
      return static_cast<std::uint8_t>(i);
  const std::size_t number = votes_.size();
  if (number == votes_max)
    throw std::length_error("more than 128 different votes: a smaller configuration, please");
  for (std::size_t i = 0; i < number; ++i) {
    if (votes_[i].slot != slot || votes_[i].ballot != ballot) continue;
    rivals_[i] |= bit(number);
    rivals_[number] |= bit(i);
  }
  votes_.push_back({slot, ballot, what});
  return static_cast<std::uint8_t>(number);
}

Facts::Chosen Facts::chosen(const VoteSet* votes, std::size_t replicas) const {
  // at_least[k]: votes that k + 1 disks or more have held.
  std::array<VoteSet, limits::replicas_max> at_least{};
  for (std::size_t r = 0; r < replicas; ++r) {
    for (std::size_t k = quorum_ - 1; k > 0; --k) at_least[k] |= at_least[k - 1] & votes[r];
    at_least[0] |= votes[r];
  }
  Chosen out;
  std::uint64_t slots = 0;
  each_bit(at_least[quorum_ - 1], [&](std::size_t v) {
    out.decrees |= DecreeSet{1} << votes_[v].decree;
    slots |= std::uint64_t{1} << votes_[v].slot.n;
  });
  each_bit(at_least[0], [&](std::size_t v) {
    if ((rivals_[v] & at_least[0]) != 0)
      throw Violation("I1: two decrees were voted for in one slot and ballot, one is " + vote_text(v));
  });
  each_bit(out.decrees, [&](std::size_t d) {
    if ((other_decrees_[d] & out.decrees) != 0)
      throw Violation("I1: two decrees are chosen in one slot, one is " + decree_text(d));
  });
  out.prefix = static_cast<std::uint64_t>(std::countr_one(slots >> 1));
  return out;
}

void Facts::check(const char* who, const Claims& claims, const Chosen& chosen) const {
  if (const DecreeSet wrong = claims.decrees & ~chosen.decrees; wrong != 0)
    throw Violation(std::string("I1: ") + who + " takes for chosen what no quorum has voted for: " +
                    decree_text(static_cast<std::size_t>(std::countr_zero(wrong))));
  if (claims.prefix > chosen.prefix)
    throw Violation(std::string("I1: ") + who + " takes every slot up to " + std::to_string(claims.prefix) +
                    " for chosen, but only those up to " + std::to_string(chosen.prefix) + " are");
}

std::string Facts::vote_text(std::size_t vote) const {
  return to_string(votes_[vote].ballot) + " for " + decree_text(votes_[vote].decree);
}

std::string Facts::decree_text(std::size_t decree) const {
  return to_text(decrees_[decree].decree) + " in slot " + std::to_string(decrees_[decree].slot.n);
}

}  // namespace explore
