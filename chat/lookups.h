#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "chat/client_messages.h"
#include "chat/desk.h"
#include "chat/machine.h"

namespace chat {

/// Who asked for history, and who waits for the next message of a room. Loop thread only; every table is
/// bounded, and what exceeds a bound is refused with a reason.
class Lookups {
 public:
  /// Answers and wishes go to `out`, which must outlive this.
  Lookups(const Machine& machine, DeskOutput& out, const NodeBounds& bounds, BoundsReached& reached)
      : machine_(machine), out_(out), bounds_(bounds), reached_(reached) {}

  void on_history(paxos::Time now, const ClientAddress& from, const HistoryRequest& request,
                  const Standing& standing);
  void on_follow(paxos::Time now, const ClientAddress& from, const FollowRequest& request,
                 const Standing& standing);

  void on_rooms(paxos::Time now, const ClientAddress& from, const RoomsRequest& request,
                const Standing& standing);

  /// Whatever it asks; what is not answered anyway is not now.
  void refuse(const ClientAddress& to, const ClientMessage& request, std::string why);

  void read_index(std::uint64_t id, paxos::Slot index);
  void read_failed(std::uint64_t id, const Standing& standing);
  void fail_reads(const Standing& standing);
  void history_read(std::uint64_t token, tl::expected<Page, std::string> page);
  void on_applied(const Applied& applied);

  void tick(paxos::Time now, const Standing& standing);
  [[nodiscard]] paxos::Time deadline() const;
  [[nodiscard]] std::size_t reads() const { return reads_.size() + fetches_.size(); }
  [[nodiscard]] std::size_t polls() const { return polls_.size(); }
  /// Whoever waits here is refused: this replica stands still.
  void send_away(const Standing& standing);

 private:
  /// Of which kind the answer is.
  enum class About : std::uint8_t { room, rooms };
  /// Messages of a room, or the list of rooms: from `request.room` on.
  struct Wanted {
    HistoryRequest request;
    About about = About::room;
  };
  /// A linearizable read: waits for its index, then for the machine to get there.
  struct Read {
    ClientAddress address;
    Wanted wanted;
    bool confirmed = false;
    paxos::Slot index;
    paxos::Time since{};
  };
  /// A page that the state thread is reading.
  struct Fetch {
    ClientAddress address;
    std::uint64_t id = 0;
    About about = About::room;
    bool stamps = false;  ///< the client reads them
  };
  struct Poll {
    ClientAddress address;
    std::string room;
    std::uint64_t id = 0;
    std::uint64_t from = 0;
    paxos::Time until{};
    bool stamps = false;
  };
  using PollNumber = std::uint64_t;

  void on_read(paxos::Time now, const ClientAddress& from, Wanted wanted, const Standing& standing);
  void answer(const ClientAddress& to, std::uint64_t id, HistoryPage page, bool stamps = false);
  void refuse(const ClientAddress& to, std::uint64_t id, std::string why, About about = About::room);
  /// Nothing at or above what was asked for: only the head.
  void answer_head(const ClientAddress& to, std::uint64_t id, std::string_view room, bool stamps);
  void serve(const ClientAddress& to, const Wanted& wanted);
  void fetch(const ClientAddress& to, std::uint64_t id, const std::string& room, std::uint64_t from,
             std::uint32_t limit, bool stamps);
  void wish(const ClientAddress& to, std::uint64_t id, About about, HistoryWish wish, bool stamps = false);
  void erase_read(std::map<std::uint64_t, Read>::iterator at);
  void erase_poll(std::map<PollNumber, Poll>::iterator at);
  void push(const Poll& poll, const Applied& applied, const std::vector<std::size_t>& posts);

  const Machine& machine_;
  DeskOutput& out_;
  const NodeBounds& bounds_;
  BoundsReached& reached_;

  std::map<std::uint64_t, Read> reads_;  ///< by number, which is the order of arrival
  std::map<std::pair<ClientAddress, std::uint64_t>, std::uint64_t> read_of_;  ///< a repeat is the same read
  std::set<std::pair<paxos::Slot, std::uint64_t>> by_index_;  ///< confirmed, waiting to be applied
  std::uint64_t last_read_ = 0;

  std::map<std::uint64_t, Fetch> fetches_;
  std::uint64_t last_token_ = 0;

  // Polls by number: their order is that of arrival, the same in every run.
  std::map<PollNumber, Poll> polls_;
  std::map<std::string, std::map<ClientAddress, PollNumber>, std::less<>> polls_of_room_;
  std::set<std::pair<paxos::Time, PollNumber>> poll_ends_;
  PollNumber last_poll_ = 0;
};

}  // namespace chat
