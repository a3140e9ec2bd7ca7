#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "client/session/connection.h"

namespace client {

/// What a room's name that was typed stands for.
struct RoomMeant {
  std::string name;
  std::optional<bool> exists;  ///< nothing: nobody who knows answered
  /// It is this room, whatever those know who did not answer: an older one may be written as it was typed.
  bool certain = true;
  std::string fault;  ///< why there can be no such room; empty: all is well
};
/// The room of exactly that name where there is one, else the folded one. With `ask` false and a plain name
/// nobody is asked.
net::Task<RoomMeant> find_room(Connection& connection, std::string typed, bool ask,
                               std::chrono::milliseconds timeout);

}  // namespace client
