#include <algorithm>
#include <array>
#include <cstring>

#include "chat/command.h"
#include "chat/invisible.h"
#include "chat/versions.h"

/// What a command's content may be (chat/command.h).
namespace chat {

namespace {

/// Shown behind a name that a key proves (chat.h of the client), and what looks like it.
constexpr std::array<std::string_view, 9> proof_marks{
    "\u2713", "\u2714", "\u2705", "\u2611", "\u221a", "\u2bbd", "\U00010102", "\U0001f5f8", "\U0001f5f9"};

/// Eight bytes of ASCII, no control among them. May say no to others too.
bool plain(std::uint64_t word) {
  const std::uint64_t below_space = (word - 0x2020202020202020ULL) & ~word;
  const std::uint64_t is_del = (word ^ 0x7f7f7f7f7f7f7f7fULL) - 0x0101010101010101ULL;
  return ((word | below_space | is_del) & 0x8080808080808080ULL) == 0;
}

/// Why `text` is not strict UTF-8 without NUL; empty when it is. Overlong forms, surrogates and code points
/// above U+10FFFF are refused: one text has one encoding.
std::string_view utf8_fault(std::string_view text, bool allow_controls) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = p + text.size();
  while (p < end) {
    // Most texts are plain ASCII: eight bytes at a time where none is a control or above 0x7e.
    std::uint64_t word = 0;
    for (; end - p >= 8; p += 8) {
      std::memcpy(&word, p, 8);
      if (!plain(word)) break;
    }
    if (const auto left = static_cast<std::size_t>(end - p); left < 8) {
      if (left == 0) break;
      if (text.size() >= 8) {
        std::memcpy(&word, end - 8, 8);  // what precedes p in it was plain, or is looked at below
      } else {
        word = 0x2020202020202020ULL;
        std::memcpy(&word, p, left);
      }
      if (plain(word)) break;
    }
    const unsigned char lead = *p;
    if (lead < 0x80) {
      if (lead == 0) return "holds a NUL byte";
      if (!allow_controls && (lead < 0x20 || lead == 0x7f)) return "holds a control character";
      ++p;
      continue;
    }
    const std::ptrdiff_t left = end - p;
    const auto tail = [&](int i) { return left > i && (p[i] & 0xc0) == 0x80; };
    if (lead >= 0xc2 && lead <= 0xdf && tail(1)) {
      if (!allow_controls && lead == 0xc2 && p[1] < 0xa0) return "holds a control character";
      p += 2;
    } else if (lead >= 0xe0 && lead <= 0xef && tail(1) && tail(2)) {
      if ((lead == 0xe0 && p[1] < 0xa0) || (lead == 0xed && p[1] >= 0xa0)) return "is not valid UTF-8";
      p += 3;
    } else if (lead >= 0xf0 && lead <= 0xf4 && tail(1) && tail(2) && tail(3)) {
      if ((lead == 0xf0 && p[1] < 0x90) || (lead == 0xf4 && p[1] >= 0x90)) return "is not valid UTF-8";
      p += 4;
    } else {
      return "is not valid UTF-8";
    }
  }
  return {};
}

std::string check(std::string_view what, std::string_view value, std::size_t min, std::size_t max,
                  bool controls) {
  if (value.size() < min) return std::string(what) + " is empty";
  if (value.size() > max)
    return std::string(what) + " has " + std::to_string(value.size()) + " bytes; at most " +
           std::to_string(max) + " are allowed";
  const std::string_view fault = utf8_fault(value, controls);
  return fault.empty() ? std::string() : std::string(what) + " " + std::string(fault);
}

}  // namespace

std::string validate_text(std::string_view text) {
  return check("the text", text, 1, limits::text_bytes_max, true);
}
std::string validate_room(std::string_view room) {
  return check("the room's name", room, 1, limits::room_bytes_max, false);
}
std::string validate_name(std::string_view name) {
  return check("the name", name, 0, limits::name_bytes_max, false);
}

std::string validate_key(std::string_view key) {
  return check("the key", key, 1, limits::key_bytes_max, false);
}
std::string validate_topic(std::string_view topic) {
  return check("the topic", topic, 0, limits::topic_bytes_max, false);
}
std::string validate_reason(std::string_view reason) {
  return check("the reason", reason, 0, limits::reason_bytes_max, false);
}
std::string validate_visible_text(std::string_view text) {
  return has_visible(text) ? std::string()
                           : "the text has nothing to see: only white space and invisible characters";
}
std::string validate_visible_name(std::string_view name) {
  const std::string found = first_invisible(name);
  if (!found.empty()) return "the name holds the invisible character " + found;
  for (const std::string_view mark : proof_marks)
    if (name.find(mark) != std::string_view::npos)
      return "the name holds '" + std::string(mark) + "', which stands for a proven name";
  return {};
}
std::string validate_new_room(std::string_view room) {
  if (has_blank_ends(room)) return "the new room's name begins or ends with white space";
  const std::string found = first_invisible(room);
  return found.empty() ? std::string() : "the new room's name holds the invisible character " + found;
}

