#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/bounds.h"
#include "chat/versions.h"
#include "net/fragment.h"
#include "paxos/bounds.h"
#include "paxos/trimmer.h"
#include "tests/sim/narrow.h"
#include "tests/sim/queue.h"
#include "tests/sim/random.h"

namespace sim {

/// Those of the core, of chat/, and reassembly's.
inline constexpr std::size_t bounds_count = paxos::bounds_count + chat::bounds_count + 1;
using BoundTotals = std::array<std::uint64_t, bounds_count>;

enum class Fault : std::uint8_t {
  crash,
  crash_at_effect,  ///< in the middle of what a turn wants done
  crash_all,
  fail_sync,  ///< the replica must die; what the failed write left is anybody's guess
  slow_disk,
  hang_disk,
  pause,
  cut_one_way,
  partition,
  flap,
  loss_burst,
  replay,
  wall_clock,
  client_crash,
  skip,
  hand_over,
  campaign,
  wipe,
  rot,          ///< of bits on a disk, within what a minority may lose
  upgrade,      ///< a replica gets the next version of the program, or goes back to the old one (upgrades.cc)
  clock_stall,  ///< a monotonic clock stands still, while its replica goes on; it may catch up afterwards
  clock_jump,   ///< a monotonic clock leaps forward
  hold_applying,  ///< the state's disk does not keep up, or hangs: nothing is applied (bounds.cc)
  full_disk,      ///< the next write fails, which ends the replica; it does not start either
  lag,  ///< a replica misses much, and is a candidate as soon as it is back, while a leader's votes are under
        ///< way
  misapply,       ///< a replica applies otherwise than the rest, which must be noticed
  client_cut,     ///< between a client and some replicas, one way or both
  share_session,  ///< a client's state file is copied to another one, which goes on with it
  roll_back,      ///< an older copy of a directory is put in its place (world_trouble.cc)
  lose,           ///< a directory is lost for good; an operator's command replaces it (world_trouble.cc)
  fill,           ///< disks fill up, and have room again later (world_disks.cc)
};
inline constexpr unsigned fault_kinds = 31;
inline constexpr unsigned mixed_fault_kinds =
    19;  ///< those that any run may mix; the rest is drawn by itself
[[nodiscard]] const char* to_string(Fault fault);

/// One fault of a run. Whom it hits and for how long it draws from a seed of its own, so that leaving one out
/// changes nothing about the others.
struct PlannedFault {
  unsigned number = 0;  ///< its place in the whole schedule
  Nanos at = 0;
  Fault kind{};
  std::uint64_t seed = 0;
};

/// What is always on in a run that has it, and can be left out when a failure is minimised.
enum class Setting : std::uint8_t {
  loss,
  duplicates,
  late,
  drift,
  twice,
  gathering,
  texts,
  datagrams,
  rows,
  pages,
  upgrades,
  bounds,
  narrow,
  trims,
  retention
};
inline constexpr unsigned setting_kinds = 15;
[[nodiscard]] const char* to_string(Setting setting);

/// A run in which the cluster is upgraded: from the first version to the released one, or from that to the
/// one that upgrades are rehearsed with (chat/versions.h).
struct Upgrades {
  std::uint16_t from = chat::rules_first;  ///< rules that the old program knows; the next one knows one more
  bool mixed_birth = false;                ///< some of them are born with the next version
  bool careless =
      false;  ///< operators go back to the old version even when they can see that the rules were raised
  std::optional<std::uint8_t> never;  ///< this replica is never upgraded: the rules must stay
  bool finish = false;                ///< at the end all are upgraded: the rules must be raised
};

/// What a seed decides before the run: swarm testing (Groce and others, ISSTA 2012) turns a random subset of
/// faults on, at random strengths, because faults that are always on hide one another.
struct Scenario {
  std::uint64_t seed = 0;
  std::size_t replicas = 5;
  std::size_t clients = 4;
  std::size_t rooms = 2;
  Nanos heartbeat = 50 * millisecond;
  Nanos election_timeout = 250 * millisecond;
  std::uint32_t clock_drift_ppm = 0;  ///< of each replica's monotonic clock, at most, either way

  Nanos delay_min = 100'000;
  Nanos delay_max = 2 * millisecond;
  std::uint32_t loss_ppm = 0;
  std::uint32_t duplicate_ppm = 0;
  std::uint32_t late_ppm = 0;  ///< delayed by up to late_max: overtaken by many
  Nanos late_max = 0;
  Nanos turn_delay = 0;  ///< inputs gather this long, at most, before a turn

  /// Messages that do not fit into one datagram are sealed, cut and put together as the programs do it; 0:
  /// none are.
  std::size_t datagram_bytes = 1400;
  bool seal_all = false;  ///< all others too

