#include "chat/command.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "chat/versions.h"
#include "paxos/coding.h"

/// A command's bytes: version 1 (u8) | session slot (varint) | session index (varint) | seq (varint) |
/// answered_below (varint) | operation number (u8) | operation. Open: nonce (16). Close: nothing. Post: room,
/// name, text, each sized. Post with options (from rules 2 on, where it has any): the same, then the number
/// of options (varint), then each, ascending: number (u8), value (sized). Option 1: the key. Option 2:
/// written_ms (u64), 1 to that of the year 9999. Option 20: the topic. A decree's value: version 1 (u8) |
/// time_ms (u64) | count (varint) | sized commands.
///
/// Redacted post (in redacted batches only): room, name, each sized, content (u64), then options as above,
/// maybe none; the topic's value is empty, and a key is followed by option 3, the XXH3-64 of the text (u64).
/// Redact (from rules 2 on): room (sized), seq (varint), by, reason, each sized. Retain (from rules 2 on):
/// room (sized), 1 a rule or 2 none of its own (u8), count, age_ms (varints), by (sized). Open under a key
/// (from rules 2 on): nonce (16), role (u8), id (u32). Access (from rules 2 on): 1 issue, 2 revoke, 3 open
/// names or 4 close names (u8), role (u8), id (u32), name, by, each sized. The value of a decree in which
/// something was redacted: version 2 (u8) | XXH3-128 of the value as it was (low u64, high u64) | time_ms
/// (u64) | count (varint) | sized commands.
namespace chat {

namespace {

constexpr std::uint8_t command_version = 1;
constexpr std::uint8_t batch_version = 1;
constexpr std::uint8_t redacted_batch_version = 2;
enum class OperationNumber : std::uint8_t {
  open = 1,
  close = 2,
  post = 3,
  post_with_options = 4,
  redacted_post = 5,
  redact = 6,
  retain = 7,
  open_under_key = 8,
  set_access = 9
};
/// Persisted.
enum class RetainKind : std::uint8_t { rule = 1, inherit = 2 };
enum class PostOption : std::uint8_t { key = 1, written = 2, text_hash = 3, topic = 20 };
/// By how much a redacted post may be longer than it was: its content's hash, and with a key that of its
/// text.
constexpr std::size_t redacted_post_growth = 8 + 10;
constexpr std::int64_t written_ms_max = 253'402'300'799'999;

}  // namespace

std::string to_string(const SessionId& id) {
  return std::to_string(id.slot.n) + "." + std::to_string(id.index);
}

const char* to_string(SetAccess::Kind kind) {
  switch (kind) {
    case SetAccess::Kind::issue:
      return "issue_key";
    case SetAccess::Kind::revoke:
      return "revoke_key";
    case SetAccess::Kind::open_names:
      return "open_names";
    case SetAccess::Kind::close_names:
      return "close_names";
    case SetAccess::Kind::rotate:
      return "rotate_secret";
    case SetAccess::Kind::retire:
      return "retire_secret";
  }
  return "unknown";
}

std::optional<SessionId> parse_session(std::string_view text) {
  SessionId id;
  const std::size_t dot = text.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const auto number = [](std::string_view digits, auto& out) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    return error == std::errc{} && end == digits.data() + digits.size();
  };
  if (!number(text.substr(0, dot), id.slot.n) || !number(text.substr(dot + 1), id.index)) return std::nullopt;
  return id;
}

Command to_command(const CommandView& view) {
  Command command{
      .session = view.session, .seq = view.seq, .answered_below = view.answered_below, .operation = Close{}};
  if (const auto* open = std::get_if<Open>(&view.operation))
    command.operation = *open;
  else if (const auto* post = std::get_if<PostView>(&view.operation))
    command.operation = Post{std::string(post->room),
                             std::string(post->name),
                             std::string(post->text),
                             std::string(post->key),
                             post->topic ? std::optional(std::string(*post->topic)) : std::nullopt,
                             post->written_ms};
  else if (const auto* redact = std::get_if<RedactView>(&view.operation))
    command.operation =
        Redact{std::string(redact->room), redact->seq, std::string(redact->by), std::string(redact->reason)};
  else if (const auto* retain = std::get_if<RetainView>(&view.operation))
    command.operation = Retain{std::string(retain->room), retain->inherit, retain->count, retain->age_ms,
                               std::string(retain->by)};
  else if (const auto* access = std::get_if<SetAccessView>(&view.operation))
    command.operation =
        SetAccess{access->kind,   access->whose, std::string(access->name), std::string(access->by),
                  access->secret, access->before};
  return command;
}

