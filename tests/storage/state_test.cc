#include <gmock/gmock.h>

#include <future>

#include "chat/rows.h"
#include "storage/log_store.h"
#include "storage/state_store.h"
#include "tests/storage/fault_env.h"
#include "tests/storage/life.h"

namespace storage::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> texts(int n) {
  std::vector<std::string> out;
  for (int i = 1; i <= n; ++i) out.push_back("text " + std::to_string(i));
  return out;
}

TEST(State, AReadSeesEveryWriteQueuedBeforeIt) {
  const TempDir dir;
  Life life(options(dir.path()));
  const auto session = life.open_session();
  for (int n = 1; n <= 30; ++n) {
    life.post(session, static_cast<std::uint64_t>(n), "text " + std::to_string(n));
    EXPECT_EQ(life.history(), texts(n));
  }
}

TEST(State, RowsAndAppliedSlotComeBackTogether) {
  const TempDir dir;
  const auto o = options(dir.path());
  paxos::Slot applied;
  paxos::Hash hash;
  chat::SessionId session;
  {
    Life life(o);
    session = life.open_session();
    for (int n = 1; n <= 20; ++n)
      life.post(session, static_cast<std::uint64_t>(n), "text " + std::to_string(n));
    applied = life.machine.applied();
    hash = life.machine.hash();
  }
  Life life(o);
  EXPECT_EQ(life.s.recovered.applied, applied) << "a clean end writes the state";
  EXPECT_EQ(life.s.recovered.hash, hash);
  EXPECT_THAT(life.s.recovered.entries, IsEmpty());
  EXPECT_EQ(life.history(), texts(20));
  EXPECT_EQ(life.post(session, 21, "text 21"), 21u) << "sessions and room heads are there again";
  EXPECT_EQ(life.history(), texts(21));
}

TEST(State, APowerCutLeavesEverySlotWholeOrNotAtAll) {
  const TempDir dir;
  FaultDisk disk;
  auto o = options(dir.path());
  o.env = disk.env();
  std::filesystem::create_directories(o.directory / "log");
  paxos::Recovered recovered;
  const auto log = LogStore::open(o, recovered);
  ASSERT_TRUE(log) << log.error();
  const auto row = [](std::uint64_t n) { return "x" + std::to_string(n); };
  const auto slot_of = [](const chat::RowReader& rows) {
    return std::stoull(rows.get("last").value_or("0"));
  };
  constexpr std::uint64_t slots = 40;
  {
    const auto state = StateStore::open(o, **log);
    ASSERT_TRUE(state) << state.error();
    Said said;
    (*state)->start(said.completions());
    // Some buffers full, so that some of these slots reach the disk, and the last ones do not.
    for (std::uint64_t n = 1; n <= slots; ++n)
      (*state)->write({n}, {{row(n), std::string(1u << 20, 'v')}, {"last", std::to_string(n)}});
    std::promise<std::uint64_t> written;
    (*state)->read([&](const Storage::Reader& reader) { written.set_value(slot_of(reader.rows)); }, {});
    ASSERT_EQ(written.get_future().get(), slots);
    disk.fail(FaultDisk::Fault::any, 1, false);
  }
  disk.heal();
  disk.drop_unsynced();
  const auto state = StateStore::open(o, **log);
  ASSERT_TRUE(state) << state.error();
  (*state)->with_reader([&](const chat::RowReader& rows) {
    const std::uint64_t last = slot_of(rows);
    EXPECT_GT(last, 0u) << "nothing reached the disk: this run shows nothing";
    EXPECT_LT(last, slots);
    for (std::uint64_t n = 1; n <= slots; ++n)
      EXPECT_EQ(rows.get(row(n)).has_value(), n <= last) << "row of slot " << n << ", applied slot " << last;
  });
}

TEST(State, AStateThatIsGoneIsRedoneFromTheLog) {
  const TempDir dir;
  const auto o = options(dir.path());
  paxos::Hash hash;
  {
    Life life(o);
    const auto session = life.open_session();
    for (int n = 1; n <= 20; ++n)
      life.post(session, static_cast<std::uint64_t>(n), "text " + std::to_string(n));
    hash = life.machine.hash();
  }
  std::filesystem::remove_all(o.directory / "state");
  Life life(o);
  EXPECT_TRUE(life.s.recovered.applied.none());
  EXPECT_THAT(life.s.recovered.entries, IsEmpty()) << "nothing of what is to be redone is held in memory";
  EXPECT_EQ(life.s.recovered.redo_to, paxos::Slot{21});
  EXPECT_EQ(life.s.recovered.chosen_prefix, paxos::Slot{21});
  EXPECT_GT(life.pages, 2);
  EXPECT_EQ(life.machine.hash(), hash);
  EXPECT_EQ(life.history(), texts(20));
}

