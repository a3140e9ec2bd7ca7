#include "client/session/state_file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include <fstream>

#include "paxos/coding.h"

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
    put(*file, {queued(2), queued(3, std::string(1500, 'x'))}, false);
  }
  const std::string whole = bytes();
  for (std::size_t cut = before; cut < whole.size();
       cut += cut < before + 40 || cut + 40 > whole.size() ? 1 : 37) {
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
    const auto read = state_format::read(whole.substr(0, cut), "cluster-1");
    ASSERT_TRUE(read && read->fresh) << cut;
    if (cut % 101 != 0) continue;
    write(whole.substr(0, cut));
    EXPECT_TRUE(open()) << cut;
  }
}

/// Of what was appended and not synced a power cut may leave any sectors as zeros, whatever came behind them.
TEST_F(StateFileTest, EveryLostSectorOfAnUnsyncedAppendIsATornEnd) {
  std::size_t before = 0;
  {
    auto file = open();
    put(*file, {queued(1)});
    before = bytes().size();
    put(*file, {queued(2, std::string(3000, 'x'))}, false);
    put(*file, {queued(3, std::string(700, 'y'))}, false);
  }
  const std::string whole = bytes();
  for (std::size_t lost = before / 512; lost * 512 < whole.size(); ++lost) {
    std::string left = whole;
    const std::size_t from = std::max(lost * 512, before), to = std::min(whole.size(), (lost + 1) * 512);
    std::fill(left.begin() + static_cast<std::ptrdiff_t>(from),
              left.begin() + static_cast<std::ptrdiff_t>(to), '\0');
    write(left);
    auto file = open();
    ASSERT_TRUE(file) << lost;
    EXPECT_GE(file->ledger().next_ticket, 2u);
    EXPECT_LT(file->ledger().next_ticket, 4u);
  }
}

/// What was synced is there, or it is said that it is not: any one flipped bit, and any cut.
TEST_F(StateFileTest, EveryFlippedBitIsNamedNothingIsCutAndWhatIsWholeIsKept) {
  {
    auto file = open();
    put(*file, {queued(1), Opened{{paxos::Slot{5}, 0}}, queued(2, "the second")});
    put(*file, {queued(3, "the third")});
    put(*file, {Answered{1}});
  }
  const std::string whole = bytes();
  const std::filesystem::path kept = path_.string() + ".whole";
  std::size_t readable = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string flipped = whole;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      const auto read = state_format::read(flipped, "cluster-1");
      ASSERT_TRUE(!read || !read->damage.empty()) << "byte " << at << ", bit " << bit;
      if (read) readable += read->found.size();
      // And a part of them with a file on a disk.
      if (bit != at % 8 || (at < 1024 && at % 8 != 0)) continue;
      write(flipped);
      std::filesystem::remove(kept);
      const std::string why = error();
      ASSERT_NE(why, "") << "byte " << at << ", bit " << bit;
      ASSERT_NE(why.find(path_.string()), std::string::npos) << why;
      ASSERT_EQ(bytes(), flipped) << "byte " << at << ", bit " << bit << ": " << why;
      std::ifstream in(kept);
      std::size_t lines = 0;
      for (std::string line; std::getline(in, line);) ++lines;
      ASSERT_TRUE(lines >= 1 || why.find("another cluster") != std::string::npos ||
                  why.find("version") != std::string::npos ||
                  why.find("not a paxoschat state file") != std::string::npos)
          << "byte " << at << ", bit " << bit << ": " << why;
    }
  }
  EXPECT_GT(readable, whole.size() * 8) << "one damaged record leaves the others";
  for (std::size_t cut = 1025; cut < whole.size(); ++cut) {
    write(whole.substr(0, cut));
    std::filesystem::remove(kept);
    EXPECT_NE(error(), "") << "cut at " << cut;
  }
}

TEST_F(StateFileTest, WhatIsWholeIsWrittenOnceAndNeverOverSomethingElse) {
  {
    auto file = open();
    put(*file, {queued(1, "first"), queued(2, "second")});
    put(*file, {queued(3, "third")});
  }
  std::string damaged = bytes();
  damaged[1024 + 30] ^= 1;
  write(damaged);
  const std::string why = error();
  EXPECT_NE(why.find("1 message of it can be read, 1 without a known fate"), std::string::npos) << why;
  EXPECT_EQ(error(), why) << "again";
  std::ifstream in(path_.string() + ".whole");
  std::string line;
  ASSERT_TRUE(std::getline(in, line));
  EXPECT_EQ(line, R"({"ticket":3,"room":"ops","name":"ann","text":"third","answered":false})");
  std::ofstream(path_.string() + ".whole") << "mine";
  EXPECT_NE(error().find("is there already"), std::string::npos);
}

/// Version 0.1.0 wrote: header, then records of length (4), XXH3 of the payload (8), payload.
std::string first_format(const std::vector<std::string>& payloads) {
  std::string out = "paxoschat state 1\n";
  paxos::ByteWriter w(out);
  w.sized(std::string_view("cluster-1"));
  w.fixed(static_cast<std::uint64_t>(XXH3_64bits(out.data(), out.size())));
  for (const std::string& payload : payloads) {
    w.fixed(static_cast<std::uint32_t>(payload.size()));
    w.fixed(static_cast<std::uint64_t>(XXH3_64bits(payload.data(), payload.size())));
    w.raw(payload);
  }
  return out;
}
std::string first_queued(std::uint64_t ticket, std::string_view text) {
  std::string out;
  paxos::ByteWriter w(out);
  w.fixed(std::uint8_t{1});
  w.varint(ticket);
  for (const std::string_view field : {std::string_view("ops"), std::string_view("ann"), text})
    w.sized(field);
  return out;
}

TEST_F(StateFileTest, OneOfVersion010IsTakenOverAndItsFlippedBitsAreNamed) {
  const std::string opened("\x02\x0c\x03", 3);  // session 12.3
  const std::string old = first_format({first_queued(1, "one"), opened, first_queued(2, "two")});
  write(old);
  {
    auto file = open();
    ASSERT_EQ(file->ledger().entries.size(), 2u);
    EXPECT_EQ(file->ledger().session, (chat::SessionId{paxos::Slot{12}, 3}));
    EXPECT_EQ(file->ledger().entries[1].seq, 2u);
    put(*file, {queued(3)});
  }
  EXPECT_EQ(bytes().substr(0, 18), "paxoschat state 2\n");
  EXPECT_EQ(open()->ledger().entries.size(), 3u);
  for (std::size_t at = 0; at < old.size(); ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string flipped = old;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      const auto read = state_format::read(flipped, "cluster-1");
      ASSERT_TRUE(!read || !read->damage.empty()) << "byte " << at << ", bit " << bit;
      if (bit != at % 8) continue;
      write(flipped);
      std::filesystem::remove(path_.string() + ".whole");
      ASSERT_NE(error(), "") << "byte " << at << ", bit " << bit;
      ASSERT_EQ(bytes(), flipped);
    }
  }
  write(old.substr(0, old.size() - 5));
  EXPECT_EQ(open()->ledger().entries.size(), 1u) << "a torn end is still one";
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
