#pragma once

#include <cstdio>
#include <string_view>

#include "paxos/mutants.h"

/// The flags --mutant NAME and --mutants of the test programs that are compiled with planted bugs.
namespace mutants {

/// One line a mutant: its name, then what is wrong with it. Nothing in a program without planted bugs.
inline void list() {
#ifdef PAXOS_MUTANTS
#define PAXOS_MUTANT_LINE(name, what) std::printf("%s  %s\n", #name, what);
  PAXOS_MUTANT_LIST(PAXOS_MUTANT_LINE)
#undef PAXOS_MUTANT_LINE
#endif
}

/// False when there is none of this name here.
inline bool choose([[maybe_unused]] std::string_view chosen) {
#ifdef PAXOS_MUTANTS
#define PAXOS_MUTANT_CHOICE(name, what) \
  if (chosen == #name) return paxos::planted = paxos::Mutant::name, true;
  PAXOS_MUTANT_LIST(PAXOS_MUTANT_CHOICE)
#undef PAXOS_MUTANT_CHOICE
#endif
  return false;
}

}  // namespace mutants
