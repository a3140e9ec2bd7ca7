#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "config/cluster_config.h"
#include "config/flags.h"

namespace config {

/// The flags of a verb that makes a cluster: `paxosctl config generate`, `paxosd restore`.
void add_generate_flags(Flags& flags);

/// What they say; `cluster`: the name where --cluster is not given; `failures`: how many crashes the cluster
/// is to survive where -f is not given, which otherwise has to be. Errors are printed, and give an exit code.
[[nodiscard]] tl::expected<GenerateOptions, int> generate_options(const Flags& flags,
                                                                  const std::string& cluster,
                                                                  std::optional<std::uint64_t> failures = {});

}  // namespace config
