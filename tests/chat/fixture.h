#pragma once

#include <string>
#include <utility>
#include <vector>

#include "chat/command.h"
#include "chat/machine.h"
#include "tests/chat/map_rows.h"

namespace chat::test {

inline Nonce nonce(std::uint64_t n) {
  Nonce out{};
  for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<std::uint8_t>(n >> (8 * i));
  return out;
}
inline Command open_command(std::uint64_t n) {
  return {.session = {}, .seq = 0, .answered_below = 0, .operation = Open{nonce(n)}};
}
inline Command post(const SessionId& session, std::uint64_t seq, std::string text, std::string room = "ops",
                    std::uint64_t answered_below = 0) {
  return {.session = session,
          .seq = seq,
          .answered_below = answered_below,
          .operation = Post{std::move(room), "ann", std::move(text)}};
}
inline Command close_command(const SessionId& session, std::uint64_t seq) {
  return {.session = session, .seq = seq, .answered_below = 0, .operation = Close{}};
}
inline paxos::Decree decree(std::int64_t time_ms, const std::vector<Command>& commands) {
  std::vector<paxos::Bytes> bytes;
  for (const Command& c : commands) bytes.push_back(encode(c));
  return make_decree(time_ms, bytes);
}

/// A machine with its rows, fed slot by slot.
struct Log {
  MachineBounds bounds;
  Machine machine{rules_released, bounds};
  MapRows rows;
  std::int64_t time_ms = 1'795'000'000'000;

  Applied apply(const paxos::Decree& d) {
    Applied applied = machine.apply(machine.applied() + 1, d);
    rows.write(applied.rows);
    return applied;
  }
  Applied apply(const std::vector<Command>& commands) { return apply(decree(time_ms, commands)); }
  Applied noop() { return apply(paxos::Decree{}); }
  Outcome one(const Command& command) { return apply(std::vector{command}).outcomes.at(0); }
  SessionId open(std::uint64_t n) { return one(open_command(n)).session; }
  /// As after a restart: all that is not in the rows is forgotten.
  void reload() { reload_as(rules_released); }
  void reload_as(std::uint16_t rules_known) {
    auto loaded = Machine::load(rows, rules_known, bounds);
    if (!loaded) throw std::runtime_error(loaded.error());
    machine = std::move(*loaded);
  }
};

}  // namespace chat::test
