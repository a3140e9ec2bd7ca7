#include "chat/snapshot.h"

#include <gmock/gmock.h>

#include <future>

#include "chat/rows.h"
#include "storage/log_store.h"
#include "storage/snapshot_files.h"
#include "storage/state_folder.h"
#include "tests/chat/map_rows.h"
#include "tests/storage/support.h"

namespace storage::test {
namespace {

using chat::test::MapRows;
using paxos::Slot;
namespace fs = std::filesystem;

/// A replica without its protocol: what is posted is chosen at once, logged, applied, and its rows written.
class Talker {
 public:
  explicit Talker(const OpenOptions& o) : s(opened(o)), machine(std::move(s.machine)) {
    s.storage->start(said.completions());
    group_ = s.recovered.last_group;
    s.storage->snapshots().start([this](const std::string& why) { faults.push_back(why); },
                                 [this] { lost = true; });
    for (const paxos::LogEntry& entry : s.recovered.entries)
      if (entry.slot <= s.recovered.chosen_prefix) apply(entry.slot, entry.decree);
  }
  void talk(int slots, std::size_t bytes = 700) {
    if (session_.slot.none())
      session_ = run({.session = {}, .seq = 0, .answered_below = 0, .operation = chat::Open{}}).session;
    for (; slots > 0; --slots) {
      ++seq_;
      run({.session = session_,
           .seq = seq_,
           .answered_below = seq_,
           .operation = chat::Post{"ops", "ann", std::string(bytes, static_cast<char>('a' + seq_ % 26))}});
    }
    synced();
  }
  void log(std::vector<paxos::Record> records) {
    s.storage->append(++group_, std::move(records));
    synced();
  }
  void synced() { EXPECT_TRUE(said.wait_synced(group_)); }
  MapRows rows() {
    std::promise<MapRows> promise;
    s.storage->read([&](const Storage::Reader& reader) {
      MapRows out;
      chat::each_snapshot_row(reader.rows, {}, [&](std::string_view key, std::string_view value) {
        out.rows()[std::string(key)] = std::string(value);
        return true;
      });
      promise.set_value(std::move(out));
    });
    return promise.get_future().get();
  }
  SnapshotFiles::Made make(std::uint64_t number) {
    return wait<SnapshotFiles::Made>([&](auto done) { files().make(s.recovered.incarnation, number, done); });
  }
  std::optional<chat::SnapshotChunk> read(const chat::SnapshotId& id, const chat::SnapshotPlace& from) {
    return wait<std::optional<chat::SnapshotChunk>>([&](auto done) { files().read(id, from, 5000, done); });
  }
  SnapshotFiles::Counted count_staged() {
    return wait<SnapshotFiles::Counted>([&](auto done) { files().count_staged(done); });
  }
  void write(const chat::SnapshotPuller::Write& write) {
    wait<int>([&](auto done) { files().write(write, [done] { done(1); }); });
  }
  void finish(chat::SnapshotProgress progress) {
    progress.complete = true;
    wait<int>([&](auto done) { files().finish(progress, [done] { done(1); }); });
  }
  SnapshotFiles& files() { return s.storage->snapshots(); }
  chat::SnapshotId id(std::uint64_t number, const chat::SnapshotSource::Made& made) {
    return {.source = s.recovered.incarnation, .number = number, .slot = made.slot, .hash = made.hash};
  }

  Said said;
  Storage::Opened s;
  chat::Machine machine;
  std::vector<std::string> faults;
  std::atomic<bool> lost = false;

