#include "daemon/vitals.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <vector>

namespace paxosd {

void LatencyCount::add(paxos::Duration took) {
  const auto us = static_cast<std::uint64_t>(
      std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
  ++count;
  us_total += us;
  ++buckets[std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(us)), buckets.size() - 1)];
}

void Vitals::standing(paxos::Time now, bool quorum_connected, std::optional<paxos::ReplicaId> leader) {
  if (quorum_connected)
    no_quorum_since_.reset();
  else if (!no_quorum_since_)
    no_quorum_since_ = now;
  if (leader != leader_) {
    leader_ = leader;
    leader_since_ = now;
  }
}

void Vitals::proposed(paxos::Time now, paxos::Slot slot) {
  if (slot <= proposed_) return;
  proposed_ = slot;
  timed_.emplace_back(slot, now);
  if (timed_.size() > timed_max) timed_.pop_front();
}

void Vitals::applied(paxos::Time now, paxos::Slot slot) {
  for (; !timed_.empty() && timed_.front().first <= slot; timed_.pop_front())
    commits_.add(now - timed_.front().second);
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
