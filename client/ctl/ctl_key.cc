#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <set>

#include "client/ctl/ctl.h"
#include "client/ctl/key_flags.h"
#include "client/session/deed.h"
#include "client/session/room_list.h"
#include "client/terminal/say.h"
#include "client/terminal/table.h"
#include "net/seal.h"

/// key: keys with roles (DESIGN.md section 6): issued, listed, revoked; and whether anybody may post without
/// one that has a name.
namespace client {

using namespace std::chrono_literals;

int refuse_key(bool json, const std::string& why) {
  if (json) print_json({{"refused", why}});
  return complain(key_program, why, config::exit_refused);
}

int unknown_key(bool json, const std::string& why) {
  if (json) print_json({{"unknown", why}});
  return complain(key_program, why, config::exit_unknown);
}

KeyFlags::KeyFlags(const std::string& verb, const std::string& about)
    : VerbFlags(std::string(key_program) + " " + verb, "PAXOSCTL", about) {
  value("timeout", "TIME", "give up after it (default: 10s)");
  flag("json", "one JSON object; listed, one for each key");
}

tl::expected<std::string, std::string> KeyFlags::by() const {
  auto name = person("by");
  if (!name) return name;
  for (std::string fault : {chat::validate_name(*name), chat::validate_visible_name(*name)})
    if (!fault.empty()) return tl::make_unexpected(std::move(fault));
  return name;
}

namespace {

// --- list ---

Json key_json(const chat::AccessKey& key) {
  Json out{{"key", chat::key_id_text(key.whose.id)},
           {"role", chat::to_string(key.whose.role)},
           {"name", nullptr},
           {"issued_ms", key.issued_ms},
           {"issued_by", key.issued_by},
           {"revoked", key.revoked()}};
  if (!key.name.empty()) out["name"] = key.name;
  if (key.revoked()) {
    out["revoked_ms"] = key.revoked_ms;
    out["revoked_by"] = key.revoked_by;
  }
  return out;
}

struct KeyList {
  std::vector<chat::AccessKey> keys;
  chat::OpenNames open;
};

/// By the leader, which has applied what was issued last. Nothing: why not.
net::Task<tl::expected<KeyList, std::string>> list_keys(Connection& c, std::chrono::milliseconds timeout) {
  const auto leader = co_await find_leader(c, timeout);
  if (!leader) co_return tl::make_unexpected(std::string("no leader answers: see `paxosctl status`"));
  KeyList out;
  for (std::uint32_t from = 0;;) {
    auto answer = co_await c.ask(leader->id, chat::AccessKeysRequest{from}, {}, timeout);
    if (!answer)
      co_return tl::make_unexpected(
          fmt::format("no answer from replica {}: see `paxosctl status`", leader->id.n));
    if (const auto* refused = std::get_if<chat::DoneReply>(&*answer))
      co_return tl::make_unexpected(refused->refused);
    auto* page = std::get_if<chat::AccessKeysReply>(&*answer);
    if (page == nullptr) co_return tl::make_unexpected(std::string("a replica of another version answered"));
    std::move(page->keys.begin(), page->keys.end(), std::back_inserter(out.keys));
    out.open = std::move(page->open);
    if (page->next <= from) break;
    from = page->next;
  }
  std::sort(out.keys.begin(), out.keys.end(), [](const auto& a, const auto& b) {
    return std::pair(a.issued_ms, a.whose.id) < std::pair(b.issued_ms, b.whose.id);
  });
  co_return out;
}

net::Task<int> show_keys(Connection& c, std::chrono::milliseconds timeout, bool json) {
  const auto found = co_await list_keys(c, timeout);
  if (!found) co_return unknown_key(json, found.error());
  if (json) {
    print_json({{"open_names", found->open.allowed}});
    for (const chat::AccessKey& key : found->keys) print_json(key_json(key));
    co_return config::exit_fine;
  }
  std::vector<std::vector<std::string>> table{{"key", "role", "posts as", "issued", "by", "revoked"}};
  for (const chat::AccessKey& key : found->keys)
    table.push_back(
        {chat::key_id_text(key.whose.id), chat::to_string(key.whose.role),
         !key.whose.may_post() ? "-"
         : key.name.empty()    ? "any name that is nobody's"
                               : printable_name(key.name),
         local_time(key.issued_ms), printable_name(key.issued_by),
         !key.revoked() ? "" : local_time(key.revoked_ms) + ", " + printable_name(key.revoked_by)});
  if (found->keys.empty())
    say(stdout, "no key was issued: everybody who has the cluster's secret may do everything\n");
  else
    say(stdout, "{}", Lines{table_text(table, "<<<<<<")});
  say(stdout, "{}\n",
      found->open.allowed ? "names that are nobody's are open: who has no name of his own may post under them"
                          : "only who has a key with a name posts (`paxosctl key open-names on` changes it)");
  co_return config::exit_fine;
}

int list_verb(const Words& words) {
  KeyFlags flags("list", "The keys that were issued, and whether others may post.");
  if (const auto code = flags.parse_without_arguments(words)) return *code;
  const auto timeout = flags.timeout(10s);
  if (const auto code = flags.first_fault(timeout)) return *code;
  return flags.with_cluster([&](Connection& c) { return show_keys(c, *timeout, flags.has("json")); });
}

// --- issue ---

struct IssueWish {
  chat::SetAccess access;
  std::filesystem::path output;
  bool force = false;
  bool json = false;
  std::chrono::milliseconds timeout{10'000};
};

/// What only this attempt knows (chat/access.h), in a file beside the key's place, so that an attempt that
/// was broken off goes on. It opens nothing.
tl::expected<config::ClusterKey, std::string> claim_of(const std::filesystem::path& file,
                                                       const chat::SetAccess& wanted,
                                                       const std::set<std::uint32_t>& used, Connection& c) {
  std::error_code error;
  if (std::filesystem::exists(file, error)) {
    auto claim = config::load_key(file);
    if (claim && (claim->role != chat::to_string(wanted.whose.role) || claim->name != wanted.name))
      return tl::make_unexpected(fmt::format(
          "{} is of an attempt to issue another key: say that again, or delete it", file.string()));
    return claim;
  }
  config::ClusterKey claim;
  randombytes_buf(claim.bytes.data(), claim.bytes.size());
  claim.role = chat::to_string(wanted.whose.role);
  claim.name = wanted.name;
  do {
    claim.id = static_cast<std::uint32_t>(c.random());
  } while (used.contains(claim.id));
  if (const auto written =
          config::write_key_file(file, config::key_file_text(claim, c.config().cluster), false);
      !written)
    return tl::make_unexpected(written.error());
  return claim;
}

/// The key, by a replica that has applied that it was issued.
net::Task<tl::expected<config::ClusterKey, std::string>> fetch_key(Connection& c,
                                                                   const config::ClusterKey& claim,
                                                                   std::chrono::milliseconds timeout) {
  const paxos::Time until = c.loop().now() + timeout;
  std::string why = "no leader answers: see `paxosctl status`";
  while (c.loop().now() < until) {
    const auto leader = co_await find_leader(c, timeout);
    if (!leader) break;
    auto answer = co_await c.ask(
        leader->id, chat::DeriveKeyRequest{{chat::parse_role(claim.role).value(), claim.id}, claim.bytes}, {},
        timeout);
    if (auto* derived = answer ? std::get_if<chat::DerivedKeyReply>(&*answer) : nullptr) {
      config::ClusterKey key = claim;
      key.bytes = derived->bytes;
      sodium_memzero(derived->bytes.data(), derived->bytes.size());
      co_return key;
    }
    const auto* refused = answer ? std::get_if<chat::DoneReply>(&*answer) : nullptr;
    why = refused != nullptr ? refused->refused : fmt::format("no answer from replica {}", leader->id.n);
    co_await c.loop().sleep(100ms);
  }
  co_return tl::make_unexpected(std::move(why));
}

net::Task<int> issue(Connection& c, IssueWish wish) {
  const auto found = co_await list_keys(c, wish.timeout);
  if (!found) co_return unknown_key(wish.json, "nothing was issued: " + found.error());
  std::set<std::uint32_t> used{0};
  for (const chat::AccessKey& key : found->keys) used.insert(key.whose.id);
  const std::filesystem::path beside = wish.output.string() + ".claim";
  const auto claim = claim_of(beside, wish.access, used, c);
  if (!claim) co_return refuse_key(wish.json, "nothing was issued: " + claim.error());
  wish.access.whose.id = claim->id;
  const auto hash = net::claim_of(claim->bytes);
  wish.access.secret = hash[0];
  wish.access.before = hash[1];

  const std::string again =
      fmt::format("say the same again: it goes on with {}, and issues no second one", beside.string());
  const Deed deed = co_await carry_deed(
      c, [&](HubSession& session) { session.set_access(wish.access); }, wish.timeout,
      "it is perhaps issued: " + again, "nothing was issued");
  const std::string id = chat::key_id_text(claim->id);
  std::error_code error;
  if (deed.fate == Deed::Fate::unknown) co_return unknown_key(wish.json, deed.why);
  if (deed.fate == Deed::Fate::refused) {
    std::filesystem::remove(beside, error);
    co_return refuse_key(
        wish.json,
        fmt::format("nothing was issued: {}{}", deed.why,
                    wish.access.name.empty() ? "" : fmt::format(" ({})", printable_name(wish.access.name))));
  }
  const auto key = co_await fetch_key(c, *claim, wish.timeout);
  if (!key)
    co_return unknown_key(wish.json, fmt::format("key {} is issued, and could not be fetched: {}. {}", id,
                                                 key.error(), "S" + again.substr(1)));
  if (const auto written =
          config::write_key_file(wish.output, config::key_file_text(*key, c.config().cluster), wish.force);
      !written)
    co_return unknown_key(wish.json, fmt::format("key {} is issued, and could not be kept: {}. {}", id,
                                                 written.error(), "S" + again.substr(1)));
  std::filesystem::remove(beside, error);
  if (wish.json) {
    Json out{{"key", id},
             {"role", key->role},
             {"name", nullptr},
             {"file", wish.output.string()},
             {"slot", deed.message.slot.n}};
    if (!key->name.empty()) out["name"] = key->name;
    print_json(out);
    co_return config::exit_fine;
  }
  say(stdout, "issued: {} key {}{}, in {}\n", key->role, id,
      key->name.empty() ? "" : fmt::format(" for {}", printable_name(key->name)),
      printable(wish.output.string()));
  complain(key_program,
           "whoever has the file is its holder: give it to that person or program alone, with a cluster.yaml "
           "whose key_file names it (or --key-file). The cluster's secret stays on replicas",
           0);
  co_return config::exit_fine;
}

int issue_verb(const Words& words) {
  KeyFlags flags("issue", "Makes a key for one person or program, and its file.");
  flags.value("role", "ROLE",
              "reader (history, follow, status), client (and posts) or operator (and all of paxosctl)");
  flags.value("name", "NAME",
              "it posts as NAME, and nobody else does; without: under any name that is nobody's");
  flags.value("output", "FILE", "where the key goes (mode 0600)", 'o');
  flags.flag("force", "over another file of that name");
  flags.says_who();
  if (const auto code = flags.parse_without_arguments(words)) return *code;
  IssueWish wish;
  wish.json = flags.has("json");
  wish.force = flags.has("force");
  if (!flags.get("role")) return flags.wrong_usage("--role is missing: reader, client or operator");
  const auto role = chat::parse_role(*flags.get("role"));
  if (!role)
    return flags.wrong_usage(
        fmt::format("--role '{}' is none of reader, client, operator", printable(*flags.get("role"))));
  if (!flags.get("output")) return flags.wrong_usage("-o FILE is missing: where the key goes");
  const auto timeout = flags.timeout(wish.timeout);
  if (const auto code = flags.first_fault(timeout)) return *code;
  wish.timeout = *timeout;
  wish.output = *flags.get("output");
  std::error_code error;
  if (!wish.force && std::filesystem::exists(wish.output, error))
    return refuse_key(wish.json,
                      fmt::format("nothing was issued: {} is there already; --force writes over it",
                                  printable(wish.output.string())));
  auto by = flags.by();
  if (!by) return refuse_key(wish.json, "nothing was issued: " + by.error());
  wish.access = {.kind = chat::SetAccess::Kind::issue,
                 .whose = {*role, 0},
                 .name = flags.get("name").value_or(""),
                 .by = std::move(*by)};
  if (flags.get("name") && wish.access.name.empty()) return flags.wrong_usage("--name is empty");
  if (*role == chat::Role::reader && !wish.access.name.empty())
    return flags.wrong_usage("a reader's key has no --name: it posts nothing");
  for (const std::string& fault :
       {chat::validate_name(wish.access.name), chat::validate_visible_name(wish.access.name)})
    if (!fault.empty()) return refuse_key(wish.json, "nothing was issued: " + fault);
  return flags.with_cluster([&](Connection& c) { return issue(c, std::move(wish)); });
}

// --- revoke, open-names ---

net::Task<int> set_access(Connection& c, chat::SetAccess access, std::chrono::milliseconds timeout,
                          bool json) {
  if (access.kind == chat::SetAccess::Kind::revoke) {
    const auto found = co_await list_keys(c, timeout);
    if (!found) co_return unknown_key(json, "nothing was changed: " + found.error());
    const auto at = std::find_if(found->keys.begin(), found->keys.end(),
                                 [&](const chat::AccessKey& key) { return key.whose.id == access.whose.id; });
    if (at == found->keys.end())
      co_return refuse_key(json, fmt::format("there is no key {}; see `paxosctl key list`",
                                             chat::key_id_text(access.whose.id)));
    access.whose = at->whose;
  }
  const Deed deed = co_await carry_deed(
      c, [&](HubSession& session) { session.set_access(access); }, timeout, "it is perhaps changed",
      "nothing was changed");
  if (deed.fate == Deed::Fate::unknown) co_return unknown_key(json, deed.why);
  if (deed.fate == Deed::Fate::refused) co_return refuse_key(json, "nothing was changed: " + deed.why);
  const bool revoked = access.kind == chat::SetAccess::Kind::revoke;
  if (json) {
    Json out{{"slot", deed.message.slot.n}};
    if (revoked)
      out.update({{"key", chat::key_id_text(access.whose.id)}, {"revoked", true}});
    else
      out["open_names"] = access.kind == chat::SetAccess::Kind::open_names;
    print_json(out);
  } else if (revoked) {
    say(stdout, "revoked: {} key {}, from slot {} on\n", chat::to_string(access.whose.role),
        chat::key_id_text(access.whose.id), deed.message.slot.n);
  } else if (access.kind == chat::SetAccess::Kind::open_names) {
    say(stdout, "names that are nobody's are open, from slot {} on\n", deed.message.slot.n);
  } else {
    say(stdout, "only who has a key with a name posts, from slot {} on\n", deed.message.slot.n);
  }
  co_return config::exit_fine;
}

int set_verb(KeyFlags& flags, chat::SetAccess access) {
  const auto timeout = flags.timeout(10s);
  if (const auto code = flags.first_fault(timeout)) return *code;
  const bool json = flags.has("json");
  auto by = flags.by();
  if (!by) return refuse_key(json, "nothing was changed: " + by.error());
  access.by = std::move(*by);
  return flags.with_cluster([&](Connection& c) { return set_access(c, std::move(access), *timeout, json); });
}

int revoke_verb(const Words& words) {
  KeyFlags flags("revoke", "Nothing is done, told or read under that key any more, for ever.");
  flags.says_who();
  flags.arguments_help("KEYID   as `paxosctl key list` shows it");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() != 1) return flags.wrong_usage("name one key by its id");
  const auto id = chat::parse_key_id(flags.arguments().front());
  if (!id)
    return flags.wrong_usage(
        fmt::format("'{}' is no key's id: eight hexadecimal digits, as `paxosctl key list` shows",
                    printable(flags.arguments().front())));
  return set_verb(
      flags,
      {.kind = chat::SetAccess::Kind::revoke, .whose = {chat::Role::client, *id}, .name = {}, .by = {}});
}

int open_names_verb(const Words& words) {
  KeyFlags flags("open-names",
                 "Whether who has no key with a name of its own may post, under names that are nobody's.");
  flags.says_who();
  flags.arguments_help("on|off");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() != 1 ||
      (flags.arguments().front() != "on" && flags.arguments().front() != "off"))
    return flags.wrong_usage("give on or off");
  return set_verb(flags, {.kind = flags.arguments().front() == "on" ? chat::SetAccess::Kind::open_names
                                                                    : chat::SetAccess::Kind::close_names,
                          .whose = {},
                          .name = {},
                          .by = {}});
}

}  // namespace

