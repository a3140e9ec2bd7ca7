#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "chat/command.h"
#include "chat/machine.h"
#include "chat/versions.h"
#include "storage/inspect.h"
#include "storage/stores.h"

/// Damages a stopped replica's files, one fault a trial, and holds what comes of it against the truth: is it
/// named by `inspect`, by the start, by who reads; or is all that is served as it was? Anything else that is
/// served is a failure, and so is a start that refuses what `inspect` finds whole. Each trial follows from
/// --seed and its number alone.
///   flip-campaign [--trials N] [--seed S] [--jobs N] [--only TRIAL] [--table] [--verbose]
namespace {

using storage::Storage;
namespace fs = std::filesystem;

constexpr const char* cluster_id = "5f0a2b1e-0000-4000-8000-000000000001";

struct Random {
  std::uint64_t state;
  std::uint64_t next() {
    std::uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t n) { return n == 0 ? 0 : next() % n; }
};

storage::OpenOptions options(const fs::path& directory) {
  storage::OpenOptions out;
  out.directory = directory;
  out.cluster_id = cluster_id;
  out.replica = {1};
  out.replicas = 3;
  out.fresh_incarnation.bytes.fill(7);
  out.rules_known = chat::rules_released;
  return out;
}

/// A replica without its protocol: what it is told is chosen is logged, applied, and its rows written.
class Life {
 public:
  explicit Life(Storage::Opened opened) : s(std::move(opened)), machine(std::move(s.machine)) {
    group_ = s.recovered.last_group;
    s.storage->start({.synced = [this](std::uint64_t group) { told([&] { synced_ = group; }); },
                      .failed = [this](std::string why) { told([&] { failed_ = std::move(why); }); },
                      .damaged = [](const storage::Damage&) {}});
    // As the daemon does: what is known to be chosen is applied again, from the own log in pages.
    while (redo_fault.empty() && machine.applied() < s.recovered.redo_to) {
      std::vector<paxos::LogEntry> page;
      const std::string unread = read([&](const Storage::Reader& reader) {
        auto got = reader.log(machine.applied() + 1, s.recovered.redo_to, 64 << 10);
        if (got)
          page = std::move(*got);
        else
          redo_fault = got.error();
      });
      if (redo_fault.empty() && !unread.empty()) redo_fault = unread;
      for (const paxos::LogEntry& entry : page) {
        if (entry.slot != machine.applied() + 1) break;
        apply(entry.slot, entry.decree);
      }
      if (redo_fault.empty() && (page.empty() || page.back().slot != machine.applied()))
        redo_fault = "slot " + std::to_string(machine.applied().n + 1) + " is missing from the log";
    }
    for (const paxos::LogEntry& entry : s.recovered.entries) {
      if (entry.slot != machine.applied() + 1) break;
      if (!entry.chosen && entry.slot > s.recovered.chosen_prefix) break;
      apply(entry.slot, entry.decree);
    }
  }
  std::vector<chat::Outcome> choose(const paxos::Decree& decree) {
    const paxos::Slot slot = machine.applied() + 1;
    append({paxos::ChosenRecord{slot, {4, {1}}, decree}, paxos::ChosenPrefixRecord{slot}});
    return apply(slot, decree);
  }
  chat::Outcome run(const chat::Command& command, std::int64_t time_ms) {
    return choose(chat::make_decree(time_ms, std::vector{chat::encode(command)})).at(0);
  }
  void append(std::vector<paxos::Record> records) {
    s.storage->append(++group_, std::move(records));
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return synced_ >= group_ || !failed_.empty(); });
    if (!failed_.empty()) throw std::runtime_error(failed_);
  }
  /// Empty: the job ran; else why a row did not read.
  std::string read(std::function<void(const Storage::Reader&)> job) {
    auto done = std::make_shared<std::promise<std::string>>();
    auto result = done->get_future();
    s.storage->read(
        [done, job = std::move(job)](const Storage::Reader& reader) {
          job(reader);
          done->set_value({});
        },
        [done](const std::string& why) { done->set_value(why.empty() ? "unread" : why); });
    return result.get();
  }

  std::string redo_fault;  ///< not empty: the replica stops there

 private:
  template <class Change>
  void told(const Change& change) {
    {
      const std::lock_guard lock(mutex_);
      change();
    }
    changed_.notify_all();
  }
  std::vector<chat::Outcome> apply(paxos::Slot slot, const paxos::Decree& decree) {
    chat::Applied applied = machine.apply(slot, decree);
    s.storage->write_state(slot, std::move(applied.rows));
    return applied.outcomes;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t synced_ = 0;
  std::string failed_;
  std::uint64_t group_ = 0;

 public:
  Storage::Opened s;  // goes first, with its threads
  chat::Machine machine;
};

