#include "client/session/room_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <map>

#include "client/session/room_names.h"
#include "client/terminal/printable.h"

namespace client {

using namespace std::chrono_literals;

namespace {

constexpr std::chrono::milliseconds page_patience = 800ms;
constexpr std::chrono::milliseconds pause = 100ms;
constexpr std::chrono::milliseconds status_timeout = 500ms;
constexpr std::chrono::milliseconds guess_timeout = 1500ms;
/// So many rooms are looked through for one of a similar name.
constexpr std::size_t guessed_among_max = 4096;

/// Replicas that answer, and are too old for the question; "0.1.0" of one of them.
net::Task<std::pair<std::vector<unsigned>, std::string>> find_old(Connection& c) {
  std::pair<std::vector<unsigned>, std::string> out;
  for (const ReplicaStatus& status : co_await ask_all(c, status_timeout)) {
    if (!status.json || number_in(*status.json, "rules_known").value_or(1) >= 2) continue;
    out.first.push_back(status.id.n);
    out.second = text_in(*status.json, "version");
  }
  co_return out;
}

/// `heard`: some replica knows the question, whatever it answered.
net::Task<NoRooms> why_none(Connection& c, std::string why, bool heard) {
  const auto [old, version] = heard ? std::pair<std::vector<unsigned>, std::string>() : co_await find_old(c);
  if (old.empty()) {
    const Outage outage = co_await look_for_outage(c, status_timeout);
    co_return NoRooms{.why = outage.over() ? why : why + "; " + outage.sentence()};
  }
  co_return NoRooms{.why = fmt::format("{} {} an older version{}, which knows no list of rooms; `paxosctl "
                                       "rolling-restart` takes all to a newer one",
                                       replicas_text(old), old.size() == 1 ? "runs" : "run",
                                       version.empty() ? "" : fmt::format(" ({})", printable(version))),
                    .too_old = true};
}

}  // namespace

net::Task<tl::expected<RoomList, NoRooms>> list_rooms(Connection& c, RoomsWanted wanted) {
  const std::size_t replicas = c.config().members();
  std::vector<chat::RoomLine> out;
  std::string from = wanted.from;
  chat::RetentionRule for_all;
  bool heard = false;  // somebody knows the question
  paxos::ReplicaId target = c.config().some_member(c.random());
  for (;;) {
    const paxos::Time until = c.loop().now() + wanted.timeout;
    std::string why;
    std::optional<chat::RoomsReply> reply;
    for (std::size_t asked = 0;; ++asked) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - c.loop().now());
      if (left <= 0ms || c.given_up()) break;
      // Those that know nothing of it are found out after one round, not after the whole time.
      if (asked == replicas && !heard && !(co_await find_old(c)).first.empty()) break;
      const auto limit = static_cast<std::uint32_t>(wanted.at_most == 0 ? 0 : wanted.at_most - out.size());
      reply = co_await c.rooms(target, {.id = 0, .from = from, .limit = limit, .local = wanted.local},
                               std::min(left, page_patience));
      heard = heard || reply;
      if (reply && reply->refused.empty()) break;
      if (reply) {
        why = fmt::format("replica {}: {}", target.n, reply->refused);
        reply.reset();
        co_await c.loop().sleep(pause);
      } else if (why.empty()) {
        why = fmt::format("replica {} does not answer", target.n);
      }
      target = c.config().next_member(target);
    }
    if (!reply) co_return tl::make_unexpected(co_await why_none(c, why, heard));
    for (chat::RoomLine& line : reply->page.rooms) out.push_back(std::move(line));
    from = reply->page.next;
    for_all = std::move(reply->page.for_all);
    if (from.empty() || (wanted.at_most != 0 && out.size() >= wanted.at_most)) break;
  }
  std::sort(out.begin(), out.end(),
            [](const chat::RoomLine& a, const chat::RoomLine& b) { return a.name < b.name; });
  co_return RoomList{std::move(out), std::move(from), std::move(for_all)};
}

net::Task<tl::expected<std::optional<chat::RoomLine>, NoRooms>> look_up_room(
    Connection& c, std::string room, std::chrono::milliseconds timeout) {
  auto rooms = co_await list_rooms(c, {.from = room, .at_most = 1, .local = true, .timeout = timeout});
  if (!rooms) co_return tl::make_unexpected(std::move(rooms.error()));
  if (rooms->lines.empty() || rooms->lines.front().name != room) co_return std::optional<chat::RoomLine>();
  co_return std::optional(std::move(rooms->lines.front()));
}

net::Task<std::string> find_near_room(Connection& c, std::string room) {
  const auto rooms =
      co_await list_rooms(c, {.at_most = guessed_among_max, .local = true, .timeout = guess_timeout});
  std::vector<std::string> names;
  if (rooms)
    for (const chat::RoomLine& line : rooms->lines) names.push_back(line.name);
  co_return near_room(room, names);
}

std::string local_time(std::int64_t time_ms) {
  const std::time_t seconds = time_ms / 1000;
  std::tm local{};
  localtime_r(&seconds, &local);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", local.tm_year + 1900, local.tm_mon + 1,
                     local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec);
}

namespace {
net::Task<void> ask_one(Connection& c, paxos::ReplicaId id, std::string room,
                        std::chrono::milliseconds timeout, std::map<std::string, std::uint64_t>& into) {
  const auto reply = co_await c.who(
      id, {.id = 0, .what = chat::Whereabouts::ask, .room = std::move(room), .name = {}}, timeout);
  if (!reply) co_return;
  for (const chat::Present& present : reply->present) {
    std::uint64_t& heard = into.try_emplace(present.name, present.heard_ms).first->second;
    heard = std::min(heard, present.heard_ms);
  }
}
}  // namespace

net::Task<std::vector<chat::Present>> who_is_in(Connection& c, std::string room,
                                                std::chrono::milliseconds timeout) {
  std::map<std::string, std::uint64_t> names;
  net::Scope scope(c.loop());
  const std::vector<config::ReplicaConfig> asked = c.config().replicas;
  for (const config::ReplicaConfig& r : asked)
    if (r.member) scope.spawn(ask_one(c, r.id, room, timeout, names));
  co_await scope.join();
  std::vector<chat::Present> out;
  for (const auto& [name, heard] : names) out.push_back({name, heard});
  co_return out;
}

void tell_whereabouts(Connection& c, chat::Whereabouts what, const std::string& room,
                      const std::string& name) {
  for (const config::ReplicaConfig& r : c.config().replicas)
    if (r.member) c.send(r.id, chat::WhoRequest{.id = c.random(), .what = what, .room = room, .name = name});
}

}  // namespace client
