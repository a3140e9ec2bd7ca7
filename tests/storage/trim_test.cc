#include <gmock/gmock.h>
#include <rocksdb/db.h>

#include <future>

#include "chat/rows.h"
#include "storage/log_format.h"
#include "storage/log_store.h"
#include "tests/storage/support.h"

/// The log lets go of its oldest slots, the state of their hashes.
namespace storage::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Trim : public testing::Test {
 protected:
  TempDir dir;
  OpenOptions o = options(dir.path());
  Said said;
  std::optional<Storage::Opened> s;
  std::uint64_t group = 0;
  std::mutex mutex;
  paxos::Slot durable;  ///< as it was told

  void SetUp() override {
    o.rules_known = 2;
    start();
  }
  void TearDown() override { s.reset(); }
  void start() {
    s = opened(o);
    group = s->recovered.last_group;
    Completions completions = said.completions();
    completions.state_durable = [this](paxos::Slot slot) {
      const std::lock_guard lock(mutex);
      durable = std::max(durable, slot);
    };
    s->storage->start(completions);
  }
  void append(std::vector<paxos::Record> records) {
    s->storage->append(++group, std::move(records));
    ASSERT_TRUE(said.wait_synced(group));
  }
  void fill(std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t n = first; n < last; ++n)
      s->storage->append(++group, {paxos::ChosenRecord{{n}, {1, {1}}, text("decree " + std::to_string(n))}});
    append({paxos::ChosenRecord{{last}, {1, {1}}, text("decree " + std::to_string(last))},
            paxos::ChosenPrefixRecord{{last}}});
  }
  template <class Result>
  Result read(const std::function<Result(const Storage::Reader&)>& job) {
    auto promise = std::make_shared<std::promise<Result>>();
    auto result = promise->get_future();
    s->storage->read([promise, job](const Storage::Reader& reader) { promise->set_value(job(reader)); });
    if (result.wait_for(std::chrono::seconds{60}) != std::future_status::ready)
      throw std::runtime_error("no answer from the state thread");
    return result.get();
  }
  std::vector<std::uint64_t> slots(std::uint64_t from = 1) {
    return read<std::vector<std::uint64_t>>([from](const Storage::Reader& reader) {
      std::vector<std::uint64_t> out;
      const auto entries = reader.log({from}, {UINT64_MAX}, SIZE_MAX).value();
      for (const paxos::LogEntry& entry : entries) out.push_back(entry.slot.n);
      return out;
    });
  }
};

TEST_F(Trim, WhatIsTrimmedIsGoneForGood) {
  fill(1, 20);
  append({paxos::TrimRecord{{11}}});
  const std::vector<std::uint64_t> left{11, 12, 13, 14, 15, 16, 17, 18, 19, 20};
  EXPECT_EQ(slots(), left);
  EXPECT_EQ(read<std::uint64_t>([](const Storage::Reader& r) { return r.log_first().n; }), 11u);
  // Until the state is there, it can't be redone: it has to come from a peer, and the log says so.
  s.reset();
  start();
  EXPECT_EQ(s->recovered.first_slot, paxos::Slot{11});
  EXPECT_EQ(s->recovered.redo_to, paxos::Slot{20});
  EXPECT_EQ(slots(), left);
  append({paxos::TrimRecord{{15}}});
  s.reset();
  start();
  EXPECT_EQ(s->recovered.first_slot, paxos::Slot{15});
}

TEST(TrimmedLog, KnowsWhereItBeginsBeforeAnybodyHearsOfIt) {
  const TempDir dir;
  auto o = options(dir.path());
  o.rules_known = 2;
  std::filesystem::create_directories(o.directory / "log");
  paxos::Recovered recovered;
  const auto log = LogStore::open(o, recovered);
  ASSERT_TRUE(log) << log.error();
  Said said;
  Completions completions = said.completions();
  std::vector<std::uint64_t> told;  // by the log thread alone, until it has told all
  completions.synced = [&, note = completions.synced](std::uint64_t group) {
    told.push_back((*log)->first_slot().n);
    note(group);
  };
  (*log)->start(completions);
  std::uint64_t group = recovered.last_group;
  const auto append = [&](std::vector<paxos::Record> records) {
    (*log)->append(++group, std::move(records));
    ASSERT_TRUE(said.wait_synced(group));
  };
  append({paxos::ChosenRecord{{1}, {1, {1}}, text("first")},
          paxos::ChosenRecord{{2}, {1, {1}}, text("second")}, paxos::ChosenPrefixRecord{{2}}});
  append({paxos::TrimRecord{{2}}});
  EXPECT_EQ(told, (std::vector<std::uint64_t>{1, 2}));
}

