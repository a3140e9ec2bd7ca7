#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "tests/explore/model.h"
#include "tests/explore/search.h"
#include "tests/explore/walk.h"
#include "tests/mutants/choose.h"

/// paxos-explore: every interleaving of small configurations of the real core. See docs/RELIABILITY.md.
namespace {

using explore::Change;
using explore::Config;

/// What suite 'explore' and suite 'long' run (meson.build), and docs/RELIABILITY.md tells of.
const Config presets[] = {
    {.name = "tiny", .ballots = 2, .slots = 1, .pulls = false},
    {.name = "crash", .ballots = 2, .slots = 1, .crashes = 1},
    {.name = "late", .ballots = 2, .slots = 1, .late = true, .pulls = false},
    {.name = "ballots", .ballots = 3, .slots = 1, .syncs = false, .repeats = true},
    {.name = "slots", .ballots = 2, .slots = 2, .syncs = false, .pulls = false, .repeats = true},
    {.name = "pulls", .ballots = 2, .slots = 2, .syncs = false, .repeats = true},
    {.name = "pages", .ballots = 2, .slots = 2, .page = 1, .syncs = false, .pulls = false, .repeats = true},
    {.name = "window", .ballots = 2, .slots = 3, .window = 2, .syncs = false, .pulls = false},
    {.name = "large", .ballots = 3, .slots = 2, .syncs = false, .pulls = false},
    // One change of the configuration.
    {.name = "grow", .slots = 2, .change = Change::add, .changes = 2, .outsiders = true, .syncs = false},
    {.name = "shrink",
     .slots = 2,
     .change = Change::remove,
     .changes = 2,
     .outsiders = true,
     .syncs = false,
     .pulls = false},
    {.name = "replace",
     .slots = 2,
     .change = Change::replace,
     .changes = 2,
     .outsiders = true,
     .syncs = false},
    {.name = "beside",
     .slots = 2,
     .change = Change::replace,
     .outsiders = true,
     .beside = true,
     .syncs = false,
     .pulls = false},
    {.name = "overtaken",
     .ballots = 3,
     .slots = 2,
     .change = Change::remove,
     .outsiders = true,
     .syncs = false,
     .pulls = false},
    {.name = "restart",
     .slots = 2,
     .crashes = 1,
     .change = Change::remove,
     .outsiders = true,
     .syncs = false,
     .pulls = false},
};

constexpr const char* usage =
    "Usage: paxos-explore [--config NAME] [--replicas N] [--proposers P] [--ballots B] [--slots S]\n"
    "                     [--crashes C] [--skips K] [--change none|add|remove|replace] [--changes N]\n"
    "                     [--member N] [--outsiders 0|1] [--beside 0|1] [--page N] [--window N]\n"
    "                     [--syncs 0|1] [--late 0|1] [--pulls 0|1] [--repeats 0|1] [--stops 0|1]\n"
    "                     [--reduce 0|1] [--states-max N] [--memory-max GIB] [--walks N] [--both] "
    "[--progress]\n"
    "\n"
    "Explores every interleaving of a small cluster that runs the real core: messages may be lost, repeated "
    "and\n"
    "reordered, timers and syncs are free choices, replicas crash and restart. Ends at the fixpoint, at a "
    "bound,\n"
    "or at the first state that breaks an invariant, with one of the shortest ways to it.\n"
    "  --config NAME     begin with a named configuration; what follows changes it. --list names them\n"
    "  --replicas N      1 to 5 (default 3)\n"
    "  --proposers P     replicas that may campaign (2)\n"
    "  --ballots B       campaigns in all (2)\n"
    "  --slots S         slots that may be proposed in (1)\n"
    "  --crashes C       crash-restarts in all (0)\n"
    "  --skips K         slots left empty on purpose (0)\n"
    "  --change WHAT     the configuration may change once: add (a learner becomes a voter), remove,\n"
    "                    replace (by another directory), none (none)\n"
    "  --changes N       proposals of the change in all (1)\n"
    "  --member N        whom a removal or a replacement is about (the last one)\n"
    "  --outsiders 0|1   who has no vote answers all the same, and must count for nothing (0)\n"
    "  --beside 0|1      the directory that is replaced was not lost, and runs beside the new one (0)\n"
    "  --window N        slots proposed and not applied, at most (0: as shipped)\n"
    "  --page N          slots in a page of a promise, at most (0: as many as it has)\n"
    "  --syncs 0|1       a sync takes time, and a crash may lose what was not synced (1)\n"
    "  --late 0|1        the core may hear of a sync later than the others (0)\n"
    "  --pulls 0|1       the learner's pull timer (1)\n"
    "  --repeats 0|1     repeated Accepts, with a newer chosen prefix (0)\n"
    "  --stops 0|1       proposers that stop by themselves (0)\n"
    "  --reduce 0|1      send answers at once, forget what nobody will listen to (1)\n"
    "  --states-max N    stop after N distinct states (default 100,000,000,000)\n"
    "  --memory-max GIB  stop before the tables take more (default 8)\n"
    "  --walks N         random runs that check the canonical form first (default 2000)\n"
    "  --both            with and without the reduction: both must find the same local states\n"
    "  --list            the named configurations\n"
    "  --progress        a line on standard error every 10 s\n"
    "Exit status: 0 no violation, 1 a violation, 2 wrong usage, or a configuration that the tables cannot "
    "hold.\n";

const explore::Search* running = nullptr;

void print_transcript(const explore::Search& search) {
  for (const std::string& line : search.transcript()) std::printf("%s\n", line.c_str());
}

/// A broken invariant inside the core aborts. It does so in this thread, at a place that we know, so that the
/// way to it can be told as usual.
void on_abort(int) {
  std::signal(SIGABRT, SIG_DFL);
  if (running != nullptr) {
    print_transcript(*running);
    std::printf("violation: the core aborts at the last event\n");
    std::fflush(stdout);
  }
  std::_Exit(1);
}

int wrong_usage(const std::string& what) {
  std::fprintf(stderr, "paxos-explore: %s\n%s", what.c_str(), usage);
  return 2;
}

constexpr const char* change_names[] = {"none", "add", "remove", "replace"};

std::string describe_change(const Config& c) {
  if (c.change == Change::none) return {};
  const std::string times = c.changes == 1 ? "" : ", proposed " + std::to_string(c.changes) + " times";
  return std::string(", ") + change_names[static_cast<std::size_t>(c.change)] + " replica " +
         std::to_string(c.changed()) + times + (c.beside ? ", which runs on" : "") +
         (c.outsiders ? ", outsiders answer" : "");
}

std::string describe(const Config& c) {
  const auto many = [](unsigned n, const char* what) {
    return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
  };
  return (c.name.empty() ? "" : c.name + ": ") + many(c.replicas, "replica") + ", " +
         many(c.proposers, "proposer") + ", " + many(c.ballots, "ballot") + ", " + many(c.slots, "slot") +
         ", " + (c.crashes == 1 ? "1 crash" : std::to_string(c.crashes) + " crashes") + ", " +
         many(c.skips, "skip") + describe_change(c) +
         (c.page == 0 ? "" : ", promises in pages of " + many(c.page, "slot")) +
         (c.window == 0 ? "" : ", a window of " + many(c.window, "slot")) + (c.syncs ? ", syncs" : "") +
         (c.late ? ", late" : "") + (c.pulls ? ", pulls" : "") + (c.repeats ? ", repeats" : "") +
         (c.stops ? ", stops" : "") + (c.reduce ? ", reduced" : ", not reduced");
}

struct Limits {
  std::uint64_t states_max = 100'000'000'000;
  std::uint64_t memory_max = 8;  ///< GiB
  std::uint64_t walks = 2000;
  bool progress = false;
};

/// The exit status; `locals` is set to the number of local states that were found.
int run(const Config& config, const Limits& limits, std::size_t& locals) {
  explore::Model model(config);
  explore::Walked walked;
  try {
    walked = explore::walk(model, limits.walks, 1);
  } catch (const explore::Violation& violation) {
    std::printf("configuration: %s\nviolation in a random run: %s\n", describe(config).c_str(),
                violation.what());
    // The search finds a short way to it, unless it is the form itself that is wrong.
    if (std::string_view(violation.what()).starts_with("canonical")) return 1;
  }
  explore::Search search(model, limits.states_max, static_cast<std::size_t>(limits.memory_max) << 30U,
                         limits.progress);
  running = &search;
  const explore::Result result = search.run();
  running = nullptr;
  locals = model.locals();
  for (const std::string& line : result.transcript) std::printf("%s\n", line.c_str());
  if (!result.violation.empty()) std::printf("violation: %s\n", result.violation.c_str());
  const auto number = [](std::uint64_t n) { return static_cast<unsigned long long>(n); };
  std::printf("configuration: %s\n", describe(config).c_str());
  std::printf("distinct states: %llu, steps %llu, widest level %zu\n", number(result.states),
              number(result.edges), result.widest);
  std::printf("depth: %zu\n", result.depth);
  std::printf("local states: %zu, letters %zu, transitions computed: %zu\n", locals, model.letters(),
              model.transitions());
  if (config.change != Change::none)
    std::printf("the change: the configuration after it decided %zu different decrees\n",
                result.decided_next);
  if (limits.walks != 0)
    std::printf("canonical form: %llu random runs, %llu steps, as the model says\n", number(walked.walks),
                number(walked.steps));
  if (config.reduce && result.violation.empty())
    std::printf("reduction: proved by %llu deliveries of forgotten letters\n",
                number(result.forgotten_checked));
  std::printf("time: %.1f s, %.0f states/s, %.2f GiB\n", result.seconds,
              static_cast<double>(result.states) / result.seconds,
              static_cast<double>(result.bytes) / static_cast<double>(1U << 30U));
  if (!result.violation.empty()) {
    std::printf("end: a violation\n");
    return 1;
  }
  if (result.fixpoint && config.change != Change::none && result.decided_next == 0) {
    std::printf("end: nothing was ever decided after the change, so nothing was shown\n");
    return 1;
  }
  if (result.fixpoint)
    std::printf("end: the fixpoint: every reachable state was seen, no violation\n");
  else
    std::printf("end: the bound on %s was hit, what lies beyond was not seen; no violation before\n",
                result.bound.c_str());
  return 0;
}

int run_both(Config config, const Limits& limits) {
  std::size_t locals[2] = {};
  for (const bool reduce : {false, true}) {
    config.reduce = reduce;
    if (const int status = run(config, limits, locals[reduce ? 1 : 0]); status != 0) return status;
  }
  if (locals[0] == locals[1]) return 0;
  std::printf("violation: the reduction finds %zu local states, not %zu\n", locals[1], locals[0]);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  Config config;
  Limits limits;
  bool both = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    const auto number = [&](std::uint64_t min, std::uint64_t max) -> std::optional<std::uint64_t> {
      if (i + 1 >= argc) return std::nullopt;
      const std::string_view text = argv[++i];
      if (text.empty() || text.size() > 12 || text.find_first_not_of("0123456789") != std::string_view::npos)
        return std::nullopt;
      const std::uint64_t value = std::strtoull(argv[i], nullptr, 10);
      return value < min || value > max ? std::nullopt : std::optional(value);
    };
    bool good = true;
    const auto small = [&](std::uint8_t& value, std::uint64_t min, std::uint64_t max) {
      const auto n = number(min, max);
      good = n.has_value();
      if (n) value = static_cast<std::uint8_t>(*n);
    };
    const auto large = [&](std::uint64_t& value, std::uint64_t min, std::uint64_t max) {
      const auto n = number(min, max);
      good = n.has_value();
      if (n) value = *n;
    };
    const auto yes_or_no = [&](bool& value) {
      std::uint8_t n = value ? 1 : 0;
      small(n, 0, 1);
      value = n != 0;
    };
    if (flag == "--help") return std::fputs(usage, stdout) < 0 ? 1 : 0;
    if (flag == "--mutants") {  // of paxos-explore-mutants
      mutants::list();
      return 0;
    }
    if (flag == "--list") {
      for (const Config& preset : presets) std::printf("%s\n", describe(preset).c_str());
      return 0;
    }
    if (flag == "--config") {
      const std::string_view name = i + 1 < argc ? argv[++i] : "";
      good = false;
      for (const Config& preset : presets)
        if (preset.name == name) config = preset, good = true;
    } else if (flag == "--mutant") {
      good = i + 1 < argc && mutants::choose(argv[++i]);
    } else if (flag == "--replicas") {
      small(config.replicas, 1, 5);
    } else if (flag == "--proposers") {
      small(config.proposers, 1, 5);
    } else if (flag == "--ballots") {
      small(config.ballots, 1, 9);
    } else if (flag == "--slots") {
      small(config.slots, 1, 9);
    } else if (flag == "--crashes") {
      small(config.crashes, 0, 9);
    } else if (flag == "--skips") {
      small(config.skips, 0, 9);
    } else if (flag == "--change") {
      const std::string_view name = i + 1 < argc ? argv[++i] : "";
      good = false;
      for (std::size_t n = 0; n < std::size(change_names); ++n)
        if (change_names[n] == name) config.change = static_cast<Change>(n), good = true;
    } else if (flag == "--changes") {
      small(config.changes, 1, 9);
    } else if (flag == "--member") {
      small(config.member, 0, 4);
    } else if (flag == "--outsiders") {
      yes_or_no(config.outsiders);
    } else if (flag == "--beside") {
      yes_or_no(config.beside);
    } else if (flag == "--window") {
      small(config.window, 0, 9);
    } else if (flag == "--page") {
      small(config.page, 0, 9);
    } else if (flag == "--syncs") {
      yes_or_no(config.syncs);
    } else if (flag == "--late") {
      yes_or_no(config.late);
    } else if (flag == "--pulls") {
      yes_or_no(config.pulls);
    } else if (flag == "--repeats") {
      yes_or_no(config.repeats);
    } else if (flag == "--stops") {
      yes_or_no(config.stops);
    } else if (flag == "--reduce") {
      yes_or_no(config.reduce);
    } else if (flag == "--states-max") {
      large(limits.states_max, 1, 100'000'000'000);
    } else if (flag == "--memory-max") {
      large(limits.memory_max, 1, 1024);
    } else if (flag == "--walks") {
      large(limits.walks, 0, 1'000'000'000);
    } else if (flag == "--progress") {
      limits.progress = true;
    } else if (flag == "--both") {
      both = true;
    } else {
      return wrong_usage("unknown flag '" + std::string(flag) + "'");
    }
    if (!good) return wrong_usage("'" + std::string(flag) + "' needs a value in range");
  }
  if (config.proposers > config.replicas) return wrong_usage("more proposers than replicas");
  if (config.change != Change::none && config.replicas < 2) return wrong_usage("a change needs 2 replicas");
  if (config.change == Change::add && config.changed() != config.replicas - 1)
    return wrong_usage("the last replica is the one that is added");
  std::signal(SIGABRT, on_abort);
  try {
    std::size_t locals = 0;
    return both ? run_both(config, limits) : run(config, limits, locals);
  } catch (const std::length_error& error) {
    std::fprintf(stderr, "paxos-explore: %s\n", error.what());
    return 2;
  }
}
