#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "tests/mutants/choose.h"
#include "tests/sim/minimise.h"
#include "tests/sim/pool.h"
#include "tests/sim/queue.h"
#include "tests/sim/run.h"
#include "tests/sim/world.h"

/// paxos-sim: whole clusters in virtual time, one seed a run. See docs/RELIABILITY.md.
namespace {

constexpr const char* usage =
    "Usage: paxos-sim --seed N [--trace] [LESS]\n"
    "       paxos-sim --seeds K [--first N] [--jobs J] [--seconds S] [--keep-going]\n"
    "       paxos-sim --regressions FILE\n"
    "\n"
    "Runs a modelled cluster with faults and checks it from outside. A seed decides everything.\n"
    "  --seed N        one run; --trace prints its whole timeline\n"
    "  --seeds K       K runs, from --first on (default 1), in --jobs processes (default 1)\n"
    "  --seconds S     of a range: no new run after S seconds\n"
    "  --no-minimise   of a failing run: print it as it is\n"
    "  --replicas N    of a range: only seeds that draw so many replicas\n"
    "  --keep-going    of a range: go on after a violation, to count them\n"
    "  --regressions F the seeds in F: one a line, '#' begins a comment\n"
    "  --left-out F    of a range: not the seeds in F, whose violations are not understood yet; it says "
    "which\n"
    "LESS of a run, as a minimised failure names it:\n"
    "  --only-faults 3,17  these of its faults (none: 'none')   --clients N     only so many\n"
    "  --without loss,late without these settings               --length-us N   faults for so long\n"
    "  --shake N           other luck with everything but the schedule of faults\n"
    "  --pretend crash,pause  to see the minimiser: a violation once each of these faults has happened\n"
    "Exit status: 0 no violation, 1 a violation (the command that replays it is printed), 2 wrong usage.\n";

/// What all runs of this process share.
struct Mode {
  std::vector<sim::Fault> pretend;
  bool minimise = true;
  bool keep_going = false;
} mode;

constexpr std::size_t transcript_lines = 80;

sim::Scenario scenario_of(std::uint64_t seed) {
  sim::Scenario scenario = sim::draw_scenario(seed);
  scenario.pretend = mode.pretend;
  return scenario;
}

/// A failing run: what is left when all is left out that the failure does not need, and how to see it again.
void report(std::uint64_t seed, const sim::Reduction& reduction, const sim::Trial& seen, bool trace) {
  const auto number = static_cast<unsigned long long>(seed);
  const sim::Scenario scenario = scenario_of(seed);
  std::string pretend;
  for (const sim::Fault fault : mode.pretend) {
    std::string name = to_string(fault);
    std::replace(name.begin(), name.end(), ' ', '-');
    pretend += (pretend.empty() ? " --pretend " : ",") + name;
  }
  std::printf("seed %llu violates %s\n%s\nreplay: paxos-sim --seed %llu%s%s --no-minimise --trace\n", number,
              seen.violation.c_str(), sim::describe(scenario).c_str(), number,
              sim::to_flags(reduction).c_str(), pretend.c_str());
  sim::Reduction shown = reduction;
  if (mode.minimise) {
    std::fflush(stdout);
    const sim::Minimised less = sim::minimise(scenario, reduction, seen);
    const sim::Scenario left = sim::reduce(scenario, less.reduction);
    std::printf(
        "minimised in %u runs, %.0f s: %zu of %zu faults, %zu of %zu clients, the first %.3f s with faults\n",
        less.runs, less.seconds, left.schedule.size(), scenario.schedule.size(), left.clients,
        scenario.clients, static_cast<double>(left.safety_length) / 1e9);
    for (const sim::PlannedFault& fault : left.schedule)
      std::printf("  fault %u at %.3f ms: %s\n", fault.number, static_cast<double>(fault.at) / 1e6,
                  to_string(fault.kind));
    std::printf("it violates %s\nreplay it: paxos-sim --seed %llu%s%s --no-minimise\n",
                less.violation.c_str(), number, sim::to_flags(less.reduction).c_str(), pretend.c_str());
    shown = less.reduction;
  }
  std::printf("timeline:\n");
  sim::print_transcript(sim::reduce(scenario, shown), trace, transcript_lines);
  std::fflush(stdout);
}

/// CPU seconds of this process: what a rate is worth on a machine that others use too.
double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

int run_one(std::uint64_t seed, const sim::Reduction& reduction, bool trace) {
  const sim::Scenario scenario = sim::reduce(scenario_of(seed), reduction);
  const sim::Trial trial = sim::try_run(scenario);
  if (!trial.violation.empty()) {
    report(seed, reduction, trial, trace);
    return 1;
  }
  if (trace) sim::print_transcript(scenario, true, SIZE_MAX);
  const double begin = cpu_seconds();
  const sim::Result result = sim::run(scenario, nullptr);
  const double real = cpu_seconds() - begin;
  std::printf("%s\nevents by kind:", sim::describe(scenario).c_str());
  for (std::size_t kind = 0; kind < result.events_by_kind.size(); ++kind)
    if (result.events_by_kind[kind] != 0)
      std::printf(" %s %llu", sim::to_string(static_cast<sim::EventKind>(kind)),
                  static_cast<unsigned long long>(result.events_by_kind[kind]));
  std::printf("\n");
  std::printf(
      "seed %llu: trace %016llx, %llu events, %llu slots, %zu messages, %llu leader changes, "
      "%llu faults, %llu messages sealed or in fragments, recovery %.0f ms, %.0f x real time\n",
      static_cast<unsigned long long>(seed), static_cast<unsigned long long>(result.trace_hash),
      static_cast<unsigned long long>(result.events), static_cast<unsigned long long>(result.slots),
      result.posted, static_cast<unsigned long long>(result.leaders),
      static_cast<unsigned long long>(result.faults), static_cast<unsigned long long>(result.reassembled),
      static_cast<double>(result.recovery) / 1e6, static_cast<double>(result.length) / 1e9 / real);
  return 0;
}

struct Tally {
  std::uint64_t runs = 0;
  std::uint64_t violations = 0;
  std::uint64_t trace = 0;  ///< of all, in no order
  std::uint64_t events = 0;
  std::uint64_t posted = 0;
  std::uint64_t faults = 0;
  std::uint64_t sealed = 0;       ///< messages that went through net::Transport
  double length = 0;              ///< virtual seconds
  double faulty = 0;              ///< of them: with faults
  double replicas = 0;            ///< times virtual seconds
  double cpu = 0;                 ///< seconds
  sim::BoundTotals bounds{};      ///< how often each was reached
  sim::BoundTotals bound_runs{};  ///< and in how many runs

