#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>
#include <vector>

#include "chat/bounds.h"
#include "chat/credential.h"
#include "paxos/types.h"

/// Client commands, and the batch of them that one decree carries.
namespace chat {

/// A session is named by the place of its open command: (slot, index). {0, 0}: none yet.
struct SessionId {
  paxos::Slot slot;
  std::uint32_t index = 0;
  friend auto operator<=>(const SessionId&, const SessionId&) = default;
  [[nodiscard]] bool none() const { return slot.none(); }
};
/// "slot.index", as in JSON.
[[nodiscard]] std::string to_string(const SessionId& id);
[[nodiscard]] std::optional<SessionId> parse_session(std::string_view text);

/// With these words begins what validate() says of a message that tells when it was written, before the rules
/// allow it: a client sends it without, and is not refused.
inline constexpr std::string_view written_not_known = "when a message was written is not known yet";

/// With these words begins what a replica says to whoever speaks in a session under another key than it was
/// opened under: nothing of that session is for him.
inline constexpr std::string_view session_of_another_key = "the session belongs to another key";

using Nonce = std::array<std::uint8_t, 16>;

/// Opens a session. `nonce` is random and lets the client know its own session; a second open with the
/// nonce of a live session answers that same session. `whose`: the key under which it is opened, and all of
/// its commands come; other than the secret it is known from rules 2 on.
struct Open {
  Nonce nonce{};
  Credential whose = {};
  friend bool operator==(const Open&, const Open&) = default;
};
struct Close {
  friend bool operator==(const Close&, const Close&) = default;
};
struct Post {
  std::string room;
  std::string name;
  std::string text;
  /// Not empty: a message of this room under this key stands once, whoever sends it again. Known from rules 2
  /// on.
  std::string key = {};
  /// The room's topic from this message on; an empty one takes it away. Known from rules 2 on.
  std::optional<std::string> topic = {};
  /// Wall clock of the sender when it was written, ms since 1970, of a message that waited; 0: not said.
  /// Known from rules 2 on. It is not part of what a repeat must equal.
  std::int64_t written_ms = 0;
  friend bool operator==(const Post&, const Post&) = default;
};
/// Takes the text out of a message that stands: it stays in its place, without it (docs/ROWS.md,
/// "Redactions"). Again is fine: who and why are the last one's. Known from rules 2 on.
struct Redact {
  std::string room;
  std::uint64_t seq = 0;  ///< of the message in it
  std::string by;         ///< as a sender's name; may be empty
  std::string reason;     ///< may be empty
  friend bool operator==(const Redact&, const Redact&) = default;
};
/// Says which messages a room keeps, or all rooms that have no rule of their own (docs/ROWS.md, "Retention").
/// Again is fine. Known from rules 2 on.
struct Retain {
  std::string room;         ///< empty: the rule for all
  bool inherit = false;     ///< the room goes by the rule for all; nothing else is said
  std::uint64_t count = 0;  ///< its last so many; 0: however many
  std::int64_t age_ms = 0;  ///< those that are not older, by the session clock; 0: however old
  std::string by;           ///< as a sender's name; may be empty
  friend bool operator==(const Retain&, const Retain&) = default;
};
/// Issues or revokes a key, or says who may post without one of his own (chat/access.h). Known from rules 2
/// on.
struct SetAccess {
  /// Persisted: numbers are never reused.
  enum class Kind : std::uint8_t {
    issue = 1,
    revoke = 2,
    open_names = 3,
    close_names = 4,
    rotate = 5,  ///< from now on replicas speak under `secret` to each other; `before` is good as well
    retire = 6,  ///< `before` is not any more
  };
  Kind kind = Kind::issue;
  Credential whose = {};  ///< of issue, and with whatever role but the secret's of revoke; else the secret
  std::string name;       ///< of issue: under which alone it posts; empty: under any that is nobody's
  std::string by;         ///< as a sender's name; may be empty
  /// Of rotate and retire secrets by their names (net/seal.h), of issue the claim (chat/access.h).
  std::uint64_t secret = 0;
  std::uint64_t before = 0;
  friend bool operator==(const SetAccess&, const SetAccess&) = default;
};
/// "issue_key", "revoke_key", "open_names", "close_names", "rotate_secret", "retire_secret".
[[nodiscard]] const char* to_string(SetAccess::Kind kind);
using Operation = std::variant<Open, Close, Post, Redact, Retain, SetAccess>;

/// One client command. Open has no session and seq 0; a session's own commands count from seq 1.
struct Command {
  SessionId session;
  std::uint64_t seq = 0;
  std::uint64_t answered_below = 0;  ///< the client has the answers of all seqs below this
  Operation operation;
  friend bool operator==(const Command&, const Command&) = default;
};

/// A command that points into the bytes it was read from: for those who look at it without keeping it.
struct PostView {
  std::string_view room;
  std::string_view name;
  std::string_view text;
  std::string_view key = {};
  std::optional<std::string_view> topic = {};
  std::int64_t written_ms = 0;
  bool redacted =
      false;  ///< its text was taken out, and its topic; what follows is what repeats are held against
  std::uint64_t content = 0;    ///< content_of() it as it was
  std::uint64_t text_hash = 0;  ///< XXH3-64 of the text, where it has a key
};
struct RedactView {
  std::string_view room;
  std::uint64_t seq = 0;
  std::string_view by;
  std::string_view reason;
};
struct RetainView {
  std::string_view room;
  bool inherit = false;
  std::uint64_t count = 0;
  std::int64_t age_ms = 0;
  std::string_view by;
};
struct SetAccessView {
  SetAccess::Kind kind = SetAccess::Kind::issue;
  Credential whose = {};
  std::string_view name;
  std::string_view by;
  std::uint64_t secret = 0;
  std::uint64_t before = 0;
};
struct CommandView {
  SessionId session;
  std::uint64_t seq = 0;
  std::uint64_t answered_below = 0;
  std::variant<Open, Close, PostView, RedactView, RetainView, SetAccessView> operation;
  std::span<const std::byte> operation_bytes;  ///< number and content
};
/// A redacted post becomes one with an empty text, which no other post has.
[[nodiscard]] Command to_command(const CommandView& view);
/// XXH3-64 of its operation, without when it was written: two commands of one session and seq with the same
/// are the same command.
[[nodiscard]] std::uint64_t content_of(const CommandView& view);
/// XXH3-64 of the text as it was.
[[nodiscard]] std::uint64_t text_hash_of(const PostView& post);

/// Why a command's content is not acceptable under `rules`; empty when it is. Text: UTF-8 without NUL, 1 byte
/// to 16 KiB. Room: 1 to 64 bytes of UTF-8 without control characters. Name: the same; may be empty. From
/// rules 2 on a text has something to see, a name has no invisible character (chat/invisible.h), and a post
/// may have a key: 1 to 64 bytes as a room's, and a topic: 0 to 256 bytes without control characters, its
/// text's 16 KiB counting both. A room's invisible characters are the machine's business: one that is there
/// already stays in use.
[[nodiscard]] std::string validate(const Command& command, std::uint16_t rules);
[[nodiscard]] std::string validate(const CommandView& command, std::uint16_t rules);
[[nodiscard]] std::string validate_text(std::string_view text);
[[nodiscard]] std::string validate_room(std::string_view room);
[[nodiscard]] std::string validate_name(std::string_view name);
[[nodiscard]] std::string validate_key(std::string_view key);
[[nodiscard]] std::string validate_topic(std::string_view topic);
/// Up to 256 bytes without control characters; may be empty.
[[nodiscard]] std::string validate_reason(std::string_view reason);
/// What rules 2 ask beyond the three above, of a text, of a name, of a room that is to be made (no white
/// space at its ends).
[[nodiscard]] std::string validate_visible_text(std::string_view text);
[[nodiscard]] std::string validate_visible_name(std::string_view name);
[[nodiscard]] std::string validate_new_room(std::string_view room);

/// Bytes of one command, as in a decree, a Forward and a client's datagram (docs/WIRE.md).
[[nodiscard]] paxos::Bytes encode(const Command& command);
void encode_to(std::string& out, const Command& command);
/// Decodes exactly all of `bytes`, or says what is wrong.
[[nodiscard]] tl::expected<Command, std::string> decode_command(std::span<const std::byte> bytes);
[[nodiscard]] tl::expected<CommandView, std::string> view_command(std::span<const std::byte> bytes);

/// A decree's batch: proposer's wall clock and the commands in order.
struct Batch {
  std::int64_t time_ms = 0;
  std::vector<Command> commands;
};
/// Builds the value of a decree from encoded commands, without decoding them.
[[nodiscard]] paxos::Decree make_decree(std::int64_t time_ms, std::span<const paxos::Bytes> commands);
/// A decree that raises the rules to `rules`, and what it says; nothing for any other decree.
[[nodiscard]] paxos::Decree make_rules_decree(std::uint16_t rules);
[[nodiscard]] std::optional<std::uint16_t> rules_in(const paxos::Decree& decree);
/// Bytes that `count` commands of `bytes` in all take at most as a decree, redacted ones too.
[[nodiscard]] std::size_t decree_bytes(std::size_t count, std::size_t bytes);
[[nodiscard]] tl::expected<Batch, std::string> decode_batch(const paxos::Decree& decree);
/// The same without copying: the commands point into the decree's value.
struct BatchView {
  std::int64_t time_ms = 0;
  std::vector<CommandView> commands;
};
[[nodiscard]] tl::expected<BatchView, std::string> view_batch(const paxos::Decree& decree);
/// XXH3-128 of the decree's value, as it was before anything in it was redacted: what the hash chain covers.
struct ValueHash {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const ValueHash&, const ValueHash&) = default;
};
[[nodiscard]] ValueHash value_hash(const paxos::Decree& decree);
/// The decree without the texts of the posts at these places in its batch: applied, it gives the same
/// outcomes, the same answers and the same hash. It carries the value_hash() of what it was. Nothing where
/// there is no text to take out, or the result would be too large.
[[nodiscard]] std::optional<paxos::Decree> redacted(const paxos::Decree& decree,
                                                    std::span<const std::uint32_t> indexes);
/// Whether anything was redacted in it.
[[nodiscard]] bool has_redacted(const paxos::Decree& decree);
/// The same decree, but for what was redacted in one of the two.
[[nodiscard]] bool same_but_redacted(const paxos::Decree& a, const paxos::Decree& b);
/// As a program that knows no later rules than `rules` reads it: a batch with an operation that it does not
/// know is no batch to it.
[[nodiscard]] tl::expected<BatchView, std::string> view_batch(const paxos::Decree& decree,
                                                              std::uint16_t rules);

}  // namespace chat
