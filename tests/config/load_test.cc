#include <gtest/gtest.h>

#include <array>
#include <random>
#include <vector>

#include "config/cluster_config.h"
#include "tests/config/folder.h"

namespace {

// Line numbers matter to the tests below: cluster is line 1, the replicas are lines 5 to 7.
constexpr const char* good =
    "cluster: demo\n"
    "id: 6f1c0b52-0b1e-4c57-9d5e-2f8a44f0a901\n"
    "key_file: cluster.key\n"
    "replicas:\n"
    "  - {id: 0, address: \"127.0.0.1:7400\", data_dir: data/0}\n"
    "  - {id: 1, address: \"127.0.0.1:7401\", data_dir: data/1}\n"
    "  - {id: 2, address: \"127.0.0.1:7402\", data_dir: data/2}\n"
    "heartbeat_ms: 50\n"
    "election_timeout_ms: 250\n"
    "fault_injection: true\n"
    "loss: 0.0\n";

std::string with(const std::string& from, const std::string& to) {
  std::string text = good;
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ConfigLoad, ReadsWhatIsWritten) {
  const Folder folder;
  const auto config = config::load(folder.write("cluster.yaml", good));
  ASSERT_TRUE(config) << config.error();
  EXPECT_EQ(config->cluster, "demo");
  EXPECT_EQ(config->id, "6f1c0b52-0b1e-4c57-9d5e-2f8a44f0a901");
  EXPECT_EQ(config->key_file, folder.path() / "cluster.key");
  ASSERT_EQ(config->replicas.size(), 3u);
  EXPECT_EQ(config->replicas[2].id, paxos::ReplicaId{2});
  EXPECT_EQ(config->replicas[2].address, "127.0.0.1:7402");
  EXPECT_EQ(config->replicas[2].host, "127.0.0.1");
  EXPECT_EQ(config->replicas[2].port, 7402);
  EXPECT_EQ(config->replicas[2].data_dir, folder.path() / "data/2");
  EXPECT_EQ(config->heartbeat.count(), 50);
  EXPECT_EQ(config->election_timeout.count(), 250);
  EXPECT_TRUE(config->fault_injection);
  EXPECT_EQ(config->loss, 0.0);
  EXPECT_EQ(config->quorum(), 2u);
}

TEST(ConfigLoad, ListenStandsBesideAddressAndIsCheckedAsWell) {
  const Folder folder;
  const auto listening = [&](const std::string& one, const std::string& two = "") {
    std::string text = with("data_dir: data/1}", "data_dir: data/1, listen: \"" + one + "\"}");
    if (!two.empty())
      text.replace(text.find("data_dir: data/2}"), 17, "data_dir: data/2, listen: \"" + two + "\"}");
    return config::load(folder.write("cluster.yaml", text));
  };
  for (const char* good_one : {"0.0.0.0:7401", "[::]:7401", "10.0.0.1:9000", "db1.example:7401"}) {
    const auto config = listening(good_one);
    ASSERT_TRUE(config) << config.error();
    EXPECT_EQ(config->replicas[0].listen, "");
    EXPECT_EQ(config->replicas[1].listen, good_one);
    EXPECT_EQ(config->replicas[1].address, "127.0.0.1:7401");
  }
  for (const char* bad : {"0.0.0.0", "0.0.0.0:0", "::1:7401", "0.0.0.0:65536", "a b:7401", ":7401"}) {
    const auto config = listening(bad);
    ASSERT_FALSE(config) << bad;
    EXPECT_NE(config.error().find(":6: key 'listen': "), std::string::npos) << config.error();
  }
  const auto twice = listening("0.0.0.0:7401", "0.0.0.0:7401");
  ASSERT_FALSE(twice);
  EXPECT_NE(twice.error().find(":7: key 'listen': replica 1 of the same machine listens there already"),
            std::string::npos)
      << twice.error();
  const auto same = config::load(folder.write("cluster.yaml", good));
  EXPECT_NE(config::fixed_difference(*same, *listening("0.0.0.0:7401")).find("replicas"), std::string::npos)
      << "a restart takes it";
}

TEST(ConfigLoad, FaultInjectionIsOffUnlessItStandsThere) {
  const Folder folder;
  const auto config =
      config::load(folder.write("cluster.yaml", with("fault_injection: true\nloss: 0.0\n", "")));
  ASSERT_TRUE(config) << config.error();
  EXPECT_FALSE(config->fault_injection);
  EXPECT_EQ(config->loss, 0.0);
}

TEST(ConfigLoad, ReplicasAreSortedByIdWhateverTheirOrderInTheFile) {
  const Folder folder;
  std::string text = with("{id: 0,", "{id: 9,");
  text.replace(text.find("{id: 2,"), 7, "{id: 0,");
  text.replace(text.find("{id: 9,"), 7, "{id: 2,");
  const auto config = config::load(folder.write("cluster.yaml", text));
  ASSERT_TRUE(config) << config.error();
  EXPECT_EQ(config->replicas[0].port, 7402);
  EXPECT_EQ(config->replicas[2].port, 7400);
}

TEST(ConfigLoad, MachinesOfTheirOwnMayUseTheSameFolder) {
  const Folder folder;
  std::string text = with("127.0.0.1:7401\", data_dir: data/1", "10.0.0.2:7400\", data_dir: data/0");
  const auto config = config::load(folder.write("cluster.yaml", text));
  EXPECT_TRUE(config) << config.error();
}

TEST(ConfigLoad, MetricsAreServedWhereAReplicaSaysSo) {
  const Folder folder;
  const auto config = config::load(
      folder.write("cluster.yaml", with("data_dir: data/1}", "data_dir: data/1, metrics: \"[::1]:9480\"}")));
  ASSERT_TRUE(config) << config.error();
  EXPECT_EQ(config->replicas[0].metrics, "");
  EXPECT_EQ(config->replicas[1].metrics, "[::1]:9480");
  const auto plain = config::load(folder.write("plain.yaml", good));
  ASSERT_TRUE(plain);
  EXPECT_NE(config::fixed_difference(*plain, *config).find("`replicas`"), std::string::npos)
      << "a listener does not move while the replica runs";
}

TEST(ConfigLoad, RefusesAMetricsAddressThatIsNoneOrTwiceOnAMachine) {
  for (const auto& [value, says] :
       {std::pair("9480", "write host:port"), std::pair("127.0.0.1:0", "no port"),
        std::pair("127.0.0.1:70000", "no port"), std::pair("::1:9480", "in brackets")}) {
    const Folder folder;
    const auto config = config::load(folder.write(
        "cluster.yaml",
        with("data_dir: data/1}", std::string("data_dir: data/1, metrics: \"") + value + "\"}")));
    ASSERT_FALSE(config) << value;
    EXPECT_NE(config.error().find(":6: key 'metrics'"), std::string::npos) << config.error();
    EXPECT_NE(config.error().find(says), std::string::npos) << config.error();
  }
  const Folder folder;
  std::string text = with("data_dir: data/1}", "data_dir: data/1, metrics: \"127.0.0.1:9480\"}");
  text.replace(text.find("data_dir: data/2}"), 17, "data_dir: data/2, metrics: \"127.0.0.1:9480\"}");
  const auto twice = config::load(folder.write("cluster.yaml", text));
  ASSERT_FALSE(twice);
  EXPECT_NE(twice.error().find(":7: key 'metrics': 127.0.0.1:9480 is replica 1's already"), std::string::npos)
      << twice.error();
  // The loopback of another machine is another place.
  text.replace(text.find("127.0.0.1:7402"), 14, "10.0.0.3:7402");
  const auto elsewhere = config::load(folder.write("cluster.yaml", text));
  EXPECT_TRUE(elsewhere) << elsewhere.error();
}

TEST(ConfigLoad, UnderstandsIpv6InBrackets) {
  const Folder folder;
  const auto config = config::load(folder.write("cluster.yaml", with("127.0.0.1:7401", "[fd00::1]:7400")));
  ASSERT_TRUE(config) << config.error();
  EXPECT_EQ(config->replicas[1].host, "fd00::1");
  EXPECT_EQ(config->replicas[1].port, 7400);
}

struct Malformed {
  const char* name;
  std::string text;
  int line;          ///< that the message names; 0: the file as a whole
  const char* key;   ///< that the message names; "": none
  const char* says;  ///< part of what is wrong or allowed
};

void PrintTo(const Malformed& m, std::ostream* out) { *out << m.name; }

class MalformedConfig : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedConfig, IsRefusedWithFileLineKeyAndWhatIsAllowed) {
  const Malformed& m = GetParam();
  const Folder folder;
  const auto file = folder.write("cluster.yaml", m.text);
  const auto config = config::load(file);
  ASSERT_FALSE(config);
  const std::string where = file.string() + ":" + (m.line > 0 ? std::to_string(m.line) + ": " : " ");
  EXPECT_EQ(config.error().rfind(where, 0), 0u) << config.error() << "\nnot at " << where;
  if (*m.key != '\0') {
    EXPECT_NE(config.error().find(std::string("key '") + m.key + "'"), std::string::npos) << config.error();
  }
  EXPECT_NE(config.error().find(m.says), std::string::npos) << config.error();
  EXPECT_EQ(config.error().find('\n'), std::string::npos) << "one sentence, one line";
}

