#include "daemon/flight_recorder.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iterator>
#include <thread>

namespace {

using chat::FlightEntry;
using chat::FlightKind;
using paxos::Ballot;
using paxos::ReplicaId;
using paxos::Slot;
using paxosd::FlightRecorder;

paxos::Time at(std::int64_t us) { return paxos::Time{std::chrono::microseconds{us}}; }
constexpr Ballot one{1, {0}};
constexpr Ballot two{2, {1}};

std::vector<FlightKind> kinds(const std::vector<FlightEntry>& entries) {
  std::vector<FlightKind> out;
  for (const FlightEntry& e : entries) out.push_back(e.kind);
  return out;
}

chat::NodeOutput proposes(Slot slot, std::uint64_t group) {
  chat::NodeOutput out;
  const paxos::Decree decree{paxos::DecreeKind::commands, paxos::Bytes::copy_of("x")};
  out.send_now.push_back({std::nullopt, paxos::Accept{one, slot, {}, decree}});
  out.groups.push_back({group, {paxos::VoteRecord{slot, one, decree}}, {}});
  return out;
}

TEST(FlightRecorder, KeepsTheNewestWhenItWraps) {
  FlightRecorder recorder(8);
  for (std::uint64_t i = 1; i <= 21; ++i) recorder.applied(at(static_cast<std::int64_t>(i)), {2 * i});
  const auto all = recorder.all();
  ASSERT_EQ(all.size(), 8U);
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i].slot, 2 * (14 + i));
  EXPECT_EQ(recorder.written(), 21U);
}

TEST(FlightRecorder, SlotAfterSlotInOneTurnIsOneRecord) {
  FlightRecorder recorder(8);
  for (std::uint64_t slot = 5; slot < 105; ++slot) recorder.applied(at(1), {slot});
  recorder.applied(at(2), {105});
  recorder.applied(at(2), {107});
  const auto all = recorder.all();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].count, 100U);
  EXPECT_TRUE(all[0].covers({104}));
  EXPECT_FALSE(all[0].covers({105}));
  EXPECT_FALSE(all[0].covers({4}));
}

TEST(FlightRecorder, TellsASlotFromProposalToApplication) {
  FlightRecorder recorder(64);
  recorder.started(at(1), {}, {}, {});
  recorder.commands_came(at(10), 3);
  recorder.commands_came(at(10), 2);
  recorder.effects(at(10), proposes({1}, 7), 6);
  recorder.effects(at(11), proposes({2}, 8), 6);
  recorder.synced_from_log_thread(8);
  recorder.received(at(20), ReplicaId{2}, paxos::Accepted{one, {{{1}, {2}}}});
  recorder.take_syncs();
  recorder.standing(at(20), {2}, {2});
  recorder.applied(at(20), {1});
  recorder.applied(at(20), {2});
  const auto found = chat::flight_of_slot(recorder.all(), {2}, 100);
  auto said = kinds(found.entries);
  // The sync has the real clock's time: taken out, then in the order of the turns.
  EXPECT_EQ(std::erase(said, FlightKind::vote_durable), 1);
  EXPECT_EQ(said, (std::vector{FlightKind::commands_came, FlightKind::proposed, FlightKind::voted,
                               FlightKind::accepted_received, FlightKind::chosen, FlightKind::applied}));
  EXPECT_EQ(found.entries.front().count, 5U);
  EXPECT_TRUE(chat::flight_of_slot(recorder.all(), {3}, 100).entries.empty());
}

TEST(FlightRecorder, PhaseOneIsToldWhereItsBallotProposedTheSlot) {
  FlightRecorder recorder(64);
  recorder.received(at(1), ReplicaId{1}, paxos::Prepare{two, {1}});
  recorder.received(at(2), ReplicaId{1}, paxos::Accept{two, {900}, {}, {}});
  recorder.received(at(3), ReplicaId{0}, paxos::Accept{one, {901}, {}, {}});
  EXPECT_EQ(kinds(chat::flight_of_slot(recorder.all(), {900}, 100).entries),
            (std::vector{FlightKind::prepare_received, FlightKind::accept_received}));
  EXPECT_EQ(kinds(chat::flight_of_slot(recorder.all(), {901}, 100).entries),
            (std::vector{FlightKind::accept_received}));
  EXPECT_TRUE(chat::flight_of_slot(recorder.all(), {902}, 100).entries.empty());
}

TEST(FlightRecorder, AChosenSlotAboveAHoleSaysNothingOfTheHole) {
  FlightRecorder recorder(64);
  recorder.started(at(1), {}, {3}, {3});
  recorder.standing(at(2), {3}, {6});
  EXPECT_TRUE(chat::flight_of_slot(recorder.all(), {4}, 100).entries.empty());
  EXPECT_EQ(chat::flight_of_slot(recorder.all(), {6}, 100).entries.size(), 1U);
  recorder.standing(at(3), {6}, {6});
  EXPECT_EQ(chat::flight_of_slot(recorder.all(), {4}, 100).entries.size(), 1U);
}

