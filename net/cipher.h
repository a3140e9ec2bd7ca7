#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

/// The authenticated cipher under net/seal: ChaCha20-Poly1305 (RFC 8439), which libsodium computes. A file of
/// its own, so that the simulator can put a model in its place (tests/sim/cipher.cc): it looks for faults of
/// ours, not of the cipher.
namespace net::cipher {

inline constexpr std::size_t key_bytes = 32;
inline constexpr std::size_t nonce_bytes = 12;
inline constexpr std::size_t tag_bytes = 16;
using Key = std::array<std::uint8_t, key_bytes>;
using Nonce = std::array<std::uint8_t, nonce_bytes>;

/// Writes plain.size() + tag_bytes bytes to `sealed`. `head` is authenticated, too. A nonce must never be
/// used twice with a key.
void encrypt(std::byte* sealed, std::string_view plain, std::string_view head, const Nonce& nonce,
             const Key& key);

/// Writes sealed.size() - tag_bytes bytes to `plain`; false: the tag does not fit, and `plain` is worth
/// nothing. Requires: sealed.size() >= tag_bytes.
[[nodiscard]] bool decrypt(std::byte* plain, std::span<const std::byte> sealed,
                           std::span<const std::byte> head, const Nonce& nonce, const Key& key);

}  // namespace net::cipher
