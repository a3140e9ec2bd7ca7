#include "paxos/configuration.h"

#include <gtest/gtest.h>

#include <vector>

#include "chat/rows.h"
#include "tests/chat/fixture.h"

/// The configuration is part of the replicated state: so it comes with whatever brings a state.
namespace chat::test {
namespace {

paxos::Incarnation named(std::uint8_t n) {
  paxos::Incarnation out;
  out.bytes[0] = n;
  return out;
}

paxos::Configuration next(std::uint32_t number, std::uint8_t third) {
  paxos::Configuration out = paxos::Configuration::of_birth({named(1), named(2), named(third)});
  out.number = number;
  return out;
}

TEST(Configurations, AreTakenByTheirNumberAndKept) {
  Log log;
  EXPECT_FALSE(log.machine.configuration());
  const Applied none = log.apply(paxos::make_configuration_decree(next(3, 8)));
  EXPECT_FALSE(log.machine.configuration()) << "not the one after next";
  for (const Row& row : none.rows) EXPECT_NE(row.key[0], rows::family_configuration);
  log.apply(paxos::make_configuration_decree(next(2, 9)));
  ASSERT_TRUE(log.machine.configuration());
  EXPECT_EQ(log.machine.configuration()->begins, log.machine.applied() + 1);
  EXPECT_EQ(log.machine.configuration()->members[2].incarnation, named(9));
  log.noop();
  const auto before = log.machine.configuration();
  log.reload();
  EXPECT_EQ(log.machine.configuration(), before);
  log.apply(paxos::make_configuration_decree(next(2, 7)));
  EXPECT_EQ(log.machine.configuration(), before) << "each number once";
  log.apply(paxos::make_configuration_decree(next(3, 7)));
  log.reload();
  EXPECT_EQ(log.machine.configuration()->number, 3U);
}

TEST(Configurations, ADamagedRowIsNamed) {
  Log log;
  log.apply(paxos::make_configuration_decree(next(2, 9)));
  log.rows.write({{rows::configuration(), std::string("\x01x")}});
  const auto loaded = Machine::load(log.rows, rules_released);
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().find("the configuration's row"), std::string::npos) << loaded.error();
}

}  // namespace
}  // namespace chat::test
