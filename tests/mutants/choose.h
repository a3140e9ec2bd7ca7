#pragma once

#include <cstdio>
#include <string_view>

#ifdef PAXOS_MUTANTS
#include "tests/mutants/mutants.h"
#endif

/// The flags --mutant NAME and --mutants of the test programs that are compiled with planted bugs, which
/// tests/mutants/meson.build tells by PAXOS_MUTANTS.
namespace mutants {

/// One line a mutant: its name, then what is wrong with it. Nothing in a program without planted bugs.
inline void list() {
#ifdef PAXOS_MUTANTS
#define MUTANT_LINE(name, what) std::printf("%s  %s\n", #name, what);
  MUTANT_LIST(MUTANT_LINE)
#undef MUTANT_LINE
#endif
}

/// False when there is none of this name here.
inline bool choose([[maybe_unused]] std::string_view name_given) {
#ifdef PAXOS_MUTANTS
#define MUTANT_CHOICE(name, what) \
  if (name_given == #name) {      \
    chosen = Mutant::name;        \
    return true;                  \
  }
  MUTANT_LIST(MUTANT_CHOICE)
#undef MUTANT_CHOICE
#endif
  return false;
}

}  // namespace mutants