  Nanos sync_min = 200'000;
  Nanos sync_max = 2 * millisecond;
  bool real_rows = false;        ///< disks hold the bytes that storage/ writes, and starts read them
  Nanos flush_max = 2 * second;  ///< rows of the state become durable after this, at most

  std::vector<Fault> faults;  ///< those that happen in this run
  [[nodiscard]] bool mixes(Fault fault) const {
    return std::find(faults.begin(), faults.end(), fault) != faults.end();
  }
  std::vector<PlannedFault> schedule;
  Nanos fault_every = second;
  Nanos fault_length_max = 3 * second;
  Nanos faults_from = 2 * second;
  Nanos wall_jump_ms_max = 0;

  Nanos safety_length = 60 * second;
  paxos::Bounds bounds;
  chat::MachineBounds machine_bounds;
  chat::NodeBounds node_bounds;
  net::ReassemblyBounds reassembly;
  bool small_bounds = false;  ///< some of them were drawn
  Nanos skips_until =
      57 * second;  ///< what is skipped at the very end would show only when nobody mends it any more
  bool safety_only = false;  ///< no healing afterwards
  std::uint32_t posts_per_second = 50;
  std::uint32_t twice_ppm = 0;  ///< of client messages that go to a second replica too
  std::size_t text_bytes_max = 64;
  std::optional<Upgrades> upgrades;
  std::size_t followers = 0;              ///< clients that follow a room besides
  Nanos redact_every = 0;                 ///< somebody redacts a message about so often; 0: nobody does
  Nanos retain_every = 0;                 ///< somebody says what rooms keep about so often; 0: nobody does
  std::optional<paxos::TrimSlack> slack;  ///< logs are trimmed, and who needs it takes a peer's state
  std::uint64_t log_damage_one_in =
      0;  ///< states that reach a disk: then that replica's log begins behind damage
  std::size_t snapshot_chunk = 4096;  ///< bytes of such a state in a message
  bool reach_one = false;             ///< at the very end each client reaches one replica only
  std::optional<Narrowings> narrow;
  bool lossy_liveness = false;  ///< the healed core still loses packets
  std::uint64_t shake = 0;      ///< other luck with everything but the schedule
  std::vector<Fault> pretend;   ///< test only: once each of these has happened, a violation is pretended
};

[[nodiscard]] Scenario draw_scenario(std::uint64_t seed);
/// The parts of it that are about upgrades and about clocks that fail, from generators of their own: runs
/// without any are what they would be otherwise.
void draw_upgrades(Scenario& scenario);
void draw_clock_faults(Scenario& scenario);
/// Small bounds, and disks that are held or full, likewise.
void draw_bounds(Scenario& scenario);
/// Likewise: candidates that lag, replicas that misapply (world_trouble.cc).
void draw_trouble(Scenario& scenario);
/// Likewise: older copies of directories (world_trouble.cc).
void draw_copies(Scenario& scenario);
/// Likewise: directories that are lost for good, and replaced (world_trouble.cc).
void draw_losses(Scenario& scenario);
/// Likewise: disks that fill up (world_disks.cc).
void draw_filling_disks(Scenario& scenario);
/// Likewise: what is about clients (world_people.cc).
void draw_people(Scenario& scenario);
/// The same for paths that carry less than what they are given (narrow.cc).
void draw_narrow(Scenario& scenario);
/// Likewise: how much of their logs replicas keep (world_trims.cc).
void draw_trims(Scenario& scenario);
/// Likewise, after the bounds: what rooms keep (world_retention.cc).
void draw_retention(Scenario& scenario);
/// Puts the schedule in order after something was added to it.
void order_schedule(Scenario& scenario);

/// What a failing run is cut down to.
struct Reduction {
  std::optional<std::vector<unsigned>> faults;  ///< only these of the schedule
  std::optional<std::size_t> clients;           ///< only so many
  std::optional<Nanos> length;                  ///< faults for so long
  std::uint32_t without = 0;                    ///< bits: Setting
  std::uint64_t shake = 0;

  [[nodiscard]] bool none() const { return !faults && !clients && !length && without == 0 && shake == 0; }
};
[[nodiscard]] Scenario reduce(Scenario scenario, const Reduction& reduction);
/// As paxos-sim takes it: " --only-faults 3,17 --clients 2", each flag behind a space.
[[nodiscard]] std::string to_flags(const Reduction& reduction);
/// A flag of the above with its value; false: not one of them, or the value is wrong.
[[nodiscard]] bool parse_flag(std::string_view flag, std::string_view value, Reduction& reduction);
[[nodiscard]] std::optional<Fault> parse_fault(std::string_view name);

[[nodiscard]] std::string describe(const Scenario& s);
/// Those that are not as shipped, for people.
[[nodiscard]] std::string describe_bounds(const Scenario& s);

}  // namespace sim
