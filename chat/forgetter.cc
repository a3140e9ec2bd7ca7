#include "chat/forgetter.h"

#include <algorithm>
#include <utility>

namespace chat {

namespace {
/// A busy room forgets with every slot or nearly so; its rows go together.
constexpr paxos::Duration every = std::chrono::seconds{1};
constexpr std::size_t rooms_at_once = 64;
}  // namespace

Forgetter::Forgetter(std::vector<MessageName> kept_from) { on_applied(kept_from); }

void Forgetter::on_applied(const std::vector<MessageName>& kept_from) {
  for (const MessageName& room : kept_from) {
    std::uint64_t& first = waiting_.try_emplace(room.room, 0).first->second;
    first = std::max(first, room.seq);
  }
}

/// In turn: a room that comes again at once doesn't keep the others from theirs.
std::vector<MessageName> Forgetter::due(paxos::Time now) {
  std::vector<MessageName> out;
  if (waiting_.empty() || now < not_before_) return out;
  while (!waiting_.empty() && out.size() < rooms_at_once) {
    auto at = waiting_.upper_bound(last_);
    if (at == waiting_.end()) at = waiting_.begin();
    last_ = at->first;
    out.push_back({at->first, at->second});
    waiting_.erase(at);
  }
  not_before_ = now + every;
  return out;
}

}  // namespace chat
