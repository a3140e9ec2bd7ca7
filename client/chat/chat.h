#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/command_line.h"
#include "client/session/cluster_view.h"
#include "client/session/history_reader.h"

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

/// Messages of a room that it keeps no more.
struct Forgotten {
  std::string room;
  std::uint64_t from = 0;
  std::uint64_t to = 0;  ///< this one included
};
/// In place of them, in what is read by programs and by people.
[[nodiscard]] Json to_json(const Forgotten& forgotten);
[[nodiscard]] std::string to_line(const Forgotten& forgotten);

/// Follows a room from a message on: no gap but what the room has forgotten, no repeat, whatever replica
/// serves it; never gives up. Loop thread only.
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
  /// These were asked for, and the room has forgotten them: called before the next messages come.
  void on_forgotten(std::function<void(const Forgotten&)> handler) { on_forgotten_ = std::move(handler); }

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
  paxos::ReplicaId elsewhere_{};
  std::size_t unanswered_ = 0;
  bool stopped_ = false;
  Outage outage_;  ///< as last told
  std::string trouble_;
  std::function<void(const std::string&)> on_trouble_;
  std::function<void(const Forgotten&)> on_forgotten_;
  Patience patience_;
};

}  // namespace client
