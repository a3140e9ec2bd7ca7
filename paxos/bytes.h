#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "paxos/invariant.h"

namespace paxos {

/// An immutable, reference-counted run of bytes: a slice of a buffer that lives as long as any
/// slice of it. Copying shares, never copies. Safe to hand to another thread.
class Bytes {
 public:
  Bytes() = default;

  /// Takes over `owner`; the slice is [data, data + size), which must lie inside what it owns.
  Bytes(std::shared_ptr<const void> owner, const std::byte* data, std::size_t size)
      : owner_(std::move(owner)), data_(data), size_(size) {}

  [[nodiscard]] static Bytes copy_of(std::span<const std::byte> source) {
    if (source.empty()) return {};
    auto buffer = std::make_shared<std::byte[]>(source.size());
    std::memcpy(buffer.get(), source.data(), source.size());
    const std::byte* data = buffer.get();
    return {std::move(buffer), data, source.size()};
  }
  [[nodiscard]] static Bytes copy_of(std::string_view source) {
    return copy_of(std::as_bytes(std::span{source.data(), source.size()}));
  }
  /// Moves a string into a shared buffer.
  [[nodiscard]] static Bytes from(std::string source) {
    auto owner = std::make_shared<const std::string>(std::move(source));
    const auto* data = reinterpret_cast<const std::byte*>(owner->data());
    const std::size_t size = owner->size();
    return {std::move(owner), data, size};
  }

  [[nodiscard]] const std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::span<const std::byte> span() const { return {data_, size_}; }
  [[nodiscard]] std::string_view view() const { return {reinterpret_cast<const char*>(data_), size_}; }
  /// A part of this slice, sharing its buffer. Requires: offset + size within it.
  [[nodiscard]] Bytes slice(std::size_t offset, std::size_t size) const {
    PAXOS_ASSERT(offset <= size_ && size <= size_ - offset);
    return {owner_, data_ + offset, size};
  }

  friend bool operator==(const Bytes& a, const Bytes& b) {
    return a.size_ == b.size_ &&
           (a.size_ == 0 || a.data_ == b.data_ || std::memcmp(a.data_, b.data_, a.size_) == 0);
  }

 private:
  std::shared_ptr<const void> owner_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace paxos
