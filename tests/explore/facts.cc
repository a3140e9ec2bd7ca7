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

Facts::Facts(const Members& members)
    : directories_(members.directories()), change_(members.change), base_(members.base().n) {
  const auto add = [&](const Configuration& configuration) {
    Electorate electorate{.number = configuration.number, .voters = {}};
    for (std::uint8_t d = 0; d < directories_; ++d)
      if (members.votes(d, configuration.number)) electorate.voters.push_back(d);
    electorates_.push_back(std::move(electorate));
  };
  add(members.first);
  if (members.next.number != members.first.number) add(members.next);
  if (members.given) given_ |= DecreeSet{1} << decree(members.base(), *members.given);
}

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
  for (Electorate& electorate : electorates_)
    if (electorate.number == ballot.configuration) electorate.votes |= bit(number);
  return static_cast<std::uint8_t>(number);
}

Facts::Chosen Facts::chosen(const VoteSet* votes) const {
  VoteSet by_quorum = 0;
  for (const Electorate& electorate : electorates_) {
    // at_least[k]: votes that k + 1 of its disks or more have held.
    std::array<VoteSet, limits::replicas_max> at_least{};
    const std::size_t quorum = electorate.voters.size() / 2 + 1;
    for (const std::size_t d : electorate.voters) {
      const VoteSet held = votes[d] & electorate.votes;
      for (std::size_t k = quorum - 1; k > 0; --k) at_least[k] |= at_least[k - 1] & held;
      at_least[0] |= held;
    }
    by_quorum |= at_least[quorum - 1];
  }
  VoteSet held = 0;
  for (std::size_t d = 0; d < directories_; ++d) held |= votes[d];
  Chosen out{.decrees = given_, .by_next = 0, .prefix = 0};
  std::uint64_t slots = (std::uint64_t{2} << base_) - 1;
  each_bit(by_quorum, [&](std::size_t v) {
    out.decrees |= DecreeSet{1} << votes_[v].decree;
    slots |= std::uint64_t{1} << votes_[v].slot.n;
    if (electorates_.size() > 1 && votes_[v].ballot.configuration == electorates_[1].number)
      out.by_next |= DecreeSet{1} << votes_[v].decree;
  });
  each_bit(held, [&](std::size_t v) {
    if ((rivals_[v] & held) != 0)
      throw Violation("I1: two decrees were voted for in one slot and ballot, one is " + vote_text(v));
  });
  each_bit(out.decrees, [&](std::size_t d) {
    if ((other_decrees_[d] & out.decrees) != 0)
      throw Violation("I1: two decrees are chosen in one slot, one is " + decree_text(d));
  });
  if (electorates_.size() > 1) check_border(by_quorum, held);
  out.prefix = static_cast<std::uint64_t>(std::countr_one(slots >> 1));
  return out;
}

void Facts::check_border(VoteSet by_quorum, VoteSet held) const {
  const Electorate& first = electorates_[0];
  const Electorate& next = electorates_[1];
  Slot change;
  each_bit(by_quorum & first.votes, [&](std::size_t v) {
    const SlotDecree& decided = decrees_[votes_[v].decree];
    if (decided.decree == change_ && (change.none() || decided.slot < change)) change = decided.slot;
  });
  each_bit(held & next.votes, [&](std::size_t v) {
    if (change.none() || votes_[v].slot <= change)
      throw Violation("C11: a vote of a configuration that does not decide its slot: " + vote_text(v));
  });
  if (change.none()) return;
  each_bit(by_quorum & first.votes, [&](std::size_t v) {
    if (votes_[v].slot > change)
      throw Violation("C11: slot " + std::to_string(change.n) + " closed the configuration that decides " +
                      vote_text(v));
  });
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