  void add(const Tally& other) {
    runs += other.runs;
    violations += other.violations;
    trace += other.trace;
    events += other.events;
    posted += other.posted;
    faults += other.faults;
    sealed += other.sealed;
    length += other.length;
    faulty += other.faulty;
    replicas += other.replicas;
    cpu += other.cpu;
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      bounds[i] += other.bounds[i];
      bound_runs[i] += other.bound_runs[i];
    }
  }
};

/// What a process that runs seeds leaves for the one that waits for it, also when it aborts.
struct Desk {
  Tally tally;
  std::size_t next = 0;    ///< of its seeds
  std::uint64_t seed = 0;  ///< being run
  bool running = false;
};

using Clock = std::chrono::steady_clock;

sim::BoundTotals reached(const sim::BoundTotals& counts) {
  sim::BoundTotals out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = counts[i] != 0 ? 1 : 0;
  return out;
}

/// With so many runs, a bound that none of them reached says that the simulator does not see what happens at
/// it.
constexpr std::uint64_t runs_that_reach_all = 1000;

/// How often each bound was reached. False: one should have been, and was not.
bool report_bounds(const Tally& total) {
  std::printf("bounds: times reached, in so many runs, and what happened\n");
  std::string never;
  for (std::size_t i = 0; i < total.bounds.size(); ++i) {
    const sim::BoundName& bound = sim::bound_names()[i];
    std::printf("  %-18s %12llu %8llu  %s\n", bound.name, static_cast<unsigned long long>(total.bounds[i]),
                static_cast<unsigned long long>(total.bound_runs[i]), bound.what);
    if (total.bounds[i] == 0) never += std::string(never.empty() ? "" : ", ") + bound.name;
  }
  if (never.empty() || total.runs < runs_that_reach_all || total.violations != 0) return true;
  std::printf("never reached in %llu runs: %s\n", static_cast<unsigned long long>(total.runs), never.c_str());
  return false;
}

