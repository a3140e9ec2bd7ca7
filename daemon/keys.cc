#include <sodium.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "daemon/host.h"
#include "daemon/log.h"
#include "daemon/refused.h"

/// Keys with roles, and a new secret for the cluster: what operators ask about them, and what the log says of
/// them. docs/SECURITY.md.
namespace paxosd {

namespace {

/// What a box that is sealed for somebody's public key holds.
constexpr std::size_t box_bytes = crypto_box_SEALBYTES + net::Secret::size();

std::string names_of(const std::vector<net::Fingerprint>& names) {
  std::string out;
  for (const net::Fingerprint name : names)
    out += (out.empty() ? "" : ", ") + net::to_string_fingerprint(name);
  return out;
}

std::vector<net::Fingerprint> names_in(const std::vector<net::Secret>& secrets) {
  std::vector<net::Fingerprint> out;
  for (const net::Secret& secret : secrets) out.push_back(net::fingerprint(secret));
  return out;
}

}  // namespace

/// A page of the keys that were issued, and whether others may post.
void Host::on(const Asker& asker, const chat::AccessKeysRequest& request) {
  const chat::AccessTable& access = node_.machine().access();
  chat::AccessKeysReply reply{
      .applied = node_.machine().applied(), .open = access.open_names(), .keys = {}, .next = 0};
  for (auto at = access.from(request.from); at != access.end(); ++at) {
    if (reply.keys.size() == chat::limits::page_access_keys_max) {
      reply.next = at->first;
      break;
    }
    reply.keys.push_back(at->second);
  }
  answer(asker, std::move(reply));
}

/// Whoever had it issued is told it, and nobody else, however late: the log has what only he knows, as a
/// hash.
void Host::on(const Asker& asker, const chat::DeriveKeyRequest& request) {
  const chat::AccessKey* issued = node_.machine().access().find(request.whose.id);
  if (issued == nullptr || issued->whose != request.whose)
    return answer(asker, refused("this replica does not know " + chat::to_string(request.whose) + " yet"));
  if (issued->revoked()) return answer(asker, refused(chat::to_string(request.whose) + " was revoked"));
  if (net::claim_of(request.claim) != issued->claim)
    return answer(asker, refused(chat::to_string(request.whose) + " is told to who had it issued alone"));
  const net::Secret key = net::derive_key(spoken_secret(), request.whose);
  answer(asker, chat::DerivedKeyReply{.bytes = key.bytes()});
}

Host::SecretsHeld::SecretsHeld(Secrets::File held) : file(std::move(held)) {
  crypto_box_keypair(door.data(), door_key.bytes().data());
}

/// What all replicas have, as the log named it. One that was only added may be here alone.
const net::Secret& Host::spoken_secret() const {
  for (const net::Secret& secret : secrets_.file.good)
    if (net::fingerprint(secret) == transport_.speaks_under()) return secret;
  return secrets_.file.good.front();
}

void Host::on(const Asker& asker, const chat::SecretDoorRequest& /*request*/) {
  answer(asker, chat::SecretDoorReply{.door = secrets_.door});
}

void Host::on(const Asker& asker, const chat::RenewKeyRequest& request) {
  if (asker.who.whose.is_secret())
    return answer(asker,
                  refused("the cluster's secret is renewed by `paxosctl key rotate`, on all replicas"));
  const net::Secret key = net::derive_key(spoken_secret(), asker.who.whose);
  std::string sealed(box_bytes, '\0');
  if (crypto_box_seal(reinterpret_cast<unsigned char*>(sealed.data()), key.data(), net::Secret::size(),
                      request.door.data()) != 0)
    return answer(asker, refused("that is no public key"));
  answer(asker, chat::RenewedKeyReply{.sealed = std::move(sealed)});
}

/// It is on the disk before anybody hears that it is there, and taken from then on; spoken under once the log
/// says so.
void Host::on(const Asker& asker, const chat::AddSecretRequest& request) {
  net::Secret fresh;
  if (request.sealed.size() != box_bytes ||
      crypto_box_seal_open(fresh.bytes().data(),
                           reinterpret_cast<const unsigned char*>(request.sealed.data()),
                           request.sealed.size(), secrets_.door.data(), secrets_.door_key.data()) != 0)
    return answer(asker, refused("it was sealed for another life of this replica: ask again"));
  const net::Fingerprint name = net::fingerprint(fresh);
  auto& good = secrets_.file.good;
  const auto& retired = secrets_.file.retired;
  if (std::find(retired.begin(), retired.end(), name) != retired.end())
    return answer(asker, refused("that secret was retired: take a new one"));
  if (std::find(good.begin(), good.end(), fresh) == good.end()) {
    const chat::SecretNames& log = node_.machine().access().secrets();
    if (log.before != 0)
      return answer(asker,
                    refused("the secret is changing already: `paxosctl key retire` ends the earlier one"));
    // One of an attempt that came to nothing makes room: it was never spoken under, nor named by the log.
    const net::Fingerprint other = std::exchange(secrets_.attempt, name);
    if (other != 0 && other != transport_.speaks_under() && other != log.speaks) {
      transport_.drop_secret(other);
      std::erase_if(good, [&](const net::Secret& s) { return net::fingerprint(s) == other; });
    }
    if (good.size() >= secrets_good_max)
      return answer(asker, refused("three secrets are good here already: see `paxosctl status --json`"));
    good.push_back(fresh);
    transport_.add_secret(fresh);
    secrets_.followed = {};  // it may be the one that was missing
    daemon_log::warning("took a new secret of the cluster, {}, as the operator wishes; {} are good now",
                        net::to_string_fingerprint(name), names_of(transport_.secrets()));
  }
  // What is on the disk comes to what is wanted, whatever is decided meanwhile; who waits hears of it then.
  secrets_.waiting.emplace_back(asker, name);
  store_secrets();
}

/// One at a time, until the disk has what is here.
void Host::store_secrets() {
  if (std::exchange(secrets_.storing, true)) {
    secrets_.store_again = true;
    return;
  }
  secrets_.store_again = false;
  storage_->read([this, file = secrets_.file](const storage::Storage::Reader&) {
    std::string why = Secrets::store(options_.directory, file);
    mailbox_.push(
        [this, why = std::move(why), stored = names_in(file.good)] { secrets_stored(why, stored); });
  });
}

void Host::secrets_stored(const std::string& why, const std::vector<net::Fingerprint>& stored) {
  secrets_.storing = false;
  if (!why.empty()) daemon_log::error("the cluster's secrets could not be kept: {}", why);
  const auto here = names_in(secrets_.file.good);
  for (const auto& [asker, name] : std::exchange(secrets_.waiting, {})) {
    if (!why.empty()) {
      answer(asker, refused("the new secret could not be kept: " + why));
    } else if (std::find(here.begin(), here.end(), name) == here.end()) {
      answer(asker, refused("another secret was added meanwhile: say it again"));
    } else if (std::find(stored.begin(), stored.end(), name) == stored.end()) {
      secrets_.waiting.emplace_back(asker, name);  // with the next one
      secrets_.store_again = true;
    } else {
      answer(asker, chat::DoneReply{});
    }
  }
  if (secrets_.store_again) store_secrets();
}

/// What the log says of secrets is done: it is the same on every replica, and each that has the new one
/// speaks under it.
void Host::follow_secrets() {
  const chat::SecretNames& wanted = node_.machine().access().secrets();
  if (wanted.speaks == 0 || wanted == secrets_.followed) return;
  secrets_.followed = wanted;
  const std::vector<net::Fingerprint> held = transport_.secrets();
  const bool have = std::find(held.begin(), held.end(), wanted.speaks) != held.end();
  if (!have) {
    daemon_log::error(
        "the log says that the cluster's secret is {}, and this replica has {} alone: put the new key file "
        "in the "
        "place of {} and start it again. (Was it changed by hand on all replicas, `paxosctl key rotate` "
        "settles it.)",
        net::to_string_fingerprint(wanted.speaks), names_of(held), options_.config.key_file.string());
  } else if (transport_.speaks_under() != wanted.speaks) {
    transport_.speak_under(wanted.speaks);
    daemon_log::info("speaks under the cluster's secret {} from now on",
                     net::to_string_fingerprint(wanted.speaks));
  }
  bool retired = false;
  for (const net::Fingerprint name : wanted.retired) {
    if (name == transport_.speaks_under()) continue;
    auto& names = secrets_.file.retired;
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(name);
      if (names.size() > chat::limits::secrets_retired_max) names.erase(names.begin());
      retired = true;
    }
    if (std::erase_if(secrets_.file.good,
                      [&](const net::Secret& s) { return net::fingerprint(s) == name; }) == 0)
      continue;
    transport_.drop_secret(name);
    daemon_log::warning(
        "the cluster's secret {} is not good any more, nor is any key that was derived from it",
        net::to_string_fingerprint(name));
  }
  if (retired) store_secrets();
}