std::vector<Malformed> malformed() {
  std::string ten = "cluster: demo\nid: 6f1c0b52-0b1e-4c57-9d5e-2f8a44f0a901\nkey_file: k\nreplicas:\n";
  for (int i = 0; i < 11; ++i)
    ten += "  - {id: " + std::to_string(i) + ", address: \"h" + std::to_string(i) + ":1\", data_dir: d}\n";
  std::string deep = "cluster: ";
  deep.append(5000, '[');
  return {
      {"UnknownKey", with("loss: 0.0", "lost: 0.0"), 11, "lost", "allowed are: "},
      {"UnknownReplicaKey", with("data_dir: data/1", "datadir: data/1"), 6, "datadir", "allowed are: "},
      {"DuplicateKey", with("loss: 0.0", "cluster: other"), 11, "cluster", "twice"},
      {"DuplicateReplicaKey", with("{id: 1,", "{id: 1, id: 1,"), 6, "id", "twice"},
      {"DuplicateId", with("{id: 1,", "{id: 0,"), 6, "id", "replica 0 stands here twice"},
      {"DuplicateAddress", with(":7401", ":7400"), 6, "address", "replica 0's already"},
      {"DuplicateAddressOtherwiseWritten", with(":7401", ":07400"), 6, "address", "replica 0's already"},
      {"DuplicateDataDir", with("data/1", "data/0"), 6, "data_dir", "replica 0's already"},
      {"DuplicateDataDirOtherwiseWritten", with("data/1", "./data//0/"), 6, "data_dir", "already"},
      {"IdGap", with("{id: 2,", "{id: 3,"), 7, "id", "from 0 to 2"},
      {"NegativeId", with("{id: 2,", "{id: -1,"), 7, "id", "from 0 to 2"},
      {"IdNoNumber", with("{id: 2,", "{id: two,"), 7, "id", "from 0 to 2"},
      {"IdWithAFraction", with("{id: 2,", "{id: 2.0,"), 7, "id", "from 0 to 2"},
      {"IdTooLargeForAnyNumber", with("{id: 2,", "{id: 99999999999999999999,"), 7, "id", "from 0 to 2"},
      {"IdMissing", with("{id: 2, ", "{"), 7, "id", "missing"},
      {"AddressMissing", with("address: \"127.0.0.1:7402\", ", ""), 7, "address", "missing"},
      {"DataDirMissing", with(", data_dir: data/2", ""), 7, "data_dir", "missing"},
      {"DataDirEmpty", with("data/2", "''"), 7, "data_dir", "not empty"},
      {"DataDirAList", with("data/2", "[data/2]"), 7, "data_dir", "text"},
      {"PortMissing", with("127.0.0.1:7402", "127.0.0.1"), 7, "address", "host:port"},
      {"PortZero", with(":7402", ":0"), 7, "address", "1 to 65535"},
      {"PortTooLarge", with(":7402", ":65536"), 7, "address", "1 to 65535"},
      {"PortNoNumber", with(":7402", ":http"), 7, "address", "1 to 65535"},
      {"HostMissing", with("127.0.0.1:7402", ":7402"), 7, "address", "host:port"},
      {"HostAUrl", with("127.0.0.1:7402", "udp://127.0.0.1:7402"), 7, "address", "host:port"},
      {"HostEmptyBrackets", with("127.0.0.1:7402", "[]:7402"), 7, "address", "host"},
      {"Ipv6WithoutBrackets", with("127.0.0.1:7402", "fd00::1:7402"), 7, "address", "brackets"},
      {"TooManyReplicas", ten, 5, "replicas", "1 to 9"},
      {"NoReplicas", "cluster: demo\nid: 6f1c0b52-0b1e-4c57-9d5e-2f8a44f0a901\nkey_file: k\nreplicas: []\n",
       4, "replicas", "1 to 9"},
      {"ReplicasMissing", "cluster: demo\nid: 6f1c0b52-0b1e-4c57-9d5e-2f8a44f0a901\nkey_file: k\n", 1,
       "replicas", "missing"},
      {"ReplicasAText", "cluster: demo\nid: 6f1c0b52-0b1e-4c57-9d5e-2f8a44f0a901\nkey_file: k\nreplicas: 3\n",
       4, "replicas", "list"},
      {"ReplicaAText", with("{id: 2, address: \"127.0.0.1:7402\", data_dir: data/2}", "two"), 7, "",
       "mapping"},
      {"ClusterMissing", with("cluster: demo\n", ""), 1, "cluster", "missing"},
      {"ClusterEmpty", with("cluster: demo", "cluster:"), 1, "cluster", "no value"},
      {"ClusterTooLong", with("demo", std::string(65, 'x')), 1, "cluster", "64 bytes"},
      {"ClusterControlCharacter", with("demo", "\"de\\emo\""), 1, "cluster", "control character"},
      {"IdOfTheClusterMissing", with("id: 6f1c0b52-0b1e-4c57-9d5e-2f8a44f0a901\n", ""), 1, "id", "missing"},
      {"IdOfTheClusterNoUuid", with("6f1c0b52-", "6f1c0b5-"), 2, "id", "uuid"},
      {"IdOfTheClusterNotHex", with("6f1c0b52-", "6f1c0bxx-"), 2, "id", "uuid"},
      {"KeyFileMissing", with("key_file: cluster.key\n", ""), 1, "key_file", "missing"},
      {"HeartbeatTooShort", with("heartbeat_ms: 50", "heartbeat_ms: 4"), 8, "heartbeat_ms", "5 to 10000"},
      {"HeartbeatTooLong", with("heartbeat_ms: 50", "heartbeat_ms: 10001"), 8, "heartbeat_ms", "5 to 10000"},
      {"HeartbeatWithAUnit", with("heartbeat_ms: 50", "heartbeat_ms: 50ms"), 8, "heartbeat_ms", "5 to 10000"},
      {"HeartbeatEmpty", with("heartbeat_ms: 50", "heartbeat_ms: ~"), 8, "heartbeat_ms", "no value"},
      {"ElectionTimeoutBelowThreeHeartbeats", with("election_timeout_ms: 250", "election_timeout_ms: 149"), 9,
       "election_timeout_ms", "three heartbeats"},
      {"ElectionTimeoutByDefaultBelowThreeHeartbeats",
       with("heartbeat_ms: 50\nelection_timeout_ms: 250", "heartbeat_ms: 100"), 8, "election_timeout_ms",
       "three heartbeats"},
      {"ElectionTimeoutTooLong", with("election_timeout_ms: 250", "election_timeout_ms: 60001"), 9,
       "election_timeout_ms", "60000"},
      {"BusyPollTooLong", with("heartbeat_ms: 50", "busy_poll_us: 10001"), 8, "busy_poll_us", "0 to 10000"},
      {"BusyPollNegative", with("heartbeat_ms: 50", "busy_poll_us: -1"), 8, "busy_poll_us", "0 to 10000"},
      {"FaultInjectionYes", with("fault_injection: true", "fault_injection: yes"), 10, "fault_injection",
       "true or false"},
      {"LossNegative", with("loss: 0.0", "loss: -0.1"), 11, "loss", "0 to 1"},
      {"LossAboveOne", with("loss: 0.0", "loss: 1.01"), 11, "loss", "0 to 1"},
      {"LossNotANumber", with("loss: 0.0", "loss: nan"), 11, "loss", "0 to 1"},
      {"LossInPercent", with("loss: 0.0", "loss: 10%"), 11, "loss", "0 to 1"},
      {"LossWithoutFaultInjection", with("fault_injection: true\nloss: 0.0", "loss: 0.1"), 10, "loss",
       "fault_injection: true"},
      {"ATab", with("heartbeat_ms: 50", "\theartbeat_ms: 50"), 8, "", "not YAML"},
      {"AnOpenBracket", with("data_dir: data/2}", "data_dir: data/2"), 8, "", "not YAML"},
      {"AnOpenQuote", with("\"127.0.0.1:7402\"", "\"127.0.0.1:7402"), 12, "", "not YAML"},
      {"SecondDocument", good + std::string("---\ncluster: other\n"), 13, "", "second document"},
      {"AList", "- cluster\n- demo\n", 1, "", "mapping"},
      {"AWord", "demo\n", 1, "", "mapping"},
      {"AListAsKey", "? [a, b]\n: c\n", 1, "(not a word)", "allowed are"},
      {"TooDeep", deep, 1, "", "not YAML"},
      {"Empty", "", 0, "", "paxosctl config generate"},
      {"OnlyBlanks", " \n\n", 0, "", "paxosctl config generate"},
      {"OnlyComments", "# nothing\n", 0, "", "paxosctl config generate"},
      {"Binary", std::string("\0\1\2\3\377\376", 6), 1, "", "mapping"},
      {"Huge", "# " + std::string(2 << 20, 'x'), 0, "", "1 MiB"},
  };
}

