#include "client/ctl/room_file.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <istream>

#include "chat/command.h"
#include "client/session/json.h"
#include "client/session/room_names.h"
#include "client/terminal/printable.h"

namespace client::room_file {

namespace {

constexpr const char* kind = "paxosd rooms";

std::string dumped(const Json& json) {
  // What is no UTF-8 was refused before it came into a log.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string text_field(const Json& line, const char* name, bool needed = true) {
  const auto at = line.find(name);
  if (at == line.end() && !needed) return {};
  if (at == line.end() || !at->is_string())
    throw std::runtime_error(fmt::format("its \"{}\" is no text", name));
  return at->get<std::string>();
}

std::int64_t number_field(const Json& line, const char* name, bool needed = true) {
  const auto at = line.find(name);
  if (at == line.end() && !needed) return 0;
  if (at == line.end() || !at->is_number_integer() || at->get<std::int64_t>() < 0)
    throw std::runtime_error(fmt::format("its \"{}\" is no number", name));
  return at->get<std::int64_t>();
}

Line parsed(const Json& line) {
  if (!line.is_object()) throw std::runtime_error("it is no object");
  if (line.contains("export")) {
    if (text_field(line, "export") != kind) throw std::runtime_error("it is no export of paxosctl");
    if (const auto version = number_field(line, "format"); version != format)
      throw std::runtime_error(fmt::format(
          "an export of format {}; this program reads format {}: use a newer paxosctl", version, format));
    return Header{.cluster = text_field(line, "cluster"),
                  .cluster_id = text_field(line, "cluster_id"),
                  .time_ms = number_field(line, "time_ms")};
  }
  if (line.contains("room"))
    return Room{.name = text_field(line, "room"),
                .topic = text_field(line, "topic", false),
                .topic_by = text_field(line, "topic_by", false),
                .topic_ms = number_field(line, "topic_time_ms", false)};
  if (line.contains("end"))
    return End{.rooms = static_cast<std::uint64_t>(number_field(line, "rooms")),
               .messages = static_cast<std::uint64_t>(number_field(line, "messages")),
               .checksum = text_field(line, "checksum")};
  Message out{.seq = static_cast<std::uint64_t>(number_field(line, "seq")),
              .name = text_field(line, "name"),
              .text = text_field(line, "text"),
              .time_ms = number_field(line, "time_ms"),
              .written_ms = number_field(line, "written_ms", false),
              .redacted = {}};
  if (const auto at = line.find("redacted"); at != line.end()) {
    if (!at->is_object()) throw std::runtime_error("its \"redacted\" is no object");
    out.redacted = chat::Redaction{.by = text_field(*at, "by"),
                                   .reason = text_field(*at, "reason"),
                                   .time_ms = number_field(*at, "time_ms", false)};
  }
  return out;
}

/// Why a cluster would not take it; empty: it does.
std::string fault_of(const Message& message) {
  for (std::string fault : {chat::validate_name(message.name), chat::validate_visible_name(message.name)})
    if (!fault.empty()) return fault;
  if (message.redacted) {
    if (!message.text.empty()) return "a redacted message with a text";
    for (std::string fault :
         {chat::validate_name(message.redacted->by), chat::validate_visible_name(message.redacted->by),
          chat::validate_reason(message.redacted->reason)})
      if (!fault.empty()) return fault;
    return {};
  }
  for (std::string fault : {chat::validate_text(message.text), chat::validate_visible_text(message.text)})
    if (!fault.empty()) return fault;
  return {};
}

}  // namespace

std::string text_of(const Header& header) {
  return dumped({{"export", kind},
                 {"format", format},
                 {"cluster", header.cluster},
                 {"cluster_id", header.cluster_id},
                 {"time_ms", header.time_ms}});
}
std::string text_of(const Room& room) {
  Json out{{"room", room.name}};
  if (!room.topic.empty())
    out.update({{"topic", room.topic}, {"topic_by", room.topic_by}, {"topic_time_ms", room.topic_ms}});
  return dumped(out);
}
std::string text_of(const chat::Message& m) {
  Json out{{"seq", m.seq}, {"name", m.name}, {"time_ms", m.time_ms}, {"text", m.text}};
  if (m.written_ms != 0) out["written_ms"] = m.written_ms;
  if (m.redacted) {
    out["redacted"] = {{"by", m.redacted->by}, {"reason", m.redacted->reason}};
    if (m.redacted->time_ms != 0) out["redacted"]["time_ms"] = m.redacted->time_ms;
  }
  return dumped(out);
}
std::string text_of(const End& end) {
  return dumped(
      {{"end", true}, {"rooms", end.rooms}, {"messages", end.messages}, {"checksum", end.checksum}});
}

tl::expected<Line, std::string> parse(std::string_view line) {
  const Json json = Json::parse(line, nullptr, false);
  if (json.is_discarded()) return tl::make_unexpected("it is no JSON");
  try {
    return parsed(json);
  } catch (const std::exception& error) {
    return tl::make_unexpected(std::string(error.what()));
  }
}

struct Checksum::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};
Checksum::Checksum() : state_(std::make_unique<State>()) { XXH3_128bits_reset(state_->xxh); }
Checksum::~Checksum() = default;
void Checksum::add(std::string_view bytes) { XXH3_128bits_update(state_->xxh, bytes.data(), bytes.size()); }
std::string Checksum::hex() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_->xxh);
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

