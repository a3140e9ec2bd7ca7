#include "tests/sim/minimise.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <vector>

namespace sim {

namespace {

constexpr int exit_none = 0;
constexpr int exit_violation = 3;
constexpr rlim_t child_cpu_seconds = 60;

/// The transcript that is being made in this process: told even when the core aborts.
const Timeline* telling = nullptr;
bool telling_all = false;
std::size_t telling_lines = 0;

void print_timeline(const std::string& violation) {
  std::fputs((telling_all ? telling->all() : telling->relevant(violation, telling_lines)).c_str(), stdout);
  std::fflush(stdout);
}

void tell_and_die(int signal_number) {
  signal(signal_number, SIG_DFL);
  print_timeline("");
  raise(signal_number);
}

void bounded() {
  const rlimit limit{child_cpu_seconds, child_cpu_seconds + 5};
  setrlimit(RLIMIT_CPU, &limit);
}

std::string kind_of(const std::string& violation) {
  // "I1: what was seen"; "abort: file:line: broken invariant: condition".
  if (violation.starts_with("abort:")) return violation.substr(0, violation.find('\n'));
  return violation.substr(0, violation.find(':'));
}

std::string drained(int from) {
  std::string out;
  char buffer[4096];
  for (ssize_t got; (got = read(from, buffer, sizeof buffer)) > 0;)
    out.append(buffer, static_cast<std::size_t>(got));
  return out;
}

class Search {
 public:
  Search(const Scenario& scenario, const Reduction& start, const Trial& seen, const MinimiseBounds& bounds)
      : scenario_(scenario), bounds_(bounds) {
    best_.reduction = start;
    best_.violation = seen.violation;
    at_ = seen.at;
    std::vector<unsigned> all;
    for (const PlannedFault& fault : reduce(scenario_, start).schedule) all.push_back(fault.number);
    best_.reduction.faults = std::move(all);
    end_with_violation();
  }

  Minimised run() {
    shorten();
    fewer_faults();
    fewer_settings();
    fewer_clients();
    // What is left may be one unlucky moment: with other luck fewer faults may do.
    if (faults().size() > 2) fewer_faults(3);
    fewer_settings();
    shorten();
    fewer_faults();
    best_.seconds = seconds();
    return best_;
  }

 private:
  [[nodiscard]] const std::vector<unsigned>& faults() const { return *best_.reduction.faults; }
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
  }
  [[nodiscard]] bool spent() const { return best_.runs >= bounds_.runs || seconds() >= bounds_.seconds; }

  /// Takes over `candidate` when it fails in the same way.
  bool attempt(Reduction candidate) {
    if (spent()) return false;
    ++best_.runs;
    Scenario scenario = reduce(scenario_, candidate);
    scenario.safety_only = in_safety_;
    const Trial trial = try_run(scenario);
    if (!same_failure(trial.violation, best_.violation)) return false;
    best_.reduction = std::move(candidate);
    best_.violation = trial.violation;
    at_ = trial.at;
    end_with_violation();
    return true;
  }
  bool attempt_with(std::vector<unsigned> kept, unsigned shakes) {
    Reduction candidate = best_.reduction;
    candidate.faults = std::move(kept);
    if (attempt(candidate)) return true;
    for (unsigned shake = 1; shake <= shakes; ++shake) {
      candidate.shake = shake;
      // Other luck may come a little later.
      if (best_.reduction.length) candidate.length = *best_.reduction.length * 3 / 2 / 1000 * 1000;
      if (attempt(candidate)) return true;
    }
    return false;
  }

  /// What comes after the violation was never reached: this needs no run.
  void end_with_violation() {
    if (at_ == 0 || at_ >= reduce(scenario_, best_.reduction).safety_length) return;
    in_safety_ = true;
    best_.reduction.length = (at_ / 1000 + 1) * 1000;  // to whole microseconds, as the flag has them
    drop_late_faults(best_.reduction);
  }
  void drop_late_faults(Reduction& reduction) const {
    std::erase_if(*reduction.faults,
                  [&](unsigned number) { return scenario_.schedule[number].at > *reduction.length; });
  }

  /// Where progress is missing: the faults may end sooner.
  void shorten() {
    if (in_safety_) return;
    const Nanos length = reduce(scenario_, best_.reduction).safety_length;
    for (const Nanos part : {length / 16, length / 8, length / 4, length / 2}) {
      Reduction candidate = best_.reduction;
      candidate.length = part / 1000 * 1000;
      drop_late_faults(candidate);
      if (attempt(candidate)) return;
    }
  }