INSTANTIATE_TEST_SUITE_P(Each, MalformedConfig, testing::ValuesIn(malformed()),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(ConfigLoad, SaysHowToMakeAConfigThatIsMissing) {
  const Folder folder;
  const auto config = config::load(folder.path() / "none.yaml");
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().find("none.yaml: there is no such file"), std::string::npos) << config.error();
  EXPECT_NE(config.error().find("paxosctl config generate"), std::string::npos) << config.error();
}

TEST(ConfigLoad, RefusesAFolder) {
  const Folder folder;
  const auto config = config::load(folder.path());
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().find("is a folder"), std::string::npos) << config.error();
}

TEST(ConfigLoad, RefusesAnEndlessFile) {
  const auto config = config::load("/dev/zero");
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().find("1 MiB"), std::string::npos) << config.error();
}

/// Whatever a slip of the hand makes of a config: it loads, or there is one sentence; and what loads keeps
/// the rules.
TEST(ConfigLoad, SurvivesAnyDamage) {
  const Folder folder;
  std::mt19937 random(20260101);
  const std::string alphabet = "\n\t :{}[]-,\"'#&*!|>%@`0123456789abcxyz.";
  for (int round = 0; round < 1000; ++round) {
    std::string text = good;
    for (unsigned edits = 1 + random() % 4; edits > 0; --edits) {
      const std::size_t at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text[at] = alphabet[random() % alphabet.size()];
          break;
        case 2:
          text.erase(at, 1 + random() % 20);
          break;
        default:
          text.insert(at, text.substr(random() % text.size(), random() % 40));
          break;
      }
      if (text.empty()) text = "x";
    }
    const auto config = config::load(folder.write("cluster.yaml", text));
    if (!config) {
      EXPECT_EQ(config.error().rfind((folder.path() / "cluster.yaml").string() + ":", 0), 0u)
          << config.error();
      continue;
    }
    EXPECT_EQ(config->replicas.size() % 2, 1u) << text;
    for (std::size_t i = 0; i < config->replicas.size(); ++i)
      EXPECT_EQ(config->replicas[i].id, paxos::ReplicaId{static_cast<std::uint8_t>(i)}) << text;
    EXPECT_GE(config->election_timeout, 3 * config->heartbeat) << text;
    EXPECT_TRUE(config->loss >= 0 && config->loss <= 1) << text;
    EXPECT_TRUE(config->fault_injection || config->loss == 0) << text;
  }
}