Storage::Opened opened(const fs::path& directory) {
  auto result = Storage::open(options(directory));
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

/// Five lives, so that there are tables on several levels, write-ahead logs, and votes above the chosen
/// prefix.
void build(const fs::path& directory) {
  Random random{99};
  std::int64_t now = 1'795'000'000'000;
  std::vector<chat::SessionId> sessions;
  std::vector<std::uint64_t> seqs;
  for (int life = 0; life < 5; ++life) {
    Life replica(opened(directory));
    if (life == 0) {
      replica.append({paxos::BirthRecord{
          .members = {{{1, 2, 3}}, replica.s.recovered.incarnation, {{4, 5, 6}}}, .born = true}});
      replica.append({paxos::PromiseRecord{{4, {1}}}});
      for (std::uint16_t rules = 2; rules <= chat::rules_released; ++rules)
        replica.choose(chat::make_rules_decree(rules));
    }
    for (int i = 0; i < 6; ++i) {
      chat::Nonce nonce{};
      nonce[0] = static_cast<std::uint8_t>(life);
      nonce[1] = static_cast<std::uint8_t>(i);
      sessions.push_back(
          replica.run({.session = {}, .seq = 0, .answered_below = 0, .operation = chat::Open{nonce}}, now)
              .session);
      seqs.push_back(0);
    }
    for (int slot = 0; slot < 160; ++slot) {
      if (slot % 37 == 0) replica.choose(paxos::Decree{});
      std::vector<paxos::Bytes> commands;
      for (std::uint64_t n = 1 + random.below(6); n > 0; --n) {
        const std::size_t who = random.below(sessions.size());
        std::string text(20 + random.below(500), 'x');
        for (char& c : text) c = static_cast<char>('a' + random.below(26));
        chat::Post post{fmt::format("room-{}", random.below(5)), fmt::format("name{}", who), std::move(text)};
        if (random.below(9) == 0) post.key = fmt::format("key-{}-{}", life, random.next());
        if (random.below(40) == 0) post.topic = "about something";
        if (random.below(5) == 0) post.written_ms = now - 5000;
        commands.push_back(chat::encode({.session = sessions[who],
                                         .seq = ++seqs[who],
                                         .answered_below = seqs[who],
                                         .operation = std::move(post)}));
      }
      replica.choose(chat::make_decree(now += 1000, commands));
    }
    if (life == 4) {
      // Votes that a quorum may rest on, above what it knows to be chosen, and a promise above them.
      for (std::uint64_t n = 1; n <= 6; ++n)
        replica.append({paxos::VoteRecord{
            {replica.machine.applied().n + n},
            {5, {2}},
            chat::make_decree(
                now, std::vector{chat::encode({.session = sessions[0],
                                               .seq = seqs[0] + n,
                                               .answered_below = 1,
                                               .operation = chat::Post{"room-0", "late", "perhaps"}})})}});
      replica.append({paxos::PromiseRecord{{9, {2}}}});
    }
  }
}

struct Truth {
  paxos::Recovered recovered;
  std::map<std::uint64_t, paxos::LogEntry> log;
  std::map<std::string, std::vector<chat::Message>> rooms;
  std::map<std::uint64_t, paxos::Hash> hashes;
  std::uint64_t last_slot = 0;
};

/// What a replica serves: equal to the truth, refused (why), or wrong.
struct Served {
  Truth truth;
  std::string refused;
};

Served everything(Life& replica) {
  Served out;
  out.truth.recovered = replica.s.recovered;
  const auto note = [&](const std::string& why) {
    if (out.refused.empty()) out.refused = why;
  };
  note(replica.read([&](const Storage::Reader& reader) {
    if (const auto own = reader.log_own(); !own) note(own.error());
    for (std::uint64_t from = 1;;) {
      const auto page = reader.log({from}, {UINT64_MAX}, 1u << 20);
      if (!page) return note(page.error());
      if (page->empty()) break;
      for (const paxos::LogEntry& entry : *page) out.truth.log[entry.slot.n] = entry;
      from = page->back().slot.n + 1;
      out.truth.last_slot = page->back().slot.n;
    }
  }));
  for (int room = 0; room < 5; ++room) {
    const std::string name = fmt::format("room-{}", room);
    note(replica.read([&](const Storage::Reader& reader) {
      for (std::uint64_t from = 1; from != 0;) {
        auto page = chat::read_history(reader.rows, name, from, 0);
        if (!page) return note(page.error());
        for (chat::Message& m : page->messages) out.truth.rooms[name].push_back(std::move(m));
        from = page->next;
      }
    }));
  }
  note(replica.read([&](const Storage::Reader& reader) {
    for (std::uint64_t slot = 1; slot <= replica.machine.applied().n; ++slot)
      if (const auto hash = chat::read_hash(reader.rows, {slot})) out.truth.hashes[slot] = *hash;
  }));
  return out;
}

bool same_record(const paxos::LogEntry& a, const paxos::LogEntry& b) {
  return a.ballot == b.ballot && a.chosen == b.chosen && a.decree == b.decree;
}

/// What is served and is not as it was; empty: nothing. Of what was refused, less may be there.
std::string wrong(const Truth& truth, const Served& served) {
  const Truth& t = served.truth;
  const auto& was = truth.recovered;
  const auto& is = t.recovered;
  if (is.promised != was.promised)
    return fmt::format("promise {} became {}", paxos::to_string(was.promised), paxos::to_string(is.promised));
  if (is.incarnation != was.incarnation) return "another incarnation";
  if (is.birth != was.birth) return "another birth";
  if (is.boot < was.boot) return fmt::format("boot {} again", is.boot);
  if (is.last_group != was.last_group)
    return fmt::format("the last group is {}, was {}", is.last_group, was.last_group);
  if (is.chosen_prefix != was.chosen_prefix)
    return fmt::format("chosen prefix {}, was {}", is.chosen_prefix.n, was.chosen_prefix.n);
  for (const auto& [slot, entry] : t.log) {
    const auto at = truth.log.find(slot);
    if (at == truth.log.end() || !same_record(at->second, entry))
      return fmt::format("another record of slot {}", slot);
  }
  for (const auto& [room, messages] : t.rooms) {
    const auto& all = truth.rooms.at(room);
    for (const chat::Message& m : messages)
      if (m.seq == 0 || m.seq > all.size() || all[m.seq - 1] != m)
        return fmt::format("another message {} of {}", m.seq, room);
  }
  for (const auto& [slot, hash] : t.hashes)
    if (truth.hashes.at(slot) != hash) return fmt::format("another hash of slot {}", slot);
  if (!served.refused.empty()) return {};
  if (t.log.size() != truth.log.size())
    return fmt::format("{} records of {}", t.log.size(), truth.log.size());
  for (const auto& [room, all] : truth.rooms)
    if (!t.rooms.contains(room) || t.rooms.at(room).size() != all.size()) return "fewer messages in " + room;
  if (t.hashes.size() != truth.hashes.size()) return "fewer hashes";
  return {};
}

/// The kinds of files, each as likely as the next.
std::string kind_of(const fs::path& file, const fs::path& directory) {
  const std::string part = fs::relative(file, directory).begin()->string();
  const std::string name = file.filename().string();
  if (part == "log-mark") return "log-mark";
  if (part != "log" && part != "state") return "other (lock)";
  if (name.ends_with(".sst")) return part + "/ tables";
  if (name.ends_with(".blob")) return part + "/ blob files";
  if (name.ends_with(".log")) return part + "/ write-ahead logs";
  if (name.starts_with("MANIFEST")) return part + "/ MANIFEST";
  if (name == "CURRENT") return part + "/ CURRENT";
  return "other (LOG, OPTIONS, IDENTITY, LOCK)";
}

std::string read_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write_file(const fs::path& file, const std::string& bytes) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

struct Fault {
  std::string kind, what;
};

Fault damage(const fs::path& directory, Random& random) {
  std::map<std::string, std::vector<fs::path>> kinds;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file()) kinds[kind_of(entry.path(), directory)].push_back(entry.path());
  std::erase_if(kinds, [](const auto& kind) {
    return std::all_of(kind.second.begin(), kind.second.end(),
                       [](const fs::path& f) { return fs::file_size(f) == 0; });
  });
  auto at = kinds.begin();
  std::advance(at, static_cast<std::ptrdiff_t>(random.below(kinds.size())));
  auto& [kind, files] = *at;
  std::sort(files.begin(), files.end());
  std::erase_if(files, [](const fs::path& f) { return fs::file_size(f) == 0; });
  const fs::path file = files[random.below(files.size())];
  const std::string name = fs::relative(file, directory).string();
  std::string bytes = read_file(file);
  // Where nothing was ever written there is nothing to damage: zeros ahead of a log's end are hit now and
  // then only.
  const std::size_t used = random.below(8) == 0 ? bytes.size() : bytes.find_last_not_of('\0') + 1;
  const std::uint64_t how = random.below(10);
  if (how < 6) {
    const std::size_t byte = random.below(used);
    const unsigned bit = static_cast<unsigned>(random.below(8));
    bytes[byte] = static_cast<char>(bytes[byte] ^ (1 << bit));
    write_file(file, bytes);
    return {kind, fmt::format("{}: bit {} of byte {} flipped", name, bit, byte)};
  }
  if (how < 8) {
    const std::size_t size = random.below(used);
    fs::resize_file(file, size);
    return {kind, fmt::format("{}: cut to {} of {} bytes", name, size, bytes.size())};
  }
  if (how < 9) {
    const std::size_t block = random.below((used + 4095) / 4096) * 4096;
    const std::size_t end = std::min(bytes.size(), block + 4096);
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(block),
              bytes.begin() + static_cast<std::ptrdiff_t>(end), '\0');
    write_file(file, bytes);
    return {kind, fmt::format("{}: bytes {} to {} zeroed", name, block, end)};
  }
  fs::remove(file);
  return {kind, name + ": removed"};
}

