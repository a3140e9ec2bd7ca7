#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/session/connection.h"
#include "client/session/outbox.h"
#include "client/session/state_file.h"

/// Drives the sessions of one process over one connection.
namespace client {

class Hub;

/// One session that a Hub drives.
class HubSession {
 public:
  /// Requires: chat::validate finds nothing wrong with it.
  std::uint64_t post(chat::Post post);
  std::uint64_t redact(chat::Redact redact);
  std::uint64_t retain(chat::Retain retain);
  std::uint64_t set_access(chat::SetAccess access);
  void close();
  [[nodiscard]] const Outbox& outbox() const { return outbox_; }

 private:
  friend class Hub;
  HubSession(Hub& hub, Outbox outbox, std::unique_ptr<StateFile> state,
             std::function<void(Delivery&&)> on_delivery)
      : hub_(hub),
        outbox_(std::move(outbox)),
        state_(std::move(state)),
        on_delivery_(std::move(on_delivery)) {}
  Hub& hub_;
  Outbox outbox_;
  std::unique_ptr<StateFile> state_;
  std::function<void(Delivery&&)> on_delivery_;
  bool dirty_ = false;
  bool closed_ = false;     ///< and said so
  chat::SessionId routed_;  ///< how the hub finds it
  bool routed_by_nonce_ = false;
  chat::Nonce nonce_{};
};

/// Takes the connection's reply and turn-end hooks. Commands of all sessions that are ready in one turn share
/// datagrams. Loop thread only.
class Hub {
 public:
  explicit Hub(Connection& connection);
  ~Hub();
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  /// `on_delivery` is called in ticket order, at a turn's end; it may post. With `state`, deliveries of
  /// messages that an earlier run left come too. The session lives as long as the hub. `always_written`: see
  /// Outbox::Options.
  HubSession& add(paxos::ReplicaId first, std::function<void(Delivery&&)> on_delivery,
                  std::unique_ptr<StateFile> state = nullptr, bool always_written = false);

  /// Something that could not be survived: the state file failed. Empty: all is well.
  [[nodiscard]] const std::string& failure() const { return failure_; }
  /// Whether anything that may run left this program.
  [[nodiscard]] bool sent_commands() const { return sent_commands_; }
  /// Notified at each turn's end in which something was delivered, closed or failed.
  [[nodiscard]] net::Event& progress() { return progress_; }

 private:
  friend class HubSession;
  void on_reply(paxos::ReplicaId from, const chat::ClientReply& reply);
  void end_turn();
  void carry_out(HubSession& session);
  void route(HubSession& session);
  void touch(HubSession& session);
  void send(Sending sending);
  void flush();
  [[nodiscard]] paxos::ReplicaSet members() const;
  [[nodiscard]] std::size_t pack_bytes_max(paxos::ReplicaId to) const;
  void wake();

  struct SessionHash {
    std::size_t operator()(const chat::SessionId& id) const {
      return static_cast<std::size_t>((id.slot.n << 12 | id.index) * 0x9e3779b97f4a7c15ULL >> 16);
    }
  };
  struct Pack {
    std::vector<paxos::Bytes> commands;
    std::size_t bytes = 0;
  };

  Connection& connection_;
  std::list<HubSession> sessions_;
  std::unordered_map<chat::SessionId, HubSession*, SessionHash> by_session_;
  std::map<chat::Nonce, HubSession*> by_nonce_;
  std::vector<HubSession*> dirty_;
  std::map<std::pair<paxos::ReplicaId, bool>, Pack> packs_;
  net::Event progress_;
  bool moved_ = false;
  bool sent_commands_ = false;
  std::string failure_;
  net::TimerId timer_ = 0;
  paxos::Time timer_at_ = paxos::time_never;
};

}  // namespace client
