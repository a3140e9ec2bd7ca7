#pragma once

namespace sim {

/// Between two runs: the pool's pieces of the last run, which are free in any order and scattered over what
/// the caches hold, become one fresh run of memory again. Where one of them is still in use (what is made
/// once, at the first use), its run's memory is left to it and the next run gets new: up to 256 MiB a
/// process, then nothing is renewed any more. Nothing in builds without the pool.
void renew_pool();

}  // namespace sim
