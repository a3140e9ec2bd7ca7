#pragma once

#include <string>

#include "tests/sim/run.h"

namespace sim {

/// What a run came to, in a process of its own: a replica may abort.
struct Trial {
  std::string violation;  ///< empty: none; "abort: …" when the process died, with what it said
  Nanos at = 0;           ///< when; 0 when the process died
};
[[nodiscard]] Trial try_run(const Scenario& scenario);

/// Whether both are the same kind of failure: the same invariant, or an abort at the same place.
[[nodiscard]] bool same_failure(const std::string& a, const std::string& b);

struct MinimiseBounds {
  unsigned runs = 200;
  double seconds = 60;
};
struct Minimised {
  Reduction reduction;
  std::string violation;  ///< of the reduced run
  unsigned runs = 0;
  double seconds = 0;
};

/// Leaves out what the failure `seen` does not need, as long as the same failure remains: faults by kinds, in
/// halves and one by one, settings, clients, and the end. `start`: what is left out already. Source: Zeller,
/// Hildebrandt, Simplifying and Isolating Failure-Inducing Input (TSE 2002), the ddmin algorithm.
[[nodiscard]] Minimised minimise(const Scenario& scenario, const Reduction& start, const Trial& seen,
                                 const MinimiseBounds& bounds = {});

/// Runs it once more, in a process of its own, and prints what is relevant of its timeline and where the
/// replicas stood; with `all`, its whole timeline.
void print_transcript(const Scenario& scenario, bool all, std::size_t lines_max);

}  // namespace sim