TEST_F(Trim, RaisesTheFormatSoThatOlderProgramsRefuseIt) {
  fill(1, 20);
  s.reset();
  o.rules_known = 1;
  start();  // the first version takes it
  s.reset();
  o.rules_known = 2;
  start();
  append({paxos::TrimRecord{{11}}});
  s.reset();
  o.rules_known = 1;
  EXPECT_THAT(refusal(o), AllOf(HasSubstr("format version 3"), HasSubstr("this program knows version 2")));
  o.rules_known = 2;
  start();
}

/// A file goes once a compaction has come by, or all of it lies below: so a stream levels off at a few tables
/// more than what is kept, however long it is.
TEST_F(Trim, ALongStreamTakesNoMorePlaceThanItKeeps) {
  std::string noise(20'000, 'x');
  std::uint64_t seed = 1;
  std::uint64_t n = 0;
  std::uint64_t written = 0;
  for (int batch = 0; batch < 300; ++batch) {
    std::vector<paxos::Record> records;
    for (int i = 0; i < 30; ++i) {
      for (char& c : noise)
        c = static_cast<char>((seed = seed * 6364136223846793005ULL + 1442695040888963407ULL) >> 56);
      records.emplace_back(paxos::ChosenRecord{{++n}, {1, {1}}, text(noise)});
      written += noise.size();
    }
    records.emplace_back(paxos::ChosenPrefixRecord{{n}});
    if (batch % 5 == 4) records.emplace_back(paxos::TrimRecord{{n - 5}});
    append(std::move(records));
  }
  ASSERT_GT(written, 150u << 20);
  const auto takes = [&] { return s->storage->disk_figures().log.sst_bytes; };
  for (int i = 0; i < 600 && takes() > written / 3; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds{50});
  EXPECT_LE(takes(), written / 3);
  EXPECT_EQ(slots().size(), 6u);
}

TEST_F(Trim, TellsHowMuchOfTheStateACrashLeaves) {
  chat::Machine machine(2);
  std::vector<chat::Row> rows = machine.apply({1}, paxos::Decree{}).rows;
  s->storage->write_state({1}, std::move(rows));
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds{30});
    s->storage->write_state({1}, {{"x", "y"}});
  }
  {
    const std::lock_guard lock(mutex);
    EXPECT_EQ(durable, paxos::Slot{}) << "it is in memory only";
  }
  // More than a buffer holds.
  for (int i = 0; i < 40; ++i)
    s->storage->write_state({1}, {{"x" + std::to_string(i), std::string(1u << 20, 'v')}});
  bool told = false;
  for (int i = 0; i < 400 && !told; ++i) {
    s->storage->write_state({1}, {{"x", "y"}});
    std::this_thread::sleep_for(std::chrono::milliseconds{25});
    const std::lock_guard lock(mutex);
    told = durable == paxos::Slot{1};
  }
  EXPECT_TRUE(told);
}

TEST_F(Trim, HashesOfTrimmedSlotsGoButSome) {
  constexpr std::uint64_t stride = chat::rows::hash_stride;
  std::vector<chat::Row> rows;
  for (std::uint64_t n = 1; n <= 3 * stride; ++n) rows.push_back({chat::rows::hash({n}), "h"});
  s->storage->write_state({3 * stride}, std::move(rows));
  const auto left = [&] {
    return read<std::vector<std::uint64_t>>([](const Storage::Reader& reader) {
      std::vector<std::uint64_t> out;
      reader.rows.scan(chat::rows::family_begin(chat::rows::family_hash),
                       chat::rows::family_end(chat::rows::family_hash),
                       [&](std::string_view key, std::string_view) {
                         out.push_back(paxos::ByteReader(key.substr(1)).key64());
                         return true;
                       });
      return out;
    });
  };
  s->storage->drop_hashes({stride + 100});
  std::vector<std::uint64_t> there = left();
  ASSERT_GT(there.size(), 2u);
  EXPECT_EQ(there[0], stride);
  EXPECT_EQ(there[1], stride + 100);
  s->storage->drop_hashes({3 * stride});
  EXPECT_EQ(left(), (std::vector<std::uint64_t>{stride, 2 * stride, 3 * stride}));
}

TEST_F(Trim, TheEndsOfWhatIsToBeRedoneAreLookedFor) {
  fill(1, 6);
  s.reset();
  {
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open({}, (o.directory / "log").string(), &db).ok());
    const std::unique_ptr<rocksdb::DB> owner(db);
    ASSERT_TRUE(db->Delete({}, log_key::slot({6})).ok());
  }
  EXPECT_THAT(refusal(o), AllOf(HasSubstr("slot 6 is missing"), HasSubstr("up to 6"), HasSubstr("damaged")));
}

}  // namespace
}  // namespace storage::test
