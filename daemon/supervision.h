#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "chat/node.h"
#include "daemon/service_manager.h"
#include "daemon/vitals.h"
#include "net/udp.h"

namespace paxosd {

/// What the service manager and the log hear of how this replica is, unasked: signs of life, a status line,
/// and trouble, each as often as somebody wants to read it. Told the time; loop thread only.
class Supervision {
 public:
  Supervision(paxos::ReplicaId self, paxos::Duration election_timeout)
      : self_(self), election_timeout_(election_timeout) {}

  // Towards the service manager.
  /// Others may depend on this replica from now on; said once.
  void ready();
  void reloading() { manager_.reloading(); }
  void reloaded() { manager_.ready(); }
  void stopping() { manager_.stopping(); }
  /// Says again what found no room.
  void flush() { manager_.flush(); }
  /// Signs of life are wanted, where somebody watches.
  void begin(paxos::Time now);
  /// The next sign of life.
  [[nodiscard]] paxos::Time deadline() const { return alive_at_; }
  /// A sign of life when it is due, while the storage threads move: `unfinished` is the age of their oldest
  /// work.
  void give_sign(paxos::Time now, paxos::Duration unfinished, const std::filesystem::path& directory);

  /// The status line is due, and with it all that is looked at once a second.
  [[nodiscard]] bool line_due(paxos::Time now);
  /// It is due at once: something changed.
  void show_soon() { line_at_ = {}; }
  void show(const std::string& line) { manager_.status(line); }

  // Towards the log.
  /// Whom it follows, when that changes.
  void tell_leader(const chat::Node& node);
  /// What an operator at its terminal, or its journal, has to know without asking: that it takes no part and
  /// whom it waits for, and that nothing gets on.
  void tell_trouble(paxos::Time now, const paxos::Status& status);
  /// What does not open is never answered: the log is where its sender's operator can see that it came.
  /// `count`: since the start.
  void tell_unopened(paxos::Time now, std::uint64_t count);
  /// An older program that comes back after the rules were raised understands nothing any more, not even that
  /// they were. Whose datagrams these are is not known, so that this is a hint and no reason to stop.
  /// `unknown`: see MissedRaise.
  void hint_at_missed_raise(bool hears_leader, std::uint64_t unknown);

 private:
  const paxos::ReplicaId self_;
  const paxos::Duration election_timeout_;
  ServiceManager manager_;
  bool ready_said_ = false;
  std::optional<paxos::Duration> watchdog_;
  paxos::Time alive_at_ = paxos::time_never;
  bool stuck_told_ = false;
  paxos::Time line_at_{};  ///< no new one before
  std::optional<paxos::ReplicaId> leader_told_;
  Reminder not_voting_;
  Reminder standstill_;
  std::uint64_t unopened_told_ = 0;
  paxos::Time unopened_at_{};  ///< no new line about them before
  MissedRaise missed_raise_;
};

/// Datagrams that the kernel did not take, for a line in the log now and then. Loop thread only.
class SendFailures {
 public:
  void note(const net::Refusal& refusal) { last_ = refusal; }
  [[nodiscard]] const std::optional<net::Refusal>& last() const { return last_; }
  /// What is new, as "3 ENETUNREACH (...), 1 ...", when it is time for a line; `errors`: by errno, since this
  /// socket was opened.
  [[nodiscard]] std::optional<std::string> line(paxos::Time now, const std::map<int, std::uint64_t>& errors);

 private:
  std::optional<net::Refusal> last_;
  std::map<int, std::uint64_t> told_;
  paxos::Time next_{};  ///< no new line before
};

}  // namespace paxosd