  void fewer_faults(unsigned shakes = 0) {
    if (faults().empty() || attempt_with({}, shakes)) return;
    for (unsigned kind = 0; kind < fault_kinds; ++kind) {
      std::vector<unsigned> kept = faults();
      std::erase_if(kept, [&](unsigned n) { return scenario_.schedule[n].kind == static_cast<Fault>(kind); });
      if (kept.size() != faults().size()) attempt_with(std::move(kept), shakes);
    }
    for (std::size_t parts = 2; !faults().empty() && !spent();) {
      parts = std::min(parts, faults().size());
      bool fewer = false;
      for (std::size_t part = 0; part < parts && !fewer; ++part) {
        const std::vector<unsigned> now = faults();
        const std::size_t begin = now.size() * part / parts;
        const std::size_t end = now.size() * (part + 1) / parts;
        std::vector<unsigned> kept(now.begin(), now.begin() + static_cast<std::ptrdiff_t>(begin));
        kept.insert(kept.end(), now.begin() + static_cast<std::ptrdiff_t>(end), now.end());
        fewer = attempt_with(std::move(kept), shakes);
      }
      if (fewer) {
        parts = std::max<std::size_t>(parts - 1, 2);
      } else {
        if (parts == faults().size()) return;
        parts *= 2;
      }
    }
  }

  void fewer_settings() {
    const std::uint32_t all = (1U << setting_kinds) - 1;
    if (best_.reduction.without == all) return;
    Reduction candidate = best_.reduction;
    candidate.without = all;
    if (attempt(candidate)) return;
    for (unsigned setting = 0; setting < setting_kinds; ++setting) {
      candidate = best_.reduction;
      candidate.without |= 1U << setting;
      if (candidate.without != best_.reduction.without) attempt(candidate);
    }
  }

  void fewer_clients() {
    for (;;) {
      const std::size_t now = reduce(scenario_, best_.reduction).clients;
      Reduction candidate = best_.reduction;
      candidate.clients = 1;
      if (now == 1 || attempt(candidate)) return;
      candidate.clients = now / 2;
      if (now / 2 == 1 || !attempt(candidate)) return;
    }
  }

  const Scenario& scenario_;
  MinimiseBounds bounds_;
  Minimised best_;
  Nanos at_ = 0;
  bool in_safety_ = false;  ///< the violation comes while there are faults: candidates need not run further
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

}  // namespace

Trial try_run(const Scenario& scenario) {
  int ends[2];
  if (pipe(ends) != 0) return {"abort: no pipe", 0};
  std::fflush(stdout);
  const pid_t child = fork();
  if (child < 0) {
    close(ends[0]);
    close(ends[1]);
    return {"abort: no process", 0};
  }
  if (child == 0) {
    signal(SIGABRT, SIG_DFL);
    bounded();
    close(ends[0]);
    dup2(ends[1], STDERR_FILENO);
    const Result result = run(scenario, nullptr);
    if (result.violation.empty()) _exit(exit_none);
    const std::string told = std::to_string(result.length) + " " + result.violation;
    static_cast<void>(!write(STDERR_FILENO, told.data(), told.size()));
    _exit(exit_violation);
  }
  close(ends[1]);
  const std::string told = drained(ends[0]);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return {"abort: " + (told.empty() ? strsignal(WTERMSIG(status)) : told), 0};
  if (WEXITSTATUS(status) == exit_none) return {};
  if (WEXITSTATUS(status) != exit_violation) return {"abort: " + told, 0};
  const std::size_t space = told.find(' ');
  return {told.substr(space + 1), std::stoll(told.substr(0, space))};
}

bool same_failure(const std::string& a, const std::string& b) {
  return !a.empty() && !b.empty() && kind_of(a) == kind_of(b);
}

Minimised minimise(const Scenario& scenario, const Reduction& start, const Trial& seen,
                   const MinimiseBounds& bounds) {
  return Search(scenario, start, seen, bounds).run();
}

void print_transcript(const Scenario& scenario, bool all, std::size_t lines_max) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child < 0) return;
  if (child > 0) {
    waitpid(child, nullptr, 0);
    return;
  }
  bounded();
  Timeline timeline;
  telling = &timeline;
  telling_all = all;
  telling_lines = lines_max;
  signal(SIGABRT, tell_and_die);
  signal(SIGSEGV, tell_and_die);
  const Result result = run(scenario, &timeline);
  print_timeline(result.violation);
  std::fputs(result.standing.c_str(), stdout);
  std::fflush(stdout);
  _exit(0);
}

}  // namespace sim
