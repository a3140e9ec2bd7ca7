#include <gtest/gtest.h>

#include <string_view>

#include "tests/mutants/choose.h"

/// Test programs with planted bugs: [--mutant NAME] before Google Test's own flags; --mutants lists them.
int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--mutants") {
    mutants::list();
    return 0;
  }
  if (argc > 2 && std::string_view(argv[1]) == "--mutant") {
    if (!mutants::choose(argv[2])) {
      std::fprintf(stderr, "there is no mutant '%s'\n", argv[2]);
      return 2;
    }
    argv[2] = argv[0];
    argv += 2;
    argc -= 2;
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
