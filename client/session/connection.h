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
#include "client/session/members.h"
#include "config/cluster_config.h"
#include "net/address_book.h"
#include "net/loop.h"
#include "net/resolver.h"
#include "net/transport.h"
#include "net/udp.h"

namespace client {

/// The cluster as a client sees it: config, key, one socket. Names are looked up beside the loop, again and
/// again: a replica whose name does not resolve is one that does not answer, and fault() says why. Loop
/// thread only.
class Connection {
 public:
  /// Waits until each name is looked up, for a moment at most. Errors are a sentence for people.
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

  /// Why nothing can be said to this replica, for people: it speaks only datagram formats that this program
  /// does not know, or the other way round. Empty: no such trouble.
  [[nodiscard]] std::string version_trouble(paxos::ReplicaId replica) const;

  /// Asks until an answer comes or the time is up, which begins anew where the replica is new to us and has
  /// just said hello. `target`: the life that is meant, which whatever acts must name; none: any. Its replica
  /// is `to`.
  net::Task<std::optional<chat::OperatorAnswer>> ask(paxos::ReplicaId to, chat::OperatorCommand command,
                                                     chat::Target target, std::chrono::milliseconds timeout);
  /// One page of history, from one replica, asked until it comes or the time is up.
  net::Task<std::optional<chat::HistoryReply>> history(paxos::ReplicaId to, chat::HistoryRequest request,
                                                       std::chrono::milliseconds timeout);
  /// A long poll, said again now and then: the answer may have been lost.
  net::Task<std::optional<chat::HistoryReply>> follow(paxos::ReplicaId to, chat::FollowRequest request,
                                                      std::chrono::milliseconds timeout);

  /// A page of the list of rooms; who is in one. A replica of rules 1 does not know either, and never
  /// answers.
  net::Task<std::optional<chat::RoomsReply>> rooms(paxos::ReplicaId to, chat::RoomsRequest request,
                                                   std::chrono::milliseconds timeout);
  net::Task<std::optional<chat::WhoReply>> who(paxos::ReplicaId to, chat::WhoRequest request,
                                               std::chrono::milliseconds timeout);

  /// Who belongs to the cluster, by a replica's word: from now on config() says it, too. An older word than
  /// the last one is passed over.
  void know(const ClusterMembers& members);
  /// Asks for that now and then, and soon after wonder(), until the connection is given up. To be called
  /// once.
  void keep_learning_members();
  /// Somebody spoke of a replica that is not known here.
  void wonder() { wondering_.notify(); }
  /// Runs when config() says something else than before.
  void on_members(std::function<void()> handler) { on_members_ = std::move(handler); }

  /// Ends all of the above early, now and from now on, without an answer.
  void give_up();
  [[nodiscard]] bool given_up() const { return given_up_; }

  [[nodiscard]] const config::ClusterConfig& config() const { return config_; }
  [[nodiscard]] net::Loop& loop() { return loop_; }
  /// Why its name gives no address; empty where there is one.
  [[nodiscard]] std::string fault(paxos::ReplicaId id) const;
  /// Where it is asked, in words; empty where nothing is known.
  [[nodiscard]] std::string address_in_use(paxos::ReplicaId id) const;
  /// Of payload, to that replica.
  [[nodiscard]] std::size_t datagram_bytes(paxos::ReplicaId to) const {
    return transport_.paths().datagram_bytes(book_.at(to.n));
  }
  [[nodiscard]] std::uint64_t random();
  /// The key that it speaks under, and the name that this key posts under alone; empty: under any.
  [[nodiscard]] const chat::Credential& whose() const { return whose_; }
  [[nodiscard]] const std::string& key_name() const { return key_name_; }
  /// Ends receiving, so that the loop's tasks can be joined.
  net::Task<void> stop();

 private:
  Connection(net::Loop& loop, config::ClusterConfig config, net::AddressBook book, net::UdpSocket socket,
             net::Secret key, const chat::Credential& whose, std::uint64_t seed);
  net::Task<void> first_lookups();
  net::Task<void> learn_again();
  void begin_lookups();
  void carry_addresses();
  void take_addresses();
  /// It has said hello, and was answered: a round trip that is not part of the time for an answer.
  [[nodiscard]] bool knows(paxos::ReplicaId replica) const { return transport_.terms(replica).version != 0; }
  /// Something that wants an answer.
  void send_body(paxos::ReplicaId to, const net::Body& body);
  net::Task<void> receive();
  void end_turn();
  template <class Answer, class Message>
  net::Task<std::optional<Answer>> ask_client(paxos::ReplicaId to, Message request,
                                              std::chrono::milliseconds timeout,
                                              std::chrono::milliseconds repeat);

  net::Loop& loop_;
  config::ClusterConfig config_;
  net::AddressBook book_;
  std::uint64_t addresses_taken_ = UINT64_MAX;  ///< the book's revision
  std::unique_ptr<net::Resolver> resolver_;     ///< none where no name stands in the config
  net::UdpSocket socket_;
  chat::Credential whose_;
  std::string key_name_;
  net::Transport transport_;
  net::Scope scope_;
  OnReply on_reply_;
  std::function<void()> turn_end_;
  std::function<void()> on_members_;
  std::uint64_t configuration_ = 0;  ///< of what is known of the members
  net::Event wondering_;
  std::uint64_t random_state_;
  struct Asked {
    net::Event event;
    std::optional<chat::OperatorAnswer> answer;
    std::optional<chat::ClientReply> reply;
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
