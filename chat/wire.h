#pragma once

#include <string>
#include <tl/expected.hpp>

#include "chat/client_messages.h"

/// Bytes of what clients, operators and replicas say to each other: docs/WIRE.md has a row for each.
namespace chat {

void encode(std::string& out, const ClientMessage& message);
void encode(std::string& out, const ClientReply& message);
void encode(std::string& out, const OperatorRequest& message);
void encode(std::string& out, const OperatorReply& message);
/// As datagram format 2 has it: with all of its target. encode() is the first format's, which has the boot
/// only.
void encode_named(std::string& out, const OperatorRequest& message);

/// Each decodes exactly all of `bytes` or says why not; every size is bounded.
[[nodiscard]] tl::expected<ClientMessage, const char*> decode_client_message(const paxos::Bytes& bytes);
[[nodiscard]] tl::expected<ClientReply, const char*> decode_client_reply(const paxos::Bytes& bytes);
[[nodiscard]] tl::expected<OperatorRequest, const char*> decode_operator_request(const paxos::Bytes& bytes);
[[nodiscard]] tl::expected<OperatorRequest, const char*> decode_named_operator_request(
    const paxos::Bytes& bytes);
[[nodiscard]] tl::expected<OperatorReply, const char*> decode_operator_reply(const paxos::Bytes& bytes);

}  // namespace chat
