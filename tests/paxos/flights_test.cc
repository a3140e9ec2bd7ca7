#include "paxos/flights.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

/// What a leader has under way in phase 2 (paxos/flights.h).
namespace paxos_test {
namespace {

using namespace std::chrono_literals;
using paxos::Decree;
using paxos::DecreeKind;
using paxos::Flight;
using paxos::Flights;
using paxos::Slot;
using paxos::Time;

Decree of_size(std::size_t bytes) {
  return {DecreeKind::commands, paxos::Bytes::copy_of(std::string(bytes, 'x'))};
}

TEST(Flights, CountsWhatIsProposedUntilItIsChosen) {
  Flights flights;
  flights.begin(Slot{7});
  flights.propose(of_size(10), Time{1s}, 20ms);
  flights.pass(Flight::State::left_empty);
  flights.propose(of_size(5), Time{1s}, 20ms);
  flights.pass(Flight::State::chosen_before);
  EXPECT_EQ(flights.next(), Slot{11});
  EXPECT_EQ(flights.under_way(), 2u);
  EXPECT_EQ(flights.bytes_under_way(), 15u);
  EXPECT_TRUE(flights.find(Slot{7})->repeat.due(Time{1s} + 20ms));
  flights.chosen(*flights.find(Slot{7}));
  EXPECT_EQ(flights.find(Slot{7})->state, Flight::State::chosen);
  EXPECT_FALSE(flights.find(Slot{7})->repeat.due(Time{9s})) << "nothing is said again of what is chosen";
  EXPECT_EQ(flights.under_way(), 1u);
  EXPECT_EQ(flights.bytes_under_way(), 5u);
  flights.check_invariants();
}

TEST(Flights, ForgetsWhatTheChosenPrefixCovers) {
  Flights flights;
  flights.begin(Slot{3});
  for (int i = 0; i < 4; ++i) flights.chosen(flights.propose(of_size(1), Time{}, 20ms));
  flights.forget(Slot{2});
  EXPECT_EQ(flights.first(), Slot{3});
  flights.forget(Slot{4});
  EXPECT_EQ(flights.find(Slot{4}), nullptr);
  EXPECT_EQ(flights.find(Slot{5})->state, Flight::State::chosen);
  flights.forget(Slot{100});
  EXPECT_EQ(flights.first(), Slot{7});
  EXPECT_EQ(flights.next(), Slot{7});
}

TEST(Flights, ALeadershipThatEndsLeavesNothingUnderWayAndItsPlace) {
  Flights flights;
  EXPECT_TRUE(flights.next().none());
  flights.begin(Slot{3});
  flights.propose(of_size(8), Time{}, 20ms);
  flights.end();
  EXPECT_EQ(flights.next(), Slot{4});
  EXPECT_EQ(flights.under_way() + flights.bytes_under_way(), 0u);
  flights.check_invariants();
}

}  // namespace
}  // namespace paxos_test
