#pragma once

// For unit tests: see standard.h.
#include "standard.h"
// After it.
#include <gtest/gtest.h>
