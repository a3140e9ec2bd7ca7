#include "tests/sim/timeline.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "tests/sim/observer.h"

namespace sim {

namespace {

using paxos::Slot;

std::string number(Slot slot) { return slot.none() ? "none" : std::to_string(slot.n); }

/// The client messages in it, by the observer's marks: "c3#12".
std::string text(const paxos::Decree& decree) {
  if (decree.kind == paxos::DecreeKind::noop) return "no-op";
  std::string out = "[";
  const std::string_view value = decree.value.view();
  std::size_t marks = 0;
  for (std::size_t at = value.find(Observer::marker); at != std::string_view::npos;
       at = value.find(Observer::marker, at + 1)) {
    const std::uint64_t id =
        std::strtoull(std::string(value.substr(at + Observer::marker.size(), 16)).c_str(), nullptr, 16);
    if (++marks > 6) continue;
    out += (marks == 1 ? "c" : " c") + std::to_string(id >> 32) + "#" + std::to_string(id & 0xffffffff);
  }
  if (marks == 0) out += std::to_string(value.size()) + " bytes";
  if (marks > 6) out += " and " + std::to_string(marks - 6) + " more";
  return out + "]";
}

void widen(paxos::SlotRange& range, Slot slot) {
  range.first = range.first.none() ? slot : std::min(range.first, slot);
  range.last = std::max(range.last, slot);
}

struct Teller {
  Timeline::Line& line;

  bool say(Topic topic, std::string words) const {
    line.topic = topic;
    line.text += std::move(words);
    return true;
  }
  template <class M>
  bool operator()(const M&) const {
    return false;
  }
  bool operator()(const paxos::HandOver& m) const {
    return say(Topic::ballot, "HandOver " + to_string(m.ballot));
  }
  bool operator()(const paxos::Prepare& m) const {
    return say(Topic::ballot, "Prepare " + to_string(m.ballot) + " from slot " + number(m.from));
  }
  bool operator()(const paxos::Promise& m) const {
    std::string words = "Promise " + to_string(m.ballot) + ", all chosen to " + number(m.chosen_prefix);
    std::size_t told = 0;
    for (const paxos::PromiseEntry& entry : m.entries) {
      widen(line.slots, entry.slot);
      if (++told <= 12)
        words += "; " + number(entry.slot) + (entry.chosen ? " chosen " : " voted ") +
                 to_string(entry.ballot) + " " + text(entry.decree);
    }
    if (told > 12) words += "; and " + std::to_string(told - 12) + " more";
    return say(Topic::ballot, words + (m.next.none() ? "" : "; more from slot " + number(m.next)));
  }
  bool operator()(const paxos::Accept& m) const {
    widen(line.slots, m.slot);
    return say(Topic::slot,
               "Accept " + to_string(m.ballot) + " slot " + number(m.slot) + " " + text(m.decree));
  }
  bool operator()(const paxos::Accepted& m) const {
    std::string words = "Accepted " + to_string(m.ballot) + " slots";
    for (const paxos::SlotRange& range : m.slots) {
      widen(line.slots, range.first);
      widen(line.slots, range.last);
      words += " " + number(range.first) + (range.last == range.first ? "" : "-" + number(range.last));
    }
    return say(Topic::slot, std::move(words));
  }
  bool operator()(const paxos::Nack& m) const {
    return say(Topic::ballot, "Nack of " + to_string(m.refused) + ", promised " + to_string(m.promised));
  }
  bool operator()(const paxos::Commit& m) const {
    widen(line.slots, m.chosen_prefix);
    return say(Topic::slot, "Commit " + to_string(m.ballot) + " to slot " + number(m.chosen_prefix));
  }
  bool operator()(const paxos::LearnRequest& m) const {
    widen(line.slots, m.from);
    widen(line.slots, std::min(m.to, m.from + 4096));
    return say(Topic::slot, "LearnRequest from slot " + number(m.from));
  }
  bool operator()(const paxos::LearnReply& m) const {
    std::string words = "LearnReply";
    std::size_t told = 0;
    for (const paxos::ChosenDecree& chosen : m.decrees) {
      widen(line.slots, chosen.slot);
      if (++told <= 12) words += " " + number(chosen.slot) + " " + text(chosen.decree);
    }
    if (told > 12) words += " and " + std::to_string(told - 12) + " more";
    return say(Topic::slot, words + ", all chosen to " + number(m.chosen_prefix) + ", log from " +
                                number(m.first_slot) + " on");
  }

