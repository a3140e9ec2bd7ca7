#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "client/session/cluster_view.h"

/// The rooms of a cluster and the people in them, as its replicas tell.
namespace client {

struct RoomsWanted {
  std::string from = {};                      ///< empty: the first
  std::size_t at_most = 0;                    ///< 0: all of them
  bool local = false;                         ///< what a replica has applied will do
  std::chrono::milliseconds timeout{10'000};  ///< for each page
};
struct NoRooms {
  std::string why;
  bool too_old = false;  ///< what answers does not know the question: an older version
};
struct RoomList {
  std::vector<chat::RoomLine> lines;  ///< in the order of their names
  std::string next;                   ///< where the next ones begin; empty: these were the last
  chat::RetentionRule for_all = {};   ///< what rooms without a rule of their own keep
};
net::Task<tl::expected<RoomList, NoRooms>> list_rooms(Connection& connection, RoomsWanted wanted);
/// One room's line; nothing inside: there is no such room.
net::Task<tl::expected<std::optional<chat::RoomLine>, NoRooms>> look_up_room(
    Connection& connection, std::string room, std::chrono::milliseconds timeout);
/// Names that are like it; empty where there is none, or nobody tells in a moment.
net::Task<std::string> find_near_room(Connection& connection, std::string room);

/// "2026-11-28 12:34:56", by this machine's zone.
[[nodiscard]] std::string local_time(std::int64_t time_ms);

/// Whom the replicas heard of lately: of each name when last. All of them are asked at once.
net::Task<std::vector<chat::Present>> who_is_in(Connection& connection, std::string room,
                                                std::chrono::milliseconds timeout);
/// Tells every replica; no answer is waited for.
void tell_whereabouts(Connection& connection, chat::Whereabouts what, const std::string& room,
                      const std::string& name);

}  // namespace client
