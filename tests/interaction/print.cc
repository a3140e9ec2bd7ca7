#include "tests/interaction/print.h"

#include <algorithm>

namespace interaction {

namespace {

using namespace paxos;

std::string text(const Decree& decree) {
  if (decree.kind == DecreeKind::noop) return "no-op";
  std::string_view value = decree.value.view();
  // A decree of one repeated letter stands for a big one.
  if (value.size() > 40 && value.find_first_not_of(value.front()) == std::string_view::npos)
    return std::to_string(value.size()) + "*" + std::string(1, value.front());
  return '"' + std::string(value) + '"';
}
std::string number(Slot slot) { return slot.none() ? "none" : std::to_string(slot.n); }
std::string name(Ballot b) { return b.none() ? "none" : to_string(b); }
std::string range(const SlotRange& r) {
  return r.first == r.last ? number(r.first) : number(r.first) + "-" + number(r.last);
}

struct Printer {
  std::string operator()(const HeartbeatRequest&) const { return "HeartbeatRequest"; }
  std::string operator()(const HeartbeatReply& m) const {
    return "HeartbeatReply ballot=" + name(m.ballot) + " leader=" + name(m.leader) +
           (m.happy ? " happy" : "") + (m.candidate ? " candidate" : "") +
           " prefix=" + number(m.chosen_prefix);
  }
  std::string operator()(const HandOver& m) const { return "HandOver ballot=" + name(m.ballot); }
  std::string operator()(const Prepare& m) const {
    return "Prepare ballot=" + name(m.ballot) + " from=" + number(m.from);
  }
  std::string operator()(const Promise& m) const {
    std::string out = "Promise ballot=" + name(m.ballot) + " w=" + number(m.chosen_prefix);
    for (const PromiseEntry& entry : m.entries)
      out += " " + number(entry.slot) + (entry.chosen ? ":chosen:" : ":voted:") + name(entry.ballot) + ":" +
             text(entry.decree);
    return out + (m.next.none() ? "" : " next=" + number(m.next));
  }
  std::string operator()(const Accept& m) const {
    return "Accept ballot=" + name(m.ballot) + " slot=" + number(m.slot) + " " + text(m.decree) +
           " prefix=" + number(m.chosen_prefix);
  }
  std::string operator()(const Accepted& m) const {
    std::string out = "Accepted ballot=" + name(m.ballot) + " slots=";
    for (std::size_t i = 0; i < m.slots.size(); ++i) out += (i == 0 ? "" : ",") + range(m.slots[i]);
    return out;
  }
  std::string operator()(const Nack& m) const {
    return "Nack refused=" + name(m.refused) + " promised=" + name(m.promised);
  }
  std::string operator()(const Commit& m) const {
    return "Commit ballot=" + name(m.ballot) + " prefix=" + number(m.chosen_prefix);
  }
  std::string operator()(const LearnRequest& m) const {
    return "LearnRequest slots=" + range({m.from, m.to});
  }
  std::string operator()(const LearnReply& m) const {
    std::string out = "LearnReply prefix=" + number(m.chosen_prefix);
    for (const ChosenDecree& chosen : m.decrees) out += " " + number(chosen.slot) + ":" + text(chosen.decree);
    return out;
  }
  std::string operator()(const ReadConfirm& m) const { return "ReadConfirm ballot=" + name(m.ballot); }
  std::string operator()(const ReadConfirmed& m) const { return "ReadConfirmed ballot=" + name(m.ballot); }
  std::string operator()(const ReadRequest&) const { return "ReadRequest"; }
  std::string operator()(const ReadReply& m) const { return "ReadReply index=" + number(m.index); }
  std::string operator()(const Birth& m) const {
    const auto known =
        std::count_if(m.members.begin(), m.members.end(), [](const Incarnation& i) { return !i.none(); });
    return "Birth knows=" + std::to_string(known) + (m.synced ? " synced" : "") + (m.born ? " born" : "");
  }
  std::string operator()(const Outdated& m) const {
    return "Outdated boot=" + std::to_string(m.meant.boot) + " known=" + std::to_string(m.known_boot);
  }
  std::string operator()(const Introduce&) const { return "Introduce"; }
  std::string operator()(const Introduction& m) const {
    return "Introduction lives=" + std::to_string(m.lives.size());
  }
  std::string operator()(const Forward& m) const {
    return "Forward commands=" + std::to_string(m.commands.size());
  }
};

}  // namespace

std::string describe(const PeerMessage& message) { return std::visit(Printer{}, message); }

}  // namespace interaction
