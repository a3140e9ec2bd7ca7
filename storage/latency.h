#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace storage {

/// How often something took how long, in fixed buckets, 1-2-5 steps from 20 us to 10 s. Any thread; counts of
/// one figures() may be of slightly different moments.
class Latency {
 public:
  /// Upper bounds, inclusive; above the last one comes one more bucket without a bound.
  static constexpr std::array<std::int64_t, 18> bounds_ns{
      20'000,      50'000,      100'000,       200'000,       500'000,       1'000'000,
      2'000'000,   5'000'000,   10'000'000,    20'000'000,    50'000'000,    100'000'000,
      200'000'000, 500'000'000, 1'000'000'000, 2'000'000'000, 5'000'000'000, 10'000'000'000};

  struct Figures {
    std::array<std::uint64_t, bounds_ns.size() + 1> counts{};  ///< by bucket, not cumulative
    std::uint64_t sum_ns = 0;
  };

  /// A negative duration counts as none.
  void add(std::int64_t ns) {
    ns = std::max<std::int64_t>(ns, 0);
    const auto bucket = std::lower_bound(bounds_ns.begin(), bounds_ns.end(), ns) - bounds_ns.begin();
    counts_[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
    sum_ns_.fetch_add(static_cast<std::uint64_t>(ns), std::memory_order_relaxed);
  }

  [[nodiscard]] Figures figures() const {
    Figures out;
    for (std::size_t i = 0; i < counts_.size(); ++i)
      out.counts[i] = counts_[i].load(std::memory_order_relaxed);
    out.sum_ns = sum_ns_.load(std::memory_order_relaxed);
    return out;
  }

 private:
  std::array<std::atomic<std::uint64_t>, bounds_ns.size() + 1> counts_{};
  std::atomic<std::uint64_t> sum_ns_{0};
};

}  // namespace storage
