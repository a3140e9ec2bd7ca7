#include <fmt/format.h>
#include <sodium.h>

#include <array>
#include <cstdlib>
#include <map>
#include <set>

#include "client/ctl/ctl.h"
#include "client/ctl/key_flags.h"
#include "client/session/deed.h"
#include "client/terminal/say.h"
#include "net/seal.h"

/// key rotate, renew, retire: another secret for the cluster while it runs. Whoever recorded all of it and
/// gets the earlier secret later has nothing of the new one: it goes to each replica, and a renewed key to
/// its holder, sealed for a public key of the moment (libsodium's sealed boxes). Who has the earlier secret
/// at that moment, and sits between the two, can: docs/SECURITY.md.
namespace client {

using namespace std::chrono_literals;

namespace {

using SecretBytes = std::array<std::uint8_t, 32>;
constexpr std::size_t box_bytes = crypto_box_SEALBYTES + sizeof(SecretBytes);

struct RotateWish {
  std::filesystem::path output;
  std::string by;
  bool json = false;
  std::chrono::milliseconds timeout{10'000};
};

/// What a replica says of the secrets, by their names.
struct SecretsOf {
  std::string speaks, before, missing;
  std::vector<std::string> good, old_users;
};
SecretsOf secrets_of(const Json& status) {
  SecretsOf out;
  const auto secret = status.find("secret");
  if (secret == status.end() || !secret->is_object()) return out;
  out.speaks = text_in(*secret, "speaks");
  out.before = text_in(*secret, "before");
  out.missing = text_in(*secret, "missing");
  const auto texts = [&](const char* field, std::vector<std::string>& into) {
    const auto list = secret->find(field);
    if (list == secret->end() || !list->is_array()) return;
    for (const Json& one : *list)
      if (one.is_string()) into.push_back(one.get<std::string>());
  };
  texts("good", out.good);
  texts("old_users", out.old_users);
  return out;
}

/// Of all members; the error names those that do not answer.
net::Task<tl::expected<std::map<std::uint8_t, SecretsOf>, std::string>> look_at_secrets(
    Connection& c, std::chrono::milliseconds timeout) {
  const std::vector<ReplicaStatus> replicas = co_await ask_all(c, timeout);
  std::map<std::uint8_t, SecretsOf> out;
  std::string silent;
  for (const ReplicaStatus& r : replicas) {
    if (!c.config().member(r.id)) continue;
    if (!r.json || r.json->find("secret") == r.json->end())
      silent += (silent.empty() ? "" : ", ") + std::to_string(r.id.n);
    else
      out.emplace(r.id.n, secrets_of(*r.json));
  }
  if (!silent.empty())
    co_return tl::make_unexpected(
        fmt::format("every member has to be there and of this version, and replica {} does not answer so: "
                    "see `paxosctl status`",
                    silent));
  co_return out;
}

std::uint64_t secret_name(const std::string& hex) { return std::strtoull(hex.c_str(), nullptr, 16); }

/// Hands the secret to one replica, sealed for it. Empty: it has it on its disk.
net::Task<std::string> hand_over(Connection& c, paxos::ReplicaId to, const config::ClusterKey& secret,
                                 std::chrono::milliseconds timeout) {
  const auto none = [&] { return fmt::format("no answer from replica {}", to.n); };
  const auto status = co_await ask_status(c, to, timeout);
  if (!status.json) co_return none();
  auto answer = co_await c.ask(to, chat::SecretDoorRequest{}, {}, timeout);
  if (!answer) co_return none();
  const auto* door = std::get_if<chat::SecretDoorReply>(&*answer);
  if (door == nullptr) {
    const auto* refused = std::get_if<chat::DoneReply>(&*answer);
    co_return refused != nullptr ? refused->refused : fmt::format("replica {} is of another version", to.n);
  }
  chat::AddSecretRequest request{.sealed = std::string(box_bytes, '\0')};
  if (crypto_box_seal(reinterpret_cast<unsigned char*>(request.sealed.data()), secret.bytes.data(),
                      secret.bytes.size(), door->door.data()) != 0)
    co_return fmt::format("replica {} gave no public key", to.n);
  answer = co_await c.ask(to, std::move(request), status.target(), timeout);
  if (!answer) co_return none();
  const auto* done = std::get_if<chat::DoneReply>(&*answer);
  if (done == nullptr) co_return fmt::format("replica {} is of another version", to.n);
  co_return done->refused.empty() ? std::string() : fmt::format("replica {}: {}", to.n, done->refused);
}

/// The new secret: that of the file, where an earlier attempt wrote it, or a fresh one, which is then in it.
tl::expected<config::ClusterKey, std::string> new_secret(const std::filesystem::path& file) {
  std::error_code error;
  if (std::filesystem::exists(file, error)) {
    auto key = config::load_key(file);
    if (key && !key->is_secret())
      return tl::make_unexpected(fmt::format("{} holds a {}'s key", file.string(), key->role));
    return key;
  }
  config::ClusterKey key;
  randombytes_buf(key.bytes.data(), key.bytes.size());
  std::array<char, 2 * sizeof(SecretBytes) + 2> hex{};
  sodium_bin2hex(hex.data(), hex.size() - 1, key.bytes.data(), key.bytes.size());
  hex[2 * sizeof(SecretBytes)] = '\n';
  const auto written = config::write_key_file(file, std::string(hex.data(), hex.size() - 1), false);
  sodium_memzero(hex.data(), hex.size());
  if (!written) return tl::make_unexpected(written.error());
  return key;
}

net::Task<int> rotate(Connection& c, RotateWish wish) {
  const auto before = co_await look_at_secrets(c, wish.timeout);
  if (!before) co_return unknown_key(wish.json, "nothing was changed: " + before.error());
  const std::string& old = before->begin()->second.speaks;
  for (const auto& [id, held] : *before)
    if (held.speaks != old || !held.before.empty())
      co_return refuse_key(wish.json,
                           "nothing was changed: the secret is changing already: `paxosctl key retire` ends "
                           "the earlier one");
  const auto secret = new_secret(wish.output);
  if (!secret) co_return refuse_key(wish.json, "nothing was changed: " + secret.error());
  const net::Fingerprint name = net::fingerprint(net::Secret(secret->bytes));
  if (net::to_string_fingerprint(name) == old)
    co_return refuse_key(wish.json, fmt::format("nothing was changed: {} holds the secret that is in use",
                                                wish.output.string()));
  for (const auto& [id, held] : *before) {
    const std::string why = co_await hand_over(c, paxos::ReplicaId{id}, *secret, wish.timeout);
    if (!why.empty())
      co_return unknown_key(
          wish.json, fmt::format("{}. Nobody speaks under the new secret yet: say the same again, with "
                                 "the same file",
                                 why));
    if (!wish.json) say(stderr, "replica {} has the new secret\n", id);
  }
  const chat::SetAccess access{.kind = chat::SetAccess::Kind::rotate,
                               .whose = {},
                               .name = {},
                               .by = wish.by,
                               .secret = name,
                               .before = secret_name(old)};
  const Deed deed = co_await carry_deed(
      c, [&](HubSession& session) { session.set_access(access); }, wish.timeout, "it is perhaps done",
      "nothing was changed");
  if (deed.fate == Deed::Fate::unknown) co_return unknown_key(wish.json, deed.why);
  if (deed.fate == Deed::Fate::refused) co_return refuse_key(wish.json, "nothing was changed: " + deed.why);
  if (wish.json) {
    print_json({{"secret", net::to_string_fingerprint(name)},
                {"before", old},
                {"file", wish.output.string()},
                {"slot", deed.message.slot.n}});
    co_return config::exit_fine;
  }
  say(stdout, "rotated: replicas speak under the secret {} from slot {} on; {} is good until it is retired\n",
      net::to_string_fingerprint(name), deed.message.slot.n, old);
  complain(key_program,
           fmt::format(
               "next: put {} in the place of the key_file on every replica's machine; have each key renewed "
               "(`paxosctl key renew -o FILE`); then `paxosctl key retire`",
               wish.output.string()),
           0);
  co_return config::exit_fine;
}

}  // namespace

int ctl_key_rotate(const Words& words) {
  KeyFlags flags("rotate",
                 "Gives the replicas a new secret while they run; the one before stays good until `retire`.");
  flags.value("output", "FILE", "where the new secret goes (mode 0600); one that is there is taken", 'o');
  flags.says_who();
  if (const auto code = flags.parse_without_arguments(words)) return *code;
  const auto timeout = flags.timeout(10s);
  if (const auto code = flags.first_fault(timeout)) return *code;
  if (!flags.get("output")) return flags.wrong_usage("-o FILE is missing: where the new secret goes");
  auto by = flags.by();
  if (!by) return refuse_key(flags.has("json"), "nothing was changed: " + by.error());
  RotateWish wish{
      .output = *flags.get("output"), .by = std::move(*by), .json = flags.has("json"), .timeout = *timeout};
  return flags.with_cluster([&](Connection& c) { return rotate(c, std::move(wish)); });
}

namespace {

net::Task<int> retire(Connection& c, RotateWish wish, bool force) {
  const auto now = co_await look_at_secrets(c, wish.timeout);
  if (!now) co_return unknown_key(wish.json, "nothing was changed: " + now.error());
  const std::string old = now->begin()->second.before;
  std::set<std::string> users;
  for (const auto& [id, held] : *now) {
    if (held.before.empty() || held.before != old)
      co_return refuse_key(wish.json,
                           "nothing is to be retired: no secret is changing on every replica "
                           "(`paxosctl key rotate` begins it)");
    if (!held.missing.empty() || held.speaks == old)
      co_return refuse_key(
          wish.json, fmt::format("nothing was changed: replica {} does not speak under the new secret", id));
    users.insert(held.old_users.begin(), held.old_users.end());
  }
  if (const auto own = config::load_key(c.config().key_file);
      own && own->is_secret() && net::to_string_fingerprint(net::fingerprint(net::Secret(own->bytes))) == old)
    co_return refuse_key(wish.json,
                         fmt::format("nothing was changed: {} holds the secret that is to be retired: say it "
                                     "under the new one (--key-file)",
                                     c.config().key_file.string()));
  if (!users.empty() && !force) {
    std::string all;
    for (const std::string& host : users) all += (all.empty() ? "" : ", ") + host;
    co_return refuse_key(
        wish.json,
        fmt::format("nothing was changed: in the last quarter of an hour somebody on {} spoke under the "
                    "secret before, or a key derived from it. Have it renewed there, or --force: "
                    "then it opens nothing any more",
                    all));
  }
  const chat::SetAccess access{.kind = chat::SetAccess::Kind::retire,
                               .whose = {},
                               .name = {},
                               .by = wish.by,
                               .secret = 0,
                               .before = secret_name(old)};
  const Deed deed = co_await carry_deed(
      c, [&](HubSession& session) { session.set_access(access); }, wish.timeout, "it is perhaps done",
      "nothing was changed");
  if (deed.fate == Deed::Fate::unknown) co_return unknown_key(wish.json, deed.why);
  if (deed.fate == Deed::Fate::refused) co_return refuse_key(wish.json, "nothing was changed: " + deed.why);
  if (wish.json)
    print_json({{"retired", old}, {"slot", deed.message.slot.n}});
  else
    say(stdout, "retired: the secret {} and all keys that were derived from it, from slot {} on\n", old,
        deed.message.slot.n);
  co_return config::exit_fine;
}

}  // namespace

int ctl_key_retire(const Words& words) {
  KeyFlags flags("retire",
                 "Ends the secret before the last `rotate`, and all keys that were derived from it.");
  flags.flag("force", "though somebody spoke under it lately");
  flags.says_who();
  if (const auto code = flags.parse_without_arguments(words)) return *code;
  const auto timeout = flags.timeout(10s);
  if (const auto code = flags.first_fault(timeout)) return *code;
  auto by = flags.by();
  if (!by) return refuse_key(flags.has("json"), "nothing was changed: " + by.error());
  RotateWish wish{.output = {}, .by = std::move(*by), .json = flags.has("json"), .timeout = *timeout};
  return flags.with_cluster([&](Connection& c) { return retire(c, std::move(wish), flags.has("force")); });
}

namespace {

/// Sealed for a key pair of this moment, so that nobody who recorded it and gets the old key later has the
/// new one.
net::Task<int> renew(Connection& c, RotateWish wish, bool force) {
  if (c.whose().is_secret())
    co_return refuse_key(wish.json,
                         "nothing to renew: this speaks under the cluster's secret itself; `paxosctl key "
                         "rotate` wrote the new one");
  const auto leader = co_await find_leader(c, wish.timeout);
  if (!leader)
    co_return unknown_key(wish.json, "nothing was renewed: no leader answers: see `paxosctl status`");
  chat::RenewKeyRequest request;
  net::Secret own;
  crypto_box_keypair(request.door.data(), own.bytes().data());
  const SecretBytes door = request.door;
  auto answer = co_await c.ask(leader->id, std::move(request), {}, wish.timeout);
  if (!answer)
    co_return unknown_key(wish.json,
                          fmt::format("nothing was renewed: no answer from replica {}", leader->id.n));
  if (const auto* refused = std::get_if<chat::DoneReply>(&*answer))
    co_return refuse_key(wish.json, "nothing was renewed: " + refused->refused);
  const auto* renewed = std::get_if<chat::RenewedKeyReply>(&*answer);
  config::ClusterKey key;
  key.role = chat::to_string(c.whose().role);
  key.id = c.whose().id;
  key.name = c.key_name();
  if (renewed == nullptr || renewed->sealed.size() != box_bytes ||
      crypto_box_seal_open(key.bytes.data(), reinterpret_cast<const unsigned char*>(renewed->sealed.data()),
                           renewed->sealed.size(), door.data(), own.data()) != 0)
    co_return refuse_key(wish.json, "nothing was renewed: the answer does not open");
  const auto written =
      config::write_key_file(wish.output, config::key_file_text(key, c.config().cluster), force);
  if (!written) co_return refuse_key(wish.json, "nothing was renewed: " + written.error());
  if (wish.json)
    print_json({{"key", chat::key_id_text(key.id)}, {"role", key.role}, {"file", wish.output.string()}});
  else
    say(stdout, "renewed: {} key {}, in {}\n", key.role, chat::key_id_text(key.id),
        printable(wish.output.string()));
  co_return config::exit_fine;
}

}  // namespace

int ctl_key_renew(const Words& words) {
  KeyFlags flags("renew",
                 "The same key, derived from the newest secret: what its holder does after `rotate`.");
  flags.value("output", "FILE", "where it goes (mode 0600)", 'o');
  flags.flag("force", "over another file of that name, also that of the key itself");
  if (const auto code = flags.parse_without_arguments(words)) return *code;
  const auto timeout = flags.timeout(10s);
  if (const auto code = flags.first_fault(timeout)) return *code;
  if (!flags.get("output")) return flags.wrong_usage("-o FILE is missing: where the renewed key goes");
  RotateWish wish{.output = *flags.get("output"), .by = {}, .json = flags.has("json"), .timeout = *timeout};
  return flags.with_cluster([&](Connection& c) { return renew(c, std::move(wish), flags.has("force")); });
}

}  // namespace client
