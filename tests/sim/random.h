#pragma once

#include <cstdint>

namespace sim {

/// xorshift64* over a splitmix64 seed: its own generator, so that a seed means the same run whatever the
/// standard library. Sources: Steele, Lea, Flood (OOPSLA 2014); Vigna (2016). Integers only: the same in
/// debug, release and sanitizer builds.
class Random {
 public:
  explicit Random(std::uint64_t seed) {
    std::uint64_t z = seed + 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    state_ = (z ^ (z >> 31)) | 1;
  }
  std::uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1dULL;
  }
  /// 0 <= result < bound; 0 for a bound of 0.
  std::uint64_t below(std::uint64_t bound) {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }
  /// first <= result <= last.
  std::int64_t between(std::int64_t first, std::int64_t last) {
    return first + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(last - first) + 1));
  }
  /// True in `ppm` of a million cases.
  bool chance(std::uint32_t ppm) { return ppm != 0 && below(1'000'000) < ppm; }
  /// A generator of its own, so that one part's draws don't move another's.
  Random fork() { return Random(next()); }

 private:
  std::uint64_t state_;
};

}  // namespace sim
