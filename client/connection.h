#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "chat/client_messages.h"
#include "config/cluster_config.h"
#include "net/loop.h"
#include "net/transport.h"
#include "net/udp.h"

namespace client {

/// The cluster as a client sees it: config, key, one socket. Loop thread only.
class Connection {
 public:
  /// Errors are a sentence for people.
  [[nodiscard]] static tl::expected<std::unique_ptr<Connection>, std::string> open(
      net::Loop& loop, config::ClusterConfig config);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  using OnReply = std::function<void(paxos::ReplicaId, const chat::ClientReply&)>;
  void on_reply(OnReply handler) { on_reply_ = std::move(handler); }
  /// Runs at the end of each turn of the loop, before what was sent in it leaves.
  void on_turn_end(std::function<void()> hook) { turn_end_ = std::move(hook); }

  void send(paxos::ReplicaId to, const chat::ClientMessage& message);

  /// Asks until an answer comes or the time is up. `boot`: the one that is meant; 0: any.
  net::Task<std::optional<chat::OperatorAnswer>> ask(paxos::ReplicaId to, chat::OperatorCommand command,
                                                     std::uint64_t boot, std::chrono::milliseconds timeout);
  /// One page of history, from one replica, asked until it comes or the time is up.
  net::Task<std::optional<chat::HistoryReply>> history(paxos::ReplicaId to, chat::HistoryRequest request,
                                                       std::chrono::milliseconds timeout);
  /// A long poll, said again now and then: the answer may have been lost.
  net::Task<std::optional<chat::HistoryReply>> follow(paxos::ReplicaId to, chat::FollowRequest request,
                                                      std::chrono::milliseconds timeout);

  /// Ends all of the above early, now and from now on, without an answer.
  void give_up();
  [[nodiscard]] bool given_up() const { return given_up_; }

  [[nodiscard]] const config::ClusterConfig& config() const { return config_; }
  [[nodiscard]] net::Loop& loop() { return loop_; }
  /// Of payload, to that replica.
  [[nodiscard]] std::size_t datagram_bytes(paxos::ReplicaId to) const { return transport_.paths().datagram_bytes(replicas_[to.n]); }
  [[nodiscard]] std::uint64_t random();
  /// Ends receiving, so that the loop's tasks can be joined.
  net::Task<void> stop();

 private:
  Connection(net::Loop& loop, config::ClusterConfig config, std::vector<net::Address> replicas,
             net::UdpSocket socket, const config::ClusterKey& key, std::uint64_t seed);
  net::Task<void> receive();
  void end_turn();
  template <class Message>
  net::Task<std::optional<chat::HistoryReply>> ask_history(paxos::ReplicaId to, Message request,
                                                           std::chrono::milliseconds timeout,
                                                           std::chrono::milliseconds repeat);

  net::Loop& loop_;
  config::ClusterConfig config_;
  std::vector<net::Address> replicas_;
  net::UdpSocket socket_;
  net::Transport transport_;
  net::Scope scope_;
  OnReply on_reply_;
  std::function<void()> turn_end_;
  std::uint64_t random_state_;
  struct Asked {
    net::Event event;
    std::optional<chat::OperatorAnswer> answer;
    std::optional<chat::HistoryReply> history;
    explicit Asked(net::Loop& l) : event(l) {}
  };
  std::map<std::uint64_t, Asked*> asked_;
  bool given_up_ = false;
  net::TimerId timer_ = 0;
  std::vector<net::Received> received_;
};

/// Stops the connection at the end of a block, also when that ends by an exception.
class Stopping {
 public:
  Stopping(net::Loop& loop, Connection& connection) : loop_(loop), connection_(connection) {}
  ~Stopping() { loop_.run(connection_.stop()); }
  Stopping(const Stopping&) = delete;
  Stopping& operator=(const Stopping&) = delete;

 private:
  net::Loop& loop_;
  Connection& connection_;
};

}  // namespace client
