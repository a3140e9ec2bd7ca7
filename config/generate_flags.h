#pragma once

#include <tl/expected.hpp>

#include "config/cluster_config.h"
#include "config/flags.h"

namespace config {

/// The flags of a verb that makes a cluster: `paxosctl config generate`, `paxosd restore`.
void add_generate_flags(Flags& flags);

/// What they say; `cluster`: the name where --cluster is not given. Errors are printed, and give an exit
/// code.
[[nodiscard]] tl::expected<GenerateOptions, int> generate_options(const Flags& flags,
                                                                  const std::string& cluster);

}  // namespace config
