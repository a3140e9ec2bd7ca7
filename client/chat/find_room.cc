#include "client/chat/find_room.h"

#include <algorithm>
#include <vector>

#include "client/chat/chat.h"
#include "client/chat/patience.h"
#include "client/session/room_names.h"

namespace client {

using namespace std::chrono_literals;

net::Task<RoomMeant> find_room(Connection& c, std::string typed, bool ask,
                               std::chrono::milliseconds timeout) {
  RoomMeant out{.name = typed, .exists = {}, .fault = {}};
  const bool plain = is_plain_room(typed);
  if (plain && !ask) co_return out;
  const std::string folded = fold_room(typed);
  // As it was typed first: a room that is older than this rule keeps its name.
  const std::vector<std::string> names = plain ? std::vector{typed} : std::vector{typed, folded};
  bool absent = true;  // by the word of a quorum; one replica alone may be behind
  for (const std::string& name : names) {
    if (!chat::validate_room(name).empty()) continue;
    HistoryReader reader(c, {.room = name, .last = 1, .timeout = timeout});
    auto page = co_await reader.next(1);
    const bool confirmed = page.has_value();
    if (!page) {  // no quorum: what some replica has, there is
      HistoryReader local(
          c, {.room = name, .last = 1, .local = true, .timeout = std::min(timeout, local_timeout)});
      page = co_await local.next(1);
    }
    if (page && page->head > 0) {
      out.name = name;
      out.exists = true;
      out.certain = absent;
      co_return out;
    }
    absent = absent && confirmed;
  }
  out.name = folded;
  out.fault = room_fault(folded);
  out.certain = plain || absent;
  if (absent) out.exists = false;
  co_return out;
}

}  // namespace client
