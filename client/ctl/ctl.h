#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "client/command_line.h"
#include "client/session/cluster_view.h"

/// The verbs of paxosctl: each takes its words and gives the exit code.
namespace client {

using Words = std::vector<std::string>;

/// How long a replica's status is waited for.
constexpr std::chrono::milliseconds status_timeout{1000};

int ctl_config(const Words& words);
int ctl_status(const Words& words);
int ctl_top(const Words& words);
int ctl_doctor(const Words& words);
int ctl_verify(const Words& words);
int ctl_log(const Words& words);
int ctl_rooms(const Words& words);
int ctl_redact(const Words& words);
int ctl_retention(const Words& words);
int ctl_key(const Words& words);
int ctl_backup(const Words& words);
int ctl_restore(const Words& words);
int ctl_export(const Words& words);
int ctl_import(const Words& words);
int ctl_explain(const Words& words);
int ctl_kill(const Words& words);
int ctl_skip(const Words& words);
int ctl_loss(const Words& words);
int ctl_pause(const Words& words);
int ctl_isolate(const Words& words);
int ctl_bench(const Words& words);
int ctl_rolling_restart(const Words& words);
int ctl_member(const Words& words);
int ctl_transfer_leader(const Words& words);
int ctl_run(const Words& words);

/// The replica that a quorum takes for its leader; asked until one is there or the time is up.
net::Task<std::optional<ReplicaStatus>> find_leader(Connection& connection,
                                                    std::chrono::milliseconds timeout);

/// What a faulty answer to an acting request means: prints it, gives the exit code. Nothing when it was done.
[[nodiscard]] std::optional<int> failed(const std::string& program, paxos::ReplicaId to,
                                        const std::optional<chat::OperatorAnswer>& answer);

}  // namespace client