namespace {

/// Two numbers of eight bytes follow.
bool names_two(SetAccess::Kind kind) {
  return kind == SetAccess::Kind::issue || kind >= SetAccess::Kind::rotate;
}

void put_credential(paxos::ByteWriter& w, const Credential& whose) {
  w.fixed(static_cast<std::uint8_t>(whose.role));
  w.fixed(whose.id);
}

Credential get_credential(paxos::ByteReader& r) {
  const auto role = static_cast<Role>(r.fixed<std::uint8_t>());
  const Credential whose{role, r.fixed<std::uint32_t>()};
  if (!whose.valid()) r.fail();
  return whose;
}

}  // namespace

void encode_to(std::string& out, const Command& command) {
  paxos::FewBytes<48> head;
  head.fixed(command_version)
      .varint(command.session.slot.n)
      .varint(command.session.index)
      .varint(command.seq);
  head.varint(command.answered_below).append_to(out);
  paxos::ByteWriter w(out);
  if (const auto* open = std::get_if<Open>(&command.operation)) {
    w.fixed(static_cast<std::uint8_t>(open->whose.is_secret() ? OperationNumber::open
                                                              : OperationNumber::open_under_key));
    w.raw(open->nonce);
    if (!open->whose.is_secret()) put_credential(w, open->whose);
  } else if (const auto* post = std::get_if<Post>(&command.operation)) {
    const std::uint64_t options =
        (post->key.empty() ? 0U : 1U) + (post->written_ms == 0 ? 0U : 1U) + (post->topic ? 1U : 0U);
    w.fixed(
        static_cast<std::uint8_t>(options == 0 ? OperationNumber::post : OperationNumber::post_with_options));
    w.sized(post->room);
    w.sized(post->name);
    w.sized(post->text);
    if (options != 0) w.varint(options);
    if (!post->key.empty()) {
      w.fixed(static_cast<std::uint8_t>(PostOption::key));
      w.sized(post->key);
    }
    if (post->written_ms != 0) {
      w.fixed(static_cast<std::uint8_t>(PostOption::written));
      std::string value;
      paxos::ByteWriter(value).fixed(static_cast<std::uint64_t>(post->written_ms));
      w.sized(value);
    }
    if (post->topic) {
      w.fixed(static_cast<std::uint8_t>(PostOption::topic));
      w.sized(*post->topic);
    }
  } else if (const auto* redact = std::get_if<Redact>(&command.operation)) {
    w.fixed(static_cast<std::uint8_t>(OperationNumber::redact));
    w.sized(redact->room);
    w.varint(redact->seq);
    w.sized(redact->by);
    w.sized(redact->reason);
  } else if (const auto* retain = std::get_if<Retain>(&command.operation)) {
    w.fixed(static_cast<std::uint8_t>(OperationNumber::retain));
    w.sized(retain->room);
    w.fixed(static_cast<std::uint8_t>(retain->inherit ? RetainKind::inherit : RetainKind::rule));
    w.varint(retain->count);
    w.varint(static_cast<std::uint64_t>(retain->age_ms));
    w.sized(retain->by);
  } else if (const auto* access = std::get_if<SetAccess>(&command.operation)) {
    w.fixed(static_cast<std::uint8_t>(OperationNumber::set_access));
    w.fixed(static_cast<std::uint8_t>(access->kind));
    put_credential(w, access->whose);
    w.sized(access->name);
    w.sized(access->by);
    if (names_two(access->kind)) {
      w.fixed(access->secret);
      w.fixed(access->before);
    }
  } else {
    w.fixed(static_cast<std::uint8_t>(OperationNumber::close));
  }
}

