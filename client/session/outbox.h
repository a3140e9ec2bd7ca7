#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "chat/client_messages.h"
#include "client/session/ledger.h"
#include "paxos/rtt.h"
#include "paxos/types.h"

/// One client session, pure: messages and replies in, datagrams and deliveries out. Reads no clock and draws
/// no random number of its own, so that the simulator runs it as the programs do.
namespace client {

/// A message's fate, handed out in the order of posting. Final.
struct Delivery {
  std::uint64_t ticket = 0;
  std::string refused;    ///< empty: it stands in the log, once, where `message` says
  bool unknown = false;   ///< it was refused by nobody: whether it stood there can't be told any more
  bool repeat = false;    ///< it stood there already, under the same key, and maybe by another sender
  chat::Message message;  ///< room, name and text always; the place only when not refused
};

struct Sending {
  paxos::ReplicaId to;
  chat::ClientMessage message;
};

/// To be carried out in this order: `events` stored durably, then `sends` sent, `deliveries` shown, and after
/// that Answered stored for each of them.
struct OutboxOutput {
  std::vector<LedgerEvent> events;
  std::vector<Sending> sends;
  std::vector<Delivery> deliveries;
  [[nodiscard]] bool empty() const { return events.empty() && sends.empty() && deliveries.empty(); }
};

/// Source: DESIGN.md section 4, Sessions. Exactly once, whatever is lost: a message keeps (session, seq)
/// until its fate is known, and moves to another session only when a linearizable history, read after its
/// session was gone, does not hold it.
class Outbox {
 public:
  /// Why a message is given back that may have stood among those that its room has forgotten since: then it
  /// is not sent again.
  static constexpr const char* forgotten_meanwhile =
      "its room has forgotten messages since: whether this one was among them can't be told";
  /// Why a message is given back whose number has a redacted one in the log, and no receipt any more.
  static constexpr const char* redacted_meanwhile =
      "what stands under its number was redacted meanwhile: whether it was this message can't be told";

  struct Options {
    std::size_t replicas = 1;               ///< ids are below it
    paxos::ReplicaSet members = {};         ///< who of them is asked; empty: all
    paxos::ReplicaId first{};               ///< asked first
    std::function<std::uint64_t()> random;  ///< unpredictable: nonces and request ids come from it
    bool journal = false;                   ///< emit events
    /// When a message was written always goes with it: of one that comes from elsewhere it is all that tells.
    /// A replica that does not take it refuses the message then.
    bool always_written = false;
    chat::Credential whose = {};                              ///< the key that its sessions are opened under
    bool proven = false;                                      ///< that key has a name of its own
    std::size_t outstanding = chat::limits::outstanding_max;  ///< commands without a known fate, at most
  };
  /// Bytes of texts under way at one time, beyond the first message.
  static constexpr std::size_t flight_bytes_max = 1u << 20;
  /// Bytes of commands in one ClientCommands.
  static constexpr std::size_t pack_bytes_max = 32 * 1024;

  Outbox(Options options, paxos::Time now, Ledger saved = {});

  /// Takes a message in and gives its ticket. Requires: chat::validate_room and its like find nothing wrong
  /// with it.
  std::uint64_t post(paxos::Time now, chat::Post post);
  /// Asks for a message's text to be taken out; its delivery names that message, without a text. Asked for
  /// twice it is done once more, which changes nothing: so it is not kept in a ledger, and not looked for in
  /// the history. Requires: no journal.
  std::uint64_t redact(paxos::Time now, chat::Redact redact);
  /// Says what a room keeps, or all of them; its delivery names the room, and by its number the first message
  /// that the room keeps. As above, asked for twice.
  std::uint64_t retain(paxos::Time now, chat::Retain retain);
  /// Issues or revokes a key, or says who may post without one. As above; its delivery names nothing.
  std::uint64_t set_access(paxos::Time now, chat::SetAccess access);
  /// Others belong to the cluster than before. Ids only grow; somebody is a member.
  void know(std::size_t replicas, const paxos::ReplicaSet& members);
  /// Ends the session in the log once all is delivered; nothing may be posted afterwards.
  void close(paxos::Time now);

  void on_reply(paxos::Time now, paxos::ReplicaId from, const chat::ClientReply& reply);
  void on_receipt(paxos::Time now, paxos::ReplicaId from, const chat::Receipt& receipt);
  /// To be called when deadline() has passed.
  void tick(paxos::Time now);
  [[nodiscard]] paxos::Time deadline() const;
  /// Ends a turn.
  [[nodiscard]] OutboxOutput take_output(paxos::Time now);

