#include <arpa/inet.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "chat/command.h"
#include "chat/wire.h"
#include "config/cluster_config.h"
#include "net/seal.h"
#include "paxos/coding.h"

/// A client of the first version, as far as the wire knows it: asks one replica one thing in datagram format
/// 1, with destination 255, and prints the answer as JSON. first-format KEY-FILE PORT VERB [BOOT]. Exit 3:
/// none came.
namespace {

constexpr int patience_ms = 2000;

std::string body_of(const std::string& verb, std::uint64_t boot, std::uint64_t id) {
  std::string out;
  std::string kind(1, '\x04');
  chat::OperatorRequest request{.id = id, .target = {.boot = boot}, .command = chat::StatusRequest{}};
  if (verb == "kill")
    request.command = chat::KillRequest{};
  else if (verb == "restart")
    request.command = chat::RestartRequest{};
  else if (verb == "loss")
    request.command = chat::LossRequest{0.5};
  else if (verb == "skip")
    request.command = chat::SkipRequest{{}, 1};
  else if (verb == "hash")
    request.command = chat::HashRequest{};
  else if (verb == "log")
    request.command = chat::LogRequest{{1}, {}};
  if (verb == "history" || verb == "local") {
    kind[0] = 2;
    encode(out, chat::ClientMessage(chat::HistoryRequest{id, "old", 1, 0, 0, verb == "local"}));
  } else if (verb == "follow") {
    kind[0] = 2;
    encode(out, chat::ClientMessage(chat::FollowRequest{id, "old", 1, 1}));
  } else if (verb == "open") {
    kind[0] = 2;
    chat::Command command;
    chat::Open open;
    open.nonce[0] = 1;
    command.operation = open;
    encode(out, chat::ClientMessage(chat::ClientCommands{false, {chat::encode(command)}}));
  } else {
    encode(out, request);
  }
  paxos::ByteWriter w(kind);
  w.sized(std::string_view(out));
  return kind;
}

nlohmann::json told(const paxos::Bytes& plain) {
  paxos::ByteReader r(plain.span());
  const auto kind = r.fixed<std::uint8_t>();
  const auto bytes = r.sized(1 << 20);
  if (!r.done()) return {{"kind", "malformed"}};
  const paxos::Bytes body = paxos::Bytes::copy_of(bytes);
  if (kind == 3) {
    const auto reply = chat::decode_client_reply(body);
    if (!reply) return {{"kind", "malformed"}};
    if (const auto* history = std::get_if<chat::HistoryReply>(&*reply))
      return {{"kind", "history"}, {"words", history->refused}, {"messages", history->page.messages.size()}};
    return {{"kind", std::holds_alternative<chat::Waiting>(*reply) ? "waiting" : "other"}, {"words", ""}};
  }
  const auto reply = chat::decode_operator_reply(body);
  if (!reply) return {{"kind", "malformed"}};
  if (const auto* status = std::get_if<chat::StatusReply>(&reply->answer))
    return {{"kind", "status"}, {"words", status->json}};
  if (const auto* done = std::get_if<chat::DoneReply>(&reply->answer))
    return {{"kind", "done"}, {"words", done->refused}};
  return {{"kind", "other"}, {"words", ""}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const auto key = config::load_key(argv[1]);
  if (!key) {
    std::fprintf(stderr, "%s\n", key.error().c_str());
    return 2;
  }
  net::Identity self;
  std::uint64_t id = 0;
  if (::getrandom(self.incarnation.bytes.data(), 16, 0) != 16 || ::getrandom(&id, sizeof id, 0) != sizeof id)
    return 2;
  net::Sealer sealer(net::ClusterKey(key->bytes), self);
  std::string datagram;
  sealer.seal(datagram, {.version = 1, .destination = net::any_destination}, net::Content::bodies,
              body_of(argv[3], argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 0, id));
  const int s = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[2])));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (s < 0 || ::connect(s, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 ||
      ::send(s, datagram.data(), datagram.size(), 0) != static_cast<ssize_t>(datagram.size()))
    return 2;
  pollfd wait{.fd = s, .events = POLLIN, .revents = 0};
  while (::poll(&wait, 1, patience_ms) > 0) {
    std::array<std::byte, 65536> buffer;
    const ssize_t size = ::recv(s, buffer.data(), buffer.size(), 0);
    if (size < 0) break;
    const auto opened = sealer.open(std::span(buffer).first(static_cast<std::size_t>(size)));
    if (!opened) continue;
    nlohmann::json out = opened->header.content == net::Content::bodies ? told(opened->plain)
                                                                        : nlohmann::json{{"kind", "part"}};
    out["bytes"] = size;
    out["sent"] = datagram.size();
    std::printf("%s\n", out.dump().c_str());
    return 0;
  }
  ::close(s);
  return 3;
}
