#include <gtest/gtest.h>
#include <sys/stat.h>

#include "config/cluster_config.h"
#include "tests/config/folder.h"

namespace {

config::ClusterKey key_of(const std::string& role, std::uint32_t id, const std::string& name) {
  config::ClusterKey key;
  for (std::size_t i = 0; i < key.bytes.size(); ++i) key.bytes[i] = static_cast<std::uint8_t>(i * 7 + id);
  key.role = role;
  key.id = id;
  key.name = name;
  return key;
}

TEST(KeyFile, ReadsBackWhatItWrote) {
  const Folder folder;
  for (const auto& key : {key_of("client", 0x3fa9c210, "ann"), key_of("client", 1, ""),
                          key_of("reader", 0xffffffff, ""), key_of("operator", 7, "Zoë von Ö: the boss")}) {
    const auto file = folder.path() / "a.key";
    ASSERT_TRUE(config::write_key_file(file, config::key_file_text(key, "demo"), true));
    struct stat info{};
    ASSERT_EQ(::stat(file.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777U, 0600U);
    const auto read = config::load_key(file);
    ASSERT_TRUE(read) << read.error();
    EXPECT_EQ(read->bytes, key.bytes);
    EXPECT_EQ(read->role, key.role);
    EXPECT_EQ(read->id, key.id);
    EXPECT_EQ(read->name, key.name);
    EXPECT_FALSE(read->is_secret());
  }
}

TEST(KeyFile, OverAnotherOneOnlyWhereThatIsMeant) {
  const Folder folder;
  const auto file = folder.write("a.key", "mine");
  const std::string text = config::key_file_text(key_of("client", 1, "ann"), "demo");
  EXPECT_FALSE(config::write_key_file(file, text, false));
  EXPECT_EQ(folder.read("a.key"), "mine");
  EXPECT_EQ(folder.files(), 1U) << "and nothing is left beside it";
  EXPECT_TRUE(config::write_key_file(file, text, true));
  EXPECT_EQ(folder.read("a.key"), text);
}

TEST(KeyFile, WhatIsNoneIsRefusedAndNamed) {
  const Folder folder;
  const std::string whole = config::key_file_text(key_of("client", 0x3fa9c210, "ann"), "demo");
  const std::string line = config::key_text(key_of("client", 0x3fa9c210, ""));
  std::vector<std::string> bad{line + line,
                               line + "\n" + line + "\n",
                               "name: ann\n" + line + "\n",
                               line + "\nname: ann\nname: bob\n",
                               line + "\nhello\n",
                               "pxk1-",
                               "pxk1-client",
                               "pxk1-secret-3fa9c210-" + line.substr(line.size() - 64),
                               "pxk1-client-00000000-" + line.substr(line.size() - 64),
                               "pxk1-client-3fa9c21g-" + line.substr(line.size() - 64),
                               "pxk1-client-3fa9c210-" + std::string(64, 'x'),
                               std::string(64, '0') + line,
                               ""};
  for (std::size_t cut = whole.find("pxk1-") + 5; cut < whole.find("\nname"); ++cut)
    bad.push_back(whole.substr(0, cut));
  for (const std::string& text : bad) {
    const auto file = folder.write("bad.key", text);
    const auto read = config::load_key(file);
    ASSERT_FALSE(read) << text;
    EXPECT_NE(read.error().find("bad.key"), std::string::npos);
    EXPECT_EQ(read.error().find(line.substr(line.size() - 64)), std::string::npos) << "no error holds a key";
  }
  EXPECT_TRUE(config::load_key(folder.write("bare.key", line)));
}

TEST(KeyFile, AReplicaTakesTheSecretAlone) {
  const Folder folder;
  config::ClusterConfig config;
  config.key_file = folder.write("cluster.key", config::key_file_text(key_of("operator", 7, ""), "demo"));
  const auto refused = config::load_key(config);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().find("a replica needs the cluster's secret"), std::string::npos);
  config.key_file = folder.write("cluster.key", std::string(64, 'a') + "\n");
  const auto secret = config::load_key(config);
  ASSERT_TRUE(secret) << secret.error();
  EXPECT_TRUE(secret->is_secret());
}

}  // namespace
