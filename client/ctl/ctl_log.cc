#include <fmt/format.h>

#include <cstdio>

#include "client/ctl/ctl.h"
#include "client/session/json.h"
#include "client/terminal/say.h"
#include "client/terminal/screen.h"
#include "client/terminal/words.h"

/// log: what one replica's log holds.
namespace client {

namespace {

Json command_json(const chat::Command& c, std::size_t index, const chat::LogSlot& slot) {
  Json out{{"index", index}, {"session", chat::to_string(c.session)}, {"client_seq", c.seq}};
  if (const auto* post = std::get_if<chat::Post>(&c.operation)) {
    out["op"] = "post";
    out["room"] = post->room;
    out["name"] = post->name;
    out["text"] = post->text;
    if (post->text.empty()) out["redacted"] = true;  // no other post is without one
    if (post->topic) out["topic"] = *post->topic;
    if (post->written_ms != 0) out["written_ms"] = post->written_ms;
  } else if (const auto* redact = std::get_if<chat::Redact>(&c.operation)) {
    out["op"] = "redact";
    out["room"] = redact->room;
    out["seq"] = redact->seq;
    out["by"] = redact->by;
    out["reason"] = redact->reason;
  } else if (const auto* retain = std::get_if<chat::Retain>(&c.operation)) {
    out["op"] = "retain";
    out["room"] = retain->room.empty() ? Json(nullptr) : Json(retain->room);
    out["inherit"] = retain->inherit;
    out["count"] = retain->count;
    out["age_ms"] = retain->age_ms;
    out["by"] = retain->by;
  } else if (const auto* access = std::get_if<chat::SetAccess>(&c.operation)) {
    out["op"] = chat::to_string(access->kind);
    if (!access->whose.is_secret()) {
      out["key"] = chat::key_id_text(access->whose.id);
      out["role"] = chat::to_string(access->whose.role);
    }
    if (!access->name.empty()) out["name"] = access->name;
    out["by"] = access->by;
  } else if (std::holds_alternative<chat::Open>(c.operation)) {
    out["op"] = "open";
    out["session"] = chat::to_string(chat::SessionId{slot.slot, static_cast<std::uint32_t>(index)});
    if (const auto& whose = std::get<chat::Open>(c.operation).whose; !whose.is_secret())
      out["key"] = chat::key_id_text(whose.id);
  } else {
    out["op"] = "close";
  }
  for (const chat::Outcome& o : slot.outcomes) {
    if (o.index != index) continue;
    if (o.verdict == chat::Verdict::repeat || o.verdict == chat::Verdict::receipt_gone)
      out["repeat"] = true;
    else if (o.verdict != chat::Verdict::done)
      out["refused"] = chat::to_string(o.verdict);
  }
  return out;
}

Json slot_json(const chat::LogSlot& s) {
  if (s.empty) return {{"slot", s.slot.n}, {"kind", "empty"}, {"chosen", false}};
  Json out{{"slot", s.slot.n},
           {"kind", paxos::to_string(s.decree.kind)},
           {"ballot", ballot_json(s.ballot)},
           {"chosen", s.chosen}};
  if (const auto rules = chat::rules_in(s.decree)) out["rules"] = *rules;
  if (const auto next = paxos::configuration_in(s.decree)) out["configuration"] = next->number;
  if (s.decree.kind != paxos::DecreeKind::commands) return out;
  const auto batch = chat::decode_batch(s.decree);
  if (!batch) {
    out["error"] = batch.error();
    return out;
  }
  out["time_ms"] = batch->time_ms;
  out["commands"] = Json::array();
  for (std::size_t i = 0; i < batch->commands.size(); ++i)
    out["commands"].push_back(command_json(batch->commands[i], i, s));
  return out;
}

/// Enough of a text to know it by, cut between characters.
std::string beginning_of(const std::string& text) {
  const std::string_view shown = cut(text, 60);
  return printable(shown) + (shown.size() < text.size() ? "…" : "");
}

void print_slot(const chat::LogSlot& s) {
  const Json j = slot_json(s);
  say(stdout, "{:>8}  {:<8} {:>8}  {}", s.slot.n, j.at("kind").get<std::string>(),
      s.empty ? "-" : paxos::to_string(s.ballot), s.chosen ? "chosen" : "open");
  if (j.contains("commands")) {
    say(stdout, "  {}\n", counted(j.at("commands").size(), "command"));
    for (const Json& c : j.at("commands"))
      say(stdout, "            {}.{} {}{}{}\n", c.at("session").get<std::string>(),
          c.at("client_seq").get<std::uint64_t>(), c.at("op").get<std::string>(),
          c.contains("text")
              ? fmt::format(
                    " #{} {}: {}", printable_name(c.at("room").get<std::string>()),
                    printable_name(c.at("name").get<std::string>()),
                    c.contains("redacted") ? "(redacted)" : beginning_of(c.at("text").get<std::string>()))
          : c.contains("reason")
              ? fmt::format(" #{} {} by {}", printable_name(c.at("room").get<std::string>()),
                            c.at("seq").get<std::uint64_t>(), printable_name(c.at("by").get<std::string>()))
              : std::string(),
          c.contains("repeat") ? "  (repeat)" : "");
    return;
  }
  say(stdout, "{}\n",
      j.contains("rules") ? fmt::format("  rules {} from the next slot on", j.at("rules").get<unsigned>())
                          : "");
}

constexpr paxos::Slot last_slot{UINT64_MAX / 2};

net::Task<int> log(Connection& c, paxos::ReplicaId id, paxos::Slot from, paxos::Slot to, bool json) {
  const std::string program = "paxosctl log";
  bool any = false;
  for (paxos::Slot next = from;;) {
    const auto answer = co_await c.ask(id, chat::LogRequest{next, to}, {}, std::chrono::seconds{5});
    if (!answer)
      co_return complain(program,
                         fmt::format("replica {} does not answer; `paxosctl status` shows who does", id.n),
                         config::exit_unknown);
    if (const auto* done = std::get_if<chat::DoneReply>(&*answer))
      co_return complain(program, fmt::format("replica {}: {}", id.n, done->refused), config::exit_refused);
    const auto* page = std::get_if<chat::LogReply>(&*answer);
    if (page == nullptr)
      co_return complain(
          program, fmt::format("replica {} gave an answer of another kind: is it another version?", id.n),
          config::exit_unknown);
    for (const chat::LogSlot& slot : page->slots) {
      any = true;
      if (json)
        print_json(slot_json(slot));
      else
        print_slot(slot);
    }
    if (page->next.none() || page->next <= next) {
      if (!any)
        complain(program,
                 fmt::format("replica {} has nothing in {}; `paxosctl status` shows how far it is (accepted)",
                             id.n,
                             from.n == 1 && to == last_slot ? "its log yet"
                             : to == last_slot              ? fmt::format("slot {} or above", from.n)
                                               : fmt::format("the slots {} to {}", from.n, to.n)),
                 0);
      co_return config::exit_fine;
    }
    next = page->next;
  }
}

}  // namespace

int ctl_log(const Words& words) {
  VerbFlags flags("paxosctl log", "PAXOSCTL", "The slots in one replica's log.");
  flags.value("from", "SLOT", "first slot (default: 1)");
  flags.value("to", "SLOT", "last slot (default: the end)");
  flags.flag("json", "one JSON object a slot");
  flags.arguments_help("ID");
  if (const auto code = flags.parse(words)) return *code;
  if (flags.arguments().size() != 1) return flags.wrong_usage("name one replica");
  const auto from = flags.number("from", 1, last_slot.n, 1);
  const auto to = flags.number("to", 1, last_slot.n, last_slot.n);
  if (const auto code = flags.first_fault(from, to)) return *code;
  if (*from > *to) return flags.wrong_usage(fmt::format("--from {} is above --to {}", *from, *to));
  const auto config = flags.load_config();
  if (!config) return flags.refused(config.error());
  const auto id = VerbFlags::replica_in(flags.arguments().front(), *config);
  if (!id) return flags.wrong_usage(id.error());
  return flags.with_cluster([&](Connection& c) { return log(c, *id, {*from}, {*to}, flags.has("json")); });
}

}  // namespace client
