#pragma once

#include <chrono>
#include <map>
#include <set>

#include "net/address.h"

namespace client {

/// Which of these replicas' UDP ports are closed: nothing listens there, says that machine's kernel (or a
/// firewall that rejects), which is not the same as no answer. Found out by one byte to each, which a replica
/// drops and counts. Silence proves nothing: a machine that is down, a firewall that swallows, or a replica
/// that can't open what is sent, and never answers that. Blocks for at most `patience`.
[[nodiscard]] std::set<unsigned> closed_ports(const std::map<unsigned, net::Address>& where,
                                              std::chrono::milliseconds patience);

}  // namespace client
