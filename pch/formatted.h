#pragma once

// For the rooms that print: see standard.h.
#include "standard.h"
// After it.
#include <fmt/format.h>
