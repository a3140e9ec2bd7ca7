// What applying costs: `bench-apply [slots]`. Prints, for several loads, the time per message of
// Machine::apply, the rows and bytes it gives, and the processor time that RocksDB takes to keep them (no
// WAL, as in state/).

#include <fmt/core.h>
#include <rocksdb/db.h>
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

}  // namespace

int main(int argc, char** argv) {
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
