#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "chat/desk.h"
#include "tests/chat/fixture.h"

namespace chat::test {

inline ClientAddress client(std::uint8_t n) {
  ClientAddress address;
  address.bytes[0] = n;
  return address;
}
inline paxos::Time at_ms(std::int64_t ms) { return paxos::Time{} + std::chrono::milliseconds{ms}; }

/// A desk in front of a machine; the log decides at once whatever is proposed.
struct Office {
  Log log;
  NodeBounds bounds;
  Desk desk{log.machine, {.bounds = bounds}};
  Standing standing{.leading = true, .can_propose = true, .leadership = 1};
  paxos::Time now = at_ms(1000);

  explicit Office(const NodeBounds& b = {}) : bounds(b) {}

  void send(std::uint8_t from, const std::vector<Command>& commands, bool forward = false) {
    ClientCommands message{.forward = forward, .commands = {}};
    for (const Command& c : commands) message.commands.push_back(encode(c));
    desk.on_message(now, client(from), {}, message, standing);
  }
  void send(std::uint8_t from, const ClientMessage& message) {
    desk.on_message(now, client(from), {}, message, standing);
  }
  /// What the desk would propose now, without deciding it.
  std::vector<Command> propose() {
    std::vector<Command> all;
    while (auto d = desk.next_batch(now, log.time_ms, standing)) {
      const auto batch = decode_batch(*d);
      all.insert(all.end(), batch->commands.begin(), batch->commands.end());
    }
    return all;
  }
  /// These are decided and applied, by whichever leader.
  Applied decide(const std::vector<Command>& commands) {
    Applied applied = log.apply(commands);
    desk.on_applied(now, applied);
    return applied;
  }
  /// Proposes and decides until nothing waits.
  void work() {
    while (auto d = desk.next_batch(now, log.time_ms, standing)) desk.on_applied(now, log.apply(*d));
  }
  void noop() { desk.on_applied(now, log.noop()); }
  void pass(std::int64_t ms) {
    now += std::chrono::milliseconds{ms};
    desk.tick(now, standing);
  }
  SessionId open(std::uint64_t n) {
    const Outcome o = decide({open_command(n)}).outcomes[0];
    (void)desk.take_output();
    return o.session;
  }
  /// Reads what the desk wishes for, as the state thread would.
  void read_history() {
    DeskOutput out = desk.take_output();
    for (const Reply& r : out.replies) kept.push_back(r);
    for (const HistoryWish& w : out.history) desk.history_read(now, w.token, chat::read_page(log.rows, w));
    wished += out.history.size();
    reads.insert(reads.end(), out.reads.begin(), out.reads.end());
    forwarded.insert(forwarded.end(), out.forward.begin(), out.forward.end());
  }
  std::vector<Reply> replies() {
    read_history();
    DeskOutput out = desk.take_output();
    std::vector<Reply> all = std::exchange(kept, {});
    all.insert(all.end(), out.replies.begin(), out.replies.end());
    return all;
  }
  template <class T>
  std::vector<std::pair<ClientAddress, T>> replies_of() {
    std::vector<std::pair<ClientAddress, T>> found;
    for (Reply& r : replies())
      if (auto* m = std::get_if<T>(&r.message)) found.emplace_back(r.to, std::move(*m));
    return found;
  }
  /// All receipts to `to`; other replies are dropped.
  std::vector<Receipt> receipts(std::uint8_t to) {
    std::vector<Receipt> found;
    for (auto& [address, m] : replies_of<Receipts>())
      if (address == client(to)) found.insert(found.end(), m.receipts.begin(), m.receipts.end());
    return found;
  }

  std::vector<Reply> kept;
  std::size_t wished = 0;
  std::vector<std::uint64_t> reads;
  std::vector<std::vector<paxos::Bytes>> forwarded;
};

}  // namespace chat::test
