#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "client/session/hub.h"

/// One command of an operator that goes through the log.
namespace client {

struct Deed {
  enum class Fate : std::uint8_t { done, refused, unknown };
  Fate fate = Fate::unknown;
  std::string why;        ///< of what is not done; with `unknown`: what is known, and whether anything left
  chat::Message message;  ///< its place, once it is done
};

/// Has `begin` say it in a session of its own, and waits for the answer; asked for again it does no harm.
/// `perhaps`, `nothing`: what is to be said where no answer comes, "it is perhaps redacted", "nothing was".
net::Task<Deed> carry_deed(Connection& connection, std::function<void(HubSession&)> begin,
                           std::chrono::milliseconds timeout, std::string perhaps, std::string nothing);

}  // namespace client
