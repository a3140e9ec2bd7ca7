#include "tests/interaction/script.h"

#include <chrono>
#include <sstream>
#include <utility>

#include "tests/interaction/print.h"

namespace interaction {

namespace {

using namespace paxos_test;

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false;
  for (char c : line) {
    if (c == '"') {
      quoted = !quoted;
    } else if (c == ' ' && !quoted) {
      if (!word.empty()) words.push_back(std::exchange(word, {}));
    } else {
      word += c;
    }
  }
  if (!word.empty()) words.push_back(word);
  return words;
}

std::string id_of(paxos::ReplicaId id) { return std::to_string(id.n); }

/// [TYPE] [from=ID] [to=ID]
Cluster::Which filter(const std::vector<std::string>& words) {
  std::string type;
  int from = -1;
  int to = -1;
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i].starts_with("from="))
      from = std::stoi(words[i].substr(5));
    else if (words[i].starts_with("to="))
      to = std::stoi(words[i].substr(3));
    else
      type = words[i];
  }
  return [=](const Letter& l) {
    const std::string text = describe(l.message);
    return (type.empty() || text.substr(0, text.find(' ')) == type) && (from < 0 || l.from.n == from) &&
           (to < 0 || l.to.n == to);
  };
}

std::string trimmed(const std::string& line) {
  const auto end = line.find_last_not_of(" \t\r");
  return end == std::string::npos ? std::string{} : line.substr(0, end + 1);
}

}  // namespace

std::vector<Block> parse(const std::string& text) {
  std::vector<Block> blocks;
  Block block;
  bool in_output = false;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    line = trimmed(line);
    if (in_output) {
      if (line.empty()) {
        blocks.push_back(std::exchange(block, {}));
        in_output = false;
      } else {
        block.expected += line + "\n";
      }
    } else if (line == "----") {
      in_output = true;
    } else if (line.empty() || line.front() == '#') {
      block.prose.push_back(line);
    } else {
      block.commands.push_back(line);
    }
  }
  if (!block.commands.empty()) blocks.push_back(std::move(block));
  return blocks;
}

std::string format(const std::vector<Block>& blocks) {
  std::string out;
  for (const Block& block : blocks) {
    for (const std::string& line : block.prose) out += line + "\n";
    for (const std::string& line : block.commands) out += line + "\n";
    out += "----\n" + block.expected + "\n";
  }
  return out;
}

void Interpreter::note(const std::string& line) {
  if (!quiet_) out_ += line + "\n";
}

void Interpreter::watch() {
  cluster_->on_deliver = [this](const Letter& l) {
    note(id_of(l.from) + "->" + id_of(l.to) + " " + describe(l.message));
  };
  cluster_->on_ready = [this](std::size_t id, const paxos::Ready& ready) {
    const std::string who = std::to_string(id) + ": ";
    for (const paxos::Event& event : ready.events) note(who + event.text);
    for (const paxos::ChosenDecree& chosen : ready.to_apply) {
      paxos::LearnReply one{.decrees = {chosen}, .first_slot = {}, .chosen_prefix = {}};
      const std::string text = describe(one);
      note(who + "applies " + text.substr(text.rfind(' ', text.find(':')) + 1));
    }
    for (const paxos::ReadIndex& read : ready.reads)
      note(who + "read " + std::to_string(read.id) + " has index " + std::to_string(read.index.n));
    for (std::uint64_t failed : ready.reads_failed) note(who + "read " + std::to_string(failed) + " failed");
  };
}

void Interpreter::begin(const std::vector<std::string>& words) {
  Setup setup{.replicas = std::stoul(words.at(1))};
  std::optional<std::size_t> leader;
  for (std::size_t i = 2; i < words.size(); ++i) {
    if (words[i] == "unborn") setup.born = false;
    if (words[i].starts_with("leader=")) leader = std::stoul(words[i].substr(7));
  }
  cluster_ = std::make_unique<Cluster>(setup);
  held_.clear();
  if (leader) {
    cluster_->elect(*leader);
    cluster_->settle();
  }
  watch();
}