paxos::Bytes encode(const Command& command) {
  std::string out;
  std::size_t bytes = 48;
  if (const auto* post = std::get_if<Post>(&command.operation))
    bytes += post->room.size() + post->name.size() + post->text.size() + post->key.size() +
             (post->topic ? post->topic->size() : 0) + 16;
  out.reserve(bytes);
  encode_to(out, command);
  return paxos::Bytes::from(std::move(out));
}

namespace {

/// One content has one encoding: ascending, each once; without options it is the plain post.
void read_options(paxos::ByteReader& r, PostView& post) {
  const std::uint64_t count = r.varint();
  if (count == 0 && !post.redacted) r.fail();
  bool hashed = false;
  std::uint8_t last = 0;
  for (std::uint64_t i = 0; i < count && r.ok(); ++i) {
    const auto number = r.fixed<std::uint8_t>();
    if (number <= last) r.fail();
    last = number;
    switch (static_cast<PostOption>(number)) {
      case PostOption::key:
        post.key = r.sized_view(limits::key_bytes_max);
        if (post.key.empty()) r.fail();
        break;
      case PostOption::topic:
        post.topic = r.sized_view(post.redacted ? 0 : limits::topic_bytes_max);
        break;
      case PostOption::text_hash: {
        paxos::ByteReader value(r.sized_view(8));
        post.text_hash = value.fixed<std::uint64_t>();
        if (!value.done() || !post.redacted) r.fail();
        hashed = true;
        break;
      }
      case PostOption::written: {
        paxos::ByteReader value(r.sized_view(8));
        post.written_ms = static_cast<std::int64_t>(value.fixed<std::uint64_t>());
        if (!value.done() || post.written_ms < 1 || post.written_ms > written_ms_max) r.fail();
        break;
      }
      default:
        r.fail();
    }
  }
  if (post.redacted && hashed != !post.key.empty()) r.fail();
}

/// `redacted`: in a batch in which something was redacted.
tl::expected<CommandView, std::string> view_command_of(std::span<const std::byte> bytes, std::uint16_t rules,
                                                       bool redacted) {
  paxos::ByteReader r(bytes);
  CommandView command;
  if (const auto version = r.fixed<std::uint8_t>(); r.ok() && version != command_version)
    return tl::make_unexpected("a command of version " + std::to_string(version) +
                               "; this program knows version " + std::to_string(command_version));
  command.session.slot.n = r.varint();
  command.session.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
  command.seq = r.varint();
  command.answered_below = r.varint();
  command.operation_bytes = bytes.last(r.remaining());
  const auto number = static_cast<OperationNumber>(r.fixed<std::uint8_t>());
  switch (number) {
    case OperationNumber::open:
      command.operation = Open{r.array<16>()};
      break;
    case OperationNumber::open_under_key: {
      if (rules < rules_access) return tl::make_unexpected(std::string("an operation of unknown number"));
      Open open{r.array<16>()};
      open.whose = get_credential(r);
      if (open.whose.is_secret()) r.fail();  // one value, one encoding
      command.operation = open;
      break;
    }
    case OperationNumber::close:
      command.operation = Close{};
      break;
    case OperationNumber::post_with_options:
      if (rules < rules_post_options)
        return tl::make_unexpected(std::string("an operation of unknown number"));
      [[fallthrough]];
    case OperationNumber::post: {
      PostView post;
      post.room = r.sized_view(limits::room_bytes_max);
      post.name = r.sized_view(limits::name_bytes_max);
      post.text = r.sized_view(limits::text_bytes_max);
      if (number == OperationNumber::post_with_options) read_options(r, post);
      command.operation = post;
      break;
    }
    case OperationNumber::redacted_post: {
      if (!redacted) return tl::make_unexpected(std::string("an operation of unknown number"));
      PostView post;
      post.redacted = true;
      post.room = r.sized_view(limits::room_bytes_max);
      post.name = r.sized_view(limits::name_bytes_max);
      post.content = r.fixed<std::uint64_t>();
      read_options(r, post);
      command.operation = post;
      break;
    }
    case OperationNumber::redact: {
      if (rules < rules_redactions) return tl::make_unexpected(std::string("an operation of unknown number"));
      RedactView redact;
      redact.room = r.sized_view(limits::room_bytes_max);
      redact.seq = r.varint();
      redact.by = r.sized_view(limits::name_bytes_max);
      redact.reason = r.sized_view(limits::reason_bytes_max);
      command.operation = redact;
      break;
    }
    case OperationNumber::retain: {
      if (rules < rules_retention) return tl::make_unexpected(std::string("an operation of unknown number"));
      RetainView retain;
      retain.room = r.sized_view(limits::room_bytes_max);
      const auto kind = static_cast<RetainKind>(r.fixed<std::uint8_t>());
      retain.inherit = kind == RetainKind::inherit;
      if (!retain.inherit && kind != RetainKind::rule) r.fail();
      retain.count = r.varint();
      retain.age_ms = static_cast<std::int64_t>(r.varint_max(INT64_MAX));
      retain.by = r.sized_view(limits::name_bytes_max);
      command.operation = retain;
      break;
    }
    case OperationNumber::set_access: {
      if (rules < rules_access) return tl::make_unexpected(std::string("an operation of unknown number"));
      SetAccessView access;
      const auto kind = r.fixed<std::uint8_t>();
      if (kind < 1 || kind > static_cast<std::uint8_t>(SetAccess::Kind::retire)) r.fail();
      access.kind = static_cast<SetAccess::Kind>(kind);
      access.whose = get_credential(r);
      access.name = r.sized_view(limits::name_bytes_max);
      access.by = r.sized_view(limits::name_bytes_max);
      if (names_two(access.kind)) {
        access.secret = r.fixed<std::uint64_t>();
        access.before = r.fixed<std::uint64_t>();
      }
      command.operation = access;
      break;
    }
    default:
      if (!r.ok()) break;
      return tl::make_unexpected(std::string("an operation of unknown number"));
  }
  if (!r.done())
    return tl::make_unexpected(
        std::string("a command that is cut short, has a field out of range, or bytes to spare"));
  return command;
}

}  // namespace

