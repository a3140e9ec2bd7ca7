#include <algorithm>

#include "chat/retention.h"
#include "tests/sim/broken.h"
#include "tests/sim/observer.h"

/// What rooms forget, held against the rules that the log has, the messages' numbers and the session clock.
namespace sim {

namespace {

/// Rules that this decree names; what became of them the rows say.
std::size_t rules_named(const paxos::Decree& decree) {
  const auto batch = chat::view_batch(decree);
  if (!batch) return 0;
  return static_cast<std::size_t>(
      std::count_if(batch->commands.begin(), batch->commands.end(), [](const chat::CommandView& command) {
        return std::holds_alternative<chat::RetainView>(command.operation);
      }));
}

std::int64_t clock_in(const std::vector<chat::Row>& rows) {
  for (const chat::Row& row : rows) {
    if (row.key != chat::rows::meta() || !row.value) continue;
    paxos::ByteReader r{std::string_view(*row.value)};
    r.raw(1 + 1 + 8 + 16);
    return static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  }
  return 0;
}

}  // namespace

/// After messages_applied(): the slot's own messages may go as well.
void Observer::kept_applied(paxos::Slot slot, const std::vector<chat::Row>& rows,
                            const paxos::Decree& decree) {
  const std::int64_t clock = clock_in(rows);
  for (Kept& kept : kept_)
    kept.clocks.resize(room_log_[static_cast<std::size_t>(&kept - kept_.data())].size(), clock);
  const std::size_t named = rules_named(decree);
  for (const chat::Row& row : rows)
    if (row.key == chat::rows::kept({})) kept_by_all_ = *chat::decode_rule_for_all(row.value.value());
  for (const chat::Row& row : rows) {
    if (row.key.empty() || row.key[0] != chat::rows::family_kept || row.key == chat::rows::kept({})) continue;
    const std::uint32_t room = room_of(row.key.substr(2));
    const auto now = chat::decode_kept(row.value.value());
    const std::string where = "room " + std::to_string(room) + " in " + text(slot);
    if (!now) broken("K1", "the row of what is kept of " + where + " does not read");
    Kept& kept = kept_[room];
    const std::uint64_t head = room_log_[room].size();
    if (now->first < kept.first)
      broken("K1", where + " keeps messages from " + std::to_string(now->first) +
                       " on, and had forgotten those below " + std::to_string(kept.first));
    if (now->first > head + 1) broken("K1", where + " has forgotten messages that it never had");
    kept.rule = now->rule;
    const chat::RetentionRule& rule = kept.rule ? *kept.rule : kept_by_all_;
    // Where one decree names several rules, one after the other was in force in this slot.
    if (named <= 1)
      for (std::uint64_t seq = kept.first; seq < now->first; ++seq) {
        const bool by_count = rule.count != 0 && seq + rule.count <= head;
        const bool by_age = rule.age_ms != 0 && clock - kept.clocks[seq - 1] >= rule.age_ms;
        if (!by_count && !by_age)
          broken("K2", where + " forgets message " + std::to_string(seq) + " of " + std::to_string(head) +
                           ", " + std::to_string(clock - kept.clocks[seq - 1]) +
                           " ms old, and keeps the last " + std::to_string(rule.count) + ", or those of " +
                           std::to_string(rule.age_ms) + " ms");
      }
    kept.first = now->first;
  }
  for (const chat::Row& row : rows) {
    if (row.key.empty() || row.key[0] != chat::rows::family_message) continue;
    const std::uint32_t room = room_of(row.key.substr(2, row.key.size() - 10));
    const Kept& kept = kept_[room];
    const chat::RetentionRule& rule = kept.rule ? *kept.rule : kept_by_all_;
    if (rule.count != 0 &&
        room_log_[room].size() + 1 - kept.first >= rule.count + chat::retention_slack(rule.count))
      broken("K3", "room " + std::to_string(room) + " got messages in " + text(slot) + " and has " +
                       std::to_string(room_log_[room].size() + 1 - kept.first) + " of the last " +
                       std::to_string(rule.count));
  }
}

std::uint32_t Observer::room_of(const std::string& name) const {
  std::uint32_t room = 0;
  while (room < room_log_.size() && room_name(room) != name) ++room;
  if (room == room_log_.size()) broken("K1", "something is said about the unknown room " + name);
  return room;
}

void Observer::nothing_below(std::uint8_t replica, const chat::RowReader& rows,
                             const chat::Node& node) const {
  for (std::uint32_t room = 0; room < kept_.size(); ++room) {
    const Kept& kept = kept_[room];
    if (kept.claimed > kept.first)
      broken("K4", "somebody was told that messages below " + std::to_string(kept.claimed) + " of room " +
                       std::to_string(room) + " are forgotten, and they are kept from " +
                       std::to_string(kept.first) + " on");
    if (node.machine().room_first(room_name(room)) != kept.first)
      broken("K1",
             name(replica) + " keeps other messages of room " + std::to_string(room) + " than the rest");
    if (chat::forgotten_rows(rows, room_name(room), kept.first).below != 0)
      broken("K5",
             name(replica) + " has forgotten messages of room " + std::to_string(room) + " on its disk");
    const auto page = chat::read_history(rows, room_name(room), 1, 0);
    const std::uint64_t head = room_log_[room].size();
    if (!page || page->head != head || page->first != kept.first ||
        (kept.first <= head && (page->messages.empty() || page->messages.front().seq != kept.first)))
      broken("K5", name(replica) + " does not show room " + std::to_string(room) + " from " +
                       std::to_string(kept.first) + " to " + std::to_string(head));
  }
}

}  // namespace sim