TEST(ConfigFind, TheFlagWinsOverTheEnvironment) {
  ::setenv("PAXOSD_TEST_CONFIG", "from-environment.yaml", 1);
  EXPECT_EQ(config::find(std::string("flag.yaml"), "PAXOSD_TEST_CONFIG"), std::filesystem::path("flag.yaml"));
  EXPECT_EQ(config::find({}, "PAXOSD_TEST_CONFIG"), std::filesystem::path("from-environment.yaml"));
  ::unsetenv("PAXOSD_TEST_CONFIG");
}

std::string hex_digits() {
  std::string out;
  for (int i = 0; i < 32; ++i) out += "0123456789abcdef"[i % 16], out += "fedcba9876543210"[i % 16];
  return out;
}

TEST(ConfigKey, ReadsSixtyFourHexadecimalDigits) {
  const Folder folder;
  const auto key = config::load_key(folder.write("cluster.key", hex_digits() + "\n"));
  ASSERT_TRUE(key) << key.error();
  EXPECT_EQ(key->bytes[0], 0x0f);
  EXPECT_EQ(key->bytes[31], 0xf0);
}

TEST(ConfigKey, RefusesAnythingElseWithTheNextStep) {
  const Folder folder;
  std::string no_hex = hex_digits();
  no_hex[10] = 'g';
  for (const std::string& text :
       {std::string(), std::string("\n"), hex_digits().substr(1) + "\n", hex_digits() + "00\n",
        hex_digits() + "\n\n", hex_digits() + "\r\n", hex_digits() + " \n", no_hex + "\n",
        std::string(64, '\0'), std::string(1 << 20, 'a')}) {
    const auto key = config::load_key(folder.write("cluster.key", text));
    ASSERT_FALSE(key) << text.size();
    EXPECT_NE(key.error().find("cluster.key: is no cluster key: 64 hexadecimal digits"), std::string::npos)
        << key.error();
    EXPECT_NE(key.error().find("copy it again"), std::string::npos) << key.error();
  }
}

