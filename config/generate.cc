#include <fmt/format.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>

#include "config/cluster_config.h"
#include "config/files.h"
#include "paxos/invariant.h"

namespace config {

namespace {

std::string random_hex(std::size_t bytes) {
  PAXOS_ASSERT(sodium_init() >= 0);
  std::string raw(bytes, '\0');
  randombytes_buf(raw.data(), raw.size());
  std::string out(bytes * 2 + 1, '\0');
  sodium_bin2hex(out.data(), out.size(), reinterpret_cast<const unsigned char*>(raw.data()), raw.size());
  out.pop_back();
  return out;
}

std::string uuid() {
  std::string hex = random_hex(16);
  hex[12] = '4';                                              // version 4
  hex[16] = "89ab"[static_cast<unsigned char>(hex[16]) % 4];  // variant
  return fmt::format("{}-{}-{}-{}-{}", hex.substr(0, 8), hex.substr(8, 4), hex.substr(12, 4),
                     hex.substr(16, 4), hex.substr(20));
}

/// A text as YAML has it inside a flow mapping: as it is where it is plain, else in quotes.
std::string scalar(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '/' || c == '_' || c == '.' || c == '-';
  });
  if (plain && text.front() != '-' && std::isdigit(static_cast<unsigned char>(text.front())) == 0)
    return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("''") : std::string(1, c);
  return out + "'";
}

}  // namespace

std::string wrong_options(const GenerateOptions& o) {
  const std::size_t replicas = 2 * o.f + 1;
  if (replicas > paxos::limits::replicas_max)
    return fmt::format("-f {}: that is {} replicas; at most {} are possible (-f 4)", o.f, replicas,
                       paxos::limits::replicas_max);
  for (const std::string& host : o.hosts)
    if (host.empty() || host.find_first_of(" \t\n\"'\\/@,") != std::string::npos)
      return fmt::format("--host '{}' is no host name or address; give one --host for each machine", host);
  // Two machines for three replicas: the death of one might take the quorum along, which is not what -f 1
  // promises.
  if (o.hosts.size() > 1 && replicas == 1)
    return fmt::format("{} hosts for 1 replica: give --host once, or a larger -f", o.hosts.size());
  if (o.hosts.size() > 1 && o.hosts.size() != replicas)
    return fmt::format(
        "{} hosts for {} replicas: give --host once (all of them on that machine, on consecutive ports) or "
        "{} times "
        "(one replica a machine); with another number the death of a single machine can take {} or more "
        "replicas along",
        o.hosts.size(), replicas, replicas, (replicas + o.hosts.size() - 1) / o.hosts.size());
  for (std::size_t i = 0; i < o.hosts.size(); ++i)
    if (std::find(o.hosts.begin(), o.hosts.begin() + static_cast<std::ptrdiff_t>(i), o.hosts[i]) !=
        o.hosts.begin() + static_cast<std::ptrdiff_t>(i))
      return fmt::format("--host '{}' is given twice; for all replicas on one machine give it once",
                         o.hosts[i]);
  for (const auto& [flag, text] :
       {std::pair("--data-root", &o.data_root), std::pair("--cluster", &o.cluster)})
    if (text->empty() ||
        std::any_of(text->begin(), text->end(), [](unsigned char c) { return std::iscntrl(c) != 0; }))
      return fmt::format("{} is {}; allowed is one line of text", flag,
                         text->empty() ? "empty" : "a text with a control character");
  if (!(o.loss >= 0 && o.loss <= 1)) return "--loss is a share from 0 to 1";
  if (o.production && o.loss > 0)
    return "--production and --loss exclude each other: without fault injection nothing is dropped";
  for (const auto& [flag, port] :
       {std::pair("--base-port", o.base_port), std::pair("--metrics-base-port", o.metrics_base_port)})
    if (port + replicas - 1 > 65535)
      return fmt::format("{} {}: {} replicas need the ports {} to {}, and 65535 is the last", flag, port,
                         replicas, port, port + replicas - 1);
  if (o.base_port == 0) return "--base-port 0 is no port";
  if (std::filesystem::path(o.output).replace_extension(".key") == o.output)
    return fmt::format("{}: the config can't be called *.key: the key file beside it is", o.output.string());
  return {};
}

tl::expected<void, std::string> generate(const GenerateOptions& o) {
  if (std::string why = wrong_options(o); !why.empty()) return tl::make_unexpected(std::move(why));
  const std::size_t replicas = 2 * o.f + 1;
  const std::filesystem::path key_file = std::filesystem::path(o.output).replace_extension(".key");
  if (!o.force)
    for (const auto& file : {o.output, key_file})
      if (std::error_code error; std::filesystem::exists(file, error))
        return tl::make_unexpected(fmt::format(
            "{}: is there already; --force overwrites it (and the cluster's key with it)", file.string()));

  std::string yaml = fmt::format(
      "# Made by `paxosctl config generate`. Every machine needs this file and the key file.\n"
      "cluster: {}\nid: {}\nkey_file: {}                # relative to this file; keep it secret\n"
      "replicas:\n",
      scalar(o.cluster), uuid(), scalar(key_file.filename().string()));
  for (std::size_t id = 0; id < replicas; ++id) {
    std::string host = "127.0.0.1";
    std::size_t port = o.base_port + id;
    if (!o.hosts.empty()) {
      host = o.hosts.size() == 1 ? o.hosts.front() : o.hosts[id];
      if (o.hosts.size() > 1) port = o.base_port;
      if (host.find(':') != std::string::npos && host.front() != '[') host = "[" + host + "]";
    }
    std::string metrics;
    if (o.metrics_base_port != 0)
      metrics = fmt::format(", metrics: \"127.0.0.1:{}\"", o.metrics_base_port + port - o.base_port);
    yaml += fmt::format("  - {{id: {}, address: \"{}:{}\", data_dir: {}{}}}\n", id, host, port,
                        scalar(fmt::format("{}/{}", o.data_root, id)), metrics);
  }
  yaml += "heartbeat_ms: 50\nelection_timeout_ms: 250\n";
  if (!o.production)
    yaml += fmt::format(
        "fault_injection: true           # kill, skip, loss, ... are refused without it\n"
        "loss: {}                       # share of datagrams each process drops on receipt\n",
        o.loss == 0 ? "0.0" : fmt::format("{}", o.loss));

  const std::filesystem::path new_config = o.output.string() + ".new";
  const std::filesystem::path new_key = key_file.string() + ".new";
  const auto give_up = [&](std::string why) {
    ::unlink(new_config.c_str());
    ::unlink(new_key.c_str());
    return tl::make_unexpected(std::move(why));
  };
  if (std::string why = write_beside(new_key, random_hex(32) + "\n", 0600); !why.empty())
    return give_up(std::move(why));
  if (std::string why = write_beside(new_config, yaml, 0644); !why.empty()) return give_up(std::move(why));
  // What can't be read back isn't worth having: two hosts that are the same one, a strange data root.
  if (const auto config = load(new_config); !config)
    return give_up("the config would be refused: " + config.error());
  if (std::string why = put_in_place(new_key, key_file, o.force); !why.empty())
    return give_up(std::move(why));
  if (std::string why = put_in_place(new_config, o.config_as.empty() ? o.output : o.config_as, o.force);
      !why.empty()) {
    if (!o.force) ::unlink(key_file.c_str());  // ours, made a moment ago
    return give_up(std::move(why));
  }
  return {};
}

}  // namespace config
