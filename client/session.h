#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "chat/client_messages.h"
#include "paxos/env.h"
#include "paxos/rtt.h"
#include "paxos/types.h"

/// One client session: every message into the log exactly once, whatever is lost. Pure: time and randomness
/// are arguments, so that the simulator links it.
namespace client {

/// A message that waits for its receipt. `ticket` counts what this program was given, for ever.
struct Pending {
  std::uint64_t ticket = 0;
  std::uint64_t client_seq = 0;  ///< in the current session; 0: not numbered yet
  chat::Post post;
  friend bool operator==(const Pending&, const Pending&) = default;
};

/// What must survive the program for exactly-once: written before anything numbered is sent.
struct SavedSession {
  chat::SessionId session;
  chat::Nonce nonce{};  ///< of the open under way, when there is no session yet
  std::uint64_t next_seq = 1;
  std::uint64_t next_ticket = 1;
  std::vector<Pending> outbox;  ///< ascending by ticket
  friend bool operator==(const SavedSession&, const SavedSession&) = default;
};

/// What became of a message.
struct Finished {
  std::uint64_t ticket = 0;
  std::string refused;        ///< why; empty when it stands in the log
  bool receipt_gone = false;  ///< delivered, but nobody knows any more where
  chat::Message message;      ///< as history shows it
};

class Session {
 public:
  struct Options {
    std::size_t replicas = 3;
    std::optional<paxos::ReplicaId> first;  ///< ask this one first
    std::uint64_t seed = 1;
    std::size_t window = chat::limits::outstanding_max;
  };
  struct Send {
    paxos::ReplicaId to;
    chat::ClientMessage message;
  };

  Session(Options options, std::optional<SavedSession> saved);

  /// Takes a valid message into the outbox; returns its ticket. Nothing is sent before the next tick().
  std::uint64_t post(chat::Post post);
  /// Ends the session in the log once the outbox is empty.
  void close() { closing_ = true; }

  void on_reply(paxos::Time now, paxos::ReplicaId from, const chat::ClientReply& reply);
  void tick(paxos::Time now);
  [[nodiscard]] paxos::Time deadline() const;

  [[nodiscard]] std::vector<Send> take_sends();
  /// In the order of the tickets.
  [[nodiscard]] std::vector<Finished> take_finished();
  /// Changes whenever saved() does. Write it before sending what take_sends() gave.
  [[nodiscard]] std::uint64_t version() const { return version_; }
  [[nodiscard]] SavedSession saved() const;

  [[nodiscard]] std::size_t outstanding() const { return outbox_.size(); }
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] const chat::SessionId& id() const { return session_; }
  /// Why nothing moves, as far as replicas said; empty when nobody said anything lately.
  [[nodiscard]] std::string waiting() const { return waiting_; }
  [[nodiscard]] paxos::ReplicaId target() const { return target_; }

 private:
  enum class Phase : std::uint8_t { idle, opening, open, searching };
  struct Flight {
    paxos::Backoff repeat;
    paxos::Time first_sent{};
    bool sent = false;
  };
  void on_receipt(paxos::Time now, const chat::Receipt& receipt);
  void on_history(paxos::Time now, const chat::HistoryReply& reply);
  void begin_search(paxos::Time now);
  void search_next(paxos::Time now);
  void finish(std::uint64_t ticket, Finished finished);
  void renumber();
  void rotate(paxos::Time now);
  void send_commands(paxos::Time now);
  void changed() { ++version_; }
  chat::Nonce random_nonce();

  Options options_;
  paxos::Random random_;
  Phase phase_ = Phase::idle;
  chat::SessionId session_;
  chat::Nonce nonce_{};
  std::uint64_t next_seq_ = 1;
  std::uint64_t next_ticket_ = 1;
  std::deque<Pending> outbox_;
  std::map<std::uint64_t, Flight> flights_;  ///< by ticket: what is numbered and may have been sent
  std::map<std::uint64_t, Finished> done_;   ///< by ticket; handed out in order
  std::uint64_t next_done_ = 1;
  bool closing_ = false;
  bool closed_ = false;
  Flight control_;  ///< the open or the close
  std::uint64_t close_seq_ = 0;

  paxos::ReplicaId target_;
  bool forward_ = false;  ///< ask a follower to pass on: the leader does not answer us
  unsigned silent_ = 0;   ///< repeats since anyone answered
  paxos::Time heard_ = paxos::Time::min();
  std::string waiting_;
  paxos::RttEstimator rtt_;

  // After the session expired: which of the outbox stand in the log already?
  chat::SessionId lost_session_;
  std::vector<std::string> rooms_to_search_;
  /// Windows of the room's history, from its end backwards; each read upwards in pages.
  struct Window {
    std::uint64_t cursor = 0;  ///< ask from here; 0: the end of the room
    std::uint64_t first = 0;   ///< lowest seq of the window; 0: not known yet
    std::uint64_t last = UINT64_MAX;
    paxos::Slot first_slot;
  };
  Window window_;
  std::uint64_t search_id_ = 0;
  paxos::Backoff search_repeat_;

  std::vector<Send> sends_;
  std::uint64_t version_ = 0;
};

}  // namespace client