TEST(ConfigKey, RefusesOneThatOthersMayReadOrWriteAndSaysWhich) {
  const Folder folder;
  const auto refused = [&](mode_t mode, const char* why, const char* mend) {
    const auto key = config::load_key(folder.write("cluster.key", hex_digits() + "\n", mode));
    ASSERT_FALSE(key) << mode;
    EXPECT_NE(key.error().find(why), std::string::npos) << key.error();
    EXPECT_NE(key.error().find(mend), std::string::npos) << key.error();
  };
  for (const mode_t mode : {0604, 0606}) refused(mode, "may be read by others", "chmod 600");
  for (const mode_t mode : {0644, 0664, 0666}) refused(mode, "may be read by others", "chmod 600");
  refused(0620, "may be written by others (mode 0620)", "chmod 600");
  refused(0602, "may be written by others", "chmod 600");
  refused(0660, "may be written by others", "or 640");
  refused(0650, "is marked as a program", "or 640");
}

TEST(ConfigKey, TakesOneThatAGroupOfItsOwnMayRead) {
  const Folder folder;
  for (const mode_t mode : {0400, 0440, 0600, 0640}) {
    const auto key = config::load_key(folder.write("cluster.key", hex_digits() + "\n", mode));
    EXPECT_TRUE(key) << key.error();
  }
}

