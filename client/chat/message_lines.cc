#include "client/chat/message_lines.h"

#include <fmt/format.h>

#include <ctime>

#include "client/chat/chat_words.h"
#include "client/terminal/screen.h"

namespace client {

Json to_json(const chat::Message& m) {
  Json out{{"room", m.room},
           {"seq", m.seq},
           {"slot", m.slot.n},
           {"index", m.index},
           {"name", m.name},
           {"session", chat::to_string(m.session)},
           {"client_seq", m.client_seq},
           {"time_ms", m.time_ms},
           {"text", m.text}};
  if (m.written_ms != 0) out["written_ms"] = m.written_ms;
  if (m.key != 0) {
    out["key"] = chat::key_id_text(m.key);
    out["proven"] = m.proven;
  }
  if (m.redacted) {
    out["redacted"] = {{"by", m.redacted->by}, {"reason", m.redacted->reason}};
    if (m.redacted->time_ms != 0) out["redacted"]["time_ms"] = m.redacted->time_ms;
  }
  return out;
}

std::string to_line(const chat::Message& m, bool colour, std::size_t lines_max, std::string_view me) {
  const std::time_t seconds = m.time_ms / 1000;
  std::tm local{};
  localtime_r(&seconds, &local);
  const std::string time = fmt::format("{:02}:{:02}:{:02}", local.tm_hour, local.tm_min, local.tm_sec);
  return dimmed(time, colour) + " " + said(m, {.colour = colour, .me = me, .lines_max = lines_max});
}

}  // namespace client
