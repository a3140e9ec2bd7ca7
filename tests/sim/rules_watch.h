#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chat/node.h"
#include "tests/sim/disk.h"
#include "tests/sim/queue.h"

namespace sim {

/// Sees from outside how the rules are raised while replicas run programs of two versions, and throws
/// Violation. It reads decrees and rows by itself (docs/ROWS.md) and counts for itself which rules are in
/// force after a slot.
///
///  U1  A raise is proposed only while each replica has said, within an election timeout of a clock that
///  goes, that its program knows the next
///      rules; and each says so only of the program that it runs.
///  U2  No program applies the slot that raises the rules above those that it knows, or anything after it: it
///  stops at that
///      slot, by name, for no other reason, and does not start on a state under such rules.
///  U3  The slot's own rows say which rules are in force after it, and the hash chain is of the rules before
///  it. U4  A datagram format is spoken only to programs that know it, or to one whose predecessor had said
///  so.
class RulesWatch {
 public:
  /// How often a program was too old, and how it found out.
  struct Refusals {
    std::uint64_t format = 0;  ///< of its log
    std::uint64_t state = 0;   ///< its rules
    std::uint64_t raise = 0;   ///< in its log, or heard of
  };

  /// `oldest`: rules that the oldest program of the run knows.
  RulesWatch(std::size_t replicas, Nanos election_timeout, std::uint16_t oldest = 1);

  /// A heartbeat reply leaves; `said`: its word about the rules.
  void says(std::uint8_t replica, std::uint16_t program, std::uint16_t said, Nanos now);
  /// What a turn decided, before any of it is carried out. `clock_ok`: its clock did not stand still lately.
  void proposes(std::uint8_t replica, std::uint16_t program, Nanos now, const chat::NodeOutput& out,
                bool clock_ok = true);
  /// Before the observer hears of it. `entry`: of that slot, on its disk.
  void applies(std::uint8_t replica, std::uint16_t program, const chat::StateWrite& write,
               const Disk::Entry* entry);
  /// A turn's effects are carried out. `settled`: nothing of it waits for its disk, and it knows.
  void ends_turn(std::uint8_t replica, std::uint16_t program, const chat::Node& node, const Disk& disk,
                 bool settled, const std::string& stop) const;
  /// It has opened its directory, whose state stands at `state`.
  void starts(std::uint8_t replica, std::uint16_t program, paxos::Slot state) const;
  /// It gets a datagram that its program does not read, of the format that goes with `rules`.
  void cannot_read(std::uint8_t replica, std::uint16_t rules) const;

  /// It ends, or does not start, and says `why`: only because rules were raised that it does not know, and by
  /// name.
  void refuses(std::uint8_t replica, const std::string& why);

  [[nodiscard]] const Refusals& refusals() const { return refusals_; }
  /// In force after the last slot that anybody has applied.
  [[nodiscard]] std::uint16_t rules() const { return rules_after(applied_); }
  [[nodiscard]] bool unknown(std::uint16_t program, paxos::Slot state) const {
    return rules_after(state) > program;
  }
  /// Whether a raise to these rules was ever proposed: from then on an older program may have to stop.
  [[nodiscard]] bool proposed(std::uint16_t rules) const { return proposed_max_ >= rules; }
  /// Whether somebody may still propose a raise to `rules` because of what `replica` said.
  [[nodiscard]] bool counted_on(std::uint8_t replica, std::uint16_t rules, Nanos now) const;

 private:
  static constexpr std::size_t rules_max = 16;
  [[nodiscard]] std::uint16_t rules_after(paxos::Slot slot) const;
  void rows_fit(const chat::StateWrite& write, const paxos::Decree& decree, std::uint16_t before,
                std::uint16_t after);

  Nanos fresh_;  ///< an election timeout, by the slowest clock
  std::vector<std::array<Nanos, rules_max>>
      said_;  ///< by replica and rules: when it last said that it knows them
  std::uint16_t oldest_;
  std::uint16_t proposed_max_ = 0;                 ///< the highest rules of a raise that was proposed
  std::set<std::uint64_t> proposed_;               ///< slots in which a raise was proposed under any ballot
  std::map<std::uint64_t, std::uint16_t> raised_;  ///< slot, and the rules from the next one on
  paxos::Slot applied_;                            ///< by the first to get there
  Refusals refusals_;
  std::string hash_ = std::string(16, '\0');  ///< chain at applied_
};

}  // namespace sim