TEST(FlightRecorder, SyncsOfTheLogThreadAreTakenOverWhole) {
  // Far faster than any disk, so that the reader is overtaken by whole rings while it reads.
  constexpr std::uint64_t groups = 2'000'000;
  FlightRecorder recorder(1 << 20);
  std::atomic<bool> ended{false};
  std::thread log([&] {
    for (std::uint64_t group = 1; group <= groups; ++group) recorder.synced_from_log_thread(group);
    ended = true;
  });
  while (!ended) recorder.take_syncs();
  log.join();
  recorder.take_syncs();
  const auto all = recorder.all();
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(all.back().slot, groups);
  for (std::size_t i = 1; i < all.size(); ++i) {
    ASSERT_LT(all[i - 1].slot, all[i].slot) << "record " << i;
    ASSERT_LE(all[i - 1].ns, all[i].ns) << "record " << i;
  }
}

class Dump : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "paxosd-flight-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  /// A child that writes `records` records and then dies by `crash`; its wait status.
  int child(std::uint64_t boot, std::uint64_t records, void (*crash)()) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      const rlimit none{0, 0};
      ::setrlimit(RLIMIT_CORE, &none);
      FlightRecorder recorder(16);
      if (recorder.dump_on_crash(folder_ / "crash", ReplicaId{2}, boot)) ::_exit(99);
      for (std::uint64_t i = 1; i <= records; ++i)
        recorder.applied(at(static_cast<std::int64_t>(i)), {2 * i});
      crash();
      ::_exit(98);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return status;
  }
  std::string bytes(std::uint64_t boot) {
    std::ifstream in(folder_ / "crash" / ("flight-" + std::to_string(boot) + ".bin"), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::filesystem::path folder_;
};

TEST_F(Dump, AFatalSignalLeavesTheRingBehindAndStillKills) {
  const std::vector<std::pair<int, void (*)()>> crashes{
      {SIGABRT, [] { std::abort(); }},
      {SIGABRT, [] { std::terminate(); }},
      {SIGABRT,
       [] {
         ::kill(::getpid(), SIGABRT);
         ::pause();
       }},
      {SIGABRT, [] { std::abort(); }},
      {SIGABRT, [] { std::abort(); }}
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
      // These a sanitizer takes for itself.
      ,
      {SIGFPE, [] { ::raise(SIGFPE); }},
      {SIGSEGV, [] { *reinterpret_cast<volatile int*>(8) = 1; }},
      {SIGBUS, [] { ::raise(SIGBUS); }}
#endif
  };
  std::uint64_t boot = 0;
  for (const auto& [signal, crash] : crashes) {
    const int status = child(++boot, 20, crash);
    ASSERT_TRUE(WIFSIGNALED(status)) << boot << ": " << status;
    EXPECT_EQ(WTERMSIG(status), signal);
    const std::string file = bytes(boot);
    const auto dump = chat::parse_flight_dump(std::as_bytes(std::span{file}));
    ASSERT_TRUE(dump) << dump.error();
    EXPECT_EQ(dump->head.signal, static_cast<std::uint32_t>(signal));
    EXPECT_EQ(dump->head.boot, boot);
    EXPECT_EQ(dump->head.replica, 2);
    ASSERT_EQ(dump->entries.size(), 16U);
    EXPECT_EQ(dump->entries.front().slot, 10U);
    EXPECT_EQ(dump->entries.back().slot, 40U);
  }
  EXPECT_EQ(FlightRecorder::dumps(folder_ / "crash").size(), crashes.size());
}

TEST_F(Dump, OnlyTheNewestOfThemStay) {
  for (const std::uint64_t boot : {99U, 100U, 9U})
    ASSERT_TRUE(WIFSIGNALED(child(boot, 5, [] { std::abort(); })));
  const std::filesystem::path crash = folder_ / "crash";
  std::ofstream(crash / "notes.txt") << "an operator's";
  FlightRecorder::keep_newest(crash, 3);
  EXPECT_EQ(FlightRecorder::dumps(crash).size(), 3U);
  FlightRecorder::keep_newest(crash, 2);
  EXPECT_EQ(FlightRecorder::dumps(crash), (std::vector{crash / "flight-99.bin", crash / "flight-100.bin"}))
      << "by boot";
  FlightRecorder::keep_newest(crash, 1);
  EXPECT_EQ(FlightRecorder::dumps(crash), std::vector{crash / "flight-100.bin"});
  EXPECT_TRUE(std::filesystem::exists(crash / "notes.txt"));
  FlightRecorder::keep_newest(folder_ / "none", 1);
}

TEST_F(Dump, OneThatIsCutOffOrOfSomethingElseIsRefused) {
  ASSERT_TRUE(WIFSIGNALED(child(1, 5, [] { std::abort(); })));
  std::string file = bytes(1);
  ASSERT_EQ(file.size(), sizeof(chat::FlightDumpHead) + 5 * sizeof(FlightEntry));
  for (std::size_t size = 0; size < file.size(); ++size)
    EXPECT_FALSE(chat::parse_flight_dump(std::as_bytes(std::span{file.data(), size}))) << size;
  // Whatever is in it, reading ends.
  for (std::size_t bit = 0; bit < 8 * file.size(); ++bit) {
    std::string flipped = file;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    const auto dump = chat::parse_flight_dump(std::as_bytes(std::span{flipped}));
    if (dump) (void)chat::flight_of_slot(dump->entries, {4}, 100);
    if (bit < 8 * 16) EXPECT_FALSE(dump) << bit;
  }
}

}  // namespace