  bool operator()(const paxos::PromiseRecord& r) const {
    return say(Topic::ballot, "promise of " + to_string(r.ballot));
  }
  bool operator()(const paxos::VoteRecord& r) const {
    widen(line.slots, r.slot);
    return say(Topic::slot,
               "vote for slot " + number(r.slot) + " " + to_string(r.ballot) + " " + text(r.decree));
  }
  bool operator()(const paxos::ChosenRecord& r) const {
    widen(line.slots, r.slot);
    return say(Topic::slot,
               "slot " + number(r.slot) + " as chosen " + to_string(r.ballot) + " " + text(r.decree));
  }
  bool operator()(const paxos::PeerRecord& r) const {
    return say(Topic::life, "boot " + std::to_string(r.origin.life.boot) + " of replica " +
                                std::to_string(r.peer.n) + ", with " + std::to_string(r.groups) + " groups");
  }
  bool operator()(const paxos::OutdatedRecord& r) const {
    return say(Topic::life, "that it is an older copy, says replica " + std::to_string(r.by.n));
  }
  bool operator()(const paxos::ChosenPrefixRecord& r) const {
    widen(line.slots, r.slot);
    return say(Topic::slot, "all chosen to " + number(r.slot));
  }
  bool operator()(const paxos::TrimRecord& r) const {
    widen(line.slots, r.first);
    return say(Topic::slot, "the log begins with slot " + number(r.first));
  }
};

/// The numbers that stand behind `word` in `sentence`.
std::vector<std::uint64_t> numbers_behind(std::string_view sentence, std::string_view word) {
  std::vector<std::uint64_t> out;
  for (std::size_t at = sentence.find(word); at != std::string_view::npos; at = sentence.find(word, at + 1)) {
    const std::string rest(sentence.substr(at + word.size(), 20));
    if (!rest.empty() && std::isdigit(static_cast<unsigned char>(rest[0])) != 0)
      out.push_back(std::strtoull(rest.c_str(), nullptr, 10));
  }
  return out;
}

bool contains_word(std::string_view text, std::string_view word) {
  const std::size_t at = text.find(word);
  if (at == std::string_view::npos) return false;
  const std::size_t end = at + word.size();
  return end == text.size() || std::isdigit(static_cast<unsigned char>(text[end])) == 0;
}

std::string stamped(const Timeline::Line& line) {
  char stamp[32];
  std::snprintf(stamp, sizeof stamp, "%11.3f ms  ", static_cast<double>(line.at) / 1e6);
  return stamp + line.text + "\n";
}

}  // namespace

void Timeline::add(Line line) {
  lines_.push_back(std::move(line));
  if (lines_.size() > lines_kept) lines_.pop_front();
}

std::string Timeline::all(std::size_t lines_max) const {
  std::string out;
  for (std::size_t i = lines_.size() > lines_max ? lines_.size() - lines_max : 0; i < lines_.size(); ++i)
    out += stamped(lines_[i]);
  return out;
}

std::string Timeline::relevant(std::string_view violation, std::size_t lines_max) const {
  const std::vector<std::uint64_t> slots = numbers_behind(violation, "slot ");
  std::vector<std::string> marks;
  const auto clients = numbers_behind(violation, " of client ");
  const auto messages = numbers_behind(violation, "message ");
  for (std::size_t i = 0; i < std::min(clients.size(), messages.size()); ++i)
    marks.push_back("c" + std::to_string(clients[i]) + "#" + std::to_string(messages[i]));
  const bool names_some = !slots.empty() || !marks.empty();
  std::vector<const Line*> chosen;
  for (auto line = lines_.rbegin(); line != lines_.rend() && chosen.size() < lines_max; ++line) {
    bool tells = line->topic != Topic::slot || !names_some;
    for (const std::uint64_t slot : slots)
      tells = tells || (line->slots.first.n <= slot && slot <= line->slots.last.n);
    for (const std::string& mark : marks) tells = tells || contains_word(line->text, mark);
    if (tells) chosen.push_back(&*line);
  }
  std::string out;
  for (auto line = chosen.rbegin(); line != chosen.rend(); ++line) out += stamped(**line);
  return out;
}

bool tell(const paxos::PeerMessage& message, Timeline::Line& line) {
  return std::visit(Teller{line}, message);
}
bool tell(const paxos::Record& record, Timeline::Line& line) { return std::visit(Teller{line}, record); }

}  // namespace sim