  /// Its session was opened under another key than this one: nothing can be said in it, and nothing was given
  /// up.
  [[nodiscard]] bool of_another_key() const { return of_another_key_; }

  /// Messages whose fate is not known yet.
  [[nodiscard]] std::size_t pending() const { return entries_.size(); }
  /// One of them, for people.
  struct Unfinished {
    std::string room;
    std::string text;
    paxos::Time queued{};  ///< restored ones count from the start
    bool perhaps = false;  ///< it may stand in the log; else it certainly does not
  };
  /// The oldest `at_most` of them, in order.
  [[nodiscard]] std::vector<Unfinished> unfinished(std::size_t at_most) const;
  /// When the oldest of them was taken in; restored ones count from the start.
  [[nodiscard]] std::optional<paxos::Time> oldest() const;
  [[nodiscard]] bool closed() const { return phase_ == Phase::closed; }
  [[nodiscard]] const chat::SessionId& session() const { return session_; }
  /// Of the open that is under way; a receipt with it is for this outbox.
  [[nodiscard]] const chat::Nonce& nonce() const { return nonce_; }
  /// Why nothing moves, for people: "replica 2: no quorum: … replicas 0, 1 are not heard"; empty when all is
  /// well.
  [[nodiscard]] std::string trouble() const;
  /// "disks of replicas 0, 2 are full": the last word on why nothing moves, where that is it. Until a command
  /// is answered nothing is sent any more but what was sent already.
  [[nodiscard]] std::optional<std::string> disks_full() const;
  [[nodiscard]] paxos::ReplicaId target() const { return target_; }

  struct Figures {
    std::uint64_t repeats = 0;
    std::uint64_t sessions = 0;
    std::uint64_t moves = 0;  ///< to another replica
  };
  [[nodiscard]] const Figures& figures() const { return figures_; }

 private:
  enum class Phase : std::uint8_t {
    idle,       ///< no session, none needed yet
    opening,    ///< Open is under way
    open,       ///< in use
    searching,  ///< the session is gone: what became of its messages?
    closing,    ///< all delivered, Close is under way
    closed,
  };
  enum class Fate : std::uint8_t {
    unsent,
    sent,
    voided,  ///< refused outside the log: a Close takes its seq, so that it can never run
    lookup,  ///< it ran, or may have: the history says where
    known,   ///< answered, waits for those before it
  };
  struct Repeat {
    paxos::Time at = paxos::time_never;
    unsigned attempts = 0;
  };
  struct Entry {
    std::uint64_t ticket = 0;
    std::uint64_t seq = 0;
    std::string key = {};                      ///< of the post
    std::optional<std::string> topic = {};     ///< of the post
    std::optional<chat::Operation> deed = {};  ///< it is no post, but this
    std::int64_t written_ms = 0;               ///< likewise; goes with it once it has waited for a while
    bool restored = false;
    paxos::Time heed_refusals{};  ///< earlier ones were meant for what was sent before
    Fate fate = Fate::unsent;
    bool in_flight = false;  ///< counts in flight_bytes_
    bool said = false;       ///< in some session; a deed may have run then
    bool ran = false;        ///< the log says that it was answered before
    paxos::Time queued{};
    paxos::Time sent{};  ///< first
    Repeat repeat;
    Delivery delivery;  ///< holds the content from the start

    /// Done twice it comes to the same: it is not looked for, but asked for anew.
    [[nodiscard]] bool may_repeat() const { return deed.has_value(); }
    /// An earlier life may have sent it, and this one has not asked what became of it.
    [[nodiscard]] bool owed() const { return restored && seq != 0 && fate == Fate::unsent; }
  };
  /// A walk through one room's history, chunk by chunk back to the session's open.
  struct Search {
    std::string room;
    std::uint64_t id = 0;   ///< of the request under way
    std::uint64_t low = 0;  ///< the chunk is low..high; 0: the room's head is not known yet
    std::uint64_t high = 0;
    std::uint64_t cursor = 0;  ///< next seq to read in it
    bool reached_open = false;
    bool forgotten = false;  ///< what stood below what was read is
    unsigned moved = 0;      ///< replicas tried before this one
    Repeat repeat;
  };

