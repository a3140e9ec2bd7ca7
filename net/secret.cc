#include "net/secret.h"

#include <sodium.h>
#include <sys/mman.h>

#include <algorithm>
#include <mutex>
#include <new>
#include <vector>

namespace net {

namespace {

/// Slots of 32 bytes in pages that hold nothing else. Pages are never given back: a program has as many
/// senders again.
class Vault {
 public:
  static Vault& only() {
    static auto* const vault = new Vault;  // outlives every static object that holds a secret
    return *vault;
  }
  cipher::Key* take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) add_pages();
    cipher::Key* slot = free_.back();
    free_.pop_back();
    return slot;
  }
  void give_back(cipher::Key* slot) {
    sodium_memzero(slot->data(), slot->size());
    const std::lock_guard lock(mutex_);
    free_.push_back(slot);
  }

 private:
  static constexpr std::size_t chunk_bytes = std::size_t{16} * 1024;

  void add_pages() {
    void* pages = ::mmap(nullptr, chunk_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) throw std::bad_alloc();
    ::madvise(pages, chunk_bytes, MADV_DONTDUMP);
    (void)::mlock(pages,
                  chunk_bytes);  // where the limit is too low, they may be swapped: no reason not to run
    auto* slots = static_cast<cipher::Key*>(pages);
    const std::size_t count = chunk_bytes / sizeof(cipher::Key);
    free_.reserve(free_.size() + count);
    for (std::size_t i = count; i > 0; --i) free_.push_back(new (&slots[i - 1]) cipher::Key{});
  }

  std::mutex mutex_;
  std::vector<cipher::Key*> free_;  ///< zeros, all of them
};

}  // namespace

Secret::Secret() : slot_(Vault::only().take()) {}

Secret::Secret(std::span<const std::uint8_t, cipher::key_bytes> bytes) : Secret() {
  std::copy(bytes.begin(), bytes.end(), slot_->begin());
}

Secret::~Secret() {
  if (slot_ != nullptr) Vault::only().give_back(slot_);
}

Secret::Secret(const Secret& other)
    : Secret(std::span<const std::uint8_t, cipher::key_bytes>(other.bytes())) {}

Secret& Secret::operator=(const Secret& other) {
  if (this != &other) *this = Secret(other);
  return *this;
}

bool operator==(const Secret& a, const Secret& b) {
  return sodium_memcmp(a.data(), b.data(), Secret::size()) == 0;
}

}  // namespace net
