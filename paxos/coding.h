#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "paxos/bytes.h"

/// Little-endian, bounds-checked reading and writing of bytes, shared by the wire, disk and command formats.
namespace paxos {

/// Appends to a string. Fixed-size integers are little-endian; varints are LEB128.
class ByteWriter {
 public:
  explicit ByteWriter(std::string& out) : out_(out) {}

  template <std::unsigned_integral T>
  void fixed(T value) {
    char bytes[sizeof(T)];
    for (std::size_t i = 0; i < sizeof(T); ++i) bytes[i] = static_cast<char>(value >> (8 * i) & 0xff);
    out_.append(bytes, sizeof(T));
  }
  /// Big-endian: for keys that sort by number.
  void key64(std::uint64_t value) {
    char bytes[8];
    for (unsigned i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> (56 - 8 * i) & 0xff);
    out_.append(bytes, 8);
  }
  void varint(std::uint64_t value) {
    while (value >= 0x80) {
      out_.push_back(static_cast<char>(value | 0x80));
      value >>= 7;
    }
    out_.push_back(static_cast<char>(value));
  }
  void raw(std::string_view bytes) { out_.append(bytes); }
  void raw(std::span<const std::byte> bytes) {
    out_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  template <std::size_t N>
  void raw(const std::array<std::uint8_t, N>& bytes) {
    out_.append(reinterpret_cast<const char*>(bytes.data()), N);
  }
  /// Varint length, then the bytes.
  void sized(std::string_view bytes) {
    // The length, and a short text behind it.
    char few[64];
    if (bytes.size() >= sizeof few) {
      varint(bytes.size());
      raw(bytes);
      return;
    }
    few[0] = static_cast<char>(bytes.size());
    if (!bytes.empty()) std::memcpy(few + 1, bytes.data(), bytes.size());
    out_.append(few, 1 + bytes.size());
  }
  void sized(std::span<const std::byte> bytes) {
    varint(bytes.size());
    raw(bytes);
  }

 private:
  std::string& out_;
};

/// The same bytes for a few numbers of known size, which go to their string in one piece: a string that grows
/// byte by byte costs several times as much.
template <std::size_t bytes_max>
class FewBytes {
 public:
  template <std::unsigned_integral T>
  FewBytes& fixed(T value) {
    PAXOS_ASSERT(size_ + sizeof(T) <= bytes_max);
    for (std::size_t i = 0; i < sizeof(T); ++i)
      bytes_[size_ + i] = static_cast<char>(value >> (8 * i) & 0xff);
    size_ += sizeof(T);
    return *this;
  }
  FewBytes& varint(std::uint64_t value) {
    PAXOS_ASSERT(size_ + 10 <= bytes_max);
    while (value >= 0x80) {
      bytes_[size_++] = static_cast<char>(value | 0x80);
      value >>= 7;
    }
    bytes_[size_++] = static_cast<char>(value);
    return *this;
  }
  template <std::size_t N>
  FewBytes& raw(const std::array<std::uint8_t, N>& bytes) {
    PAXOS_ASSERT(size_ + N <= bytes_max);
    std::memcpy(bytes_ + size_, bytes.data(), N);
    size_ += N;
    return *this;
  }
  void append_to(std::string& out) const { out.append(bytes_, size_); }

 private:
  char bytes_[bytes_max];
  std::size_t size_ = 0;
};

/// Reads what ByteWriter wrote. After the first failure everything reads as zero or empty, and ok() is
/// false for good, so that a decoder checks once at its end.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : rest_(bytes) {}
  explicit ByteReader(std::string_view bytes) : rest_(std::as_bytes(std::span{bytes.data(), bytes.size()})) {}

  template <std::unsigned_integral T>
  T fixed() {
    if (rest_.size() < sizeof(T)) return failed<T>();
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i)
      value = static_cast<T>(value | static_cast<T>(static_cast<T>(rest_[i]) << (8 * i)));
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }
  std::uint64_t key64() {
    if (rest_.size() < 8) return failed<std::uint64_t>();
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 8; ++i) value = value << 8 | static_cast<std::uint64_t>(rest_[i]);
    rest_ = rest_.subspan(8);
    return value;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {  // the tenth byte ends it, or is refused
      if (rest_.empty()) return failed<std::uint64_t>();
      const auto byte = static_cast<std::uint64_t>(rest_.front());
      rest_ = rest_.subspan(1);
      if (shift == 63 && byte > 1) return failed<std::uint64_t>();
      value |= (byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) {
        if (byte == 0 && shift != 0) return failed<std::uint64_t>();  // one value, one encoding
        return value;
      }
    }
  }
  /// A varint that must not exceed `max`.
  std::uint64_t varint_max(std::uint64_t max) {
    const std::uint64_t value = varint();
    if (value > max) return failed<std::uint64_t>();
    return value;
  }
  std::span<const std::byte> raw(std::size_t size) {
    if (rest_.size() < size) return failed<std::span<const std::byte>>();
    auto bytes = rest_.first(size);
    rest_ = rest_.subspan(size);
    return bytes;
  }
  template <std::size_t N>
  std::array<std::uint8_t, N> array() {
    std::array<std::uint8_t, N> out{};
    auto bytes = raw(N);
    if (!bytes.empty()) std::memcpy(out.data(), bytes.data(), N);
    return out;
  }
  std::span<const std::byte> sized(std::size_t max) {
    const auto size = static_cast<std::size_t>(varint_max(max));
    return raw(size);
  }
  std::string_view sized_view(std::size_t max) {
    auto bytes = sized(max);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  void fail() {
    ok_ = false;
    rest_ = {};
  }
  /// Fails; gives what reads as nothing.
  template <class T>
  [[nodiscard]] T failed() {
    fail();
    return T{};
  }
  [[nodiscard]] bool ok() const { return ok_; }
  /// Everything was read and nothing failed.
  [[nodiscard]] bool done() const { return ok_ && rest_.empty(); }
  [[nodiscard]] std::size_t remaining() const { return rest_.size(); }
  [[nodiscard]] const std::byte* position() const { return rest_.data(); }

 private:
  std::span<const std::byte> rest_;
  bool ok_ = true;
};

}  // namespace paxos