std::uint64_t content_of(const CommandView& command) {
  const auto hash = [](std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); };
  const auto* post = std::get_if<PostView>(&command.operation);
  if (post != nullptr && post->redacted) return post->content;
  if (post == nullptr || post->written_ms == 0) return hash(command.operation_bytes);
  Command plain = to_command(command);
  std::get<Post>(plain.operation).written_ms = 0;
  const paxos::Bytes bytes = encode(plain);
  const auto view = view_command(bytes.span());
  return hash(view->operation_bytes);
}

std::uint64_t text_hash_of(const PostView& post) {
  return post.redacted ? post.text_hash : XXH3_64bits(post.text.data(), post.text.size());
}

tl::expected<CommandView, std::string> view_command(std::span<const std::byte> bytes) {
  return view_command_of(bytes, UINT16_MAX, false);
}

tl::expected<Command, std::string> decode_command(std::span<const std::byte> bytes) {
  return view_command(bytes).map(to_command);
}

namespace {
std::size_t varint_bytes(std::uint64_t value) {
  std::size_t bytes = 1;
  for (; value >= 0x80; value >>= 7) ++bytes;
  return bytes;
}
}  // namespace

std::size_t decree_bytes(std::size_t count, std::size_t bytes) {
  return 1 + sizeof(ValueHash) + 8 + varint_bytes(count) +
         count * (varint_bytes(limits::command_bytes_max) + redacted_post_growth) + bytes;
}

