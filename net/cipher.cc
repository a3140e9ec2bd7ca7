#include "net/cipher.h"

#include <sodium.h>

#include "paxos/invariant.h"

namespace net::cipher {

static_assert(crypto_aead_chacha20poly1305_ietf_KEYBYTES == key_bytes);
static_assert(crypto_aead_chacha20poly1305_ietf_NPUBBYTES == nonce_bytes);
static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == tag_bytes);

void encrypt(std::byte* sealed, std::string_view plain, std::string_view head, const Nonce& nonce,
             const Key& key) {
  unsigned long long size = 0;
  crypto_aead_chacha20poly1305_ietf_encrypt(reinterpret_cast<unsigned char*>(sealed), &size,
                                            reinterpret_cast<const unsigned char*>(plain.data()),
                                            plain.size(), reinterpret_cast<const unsigned char*>(head.data()),
                                            head.size(), nullptr, nonce.data(), key.data());
  PAXOS_ASSERT(size == plain.size() + tag_bytes);
}

bool decrypt(std::byte* plain, std::span<const std::byte> sealed, std::span<const std::byte> head,
             const Nonce& nonce, const Key& key) {
  unsigned long long size = 0;
  return crypto_aead_chacha20poly1305_ietf_decrypt(
             reinterpret_cast<unsigned char*>(plain), &size, nullptr,
             reinterpret_cast<const unsigned char*>(sealed.data()), sealed.size(),
             reinterpret_cast<const unsigned char*>(head.data()), head.size(), nonce.data(), key.data()) == 0;
}

}  // namespace net::cipher
