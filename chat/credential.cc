#include "chat/credential.h"

#include <array>
#include <charconv>
#include <cstdio>

namespace chat {

namespace {
constexpr std::array<const char*, roles_end> role_names{"secret", "reader", "client", "operator"};
}  // namespace

const char* to_string(Role role) {
  const auto number = static_cast<std::uint8_t>(role);
  return number < roles_end ? role_names[number] : "unknown";
}

std::optional<Role> parse_role(std::string_view text) {
  for (std::uint8_t i = 1; i < roles_end; ++i)
    if (text == role_names[i]) return static_cast<Role>(i);
  return std::nullopt;
}

std::string key_id_text(std::uint32_t id) {
  std::array<char, 9> out{};
  std::snprintf(out.data(), out.size(), "%08x", static_cast<unsigned>(id));
  return out.data();
}

std::optional<std::uint32_t> parse_key_id(std::string_view text) {
  std::uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  if (text.size() != 8 || error != std::errc{} || end != text.data() + text.size() || id == 0)
    return std::nullopt;
  return id;
}

std::string to_string(const Credential& credential) {
  if (credential.is_secret()) return "the cluster's secret";
  return std::string("the ") + to_string(credential.role) + " key " + key_id_text(credential.id);
}

}  // namespace chat
