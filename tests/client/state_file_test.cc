#include "client/state_file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

namespace client {
namespace {

class StateFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "state-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    path_ = folder_ / "s";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<StateFile> open() {
    auto file = StateFile::open(path_, "cluster-1");
    EXPECT_TRUE(file) << (file ? "" : file.error());
    return file ? std::move(*file) : nullptr;
  }
  std::string error() {
    auto file = StateFile::open(path_, "cluster-1");
    return file ? "" : file.error();
  }
  static void put(StateFile& file, std::vector<LedgerEvent> events, bool sync = true) {
    ASSERT_TRUE(file.append(events, sync));
  }
  static Queued queued(std::uint64_t ticket, std::string text = "hello") {
    return {ticket, {"ops", "ann", std::move(text)}};
  }
  std::string bytes() {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(const std::string& content) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << content;
  }

  std::filesystem::path folder_;
  std::filesystem::path path_;
};

TEST_F(StateFileTest, GivesBackWhatWasAppended) {
  {
    auto file = open();
    put(*file, {queued(1), queued(2), Opened{{paxos::Slot{12}, 3}}, queued(3), Answered{1}});
  }
  auto file = open();
  const Ledger& ledger = file->ledger();
  EXPECT_EQ(ledger.session, (chat::SessionId{paxos::Slot{12}, 3}));
  EXPECT_EQ(ledger.next_seq, 4u);
  EXPECT_EQ(ledger.next_ticket, 4u);
  ASSERT_EQ(ledger.entries.size(), 2u);
  EXPECT_EQ(ledger.entries[0].ticket, 2u);
  EXPECT_EQ(ledger.entries[0].seq, 2u);
  EXPECT_EQ(ledger.entries[1].seq, 3u);
  EXPECT_EQ(ledger.entries[1].post.text, "hello");
}

TEST_F(StateFileTest, ASecondUserIsRefusedAndTheFirstGoesOn) {
  auto file = open();
  EXPECT_NE(error().find("in use by another program"), std::string::npos);
  put(*file, {queued(1)});
  file.reset();
  EXPECT_EQ(open()->ledger().entries.size(), 1u);
}

TEST_F(StateFileTest, TheLockHoldsAcrossACompaction) {
  auto file = open();
  for (std::uint64_t i = 1; i <= 200; ++i)
    put(*file, {queued(i, std::string(4000, 'x')), Answered{i}}, false);
  put(*file, {queued(201)});
  EXPECT_LT(std::filesystem::file_size(path_), 2 * StateFile::compact_above);
  EXPECT_NE(error().find("in use by another program"), std::string::npos);
  file.reset();
  auto again = open();
  EXPECT_EQ(again->ledger().next_ticket, 202u);
  EXPECT_EQ(again->ledger().entries.size(), 1u);
}

TEST_F(StateFileTest, BelongsToOneCluster) {
  open();
  const auto other = StateFile::open(path_, "cluster-2");
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().find("cluster-1"), std::string::npos);
  EXPECT_NE(other.error().find("cluster-2"), std::string::npos);
}

/// A crash may cut the last append anywhere; what came before stands, and the file can be used.
TEST_F(StateFileTest, EveryTornEndIsCutOff) {
  std::size_t before = 0;
  {
    auto file = open();
    put(*file, {queued(1), Opened{{paxos::Slot{5}, 0}}});
    before = bytes().size();
    put(*file, {queued(2), queued(3)});
  }
  const std::string whole = bytes();
  for (std::size_t cut = before; cut < whole.size(); ++cut) {
    write(whole.substr(0, cut));
    {
      auto file = open();
      ASSERT_TRUE(file) << cut;
      ASSERT_EQ(file->ledger().next_ticket, 2u) << cut;
      put(*file, {queued(2, "again")});
    }
    EXPECT_EQ(open()->ledger().entries.back().post.text, "again");
  }
}

TEST_F(StateFileTest, ATailOfZerosIsATornEnd) {
  {
    auto file = open();
    put(*file, {queued(1)});
  }
  write(bytes() + std::string(500, '\0'));
  EXPECT_EQ(open()->ledger().next_ticket, 2u);
}

TEST_F(StateFileTest, EveryTornMakingOfTheFileStartsAfresh) {
  open();
  const std::string whole = bytes();
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    write(whole.substr(0, cut));
    EXPECT_TRUE(open()) << cut;
  }
}

/// Anywhere but in the last record, a flipped bit is damage: named, and never guessed around.
TEST_F(StateFileTest, EveryFlippedBitBeforeTheLastRecordIsRefused) {
  std::size_t before = 0;
  {
    auto file = open();
    put(*file, {queued(1), Opened{{paxos::Slot{5}, 0}}});
    put(*file, {queued(2)});
    before = bytes().size();
    put(*file, {queued(3)});
  }
  const std::string whole = bytes();
  const std::size_t header = bytes().find("cluster-1") + 9 + 8;
  for (std::size_t at = 0; at < before; ++at) {
    // A length that now points behind the end looks like a torn end: it cannot be told apart.
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x01);
    write(flipped);
    const std::string why = error();
    if (at < header) EXPECT_NE(why, "") << at;
    if (!why.empty()) EXPECT_NE(why.find(path_.string()), std::string::npos) << why;
    if (why.empty()) EXPECT_LT(open()->ledger().next_ticket, 4u) << at;
  }
}

TEST_F(StateFileTest, ForeignAndImpossibleFilesAreNamed) {
  write("not ours at all, some text file\nwith lines\n");
  EXPECT_NE(error().find("is not a paxoschat state file"), std::string::npos);
  std::filesystem::remove(path_);
  std::filesystem::create_directory(path_);
  EXPECT_NE(error().find("cannot be opened"), std::string::npos);
  EXPECT_NE(StateFile::open(folder_ / "none" / "s", "c").error().find("cannot be opened"), std::string::npos);
}

TEST_F(StateFileTest, AKilledOwnerLeavesWhatItSynced) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto file = StateFile::open(path_, "cluster-1");
    const std::vector<LedgerEvent> events{queued(1), queued(2)};
    if (!file || !(*file)->append(events, true)) ::_exit(1);
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(open()->ledger().entries.size(), 2u);
}

}  // namespace
}  // namespace client
