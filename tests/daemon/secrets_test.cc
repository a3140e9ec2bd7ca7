#include "daemon/secrets.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "daemon/key_users.h"
#include "tests/config/folder.h"

namespace paxosd {
namespace {

net::Secret secret_of(std::uint8_t n) {
  net::Secret out;
  for (std::size_t i = 0; i < net::Secret::size(); ++i) out.bytes()[i] = static_cast<std::uint8_t>(n + i);
  return out;
}

struct SecretsFile : testing::Test {
  Folder folder;
  net::Secret first = secret_of(1), second = secret_of(2), third = secret_of(3);
  [[nodiscard]] std::filesystem::path file() const { return folder.path() / "secrets"; }
  Secrets::File load(const net::Secret& configured) {
    auto loaded = Secrets::load(folder.path(), configured);
    EXPECT_TRUE(loaded) << loaded.error();
    return loaded.value_or(Secrets::File{});
  }
  void store(std::vector<net::Secret> good, std::vector<net::Fingerprint> retired) {
    EXPECT_EQ(Secrets::store(folder.path(), {.good = std::move(good), .retired = std::move(retired)}), "");
  }
  void write(const std::string& text) { std::ofstream(file()) << text; }
};

TEST_F(SecretsFile, WithoutOneTheConfigsKeyIsAllThereIs) {
  const Secrets::File loaded = load(first);
  EXPECT_EQ(loaded.good, std::vector{first});
  EXPECT_FALSE(std::filesystem::exists(file())) << "nothing is written that need not be";
}

TEST_F(SecretsFile, ReadsBackWhatWasStoredInItsOrderAndForItsUserAlone) {
  store({first, second}, {net::fingerprint(third)});
  struct stat info{};
  ASSERT_EQ(::stat(file().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0600U);
  for (const net::Secret& configured : {first, second}) {
    const Secrets::File loaded = load(configured);
    EXPECT_EQ(loaded.good, (std::vector{first, second}));
    EXPECT_EQ(loaded.retired, std::vector{net::fingerprint(third)});
  }
}

TEST_F(SecretsFile, ANewKeyFileThatAnOperatorPutThereIsTheNewest) {
  store({first}, {});
  EXPECT_EQ(load(second).good, (std::vector{first, second}));
  EXPECT_TRUE(load(second).differs) << "which is said: the earlier one is good still";
  EXPECT_FALSE(load(first).differs);
}

TEST_F(SecretsFile, ARetiredSecretInTheKeyFileIsLeftAlone) {
  store({second}, {net::fingerprint(first)});
  EXPECT_EQ(load(first).good, std::vector{second});
  // Where there is no other it is told by nobody answering: it is not for this replica to say.
  store({}, {net::fingerprint(first)});
  EXPECT_EQ(load(first).good, std::vector{first});
}

TEST_F(SecretsFile, DamageIsRefusedWithWhatToDo) {
  store({first, second}, {net::fingerprint(third)});
  std::stringstream whole;
  whole << std::ifstream(file()).rdbuf();
  const std::string text = whole.str();
  for (std::size_t size = 1; size + 1 < text.size(); ++size) {
    if (text[size - 1] == '\n') continue;  // whole lines are as good as they were
    write(text.substr(0, size));
    const auto loaded = Secrets::load(folder.path(), first);
    ASSERT_FALSE(loaded) << size;
    EXPECT_NE(loaded.error().find("delete this file"), std::string::npos);
  }
  for (const char* other : {"secret \n", "hello\n", "retired 0\n", "retired xyz\n", "\n"}) {
    write(other);
    EXPECT_FALSE(Secrets::load(folder.path(), first)) << other;
  }
  write(std::string(100'000, 's'));
  EXPECT_FALSE(Secrets::load(folder.path(), first));
}

TEST_F(SecretsFile, SaysWhyItCouldNotBeStored) {
  std::filesystem::create_directory(folder.path() / "secrets");  // in its place
  std::ofstream(folder.path() / "secrets" / "x") << "x";
  EXPECT_NE(Secrets::store(folder.path(), {.good = {first}, .retired = {}}), "");
}

TEST(KeyUsersTest, ForgetsAfterAWhileAndKeepsToItsBound) {
  using namespace std::chrono_literals;
  KeyUsers users;
  const paxos::Time start{1h};
  const auto at = [](int host, int port) {
    return *net::Address::literal("10.0." + std::to_string(host / 200) + "." +
                                  std::to_string(host % 200 + 1) + ":" + std::to_string(port));
  };
  users.heard(start, at(1, 1000));
  users.heard(start + 1min, at(1, 2000));
  users.heard(start + 1min, *net::Address::literal("[fd00::1]:7"));
  EXPECT_EQ(users.hosts(start + 1min), (std::vector<std::string>{"10.0.0.2", "[fd00::1]"}))
      << "hosts, not ports";
  EXPECT_TRUE(users.hosts(start + 1min + KeyUsers::kept + 1ms).empty());
  for (int host = 0; host < 300; ++host) users.heard(start + 2h, at(host, 1));
  EXPECT_EQ(users.hosts(start + 2h).size(), KeyUsers::hosts_max);
}

}  // namespace
}  // namespace paxosd
