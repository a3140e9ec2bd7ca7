#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>

#include "chat/machine.h"
#include "chat/rooms.h"

/// What `paxosctl export` writes and `import` reads: JSON lines, docs/OPERATIONS.md. Pure, but for the
/// stream.
namespace client::room_file {

/// The version of the lines; in the first one.
inline constexpr unsigned format = 1;
/// A line is a message with its text, in JSON, at most.
inline constexpr std::size_t line_bytes_max = 256 * 1024;

struct Header {
  std::string cluster, cluster_id;
  std::int64_t time_ms = 0;
};
struct Room {
  std::string name;
  std::string topic;  ///< empty: none
  std::string topic_by;
  std::int64_t topic_ms = 0;  ///< time_ms of the message that set it
};
/// In the order of its room.
struct Message {
  std::uint64_t seq = 0;  ///< in the room that it was exported from
  std::string name, text;
  std::int64_t time_ms = 0;
  std::int64_t written_ms = 0;  ///< 0: not said
  std::optional<chat::Redaction> redacted;
  /// When it was written, as the next cluster is to show it.
  [[nodiscard]] std::int64_t first_written_ms() const { return written_ms != 0 ? written_ms : time_ms; }
};
struct End {
  std::uint64_t rooms = 0, messages = 0;
  std::string checksum;  ///< XXH3-128 of all bytes before its line, as 32 hexadecimal digits
};
using Line = std::variant<Header, Room, Message, End>;

[[nodiscard]] std::string text_of(const Header& header);  ///< as all: with the newline
[[nodiscard]] std::string text_of(const Room& room);
[[nodiscard]] std::string text_of(const chat::Message& message);
[[nodiscard]] std::string text_of(const End& end);
/// The error says what is wrong with the line.
[[nodiscard]] tl::expected<Line, std::string> parse(std::string_view line);

/// Of what was written so far.
class Checksum {
 public:
  Checksum();
  ~Checksum();
  void add(std::string_view bytes);
  [[nodiscard]] std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// What a whole file holds.
struct Contents {
  Header header;
  End end;
  struct RoomContents {
    std::uint64_t messages = 0;
    std::uint64_t redacted = 0;
    std::string topic;
    std::uint64_t topic_at = 0;  ///< which of its messages, from 1 on, sets it again
  };
  std::map<std::string, RoomContents> rooms;
  std::uint64_t redacted = 0;
  std::uint64_t first_missing = 0;  ///< rooms that begin with another message than their first
};
/// Reads all of it, in bounded memory: that it is whole, and that a cluster takes all that is in it. The
/// error is a sentence that begins with the line, where there is one.
[[nodiscard]] tl::expected<Contents, std::string> check(std::istream& in);

/// The text that a redacted message has until it is redacted again; the same for the same place of the same
/// file.
[[nodiscard]] std::string placeholder(const Contents& contents, std::uint64_t seq);

}  // namespace client::room_file
