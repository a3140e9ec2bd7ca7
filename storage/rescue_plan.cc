#include "storage/rescue_plan.h"

#include <tuple>

namespace storage {

bool can_begin(const Standing& standing) { return standing.applied + 1 >= standing.first_slot; }

std::optional<std::size_t> best_of(std::span<const Standing> all) {
  const auto rank = [](const Standing& s) { return std::tuple(s.chosen, s.applied, s.last); };
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (can_begin(all[i]) && (!best || rank(all[i]) > rank(all[*best]))) best = i;
  return best;
}

bool helps(const Standing& other, const Standing& best) { return other.first_slot <= best.applied + 1; }

std::optional<std::size_t> standing_word(std::span<const std::optional<SlotWord>> words) {
  std::optional<std::size_t> at;
  const auto rank = [&](std::size_t i) { return std::tuple(words[i]->chosen, words[i]->ballot); };
  for (std::size_t i = 0; i < words.size(); ++i)
    if (words[i] && (!at || rank(i) > rank(*at))) at = i;
  return at;
}

}  // namespace storage
