#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

/// The simulator's memory: one thread, and millions of small pieces that live for microseconds. A list of free pieces
/// per size, nothing is ever given back. Sanitizer builds keep their own.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SIM_NO_POOL
#endif
#endif

#ifndef SIM_NO_POOL

namespace {

constexpr std::size_t grain = 16;
constexpr std::size_t small_max = 1024;
constexpr std::size_t page_bytes = 64 * 1024;  ///< all pieces of a page are of one size
constexpr std::size_t region_bytes = std::size_t{32} << 30;

struct Piece {
  Piece* next;
};

struct Pool {
  std::array<Piece*, small_max / grain + 1> free{};
  char* region = nullptr;
  std::size_t used = 0;
  bool tried = false;
};
constinit Pool pool;

/// Pieces of one size, or nullptr: then malloc serves.
Piece* fill(std::size_t kind) {
  if (!pool.tried) {
    pool.tried = true;
    // Address space only; and pages that begin at multiples of their size.
    void* region = mmap(nullptr, region_bytes + page_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region != MAP_FAILED) {
      const auto at = (reinterpret_cast<std::uintptr_t>(region) + page_bytes - 1) & ~(page_bytes - 1);
      pool.region = reinterpret_cast<char*>(at);
    }
  }
  if (pool.region == nullptr || pool.used + page_bytes > region_bytes) return nullptr;
  char* page = pool.region + pool.used;
  pool.used += page_bytes;
  *reinterpret_cast<std::size_t*>(page) = kind;
  const std::size_t size = kind * grain;
  Piece* first = nullptr;
  for (std::size_t at = grain + (page_bytes - grain) / size * size; at > grain; at -= size) {
    auto* piece = reinterpret_cast<Piece*>(page + at - size);
    piece->next = first;
    first = piece;
  }
  return first;
}

[[gnu::always_inline]] inline bool is_ours(const void* at) {
  return static_cast<std::size_t>(static_cast<const char*>(at) - pool.region) < region_bytes;
}

}  // namespace

void* operator new(std::size_t size) {
  if (size <= small_max) [[likely]] {
    const std::size_t kind = size == 0 ? 1 : (size + grain - 1) / grain;
    Piece* piece = pool.free[kind];
    if (piece == nullptr) [[unlikely]]
      piece = fill(kind);
    if (piece != nullptr) [[likely]] {
      pool.free[kind] = piece->next;
      return piece;
    }
  }
  if (void* at = std::malloc(size == 0 ? 1 : size)) return at;
  throw std::bad_alloc();
}

void operator delete(void* at) noexcept {
  if (pool.region == nullptr || !is_ours(at)) {
    std::free(at);
    return;
  }
  const auto page = reinterpret_cast<std::uintptr_t>(at) & ~(page_bytes - 1);
  const std::size_t kind = *reinterpret_cast<const std::size_t*>(page);
  auto* piece = static_cast<Piece*>(at);
  piece->next = pool.free[kind];
  pool.free[kind] = piece;
}
void operator delete(void* at, std::size_t) noexcept { operator delete(at); }
void* operator new[](std::size_t size) { return operator new(size); }
void operator delete[](void* at) noexcept { operator delete(at); }
void operator delete[](void* at, std::size_t) noexcept { operator delete(at); }

#endif
