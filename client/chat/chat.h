#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/command_line.h"
#include "client/session/cluster_view.h"

/// The verbs of paxoschat: each takes its words and gives the exit code.
namespace client {

int chat_send(const std::vector<std::string>& words);
int chat_history(const std::vector<std::string>& words);
int chat_follow(const std::vector<std::string>& words);
/// Without a verb.
int chat_interactive(const std::vector<std::string>& words);
/// The chat itself, until the person leaves; `room`: as find_room() settled it. The exit code.
net::Task<int> run_chat(Connection& connection, std::string room, std::string name);

/// Says once on standard error that $TZ names no zone, where it does not.
void tell_zone_fault(const std::string& program);

/// --name, else the person's name (person.h), else nothing.
[[nodiscard]] std::string name_or_login(const std::optional<std::string>& name);

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

/// Follows a room from a message on: no gap, no repeat, whatever replica serves it; never gives up. Loop
/// thread only.
class Follower {
 public:
  struct Options {
    std::string room;
    std::optional<std::uint64_t> from;  ///< nothing: from the next message on
    std::optional<paxos::ReplicaId> first;
  };
  Follower(Connection& connection, Options options);

  /// The messages that come next, at least one; empty after stop().
  net::Task<std::vector<chat::Message>> next();
  void stop() { stopped_ = true; }
  /// Why nothing has come lately, for people; empty when all is well. Called whenever it changes.
  void on_trouble(std::function<void(const std::string&)> handler) { on_trouble_ = std::move(handler); }

 private:
  void trouble(std::string text);
  void move_on();
  net::Task<bool> find_start();
  net::Task<void> look_elsewhere();
  net::Task<void> look_at_quorum();

  Connection& connection_;
  Options options_;
  paxos::ReplicaId target_;
  std::uint64_t cursor_ = 0;  ///< the next seq; 0: not known yet
  paxos::Time looked_elsewhere_{};
  std::uint8_t elsewhere_ = 0;
  std::size_t unanswered_ = 0;
  bool stopped_ = false;
  Outage outage_;  ///< as last told
  std::string trouble_;
  std::function<void(const std::string&)> on_trouble_;
  Patience patience_;
};

}  // namespace client
