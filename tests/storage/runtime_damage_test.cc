#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <future>
#include <random>

#include "storage/log_format.h"
#include "tests/storage/support.h"

/// What goes bad under a replica that runs: its reader is told, nothing is guessed, and nothing else stops.
namespace storage::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// Text that no compression makes smaller, so that it stands in a table as it is.
std::string noise_of(unsigned seed, std::size_t bytes) {
  std::mt19937 engine(seed);
  std::string out;
  while (out.size() < bytes) out += static_cast<char>('!' + engine() % 90);
  return out;
}

/// Flips a bit of every place in the folder's tables and blob files where `text` stands, in the files as they
/// are: whoever has them open reads it. How many there were.
int flip_in_tables(const std::filesystem::path& folder, const std::string& text) {
  int flipped = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".sst" && entry.path().extension() != ".blob") continue;
    const std::string bytes = read_file(entry.path());
    for (std::size_t at = bytes.find(text); at != std::string::npos; at = bytes.find(text, at + 1)) {
      const int fd = ::open(entry.path().c_str(), O_WRONLY);
      const char bad = static_cast<char>(bytes[at + text.size() / 2] ^ 4);
      flipped += ::pwrite(fd, &bad, 1, static_cast<off_t>(at + text.size() / 2)) == 1 ? 1 : 0;
      ::close(fd);
    }
  }
  return flipped;
}

template <class Result>
Result read(Storage& storage, const std::function<Result(const Storage::Reader&)>& job,
            std::optional<Result> unread = {}) {
  auto promise = std::make_shared<std::promise<Result>>();
  auto result = promise->get_future();
  storage.read([promise, job](const Storage::Reader& reader) { promise->set_value(job(reader)); },
               [promise, unread](const std::string&) { promise->set_value(unread.value()); });
  if (result.wait_for(std::chrono::seconds{30}) != std::future_status::ready)
    throw std::runtime_error("no answer from the state thread");
  return result.get();
}

/// The number of entries read, or the error.
std::string read_log(Storage& storage, std::uint64_t first, std::uint64_t last) {
  return read<std::string>(storage, [=](const Storage::Reader& reader) {
    const auto entries = reader.log({first}, {last}, SIZE_MAX);
    return entries ? std::to_string(entries->size()) : entries.error();
  });
}

std::string read_own(Storage& storage) {
  return read<std::string>(storage, [](const Storage::Reader& reader) {
    const auto own = reader.log_own();
    return own ? std::string("whole") : own.error();
  });
}

TEST(RuntimeDamage, ARecordOfTheLogIsNamedWithItsSlotAndTheRestReads) {
  const TempDir dir;
  const auto o = options(dir.path());
  {
    Said said;
    auto s = opened(o);
    s.storage->start(said.completions());
    for (std::uint64_t n = 1; n <= 20; ++n)
      s.storage->append(n,
                        {paxos::VoteRecord{{n}, {3, {1}}, text(noise_of(static_cast<unsigned>(n), 6000))}});
    ASSERT_TRUE(said.wait_synced(20));
  }
  // A start moves all of it into a table.
  Said said;
  auto s = opened(o);
  s.storage->start(said.completions());
  EXPECT_EQ(read_log(*s.storage, 1, 20), "20");
  ASSERT_EQ(flip_in_tables(o.directory / "log", noise_of(7, 6000).substr(1000, 40)), 1);
  for (int again = 0; again < 2; ++again)
    EXPECT_THAT(read_log(*s.storage, 1, 20), HasSubstr("reading slot 7 on"));
  EXPECT_EQ(read_log(*s.storage, 1, 6), "6");
  EXPECT_EQ(read_log(*s.storage, 8, 20), "13");
  EXPECT_EQ(read_own(*s.storage), "whole");
  EXPECT_THAT(said.failures(), IsEmpty()) << "nothing else is wrong";
  ASSERT_THAT(said.damages(), SizeIs(2)) << "each read that meets it says so";
  const Damage damage = said.damages().front();
  EXPECT_EQ(damage.store, Damage::Store::log);
  EXPECT_EQ(damage.slot, paxos::Slot{7});
  EXPECT_FALSE(endangers_votes(damage, {7}));
  EXPECT_TRUE(endangers_votes(damage, {6}));
  // It goes on writing, and reads what it writes.
  s.storage->append(s.recovered.last_group + 1, vote_group(21));
  ASSERT_TRUE(said.wait_synced(s.recovered.last_group + 1));
  EXPECT_EQ(read_log(*s.storage, 8, 21), "14");
}

TEST(RuntimeDamage, TheReplicasOwnRecordsAreItsWord) {
  const TempDir dir;
  const auto o = options(dir.path());
  fill(o, 5);
  Said said;
  auto s = opened(o);
  s.storage->start(said.completions());
  EXPECT_EQ(read_own(*s.storage), "whole");
  // As it stands in a table: behind its key.
  ASSERT_GE(flip_in_tables(o.directory / "log", o.cluster_id.substr(0, 20)), 1);
  EXPECT_THAT(read_own(*s.storage), HasSubstr("does not read"));
  ASSERT_THAT(said.damages(), SizeIs(1));
  EXPECT_FALSE(said.damages().front().slot);
  EXPECT_TRUE(endangers_votes(said.damages().front(), {1000}));
}

TEST(RuntimeDamage, ARowOfTheStateEndsItsReaderAloneAndIsNoBreachOfAnyWord) {
  const TempDir dir;
  const auto o = options(dir.path());
  const auto row = [](unsigned n) {
    return chat::Row{"x row " + std::to_string(100 + n), noise_of(n, 6000)};
  };
  {
    Said said;
    auto s = opened(o);
    s.storage->start(said.completions());
    for (unsigned n = 1; n <= 9; ++n) s.storage->write_state({n}, {row(n)});
  }  // a clean end writes them
  Said said;
  auto s = opened(o);
  s.storage->start(said.completions());
  ASSERT_EQ(flip_in_tables(o.directory / "state", noise_of(5, 6000).substr(1000, 40)), 1);
  const auto count = [&] {
    return read<int>(
        *s.storage,
        [](const Storage::Reader& reader) {
          int rows = 0;
          reader.rows.scan("x row ", "x row~",
                           [&](std::string_view, std::string_view) { return ++rows > 0; });
          return rows;
        },
        -1);
  };
  EXPECT_EQ(count(), -1) << "half of a room never passes for all of it";
  EXPECT_EQ(count(), -1) << "the next one is answered, too";
  EXPECT_EQ(
      read<bool>(*s.storage,
                 [](const Storage::Reader& reader) { return reader.rows.get("x row 102").has_value(); }),
      true);
  s.storage->write_state({10}, {row(10)});
  EXPECT_EQ(
      read<bool>(*s.storage,
                 [](const Storage::Reader& reader) { return reader.rows.get("x row 110").has_value(); }),
      true);
  EXPECT_THAT(said.failures(), IsEmpty());
  ASSERT_THAT(said.damages(), SizeIs(2));
  EXPECT_EQ(said.damages().front().store, Damage::Store::state);
  EXPECT_THAT(said.damages().front().what, HasSubstr((o.directory / "state").string()));
  EXPECT_FALSE(endangers_votes(said.damages().front(), {}));
}

}  // namespace
}  // namespace storage::test
