#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// Under which key somebody speaks. The cluster's secret lies on replicas; every other key is derived from
/// it, its role and its id (net/seal.h), so that whoever holds one can say neither more than its role allows
/// nor anything under another key.
namespace chat {

/// What the holder of a key may do. Persisted and on the wire: numbers are never reused.
enum class Role : std::uint8_t {
  secret = 0,    ///< the cluster's secret itself: a replica, and whoever holds a copy of it
  reader = 1,    ///< history, follow, rooms, status
  client = 2,    ///< that, and posts; under the key's name, where it has one
  operates = 3,  ///< that, and all that `paxosctl` does
};
inline constexpr std::uint8_t roles_end = 4;
/// "secret", "reader", "client", "operator".
[[nodiscard]] const char* to_string(Role role);
/// Of a key that can be issued: not the secret.
[[nodiscard]] std::optional<Role> parse_role(std::string_view text);

/// Always: the id is 0 for the secret, and for nothing else.
struct Credential {
  Role role = Role::secret;
  std::uint32_t id = 0;
  friend auto operator<=>(const Credential&, const Credential&) = default;
  [[nodiscard]] bool is_secret() const { return role == Role::secret; }
  [[nodiscard]] bool may_post() const { return role != Role::reader; }
  [[nodiscard]] bool operates() const { return role == Role::secret || role == Role::operates; }
  [[nodiscard]] bool valid() const {
    return static_cast<std::uint8_t>(role) < roles_end && is_secret() == (id == 0);
  }
};
/// A key's id as people see it: eight hexadecimal digits.
[[nodiscard]] std::string key_id_text(std::uint32_t id);
[[nodiscard]] std::optional<std::uint32_t> parse_key_id(std::string_view text);
/// "the client key 3fa9c210", "the cluster's secret".
[[nodiscard]] std::string to_string(const Credential& credential);

}  // namespace chat
