#include "chat/presence.h"

#include <algorithm>

namespace chat {

void Presence::forget(paxos::Time now) {
  const paxos::Duration kept = std::chrono::milliseconds{limits::presence_kept_ms};
  while (!order_.empty() && (now - order_.front().heard > kept || order_.size() > max_)) {
    entries_.erase(order_.front().key);
    order_.pop_front();
  }
}

void Presence::here(paxos::Time now, const ClientAddress& from, std::string_view room,
                    std::string_view name) {
  const auto [at, fresh] = entries_.try_emplace(Key(room, from));
  if (fresh)
    at->second = order_.insert(order_.end(), Entry{.key = at->first, .name = {}, .heard = now});
  else
    order_.splice(order_.end(), order_, at->second);
  at->second->name = name;
  at->second->heard = now;
  forget(now);
}

void Presence::gone(const ClientAddress& from, std::string_view room) {
  const auto at = entries_.find(Key(room, from));
  if (at == entries_.end()) return;
  order_.erase(at->second);
  entries_.erase(at);
}

std::vector<Present> Presence::in(paxos::Time now, std::string_view room) {
  forget(now);
  std::map<std::string, paxos::Time> names;
  for (auto at = entries_.lower_bound(Key(room, ClientAddress{}));
       at != entries_.end() && at->first.first == room; ++at) {
    paxos::Time& heard = names.try_emplace(at->second->name, at->second->heard).first->second;
    heard = std::max(heard, at->second->heard);
  }
  std::vector<Present> out;
  for (const auto& [name, heard] : names) {
    if (out.size() == limits::present_shown_max) break;
    out.push_back({name, static_cast<std::uint64_t>(
                             std::chrono::duration_cast<std::chrono::milliseconds>(now - heard).count())});
  }
  return out;
}

}  // namespace chat
