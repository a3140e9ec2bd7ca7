#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "chat/credential.h"
#include "chat/machine.h"

namespace chat {

/// A key that was issued, as the log has it. It stays when it is revoked: messages name it.
struct AccessKey {
  Credential whose;
  std::string name;  ///< under which alone it posts; empty: under any that is nobody's
  std::int64_t issued_ms = 0;
  std::string issued_by;
  std::int64_t revoked_ms = 0;  ///< 0: it is not
  std::string revoked_by;
  /// A hash of what only who had it issued knows: whoever shows that is told the key.
  std::array<std::uint64_t, 2> claim{};
  [[nodiscard]] bool revoked() const { return revoked_ms != 0; }
  friend bool operator==(const AccessKey&, const AccessKey&) = default;
};

/// Whether people without a name of their own may post, and who said so.
struct OpenNames {
  bool allowed = true;
  std::int64_t time_ms = 0;  ///< 0: nobody said anything
  std::string by;
  friend bool operator==(const OpenNames&, const OpenNames&) = default;
};

/// Which secrets are good, by their names (net/seal.h).
struct SecretNames {
  std::uint64_t speaks = 0;  ///< under which replicas speak to each other; 0: the one that they have
  std::uint64_t before = 0;  ///< good as well; 0: none
  std::vector<std::uint64_t> retired;  ///< not any more, the last few
  friend bool operator==(const SecretNames&, const SecretNames&) = default;
};

/// All keys that were issued, and whose the names are. Part of the machine: the same on every replica.
/// A name belongs to the last key that was issued for it, and to nobody else, revoked or not; names that look
/// alike (chat/lookalike.h) are one name. Loop thread only; bounded by limits::access_keys_max.
class AccessTable {
 public:
  [[nodiscard]] const AccessKey* find(std::uint32_t id) const;
  /// The secret, or a key that was issued in this role and is not revoked.
  [[nodiscard]] bool live(const Credential& whose) const;
  /// Why it is not, for people: it was revoked, or is not known here; empty: it is live.
  [[nodiscard]] std::string why_not_live(const Credential& whose) const;
  /// The key that this name, or one that looks like it, belongs to; nullptr: it is nobody's.
  [[nodiscard]] const AccessKey* owner(std::string_view name) const;
  /// What becomes of a post under this name by this key: done, name_bound, name_owned or names_closed.
  /// Requires that the key is live.
  [[nodiscard]] Verdict may_post_as(const Credential& whose, std::string_view name) const;
  /// Of who names itself without posting: done, name_bound or name_owned.
  [[nodiscard]] Verdict may_call_itself(const Credential& whose, std::string_view name) const;
  /// Whether the name that it posts under is its own.
  [[nodiscard]] bool proves_name(const Credential& whose) const;

  /// done, key_exists, access_full. The same again is fine.
  [[nodiscard]] Verdict issue(AccessKey key);
  /// done, no_such_key. Again is fine, and changes nothing.
  [[nodiscard]] Verdict revoke(std::uint32_t id, std::int64_t time_ms, std::string_view by);
  void set_open_names(OpenNames open) { open_ = std::move(open); }
  [[nodiscard]] const OpenNames& open_names() const { return open_; }
  /// done, rotation_open. Again is fine.
  [[nodiscard]] Verdict rotate(std::uint64_t secret, std::uint64_t before);
  /// done, no_rotation. Again is fine.
  [[nodiscard]] Verdict retire(std::uint64_t before);
  [[nodiscard]] const SecretNames& secrets() const { return secrets_; }
  void restore(SecretNames secrets) { secrets_ = std::move(secrets); }
  [[nodiscard]] std::size_t size() const { return keys_.size(); }
  /// By id, from this one on.
  [[nodiscard]] std::map<std::uint32_t, AccessKey>::const_iterator from(std::uint32_t id) const {
    return keys_.lower_bound(id);
  }
  [[nodiscard]] std::map<std::uint32_t, AccessKey>::const_iterator end() const { return keys_.end(); }

  /// As its row said it. False: it can't be.
  [[nodiscard]] bool restore(AccessKey key);

 private:
  void own(const AccessKey& key);

  std::map<std::uint32_t, AccessKey> keys_;
  std::unordered_map<std::string, std::uint32_t> names_;  ///< by what a name looks like
  OpenNames open_;
  SecretNames secrets_;
};

/// Values of the rows 'i': docs/ROWS.md.
[[nodiscard]] std::string encode_access_key(const AccessKey& key);
[[nodiscard]] std::optional<AccessKey> decode_access_key(std::uint32_t id, std::string_view value);
[[nodiscard]] std::string encode_secrets(const SecretNames& secrets);
[[nodiscard]] std::optional<SecretNames> decode_secrets(std::string_view value);
[[nodiscard]] std::string encode_open_names(const OpenNames& open);
[[nodiscard]] std::optional<OpenNames> decode_open_names(std::string_view value);

}  // namespace chat
