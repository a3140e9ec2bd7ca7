#include "chat/access.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "chat/client_messages.h"
#include "chat/lookalike.h"
#include "chat/rows.h"
#include "paxos/coding.h"

namespace chat {

namespace {

/// What a name looks like: one or two keys, any of which two names have in common when they look alike. A
/// name of which nobody sees anything has none.
std::vector<std::string> looks_of(std::string_view name) {
  std::vector<std::string> out;
  if (name.empty()) return out;
  LookalikeKeys keys = lookalike_keys(name);
  if (!keys.folded.empty()) out.push_back(std::move(keys.folded));
  if (!keys.shape.empty() && (out.empty() || out.front() != keys.shape)) out.push_back(std::move(keys.shape));
  return out;
}

}  // namespace

const AccessKey* AccessTable::find(std::uint32_t id) const {
  const auto at = keys_.find(id);
  return at == keys_.end() ? nullptr : &at->second;
}

bool AccessTable::live(const Credential& whose) const {
  if (whose.is_secret()) return true;
  const AccessKey* key = find(whose.id);
  return key != nullptr && key->whose == whose && !key->revoked();
}

std::string AccessTable::why_not_live(const Credential& whose) const {
  if (live(whose)) return {};
  const AccessKey* key = find(whose.id);
  return key != nullptr && key->whose == whose
             ? to_string(whose) + " was revoked"
             : "this replica does not know " + to_string(whose) + ": it was never issued, or only just now";
}

const AccessKey* AccessTable::owner(std::string_view name) const {
  if (names_.empty() || name.empty()) return nullptr;
  for (const std::string& look : looks_of(name))
    if (const auto at = names_.find(look); at != names_.end()) return find(at->second);
  return nullptr;
}

Verdict AccessTable::may_call_itself(const Credential& whose, std::string_view name) const {
  if (!whose.is_secret())
    if (const AccessKey* key = find(whose.id); key != nullptr && !key->name.empty())
      return name == key->name ? Verdict::done : Verdict::name_bound;
  return owner(name) == nullptr ? Verdict::done : Verdict::name_owned;
}

Verdict AccessTable::may_post_as(const Credential& whose, std::string_view name) const {
  const Verdict verdict = may_call_itself(whose, name);
  if (verdict == Verdict::done && !open_.allowed && !proves_name(whose)) return Verdict::names_closed;
  return verdict;
}

bool AccessTable::proves_name(const Credential& whose) const {
  if (whose.is_secret()) return false;
  const AccessKey* key = find(whose.id);
  return key != nullptr && !key->name.empty();
}

void AccessTable::own(const AccessKey& key) {
  for (std::string& look : looks_of(key.name)) {
    const auto [at, fresh] = names_.try_emplace(std::move(look), key.whose.id);
    // Of keys that are revoked any will do; one that is not is the name's.
    if (!fresh && !key.revoked()) at->second = key.whose.id;
  }
}

Verdict AccessTable::issue(AccessKey key) {
  if (const AccessKey* known = find(key.whose.id))
    return known->whose == key.whose && known->name == key.name && known->claim == key.claim &&
                   !known->revoked()
               ? Verdict::done
               : Verdict::key_exists;
  for (const std::string& look : looks_of(key.name))
    if (const auto at = names_.find(look); at != names_.end() && !keys_.at(at->second).revoked())
      return Verdict::key_exists;
  if (keys_.size() >= limits::access_keys_max) return Verdict::access_full;
  const auto at = keys_.emplace(key.whose.id, std::move(key)).first;
  own(at->second);
  return Verdict::done;
}

Verdict AccessTable::revoke(std::uint32_t id, std::int64_t time_ms, std::string_view by) {
  const auto at = keys_.find(id);
  if (at == keys_.end()) return Verdict::no_such_key;
  if (at->second.revoked()) return Verdict::done;
  at->second.revoked_ms = std::max<std::int64_t>(time_ms, 1);
  at->second.revoked_by = by;
  return Verdict::done;
}

Verdict AccessTable::rotate(std::uint64_t secret, std::uint64_t before) {
  if (secrets_.speaks == secret && secrets_.before == before) return Verdict::done;
  const auto was_retired = [&](std::uint64_t name) {
    return std::find(secrets_.retired.begin(), secrets_.retired.end(), name) != secrets_.retired.end();
  };
  const bool retired = was_retired(secret) || was_retired(before) || secrets_.speaks == secret;
  // (What the log named last may be nobody's any more: all key files may have been changed by hand.)
  if (secrets_.before != 0 || retired) return Verdict::rotation_open;
  secrets_.speaks = secret;
  secrets_.before = before;
  return Verdict::done;
}

Verdict AccessTable::retire(std::uint64_t before) {
  if (!secrets_.retired.empty() && secrets_.retired.back() == before && secrets_.before == 0)
    return Verdict::done;
  if (secrets_.before != before) return Verdict::no_rotation;
  secrets_.before = 0;
  secrets_.retired.push_back(before);
  if (secrets_.retired.size() > limits::secrets_retired_max) secrets_.retired.erase(secrets_.retired.begin());
  return Verdict::done;
}

bool AccessTable::restore(AccessKey key) {
  const auto [at, fresh] = keys_.try_emplace(key.whose.id, std::move(key));
  if (fresh) own(at->second);
  return fresh;
}

std::string refused_to(const Credential& whose, const AccessTable& access, const OperatorCommand& command) {
  // Of how it is, a replica that knows no keys yet tells whoever has one: else nobody could ask why.
  const AccessKey* key = whose.is_secret() ? nullptr : access.find(whose.id);
  if (std::holds_alternative<StatusRequest>(command) && (key == nullptr || !key->revoked())) return {};
  if (std::string why = access.why_not_live(whose); !why.empty()) return why;
  // Who is told a new secret could be a replica: that takes the secret that there is.
  if (std::holds_alternative<AddSecretRequest>(command) && !whose.is_secret())
    return to_string(whose) + " may not do that: it takes the cluster's secret";
  // Everybody renews his own key.
  if (whose.operates() || std::holds_alternative<HashRequest>(command) ||
      std::holds_alternative<RenewKeyRequest>(command))
    return {};
  return to_string(whose) + " may not do that: it takes an operator's key, or the cluster's secret";
}

std::string encode_access_key(const AccessKey& key) {
  std::string out;
  paxos::ByteWriter w(out);
  w.fixed(rows::row_version);
  w.fixed(static_cast<std::uint8_t>(key.whose.role));
  w.sized(key.name);
  w.fixed(static_cast<std::uint64_t>(key.issued_ms));
  w.sized(key.issued_by);
  w.fixed(static_cast<std::uint64_t>(key.revoked_ms));
  w.sized(key.revoked_by);
  w.fixed(key.claim[0]);
  w.fixed(key.claim[1]);
  return out;
}

std::optional<AccessKey> decode_access_key(std::uint32_t id, std::string_view value) {
  paxos::ByteReader r(value);
  const auto version = r.fixed<std::uint8_t>();
  AccessKey key;
  key.whose = {static_cast<Role>(r.fixed<std::uint8_t>()), id};
  key.name = r.sized_view(limits::name_bytes_max);
  key.issued_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  key.issued_by = r.sized_view(limits::name_bytes_max);
  key.revoked_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  key.revoked_by = r.sized_view(limits::name_bytes_max);
  key.claim = {r.fixed<std::uint64_t>(), 0};
  key.claim[1] = r.fixed<std::uint64_t>();
  if (!r.done() || version != rows::row_version || !key.whose.valid() || key.whose.is_secret())
    return std::nullopt;
  return key;
}

std::string encode_secrets(const SecretNames& secrets) {
  std::string out;
  paxos::ByteWriter w(out);
  w.fixed(rows::row_version);
  w.fixed(secrets.speaks);
  w.fixed(secrets.before);
  w.varint(secrets.retired.size());
  for (const std::uint64_t name : secrets.retired) w.fixed(name);
  return out;
}

std::optional<SecretNames> decode_secrets(std::string_view value) {
  paxos::ByteReader r(value);
  SecretNames secrets;
  const auto version = r.fixed<std::uint8_t>();
  secrets.speaks = r.fixed<std::uint64_t>();
  secrets.before = r.fixed<std::uint64_t>();
  for (std::uint64_t left = r.varint_max(limits::secrets_retired_max); left > 0 && r.ok(); --left)
    secrets.retired.push_back(r.fixed<std::uint64_t>());
  if (!r.done() || version != rows::row_version || secrets.speaks == 0) return std::nullopt;
  return secrets;
}

std::string encode_open_names(const OpenNames& open) {
  std::string out;
  paxos::ByteWriter w(out);
  w.fixed(rows::row_version);
  w.fixed(static_cast<std::uint8_t>(open.allowed ? 1 : 0));
  w.fixed(static_cast<std::uint64_t>(open.time_ms));
  w.sized(open.by);
  return out;
}

std::optional<OpenNames> decode_open_names(std::string_view value) {
  paxos::ByteReader r(value);
  OpenNames open;
  const auto version = r.fixed<std::uint8_t>();
  const auto allowed = r.fixed<std::uint8_t>();
  open.allowed = allowed == 1;
  open.time_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  open.by = r.sized_view(limits::name_bytes_max);
  if (!r.done() || version != rows::row_version || allowed > 1) return std::nullopt;
  return open;
}

}  // namespace chat