void run_some(const std::vector<std::uint64_t>& seeds, Clock::time_point until, Desk& desk) {
  while (desk.next < seeds.size() && Clock::now() < until) {
    const std::uint64_t seed = seeds[desk.next++];
    desk.seed = seed;
    desk.running = true;
    sim::renew_pool();
    const sim::Scenario scenario = scenario_of(seed);
    const double before = cpu_seconds();
    const sim::Result result = sim::run(scenario, nullptr);
    desk.running = false;
    const double length = static_cast<double>(result.length) / 1e9;
    desk.tally.add({.runs = 1,
                    .violations = result.violation.empty() ? 0U : 1U,
                    .trace = result.trace_hash * (2 * seed + 1),
                    .events = result.events,
                    .posted = result.posted,
                    .faults = result.faults,
                    .sealed = result.reassembled,
                    .length = length,
                    .faulty = std::min(length, static_cast<double>(scenario.safety_length) / 1e9),
                    .replicas = length * static_cast<double>(scenario.replicas),
                    .cpu = cpu_seconds() - before,
                    .bounds = result.bounds_reached,
                    .bound_runs = reached(result.bounds_reached)});
    if (result.violation.empty()) continue;
    if (mode.keep_going) {
      std::printf("seed %llu violates %s\n", static_cast<unsigned long long>(seed), result.violation.c_str());
      std::fflush(stdout);
      continue;
    }
    report(seed, {}, {result.violation, result.length}, false);
    break;
  }
}

/// Runs `seeds` in a process that may die of it; with --keep-going another one goes on behind the seed it
/// died of.
pid_t start_some(const std::vector<std::uint64_t>& seeds, Clock::time_point until, Desk& desk) {
  std::fflush(stdout);
  // Processes, not threads: with one thread, shared pointers count without atomics.
  const pid_t child = fork();
  if (child != 0) return child;
  run_some(seeds, until, desk);
  std::fflush(stdout);
  _exit(0);
}

/// True when no more is to be waited for.
bool ended(pid_t child, Desk& desk) {
  int status = 0;
  waitpid(child, &status, 0);
  if (!desk.running) return true;
  desk.running = false;
  ++desk.tally.runs;
  ++desk.tally.violations;
  if (!mode.keep_going) {
    report(desk.seed, {}, sim::try_run(scenario_of(desk.seed)), false);
    return true;
  }
  std::printf("seed %llu aborts\n", static_cast<unsigned long long>(desk.seed));
  return false;
}

int run_many(const std::vector<std::uint64_t>& seeds, unsigned jobs, double seconds) {
  const auto begin = Clock::now();
  const auto until = seconds > 0
                         ? begin + std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000))
                         : Clock::time_point::max();
  void* shared =
      mmap(nullptr, jobs * sizeof(Desk), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) {
    std::perror("mmap");
    return 1;
  }
  auto* desks = new (shared) Desk[jobs];
  std::vector<std::vector<std::uint64_t>> shares(jobs);
  for (std::size_t i = 0; i < seeds.size(); ++i) shares[i % jobs].push_back(seeds[i]);
  std::vector<pid_t> children;
  for (unsigned job = 0; job < jobs; ++job) children.push_back(start_some(shares[job], until, desks[job]));
  Tally total;
  for (unsigned job = 0; job < jobs; ++job) {
    while (children[job] > 0 && !ended(children[job], desks[job]))
      children[job] = start_some(shares[job], until, desks[job]);
    if (children[job] < 0) {
      std::perror("fork");
      return 1;
    }
    total.add(desks[job].tally);
  }
  const double real = std::chrono::duration<double>(Clock::now() - begin).count();
  const double length = std::max(total.length, 1e-9);
  std::printf(
      "a virtual second on average: %.1f replicas, %.1f commands, %.2f faults while there are any, %.0f "
      "events, "
      "%.1f messages sealed or in fragments\n",
      total.replicas / length, static_cast<double>(total.posted) / length,
      static_cast<double>(total.faults) / std::max(total.faulty, 1e-9),
      static_cast<double>(total.events) / length, static_cast<double>(total.sealed) / length);
  std::printf(
      "%llu runs, %.1f simulated hours, %llu messages, %llu events, %llu violations, trace %016llx, "
      "%.0f s, rate %.0f x real time a core (%.1f s of CPU time; %.0f x by the clock, a process)\n",
      static_cast<unsigned long long>(total.runs), total.length / 3600,
      static_cast<unsigned long long>(total.posted), static_cast<unsigned long long>(total.events),
      static_cast<unsigned long long>(total.violations), static_cast<unsigned long long>(total.trace), real,
      total.length / std::max(total.cpu, 1e-9), total.cpu, total.length / real / jobs);
  const bool all_reached = report_bounds(total);
  return total.violations != 0 || !all_reached ? 1 : 0;
}

