// What applying costs: `bench-apply [slots]`. Prints, for several loads, the time per message of
// Machine::apply, the rows and bytes it gives, and the processor time that RocksDB takes to keep them (no
// WAL, as in state/).
//
// `bench-apply --long before|after MILLIONS`: what a long load of 64 sessions with 64 outstanding costs in
// both databases (without the log's write-ahead log, which is the same), laid out as under rules 1, and as
// from rules 2 on: for each million messages the time, the processor time of RocksDB's own threads, and bytes
// written to tables and blob files for each byte of text.

#include <fmt/core.h>
#include <rocksdb/db.h>
#include <rocksdb/statistics.h>
#include <rocksdb/write_batch.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "chat/machine.h"
#include "chat/rows.h"
#include "storage/families.h"
#include "storage/recovery.h"

namespace {

struct Load {
  const char* what;
  std::size_t sessions;
  std::size_t outstanding;
  std::size_t per_slot;
  std::size_t rooms;
};

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::unique_ptr<rocksdb::DB> open_fresh(const std::filesystem::path& directory) {
  std::filesystem::remove_all(directory);
  rocksdb::Options options;
  options.create_if_missing = true;
  options.write_buffer_size = 8u << 20;
  options.compression = rocksdb::kLZ4Compression;
  rocksdb::DB* db = nullptr;
  if (const auto status = rocksdb::DB::Open(options, directory, &db); !status.ok()) {
    fmt::print(stderr, "{}: {}\n", directory.string(), status.ToString());
    std::exit(1);
  }
  return std::unique_ptr<rocksdb::DB>(db);
}

void run(const Load& load, std::size_t slots, const std::filesystem::path& directory) {
  chat::Machine machine;
  std::vector<chat::SessionId> ids;
  std::vector<paxos::Bytes> commands;
  paxos::Slot slot;
  std::int64_t time_ms = 1'795'000'000'000;
  for (std::size_t i = 0; i < load.sessions; ++i) {
    chat::Open open;
    open.nonce[0] = static_cast<std::uint8_t>(i);
    open.nonce[1] = static_cast<std::uint8_t>(i >> 8);
    commands = {chat::encode(chat::Command{.operation = open})};
    ++slot;
    ids.push_back(machine.apply(slot, chat::make_decree(time_ms, commands)).outcomes[0].session);
  }
  // A session is never faster than its window: it takes part in a slot with as many commands as come to it.
  std::vector<std::uint64_t> seq(load.sessions, 0);
  std::vector<paxos::Decree> decrees;
  std::size_t next = 0;
  const std::string text(100, 'x');
  for (std::size_t s = 0; s < slots; ++s) {
    commands.clear();
    const std::size_t run_length = std::max<std::size_t>(1, load.per_slot / load.sessions);
    while (commands.size() < load.per_slot) {
      const std::size_t i = next++ % load.sessions;
      for (std::size_t k = 0; k < run_length; ++k) {
        const std::uint64_t n = ++seq[i];
        commands.push_back(
            chat::encode({.session = ids[i],
                          .seq = n,
                          .answered_below = n > load.outstanding ? n - load.outstanding + 1 : 1,
                          .operation = chat::Post{"room-" + std::to_string(i % load.rooms), "ann", text}}));
      }
    }
    decrees.push_back(chat::make_decree(++time_ms, commands));
  }

  std::size_t messages = 0, rows = 0, bytes = 0, done = 0;
  double applying = 0, storing = 0, storing_wall = 0;
  auto db = open_fresh(directory);
  std::vector<chat::Applied> results;
  for (std::size_t at = 0; at < decrees.size();) {
    results.clear();
    double start = wall_seconds();
    for (std::size_t k = 0; k < 16 && at < decrees.size(); ++k)
      results.push_back(machine.apply(++slot, decrees[at++]));
    applying += wall_seconds() - start;
    for (const chat::Applied& a : results) {
      messages += a.outcomes.size();
      for (const auto& o : a.outcomes) done += o.verdict == chat::Verdict::done;
      rows += a.rows.size();
      for (const auto& row : a.rows) bytes += row.key.size() + (row.value ? row.value->size() : 0);
    }
    start = cpu_seconds();
    const double start_wall = wall_seconds();
    rocksdb::WriteBatch batch;
    for (const chat::Applied& a : results)
      for (const auto& row : a.rows)
        if (row.value)
          batch.Put(row.key, *row.value);
        else
          batch.Delete(row.key);
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    if (!db->Write(options, &batch).ok()) std::exit(1);
    storing += cpu_seconds() - start;
    storing_wall += wall_seconds() - start_wall;
  }
  const double start = cpu_seconds();
  db->Flush({});
  for (std::uint64_t busy = 1; busy != 0; std::this_thread::sleep_for(std::chrono::milliseconds{5})) {
    std::uint64_t running = 0, pending = 0;
    db->GetIntProperty("rocksdb.num-running-compactions", &running);
    db->GetIntProperty("rocksdb.compaction-pending", &pending);
    busy = running + pending;
  }
  storing += cpu_seconds() - start;
  const double n = static_cast<double>(messages);
  fmt::print(
      "{:<34} apply {:5.2f} us/msg   rows/slot {:6.1f}   bytes/msg {:6.0f}   RocksDB {:5.2f} us/msg{}\n",
      load.what, applying / n * 1e6, static_cast<double>(rows) / static_cast<double>(slots),
      static_cast<double>(bytes) / n, storing / n * 1e6,
      done == messages ? "" : fmt::format("   ({} of {} done)", done, messages));
  (void)storing_wall;
  db.reset();
  std::filesystem::remove_all(directory);
}

double cpu_of(int who) {
  rusage usage{};
  getrusage(who, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// A database as storage/ has it, but for the options that only a real one needs.
struct Store {
  storage::Families families;
  std::shared_ptr<rocksdb::Statistics> figures = rocksdb::CreateDBStatistics();

  Store(const std::filesystem::path& folder, bool after, const std::vector<storage::Family>& own) {
    std::filesystem::create_directories(folder);
    rocksdb::DBOptions options = storage::database_options(nullptr);
    options.statistics = figures;
    if (!after) options.rate_limiter.reset();
    rocksdb::Status status = families.open(options, folder.string(), own);
    if (status.ok() && after) status = families.make();
    if (!status.ok()) {
      fmt::print(stderr, "{}\n", status.ToString());
      std::exit(1);
    }
  }
  void write(rocksdb::WriteBatch& batch) const {
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    if (!families.db().Write(options, &batch).ok()) std::exit(1);
  }
  /// To tables and blob files: RocksDB counts what its threads write, of either kind.
  [[nodiscard]] std::uint64_t written() const {
    return figures->getTickerCount(rocksdb::FLUSH_WRITE_BYTES) + compacted();
  }
  [[nodiscard]] std::uint64_t compacted() const {
    return figures->getTickerCount(rocksdb::COMPACT_WRITE_BYTES);
  }
};

void long_run(bool after, std::size_t millions, const std::filesystem::path& directory) {
  using storage::Family;
  constexpr std::size_t sessions = 64, outstanding = 64, per_slot = 512, text_bytes = 100;
  std::filesystem::remove_all(directory);
  const Store state(directory / "state", after,
                    {Family::rest, Family::journal, Family::hashes, Family::runs});
  const Store log(directory / "log", after, {Family::slots});
  chat::Machine machine;
  std::vector<chat::SessionId> ids;
  paxos::Slot slot;
  std::int64_t time_ms = 1'795'000'000'000;
  if (after) static_cast<void>(machine.apply(++slot, chat::make_rules_decree(2)));
  for (std::size_t i = 0; i < sessions; ++i) {
    chat::Open open;
    open.nonce[0] = static_cast<std::uint8_t>(i);
    const auto decree =
        chat::make_decree(time_ms, std::vector{chat::encode(chat::Command{.operation = open})});
    ids.push_back(machine.apply(++slot, decree).outcomes[0].session);
  }
  std::vector<std::uint64_t> seq(sessions, 0);
  std::uint64_t random = 1;
  const auto text = [&] {
    std::string out(text_bytes, ' ');
    for (char& c : out) {
      random = random * 6364136223846793005ULL + 1442695040888963407ULL;
      c = "etaoinshrdlu etaoinshrdlcumwfgyp"[random >> 59];
    }
    return out;
  };
  for (std::size_t million = 1; million <= millions; ++million) {
    const double wall = wall_seconds(), self = cpu_of(RUSAGE_SELF), thread = cpu_of(RUSAGE_THREAD);
    const std::uint64_t bytes = state.written() + log.written();
    const std::uint64_t state_bytes = state.written();
    const std::uint64_t moved = state.compacted() + log.compacted();
    std::size_t here = 0;
    while (here < 1'000'000) {
      rocksdb::WriteBatch rows, slots;
      for (int together = 0; together < 4; ++together) {
        std::vector<paxos::Bytes> commands;
        for (std::size_t i = 0; i < sessions; ++i)
          for (std::size_t k = 0; k < per_slot / sessions; ++k) {
            const std::uint64_t n = ++seq[i];
            commands.push_back(
                chat::encode({.session = ids[i],
                              .seq = n,
                              .answered_below = n > outstanding ? n - outstanding + 1 : 1,
                              .operation = chat::Post{"room-" + std::to_string(i % 8), "ann", text()}}));
          }
        const paxos::Decree decree = chat::make_decree(++time_ms, commands);
        ++slot;
        const std::vector<storage::LogGroup> groups{
            {.number = slot.n, .records = {paxos::VoteRecord{slot, {1, {1}}, decree}}}};
        storage::each_row(groups, {1, {1}}, [&](std::string_view key, const std::string& value) {
          log.families.put(slots, key[0] == 's' ? Family::slots : Family::legacy, key, value);
        });
        for (const chat::Row& row : machine.apply(slot, decree).rows)
          if (row.value)
            state.families.put(rows, storage::family_of_row(row.key), row.key, *row.value);
          else
            state.families.remove(rows, storage::family_of_row(row.key), row.key);
        here += commands.size();
      }
      log.write(slots);
      state.write(rows);
    }
    const double background = cpu_of(RUSAGE_SELF) - self - (cpu_of(RUSAGE_THREAD) - thread);
    const double own = cpu_of(RUSAGE_THREAD) - thread;
    const double texts = static_cast<double>(here * text_bytes);
    fmt::print(
        "{} million {}: {:.1f} s, RocksDB's threads {:.2f} s of CPU ({:.0f} %), the writer {:.2f} s; "
        "{:.2f} bytes written a byte of text ({:.2f} of them the state's), {:.2f} by compactions\n",
        after ? "after " : "before", million, wall_seconds() - wall, background,
        100 * background / (background + own), own,
        static_cast<double>(state.written() + log.written() - bytes) / texts,
        static_cast<double>(state.written() - state_bytes) / texts,
        static_cast<double>(state.compacted() + log.compacted() - moved) / texts);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::string_view(argv[1]) == "--long") {
    const auto directory =
        std::filesystem::temp_directory_path() / ("bench-long-" + std::to_string(::getpid()));
    long_run(std::string_view(argv[2]) == "after", static_cast<std::size_t>(std::atoi(argv[3])), directory);
    std::filesystem::remove_all(directory);
    return 0;
  }
  const std::size_t slots = argc > 1 ? static_cast<std::size_t>(std::atoi(argv[1])) : 4000;
  const std::filesystem::path directory =
      std::filesystem::temp_directory_path() / ("bench-apply-" + std::to_string(::getpid()));
  for (const Load& load : {
           Load{"1 session, 1 outstanding", 1, 1, 1, 1},
           Load{"64 sessions, 1 outstanding", 64, 1, 32, 8},
           Load{"256 sessions, 1 outstanding", 256, 1, 128, 8},
           Load{"64 sessions, 16 outstanding", 64, 16, 256, 8},
           Load{"8 sessions, 256 outstanding", 8, 256, 64, 1},
           Load{"1000 sessions, 1 outstanding", 1000, 1, 500, 64},
       })
    run(load, slots, directory);
}