TEST(ConfigKey, SaysWhyTheServiceManagerGaveNone) {
  const Folder folder;
  config::ClusterConfig cluster;
  cluster.key_file = folder.path() / "elsewhere.key";  // not there
  ::setenv("INVOCATION_ID", "1", 1);
  auto key = config::load_key(cluster);
  ASSERT_FALSE(key);
  EXPECT_NE(key.error().find("LoadCredential= in its unit; here it got none"), std::string::npos)
      << key.error();
  ::setenv("CREDENTIALS_DIRECTORY", folder.path().c_str(), 1);
  key = config::load_key(cluster);
  ASSERT_FALSE(key);
  EXPECT_NE(key.error().find("but no cluster.key among them"), std::string::npos) << key.error();
  ::unsetenv("CREDENTIALS_DIRECTORY");
  ::unsetenv("INVOCATION_ID");
  key = config::load_key(cluster);
  ASSERT_FALSE(key);
  EXPECT_EQ(key.error().find("LoadCredential"), std::string::npos) << key.error();
}

TEST(ConfigKey, SaysWhereAMissingOneComesFrom) {
  const Folder folder;
  const auto key = config::load_key(folder.path() / "cluster.key");
  ASSERT_FALSE(key);
  EXPECT_NE(key.error().find("paxosctl config generate"), std::string::npos) << key.error();
  EXPECT_FALSE(config::load_key(folder.path()));
}

