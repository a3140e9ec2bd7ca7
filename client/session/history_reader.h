#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "client/session/connection.h"

/// A room's history, page by page.
namespace client {

/// How long one replica has for an answer before the next is asked: a round trip may be long, so each silence
/// of all doubles it, up to `most`; an answer that comes fast makes it short again. A linearizable read takes
/// up to three round trips.
class Patience {
 public:
  static constexpr unsigned most = 8;  ///< times the first
  explicit Patience(std::chrono::milliseconds first) : first_(first) {}
  [[nodiscard]] std::chrono::milliseconds now() const { return first_ * factor_; }
  void silent(std::size_t replicas) {
    if (++silences_ % replicas == 0) factor_ = std::min(factor_ * 2, most);
  }
  void answered(paxos::Duration took) {
    silences_ = 0;
    if (took < first_ / 2) factor_ = 1;
  }

 private:
  std::chrono::milliseconds first_;
  unsigned factor_ = 1;
  std::size_t silences_ = 0;
};

/// Reads a room's history page by page: from one replica, or, unless pinned, from the next when one does not
/// answer. Loop thread only.
class HistoryReader {
 public:
  struct Options {
    std::string room;
    std::uint64_t from = 1;
    std::uint32_t last = 0;  ///< instead of `from`, when not 0
    bool local = false;
    std::optional<paxos::ReplicaId> first;
    bool pinned = false;
    std::chrono::milliseconds timeout{10'000};  ///< for each page; milliseconds::max(): never gives up
  };
  HistoryReader(Connection& connection, Options options);

  /// The next page (maybe empty), or why there is none. `limit`: at most so many messages; 0: what a page
  /// holds.
  net::Task<tl::expected<chat::HistoryPage, std::string>> next(std::uint32_t limit);
  /// The page that next() gave was the last one.
  [[nodiscard]] bool done() const { return done_; }
  /// Why nothing has come so far, for people.
  [[nodiscard]] const std::string& trouble() const { return trouble_; }

 private:
  Connection& connection_;
  Options options_;
  paxos::ReplicaId target_;
  std::uint64_t from_;
  bool done_ = false;
  bool started_ = false;
  std::string trouble_;
  Patience patience_;
};

}  // namespace client
