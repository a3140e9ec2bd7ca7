#include "tests/explore/letter.h"

#include <type_traits>
#include <variant>

#include "paxos/configuration.h"
#include "tests/explore/archive.h"

namespace explore {

using namespace paxos;

namespace {

std::string number(Slot slot) { return std::to_string(slot.n); }

}  // namespace

std::string to_text(const Decree& decree) {
  if (const auto next = configuration_in(decree)) return "configuration " + std::to_string(next->number);
  return decree.kind == DecreeKind::noop ? "no-op" : "'" + std::string(decree.value.view()) + "'";
}

std::string canonical(Letter letter) {
  std::string out;
  Saver saver(out);
  field(saver, letter);
  return out;
}

std::string to_text(const PeerMessage& message) {
  return std::visit(
      [](const auto& m) -> std::string {
        using M = std::decay_t<decltype(m)>;
        if constexpr (std::is_same_v<M, Prepare>) {
          return "Prepare " + to_string(m.ballot) + " from slot " + number(m.from);
        } else if constexpr (std::is_same_v<M, Promise>) {
          std::string out = "Promise " + to_string(m.ballot) + " w=" + number(m.chosen_prefix);
          for (const PromiseEntry& e : m.entries)
            out += " [slot " + number(e.slot) + " " + to_string(e.ballot) + " " + to_text(e.decree) +
                   (e.chosen ? " chosen]" : "]");
          if (!m.next.none()) out += " next page from slot " + number(m.next);
          return out;
        } else if constexpr (std::is_same_v<M, Accept>) {
          return "Accept " + to_string(m.ballot) + " slot " + number(m.slot) + " " + to_text(m.decree) +
                 " prefix=" + number(m.chosen_prefix);
        } else if constexpr (std::is_same_v<M, Accepted>) {
          std::string out = "Accepted " + to_string(m.ballot) + " slots";
          for (const SlotRange& r : m.slots)
            out += " " + number(r.first) + (r.last == r.first ? "" : "-" + number(r.last));
          return out;
        } else if constexpr (std::is_same_v<M, Nack>) {
          return "Nack to " + to_string(m.refused) + ": promised " + to_string(m.promised);
        } else if constexpr (std::is_same_v<M, Commit>) {
          return "Commit " + to_string(m.ballot) + " prefix=" + number(m.chosen_prefix);
        } else if constexpr (std::is_same_v<M, LearnRequest>) {
          return "LearnRequest slots " + number(m.from) + "-" + number(m.to);
        } else if constexpr (std::is_same_v<M, LearnReply>) {
          std::string out = "LearnReply prefix=" + number(m.chosen_prefix);
          for (const ChosenDecree& c : m.decrees)
            out += " [slot " + number(c.slot) + " " + to_string(c.ballot) + " " + to_text(c.decree) + "]";
          return out;
        } else {
          return "(not searched)";
        }
      },
      message);
}

}  // namespace explore
