#pragma once

namespace sim {

/// Between two runs: the pool's pieces of the last run, which are free in any order and scattered over what the caches
/// hold, become one fresh run of memory again. Does nothing while one of them is still in use, nor in builds without the
/// pool.
void renew_pool();

}  // namespace sim
