#include "storage/space.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <optional>
#include <random>
#include <string>
#include <thread>

#include "tests/storage/life.h"
#include "tests/storage/support.h"

/// The reserve of a volume (storage/space.h), and what it is good for when the volume is full.
namespace storage::test {
namespace {

using paxos::DiskRoom;
using namespace std::chrono_literals;

constexpr std::uint64_t mib = 1u << 20;

// --- what free bytes mean ---

TEST(RoomGauge, FullBelowAReserveAndAQuarterAndHasRoomFromAReserveAndAHalfOn) {
  RoomGauge gauge;
  EXPECT_EQ(gauge.judge(125, 100), DiskRoom::enough);
  EXPECT_EQ(gauge.judge(124, 100), DiskRoom::reserve);
  EXPECT_EQ(gauge.judge(149, 100), DiskRoom::reserve) << "not in turns";
  EXPECT_EQ(gauge.judge(150, 100), DiskRoom::enough);
  EXPECT_EQ(gauge.judge(125, 100), DiskRoom::enough);
}

TEST(RoomGauge, UsedUpBelowAHalf) {
  RoomGauge gauge;
  EXPECT_EQ(gauge.judge(50, 100), DiskRoom::reserve);
  EXPECT_EQ(gauge.judge(49, 100), DiskRoom::none);
  EXPECT_EQ(gauge.judge(74, 100), DiskRoom::none);
  EXPECT_EQ(gauge.judge(75, 100), DiskRoom::reserve);
  EXPECT_EQ(gauge.judge(0, 100), DiskRoom::none);
  EXPECT_EQ(gauge.judge(149, 100), DiskRoom::reserve);
  EXPECT_EQ(gauge.judge(0, 100), DiskRoom::none);
  EXPECT_EQ(gauge.judge(150, 100), DiskRoom::enough);
}

TEST(RoomGauge, WithoutAReserveThereIsAlwaysEnough) {
  RoomGauge gauge;
  EXPECT_EQ(gauge.judge(0, 0), DiskRoom::enough);
}

TEST(RoomGauge, SixtyFourMebibytesOrATwentieth) {
  EXPECT_EQ(default_reserve(1000 * mib), 50 * mib);
  EXPECT_EQ(default_reserve(1280 * mib), 64 * mib);
  EXPECT_EQ(default_reserve(1'000'000 * mib), 64 * mib);
  EXPECT_EQ(default_reserve(0), 0u);
}

// --- a small volume ---

/// A tmpfs of so many MiB; skips the test where none can be mounted.
class Volume {
 public:
  explicit Volume(unsigned size) {
    const std::string option = "size=" + std::to_string(size) + "m";
    mounted_ = ::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, option.c_str()) == 0;
  }
  ~Volume() {
    if (mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  Volume(const Volume&) = delete;
  Volume& operator=(const Volume&) = delete;
  [[nodiscard]] bool mounted() const { return mounted_; }
  [[nodiscard]] const std::filesystem::path& path() const { return folder_.path(); }
  [[nodiscard]] std::uint64_t free() const {
    struct statvfs info{};
    EXPECT_EQ(::statvfs(path().c_str(), &info), 0);
    return std::uint64_t{info.f_bavail} * info.f_frsize;
  }
  /// Leaves so many bytes free, as somebody else would.
  void fill(std::uint64_t left) {
    const std::uint64_t now = free();
    std::ofstream file(path() / "filler", std::ios::binary | std::ios::app);
    const std::string zeros(4096, '\0');
    for (std::uint64_t bytes = now - std::min(now, left); bytes >= zeros.size(); bytes -= zeros.size())
      file << zeros;
  }
  void empty() const { std::filesystem::remove(path() / "filler"); }

 private:
  TempDir folder_;
  bool mounted_ = false;
};

#define SKIP_UNLESS_MOUNTED(volume) \
  if (!(volume).mounted()) GTEST_SKIP() << "no small file system can be mounted here"

std::uint64_t kept(const Volume& volume) {
  std::error_code error;
  const auto size = std::filesystem::file_size(volume.path() / "reserve", error);
  return error ? 0 : size;
}

TEST(Space, KeepsAFileThatIsGivenUpByWhatIsWritten) {
  Volume volume(64);
  SKIP_UNLESS_MOUNTED(volume);
  Space space(volume.path(), 8 * mib);
  space.begin();
  EXPECT_EQ(space.figures().room, DiskRoom::enough);
  EXPECT_EQ(kept(volume), 8 * mib);
  EXPECT_EQ(volume.free(), 56 * mib);
  volume.fill(0);
  const auto until = std::chrono::steady_clock::now() + 30s;  // an answer of before is kept for a moment
  do space.make_room(mib);
  while (volume.free() < mib && std::chrono::steady_clock::now() < until);
  EXPECT_GE(volume.free(), mib);
  EXPECT_LT(volume.free(), 2 * mib) << "no more than is needed: somebody else would take it";
  EXPECT_EQ(kept(volume), 8 * mib - volume.free());
  space.make_room(100 * mib);
  EXPECT_EQ(kept(volume), 0u);
}

TEST(Space, TellsOfEachChangeOnce) {
  Volume volume(64);
  SKIP_UNLESS_MOUNTED(volume);
  std::atomic<int> calls{0};
  std::atomic<DiskRoom> room{DiskRoom::enough};
  Space space(volume.path(), 8 * mib);
  space.begin();
  space.start(2ms, [&](const SpaceFigures& figures) {
    room = figures.room;
    ++calls;
  });
  const auto becomes = [&](DiskRoom wanted) {
    for (int i = 0; i < 5000 && room != wanted; ++i) std::this_thread::sleep_for(1ms);
    return room == wanted;
  };
  volume.fill(mib);
  ASSERT_TRUE(becomes(DiskRoom::reserve));
  volume.empty();
  ASSERT_TRUE(becomes(DiskRoom::enough));
  EXPECT_EQ(calls, 2);
}

TEST(Space, TakesTheReserveBackWhenThereIsRoomAgain) {
  Volume volume(64);
  SKIP_UNLESS_MOUNTED(volume);
  {
    Space space(volume.path(), 8 * mib);
    space.begin();
    volume.fill(0);
    const auto until = std::chrono::steady_clock::now() + 30s;
    do space.make_room(4 * mib);
    while (kept(volume) == 8 * mib && std::chrono::steady_clock::now() < until);
  }
  ASSERT_LT(kept(volume), 8 * mib);
  Space space(volume.path(), 8 * mib);
  space.begin();
  EXPECT_EQ(space.figures().room, DiskRoom::reserve) << "at a start, too";
  space.start(2ms, [](const SpaceFigures&) {});
  volume.empty();
  for (int i = 0; i < 5000 && kept(volume) < 8 * mib; ++i) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(kept(volume), 8 * mib);
}

TEST(Space, AStartFindsRoomInTheReserve) {
  Volume volume(64);
  SKIP_UNLESS_MOUNTED(volume);
  {
    Space(volume.path(), 8 * mib).begin();
  }
  volume.fill(0);
  ASSERT_EQ(volume.free(), 0u);
  Space space(volume.path(), 8 * mib);
  space.begin();
  EXPECT_GE(volume.free(), mib);
}

TEST(Space, WithoutAReserveNoFileIsLeft) {
  Volume volume(16);
  SKIP_UNLESS_MOUNTED(volume);
  {
    Space(volume.path(), 2 * mib).begin();
  }
  ASSERT_EQ(kept(volume), 2 * mib);
  Space space(volume.path(), 0);
  space.begin();
  EXPECT_FALSE(std::filesystem::exists(volume.path() / "reserve"));
  EXPECT_EQ(space.figures().room, DiskRoom::enough);
}

// --- a whole replica's storage on it ---

/// Nothing that compresses.
std::string text_of(std::size_t bytes) {
  static std::mt19937_64 random(7);
  std::string out(bytes, 'x');
  for (char& c : out) c = static_cast<char>('!' + random() % 94);
  return out;
}

TEST(Space, NoWriteFailsWhileTheReserveLasts) {
  Volume volume(96);
  SKIP_UNLESS_MOUNTED(volume);
  OpenOptions o = options(volume.path());
  o.reserve = 16 * mib;
  o.look_every = 5ms;
  std::filesystem::create_directories(o.directory);
  std::vector<std::string> texts;
  chat::SessionId session;
  const auto post = [&](Life& life, int count) {
    for (int i = 0; i < count; ++i) {
      texts.push_back(text_of(8000));
      life.post(session, texts.size(), texts.back());
    }
    EXPECT_TRUE(life.said.failures().empty());
  };
  {
    Life life(o);
    session = life.open_session();
    post(life, 10);
    EXPECT_EQ(life.s.storage->space().room, DiskRoom::enough);
    volume.fill(0);
    post(life, 200);
    for (int i = 0; i < 5000 && life.s.storage->space().room == DiskRoom::enough; ++i)
      std::this_thread::sleep_for(1ms);
    EXPECT_EQ(life.s.storage->space().room, DiskRoom::reserve);
    EXPECT_LT(life.s.storage->space().held, 16 * mib);
  }
  // As a start on a full disk finds it.
  volume.fill(0);
  {
    Life life(o);
    EXPECT_EQ(life.s.storage->space().room, DiskRoom::reserve);
    EXPECT_EQ(life.history(), texts);
    post(life, 10);
    volume.empty();
    for (int i = 0; i < 5000 && life.s.storage->space().room != DiskRoom::enough; ++i)
      std::this_thread::sleep_for(1ms);
    EXPECT_EQ(life.s.storage->space().room, DiskRoom::enough);
    EXPECT_EQ(life.s.storage->space().held, 16 * mib);
    EXPECT_EQ(life.history(), texts);
  }
}

}  // namespace
}  // namespace storage::test
