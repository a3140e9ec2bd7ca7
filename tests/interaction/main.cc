#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/interaction/script.h"

/// paxos-interaction [--rewrite] DIRECTORY: runs every *.txt there and compares the transcripts; --rewrite
/// puts in what came out. Commit a rewritten transcript only once you can explain every line.
namespace interaction {
namespace {

namespace fs = std::filesystem;

bool rewrite = false;

std::string content(const fs::path& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

class Script : public testing::Test {
 public:
  explicit Script(fs::path path) : path_(std::move(path)) {}
  void TestBody() override {
    std::vector<Block> blocks = parse(content(path_));
    ASSERT_FALSE(blocks.empty()) << path_ << " holds no script";
    Interpreter interpreter;
    for (Block& block : blocks) {
      const std::string got = interpreter.run(block);
      if (rewrite)
        block.expected = got;
      else
        EXPECT_EQ(block.expected, got)
            << path_.filename()
            << ", the block that begins with: " << (block.commands.empty() ? "" : block.commands.front());
      EXPECT_EQ(got.find("error:"), std::string::npos) << got;
    }
    EXPECT_FALSE(interpreter.broken());
    if (rewrite) std::ofstream(path_) << format(blocks);
  }

 private:
  fs::path path_;
};

int run(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  fs::path directory;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--rewrite")
      rewrite = true;
    else
      directory = word;
  }
  std::error_code error;
  std::vector<fs::path> scripts;
  for (const auto& entry : fs::directory_iterator(directory, error))
    if (entry.path().extension() == ".txt") scripts.push_back(entry.path());
  if (scripts.empty()) {
    std::fprintf(stderr, "no *.txt in '%s'. Usage: paxos-interaction [--rewrite] DIRECTORY\n",
                 directory.c_str());
    return 2;
  }
  std::sort(scripts.begin(), scripts.end());
  for (const fs::path& script : scripts)
    testing::RegisterTest("Interaction", script.stem().c_str(), nullptr, nullptr, __FILE__, __LINE__,
                          [script]() -> testing::Test* { return new Script(script); });
  return RUN_ALL_TESTS();
}

}  // namespace
}  // namespace interaction

int main(int argc, char** argv) { return interaction::run(argc, argv); }
