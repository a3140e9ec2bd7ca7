#include "chat/invisible.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "chat/unicode_tables.h"

namespace chat {

namespace {

template <std::size_t n>
bool in(const std::array<unicode::PointRange, n>& table, std::uint32_t point) {
  const auto above =
      std::upper_bound(table.begin(), table.end(), point,
                       [](std::uint32_t p, const unicode::PointRange& r) { return p < r.first; });
  return above != table.begin() && point <= std::prev(above)->last;
}

constexpr std::uint32_t joiner = 0x200d;
constexpr std::uint32_t keycap = 0x20e3;

bool variation_selector(std::uint32_t point) { return point >= 0xfe00 && point <= 0xfe0f; }
bool skin_tone(std::uint32_t point) { return point >= 0x1f3fb && point <= 0x1f3ff; }
bool keycap_base(std::uint32_t point) {
  return (point >= '0' && point <= '9') || point == '#' || point == '*';
}

}  // namespace

Character first_character(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t bytes = lead >= 0xf0 && lead <= 0xf4 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
  if (bytes == 0 || lead > 0xf4 || text.size() < bytes) return {};
  std::uint32_t point = lead & (0x7f >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((at(i) & 0xc0) != 0x80) return {};
    point = point << 6 | (at(i) & 0x3f);
  }
  static constexpr std::uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (point < least[bytes] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return {};
  return {point, bytes};
}

InvisibleScan::Step InvisibleScan::next() {
  Step step{.character = first_character(rest_)};
  const std::uint32_t point = step.character.point;
  rest_.remove_prefix(std::max<std::size_t>(step.character.bytes, 1));
  if (step.character.bytes == 0) {
    base_ = 0;
    return step;
  }
  if (point < 0x80 || !in(unicode::default_ignorable, point)) {
    // A skin tone is behind its person: what follows still belongs to that one.
    if (!(skin_tone(point) && in(unicode::pictographic, base_))) base_ = point;
    return step;
  }
  const auto followed_by = [&](auto&& fits) { return !rest_.empty() && fits(first_character(rest_)); };
  if (variation_selector(point)) {
    const bool emoji =
        in(unicode::pictographic, base_) ||
        (keycap_base(base_) && followed_by([](Character c) { return c.bytes > 0 && c.point == keycap; }));
    step.invisible = !emoji;
    return step;  // the base is still the base
  }
  if (point == joiner && in(unicode::pictographic, base_) &&
      followed_by([](Character c) { return c.bytes > 0 && in(unicode::pictographic, c.point); })) {
    base_ = 0;
    return step;
  }
  base_ = 0;
  step.invisible = true;
  return step;
}

std::string first_invisible(std::string_view text) {
  for (InvisibleScan scan(text); !scan.done();) {
    const auto step = scan.next();
    if (!step.invisible) continue;
    char name[16];
    std::snprintf(name, sizeof name, "U+%04X", static_cast<unsigned>(step.character.point));
    return name;
  }
  return {};
}

bool has_visible(std::string_view text) {
  for (InvisibleScan scan(text); !scan.done();) {
    const auto step = scan.next();
    // Before the tables: most texts begin with a letter.
    if (step.character.bytes == 0 || (step.character.point > ' ' && step.character.point < 0x7f)) return true;
    if (!step.invisible && !in(unicode::white_space, step.character.point) && step.character.point >= ' ' &&
        step.character.point != 0x7f)
      return true;
  }
  return false;
}

bool has_blank_ends(std::string_view text) {
  bool first = true;
  bool blank = false;
  for (InvisibleScan scan(text); !scan.done();) {
    const auto step = scan.next();
    blank = step.character.bytes > 0 && in(unicode::white_space, step.character.point);
    if (std::exchange(first, false) && blank) return true;
  }
  return blank;
}

}  // namespace chat
