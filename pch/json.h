#pragma once

// For the rooms that speak JSON: see standard.h.
#include "formatted.h"
// After it.
#include <nlohmann/json.hpp>
