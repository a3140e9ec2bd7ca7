#include "chat/backup.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

using namespace chat;

BackupHead head() {
  return {.cluster = "demo",
          .cluster_id = "4c6a1f6e-0000-4000-8000-000000000001",
          .id = {.source = {{1, 2, 3}}, .number = 77, .slot = {812}, .hash = {{9, 8, 7}}},
          .rules = 2,
          .time_ms = 1'795'000'000'000,
          .bytes_about = 5000};
}
constexpr SnapshotSum sum{.rows = 3, .bytes = 11, .sum = {{4, 5, 6}}};

std::string whole(const std::vector<std::string>& pieces) {
  BackupWriter w;
  std::string out = w.head(head());
  for (const std::string& piece : pieces) out += w.rows(piece);
  return out + w.end(sum);
}

/// What comes of a file: its parts in words, and the first fault, "cut" where it ends too early.
struct Read {
  std::vector<std::string> rows;
  bool head = false, end = false;
  std::string fault;
};
Read read(std::string_view file) {
  Read out;
  BackupReader r;
  while (r.wants() > 0) {
    if (file.size() < r.wants()) {
      out.fault = "cut";
      return out;
    }
    const std::string_view bytes = file.substr(0, r.wants());
    file.remove_prefix(bytes.size());
    const auto part = r.take(bytes);
    if (!part) {
      out.fault = part.error();
      return out;
    }
    if (const auto* h = std::get_if<BackupHead>(&*part)) {
      EXPECT_EQ(*h, head());
      out.head = true;
    }
    if (const auto* rows = std::get_if<BackupReader::Rows>(&*part)) out.rows.emplace_back(rows->bytes);
    if (const auto* s = std::get_if<SnapshotSum>(&*part)) {
      EXPECT_EQ(*s, sum);
      out.end = true;
    }
  }
  if (!file.empty()) out.fault = "more";
  return out;
}

TEST(Backup, ComesBack) {
  const Read r = read(whole({"first", std::string(backup_part_bytes_max, 'x'), "third"}));
  EXPECT_EQ(r.fault, "");
  EXPECT_TRUE(r.head && r.end);
  EXPECT_EQ(r.rows, (std::vector<std::string>{"first", std::string(backup_part_bytes_max, 'x'), "third"}));
}

TEST(Backup, IsNotWholeWhereverItIsCut) {
  const std::string file = whole({"first", "second"});
  for (std::size_t n = 0; n < file.size(); ++n) {
    const Read r = read(std::string_view(file).substr(0, n));
    EXPECT_EQ(r.fault, "cut") << n;
    EXPECT_FALSE(r.end) << n;
  }
}

TEST(Backup, ShowsEachFlippedBit) {
  const std::string file = whole({"first", "second"});
  for (std::size_t bit = 0; bit < 8 * file.size(); ++bit) {
    std::string bad = file;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    const Read r = read(bad);
    EXPECT_NE(r.fault, "") << bit;
    EXPECT_FALSE(r.end) << bit;
  }
}

TEST(Backup, ShowsPartsThatAreMissingDoubledOrOfAnotherFile) {
  const auto parts = [](const std::vector<std::string>& pieces) {
    BackupWriter w;
    std::vector<std::string> out{w.head(head())};
    for (const std::string& piece : pieces) out.push_back(w.rows(piece));
    out.push_back(w.end(sum));
    return out;
  };
  const auto ours = parts({"one", "two", "one"});
  const auto theirs = parts({"two", "two", "one"});
  using Order = std::vector<std::string>;
  for (const Order& order :
       {Order{ours[0], ours[2], ours[3], ours[4]}, Order{ours[0], ours[1], ours[1], ours[4]},
        Order{ours[0], ours[1], ours[3], ours[4]}, Order{ours[0], theirs[1], ours[2], ours[3], ours[4]},
        Order{ours[0], ours[4]}, Order{ours[0], ours[0]}, Order{ours[1], ours[2]}}) {
    std::string file;
    for (const std::string& part : order) file += part;
    const Read r = read(file);
    EXPECT_TRUE(r.fault.starts_with("it is damaged") || r.fault.starts_with("it is no backup")) << r.fault;
    EXPECT_FALSE(r.end);
  }
}

TEST(Backup, SaysWhatIsNone) {
  EXPECT_EQ(read("{\"export\":\"paxosd rooms\",\"format\":1}").fault, "it is no backup of `paxosctl backup`");
  EXPECT_EQ(read("paxosd backup 2\n and more").fault, "its format is not 1, the one that this program knows");
}

}  // namespace