int wrong_usage(const std::string& what) {
  std::fprintf(stderr, "paxos-sim: %s\n%s", what.c_str(), usage);
  return 2;
}

bool parse_faults(std::string_view names, std::vector<sim::Fault>& faults) {
  while (!names.empty()) {
    const std::size_t comma = std::min(names.find(','), names.size());
    const auto fault = sim::parse_fault(names.substr(0, comma));
    if (!fault) return false;
    faults.push_back(*fault);
    names.remove_prefix(std::min(comma + 1, names.size()));
  }
  return !faults.empty();
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
  sim::Reduction reduction;
  std::uint64_t seed = 0;
  std::uint64_t count = 0;
  std::uint64_t first = 1;
  std::uint64_t jobs = 1;
  std::uint64_t seconds = 0;
  std::uint64_t replicas = 0;
  const char* regressions = nullptr;
  const char* left_out = nullptr;
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
    else if (flag == "--replicas")
      good = number(replicas) && replicas >= 1 && replicas <= 7;
    else if (flag == "--first")
      good = number(first);
    else if (flag == "--jobs")
      good = number(jobs) && jobs >= 1 && jobs <= 256;
    else if (flag == "--seconds")
      good = number(seconds);
    else if (flag == "--trace")
      trace = true;
    else if (flag == "--keep-going")
      mode.keep_going = true;
    else if (flag == "--no-minimise")
      mode.minimise = false;
    else if (flag == "--pretend")
      good = i + 1 < argc && parse_faults(argv[++i], mode.pretend);
    else if (flag == "--regressions")
      good = i + 1 < argc && (regressions = argv[++i]) != nullptr;
    else if (flag == "--left-out")
      good = i + 1 < argc && (left_out = argv[++i]) != nullptr;
    else if (flag == "--mutant")  // of paxos-sim-mutants
      good = i + 1 < argc && mutants::choose(argv[++i]);
    else if (flag == "--mutants") {
      mutants::list();
      return 0;
    } else if (flag == "--help")
      return std::fputs(usage, stdout) < 0 ? 1 : 0;
    else if (flag == "--only-faults" || flag == "--clients" || flag == "--length-us" || flag == "--without" ||
             flag == "--shake")
      good = i + 1 < argc && sim::parse_flag(flag, argv[++i], reduction);
    else
      return wrong_usage("unknown flag '" + std::string(flag) + "'");
    if (!good) return wrong_usage("'" + std::string(flag) + "' needs a value in range");
  }
  // Big pieces come and go all the time: the kernel need not hear of it.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  if (one) return run_one(seed, reduction, trace);
  if (!reduction.none()) return wrong_usage("less of a run: of one --seed only");
  std::vector<std::uint64_t> seeds;
  if (regressions != nullptr && !regression_seeds(regressions, seeds))
    return wrong_usage("cannot read '" + std::string(regressions) + "'");
  std::vector<std::uint64_t> open;
  if (left_out != nullptr && !regression_seeds(left_out, open))
    return wrong_usage("cannot read '" + std::string(left_out) + "'");
  for (const std::uint64_t s : open)
    if (s >= first && s < first + count)
      std::printf("left out: seed %llu, whose violation is not understood yet\n",
                  static_cast<unsigned long long>(s));
  for (std::uint64_t i = 0; i < count; ++i)
    if (std::find(open.begin(), open.end(), first + i) != open.end())
      continue;
    else if (replicas == 0 || sim::draw_scenario(first + i).replicas == replicas)
      seeds.push_back(first + i);
  if (seeds.empty()) return wrong_usage("nothing to run: name --seed, --seeds or --regressions");
  return run_many(seeds, static_cast<unsigned>(jobs), static_cast<double>(seconds));
}