TEST(ConfigKey, ACredentialOfTheServiceManagerGoesFirstWhateverItsMode) {
  const Folder folder;
  config::ClusterConfig cluster;
  cluster.key_file = folder.path() / "elsewhere.key";  // not there
  (void)folder.write("cluster.key", hex_digits() + "\n", 0440);
  ::setenv("CREDENTIALS_DIRECTORY", folder.path().c_str(), 1);
  const auto key = config::load_key(cluster);
  ::unsetenv("CREDENTIALS_DIRECTORY");
  ASSERT_TRUE(key) << key.error();
  EXPECT_FALSE(config::load_key(cluster)) << "without one, the config's own file counts";
}

TEST(ConfigLoad, LogLevelIsOneOfFourWords) {
  const Folder folder;
  const auto config = config::load(folder.write("cluster.yaml", std::string(good) + "log_level: debug\n"));
  ASSERT_TRUE(config) << config.error();
  EXPECT_EQ(config->log_level, "debug");
  const auto bad = config::load(folder.write("cluster.yaml", std::string(good) + "log_level: loud\n"));
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().find(":12: key 'log_level': 'loud' is none of error, warning, info, debug"),
            std::string::npos)
      << bad.error();
}

TEST(ConfigLoad, DatagramsHave508To61440BytesAndChangeInARunningReplica) {
  const Folder folder;
  const auto with_line = [&](const std::string& line) {
    return config::load(folder.write("cluster.yaml", std::string(good) + line));
  };
  EXPECT_EQ(with_line("")->datagram_bytes, 1232U);
  EXPECT_EQ(with_line("datagram_bytes: 508\n")->datagram_bytes, 508U);
  EXPECT_EQ(with_line("datagram_bytes: 61440\n")->datagram_bytes, 61440U);
  for (const std::string bad : {"507", "61441", "0", "-1", "big"}) {
    const auto refused = with_line("datagram_bytes: " + bad + "\n");
    ASSERT_FALSE(refused) << bad;
    EXPECT_NE(
        refused.error().find("key 'datagram_bytes': '" + bad + "' is no whole number from 508 to 61440"),
        std::string::npos)
        << refused.error();
  }
  const auto plain = with_line("");
  const auto jumbo = with_line("datagram_bytes: 8952\n");
  EXPECT_EQ(config::fixed_difference(*plain, *jumbo), "");
}

TEST(ConfigLoad, CrashDumpsKeptAreOneToAHundred) {
  const Folder folder;
  const auto with_line = [&](const std::string& line) {
    return config::load(folder.write("cluster.yaml", std::string(good) + line));
  };
  EXPECT_EQ(with_line("")->crash_dumps_kept, 4U);
  EXPECT_EQ(with_line("crash_dumps_kept: 1\n")->crash_dumps_kept, 1U);
  EXPECT_EQ(with_line("crash_dumps_kept: 100\n")->crash_dumps_kept, 100U);
  for (const std::string bad : {"0", "101", "-1", "all", "4.5"}) {
    const auto refused = with_line("crash_dumps_kept: " + bad + "\n");
    ASSERT_FALSE(refused) << bad;
    EXPECT_NE(
        refused.error().find(":12: key 'crash_dumps_kept': '" + bad + "' is no whole number from 1 to 100"),
        std::string::npos)
        << refused.error();
  }
}