std::string validate(const CommandView& command, std::uint16_t rules) {
  constexpr std::string_view some_older =
      " not known yet: some replica still runs an older version (`paxosctl status`)";
  if (const auto* open = std::get_if<Open>(&command.operation)) {
    if (!open->whose.is_secret() && rules < rules_access)
      return "keys with roles are" + std::string(some_older);
    return command.session.none() && command.seq == 0 ? std::string() : "an open belongs to no session";
  }
  if (command.session.none()) return "the command names no session";
  if (command.seq == 0) return "the command has no sequence number";
  if (command.answered_below > command.seq) return "the answered mark lies above the command";
  if (const auto* post = std::get_if<PostView>(&command.operation)) {
    if (auto fault = validate_room(post->room); !fault.empty()) return fault;
    if (auto fault = validate_name(post->name); !fault.empty()) return fault;
    if (post->redacted) return {};  // it ran, or ran again: there was nothing wrong with it
    if (auto fault = validate_text(post->text); !fault.empty()) return fault;
    if (rules < rules_post_options) {
      constexpr std::string_view older =
          " are not known yet: some replica still runs an older version (`paxosctl status`)";
      if (post->topic) return "topics" + std::string(older);
      if (!post->key.empty()) return "messages with a key" + std::string(older);
      if (post->written_ms != 0)
        return std::string(written_not_known) +
               ": some replica still runs an older version (`paxosctl status`)";
      return {};
    }
    if (post->topic) {
      if (auto fault = validate_topic(*post->topic); !fault.empty()) return fault;
      if (post->text.size() + post->topic->size() > limits::text_bytes_max)
        return "the text and its topic are too long together";
    }
    if (!post->key.empty())
      if (auto fault = validate_key(post->key); !fault.empty()) return fault;
    if (auto fault = validate_visible_name(post->name); !fault.empty()) return fault;
    return validate_visible_text(post->text);
  }
  if (const auto* redact = std::get_if<RedactView>(&command.operation)) {
    if (rules < rules_redactions)
      return "redacting is not known yet: some replica still runs an older version (`paxosctl status`)";
    if (auto fault = validate_room(redact->room); !fault.empty()) return fault;
    if (redact->seq == 0) return "messages are numbered from 1 on";
    if (auto fault = validate_name(redact->by); !fault.empty()) return fault;
    if (auto fault = validate_visible_name(redact->by); !fault.empty()) return fault;
    return validate_reason(redact->reason);
  }
  if (const auto* retain = std::get_if<RetainView>(&command.operation)) {
    if (rules < rules_retention)
      return "retention is not known yet: some replica still runs an older version (`paxosctl status`)";
    if (retain->room.empty() && retain->inherit) return "the rule for all has no other to go by";
    if (!retain->room.empty())
      if (auto fault = validate_room(retain->room); !fault.empty()) return fault;
    if (auto fault = validate_name(retain->by); !fault.empty()) return fault;
    if (auto fault = validate_visible_name(retain->by); !fault.empty()) return fault;
    if (retain->inherit && (retain->count != 0 || retain->age_ms != 0))
      return "a room that goes by the rule for all has none of its own";
    if (retain->count > limits::retention_count_max)
      return "a room keeps at most " + std::to_string(limits::retention_count_max) + " messages by count";
    if (retain->age_ms < 0 || retain->age_ms > limits::retention_age_ms_max)
      return "messages are kept by age for at most 100 years";
    return {};
  }
  if (const auto* access = std::get_if<SetAccessView>(&command.operation)) {
    if (rules < rules_access) return "keys with roles are" + std::string(some_older);
    const bool names_key = access->kind == SetAccess::Kind::issue || access->kind == SetAccess::Kind::revoke;
    const bool rotates = access->kind == SetAccess::Kind::rotate;
    const bool retires = access->kind == SetAccess::Kind::retire;
    const bool issues = access->kind == SetAccess::Kind::issue;
    if ((access->secret != 0) != (rotates || issues) ||
        (access->before != 0) != (rotates || retires || issues) ||
        (rotates && access->secret == access->before))
      return "no secret is named by that";
    if (!access->whose.valid() || access->whose.is_secret() == names_key) return "no key is named by that";
    if (access->kind != SetAccess::Kind::issue && !access->name.empty())
      return "only what is issued has a name";
    if (access->whose.role == Role::reader && !access->name.empty())
      return "a reader's key has no name: it posts nothing";
    for (const std::string_view name : {access->name, access->by}) {
      if (auto fault = validate_name(name); !fault.empty()) return fault;
      if (auto fault = validate_visible_name(name); !fault.empty()) return fault;
    }
    return {};
  }
  return {};
}

std::string validate(const Command& command, std::uint16_t rules) {
  CommandView view{.session = command.session,
                   .seq = command.seq,
                   .answered_below = command.answered_below,
                   .operation = Close{},
                   .operation_bytes = {}};
  if (const auto* open = std::get_if<Open>(&command.operation)) view.operation = *open;
  if (const auto* post = std::get_if<Post>(&command.operation))
    view.operation = PostView{post->room, post->name, post->text, post->key, post->topic, post->written_ms};
  if (const auto* redact = std::get_if<Redact>(&command.operation))
    view.operation = RedactView{redact->room, redact->seq, redact->by, redact->reason};
  if (const auto* retain = std::get_if<Retain>(&command.operation))
    view.operation = RetainView{retain->room, retain->inherit, retain->count, retain->age_ms, retain->by};
  if (const auto* access = std::get_if<SetAccess>(&command.operation))
    view.operation =
        SetAccessView{access->kind, access->whose, access->name, access->by, access->secret, access->before};
  return validate(view, rules);
}

}  // namespace chat
