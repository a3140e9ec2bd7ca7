#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace client {

/// Latencies in microseconds in log buckets: 64 to each power of two, so a quantile is right within 1.6 %.
class Histogram {
 public:
  void add(std::uint64_t us) {
    ++counts_[bucket(us)];
    ++count_;
    if (us > max_) max_ = us;
  }
  /// Upper edge of the bucket that holds the share `q` of all; 0 when empty.
  [[nodiscard]] std::uint64_t quantile(double q) const {
    if (count_ == 0) return 0;
    const auto rank = static_cast<std::uint64_t>(q * static_cast<double>(count_ - 1)) + 1;
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen >= rank) return std::min(edge(i), max_);
    }
    return max_;
  }
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::uint64_t max() const { return max_; }

 private:
  static constexpr unsigned bits = 6;
  static std::size_t bucket(std::uint64_t us) {
    if (us < (1U << bits)) return us;
    const auto width = static_cast<unsigned>(std::bit_width(us)) - 1 - bits;
    return std::min<std::size_t>(
        (static_cast<std::size_t>(width + 1) << bits) + ((us >> width) & ((1U << bits) - 1)), size - 1);
  }
  static std::uint64_t edge(std::size_t bucket) {
    if (bucket < (1U << bits)) return bucket;
    const std::size_t width = (bucket >> bits) - 1;
    return ((((bucket & ((1U << bits) - 1)) | (1U << bits)) + 1) << width) - 1;
  }
  static constexpr std::size_t size = 40U << bits;
  std::array<std::uint64_t, size> counts_{};
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace client
