#include <arpa/inet.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "chat/command.h"
#include "chat/wire.h"
#include "config/cluster_config.h"
#include "net/seal.h"
#include "paxos/coding.h"

/// Replicas that hold the key and say what they please: hostile KEY-FILE ANSWERS PORT... Whoever asks the
/// n-th port for its status or its surroundings gets the n-th object of the JSON file ANSWERS (read anew each
/// time: {"status": ..., "doctor": ...}); everything else is refused, or answered, with the text of "words".
/// Speaks datagram format 1, as a replica of the first version. For tests; never installed.
namespace {

using nlohmann::json;

struct Replica {
  int socket = -1;
  std::unique_ptr<net::Sealer> sealer;
};

chat::HistoryPage page_of(const std::string& room, const std::string& words) {
  chat::HistoryPage page;
  page.head = 1;
  chat::Message message;
  message.room = room;
  message.seq = 1;
  message.name = words;
  message.text = words;
  page.messages.push_back(message);
  return page;
}

std::string answer(const paxos::Bytes& plain, const json& answers, std::size_t index) {
  const std::string words = answers.at("words").get<std::string>();
  const bool pages = answers.value("pages", false);
  paxos::ByteReader r(plain.span());
  const auto kind = r.fixed<std::uint8_t>();
  const paxos::Bytes body = paxos::Bytes::copy_of(r.sized(1 << 20));
  std::string out;
  std::string reply(1, '\x03');
  if (kind == 2) {
    const auto message = chat::decode_client_message(body);
    if (!message) return {};
    if (const auto* history = std::get_if<chat::HistoryRequest>(&*message)) {
      chat::HistoryReply said{.id = history->id, .refused = pages ? "" : words, .page = {}, .applied = {1}};
      if (pages) said.page = page_of(history->room, words);
      encode(out, chat::ClientReply(said));
    } else if (const auto* follow = std::get_if<chat::FollowRequest>(&*message)) {
      encode(out, chat::ClientReply(
                      chat::HistoryReply{.id = follow->id, .refused = words, .page = {}, .applied = {1}}));
    } else {
      const auto& commands = std::get<chat::ClientCommands>(*message).commands;
      const auto command =
          commands.empty() ? std::nullopt : std::optional(chat::decode_command(commands.front().span()));
      if (!command || !*command) return {};
      encode(out, chat::ClientReply(chat::CommandRefused{(*command)->session, (*command)->seq, words}));
    }
  } else {
    const auto request = chat::decode_operator_request(body);
    if (!request) return {};
    const json& mine = answers.at("replicas").at(index);
    chat::OperatorAnswer said = chat::DoneReply{.refused = words, .slots = {}, .next_free = {}};
    if (std::holds_alternative<chat::StatusRequest>(request->command))
      said = chat::StatusReply{mine.at("status").dump()};
    else if (std::holds_alternative<chat::DoctorRequest>(request->command) && mine.contains("doctor"))
      said = chat::DoctorReply{mine.at("doctor").dump()};
    else if (std::holds_alternative<chat::ScrubRequest>(request->command) && pages)
      said = chat::ScrubReply{.next = {}, .records = 1, .damage = words};
    else if (std::holds_alternative<chat::HashRequest>(request->command) && pages)
      said = chat::HashReply{.applied = {1}, .hash = paxos::Hash{}};
    else if (std::holds_alternative<chat::ExplainRequest>(request->command) && pages)
      said = chat::ExplainReply{.boot = 1, .damage = words, .held = {}, .records = {}};
    reply[0] = '\x05';
    encode(out, chat::OperatorReply{request->id, said});
  }
  paxos::ByteWriter w(reply);
  w.sized(std::string_view(out));
  return reply;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const auto key = config::load_key(argv[1]);
  if (!key) {
    std::fprintf(stderr, "%s\n", key.error().c_str());
    return 2;
  }
  std::vector<Replica> replicas;
  std::vector<pollfd> wait;
  for (int i = 3; i < argc; ++i) {
    net::Identity self{.sender = static_cast<std::uint8_t>(i - 3)};
    if (::getrandom(self.incarnation.bytes.data(), 16, 0) != 16) return 2;
    Replica one{.socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
                .sealer = std::make_unique<net::Sealer>(net::ClusterKey(key->bytes), self)};
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<std::uint16_t>(std::atoi(argv[i])));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(one.socket, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
      std::perror("bind");
      return 2;
    }
    wait.push_back({.fd = one.socket, .events = POLLIN, .revents = 0});
    replicas.push_back(std::move(one));
  }
  std::printf("ready\n");
  std::fflush(stdout);
  while (::poll(wait.data(), wait.size(), -1) > 0) {
    for (std::size_t i = 0; i < replicas.size(); ++i) {
      if (wait[i].revents == 0) continue;
      std::array<std::byte, 65536> buffer;
      sockaddr_in from{};
      socklen_t from_size = sizeof from;
      const ssize_t size = ::recvfrom(wait[i].fd, buffer.data(), buffer.size(), 0,
                                      reinterpret_cast<sockaddr*>(&from), &from_size);
      if (size < 0) continue;
      const auto opened = replicas[i].sealer->open(std::span(buffer).first(static_cast<std::size_t>(size)));
      if (!opened || opened->header.content != net::Content::bodies) continue;
      std::ifstream file(argv[2]);
      const json answers = json::parse(file, nullptr, false);
      if (!answers.is_object()) continue;
      const std::string said = answer(opened->plain, answers, i);
      if (said.empty()) continue;
      std::string datagram;
      replicas[i].sealer->seal(datagram,
                               {.version = net::format_version, .destination = net::any_destination},
                               net::Content::bodies, said);
      (void)::sendto(wait[i].fd, datagram.data(), datagram.size(), 0,
                     reinterpret_cast<const sockaddr*>(&from), from_size);
    }
  }
}