TEST(State, AnOlderStateIsBroughtForwardByTheLog) {
  const TempDir dir;
  const auto o = options(dir.path());
  const auto old = dir.path() / "old-state";
  chat::SessionId session;
  {
    Life life(o);
    session = life.open_session();
    for (int n = 1; n <= 5; ++n)
      life.post(session, static_cast<std::uint64_t>(n), "text " + std::to_string(n));
  }
  std::filesystem::copy(o.directory / "state", old, std::filesystem::copy_options::recursive);
  paxos::Hash hash;
  {
    Life life(o);
    for (int n = 6; n <= 9; ++n)
      life.post(session, static_cast<std::uint64_t>(n), "text " + std::to_string(n));
    hash = life.machine.hash();
  }
  std::filesystem::remove_all(o.directory / "state");
  std::filesystem::rename(old, o.directory / "state");
  Life life(o);
  EXPECT_EQ(life.s.recovered.applied, paxos::Slot{6});
  EXPECT_EQ(life.machine.hash(), hash);
  EXPECT_EQ(life.history(), texts(9));
}

TEST(State, ALogThatLacksWhatIsAppliedIsRefused) {
  const TempDir dir;
  const auto o = options(dir.path());
  const auto other = dir.path() / "other";
  {
    Life life(o);
    life.open_session();
  }
  std::filesystem::copy(o.directory, other, std::filesystem::copy_options::recursive);
  {
    Life life(o);
    for (int n = 0; n < 5; ++n) life.open_session();
  }
  // An older copy of the log and its mark beside a newer state.
  for (const char* part : {"log", "log-mark"}) {
    std::filesystem::remove_all(o.directory / part);
    std::filesystem::rename(other / part, o.directory / part);
  }
  EXPECT_THAT(refusal(o), AllOf(HasSubstr("has applied slot 6, which the log does not have"),
                                HasSubstr("keep this replica down")));
}

TEST(State, LogReadsArePagedByBytesAndBounds) {
  const TempDir dir;
  const auto o = options(dir.path());
  Said said;
  auto s = opened(o);
  s.storage->start(said.completions());
  for (std::uint64_t n = 1; n <= 10; ++n)
    s.storage->append(n, {paxos::VoteRecord{{n}, {1, {1}}, text(std::string(1000, 'x'))}});
  ASSERT_TRUE(said.wait_synced(10));
  std::promise<std::vector<std::size_t>> sizes;
  s.storage->read([&](const Storage::Reader& reader) {
    std::vector<std::size_t> out;
    out.push_back(reader.log({1}, {10}, SIZE_MAX)->size());
    out.push_back(reader.log({4}, {6}, SIZE_MAX)->size());
    out.push_back(reader.log({1}, {10}, 2500)->size());
    out.push_back(reader.log({1}, {10}, 1)->size());
    out.push_back(reader.log({11}, {99}, SIZE_MAX)->size());
    out.push_back(reader.log({6}, {4}, SIZE_MAX)->size());
    sizes.set_value(out);
  });
  EXPECT_EQ(sizes.get_future().get(), (std::vector<std::size_t>{10, 3, 3, 1, 0, 0}));
}

// Issue 10, point 6: no-ops have no bytes of their own.
TEST(State, ALongRunOfNoopsIsReadInPagesToo) {
  const TempDir dir;
  const auto o = options(dir.path());
  Said said;
  auto s = opened(o);
  s.storage->start(said.completions());
  constexpr std::uint64_t count = 5000;
  std::vector<paxos::Record> records;
  for (std::uint64_t n = 1; n <= count; ++n) records.push_back(paxos::VoteRecord{{n}, {1, {1}}, {}});
  s.storage->append(1, std::move(records));
  ASSERT_TRUE(said.wait_synced(1));
  std::promise<std::vector<std::size_t>> sizes;
  s.storage->read([&](const Storage::Reader& reader) {
    std::vector<std::size_t> out;
    for (std::uint64_t from = 1; from <= count; from += out.back()) {
      out.push_back(reader.log({from}, {count}, 64 * 1024)->size());
      if (out.back() == 0) break;
    }
    sizes.set_value(out);
  });
  const auto pages = sizes.get_future().get();
  EXPECT_GE(pages.size(), 4u);
  for (const std::size_t page : pages) {
    EXPECT_GE(page, 1u);
    EXPECT_LE(page * sizeof(paxos::LogEntry), 64 * 1024 + sizeof(paxos::LogEntry));
  }
}

// A group is announced as soon as its log record is on disk, before RocksDB has it in its table.
TEST(State, AReadSeesWhatWasAnnounced) {
  const TempDir dir;
  const auto o = options(dir.path());
  Said said;
  auto s = opened(o);
  s.storage->start(said.completions());
  for (std::uint64_t n = 1; n <= 300; ++n) {
    s.storage->append(n, {paxos::VoteRecord{{n}, {1, {1}}, text("x")}});
    ASSERT_TRUE(said.wait_synced(n));
    std::promise<std::size_t> found;
    s.storage->read(
        [&](const Storage::Reader& reader) { found.set_value(reader.log({n}, {n}, SIZE_MAX)->size()); });
    ASSERT_EQ(found.get_future().get(), 1u) << "slot " << n;
  }
}