/// By their names, which tell nothing of them.
void Host::add_secrets(nlohmann::json& out) const {
  const std::vector<net::Fingerprint> held = transport_.secrets();
  nlohmann::json& secret = out["secret"] = {{"speaks", net::to_string_fingerprint(transport_.speaks_under())},
                                            {"good", nlohmann::json::array()}};
  for (const net::Fingerprint name : held) secret["good"].push_back(net::to_string_fingerprint(name));
  const chat::SecretNames& wanted = node_.machine().access().secrets();
  if (wanted.speaks != 0 && std::find(held.begin(), held.end(), wanted.speaks) == held.end())
    secret["missing"] = net::to_string_fingerprint(wanted.speaks);
  if (wanted.before != 0) secret["before"] = net::to_string_fingerprint(wanted.before);
  if (const auto hosts = secrets_.old_users.hosts(loop_.now()); wanted.before != 0 && !hosts.empty())
    secret["old_users"] = hosts;
  if (const auto hosts = secrets_.secret_users.hosts(loop_.now()); !hosts.empty()) secret["users"] = hosts;
}

/// Who speaks under which secret from where, so that people find out what is left to be done.
void Host::note_key_use(const net::Received& received) {
  if (!received.sender.is_client()) return;
  if (received.under != transport_.speaks_under()) secrets_.old_users.heard(loop_.now(), received.from);
  if (!received.sender.whose.is_secret() || received.from.is_loopback()) return;
  const auto replicas = addresses_.book.owners();
  const bool beside_a_replica = std::any_of(replicas.begin(), replicas.end(), [&](const auto& owner) {
    return owner.first.same_host(received.from);
  });
  if (!beside_a_replica) secrets_.secret_users.heard(loop_.now(), received.from);
}

}  // namespace paxosd