/// Every file's name, size, time and bytes.
std::map<std::string, std::string> listing(const fs::path& directory) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    out[entry.path().string()] =
        entry.is_regular_file() ? fmt::format("{} {}", entry.last_write_time().time_since_epoch().count(),
                                              std::hash<std::string>{}(read_file(entry.path())))
                                : "folder";
  return out;
}

enum class End { refused, reads_refused, redone, whole };

struct Trial {
  Fault fault;
  bool named = false;
  End end = End::whole;
  std::string sentence;
  std::string failure;  ///< what must never be; empty: all is well
};

/// `renew_state`: as in OpenOptions.
bool opens_as_truth(const fs::path& directory, const Truth& truth, Trial& trial,
                    const std::string& renew_state = {}) {
  auto given = options(directory);
  given.renew_state = renew_state;
  auto result = Storage::open(given);
  if (!result) {
    trial.end = End::refused;
    trial.sentence = result.error().message;
    return false;
  }
  const std::string put_aside = result->put_aside;
  Life life(std::move(*result));
  if (!life.redo_fault.empty()) {
    trial.end = End::refused;
    trial.sentence = life.redo_fault;
    return false;
  }
  const Served served = everything(life);
  trial.failure = wrong(truth, served);
  trial.end = !served.refused.empty() ? End::reads_refused : put_aside.empty() ? End::whole : End::redone;
  trial.sentence = served.refused + put_aside;
  return true;
}

