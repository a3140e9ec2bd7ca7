#include "storage/folders.h"

#include <gtest/gtest.h>

#include "tests/storage/support.h"

/// Issue 10, point 6: a folder's name lives in the one above it, and a power cut takes what is not synced
/// there.
namespace storage::test {
namespace {

using Paths = std::vector<std::filesystem::path>;

std::pair<std::string, Paths> make(const std::filesystem::path& folder) {
  Paths synced;
  std::string why = make_folder(folder, [&](const std::filesystem::path& at) {
    EXPECT_TRUE(std::filesystem::is_directory(at)) << at;
    synced.push_back(at);
    return std::string();
  });
  return {std::move(why), std::move(synced)};
}

TEST(Folders, EachOneInWhichANameIsNewIsSynced) {
  const TempDir dir;
  const auto& top = dir.path();
  const auto [why, synced] = make(top / "a/b/c/replica");
  EXPECT_EQ(why, "");
  EXPECT_TRUE(std::filesystem::is_directory(top / "a/b/c/replica"));
  EXPECT_EQ(synced, (Paths{top / "a/b/c", top / "a/b", top / "a", top}));
}

TEST(Folders, TheOneAboveIsSyncedInAnyCase) {
  const TempDir dir;
  std::filesystem::create_directories(dir.path() / "a/replica");
  EXPECT_EQ(make(dir.path() / "a/replica/").second, Paths{dir.path() / "a"});
  EXPECT_EQ(make(dir.path() / "a/./other").second, Paths{dir.path() / "a"});
}

TEST(Folders, AFailureIsTold) {
  const TempDir dir;
  EXPECT_EQ(make_folder(dir.path() / "a/b", [](const std::filesystem::path&) { return std::string("no"); }),
            "no");
  write_file(dir.path() / "file", "x");
  EXPECT_NE(make(dir.path() / "file/b").first.find("can't be made"), std::string::npos);
  EXPECT_EQ(sync_folder(dir.path()), "");
  EXPECT_NE(sync_folder(dir.path() / "nowhere").find("can't be synced"), std::string::npos);
}

}  // namespace
}  // namespace storage::test
