#include <fcntl.h>
#include <fmt/format.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "config/cluster_config.h"

namespace config {

namespace {

std::string random_hex(std::size_t bytes) {
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

/// Whole or not at all: written beside, synced, then renamed.
std::string write_file(const std::filesystem::path& file, const std::string& text, mode_t mode) {
  const auto beside = file.string() + ".new";
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (fd < 0) return fmt::format("{}: {}", beside, std::strerror(errno));
  ::fchmod(fd, mode);
  const bool written =
      ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  const int error = errno;
  ::close(fd);
  if (!written || ::rename(beside.c_str(), file.c_str()) != 0) {
    const int why = written ? errno : error;
    ::unlink(beside.c_str());
    return fmt::format("{}: {}", file.string(), std::strerror(why));
  }
  return {};
}

}  // namespace

tl::expected<void, std::string> generate(const GenerateOptions& o) {
  const std::size_t replicas = 2 * o.f + 1;
  if (replicas > paxos::limits::replicas_max)
    return tl::make_unexpected(fmt::format("-f {}: that is {} replicas; at most {} are possible (-f 4)", o.f,
                                           replicas, paxos::limits::replicas_max));
  if (!(o.loss >= 0 && o.loss <= 1)) return tl::make_unexpected(std::string("--loss is a share from 0 to 1"));
  if (o.production && o.loss > 0)
    return tl::make_unexpected(std::string("--production and --loss exclude each other"));
  if (o.base_port == 0 || o.base_port + replicas - 1 > 65535)
    return tl::make_unexpected(fmt::format("--base-port {}: ports {} to {} don't all exist", o.base_port,
                                           o.base_port, o.base_port + replicas - 1));
  const std::filesystem::path key_file = std::filesystem::path(o.output).replace_extension(".key");
  if (key_file == o.output)
    return tl::make_unexpected(
        fmt::format("{}: the config can't be called *.key: the key file beside it is", o.output.string()));
  if (!o.force)
    for (const auto& file : {o.output, key_file})
      if (std::error_code error; std::filesystem::exists(file, error))
        return tl::make_unexpected(fmt::format(
            "{}: is there already; --force overwrites it (and the cluster's key with it)", file.string()));

  std::string yaml = fmt::format(
      "# Made by `paxosctl config generate`. Every machine needs this file and the key file.\n"
      "cluster: {}\nid: {}\nkey_file: {}                # relative to this file; keep it secret\n"
      "replicas:\n",
      o.cluster, uuid(), key_file.filename().string());
  for (std::size_t id = 0; id < replicas; ++id) {
    std::string host = "127.0.0.1";
    std::size_t port = o.base_port + id;
    if (!o.hosts.empty()) {
      host = o.hosts[id % o.hosts.size()];
      port = o.base_port + id / o.hosts.size();
      if (host.find(':') != std::string::npos && host.front() != '[') host = "[" + host + "]";
    }
    yaml +=
        fmt::format("  - {{id: {}, address: \"{}:{}\", data_dir: {}/{}}}\n", id, host, port, o.data_root, id);
  }
  yaml += "heartbeat_ms: 50\nelection_timeout_ms: 250\n";
  if (!o.production)
    yaml += fmt::format(
        "fault_injection: true           # kill, skip, loss, ... are refused without it\n"
        "loss: {}                       # share of datagrams each process drops on receipt\n",
        o.loss == 0 ? "0.0" : fmt::format("{}", o.loss));
  if (std::string why = write_file(key_file, random_hex(32) + "\n", 0600); !why.empty())
    return tl::make_unexpected(std::move(why));
  if (std::string why = write_file(o.output, yaml, 0644); !why.empty())
    return tl::make_unexpected(std::move(why));
  return {};
}

}  // namespace config