Trial run_trial(const fs::path& whole, const fs::path& scratch, const Truth& truth, std::uint64_t seed,
                std::uint64_t number) {
  Random random{seed * 1'000'003 + number};
  random.next();
  fs::remove_all(scratch);
  fs::copy(whole, scratch, fs::copy_options::recursive);
  Trial trial;
  trial.fault = damage(scratch, random);
  const auto before = listing(scratch);
  const auto found = storage::inspect(scratch, chat::rules_released);
  if (listing(scratch) != before) {
    trial.failure = "inspect has written";
    return trial;
  }
  trial.named = !found || !found->findings.empty();
  // A replica that runs makes its state again where a row of it does not read.
  if (opens_as_truth(scratch, truth, trial) && trial.end == End::reads_refused && trial.failure.empty() &&
      trial.fault.kind.starts_with("state/"))
    (void)opens_as_truth(scratch, truth, trial, trial.sentence);
  if (trial.failure.empty() && !trial.named && trial.end != End::whole)
    trial.failure = "inspect found it whole, but: " + trial.sentence;
  if (trial.failure.empty() && trial.end != End::whole && trial.end != End::redone && trial.sentence.empty())
    trial.failure = "refused without a word";
  return trial;
}

struct Counts {
  std::uint64_t trials = 0, named = 0, refused = 0, reads_refused = 0, redone = 0, served_named = 0,
                unused = 0;
};