void Interpreter::show() {
  for (std::size_t id = 0; id < cluster_->size(); ++id) {
    if (!cluster_->up(id)) {
      note(std::to_string(id) + ": down");
      continue;
    }
    const paxos::Status s = cluster_->status(id);
    note(std::to_string(id) + ": " + paxos::to_string(s.role) + (s.voting ? "" : " not voting") +
         " promised=" + (s.ballot.none() ? "none" : to_string(s.ballot)) +
         " chosen=" + std::to_string(s.chosen.n) + " applied=" + std::to_string(s.applied.n) +
         (s.hole ? " hole=" + std::to_string(s.hole->n) : ""));
  }
}

void Interpreter::command(const std::string& line) {
  const std::vector<std::string> words = split(line);
  const std::string& verb = words.at(0);
  const auto number = [&](std::size_t i) { return std::stoul(words.at(i)); };
  if (verb == "quiet") {
    quiet_ = true;
    command(line.substr(line.find(' ') + 1));
    quiet_ = false;
    return;
  }
  if (verb == "replicas") return begin(words);
  if (!cluster_) return note("error: a script begins with replicas N");
  Cluster& c = *cluster_;
  if (verb == "propose") {
    if (!c.try_propose(number(1), words.at(2))) note("error: replica " + words[1] + " can't propose");
  } else if (verb == "big") {
    if (!c.try_propose(number(1), std::string(number(2), 'x'))) note("error: can't propose");
  } else if (verb == "campaign") {
    c.campaign(number(1));
  } else if (verb == "tick") {
    c.tick(number(1));
  } else if (verb == "advance") {
    c.advance(std::chrono::milliseconds{number(1)});
  } else if (verb == "heartbeats") {
    c.advance(c.setup().heartbeat);
    c.connect();
  } else if (verb == "deliver") {
    if (c.deliver_if(filter(words)) == 0) note("nothing was under way");
  } else if (verb == "drop") {
    for (const Letter& l : c.take_if(filter(words)))
      note("lost: " + id_of(l.from) + "->" + id_of(l.to) + " " + describe(l.message));
  } else if (verb == "hold") {
    for (Letter& l : c.take_if(filter(words))) held_.push_back(std::move(l));
  } else if (verb == "release") {
    for (Letter& l : std::exchange(held_, {})) c.bag().push_back(std::move(l));
  } else if (verb == "stabilize") {
    c.settle();
  } else if (verb == "run") {
    c.run_for(std::chrono::milliseconds{number(1)});
  } else if (verb == "crash") {
    c.crash(number(1));
    note(words[1] + ": crashes");
  } else if (verb == "restart") {
    note(words[1] + ": restarts");
    c.restart(number(1));
  } else if (verb == "wipe") {
    note(words[1] + ": starts with an empty directory");
    c.wipe(number(1));
  } else if (verb == "disk") {
    c.hold_disk(words.at(1) == "hold");
  } else if (verb == "sync") {
    note(words[1] + ": synced");
    c.sync(number(1));
  } else if (verb == "cut") {
    c.cut_both(number(1), number(2));
  } else if (verb == "heal") {
    c.heal();
  } else if (verb == "skip") {
    std::vector<std::uint64_t> slots;
    for (std::size_t i = 2; i < words.size(); ++i) slots.push_back(number(i));
    const paxos::SkipResult result = c.skip(number(1), slots);
    if (!result.refused.empty()) note("refused: " + result.refused);
  } else if (verb == "read") {
    c.read(number(1), ++reads_);
  } else if (verb == "hand-over") {
    if (!c.hand_over(number(1))) note("refused");
  } else if (verb == "show") {
    show();
  } else {
    note("error: unknown command " + verb);
  }
}

std::string Interpreter::run(const Block& block) {
  out_.clear();
  for (const std::string& line : block.commands) {
    try {
      command(line);
    } catch (const std::exception& e) {
      note("error: " + line + ": " + e.what());
    }
  }
  return std::exchange(out_, {});
}

}  // namespace interaction
