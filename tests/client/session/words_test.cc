#include "client/terminal/words.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <numeric>

#include "client/session/cluster_view.h"
#include "client/session/port_probe.h"
#include "tests/client/answers.h"

/// What people read: counts, and what to do next.
namespace client {
namespace {

using namespace std::chrono_literals;

Json unborn(std::vector<unsigned> waits_for, std::vector<unsigned> does_not_hear) {
  return {{"role", "unborn"},
          {"voting", false},
          {"reason", "the cluster is not born yet"},
          {"leader", nullptr},
          {"leader_ballot", {{"round", 0}, {"replica", 0}}},
          {"missing_at_birth", waits_for},
          {"missing", does_not_hear},
          {"no_quorum_age_ms", 5000}};
}

std::string joined(const std::vector<std::string>& lines) {
  return std::accumulate(lines.begin(), lines.end(), std::string(),
                         [](std::string all, const std::string& line) { return all + line + "\n"; });
}

TEST(Text, CountsInWords) {
  EXPECT_EQ(counted(0, "message"), "0 messages");
  EXPECT_EQ(counted(1, "message"), "1 message");
  EXPECT_EQ(counted(2, "message"), "2 messages");
  EXPECT_EQ(replicas_text({1}), "replica 1");
  EXPECT_EQ(replicas_text({0, 1, 2}), "replicas 0, 1 and 2");
}

TEST(Outage, BeforeBirthNamesWhoHasNotBeenThereYet) {
  const Json status = status_of({unborn({1, 2}, {1, 2}), std::nullopt, std::nullopt});
  const Outage outage = outage_of(status);
  EXPECT_TRUE(outage.unborn);
  EXPECT_EQ(outage.sentence(),
            "the cluster is not born yet: its first start needs every replica once; replicas 1 and 2 have "
            "not been there yet");
  EXPECT_EQ(outage.still_works().find("--local"), std::string::npos)
      << "there is nothing to read before birth";
  EXPECT_EQ(outage.missing, (std::vector<unsigned>{1, 2}));
}

TEST(Outage, BeforeBirthTellsRunningReplicasThatDoNotHearEachOther) {
  const Json status = status_of({unborn({2}, {2}), unborn({2}, {2}), unborn({0, 1}, {0, 1})});
  EXPECT_EQ(outage_of(status).sentence(),
            "the cluster is not born yet: its first start needs every replica once; replica 0 does not hear "
            "replica 2, which answers here; "
            "replica 1 does not hear replica 2, which answers here; replica 2 does not hear replica 0, which "
            "answers here; replica 2 does "
            "not hear replica 1, which answers here");
  const std::string steps = joined(next_steps(status, "cluster.key"));
  EXPECT_NE(steps.find("network between them"), std::string::npos) << steps;
  EXPECT_EQ(steps.find("systemctl start"), std::string::npos) << "all of them run: " << steps;
}

TEST(Outage, OneUnbornReplicaBesideAQuorumIsNoOutage) {
  const Json well{{"role", "follower"},
                  {"voting", true},
                  {"leader", 0},
                  {"leader_ballot", {{"round", 1}, {"replica", 0}}}};
  EXPECT_TRUE(outage_of(status_of({well, well, unborn({0, 1}, {})})).over());
}

TEST(NextSteps, AClosedPortIsAReplicaThatDoesNotRun) {
  Json status = status_of({unborn({1, 2}, {1, 2}), std::nullopt, std::nullopt});
  for (int id : {1, 2}) status["replicas"][id]["port_closed"] = true;
  const std::string steps = joined(next_steps(status, "cluster.key"));
  EXPECT_NE(steps.find("replicas 1 and 2 are not running"), std::string::npos) << steps;
  EXPECT_NE(steps.find("paxosd --id ID"), std::string::npos) << steps;
  EXPECT_EQ(steps.find("key is not"), std::string::npos)
      << "a closed port has nothing to do with the key: " << steps;
  status = status_of({unborn({2}, {2}), unborn({2}, {2}), std::nullopt});
  status["replicas"][2]["port_closed"] = true;
  EXPECT_NE(joined(next_steps(status, "k")).find("systemctl start paxosd@2"), std::string::npos);
}

TEST(NextSteps, SilenceNamesBothCausesAndHowToTellThemApart) {
  const std::string steps =
      joined(next_steps(status_of({std::nullopt, std::nullopt, std::nullopt}), "/etc/paxosd/cluster.key"));
  for (const char* part : {"may be down", "firewall", "/etc/paxosd/cluster.key", "never answered",
                           "foreign_key", "journalctl", "sha256sum", "paxosctl doctor"})
    EXPECT_NE(steps.find(part), std::string::npos) << part << " is missing in: " << steps;
}

TEST(NextSteps, NothingIsToDoWhereAllIsWell) {
  const Json well{{"role", "follower"},
                  {"voting", true},
                  {"leader", 0},
                  {"leader_ballot", {{"round", 1}, {"replica", 0}}}};
  EXPECT_TRUE(next_steps(status_of({well, well, well}), "k").empty());
}

TEST(PortProbe, TellsAClosedPortFromOneThatIsSilent) {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_storage name{};
  const socklen_t size = net::Address::loopback(0).to_sockaddr(name);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&name), size), 0);
  socklen_t length = sizeof name;
  ASSERT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length), 0);
  const unsigned port = ntohs(reinterpret_cast<sockaddr_in*>(&name)->sin_port);
  const std::map<unsigned, net::Address> where{{0, net::Address::loopback(static_cast<std::uint16_t>(port))}};
  EXPECT_TRUE(closed_ports(where, 100ms).empty()) << "somebody listens, and says nothing";
  ::close(fd);
  EXPECT_EQ(closed_ports(where, 10s), std::set<unsigned>{0}) << "nobody does";
  EXPECT_TRUE(closed_ports({}, 10s).empty());
}

}  // namespace
}  // namespace client