/// In a process of its own: what damage does to RocksDB may end it. A line a trial to `out`.
void work(const fs::path& base, std::uint64_t seed, std::uint64_t first, std::uint64_t trials,
          std::uint64_t step, int out) {
  const fs::path whole = base / "whole";
  const fs::path own = base / fmt::format("job-{}", ::getpid());
  Truth truth;
  {
    fs::create_directories(own);
    fs::copy(whole, own / "truth", fs::copy_options::recursive);
    Life life(opened(own / "truth"));
    Served all = everything(life);
    if (!all.refused.empty()) throw std::runtime_error(all.refused);
    truth = std::move(all.truth);
  }
  for (std::uint64_t n = first; n < trials; n += step) {
    std::string line = fmt::format("begin\t{}\n", n);
    if (::write(out, line.data(), line.size()) < 0) break;
    const Trial trial = run_trial(whole, own / "scratch", truth, seed, n);
    const auto plain = [](std::string text) {
      for (char& c : text)
        if (c == '\n' || c == '\t') c = ' ';
      return text.substr(0, 300);
    };
    line = fmt::format("end\t{}\t{}\t{}\t{}\t{}\t{}\t{}\n", n, trial.fault.kind, plain(trial.fault.what),
                       trial.named ? 1 : 0, static_cast<int>(trial.end), plain(trial.failure),
                       plain(trial.sentence));
    if (::write(out, line.data(), line.size()) < 0) break;
  }
  fs::remove_all(own);
}

std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> out(1);
  for (const char c : line) {
    if (c == '\t')
      out.emplace_back();
    else
      out.back() += c;
  }
  return out;
}

