#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "client/chat/chat.h"
#include "client/chat/chat_people.h"
#include "client/chat/joined_rooms.h"

namespace client {

/// The rooms that a person in the chat is in: joined, followed, looked at, left. Loop thread only.
class Visits {
 public:
  /// The chat around it.
  struct Chat {
    std::function<void(const std::string&)> note;    ///< a sentence of the program's own
    std::function<void(const std::string&)> print;   ///< a line as it is
    std::function<void(const chat::Message&)> show;  ///< of the room on the screen
    std::function<void()> ring;
    std::function<void()> prompt_changed;
    std::function<void(bool)>
        free;  ///< no longer busy(); false: what was typed meanwhile was meant for another room
    std::function<bool()> over;                           ///< the person leaves
    std::function<net::Task<void>(paxos::Duration)> nap;  ///< until then, or until the chat is over
    std::function<void(net::Task<void>)> spawn;
    bool interactive = false;
    bool colour = false;
  };
  /// `name`: the person's at any time.
  Visits(Connection& connection, const std::string& name, Chat chat);

  /// To the room, made or not, which is followed from now on.
  /// False: there are too many.
  bool join(const std::string& room);
  /// To the room that was typed; where there is none yet, asks: asked() is the question then.
  void go_to(const std::string& typed);
  void go(std::size_t at, bool say = true);
  void next();
  /// Empty: the one on the screen.
  void leave(const std::string& typed);
  /// The room of two with somebody; false: there can be none.
  bool go_to_two(const std::string& who);

  /// Looks for a room: what is typed meanwhile may be meant for it, and waits.
  [[nodiscard]] bool busy() const { return busy_; }
  [[nodiscard]] bool asks() const { return asked_.has_value(); }
  /// The answer to the question; false: it was none, and is to be kept.
  [[nodiscard]] bool answer(const std::string& line);
  [[nodiscard]] std::string prompt() const;

  [[nodiscard]] const JoinedRooms::Room& here() const { return rooms_.current(); }
  [[nodiscard]] std::size_t current() const { return rooms_.current_index(); }
  [[nodiscard]] std::size_t size() const { return rooms_.all().size(); }
  /// The person is there: see JoinedRooms.
  void looked() { rooms_.looked(); }
  [[nodiscard]] People& people() { return people_; }
  /// Ends all following.
  void stop();

 private:
  [[nodiscard]] std::optional<std::size_t> joined(const std::string& typed) const;
  void came(std::uint64_t visit, const chat::Message& message, bool old);
  /// The room's latest messages, then what comes; ends when it is left. What counts as new of them begins at
  /// `unread_from`; 0: nothing.
  net::Task<void> follow(std::string room, std::uint64_t visit, std::uint64_t unread_from);
  net::Task<void> find_and_join(std::string typed);

  Connection& c_;
  const std::string& name_;
  Chat chat_;
  JoinedRooms rooms_;
  People people_;
  std::map<std::uint64_t, std::shared_ptr<Follower>> followers_;  ///< by visit
  std::optional<std::string> asked_;  ///< a room that is made if the person wants it
  bool busy_ = false;
};

}  // namespace client
