#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "tests/mutants/choose.h"
#include "tests/sim/queue.h"
#include "tests/sim/run.h"

/// paxos-sim: whole clusters in virtual time, one seed a run. See docs/RELIABILITY.md.
namespace {

constexpr const char* usage =
    "Usage: paxos-sim --seed N [--trace]\n"
    "       paxos-sim --seeds K [--first N] [--jobs J] [--seconds S] [--keep-going]\n"
    "       paxos-sim --regressions FILE\n"
    "\n"
    "Runs a modelled cluster with faults and checks it from outside. A seed decides everything.\n"
    "  --seed N        one run; --trace prints its whole timeline\n"
    "  --seeds K       K runs, from --first on (default 1), in --jobs processes (default 1)\n"
    "  --seconds S     of a range: no new run after S seconds\n"
    "  --keep-going    of a range: go on after a violation, to count them\n"
    "  --regressions F the seeds in F: one a line, '#' begins a comment\n"
    "Exit status: 0 no violation, 1 a violation (the command that replays it is printed), 2 wrong usage.\n";

char replay[128];
std::size_t replay_size = 0;

/// A broken invariant inside the replica aborts: say which seed it was.
void on_abort(int) {
  static_cast<void>(!write(STDERR_FILENO, replay, replay_size));
  signal(SIGABRT, SIG_DFL);
  raise(SIGABRT);
}

void name_seed(std::uint64_t seed) {
  replay_size = static_cast<std::size_t>(
      std::snprintf(replay, sizeof replay, "seed %llu aborted; replay: paxos-sim --seed %llu --trace\n",
                    static_cast<unsigned long long>(seed), static_cast<unsigned long long>(seed)));
}

void report(std::uint64_t seed, const sim::Result& result, const std::deque<std::string>& timeline,
            std::size_t lines) {
  std::printf("%s\n", sim::describe(sim::draw_scenario(seed)).c_str());
  const std::size_t first = timeline.size() > lines ? timeline.size() - lines : 0;
  for (std::size_t i = first; i < timeline.size(); ++i) std::printf("%s\n", timeline[i].c_str());
  std::printf("%s", result.standing.c_str());
  std::printf("seed %llu violates %s\nreplay: paxos-sim --seed %llu --trace\n",
              static_cast<unsigned long long>(seed), result.violation.c_str(),
              static_cast<unsigned long long>(seed));
}

int run_one(std::uint64_t seed, bool trace) {
  name_seed(seed);
  std::deque<std::string> timeline;
  const auto begin = std::chrono::steady_clock::now();
  const sim::Result result = sim::run_seed(seed, &timeline);
  const double real = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (!result.violation.empty()) {
    report(seed, result, timeline, trace ? timeline.size() : 60);
    return 1;
  }
  if (trace)
    for (const std::string& line : timeline) std::printf("%s\n", line.c_str());
  std::printf("%s\nevents by kind:", sim::describe(sim::draw_scenario(seed)).c_str());
  for (std::size_t kind = 0; kind < result.events_by_kind.size(); ++kind)
    if (result.events_by_kind[kind] != 0)
      std::printf(" %s %llu", sim::to_string(static_cast<sim::EventKind>(kind)),
                  static_cast<unsigned long long>(result.events_by_kind[kind]));
  std::printf("\n");
  std::printf(
      "seed %llu: trace %016llx, %llu events, %llu slots, %zu messages, %llu leader changes, "
      "recovery %.0f ms, %.0f x real time\n",
      static_cast<unsigned long long>(seed), static_cast<unsigned long long>(result.trace_hash),
      static_cast<unsigned long long>(result.events), static_cast<unsigned long long>(result.slots),
      result.posted, static_cast<unsigned long long>(result.leaders),
      static_cast<double>(result.recovery) / 1e6, static_cast<double>(result.length) / 1e9 / real);
  return 0;
}

struct Tally {
  std::uint64_t runs = 0;
  std::uint64_t violations = 0;
  std::uint64_t trace = 0;  ///< of all, in no order
  sim::Nanos length = 0;
  std::uint64_t events = 0;
  std::uint64_t posted = 0;
};

Tally run_some(const std::vector<std::uint64_t>& seeds, double seconds, bool keep_going) {
  Tally tally;
  const auto begin = std::chrono::steady_clock::now();
  for (const std::uint64_t seed : seeds) {
    if (seconds > 0 &&
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() > seconds)
      break;
    name_seed(seed);
    const sim::Result result = sim::run_seed(seed, nullptr);
    ++tally.runs;
    tally.trace += result.trace_hash * (2 * seed + 1);
    tally.length += result.length;
    tally.events += result.events;
    tally.posted += result.posted;
    if (result.violation.empty()) continue;
    ++tally.violations;
    if (keep_going) {
      std::printf("seed %llu violates %s\n", static_cast<unsigned long long>(seed), result.violation.c_str());
    } else {
      std::deque<std::string> timeline;
      const sim::Result again = sim::run_seed(seed, &timeline);
      report(seed, again, timeline, 60);
    }
    std::fflush(stdout);
    if (!keep_going) break;
  }
  return tally;
}

int run_many(const std::vector<std::uint64_t>& seeds, unsigned jobs, double seconds, bool keep_going) {
  const auto begin = std::chrono::steady_clock::now();
  Tally total;
  bool failed = false;
  std::vector<int> pipes;
  std::vector<pid_t> children;
  for (unsigned job = 0; job < jobs; ++job) {
    int ends[2];
    if (pipe(ends) != 0) {
      std::perror("pipe");
      return 1;
    }
    std::fflush(stdout);
    // Processes, not threads: with one thread, shared pointers count without atomics.
    const pid_t child = fork();
    if (child < 0) {
      std::perror("fork");
      return 1;
    }
    if (child == 0) {
      close(ends[0]);
      std::vector<std::uint64_t> share;
      for (std::size_t i = job; i < seeds.size(); i += jobs) share.push_back(seeds[i]);
      const Tally tally = run_some(share, seconds, keep_going);
      std::fflush(stdout);
      const bool told = write(ends[1], &tally, sizeof tally) == static_cast<ssize_t>(sizeof tally);
      _exit(told && tally.violations == 0 ? 0 : 1);
    }
    close(ends[1]);
    pipes.push_back(ends[0]);
    children.push_back(child);
  }
  for (unsigned job = 0; job < jobs; ++job) {
    Tally tally;
    if (read(pipes[job], &tally, sizeof tally) == static_cast<ssize_t>(sizeof tally)) {
      total.runs += tally.runs;
      total.violations += tally.violations;
      total.trace += tally.trace;
      total.length += tally.length;
      total.events += tally.events;
      total.posted += tally.posted;
    }
    close(pipes[job]);
    int status = 0;
    waitpid(children[job], &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) failed = true;
  }
  const double real = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double simulated = static_cast<double>(total.length) / 1e9;
  std::printf(
      "%llu runs, %.1f simulated hours, %llu messages, %llu events, %llu violations, trace %016llx, "
      "%.0f s, rate %.0f x real time a process\n",
      static_cast<unsigned long long>(total.runs), simulated / 3600,
      static_cast<unsigned long long>(total.posted), static_cast<unsigned long long>(total.events),
      static_cast<unsigned long long>(total.violations), static_cast<unsigned long long>(total.trace), real,
      simulated / real / jobs);
  return failed || total.violations != 0 ? 1 : 0;
}

int wrong_usage(const std::string& what) {
  std::fprintf(stderr, "paxos-sim: %s\n%s", what.c_str(), usage);
  return 2;
}

bool regression_seeds(const char* path, std::vector<std::uint64_t>& seeds) {
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) return false;
  char line[512];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    char* end = nullptr;
    const std::uint64_t seed = std::strtoull(line, &end, 10);
    if (end != line) seeds.push_back(seed);
  }
  std::fclose(file);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  bool one = false;
  bool trace = false;
  bool keep_going = false;
  std::uint64_t seed = 0;
  std::uint64_t count = 0;
  std::uint64_t first = 1;
  std::uint64_t jobs = 1;
  std::uint64_t seconds = 0;
  const char* regressions = nullptr;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    const auto number = [&](std::uint64_t& value) {
      if (i + 1 >= argc) return false;
      char* end = nullptr;
      value = std::strtoull(argv[++i], &end, 10);
      return end != argv[i] && *end == '\0';
    };
    bool good = true;
    if (flag == "--seed")
      good = one = number(seed);
    else if (flag == "--seeds")
      good = number(count) && count > 0;
    else if (flag == "--first")
      good = number(first);
    else if (flag == "--jobs")
      good = number(jobs) && jobs >= 1 && jobs <= 256;
    else if (flag == "--seconds")
      good = number(seconds);
    else if (flag == "--trace")
      trace = true;
    else if (flag == "--keep-going")
      keep_going = true;
    else if (flag == "--regressions")
      good = i + 1 < argc && (regressions = argv[++i]) != nullptr;
    else if (flag == "--mutant")  // of paxos-sim-mutants
      good = i + 1 < argc && mutants::choose(argv[++i]);
    else if (flag == "--mutants")
      return mutants::list(), 0;
    else if (flag == "--help")
      return std::fputs(usage, stdout) < 0 ? 1 : 0;
    else
      return wrong_usage("unknown flag '" + std::string(flag) + "'");
    if (!good) return wrong_usage("'" + std::string(flag) + "' needs a value in range");
  }
  signal(SIGABRT, on_abort);
  if (one) return run_one(seed, trace);
  std::vector<std::uint64_t> seeds;
  if (regressions != nullptr && !regression_seeds(regressions, seeds))
    return wrong_usage("cannot read '" + std::string(regressions) + "'");
  for (std::uint64_t i = 0; i < count; ++i) seeds.push_back(first + i);
  if (seeds.empty()) return wrong_usage("nothing to run: name --seed, --seeds or --regressions");
  return run_many(seeds, static_cast<unsigned>(jobs), static_cast<double>(seconds), keep_going);
}