tl::expected<Contents, std::string> check(std::istream& in) {
  Contents out;
  Checksum sum;
  std::uint64_t number = 0, messages = 0, last_seq = 0;
  bool header = false, end = false;
  std::string line;
  std::string room_name;
  Contents::RoomContents* room = nullptr;
  Room room_line;
  const auto fail = [&](const std::string& why) {
    return tl::make_unexpected(number == 0 ? why : fmt::format("line {}: {}", number, why));
  };
  const auto cut = [&] {
    number = 0;
    return fail(fmt::format(
        "it is cut off: the line that says it is whole is not there, after {} messages. Export again",
        messages));
  };
  const auto end_room = [&] {
    // The message that set the topic is the last one of that time and name; where it is gone, the room's
    // last.
    if (room != nullptr && !room->topic.empty() && room->topic_at == 0) room->topic_at = room->messages;
  };
  while (std::getline(in, line)) {
    ++number;
    if (in.eof()) return header ? cut() : fail("it is no export of paxosctl");  // without its newline
    if (line.size() > line_bytes_max) return fail("it is longer than any line of an export");
    if (end)
      return fail(
          "there is something behind the line that ends the export: these are two files in one, or it was "
          "changed");
    auto read = parse(line);
    if (!header && (!read || !std::holds_alternative<Header>(*read)))
      return fail(read || line.find("\"export\"") == std::string::npos
                      ? std::string("it is no export of paxosctl, which begins with {\"export\": …}")
                      : read.error());
    if (!read) return fail(read.error() + ": the file is damaged or was changed");
    if (auto* last = std::get_if<End>(&*read)) {
      end_room();
      if (last->checksum != sum.hex())
        return fail("the checksum does not fit: the file is damaged or was changed. Export again");
      if (last->messages != messages || last->rooms != out.rooms.size())
        return fail("it says another number of messages or rooms than there are: the file was changed");
      out.end = std::move(*last);
      end = true;
      continue;
    }
    sum.add(line);
    sum.add("\n");
    if (auto* first = std::get_if<Header>(&*read)) {
      if (header)
        return fail("a second beginning: these are two exports in one file. Import them one by one");
      header = true;
      out.header = std::move(*first);
    } else if (auto* next = std::get_if<Room>(&*read)) {
      end_room();
      if (std::string fault = chat::validate_room(next->name); !fault.empty()) return fail(fault);
      if (std::string fault = chat::validate_new_room(next->name); !fault.empty()) return fail(fault);
      if (std::string fault = chat::validate_topic(next->topic); !fault.empty()) return fail(fault);
      const auto [at, fresh] = out.rooms.try_emplace(next->name);
      if (!fresh) return fail(fmt::format("room {} for a second time", printable_name(next->name)));
      room = &at->second;
      room->topic = next->topic;
      room_line = std::move(*next);
      last_seq = 0;
    } else if (auto* message = std::get_if<Message>(&*read)) {
      if (room == nullptr) return fail("a message before any room");
      if (message->seq <= last_seq) return fail("a message out of order");
      if (last_seq == 0 && message->seq != 1) ++out.first_missing;
      last_seq = message->seq;
      if (std::string fault = fault_of(*message); !fault.empty())
        return fail(fault + ": no cluster takes this message");
      ++messages;
      ++room->messages;
      if (message->redacted) {
        ++room->redacted;
        ++out.redacted;
      } else if (!room->topic.empty() && message->time_ms == room_line.topic_ms &&
                 message->name == room_line.topic_by &&
                 message->text.size() + room->topic.size() <= chat::limits::text_bytes_max) {
        room->topic_at = room->messages;
      }
    }
  }
  if (in.bad()) return fail("it can't be read");
  if (!header) return fail(number == 0 ? "it is empty" : "it is no export of paxosctl");
  if (!end) return cut();
  return out;
}

std::string placeholder(const Contents& contents, std::uint64_t seq) {
  return fmt::format("(redacted before it was imported: message {} of export {})", seq,
                     contents.end.checksum.substr(0, 16));
}

}  // namespace client::room_file