 private:
  template <class T, class Ask>
  static T wait(Ask ask) {
    auto promise = std::make_shared<std::promise<T>>();
    auto result = promise->get_future();
    ask([promise](T value) { promise->set_value(std::move(value)); });
    if (result.wait_for(std::chrono::seconds{60}) != std::future_status::ready)
      throw std::runtime_error("no answer from the snapshots' thread");
    return result.get();
  }
  chat::Outcome run(const chat::Command& command) {
    const Slot slot = machine.applied() + 1;
    const paxos::Decree decree = chat::make_decree(1'795'000'000'000, std::vector{chat::encode(command)});
    s.storage->append(++group_,
                      {paxos::ChosenRecord{slot, {1, {1}}, decree}, paxos::ChosenPrefixRecord{slot}});
    return apply(slot, decree).at(0);
  }
  std::vector<chat::Outcome> apply(Slot slot, const paxos::Decree& decree) {
    chat::Applied applied = machine.apply(slot, decree);
    s.storage->write_state(slot, std::move(applied.rows));
    return applied.outcomes;
  }
  chat::SessionId session_;
  std::uint64_t seq_ = 0;
  std::uint64_t group_ = 0;
};

/// The whole snapshot, in the pieces in which a puller has it written.
struct Pulled {
  chat::SnapshotId id;
  std::vector<chat::SnapshotPuller::Write> writes;
  MapRows rows;
};
Pulled pull(Talker& source, const chat::SnapshotId& id) {
  Pulled out{.id = id, .writes = {}, .rows = {}};
  chat::SnapshotRows cut;
  chat::SnapshotPlace at;
  for (bool last = false; !last;) {
    const auto chunk = source.read(id, at);
    if (!chunk) throw std::runtime_error("it does not read");
    chat::SnapshotPuller::Write write;
    EXPECT_TRUE(cut.take(chunk->bytes.view(), write.rows));
    at = chunk->next;
    last = chunk->last;
    out.rows.write(write.rows);
    write.progress = {
        .id = id,
        .place = {.offset = at.offset - cut.held(), .key = cut.last_key() + std::string(1, '\0')},
        .bytes_about = 1};
    for (const chat::Row& row : write.rows) write.bytes += row.key.size() + row.value->size();
    out.writes.push_back(std::move(write));
  }
  return out;
}

OpenOptions source_options(const TempDir& dir) {
  OpenOptions o = options(dir.path());
  o.directory = dir.path() / "source";
  o.fresh_incarnation = incarnation(9);
  return o;
}

/// Another replica's snapshot, of slot `slots` + 1.
Pulled snapshot_of(const TempDir& dir, int slots) {
  Talker life(source_options(dir));
  life.talk(slots);
  const auto made = life.make(4);
  EXPECT_TRUE(made) << made.error();
  return pull(life, life.id(4, *made));
}

TEST(SnapshotFiles, GiveOnePointOfTimeWhateverIsWrittenMeanwhile) {
  const TempDir dir;
  Talker life(source_options(dir));
  life.talk(40);
  const MapRows then = life.rows();
  const auto made = life.make(4);
  ASSERT_TRUE(made) << made.error();
  EXPECT_EQ(made->slot, life.machine.applied());
  EXPECT_EQ(made->hash, life.machine.hash());
  life.talk(40);
  EXPECT_NE(life.rows(), then);
  EXPECT_EQ(pull(life, life.id(4, *made)).rows, then);
  EXPECT_FALSE(life.read(life.id(5, *made), {})) << "another number is another snapshot";
  EXPECT_THAT(life.faults, ::testing::IsEmpty());
}

TEST(SnapshotFiles, ServeTheSameOneAfterARestart) {
  const TempDir dir;
  const auto o = source_options(dir);
  MapRows then;
  chat::SnapshotId id;
  std::optional<chat::SnapshotChunk> first;
  {
    Talker life(o);
    life.talk(40);
    then = life.rows();
    const auto made = life.make(4);
    ASSERT_TRUE(made) << made.error();
    id = life.id(4, *made);
    first = life.read(id, {});
    life.talk(10);
  }
  Talker life(o);
  ASSERT_TRUE(life.files().found_served());
  EXPECT_EQ(life.files().found_served()->id, id);
  EXPECT_EQ(life.read(id, {}), first);
  EXPECT_EQ(pull(life, id).rows, then);
  life.files().drop_served();
  EXPECT_FALSE(life.read(id, {}));
  EXPECT_FALSE(fs::exists(o.directory / "snapshot"));
}

TEST(SnapshotFiles, CountWhatIsServed) {
  const TempDir dir;
  Talker life(source_options(dir));
  life.talk(40);
  ASSERT_TRUE(life.make(4));
  std::promise<chat::SnapshotSum> sum;
  life.files().count_served([&](const chat::SnapshotId&, const chat::SnapshotSum& s) { sum.set_value(s); });
  chat::SnapshotCount count;
  while (!count.advance(life.rows(), 1u << 20)) continue;
  EXPECT_EQ(sum.get_future().get(), count.sum());
}

TEST(SnapshotFiles, KeepNoFileThatARedactionWantsGone) {
  const TempDir dir;
  const auto o = source_options(dir);
  Talker life(o);
  life.talk(10);
  const auto made = life.make(4);
  ASSERT_TRUE(made);
  ASSERT_TRUE(fs::exists(o.directory / "snapshot"));
  std::promise<std::string> done;
  life.s.storage->erase({.token = 1, .rows = {{chat::rows::topic("ops"), "without"}}, .slots = {}},
                        [&](const std::string& why) { done.set_value(why); });
  EXPECT_EQ(done.get_future().get(), "");
  EXPECT_FALSE(fs::exists(o.directory / "snapshot"));
  EXPECT_TRUE(life.lost);
  EXPECT_FALSE(life.read(life.id(4, *made), {}));
}

TEST(SnapshotFiles, HaveRowsAndProgressTogetherAfterACrashAtAnyMoment) {
  const TempDir dir;
  const Pulled pulled = snapshot_of(dir, 60);
  const auto o = options(dir.path());
  std::size_t resumed = 0;
  {
    Talker life(o);
    life.files().begin();
    for (std::size_t n = 0; n < pulled.writes.size(); ++n) {
      life.write(pulled.writes[n]);
      if (n % 3 == 2) (void)life.count_staged();  // what is on the disk now stays
      // As a kill leaves it: what was not flushed is not there.
      const fs::path copy = dir.path() / ("copy" + std::to_string(n));
      copy_in_use(o.directory / "incoming", copy / "incoming");
    }
  }
  for (std::size_t n = 0; n < pulled.writes.size(); ++n) {
    const fs::path copy = dir.path() / ("copy" + std::to_string(n));
    auto rows = StateFolder::open(copy / "incoming", StateFolder::Mode::read_only, nullptr);
    if (!rows) continue;  // nothing of it was on the disk
    MapRows there;
    std::optional<chat::SnapshotProgress> progress;
    (*rows)->with_reader([&](const chat::RowReader& reader) {
      chat::each_snapshot_row(reader, {}, [&](std::string_view key, std::string_view value) {
        there.rows()[std::string(key)] = std::string(value);
        return true;
      });
      if (const auto row = reader.get(chat::rows::progress())) progress = chat::decode_progress(*row);
    });
    if (!progress) {
      EXPECT_TRUE(there.rows().empty());
      continue;
    }
    ++resumed;
    MapRows expected = pulled.rows;
    expected.rows().erase(expected.rows().lower_bound(progress->place.key), expected.rows().end());
    EXPECT_EQ(there, expected) << "after " << n + 1;
  }
  EXPECT_GT(resumed, 2U);
}

/// A replica that promised, voted and applied some slots of its own.
paxos::Recovered old_replica(const OpenOptions& o, int slots) {
  Talker life(o);
  life.talk(slots);
  const Slot next = life.machine.applied() + 1;
  life.log({paxos::PromiseRecord{{7, {2}}}, paxos::BirthRecord{{incarnation(7), incarnation(8)}, true}});
  life.log({paxos::VoteRecord{next + 200, {6, {0}}, text("a vote far above")}});
  return life.s.recovered;
}

void expect_installed(const OpenOptions& o, const Pulled& pulled, const std::string& where) {
  SCOPED_TRACE(where);
  for (int round = 0; round < 2; ++round) {  // and again
    Talker life(o);
    const paxos::Recovered& r = life.s.recovered;
    EXPECT_EQ(r.applied, pulled.id.slot);
    EXPECT_EQ(r.hash, pulled.id.hash);
    EXPECT_EQ(r.chosen_prefix, pulled.id.slot);
    EXPECT_EQ(r.first_slot, pulled.id.slot + 1);
    EXPECT_EQ(r.promised, (paxos::Ballot{7, {2}}));
    EXPECT_EQ(r.incarnation, incarnation(7));
    ASSERT_TRUE(r.birth);
    EXPECT_TRUE(r.birth->born);
    ASSERT_EQ(r.entries.size(), 1U) << "the vote above it, and nothing else";
    EXPECT_EQ(r.entries[0].decree, text("a vote far above"));
    EXPECT_EQ(life.rows(), pulled.rows);
    for (const char* gone : {"install", "state-old", "incoming"})
      EXPECT_FALSE(fs::exists(o.directory / gone)) << gone;
  }
}

struct Staged {
  TempDir dir;
  OpenOptions o = options(dir.path());
  Pulled pulled = snapshot_of(dir, 50);
  explicit Staged(int own_slots = 10) {
    old_replica(o, own_slots);
    Talker life(o);
    life.files().begin();
    for (const auto& write : pulled.writes) life.write(write);
    const auto counted = life.count_staged();
    EXPECT_TRUE(counted);
    EXPECT_EQ(counted->second.slot, pulled.id.slot);
    life.finish(pulled.writes.back().progress);
  }
};

TEST(SnapshotInstall, TakesThePlaceOfTheStateAndKeepsPromiseVotesAndIdentity) {
  const Staged staged;
  ASSERT_TRUE(fs::exists(staged.o.directory / "install"));
  expect_installed(staged.o, staged.pulled, "at once");
  Talker life(staged.o);
  life.talk(5);
  EXPECT_EQ(life.machine.applied(), staged.pulled.id.slot + 6);
}

TEST(SnapshotInstall, IsPutRightAfterACrashAtEveryStep) {
  {
    const Staged s;
    fs::rename(s.o.directory / "state", s.o.directory / "state-old");
    expect_installed(s.o, s.pulled, "the old state is out of the way");
  }
  {
    const Staged s;
    fs::rename(s.o.directory / "state", s.o.directory / "state-old");
    fs::rename(s.o.directory / "install", s.o.directory / "state");
    expect_installed(s.o, s.pulled, "the new one in its place, the log knows nothing of it");
  }
  {
    const Staged s;
    fs::remove_all(s.o.directory / "state");
    expect_installed(s.o, s.pulled, "there was no state");
  }
  {
    const Staged s;
    fs::create_directories(s.o.directory / "state-old");
    write_file(s.o.directory / "state-old" / "CURRENT", "of an earlier time");
    expect_installed(s.o, s.pulled, "rubbish from before");
  }
}

TEST(SnapshotInstall, PutsTheOldStateBackWhereTheSnapshotReadsNoMore) {
  const Staged s;
  fs::rename(s.o.directory / "state", s.o.directory / "state-old");
  write_file(s.o.directory / "install" / "CURRENT", "the disk gave this instead");
  for (int round = 0; round < 2; ++round) {
    Talker life(s.o);
    EXPECT_EQ(life.s.recovered.applied, Slot{11});
    EXPECT_FALSE(life.rows() == s.pulled.rows);
    for (const char* gone : {"install", "state-old"}) EXPECT_FALSE(fs::exists(s.o.directory / gone)) << gone;
  }
}

TEST(SnapshotInstall, LeavesAStateAloneThatIsFurther) {
  const Staged staged(80);
  Talker life(staged.o);
  EXPECT_EQ(life.s.recovered.applied, Slot{81});
  EXPECT_EQ(life.s.recovered.first_slot, Slot{1});
  EXPECT_FALSE(fs::exists(staged.o.directory / "install"));
}

TEST(SnapshotInstall, TakesNothingThatIsNotWhole) {
  TempDir dir;
  const auto o = options(dir.path());
  const Pulled pulled = snapshot_of(dir, 50);
  old_replica(o, 10);
  {
    Talker life(o);
    life.files().begin();
    for (std::size_t n = 0; n + 1 < pulled.writes.size(); ++n) life.write(pulled.writes[n]);
  }
  fs::rename(o.directory / "incoming", o.directory / "install");
  Talker life(o);
  EXPECT_EQ(life.s.recovered.applied, Slot{11});
  EXPECT_EQ(life.s.recovered.promised, (paxos::Ballot{7, {2}}));
  EXPECT_FALSE(fs::exists(o.directory / "install"));
}

/// What lets go of slots is a write like any other: a start that finds it in the write-ahead log reads on.
TEST(SnapshotInstall, AndTrimsAreReadAgainFromTheWriteAheadLog) {
  TempDir dir;
  auto o = options(dir.path());
  o.rules_known = 2;  // the first trim raises the log's format
  {
    Talker life(o);
    life.talk(20);
    life.log({paxos::TrimRecord{{9}}});
    life.talk(3);
  }
  Talker life(o);
  EXPECT_EQ(life.s.recovered.first_slot, Slot{9});
  EXPECT_EQ(life.s.recovered.applied, Slot{24});
}

TEST(SnapshotFiles, FindWhatAnEarlierLifeHasBegun) {
  TempDir dir;
  const auto o = options(dir.path());
  const Pulled pulled = snapshot_of(dir, 50);
  {
    Talker life(o);
    life.files().begin();
    for (std::size_t n = 0; n < 3; ++n) life.write(pulled.writes[n]);
  }
  {
    Talker life(o);
    ASSERT_TRUE(life.files().found_staged());
    EXPECT_EQ(*life.files().found_staged(), pulled.writes[2].progress);
    for (std::size_t n = 3; n < pulled.writes.size(); ++n) life.write(pulled.writes[n]);
    const auto counted = life.count_staged();
    ASSERT_TRUE(counted);
    chat::SnapshotCount count;
    while (!count.advance(pulled.rows, 1u << 20)) continue;
    EXPECT_EQ(counted->first, count.sum());
    life.files().begin();
    const auto nothing = life.count_staged();
    EXPECT_TRUE(nothing && nothing->second.slot.none() && nothing->first.rows == 0);
  }
}

}  // namespace
}  // namespace storage::test