int ctl_key(const Words& words) {
  const std::string verb = words.empty() ? "" : words.front();
  const Words rest = words.empty() ? Words{} : Words(words.begin() + 1, words.end());
  if (verb == "list") return list_verb(rest);
  if (verb == "issue") return issue_verb(rest);
  if (verb == "revoke") return revoke_verb(rest);
  if (verb == "open-names") return open_names_verb(rest);
  if (verb == "rotate") return ctl_key_rotate(rest);
  if (verb == "renew") return ctl_key_renew(rest);
  if (verb == "retire") return ctl_key_retire(rest);
  const bool help = verb == "--help" || verb == "-h" || verb == "help";
  say(help ? stdout : stderr,
      "{}usage: paxosctl key list | issue | revoke | open-names | rotate | renew | retire ...\n\n"
      "  list        the keys that were issued, and whether others may post\n"
      "  issue       makes a key for one person or program: --role reader|client|operator [--name N] -o "
      "FILE\n"
      "  revoke      KEYID: nothing is done under it any more\n"
      "  open-names  on|off: whether who has no key with a name may post\n"
      "  rotate      a new secret for the replicas, while they run\n"
      "  renew       one's own key, derived from the new secret\n"
      "  retire      the secret before, and all keys derived from it, open nothing any more\n\n"
      "`paxosctl key VERB --help` tells more.\n",
      Own{help           ? std::string()
          : verb.empty() ? std::string("paxosctl key: which verb?\n")
                         : fmt::format("paxosctl key: there is no verb '{}'\n", printable(verb))});
  return help ? config::exit_fine : config::exit_usage;
}

}  // namespace client
