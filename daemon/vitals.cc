#include "daemon/vitals.h"

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

namespace paxosd {

void Vitals::standing(paxos::Time now, bool quorum_connected, std::optional<paxos::ReplicaId> leader,
                      const std::vector<paxos::ReplicaId>& missing) {
  std::size_t next = 0;
  for (std::uint8_t id = 0; id < unheard_since_.size(); ++id) {
    if (next < missing.size() && missing[next].n == id)
      ++next;  // ascending
    else
      unheard_since_[id] = now;
  }
  if (quorum_connected)
    no_quorum_since_.reset();
  else if (!no_quorum_since_)
    no_quorum_since_ = now;
  if (leader != leader_) {
    leader_ = leader;
    leader_since_ = now;
  }
}

bool Reminder::due(paxos::Time now, const std::string& what) {
  if (what != what_) {
    what_ = what;
    interval_ = first;
    next_ = now + interval_;
    return !what_.empty();
  }
  if (what_.empty() || now < next_) return false;
  interval_ = std::min(2 * interval_, longest);
  next_ = now + interval_;
  return true;
}

void RecentCounts::take(paxos::Time now, Counts counts) {
  samples_.push_back({now, std::move(counts)});
  if (samples_.size() > samples_max) samples_.pop_front();
}

RecentCounts::Window RecentCounts::until(paxos::Time now, const Counts& counts) const {
  Window out;
  if (samples_.empty()) return out;
  out.span = now - samples_.front().at;
  for (const auto& [name, count] : counts) {
    const auto before = samples_.front().counts.find(name);
    if (before != samples_.front().counts.end() && before->second <= count)
      out.counts[name] = count - before->second;
  }
  return out;
}

std::optional<std::uint64_t> udp_drops(std::string_view table, std::uint16_t port) {
  const auto number = [](std::string_view text, int base) -> std::optional<std::uint64_t> {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    return error == std::errc{} && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
  };
  std::optional<std::uint64_t> drops;
  while (!table.empty()) {
    std::string_view line = table.substr(0, table.find('\n'));
    table.remove_prefix(std::min(table.size(), line.size() + 1));
    std::vector<std::string_view> words;
    while (!line.empty()) {
      const std::size_t end = std::min(line.find(' '), line.size());
      if (end > 0) words.push_back(line.substr(0, end));
      line.remove_prefix(std::min(line.size(), end + 1));
    }
    // "sl local_address rem_address ...  drops"; the address is "0100007F:1CE8".
    if (words.size() < 13) continue;
    const std::size_t colon = words[1].rfind(':');
    if (colon == std::string_view::npos || number(words[1].substr(colon + 1), 16) != port) continue;
    if (const auto count = number(words[12], 10)) drops = drops.value_or(0) + *count;
  }
  return drops;
}

}  // namespace paxosd
