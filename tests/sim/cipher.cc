#include "net/cipher.h"

#include <array>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

/// A cipher as the simulator models it: nothing is hidden, but no byte of head or text, no nonce and no key
/// may differ. The real one would take a tenth of its time.
[[gnu::used]] static const char cipher_marker[] =
    "this cipher hides nothing: never ship it";  // tests/mutants/shipped.py

namespace net::cipher {

namespace {

std::array<std::byte, tag_bytes> tag_of(const void* plain, std::size_t size, const void* head,
                                        std::size_t head_size, const Nonce& nonce, const Key& key) {
  const std::uint64_t seed = XXH3_64bits_withSeed(
      head, head_size, XXH3_64bits_withSeed(nonce.data(), nonce.size(), XXH3_64bits(key.data(), key.size())));
  const XXH128_hash_t hash = XXH3_128bits_withSeed(plain, size, seed);
  std::array<std::byte, tag_bytes> tag;
  std::memcpy(tag.data(), &hash.low64, 8);
  std::memcpy(tag.data() + 8, &hash.high64, 8);
  return tag;
}

}  // namespace

void encrypt(std::byte* sealed, std::string_view plain, std::string_view head, const Nonce& nonce,
             const Key& key) {
  const auto tag = tag_of(plain.data(), plain.size(), head.data(), head.size(), nonce, key);
  if (!plain.empty()) std::memcpy(sealed, plain.data(), plain.size());
  std::memcpy(sealed + plain.size(), tag.data(), tag.size());
}

bool decrypt(std::byte* plain, std::span<const std::byte> sealed, std::span<const std::byte> head,
             const Nonce& nonce, const Key& key) {
  const std::size_t size = sealed.size() - tag_bytes;
  const auto tag = tag_of(sealed.data(), size, head.data(), head.size(), nonce, key);
  if (std::memcmp(tag.data(), sealed.data() + size, tag.size()) != 0) return false;
  if (size != 0) std::memcpy(plain, sealed.data(), size);
  return true;
}

}  // namespace net::cipher