int campaign(std::uint64_t trials, std::uint64_t seed, std::uint64_t jobs, std::uint64_t first, bool table,
             bool verbose) {
  std::string name = ((::access("/dev/shm", W_OK) == 0 ? fs::path("/dev/shm") : fs::temp_directory_path()) /
                      "flip-campaign-XXXXXX")
                         .string();
  if (::mkdtemp(name.data()) == nullptr) return 1;
  const fs::path base = name;
  // RocksDB keeps threads, which no fork() takes along: it never runs in this process.
  const pid_t builder = ::fork();
  if (builder == 0) {
    try {
      build(base / "whole");
    } catch (const std::exception& error) {
      fmt::print(stderr, "flip-campaign: {}\n", error.what());
      ::_exit(1);
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(builder, &status, 0);
  if (status != 0) return 1;

  std::map<std::string, Counts> counts;
  std::uint64_t failures = 0;
  struct Job {
    std::uint64_t next = 0;
    pid_t process = 0;
  };
  std::vector<Job> all_jobs(jobs);
  for (std::uint64_t j = 0; j < jobs; ++j) all_jobs[j].next = first + j;
  const fs::path said = base / "said";
  for (;;) {
    // One that died goes on behind the trial that killed it.
    for (Job& job : all_jobs) {
      if (job.next >= first + trials) continue;
      job.process = ::fork();
      if (job.process != 0) continue;
      int code = 0;
      try {
        const int out =
            ::open(fmt::format("{}-{}", said.string(), ::getpid()).c_str(), O_WRONLY | O_CREAT, 0600);
        work(base, seed, job.next, first + trials, jobs, out);
      } catch (const std::exception& error) {
        fmt::print(stderr, "flip-campaign: {}\n", error.what());
        code = 1;
      }
      ::_exit(code);
    }
    bool any = false;
    for (Job& job : all_jobs) {
      if (job.process == 0) continue;
      any = true;
      ::waitpid(job.process, &status, 0);
      std::ifstream in(fmt::format("{}-{}", said.string(), job.process));
      job.process = 0;
      job.next = UINT64_MAX;
      std::optional<std::uint64_t> under_way;
      for (std::string line; std::getline(in, line);) {
        const auto fields = fields_of(line);
        if (fields[0] == "begin") {
          under_way = std::stoull(fields[1]);
          continue;
        }
        if (fields.size() < 8) continue;
        under_way.reset();
        Counts& c = counts[fields[2]];
        ++c.trials;
        const bool named = fields[4] == "1";
        const auto end = static_cast<End>(std::stoi(fields[5]));
        if (named) ++c.named;
        if (end == End::refused) ++c.refused;
        if (end == End::reads_refused) ++c.reads_refused;
        if (end == End::redone) ++c.redone;
        if (end == End::whole) ++(named ? c.served_named : c.unused);
        if (verbose || !fields[6].empty())
          fmt::print("trial {}: {}: {} ({})\n", fields[1], fields[3], fields[6], fields[7]);
        if (!fields[6].empty()) ++failures;
      }
      if (status == 0) continue;
      ++failures;
      fmt::print("the process ended with {}: replay with --only {}\n", status, under_way.value_or(0));
      if (under_way) job.next = *under_way + jobs;
    }
    if (!any) break;
  }
  fs::remove_all(base);
  Counts all;
  const auto row = [&](const auto&... cells) {
    if (table)
      fmt::print("| {} | {} | {} | {} | {} | {} | {} | {} |\n", cells...);
    else
      fmt::print("{:<40} {:>7} {:>7} {:>8} {:>8} {:>8} {:>8} {:>8}\n", cells...);
  };
  const auto row_of = [&](const std::string& kind, const Counts& c) {
    row(kind, c.trials, c.named, c.refused, c.redone, c.reads_refused, c.served_named, c.unused);
  };
  row("files", "faults", "named", "refused", "redone", "reads", "no harm", "unused");
  if (table) row("---", "---", "---", "---", "---", "---", "---", "---");
  for (const auto& [kind, c] : counts) {
    row_of(kind, c);
    all.trials += c.trials;
    all.named += c.named;
    all.refused += c.refused;
    all.redone += c.redone;
    all.reads_refused += c.reads_refused;
    all.served_named += c.served_named;
    all.unused += c.unused;
  }
  row_of("all", all);
  fmt::print("{} faults, {} failures\n", all.trials, failures);
  return failures == 0 && all.trials > 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t trials = 200, seed = 1, jobs = 1, first = 0;
  bool table = false, verbose = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--table" || word == "--verbose") {
      (word == "--table" ? table : verbose) = true;
      continue;
    }
    std::uint64_t value = 0;
    const std::string text = i + 1 < argc ? argv[++i] : "";
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool good = error == std::errc{} && end == text.data() + text.size();
    if (good && word == "--trials")
      trials = value;
    else if (good && word == "--seed")
      seed = value;
    else if (good && word == "--jobs" && value > 0)
      jobs = value;
    else if (good && word == "--only")
      first = value, trials = 1;
    else {
      fmt::print(
          stderr,
          "usage: flip-campaign [--trials N] [--seed S] [--jobs N] [--only TRIAL] [--table] [--verbose]\n");
      return 2;
    }
  }
  return campaign(trials, seed, jobs, first, table, verbose);
}
