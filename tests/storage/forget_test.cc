#include <gmock/gmock.h>

#include <future>

#include "chat/rows.h"
#include "tests/storage/support.h"

/// What was redacted is in no file any more.
namespace storage::test {
namespace {

using ::testing::IsEmpty;

/// Files of the directory that hold `text`, by name.
std::vector<std::string> holding(const std::filesystem::path& directory, const std::string& text) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
    if (entry.is_regular_file() && read_file(entry.path()).find(text) != std::string::npos)
      out.push_back(entry.path().string());
  return out;
}

/// Not compressible, as a long secret is: what is stored is found as it is.
std::string noise(std::uint64_t seed, std::size_t bytes) {
  std::string out;
  while (out.size() < bytes) {
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    out.push_back(static_cast<char>('!' + (seed >> 33) % 90));
  }
  return out;
}

/// False: as under rules 1. True: with families.
class Forget : public testing::TestWithParam<bool> {
 protected:
  TempDir dir;
  OpenOptions o = options(dir.path());
  Said said;
  Storage::Opened s = opened(o);
  std::uint64_t group = s.recovered.last_group;

  Forget() {
    s.storage->start(said.completions());
    if (GetParam()) raise();
  }
  ~Forget() override { s.storage.reset(); }
  /// Rules 2 are in force, and both databases have their families.
  void raise() {
    const paxos::Decree rules = chat::make_rules_decree(2);
    s.storage->append(++group, {paxos::ChosenRecord{{1}, {1, {1}}, rules}, paxos::ChosenPrefixRecord{{1}}});
    ASSERT_TRUE(said.wait_synced(group));
    chat::Machine machine;
    s.storage->write_state({1}, machine.apply({1}, rules).rows);
    s.storage.reset();
    o.rules_known = chat::rules_released;
    s = opened(o);
    group = s.recovered.last_group;
    s.storage->start(said.completions());
  }
  void put(std::uint64_t slot, const std::string& value) {
    s.storage->append(
        ++group, {paxos::ChosenRecord{{slot}, {1, {1}}, text(value)}, paxos::ChosenPrefixRecord{{slot}}});
    ASSERT_TRUE(said.wait_synced(group));
    s.storage->write_state({slot}, {{chat::rows::message("ops", slot), "row " + value}});
  }
  std::string erase(chat::Erasure erasure) {
    auto promise = std::make_shared<std::promise<std::string>>();
    auto result = promise->get_future();
    s.storage->erase(std::move(erasure), [promise](std::string why) { promise->set_value(std::move(why)); });
    if (result.wait_for(std::chrono::seconds{120}) != std::future_status::ready) return "no answer";
    return result.get();
  }
  std::string forget(std::uint64_t slot) {
    s.storage->append(++group, {paxos::ChosenRecord{{slot}, {1, {1}}, text("redacted")}});
    EXPECT_TRUE(said.wait_synced(group));
    return erase(
        {.token = 1, .rows = {{chat::rows::message("ops", slot), "row redacted"}}, .slots = {{slot}}});
  }
};

TEST_P(Forget, ATextThatIsStillInMemoryAndInTheWriteAheadLog) {
  const std::string secret = noise(1, 700);
  put(1, "one");
  put(2, secret);
  put(3, "three");
  EXPECT_FALSE(holding(o.directory, secret).empty());
  EXPECT_EQ(forget(2), "");
  EXPECT_THAT(holding(o.directory, secret), IsEmpty());
}

TEST_P(Forget, ATextThatIsInATableThatNothingElseWouldWriteAnew) {
  const std::string secret = noise(1, 700);
  put(1, secret);
  for (std::uint64_t slot = 2; slot < 42; ++slot)
    put(slot, noise(slot, 256 * 1024));  // one flush of each database
  EXPECT_EQ(forget(1), "");
  EXPECT_THAT(holding(o.directory, secret), IsEmpty());
}

TEST_P(Forget, ATextThatHasSunkToTheLowestLevel) {
  const std::string secret = noise(1, 700);
  put(1, secret);
  // More than both databases' write buffers, several times over: flushed and compacted with all that came
  // after it.
  for (std::uint64_t slot = 2; slot < 120; ++slot) put(slot, noise(slot, 256 * 1024));
  EXPECT_FALSE(holding(o.directory, secret).empty());
  EXPECT_EQ(forget(1), "");
  EXPECT_THAT(holding(o.directory, secret), IsEmpty());
  EXPECT_FALSE(holding(o.directory, noise(60, 64)).empty())
      << "the rest stands, and is found where it stands";
  // Once more, with nothing to flush and nothing to find.
  EXPECT_EQ(erase({.token = 2, .rows = {}, .slots = {{1}}}), "");
}

TEST_P(Forget, WhileReadersHoldOnToAnOlderState) {
  const std::string secret = noise(1, 700);
  put(1, secret);
  // A job on the state's thread with a snapshot from before, in front of everything that comes after it.
  std::promise<void> go;
  s.storage->read([wait = go.get_future().share()](const Storage::Reader& reader) {
    wait.wait();
    EXPECT_TRUE(reader.rows.get(chat::rows::message("ops", 1)));
  });
  auto done = std::async(std::launch::async, [&] { return forget(1); });
  EXPECT_EQ(done.wait_for(std::chrono::milliseconds{50}), std::future_status::timeout);
  go.set_value();
  EXPECT_EQ(done.get(), "");
  EXPECT_THAT(holding(o.directory, secret), IsEmpty());
}

TEST_P(Forget, TheLogGoesOnAndStartsAgain) {
  const std::string secret = noise(1, 700);
  for (std::uint64_t slot = 1; slot <= 5; ++slot)
    put(slot, slot == 3 ? secret : "value " + std::to_string(slot));
  EXPECT_EQ(forget(3), "");
  for (std::uint64_t slot = 6; slot <= 9; ++slot) put(slot, "value " + std::to_string(slot));
  s.storage.reset();
  std::filesystem::remove_all(o.directory / "state");  // no machine wrote these rows
  const auto again = opened(o);
  EXPECT_EQ(again.recovered.redo_to, paxos::Slot{9});
  Said heard;
  again.storage->start(heard.completions());
  std::promise<std::vector<paxos::LogEntry>> read;
  again.storage->read(
      [&](const Storage::Reader& reader) { read.set_value(reader.log({3}, {3}, SIZE_MAX).value()); });
  const auto third = read.get_future().get();
  ASSERT_EQ(third.size(), 1u);
  EXPECT_EQ(third[0].decree, text("redacted"));
  EXPECT_TRUE(third[0].chosen);
  EXPECT_EQ(again.recovered.chosen_prefix, paxos::Slot{9});
  EXPECT_THAT(holding(o.directory, secret), IsEmpty());
}

TEST_P(Forget, AfterAStartThatFoundWriteAheadLogs) {
  const std::string secret = noise(1, 700);
  put(1, secret);
  const auto copy = dir.path() / "killed";
  copy_in_use(o.directory, copy);
  s.storage.reset();
  std::filesystem::remove_all(o.directory);
  std::filesystem::rename(copy, o.directory);
  Said heard;
  s = opened(o);
  s.storage->start(heard.completions());
  EXPECT_FALSE(holding(o.directory, secret).empty());
  group = s.recovered.last_group;
  s.storage->append(++group, {paxos::ChosenRecord{{1}, {1, {1}}, text("redacted")}});
  ASSERT_TRUE(heard.wait_synced(group));
  s.storage->write_state({1}, {{chat::rows::message("ops", 1), "row " + secret}});
  EXPECT_EQ(erase({.token = 1, .rows = {{chat::rows::message("ops", 1), "row redacted"}}, .slots = {{1}}}),
            "");
  EXPECT_THAT(holding(o.directory, secret), IsEmpty());
  s.storage.reset();  // before what it calls
}

TEST_P(Forget, ATextThatWasWrittenBeforeThereWereFamilies) {
  // With families from the begin there is nothing to raise: then both are written in them.
  const std::string secret = noise(1, 700), later = noise(2, 700);
  put(1, "one");
  put(2, secret);
  if (!GetParam()) raise();
  put(3, later);
  for (std::uint64_t slot = 4; slot < 44; ++slot) put(slot, noise(slot, 256 * 1024));
  EXPECT_EQ(forget(2), "");
  EXPECT_THAT(holding(o.directory, secret), IsEmpty());
  EXPECT_FALSE(holding(o.directory, later).empty());
  EXPECT_EQ(forget(3), "");
  EXPECT_THAT(holding(o.directory, later), IsEmpty());
}

TEST_P(Forget, EndsWithItsStorageInTheMiddle) {
  put(1, noise(1, 1000));
  for (int n = 0; n < 3; ++n)
    s.storage->erase({.token = 1, .rows = {{chat::rows::message("ops", 1), "row"}}, .slots = {{1}}},
                     [](const std::string&) {});
  s.storage.reset();
  std::filesystem::remove_all(o.directory / "state");
  EXPECT_EQ(refusal(o), "");
}

INSTANTIATE_TEST_SUITE_P(Layouts, Forget, testing::Bool(),
                         [](const auto& with) { return with.param ? "Families" : "OneFamily"; });

}  // namespace
}  // namespace storage::test
