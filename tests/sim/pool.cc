#include "tests/sim/pool.h"

#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

/// The simulator's memory: one thread, and millions of small pieces that live for microseconds. A list of
/// free pieces per size; what was never used comes from a page of its size, in order. Sanitizer builds keep
/// their own.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SIM_NO_POOL
#endif
#endif

#ifdef SIM_NO_POOL

void sim::renew_pool() {}

#else

namespace {

constexpr std::size_t grain = 16;
constexpr std::size_t small_max = 1024;
constexpr std::size_t kinds = small_max / grain + 1;
constexpr std::size_t page_bytes = 64 * 1024;  ///< all pieces of a page are of one size
constexpr std::size_t region_bytes = std::size_t{32} << 30;
/// Of pages that a renewal had to leave behind, because something outlived its run.
constexpr std::size_t left_max = std::size_t{256} << 20;

struct Piece {
  Piece* next;
};

struct Unused {
  char* next = nullptr;
  std::size_t pieces = 0;
};

struct Pool {
  std::array<Piece*, kinds> free{};
  std::array<Unused, kinds> unused{};
  char* region = nullptr;
  char* renewable = nullptr;  ///< pages from here on are of this run
  std::size_t live = 0;       ///< pieces of these pages that are in use
  std::size_t used = 0;
  std::size_t left = 0;
  bool tried = false;
};
constinit Pool pool;
constinit std::array<std::uint8_t, region_bytes / page_bytes> kind_of_page{};

/// A page of pieces of one size; false: malloc must serve.
bool open_page(std::size_t kind) {
  if (!pool.tried) {
    pool.tried = true;
    // Address space only.
    void* region = mmap(nullptr, region_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region != MAP_FAILED) pool.renewable = pool.region = static_cast<char*>(region);
  }
  if (pool.region == nullptr || pool.used + page_bytes > region_bytes) return false;
  kind_of_page[pool.used / page_bytes] = static_cast<std::uint8_t>(kind);
  pool.unused[kind] = {.next = pool.region + pool.used, .pieces = page_bytes / (kind * grain)};
  pool.used += page_bytes;
  return true;
}

[[gnu::noinline]] void* slow_new(std::size_t size, std::size_t kind) {
  if (size <= small_max && open_page(kind)) {
    Unused& unused = pool.unused[kind];
    char* piece = unused.next;
    unused.next += kind * grain;
    --unused.pieces;
    ++pool.live;
    return piece;
  }
  if (void* at = std::malloc(size == 0 ? 1 : size)) return at;
  throw std::bad_alloc();
}

[[gnu::always_inline]] inline bool is_ours(const void* at) {
  return static_cast<std::size_t>(static_cast<const char*>(at) - pool.region) < region_bytes;
}

}  // namespace

void* operator new(std::size_t size) {
  const std::size_t kind = size == 0 ? 1 : (size + grain - 1) / grain;
  if (size <= small_max) [[likely]] {
    if (Piece* piece = pool.free[kind]; piece != nullptr) [[likely]] {
      pool.free[kind] = piece->next;
      pool.live += reinterpret_cast<char*>(piece) >= pool.renewable ? 1 : 0;
      return piece;
    }
    if (Unused& unused = pool.unused[kind]; unused.pieces != 0) [[likely]] {
      char* piece = unused.next;
      unused.next += kind * grain;
      --unused.pieces;
      ++pool.live;
      return piece;
    }
  }
  return slow_new(size, kind);
}

void operator delete(void* at) noexcept {
  if (pool.region == nullptr || !is_ours(at)) {
    std::free(at);
    return;
  }
  const std::size_t kind =
      kind_of_page[static_cast<std::size_t>(static_cast<char*>(at) - pool.region) / page_bytes];
  pool.live -= static_cast<char*>(at) >= pool.renewable ? 1 : 0;
  auto* piece = static_cast<Piece*>(at);
  piece->next = pool.free[kind];
  pool.free[kind] = piece;
}
void operator delete(void* at, std::size_t) noexcept { operator delete(at); }
void* operator new[](std::size_t size) { return operator new(size); }
void operator delete[](void* at) noexcept { operator delete(at); }
void operator delete[](void* at, std::size_t) noexcept { operator delete(at); }

void sim::renew_pool() {
  if (pool.region == nullptr) return;
  if (pool.live != 0) {
    // What was made before the first run, or once in one: it stays behind, with the pages around it and their
    // free pieces.
    const auto run = static_cast<std::size_t>(pool.region + pool.used - pool.renewable);
    if (pool.left + run > left_max) return;
    pool.left += run;
    pool.renewable = pool.region + pool.used;
    pool.live = 0;
  } else {
    pool.used = static_cast<std::size_t>(pool.renewable - pool.region);
  }
  pool.free = {};
  pool.unused = {};
}

#endif
