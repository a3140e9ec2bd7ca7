#include "chat/retention.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <thread>

#include "chat/rows.h"
#include "tests/storage/support.h"

/// What rooms have forgotten, on the disk.
namespace storage::test {
namespace {

class Retention : public testing::Test {
 protected:
  TempDir dir;
  OpenOptions o = options(dir.path());
  Said said;
  std::optional<Storage::Opened> s;
  chat::Machine machine{2};
  chat::SessionId session;
  std::uint64_t seq = 0;
  bool log_too = true;
  std::vector<paxos::Record> log;  ///< what a start wants to see of what is applied

  Retention() {
    o.rules_known = 2;
    s.emplace(opened(o));
    s->storage->start(said.completions());
    write(chat::make_rules_decree(2));
    chat::Command open;
    open.operation = chat::Open{{1}};
    session = write(open).outcomes.at(0).session;
  }
  chat::Applied write(const paxos::Decree& decree) {
    chat::Applied applied = machine.apply(machine.applied() + 1, decree);
    if (log_too) log.emplace_back(paxos::ChosenRecord{applied.slot, {1, {1}}, decree});
    s->storage->write_state(applied.slot, applied.rows);
    return applied;
  }
  chat::Applied write(const chat::Command& command) {
    const std::vector<paxos::Bytes> one{chat::encode(command)};
    return write(chat::make_decree(1'795'000'000'000, one));
  }
  chat::Applied run(chat::Operation operation) {
    ++seq;
    return write({.session = session, .seq = seq, .answered_below = seq, .operation = std::move(operation)});
  }
  void post(const std::string& room, const std::string& text = "text") { run(chat::Post{room, "ann", text}); }
  template <class Value>
  Value read(std::function<Value(const chat::RowReader&)> job) {
    std::promise<Value> done;
    s->storage->read([&](const Storage::Reader& reader) { done.set_value(job(reader.rows)); });
    return done.get_future().get();
  }
  std::size_t rows_of(char family, const std::string& room) {
    return read<std::size_t>([&](const chat::RowReader& rows) {
      std::size_t count = 0;
      rows.scan(chat::rows::in_room(family, room, 0), chat::rows::in_room(family, room, UINT64_MAX),
                [&](std::string_view, std::string_view) {
                  ++count;
                  return true;
                });
      return count;
    });
  }
  chat::HistoryPage history(const std::string& room, std::uint64_t from = 1) {
    return read<chat::HistoryPage>([&](const chat::RowReader& rows) {
      const auto page = chat::read_history(rows, room, from, 0);
      EXPECT_TRUE(page) << page.error();
      return page.value_or(chat::HistoryPage{});
    });
  }
};

TEST_F(Retention, RunsBelowGoAndNothingElse) {
  for (int i = 0; i < 10; ++i)
    for (const char* room : {"ops", "opt", "o", "opsy"}) post(room, std::string(1000, 'x'));
  run(chat::Redact{"ops", 2, "bob", "a secret"});
  run(chat::Redact{"ops", 9, "bob", "another"});
  const auto kept = run(chat::Retain{.room = "ops", .count = 4}).kept_from;
  ASSERT_EQ(kept, (std::vector<chat::MessageName>{{"ops", 7}}));
  const chat::HistoryPage before = history("ops");
  s->storage->forget_messages(kept[0]);
  EXPECT_EQ(rows_of(chat::rows::family_message, "ops"), 4u);
  EXPECT_EQ(rows_of(chat::rows::family_redaction, "ops"), 1u);
  EXPECT_EQ(rows_of(chat::rows::family_erasure, "ops"), 2u) << "a late copy is to be known";
  for (const char* room : {"opt", "o", "opsy"})
    EXPECT_EQ(rows_of(chat::rows::family_message, room), 10u) << room;
  EXPECT_EQ(history("ops"), before);
  EXPECT_EQ(before.messages.front().seq, 7u);
  s->storage->forget_messages(kept[0]);
  s->storage->forget_messages({"nowhere", 5});
  EXPECT_EQ(history("ops"), before) << "again is fine";
  // After a clean stop, which writes all of it to tables.
  log.emplace_back(paxos::ChosenPrefixRecord{machine.applied()});
  s->storage->append(s->recovered.last_group + 1, std::move(log));
  ASSERT_TRUE(said.wait_synced(s->recovered.last_group + 1));
  s.reset();
  s.emplace(opened(o));
  s->storage->start(said.completions());
  EXPECT_EQ(rows_of(chat::rows::family_message, "ops"), 4u);
  EXPECT_EQ(history("ops"), before);
  EXPECT_TRUE(said.failures().empty());
}

TEST_F(Retention, ARoomThatKeepsNothingHasNoRunsAndKeepsItsPlace) {
  for (int i = 0; i < 3; ++i) post("ops");
  s->storage->forget_messages({"ops", 3});
  EXPECT_EQ(rows_of(chat::rows::family_message, "ops"), 1u);
  s->storage->forget_messages({"ops", 4});
  EXPECT_EQ(rows_of(chat::rows::family_message, "ops"), 0u);
}

TEST_F(Retention, WhatASteadyStreamTakesLevelsOff) {
  log_too = false;
  run(chat::Retain{.count = 1000});
  const std::string text(16'000, 't');
  std::size_t written = 0;
  for (int i = 0; i < 8'000; ++i) {
    // Not to be compressed away.
    std::string one = text;
    std::uint64_t random = static_cast<std::uint64_t>(i) * 0x9e3779b97f4a7c15ULL + 1;
    for (char& c : one) {
      random ^= random << 13;
      random ^= random >> 7;
      random ^= random << 17;
      c = static_cast<char>('!' + random % 90);
    }
    ++seq;
    const auto applied = write(
        {.session = session, .seq = seq, .answered_below = seq, .operation = chat::Post{"ops", "ann", one}});
    written += one.size();
    if (i % 500 == 499)
      for (const chat::MessageName& kept : applied.kept_from) s->storage->forget_messages(kept);
    while (s->storage->state_backlog_bytes() > 16u << 20)
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  ASSERT_GT(written, 120u << 20);
  const auto takes = [&] { return s->storage->disk_figures().state.sst_bytes; };
  for (int i = 0; i < 600 && takes() > written / 3; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds{50});
  EXPECT_LE(takes(), written / 3);
  EXPECT_GT(history("ops").first, 6'980u);
}

}  // namespace
}  // namespace storage::test
