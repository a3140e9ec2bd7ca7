#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "client/chat/joined_rooms.h"
#include "client/session/connection.h"

/// What the chat asks the cluster beside messages: who is there, what was said.
namespace client {

/// Whom a room has now, and who posted there lately: what /who says, a line each; `names`: all of them.
struct WhoIsThere {
  std::vector<std::string> lines;
  std::vector<std::string> names;
};
net::Task<WhoIsThere> look_who(Connection& connection, std::string room, std::string me);

struct Searched {
  std::vector<chat::Message> found;  ///< the newest, oldest first
  std::uint64_t matches = 0;         ///< of which `found` are the last
  std::uint64_t read = 0;            ///< messages looked through
  bool all = false;                  ///< those were all that the room has
};
/// Looks through the latest messages for `text`, in whatever case.
net::Task<tl::expected<Searched, std::string>> search_room(Connection& connection, std::string room,
                                                           std::string text);

/// What a person in the chat is told about rooms and people, and what the replicas are told of that person.
/// Loop thread only.
class People {
 public:
  /// The chat around it.
  struct Chat {
    std::function<void(const std::string&)> note;   ///< a sentence of the program's own
    std::function<void(const std::string&)> print;  ///< a line as it is
    std::function<bool()> over;                     ///< the person leaves
    std::function<net::Task<void>(paxos::Duration)> nap;
    /// A room that was joined in the background, by its visit; what counts as new in it begins at that
    /// message.
    std::function<void(const std::string&, std::uint64_t, std::uint64_t)> follow;
    bool interactive = false;
    bool colour = false;
  };
  /// `rooms`, `name`: as they are at any time; both outlive this.
  People(Connection& connection, JoinedRooms& rooms, const std::string& name, Chat chat)
      : c_(connection), joined_(rooms), name_(name), chat_(std::move(chat)) {}

  /// Tells all replicas of all rooms that are joined. Only of a person with a name.
  void tell(chat::Whereabouts what);
  void tell_gone(const std::string& room);
  void seen(const std::string& name) {
    if (!name.empty() && names_.size() < names_max) names_.insert(name);
  }
  /// It was left: nothing that is in it now brings it back.
  void dismiss(const JoinedRooms::Room& room) {
    looked_into_[room.name] = room.recent.empty() ? 0 : room.recent.back().seq;
  }
  /// For Tab.
  [[nodiscard]] std::vector<std::string> rooms() const;
  [[nodiscard]] std::vector<std::string> names() const { return {names_.begin(), names_.end()}; }

  /// Says who is here, and learns which rooms there are: for Tab, and for rooms of two that somebody else has
  /// begun. Until the chat is over.
  net::Task<void> keep_in_touch();
  net::Task<void> show_topic(std::string room, bool asked);
  net::Task<void> show_who(std::string room);
  net::Task<void> show_rooms();
  net::Task<void> search(std::string room, std::string text);

 private:
  net::Task<void> look_into(chat::RoomLine line);

  Connection& c_;
  JoinedRooms& joined_;
  const std::string& name_;
  Chat chat_;
  bool understood_ = false;  ///< replicas know what rooms and people are
  static constexpr std::size_t names_max = 1000;
  std::set<std::string> known_;                       ///< rooms
  std::string look_from_;                             ///< where the next look at them begins
  std::set<std::string> names_;                       ///< who was seen
  std::map<std::string, std::uint64_t> looked_into_;  ///< rooms of two, by their messages then
};

}  // namespace client
