#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "chat/bounds.h"
#include "chat/client_messages.h"
#include "chat/machine.h"
#include "paxos/types.h"

/// The front desk of one replica: everything between client messages and the protocol that decides
/// something. Pure like paxos/: no I/O, no clock; the simulator runs it as the daemon does.
namespace chat {

/// What the desk must know of the protocol's state; passed with each call that needs it.
struct Standing {
  bool leading = false;                    ///< may propose (phase 1 done)
  bool can_propose = false;                ///< a decree would be taken now
  std::optional<paxos::ReplicaId> leader;  ///< whom to redirect to
  bool voting = true;
  bool diverged = false;  ///< its hash disagrees with a quorum's: it serves nobody
  bool disputed = false;  ///< it disagrees with a peer, and nobody can tell which of the two is right: it
                          ///< confirms no read
  std::vector<paxos::ReplicaId> disagreeing;  ///< those peers
  paxos::Slot disagrees_since;                ///< the lowest slot in which that was seen
  bool quorum_connected = true;
  bool behind = false;                    ///< it knows of chosen slots that it has to learn or to apply first
  std::optional<paxos::Slot> hole;        ///< skipped slot that applying waits for
  std::vector<paxos::ReplicaId> missing;  ///< replicas not heard
  std::vector<paxos::ReplicaId> full;     ///< voters whose disks are full
  bool blocked = false;                   ///< those leave no quorum: no new command is taken
  bool short_of_room = false;             ///< leading, and those with room that are heard are no quorum
  bool stands_still = false;              ///< its own is, and it does not even follow the others
  std::uint64_t leadership = 0;           ///< changes whenever this replica starts or stops leading
};

struct Reply {
  ClientAddress to;
  ClientReply message;
};

/// A page of history, or of the list of rooms, to be read from the state store, after everything applied so
/// far was written.
struct HistoryWish {
  std::uint64_t token = 0;
  std::string room;
  std::uint64_t from = 1;
  std::uint32_t limit = 0;
  bool rooms = false;  ///< the list, from `room` on
};
using Page = std::variant<HistoryPage, RoomsPage>;
/// What is wished for.
[[nodiscard]] tl::expected<Page, std::string> read_page(const RowReader& rows, const HistoryWish& wish);

struct DeskOutput {
  std::vector<Reply> replies;        ///< receipts of one address are packed into one Receipts
  std::vector<HistoryWish> history;  ///< answer with history_read()
  std::vector<std::uint64_t> reads;  ///< linearizable read indexes wanted; answer with read_index()
  std::vector<std::vector<paxos::Bytes>> forward;  ///< commands to pass on to the leader
};

/// Loop thread only. All tables are bounded; what exceeds them is answered Waiting{overloaded} or dropped.
class Desk {
 public:
  struct Options {
    paxos::Duration notice_every{
        std::chrono::milliseconds{50}};  ///< Waiting, Redirect per client at most this often
    unsigned refusals_max =
        16;  ///< CommandRefused per client in that time; the rest hears it when it asks again
    NodeBounds bounds = {};
  };
  Desk(const Machine& machine, Options options);
  ~Desk();

  /// Input from clients. `whose`: the key under which it came.
  void on_message(paxos::Time now, const ClientAddress& from, const Credential& whose,
                  const ClientMessage& message, const Standing& standing);
  /// Commands that another replica passed on to this one; no client address: that replica answers.
  void on_forwarded(paxos::Time now, const std::vector<paxos::Bytes>& commands, const Standing& standing);

  /// The next batch to propose, or nothing. As leader: commands in session order; early ones
  /// (above last + 1 of what was proposed) are held back until their predecessors came; a command that
  /// is already in flight in this leadership is not proposed twice. Takes everything that is waiting, up to
  /// a decree's limit. `time_ms`: the wall clock.
  [[nodiscard]] std::optional<paxos::Decree> next_batch(paxos::Time now, std::int64_t time_ms,
                                                        const Standing& standing);

  /// False: next_batch() would give nothing, in the leadership of this number (Standing).
  [[nodiscard]] bool may_have_batch(std::uint64_t leadership) const;

  /// To be told now and then. Where no command is taken, those that wait for a slot are let go of: who sent
  /// them hears so when they say them again, and nothing is done hours later that somebody gave up. Where
  /// this replica stands still, who reads or follows here is sent to another one.
  void follow_room(const Standing& standing);

  /// This replica does not lead: what it took for proposing is let go of at once, not when the next client
  /// comes.
  void leadership_ended();

  /// A slot was applied: receipts for those who wait here, pushes to long polls.
  void on_applied(paxos::Time now, const Applied& applied);

  // Reads.
  void read_index(std::uint64_t id, paxos::Slot index);  ///< serve when applied >= index
  void read_failed(std::uint64_t id, const Standing& standing);
  /// All linearizable reads that wait here: the standing is such that none can be confirmed.
  void fail_reads(const Standing& standing);
  void history_read(paxos::Time now, std::uint64_t token, tl::expected<Page, std::string> page);

  /// Timers: long polls that end, notices, old entries that are forgotten.
  void tick(paxos::Time now, const Standing& standing);
  [[nodiscard]] paxos::Time deadline() const;

  [[nodiscard]] bool has_output() const;
  [[nodiscard]] DeskOutput take_output();

  struct Figures {
    std::size_t waiting_receipts = 0;
    std::size_t queued_commands = 0;
    std::size_t polls = 0;
    std::size_t reads = 0;
  };
  [[nodiscard]] Figures figures() const;
  [[nodiscard]] BoundsReached& bounds_reached();
  [[nodiscard]] const BoundsReached& bounds_reached() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace chat