paxos::Decree make_decree(std::int64_t time_ms, std::span<const paxos::Bytes> commands) {
  std::size_t bytes = 0;
  for (const paxos::Bytes& c : commands) bytes += c.size();
  std::string out;
  out.reserve(decree_bytes(commands.size(), bytes));
  paxos::ByteWriter w(out);
  w.fixed(batch_version);
  w.fixed(static_cast<std::uint64_t>(time_ms));
  w.varint(commands.size());
  for (const paxos::Bytes& c : commands) w.sized(c.span());
  return {paxos::DecreeKind::commands, paxos::Bytes::from(std::move(out))};
}

paxos::Decree make_rules_decree(std::uint16_t rules) {
  std::string out;
  paxos::ByteWriter(out).fixed(rules);
  return {paxos::DecreeKind::rules, paxos::Bytes::from(std::move(out))};
}

std::optional<std::uint16_t> rules_in(const paxos::Decree& decree) {
  if (decree.kind != paxos::DecreeKind::rules) return std::nullopt;
  paxos::ByteReader r(decree.value.span());
  const auto rules = r.fixed<std::uint16_t>();
  return r.done() ? std::optional(rules) : std::nullopt;
}

tl::expected<BatchView, std::string> view_batch(const paxos::Decree& decree) {
  return view_batch(decree, UINT16_MAX);
}

tl::expected<BatchView, std::string> view_batch(const paxos::Decree& decree, std::uint16_t rules) {
  if (decree.kind != paxos::DecreeKind::commands) return BatchView{};
  paxos::ByteReader r(decree.value.span());
  BatchView batch;
  const auto version = r.fixed<std::uint8_t>();
  if (version != batch_version && version != redacted_batch_version)
    return tl::make_unexpected(std::string("a batch of unknown version"));
  const bool redacted = version == redacted_batch_version;
  if (redacted) r.raw(sizeof(ValueHash));
  batch.time_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  const auto count = static_cast<std::size_t>(r.varint_max(limits::commands_per_decree_max));
  batch.commands.reserve(std::min(count, r.remaining()));
  for (std::size_t i = 0; i < count; ++i) {
    const auto bytes = r.sized(limits::command_bytes_max);
    if (!r.ok()) break;
    auto command = view_command_of(bytes, rules, redacted);
    if (!command)
      return tl::make_unexpected("command " + std::to_string(i) + " of the batch: " + command.error());
    batch.commands.push_back(*command);
  }
  if (!r.done()) return tl::make_unexpected(std::string("a batch that is cut short or has bytes to spare"));
  return batch;
}

tl::expected<Batch, std::string> decode_batch(const paxos::Decree& decree) {
  auto view = view_batch(decree);
  if (!view) return tl::make_unexpected(std::move(view.error()));
  Batch batch{.time_ms = view->time_ms, .commands = {}};
  batch.commands.reserve(view->commands.size());
  for (const CommandView& command : view->commands) batch.commands.push_back(to_command(command));
  return batch;
}

// --- what was redacted ---

ValueHash value_hash(const paxos::Decree& decree) {
  if (has_redacted(decree)) {
    paxos::ByteReader r(decree.value.span().subspan(1));
    const auto low = r.fixed<std::uint64_t>();
    return {low, r.fixed<std::uint64_t>()};
  }
  const XXH128_hash_t hash = XXH3_128bits(decree.value.data(), decree.value.size());
  return {hash.low64, hash.high64};
}

bool has_redacted(const paxos::Decree& decree) {
  return decree.kind == paxos::DecreeKind::commands && decree.value.size() >= 1 + sizeof(ValueHash) &&
         std::to_integer<std::uint8_t>(decree.value.span()[0]) == redacted_batch_version;
}

