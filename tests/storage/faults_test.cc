#include <gmock/gmock.h>

#include "tests/storage/fault_env.h"
#include "tests/storage/support.h"

/// Fail the nth write, for every n; drop whatever was never synced; reopen; compare. Nothing here looks at
/// how the stores are made: only at what they acknowledged, and what a later start finds.
namespace storage::test {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Fault = FaultDisk::Fault;

constexpr std::uint64_t groups_before = 3;
constexpr std::uint64_t groups_more = 6;

OpenOptions on(FaultDisk& disk, const std::filesystem::path& directory) {
  OpenOptions o = options(directory);
  o.env = disk.env();
  return o;
}

/// All that was acknowledged is there, in full; what follows it (written, never acknowledged) is a clean run.
void expect_acknowledged(const Storage::Opened& s, std::uint64_t acknowledged, std::uint64_t appended) {
  EXPECT_GE(s.recovered.last_group, acknowledged);
  EXPECT_LE(s.recovered.last_group, appended);
  ASSERT_EQ(s.recovered.entries.size(), s.recovered.last_group);
  for (std::uint64_t n = 1; n <= s.recovered.last_group; ++n) {
    EXPECT_EQ(s.recovered.entries[n - 1].slot, paxos::Slot{n});
    EXPECT_EQ(s.recovered.entries[n - 1].decree, text("decree " + std::to_string(n)));
  }
}

/// One life with a fault at the nth operation, a power cut, and the life after. False when the fault never
/// came: the run has fewer operations.
bool one_round(Fault fault, std::uint64_t nth, bool once) {
  SCOPED_TRACE("operation " + std::to_string(nth) + (once ? ", once" : ", for good"));
  const TempDir dir;
  FaultDisk disk;
  const auto o = on(disk, dir.path());
  fill(o, groups_before);
  disk.drop_unsynced();

  std::uint64_t boot = 0;
  std::uint64_t acknowledged = groups_before;
  disk.fail(fault, nth, once);
  {
    Said said;
    auto result = Storage::open(o);
    if (result) {
      boot = result->recovered.boot;
      result->storage->start(said.completions());
      for (std::uint64_t n = 1; n <= groups_more; ++n) {
        result->storage->append(groups_before + n, vote_group(groups_before + n));
        if (!said.wait_synced(groups_before + n)) {
          // Whatever comes after a failed group is not acknowledged either.
          for (std::uint64_t later = n + 1; later <= groups_more; ++later)
            result->storage->append(groups_before + later, vote_group(groups_before + later));
          break;
        }
      }
      result->storage.reset();
      acknowledged = std::max(acknowledged, said.last_synced());
      if (acknowledged < groups_before + groups_more) {
        EXPECT_THAT(said.failures(), SizeIs(1)) << "a failure is told, once";
        EXPECT_THAT(said.failures().front(), AnyOf(HasSubstr("injected"), HasSubstr("No space left")));
      }
    } else {
      EXPECT_THAT(result.error().message, HasSubstr(o.directory.string()));
      EXPECT_THAT(result.error().message, AnyOf(HasSubstr("injected"), HasSubstr("No space left")));
    }
  }
  const bool came = disk.faults() > 0;
  disk.heal();
  disk.drop_unsynced();

  auto again = Storage::open(o);
  if (!again) {
    ADD_FAILURE() << again.error().message;
    return came;
  }
  expect_acknowledged(*again, acknowledged, groups_before + groups_more);
  EXPECT_GT(again->recovered.boot, boot) << "a boot that was used is never used again";
  // And it goes on.
  Said said;
  again->storage->start(said.completions());
  const std::uint64_t next = again->recovered.last_group + 1;
  again->storage->append(next, vote_group(next));
  EXPECT_TRUE(said.wait_synced(next));
  EXPECT_THAT(said.failures(), IsEmpty());
  again->storage.reset();  // before `said` goes
  return came;
}

void every_n(Fault fault, bool once) {
  std::uint64_t n = 1;
  while (one_round(fault, n, once) && !::testing::Test::HasFailure()) ++n;
  EXPECT_GT(n, groups_more) << "each group makes at least one such operation";
}

TEST(Faults, EverySyncThatFailsForGood) { every_n(Fault::sync, false); }
TEST(Faults, EverySyncThatFailsOnce) { every_n(Fault::sync, true); }
TEST(Faults, EveryWriteThatFailsForGood) { every_n(Fault::append, false); }
TEST(Faults, EveryWriteThatFailsOnce) { every_n(Fault::append, true); }
TEST(Faults, ADiskThatIsFullFromAnyWriteOn) { every_n(Fault::full, false); }

TEST(Faults, APowerCutWithoutAnyFaultLosesNothingAcknowledged) {
  const TempDir dir;
  FaultDisk disk;
  const auto o = on(disk, dir.path());
  std::uint64_t last = 0;
  for (std::uint64_t round = 1; round <= 8; ++round) {
    Said said;
    auto s = opened(o);
    EXPECT_EQ(s.recovered.boot, round);
    expect_acknowledged(s, last, last);
    s.storage->start(said.completions());
    for (std::uint64_t n = 1; n <= round * 7; ++n) s.storage->append(last + n, vote_group(last + n));
    last += round * 7;
    ASSERT_TRUE(said.wait_synced(last));
    s.storage.reset();
    disk.drop_unsynced();
  }
}

TEST(Faults, AStateThatCanNotBeWrittenIsTold) {
  const TempDir dir;
  FaultDisk disk;
  const auto o = on(disk, dir.path());
  Said said;
  auto s = opened(o);
  s.storage->start(said.completions());
  disk.fail(Fault::full, 1, false);
  // Nothing reaches the disk before a buffer is full; some buffers later the store has to notice.
  for (std::uint64_t n = 1; n <= 64 && said.failures().empty(); ++n)
    s.storage->write_state({n}, {{"x" + std::to_string(n), std::string(1u << 20, static_cast<char>(n))}});
  EXPECT_TRUE(said.wait_failed());
  ASSERT_THAT(said.failures(), SizeIs(1));
  EXPECT_THAT(said.failures().front(), HasSubstr((o.directory / "state").string()));
  EXPECT_THAT(said.failures().front(), HasSubstr("No space left"));
}

}  // namespace
}  // namespace storage::test
