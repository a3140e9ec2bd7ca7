// Rows lie in families of their own from rules 2 and log format 3 on; what is older stays where it is.

#include "storage/families.h"

#include <gmock/gmock.h>
#include <rocksdb/db.h>

#include <algorithm>
#include <future>

#include "chat/rows.h"
#include "storage/state_store.h"
#include "tests/storage/fault_env.h"
#include "tests/storage/life.h"

namespace storage::test {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> families_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  EXPECT_TRUE(rocksdb::DB::ListColumnFamilies({}, folder.string(), &names).ok());
  std::sort(names.begin(), names.end());
  return names;
}

/// As a program opens it that knows no families; what it says.
std::string opened_without_families(const std::filesystem::path& folder) {
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(rocksdb::Options(), folder.string(), &db);
  delete db;
  return status.ok() ? std::string() : status.ToString();
}

OpenOptions newer(const TempDir& dir) {
  auto o = options(dir.path());
  o.rules_known = chat::rules_released;
  return o;
}

std::vector<std::string> posted(int n) {
  std::vector<std::string> out;
  for (int i = 1; i <= n; ++i) out.push_back("text " + std::to_string(i) + std::string(600, 'x'));
  return out;
}

void post(Life& life, const chat::SessionId& session, int from, int to) {
  const auto texts = posted(to);
  for (int n = from; n <= to; ++n)
    life.post(session, static_cast<std::uint64_t>(n), texts[static_cast<std::size_t>(n - 1)]);
}

TEST(Families, AreMadeWhenTheRulesAreRaisedAndNotBefore) {
  const TempDir dir;
  const auto o = newer(dir);
  {
    Life life(o);
    post(life, life.open_session(), 1, 5);
  }
  for (const char* part : {"log", "state"}) {
    EXPECT_THAT(families_in(o.directory / part), ElementsAre("default")) << part;
    EXPECT_EQ(opened_without_families(o.directory / part), "") << "the way back is open: " << part;
  }
  {
    Life life(o);
    life.raise(2);
    post(life, life.open_session(), 1, 2);
  }
  EXPECT_THAT(families_in(o.directory / "state"), Contains("journal"));
  EXPECT_THAT(families_in(o.directory / "log"), ElementsAre("default")) << "with format 3, at the next start";
  {
    Life life(o);
  }
  EXPECT_THAT(families_in(o.directory / "log"), Contains(name_of(Family::slots)));
  for (const char* part : {"log", "state"})
    EXPECT_THAT(opened_without_families(o.directory / part), HasSubstr("for a later paxosd")) << part;
}

TEST(Families, WhatIsOlderIsReadFromWhereItIs) {
  const TempDir dir;
  const auto o = newer(dir);
  chat::SessionId session;
  paxos::Hash hash;
  {
    Life life(o);
    session = life.open_session();
    post(life, session, 1, 20);
    life.raise(2);
    post(life, session, 21, 40);
    EXPECT_EQ(life.history(), posted(40));
  }
  for (int start = 0; start < 3; ++start) {
    SCOPED_TRACE(start);
    Life life(o);
    EXPECT_EQ(life.history(), posted(40 + start));
    EXPECT_EQ(life.post(session, 3, posted(3)[2]), 3u) << "the session knows its answers";
    const auto entries = life.read<std::size_t>(
        [](const Storage::Reader& reader) { return reader.log({1}, {1000}, SIZE_MAX)->size(); });
    EXPECT_EQ(entries, life.machine.applied().n) << "slots of both places, in order";
    post(life, session, 41 + start, 41 + start);
    hash = life.machine.hash();
  }
  // The log alone makes the same state again, and it is split from where the rules rise.
  std::filesystem::remove_all(o.directory / "state");
  Life life(o);
  EXPECT_EQ(life.machine.hash(), hash);
  EXPECT_EQ(life.history(), posted(43));
}

