#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/session/json.h"

/// What `paxosctl doctor` makes of what it measured. Pure: figures in, findings out.
namespace client {

enum class Verdict { ok, warn, bad };
[[nodiscard]] const char* to_string(Verdict verdict);

struct Finding {
  std::optional<unsigned> replica;  ///< nothing: this machine
  std::string check;
  Verdict verdict = Verdict::ok;
  std::string measured;
  std::string advice;  ///< what to do; empty when nothing
  friend bool operator==(const Finding&, const Finding&) = default;
};

/// A remote clock read between two readings of ours.
struct ClockReading {
  std::int64_t sent_ms = 0;
  std::int64_t remote_ms = 0;
  std::int64_t received_ms = 0;
};
/// How far the clock is off, at least: warn above 500 ms, bad above 5 s.
[[nodiscard]] Finding judge_clock(const ClockReading& reading);

[[nodiscard]] Finding judge_mtu(int mtu, bool loopback, std::size_t datagram_bytes, bool v6);
/// Limits of a process: a number, "unlimited", or not known (null).
[[nodiscard]] Finding judge_memlock(const Json& bytes);
[[nodiscard]] Finding judge_files(const Json& files);
[[nodiscard]] Finding judge_memory(std::optional<double> cgroup_max);
[[nodiscard]] Finding judge_kernel(const std::string& release);
/// `mode`: of a key file.
[[nodiscard]] Finding judge_key_mode(unsigned mode);

struct DoctorOptions {
  std::string version;                                      ///< ours
  std::vector<std::pair<std::string, std::string>> agreed;  ///< config::agreed_parts() of ours
  std::chrono::milliseconds election_timeout{250};
  /// Whether two addresses, written differently, are one; may look names up.
  std::function<bool(const std::string&, const std::string&)> same_address;
  bool members_changed = false;  ///< since the birth: a file may name those of then
};
/// What one replica says about itself: `status` and `doctor` answers, where they came.
[[nodiscard]] std::vector<Finding> judge_replica(unsigned id, const std::string& address,
                                                 const std::optional<Json>& status,
                                                 const std::optional<Json>& doctor,
                                                 const std::optional<ClockReading>& clock,
                                                 const DoctorOptions& options, bool port_closed = false);

/// What all answers together say: whether the cluster gets on, and who holds it or himself up. `status`:
/// cluster_status().
[[nodiscard]] std::vector<Finding> judge_cluster(const Json& status);

/// What happened between two `doctor` answers of one replica, `ms` apart, as a replica tells it under
/// `recent` by itself.
[[nodiscard]] Json recent_between(const Json& before, const Json& now, std::int64_t ms);

/// A line for people.
struct FindingLine {
  std::vector<unsigned> replicas;  ///< empty: this machine
  Finding finding;                 ///< of the first of them
};
/// What is wrong at several replicas in the same words is one line that names them, at its first one's place;
/// what is fine is a line each.
[[nodiscard]] std::vector<FindingLine> lines_of(const std::vector<Finding>& findings);

/// 0 all ok or only warnings, 1 something bad, 3 no replica of some that were asked answers.
[[nodiscard]] int doctor_exit(const std::vector<Finding>& findings, bool asked, bool anyone);

}  // namespace client
