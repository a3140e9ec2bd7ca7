#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "net/cipher.h"

namespace net {

/// 32 secret bytes in memory of their own: no core dump holds it (MADV_DONTDUMP), it is not swapped out where
/// the limit on locked memory allows that, and it is wiped when it goes. A copy is another piece of such
/// memory, a move is none. Any thread, one at a time. Never copy the bytes to anywhere else: a stack is in
/// every core dump.
class Secret {
 public:
  Secret();  ///< zeros
  /// What it is copied from is the caller's to wipe.
  explicit Secret(std::span<const std::uint8_t, cipher::key_bytes> bytes);
  Secret(const cipher::Key& bytes)
      : Secret(std::span<const std::uint8_t, cipher::key_bytes>(bytes)) {}  // as tests write one
  ~Secret();
  Secret(const Secret& other);
  Secret& operator=(const Secret& other);
  Secret(Secret&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
  Secret& operator=(Secret&& other) noexcept {
    std::swap(slot_, other.slot_);
    return *this;
  }

  /// Not after it was moved from.
  [[nodiscard]] const cipher::Key& bytes() const { return *slot_; }
  [[nodiscard]] cipher::Key& bytes() { return *slot_; }
  [[nodiscard]] const std::uint8_t* data() const { return slot_->data(); }
  [[nodiscard]] static constexpr std::size_t size() { return cipher::key_bytes; }
  friend bool operator==(const Secret& a, const Secret& b);  ///< in constant time

 private:
  cipher::Key* slot_;
};

}  // namespace net