TEST(ConfigLoad, HowMuchOfTheLogIsKept) {
  const Folder folder;
  const auto with_line = [&](const std::string& line) {
    return config::load(folder.write("cluster.yaml", std::string(good) + line));
  };
  EXPECT_EQ(with_line("")->log_keep_slots, 0U) << "however many";
  EXPECT_EQ(with_line("")->scrub_every, std::chrono::hours{168});
  EXPECT_EQ(with_line("scrub_hours: 0\n")->scrub_every.count(), 0) << "never";
  EXPECT_FALSE(with_line("scrub_hours: weekly\n"));
  EXPECT_EQ(with_line("")->log_keep_mib, 512U);
  EXPECT_EQ(with_line("log_keep_mib: 0\n")->log_keep_mib, 0U) << "all of it";
  EXPECT_EQ(with_line("log_keep_slots: 0\n")->log_keep_slots, 0U);
  EXPECT_EQ(with_line("log_keep_slots: 256\n")->log_keep_slots, 256U);
  EXPECT_EQ(with_line("log_keep_mib: 1\n")->log_keep_mib, 1U);
  const auto refused = with_line("log_keep_slots: 255\n");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().find(":12: key 'log_keep_slots': 255 is less than 256; 0 keeps all"),
            std::string::npos)
      << refused.error();
  EXPECT_FALSE(with_line("log_keep_mib: -1\n"));
  EXPECT_FALSE(with_line("log_keep_mib: lots\n"));
}

TEST(ConfigLoad, TheReserveOnTheDisk) {
  const Folder folder;
  const auto with_line = [&](const std::string& line) {
    return config::load(folder.write("cluster.yaml", std::string(good) + line));
  };
  EXPECT_FALSE(with_line("")->disk_reserve_mib.has_value());
  EXPECT_EQ(with_line("disk_reserve_mib: 0\n")->disk_reserve_mib, 0U);
  EXPECT_EQ(with_line("disk_reserve_mib: 64\n")->disk_reserve_mib, 64U);
  EXPECT_FALSE(with_line("disk_reserve_mib: -1\n"));
  EXPECT_FALSE(with_line("disk_reserve_mib: 5%\n"));
}

TEST(ConfigReload, TellsWhatARunningReplicaCannotTakeOver) {
  const Folder folder;
  const auto base = config::load(folder.write("cluster.yaml", good));
  ASSERT_TRUE(base);
  const auto difference = [&](const std::string& from, const std::string& to) {
    const auto fresh = config::load(folder.write("cluster.yaml", with(from, to)));
    EXPECT_TRUE(fresh) << fresh.error();
    return config::fixed_difference(*base, *fresh);
  };
  EXPECT_EQ(
      difference("loss: 0.0",
                 "loss: 0.5\nlog_level: error\ncrash_dumps_kept: 9\nlog_keep_mib: 64\nlog_keep_slots: 1000\n"
                 "snapshot_bytes_per_second: 70000"),
      "");
  EXPECT_EQ(difference("fault_injection: true", "fault_injection: false"), "");
  for (const auto& [key, from, to] : std::vector<std::array<std::string, 3>>{
           {"cluster", "cluster: demo", "cluster: other"},
           {"id", "6f1c0b52", "7f1c0b52"},
           {"key_file", "cluster.key", "other.key"},
           {"heartbeat_ms", "heartbeat_ms: 50", "heartbeat_ms: 40"},
           {"election_timeout_ms", "election_timeout_ms: 250", "election_timeout_ms: 260"},
           {"busy_poll_us", "heartbeat_ms: 50", "busy_poll_us: 0"},
           {"disk_reserve_mib", "heartbeat_ms: 50", "disk_reserve_mib: 7"},
           {"replicas", "127.0.0.1:7401", "127.0.0.1:7501"},
           {"replicas", "data/2", "data/two"}})
    EXPECT_NE(difference(from, to).find("`" + key + "`"), std::string::npos) << key;
}

}  // namespace
