#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "client/session/cluster_view.h"
#include "client/terminal/screen.h"

/// What `paxosctl top` makes of consecutive answers. Pure: told the time.
namespace client {

/// Eight heights, U+2581 to U+2588, of `values` against the largest; what is not known is a blank.
[[nodiscard]] std::string sparkline(const std::vector<std::optional<double>>& values);

/// Mean and 99th percentile of what lies between two readings of a status answer's `<name>_us_total` and
/// `<name>_us_buckets` (bounds: `latency_bounds_us`); nothing when there was none, or the replica began anew.
struct Latency {
  double us_mean = 0;
  double us_p99 = 0;  ///< an estimate within its bucket, which is an octave wide
};
[[nodiscard]] std::optional<Latency> latency_between(const Json& before, const Json& now,
                                                     const std::string& name);

/// One replica's answers over the last minute.
class TopReplica {
 public:
  static constexpr paxos::Duration shown = std::chrono::seconds{60};
  static constexpr std::size_t samples_max = 1200;

  /// `answer`: nothing when none came in time.
  void take(paxos::Time at, std::optional<Json> answer);
  /// Forgets all but the last answer.
  void reset();

  [[nodiscard]] const std::optional<Json>& answer() const { return answer_; }
  [[nodiscard]] bool asked() const { return asked_; }
  [[nodiscard]] std::optional<double> slots_per_second() const { return rate_; }
  [[nodiscard]] const std::optional<Latency>& commit() const { return commit_; }
  [[nodiscard]] const std::optional<Latency>& sync() const { return sync_; }
  /// `columns` equal parts of the last minute, the newest last.
  [[nodiscard]] std::vector<std::optional<double>> rates(paxos::Time now, std::size_t columns) const;
  /// Commit latency where it leads, else its syncs'; in us.
  [[nodiscard]] std::vector<std::optional<double>> latencies(paxos::Time now, std::size_t columns) const;

 private:
  struct Sample {
    paxos::Time at;
    std::optional<double> rate;
    std::optional<double> us;
  };
  template <class Pick>
  [[nodiscard]] std::vector<std::optional<double>> parts(paxos::Time now, std::size_t columns,
                                                         Pick pick) const;

  bool asked_ = false;
  paxos::Time at_{};
  std::optional<Json> answer_;
  std::optional<double> rate_;
  std::optional<Latency> commit_, sync_;
  std::deque<Sample> samples_;
};

class Top {
 public:
  explicit Top(config::ClusterConfig config)
      : config_(std::move(config)), replicas_(config_.replicas.size()) {}

  [[nodiscard]] TopReplica& replica(paxos::ReplicaId id) { return replicas_[id.n]; }
  void reset();
  /// As status --json has it, from the last answers.
  [[nodiscard]] Json status() const;
  /// One sample as `top --json` prints it.
  [[nodiscard]] Json json() const;
  /// The whole view, at least 80 columns wide if there is room.
  [[nodiscard]] std::vector<ScreenLine> lines(paxos::Time now, std::size_t columns, bool keys) const;

 private:
  [[nodiscard]] std::vector<std::string> notes(const Json& all, const Outage& outage, bool told) const;

  config::ClusterConfig config_;
  std::vector<TopReplica> replicas_;
};

}  // namespace client
