#include "client/ctl/histogram.h"

#include <gtest/gtest.h>

#include <random>

namespace client {
namespace {

TEST(Histogram, QuantilesAreWithinABucketOfTheTruth) {
  Histogram h;
  for (std::uint64_t v = 1; v <= 100'000; ++v) h.add(v);
  EXPECT_EQ(h.count(), 100'000u);
  EXPECT_EQ(h.max(), 100'000u);
  for (const double q : {0.5, 0.9, 0.99, 0.999})
    EXPECT_NEAR(static_cast<double>(h.quantile(q)), q * 100'000, 0.05 * q * 100'000) << q;
}

TEST(Histogram, EmptyAndExtremeValuesAreFine) {
  Histogram h;
  EXPECT_EQ(h.quantile(0.5), 0u);
  h.add(0);
  h.add(UINT64_MAX / 2);
  EXPECT_EQ(h.max(), UINT64_MAX / 2);
}

}  // namespace
}  // namespace client
