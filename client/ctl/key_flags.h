#pragma once

#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "client/command_line.h"

/// What the verbs of `paxosctl key` share.
namespace client {

inline constexpr const char* key_program = "paxosctl key";

/// Nothing was done, for sure; it is not known whether. Give the exit code.
int refuse_key(bool json, const std::string& why);
int unknown_key(bool json, const std::string& why);

/// The flags that each of these verbs has: --timeout, --json.
class KeyFlags : public VerbFlags {
 public:
  KeyFlags(const std::string& verb, const std::string& about);
  void says_who() { value("by", "NAME", "who does it (default: the login name)"); }
  /// Of who does it.
  [[nodiscard]] tl::expected<std::string, std::string> by() const;
};

/// `key rotate`, `renew` and `retire` (ctl_key_rotate.cc).
int ctl_key_rotate(const std::vector<std::string>& words);
int ctl_key_renew(const std::vector<std::string>& words);
int ctl_key_retire(const std::vector<std::string>& words);

}  // namespace client
