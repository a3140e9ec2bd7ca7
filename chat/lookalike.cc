#include "chat/lookalike.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include "chat/invisible.h"
#include "chat/lookalike_tables.inc"

namespace chat {

namespace {

using namespace lookalike;

static_assert(growth_max <= lookalike_growth_max);
static_assert(std::ranges::is_sorted(folded_runs, {}, &Run::first));
static_assert(std::ranges::is_sorted(shape_runs, {}, &Run::first));
static_assert(std::ranges::is_sorted(mark_ranges, {}, &MarkRange::first));

enum class Key : bool { folded, shape };

/// The last that begins at `point` or before; nullptr: none.
template <class Row, std::size_t n>
constexpr const Row* row_before(const std::array<Row, n>& rows, char32_t point) {
  const auto above = std::ranges::upper_bound(rows, point, {}, &Row::first);
  return above == rows.begin() ? nullptr : &*std::prev(above);
}

template <std::size_t n>
constexpr const Run* run_of(const std::array<Run, n>& runs, char32_t point) {
  const Run* run = row_before(runs, point);
  return run != nullptr && point - run->first < run->count ? run : nullptr;
}

/// Calls take(code point) for all that `point` becomes.
template <class Take>
constexpr void for_image(Key key, char32_t point, Take&& take) {
  const Run* run = key == Key::shape ? run_of(shape_runs, point) : nullptr;
  if (run == nullptr) run = run_of(folded_runs, point);
  if (run == nullptr) return take(point);
  const std::size_t at = run->at + (point - run->first) * run->length;
  for (std::size_t i = at; i < at + run->length; ++i) take(pool[i]);
}

/// What one ASCII character becomes, which is ASCII too.
struct AsciiImage {
  std::array<char, 3> bytes{};
  std::uint8_t length = 0;
};

constexpr std::array<AsciiImage, 128> ascii_images(Key key) {
  std::array<AsciiImage, 128> images{};
  for (char32_t point = 0; point < images.size(); ++point)
    for_image(key, point, [&, &image = images[point]](char32_t p) {
      // A throw does not compile here.
      if (p >= 0x80 || image.length == image.bytes.size()) throw "more than AsciiImage holds";
      image.bytes[image.length++] = static_cast<char>(p);
    });
  return images;
}

constexpr std::array<AsciiImage, 128> ascii_folded = ascii_images(Key::folded);
constexpr std::array<AsciiImage, 128> ascii_shape = ascii_images(Key::shape);

bool is_ascii(std::string_view text) {
  unsigned char all = 0;
  for (const char c : text) all |= static_cast<unsigned char>(c);
  return all < 0x80;
}

std::string ascii_key(const std::array<AsciiImage, 128>& images, std::string_view name) {
  std::string out;
  out.reserve(name.size());
  bool blank = false;
  for (const char c : name) {
    if (c == ' ') {
      blank = !out.empty();
      continue;
    }
    if (std::exchange(blank, false)) out += ' ';
    const AsciiImage& image = images[static_cast<unsigned char>(c)];
    out.append(image.bytes.data(), image.length);
  }
  return out;
}

/// Canonical_Combining_Class. 0: no mark that ordering moves.
std::uint8_t order_of(char32_t point) {
  if (point < mark_ranges.front().first) return 0;
  const MarkRange* range = row_before(mark_ranges, point);
  return point <= range->last ? range->order : 0;
}

struct Point {
  char32_t point = 0;
  std::uint8_t order = 0;
};
using Points = std::vector<Point>;

void append_image(Key key, char32_t point, Points& out) {
  const auto image = [&](char32_t p) {
    for_image(key, p, [&](char32_t q) { out.push_back({.point = q, .order = order_of(q)}); });
  };
  // The Unicode Standard, section 3.12, "Hangul Syllable Decomposition".
  constexpr char32_t syllables = 0xac00;
  constexpr char32_t leads = 0x1100;
  constexpr char32_t vowels = 0x1161;
  constexpr char32_t trails = 0x11a7;
  if (point < syllables || point >= syllables + 11172) return image(point);
  const char32_t index = point - syllables;
  image(leads + index / 588);
  image(vowels + index % 588 / 28);
  if (index % 28 != 0) image(trails + index % 28);
}

void order_marks(Points& points) {
  const auto is_mark = [](const Point& p) { return p.order != 0; };
  for (auto begin = points.begin(); begin != points.end();) {
    begin = std::find_if(begin, points.end(), is_mark);
    const auto end = std::find_if_not(begin, points.end(), is_mark);
    // By code point too: whoever puts the same marks the other way round has no other name.
    std::sort(begin, end, [](const Point& a, const Point& b) {
      return std::pair(a.order, a.point) < std::pair(b.order, b.point);
    });
    begin = end;
  }
}

void append_utf8(char32_t point, std::string& out) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (point >> shift & 0x3f)); };
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xc0 | point >> 6);
    tail(0);
  } else if (point < 0x10000) {
    out += static_cast<char>(0xe0 | point >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xf0 | point >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

std::string written(const Points& points) {
  constexpr char32_t dot_above = 0x307;
  std::string out;
  bool blank = false;
  bool dotted = false;  // the last that is no mark
  for (auto [point, order] : points) {
    if (order != 0) {
      const auto late = std::ranges::find(late_marks, point, &LateMark::mark);
      if (late != late_marks.end()) {
        point = late->image;
        order = 0;
      }
    }
    if (order == 0) dotted = point == 'i' || point == 'j';
    if (point == ' ') {
      blank = !out.empty();
      continue;
    }
    if (point == dot_above && dotted) continue;
    if (std::exchange(blank, false)) out += ' ';
    append_utf8(point, out);
  }
  return out;
}

std::string key_of(Key key, std::string_view name) {
  constexpr char32_t replacement = 0xfffd;
  Points points;
  points.reserve(name.size());
  for (std::string_view rest = name; !rest.empty();) {
    const Character c = first_character(rest);
    append_image(key, c.bytes > 0 ? c.point : replacement, points);
    rest.remove_prefix(std::max<std::size_t>(c.bytes, 1));
  }
  order_marks(points);
  return written(points);
}

}  // namespace

LookalikeKeys lookalike_keys(std::string_view name) {
  if (is_ascii(name)) return {.folded = ascii_key(ascii_folded, name), .shape = ascii_key(ascii_shape, name)};
  return {.folded = key_of(Key::folded, name), .shape = key_of(Key::shape, name)};
}

}  // namespace chat
