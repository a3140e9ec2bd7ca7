#include <gtest/gtest.h>

#include <regex>

#include "config/cluster_config.h"
#include "tests/config/folder.h"

namespace {

config::GenerateOptions into(const Folder& folder, unsigned f = 1) {
  config::GenerateOptions o;
  o.f = f;
  o.output = folder.path() / "cluster.yaml";
  return o;
}

TEST(ConfigGenerate, WhatItWritesLoadsForEveryF) {
  for (unsigned f = 0; f <= 4; ++f) {
    const Folder folder;
    const auto done = config::generate(into(folder, f));
    ASSERT_TRUE(done) << done.error();
    const auto config = config::load(folder.path() / "cluster.yaml");
    ASSERT_TRUE(config) << config.error();
    EXPECT_EQ(config->replicas.size(), 2 * f + 1);
    EXPECT_EQ(config->quorum(), f + 1);
    EXPECT_TRUE(config->fault_injection);
    EXPECT_EQ(config->replicas.back().port, 7400 + 2 * f);
    EXPECT_TRUE(config::load_key(config->key_file));
    EXPECT_EQ(folder.files(), 2u) << "nothing is left beside the config and the key";
  }
}

TEST(ConfigGenerate, HasTheShapeThatScriptsMayRelyOn) {
  const Folder folder;
  ASSERT_TRUE(config::generate(into(folder)));
  const std::string text = folder.read("cluster.yaml");
  EXPECT_TRUE(std::regex_search(
      text,
      std::regex("cluster: demo\nid: [0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n"
                 "key_file: cluster\\.key +#[^\n]*\nreplicas:\n"
                 "  - \\{id: 0, address: \"127\\.0\\.0\\.1:7400\", data_dir: data/0\\}\n")))
      << text;
}

TEST(ConfigGenerate, TheKeyIsSecretAndEachOneAnother) {
  const Folder one, other;
  ASSERT_TRUE(config::generate(into(one)));
  ASSERT_TRUE(config::generate(into(other)));
  EXPECT_EQ(std::filesystem::status(one.path() / "cluster.key").permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_NE(one.read("cluster.key"), other.read("cluster.key"));
  EXPECT_NE(config::load(one.path() / "cluster.yaml")->id, config::load(other.path() / "cluster.yaml")->id);
}

TEST(ConfigGenerate, RefusesToOverwriteEitherFileAndLeavesBothAlone) {
  for (const char* there : {"cluster.yaml", "cluster.key"}) {
    const Folder folder;
    folder.write(there, "precious");
    const auto done = config::generate(into(folder));
    ASSERT_FALSE(done);
    EXPECT_NE(done.error().find(there), std::string::npos) << done.error();
    EXPECT_NE(done.error().find("--force"), std::string::npos) << done.error();
    EXPECT_EQ(folder.read(there), "precious");
    EXPECT_EQ(folder.files(), 1u);
  }
}

TEST(ConfigGenerate, ForceOverwritesBoth) {
  const Folder folder;
  ASSERT_TRUE(config::generate(into(folder)));
  const std::string key = folder.read("cluster.key");
  auto o = into(folder, 2);
  o.force = true;
  const auto done = config::generate(o);
  ASSERT_TRUE(done) << done.error();
  EXPECT_NE(folder.read("cluster.key"), key);
  EXPECT_EQ(config::load(o.output)->replicas.size(), 5u);
}

TEST(ConfigGenerate, ProductionLeavesFaultInjectionOff) {
  const Folder folder;
  auto o = into(folder);
  o.production = true;
  ASSERT_TRUE(config::generate(o));
  EXPECT_FALSE(config::load(o.output)->fault_injection);
  EXPECT_EQ(folder.read("cluster.yaml").find("fault_injection"), std::string::npos);
}

TEST(ConfigGenerate, LossStandsInTheConfig) {
  const Folder folder;
  auto o = into(folder);
  o.loss = 0.05;
  ASSERT_TRUE(config::generate(o));
  EXPECT_EQ(config::load(o.output)->loss, 0.05);
}

TEST(ConfigGenerate, OneReplicaAHostAllOnTheBasePort) {
  const Folder folder;
  auto o = into(folder);
  o.hosts = {"10.0.0.1", "fd00::2", "c.example"};
  ASSERT_TRUE(config::generate(o));
  const auto config = config::load(o.output);
  ASSERT_TRUE(config) << config.error();
  EXPECT_EQ(config->replicas[0].address, "10.0.0.1:7400");
  EXPECT_EQ(config->replicas[1].address, "[fd00::2]:7400");
  EXPECT_EQ(config->replicas[2].address, "c.example:7400");
}

TEST(ConfigGenerate, AllOnOneHostOnConsecutivePorts) {
  const Folder folder;
  auto o = into(folder);
  o.hosts = {"10.0.0.1"};
  ASSERT_TRUE(config::generate(o));
  const auto config = config::load(o.output);
  ASSERT_TRUE(config) << config.error();
  EXPECT_EQ(config->replicas[0].address, "10.0.0.1:7400");
  EXPECT_EQ(config->replicas[2].address, "10.0.0.1:7402");
}

TEST(ConfigGenerate, RefusesANumberOfHostsThatBreaksThePromiseOfF) {
  for (const std::vector<std::string>& hosts : {std::vector<std::string>{"a", "b"}, {"a", "b", "c", "d"}}) {
    const Folder folder;
    auto o = into(folder);
    o.hosts = hosts;
    const std::string why = config::wrong_options(o);
    EXPECT_NE(why.find("hosts for 3 replicas"), std::string::npos) << why;
    EXPECT_NE(why.find("once"), std::string::npos) << "what to do: " << why;
    EXPECT_NE(why.find("3 times"), std::string::npos) << "what to do: " << why;
    const auto done = config::generate(o);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error(), why);
    EXPECT_EQ(folder.files(), 0u);
  }
}

TEST(ConfigGenerate, QuotesWhatYamlWouldReadOtherwise) {
  for (const char* root : {"my data", "it's, {here}", "#1", "123", "/srv/paxos: d", "- x"}) {
    const Folder folder;
    auto o = into(folder);
    o.data_root = root;
    const auto done = config::generate(o);
    ASSERT_TRUE(done) << root << ": " << done.error();
    EXPECT_EQ(config::load(o.output)->replicas[1].data_dir, folder.path() / root / "1");
  }
}

TEST(ConfigGenerate, GivesMetricsALoopbackPortForEachReplicaOfAMachine) {
  const Folder folder;
  auto o = into(folder);
  o.metrics_base_port = 9480;
  const auto done = config::generate(o);
  ASSERT_TRUE(done) << done.error();
  const auto config = config::load(o.output);
  EXPECT_EQ(config->replicas[0].metrics, "127.0.0.1:9480");
  EXPECT_EQ(config->replicas[2].metrics, "127.0.0.1:9482");
  o.hosts = {"10.0.0.1", "10.0.0.2", "10.0.0.3"};
  o.force = true;
  ASSERT_TRUE(config::generate(o));
  EXPECT_EQ(config::load(o.output)->replicas[2].metrics, "127.0.0.1:9480") << "each on a machine of its own";
}

TEST(ConfigGenerate, RefusesWhatMakesNoClusterAndWritesNothing) {
  struct Bad {
    const char* says;
    void (*change)(config::GenerateOptions&);
  };
  for (const Bad& bad : std::initializer_list<Bad>{
           {"at most 9", [](auto& o) { o.f = 5; }},
           {"at most 9", [](auto& o) { o.f = 4'000'000'000; }},
           {"0 to 1", [](auto& o) { o.loss = 1.5; }},
           {"0 to 1", [](auto& o) { o.loss = -0.1; }},
           {"exclude each other", [](auto& o) { o.production = true, o.loss = 0.1; }},
           {"65534 to 65536", [](auto& o) { o.base_port = 65534; }},
           {"65534 to 65536", [](auto& o) { o.metrics_base_port = 65534; }},
           {"--base-port 0", [](auto& o) { o.base_port = 0; }},
           {"--host ''", [](auto& o) { o.hosts = {""}; }},
           {"--host 'a b'", [](auto& o) { o.hosts = {"a b"}; }},
           {"given twice", [](auto& o) { o.hosts = {"a", "a", "b"}; }},
           {"--data-root is empty", [](auto& o) { o.data_root = ""; }},
           {"--cluster is empty", [](auto& o) { o.cluster = ""; }},
           {"control character", [](auto& o) { o.data_root = "a\nb"; }},
           {"*.key", [](auto& o) { o.output.replace_extension(".key"); }},
       }) {
    const Folder folder;
    auto o = into(folder);
    bad.change(o);
    const auto done = config::generate(o);
    ASSERT_FALSE(done) << bad.says;
    EXPECT_NE(done.error().find(bad.says), std::string::npos) << done.error();
    EXPECT_EQ(folder.files(), 0u) << done.error();
  }
}

// What can't be meant is wrong usage (exit 2); what the disk or the network says is a refusal (exit 1).
TEST(ConfigGenerate, TellsWrongOptionsFromWhatIsThereAlready) {
  const Folder folder;
  auto o = into(folder);
  EXPECT_EQ(config::wrong_options(o), "");
  ASSERT_TRUE(config::generate(o));
  EXPECT_EQ(config::wrong_options(o), "") << "a file that is there is no fault of the options";
  EXPECT_FALSE(config::generate(o));
}

TEST(ConfigGenerate, NamesTheFolderThatIsMissing) {
  const Folder folder;
  auto o = into(folder);
  o.output = folder.path() / "none" / "cluster.yaml";
  const auto done = config::generate(o);
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().find("make its folder first"), std::string::npos) << done.error();
  EXPECT_EQ(done.error().find(".new"), std::string::npos) << "a name that nobody gave: " << done.error();
}

}  // namespace