namespace {

/// The bytes of a command, its post without the text.
std::string without_text(std::span<const std::byte> bytes, const CommandView& view) {
  const auto& post = std::get<PostView>(view.operation);
  std::string out;
  paxos::ByteWriter w(out);
  w.raw(bytes.first(bytes.size() - view.operation_bytes.size()));
  w.fixed(static_cast<std::uint8_t>(OperationNumber::redacted_post));
  w.sized(post.room);
  w.sized(post.name);
  w.fixed(content_of(view));
  const auto number = [&](PostOption option, std::uint64_t value) {
    w.fixed(static_cast<std::uint8_t>(option));
    w.varint(8);
    w.fixed(value);
  };
  w.varint((post.key.empty() ? 0U : 2U) + (post.written_ms == 0 ? 0U : 1U) + (post.topic ? 1U : 0U));
  if (!post.key.empty()) {
    w.fixed(static_cast<std::uint8_t>(PostOption::key));
    w.sized(post.key);
  }
  if (post.written_ms != 0) number(PostOption::written, static_cast<std::uint64_t>(post.written_ms));
  if (!post.key.empty()) number(PostOption::text_hash, text_hash_of(post));
  if (post.topic) {
    w.fixed(static_cast<std::uint8_t>(PostOption::topic));
    w.varint(0);
  }
  return out;
}

/// The commands of a batch as they stand in it, and its time; nothing where it is none.
struct RawBatch {
  std::uint64_t time_ms = 0;
  std::vector<std::span<const std::byte>> commands;
};
std::optional<RawBatch> raw_batch(const paxos::Decree& decree) {
  if (decree.kind != paxos::DecreeKind::commands || !view_batch(decree)) return std::nullopt;
  RawBatch out;
  paxos::ByteReader r(decree.value.span().subspan(has_redacted(decree) ? 1 + sizeof(ValueHash) : 1));
  out.time_ms = r.fixed<std::uint64_t>();
  for (std::uint64_t left = r.varint(); left > 0; --left)
    out.commands.push_back(r.sized(limits::command_bytes_max));
  return out;
}

}  // namespace

std::optional<paxos::Decree> redacted(const paxos::Decree& decree, std::span<const std::uint32_t> indexes) {
  const auto batch = raw_batch(decree);
  if (!batch) return std::nullopt;
  std::string out;
  out.reserve(decree.value.size() + 64);
  paxos::ByteWriter w(out);
  const ValueHash hash = value_hash(decree);
  w.fixed(redacted_batch_version);
  w.fixed(hash.low);
  w.fixed(hash.high);
  w.fixed(batch->time_ms);
  w.varint(batch->commands.size());
  bool any = false;
  for (std::uint32_t i = 0; i < batch->commands.size(); ++i) {
    const auto bytes = batch->commands[i];
    const auto view = view_command_of(bytes, UINT16_MAX, true);
    const auto* post = view ? std::get_if<PostView>(&view->operation) : nullptr;
    if (post == nullptr || post->redacted || std::find(indexes.begin(), indexes.end(), i) == indexes.end()) {
      w.sized(bytes);
      continue;
    }
    any = true;
    w.sized(std::string_view(without_text(bytes, *view)));
  }
  if (!any || out.size() > paxos::limits::decree_bytes_max) return std::nullopt;
  return paxos::Decree{paxos::DecreeKind::commands, paxos::Bytes::from(std::move(out))};
}

bool same_but_redacted(const paxos::Decree& a, const paxos::Decree& b) {
  if (a == b) return true;
  if (a.kind != b.kind || (!has_redacted(a) && !has_redacted(b)) || value_hash(a) != value_hash(b))
    return false;
  const auto one = raw_batch(a), other = raw_batch(b);
  if (!one || !other || one->time_ms != other->time_ms || one->commands.size() != other->commands.size())
    return false;
  // Each command is the same, or the same once the other's text is taken out too.
  const auto bare = [](std::span<const std::byte> bytes) {
    const auto view = view_command_of(bytes, UINT16_MAX, true);
    const auto* post = view ? std::get_if<PostView>(&view->operation) : nullptr;
    return post == nullptr || post->redacted
               ? std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())
               : without_text(bytes, *view);
  };
  for (std::size_t i = 0; i < one->commands.size(); ++i) {
    const auto x = one->commands[i], y = other->commands[i];
    if (!std::equal(x.begin(), x.end(), y.begin(), y.end()) && bare(x) != bare(y)) return false;
  }
  return true;
}

}  // namespace chat