// chat/versions.h: a newer program leaves the log as the older ones read it until the rules are raised, and
// not after.
TEST(State, TheLogsFormatIsRaisedAtTheFirstStartUnderRulesThatHaveALaterOne) {
  const TempDir dir;
  auto older = options(dir.path());
  older.rules_known = chat::rules_first;
  auto newer = older;
  newer.rules_known = chat::rules_released;
  const auto refusal_of = [](const OpenOptions& o) {
    auto result = Storage::open(o);
    return result ? std::string() : result.error().message;
  };
  {
    Life life(newer);
    life.open_session();
  }
  EXPECT_EQ(refusal_of(older), "") << "the way back is open";
  {
    Life life(newer);
    life.raise(chat::rules_released);
    EXPECT_EQ(life.machine.rules(), chat::rules_released);
  }
  EXPECT_THAT(refusal_of(older), HasSubstr("raised its rules to version 2"));
  EXPECT_EQ(refusal_of(newer), "");  // this start raises the format
  EXPECT_THAT(refusal_of(older), AllOf(HasSubstr("format version 3"), HasSubstr("knows version 2")));
  Life life(newer);
  EXPECT_EQ(life.machine.rules(), chat::rules_released);
  EXPECT_FALSE(life.open_session().none());
}

// The daemon stops applying above a bound of waiting bytes, and the watchdog looks at how old the work under
// way is.
TEST(State, TellsHowMuchWaitsAndSinceWhenItWorks) {
  const TempDir dir;
  Said said;
  auto s = opened(options(dir.path()));
  s.storage->start(said.completions());
  EXPECT_EQ(s.storage->oldest_work_started_ns(), 0);
  std::promise<void> started;
  std::promise<void> go_on;
  s.storage->read([&, go = go_on.get_future().share()](const Storage::Reader&) {
    started.set_value();
    go.wait();
  });
  started.get_future().wait();
  EXPECT_NE(s.storage->oldest_work_started_ns(), 0);
  for (std::uint64_t n = 1; n <= 10; ++n)
    s.storage->write_state({n}, {chat::Row{"key", std::string(997, 'x')}});
  EXPECT_EQ(s.storage->state_backlog_bytes(), 10'000u);
  go_on.set_value();
  std::promise<void> done;
  s.storage->read([&](const Storage::Reader&) { done.set_value(); });
  done.get_future().wait();
  EXPECT_EQ(s.storage->state_backlog_bytes(), 0u);
}

TEST(State, ADamagedBlockIsNamedNeverSkipped) {
  const TempDir dir;
  const auto o = options(dir.path());
  {
    Life life(o);
    const auto session = life.open_session();
    for (int n = 1; n <= 200; ++n)
      life.post(session, static_cast<std::uint64_t>(n), "text " + std::to_string(n));
  }
  int named = 0;
  for (const auto& table : std::filesystem::directory_iterator(o.directory / "state")) {
    if (table.path().extension() != ".sst") continue;
    for (std::uintmax_t at = 5; at < table.file_size(); at += 1 + table.file_size() / 19) {
      SCOPED_TRACE(table.path().filename().string() + " flipped at " + std::to_string(at));
      const TempDir elsewhere;
      const auto copy = options(elsewhere.path());
      std::filesystem::copy(o.directory, copy.directory, std::filesystem::copy_options::recursive);
      const auto file = copy.directory / "state" / table.path().filename();
      std::string bytes = read_file(file);
      bytes[at] = static_cast<char>(bytes[at] ^ 0x20);
      write_file(file, bytes);
      // Open reads what the machine needs. History is read later: all of it, or the replica ends.
      Life life(copy);
      if (!life.s.put_aside.empty()) {
        ++named;
        EXPECT_THAT(life.s.put_aside, HasSubstr((copy.directory / "state").string()));
        EXPECT_EQ(life.history(), texts(200)) << "made again from the log";
        continue;
      }
      auto answer = std::make_shared<std::promise<std::size_t>>();
      auto size = answer->get_future();
      life.s.storage->read([answer](const Storage::Reader& reader) {
        std::size_t rows = 0;
        reader.rows.scan(chat::rows::family_begin(chat::rows::family_message),
                         chat::rows::family_end(chat::rows::family_message),
                         [&](std::string_view, std::string_view) { return ++rows != 0; });
        answer->set_value(rows);
      });
      while (size.wait_for(std::chrono::milliseconds{1}) != std::future_status::ready &&
             life.said.failures().empty()) {
      }
      if (life.said.failures().empty()) {
        EXPECT_EQ(size.get(), 200u);
      } else {
        ++named;
        EXPECT_THAT(life.said.failures().front(), AllOf(HasSubstr((copy.directory / "state").string()),
                                                        HasSubstr("makes the state again")));
      }
    }
  }
  EXPECT_GT(named, 10);
}

}  // namespace
}  // namespace storage::test
