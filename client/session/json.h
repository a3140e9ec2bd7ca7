#pragma once

#include <nlohmann/json.hpp>

namespace client {

/// Objects keep the order in which they were filled, as CLI.md shows them.
using Json = nlohmann::ordered_json;

}  // namespace client
