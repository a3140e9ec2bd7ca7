#pragma once

#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/storage/support.h"

namespace storage::test {

/// A replica without its protocol: every slot is chosen at once, logged, applied, and its rows written.
class Life {
 public:
  explicit Life(const OpenOptions& o) : s(opened(o)), machine(std::move(s.machine)) {
    s.storage->start(said.completions());
    group_ = s.recovered.last_group;
    // What the state had not kept is applied again from the log, a page at a time.
    while (machine.applied() < s.recovered.redo_to) {
      const auto page = read<std::vector<paxos::LogEntry>>([this](const Storage::Reader& reader) {
        return reader.log(machine.applied() + 1, s.recovered.redo_to, 1000).value();
      });
      if (page.empty()) throw std::runtime_error("a page without a slot");
      ++pages;
      for (const paxos::LogEntry& entry : page) apply(entry.slot, entry.decree);
    }
  }
  chat::Outcome run(const chat::Command& command) {
    const paxos::Slot slot = machine.applied() + 1;
    const paxos::Decree decree = chat::make_decree(1'795'000'000'000, std::vector{chat::encode(command)});
    s.storage->append(++group_,
                      {paxos::ChosenRecord{slot, {1, {1}}, decree}, paxos::ChosenPrefixRecord{slot}});
    EXPECT_TRUE(said.wait_synced(group_));
    return apply(slot, decree).at(0);
  }
  void raise(std::uint16_t rules) {
    const paxos::Slot slot = machine.applied() + 1;
    const paxos::Decree decree = chat::make_rules_decree(rules);
    s.storage->append(++group_,
                      {paxos::ChosenRecord{slot, {1, {1}}, decree}, paxos::ChosenPrefixRecord{slot}});
    EXPECT_TRUE(said.wait_synced(group_));
    apply(slot, decree);
  }
  chat::SessionId open_session() {
    return run({.session = {}, .seq = 0, .answered_below = 0, .operation = chat::Open{}}).session;
  }
  std::uint64_t post(const chat::SessionId& session, std::uint64_t seq, const std::string& text) {
    return run({.session = session,
                .seq = seq,
                .answered_below = 0,
                .operation = chat::Post{"ops", "ann", text}})
        .room_seq;
  }
  template <class Result>
  Result read(const std::function<Result(const Storage::Reader&)>& job) {
    auto promise = std::make_shared<std::promise<Result>>();
    auto result = promise->get_future();
    s.storage->read([promise, job](const Storage::Reader& reader) { promise->set_value(job(reader)); });
    if (result.wait_for(std::chrono::seconds{30}) != std::future_status::ready)
      throw std::runtime_error("no answer from the state thread");
    return result.get();
  }
  std::vector<std::string> history() {
    return read<std::vector<std::string>>([](const Storage::Reader& reader) {
      std::vector<std::string> texts;
      for (std::uint64_t from = 1; from != 0;) {
        auto page = chat::read_history(reader.rows, "ops", from, 100);
        if (!page) return std::vector<std::string>{page.error()};
        for (const chat::Message& m : page->messages) texts.push_back(m.text);
        from = page->next;
      }
      return texts;
    });
  }

  Said said;
  Storage::Opened s;
  chat::Machine machine;
  int pages = 0;  ///< read to redo what the state had not kept

 private:
  std::vector<chat::Outcome> apply(paxos::Slot slot, const paxos::Decree& decree) {
    chat::Applied applied = machine.apply(slot, decree);
    s.storage->write_state(slot, std::move(applied.rows));
    return applied.outcomes;
  }
  std::uint64_t group_ = 0;
};

}  // namespace storage::test