  [[nodiscard]] Entry* find(std::uint64_t seq);
  [[nodiscard]] chat::Command command_of(paxos::Time now, const Entry& entry) const;
  [[nodiscard]] std::uint64_t answered_below() const;
  void answer(paxos::Time now, Entry& entry, const chat::Receipt& receipt);
  [[nodiscard]] static std::size_t weight(const Entry& entry);
  bool go_plain(paxos::Time now);
  [[nodiscard]] bool says_when(paxos::Time now, const Entry& entry) const;
  void put_aside(paxos::Time now, Entry& entry, std::string why);
  void settle(Entry& entry);
  void found(Entry& entry, const chat::Message& message);
  void opened(paxos::Time now, const chat::Outcome& outcome);
  void open_refused(const std::string& why);
  std::uint64_t enqueue_deed(paxos::Time now, chat::Operation deed, std::string room, std::uint64_t seq);
  void look_up(Entry& entry);
  void session_gone(paxos::Time now);
  void new_session();
  void on_redirect(paxos::Time now, paxos::ReplicaId from, const chat::Redirect& redirect);
  void on_waiting(paxos::Time now, paxos::ReplicaId from, const chat::Waiting& waiting);
  void on_refused(paxos::Time now, const chat::CommandRefused& refused);
  void on_history(paxos::Time now, const chat::HistoryReply& reply);
  void pump(paxos::Time now);
  void emit_known();
  [[nodiscard]] bool told_full() const {
    return waiting_ && waiting_->reason == chat::WaitReason::disks_full;
  }
  void send_unsent(paxos::Time now);
  void search_next_room(paxos::Time now);
  void finish_room();
  void ask_history(paxos::Time now);
  void move_to(paxos::Time now, paxos::ReplicaId replica, bool forward);
  void rotate(paxos::Time now);
  void on_due(paxos::Time now);
  void send_single(paxos::Time now);
  void send_entry(paxos::Time now, Entry& entry);
  void send_command(const chat::Command& command);
  void flush_pack();
  void resend_all(paxos::Time now);
  void delay_all(paxos::Time at);
  void again(paxos::Time now, Repeat& repeat);
  void measured(paxos::Time now, paxos::Time sent, const Repeat& repeat);
  void heard(paxos::Time now, paxos::ReplicaId from);
  [[nodiscard]] bool silent_lately(paxos::Time now, paxos::ReplicaId replica) const;
  [[nodiscard]] paxos::Duration interval(unsigned attempts) const;
  [[nodiscard]] bool member(paxos::ReplicaId id) const {
    return id.n < options_.replicas && (options_.members.size() == 0 || options_.members.contains(id));
  }
  [[nodiscard]] paxos::ReplicaId next_member(paxos::ReplicaId id) const;
  [[nodiscard]] unsigned laps() const { return laps_ / static_cast<unsigned>(options_.replicas); }

  Options options_;
  Phase phase_ = Phase::idle;
  chat::SessionId session_;
  chat::Nonce nonce_{};
  std::uint64_t next_seq_ = 1;
  std::uint64_t next_ticket_ = 1;
  std::deque<Entry> entries_;  ///< by ticket; those with a seq have ascending ones without a hole
  std::size_t unsent_ = 0;     ///< entries_ before this index have been sent in this session
  std::size_t flight_bytes_ = 0;
  bool close_wanted_ = false;
  bool plain_ = false;  ///< a replica did not take when a message was written: it goes without
  bool of_another_key_ = false;
  bool abandon_ = false;  ///< someone else uses this session: leave it when nothing is under way
  Repeat single_;         ///< of the Open or the Close that is under way
  paxos::Time single_sent_{};
  std::optional<Search> search_;

  paxos::ReplicaId target_;
  bool forward_ = false;
  paxos::Time forward_until_{};
  paxos::Time asked_ = paxos::time_never;  ///< the target has left a question from then open
  std::vector<paxos::Time> heard_;         ///< by replica: latest reply
  std::vector<paxos::Time> silent_;  ///< by replica: when it was given up as silent; Time::min(): it answers
  unsigned unhelpful_ = 0;           ///< replies of the target that say it cannot help
  unsigned laps_ = 0;                ///< rotations since the last answer
  paxos::Time moved_{};
  paxos::RttEstimator rtt_;
  paxos::Time next_repeat_ = paxos::time_never;  ///< none of the entries is due before
  std::optional<chat::Waiting> waiting_;
  paxos::ReplicaId waiting_from_{};

  std::vector<paxos::Bytes> pack_;
  std::size_t pack_bytes_ = 0;
  OutboxOutput out_;
  Figures figures_;
};

/// "no quorum: …; replicas 1, 2 are not heard", as said by `from`.
[[nodiscard]] std::string describe(paxos::ReplicaId from, const chat::Waiting& waiting);

}  // namespace client