TEST(Families, ThatACrashLeftHalfMadeAreMade) {
  const TempDir dir;
  const auto o = newer(dir);
  chat::SessionId session;
  {
    Life life(o);
    session = life.open_session();
    post(life, session, 1, 5);
  }
  {
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(rocksdb::Options(), (o.directory / "state").string(), &db).ok());
    rocksdb::ColumnFamilyHandle* handle = nullptr;
    ASSERT_TRUE(db->CreateColumnFamily({}, name_of(Family::rest), &handle).ok());
    ASSERT_TRUE(db->DestroyColumnFamilyHandle(handle).ok());
    delete db;
  }
  {
    Life life(o);
    EXPECT_EQ(life.history(), posted(5));
    post(life, session, 6, 6);
  }
  Life life(o);
  EXPECT_EQ(life.history(), posted(6));
  life.raise(2);
  post(life, session, 7, 9);
  EXPECT_EQ(life.history(), posted(9));
}

// Rows of one slot lie in four families: after a power cut all of them are there, or none.
TEST(Families, APowerCutLeavesEverySlotWholeOrNotAtAll) {
  const TempDir dir;
  FaultDisk disk;
  auto o = options(dir.path());
  o.env = disk.env();
  std::filesystem::create_directories(o.directory / "log");
  paxos::Recovered recovered;
  const auto log = LogStore::open(o, recovered);
  ASSERT_TRUE(log) << log.error();
  const auto keys = [](std::uint64_t n) {
    return std::vector{chat::rows::message("ops", n), chat::rows::hash({n}), chat::rows::journal({n}),
                       chat::rows::topic(std::to_string(n))};
  };
  constexpr std::uint64_t slots = 120;  // more than all the memory tables of four families take
  {
    const auto state = StateStore::open(o, **log);
    ASSERT_TRUE(state) << state.error();
    Said said;
    (*state)->start(said.completions());
    for (std::uint64_t n = 1; n <= slots; ++n) {
      std::vector<chat::Row> rows;
      for (const std::string& key : keys(n))
        rows.push_back({key, std::string(256u << 10, static_cast<char>(n))});
      // The first ones are of rules 1.
      rows.push_back(
          {chat::rows::meta(), std::string{1, static_cast<char>(n < 10 ? 1 : 2)} + std::to_string(n)});
      (*state)->write({n}, std::move(rows));
    }
    std::promise<void> written;
    (*state)->read([&](const Storage::Reader&) { written.set_value(); }, {});
    written.get_future().wait();
    disk.fail(FaultDisk::Fault::any, 1, false);
  }
  disk.heal();
  disk.drop_unsynced();
  const auto state = StateStore::open(o, **log);
  ASSERT_TRUE(state) << state.error();
  (*state)->with_reader([&](const chat::RowReader& rows) {
    const std::uint64_t last = std::stoull(rows.get(chat::rows::meta()).value_or("\1\0000").substr(2));
    EXPECT_GT(last, 10u) << "nothing reached the disk: this run shows nothing";
    EXPECT_LT(last, slots);
    for (std::uint64_t n = 1; n <= slots; ++n)
      for (const std::string& key : keys(n))
        EXPECT_EQ(rows.get(key).has_value(), n <= last)
            << "'" << key[0] << "' of slot " << n << " of " << last;
    std::size_t runs = 0, back = 0;
    rows.scan(chat::rows::family_begin('a'), chat::rows::family_end('z'), [&](std::string_view key, auto) {
      runs += key[0] == chat::rows::family_message;
      return true;
    });
    std::string before = "~";
    rows.scan_back(chat::rows::family_begin('a'), chat::rows::family_end('z'),
                   [&](std::string_view key, auto) {
                     EXPECT_LT(std::string(key), before);
                     before = key;
                     ++back;
                     return true;
                   });
    EXPECT_EQ(runs, last);
    EXPECT_EQ(back, 4 * last + 1);
  });
}

}  // namespace
}  // namespace storage::test
