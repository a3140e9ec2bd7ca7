#include "chat/redaction.h"

#include <algorithm>
#include <utility>

#include "chat/retention.h"
#include "chat/rooms.h"
#include "chat/rows.h"
#include "paxos/coding.h"

namespace chat {

namespace {

/// Rows of outcomes, and records of the log, that one step looks at.
constexpr std::size_t scan_rows = 8192;
constexpr std::size_t records_a_step = 16;

enum class MarkState : std::uint8_t { pending = 1, done = 2 };

/// The outcomes in a row 'h' that were not `done`: which command, whose, and for a repeat where it first ran.
template <class Visit>
bool each_outcome(std::string_view value, Visit&& visit) {
  paxos::ByteReader r(value);
  r.raw(1 + 16);
  while (r.ok() && r.remaining() > 0) {
    const auto index = static_cast<std::uint32_t>(r.varint_max(limits::commands_per_decree_max));
    Outcome o;
    o.verdict = static_cast<Verdict>(r.fixed<std::uint8_t>());
    o.session.slot.n = r.varint();
    o.session.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
    o.client_seq = r.varint();
    o.slot.n = r.varint();
    o.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
    r.varint();
    r.fixed<std::uint64_t>();
    if (r.ok()) visit(index, o);
  }
  return r.ok();
}

bool is_copy(const Outcome& o, const MessagePlace& place) {
  if (place.slot.none()) return false;
  return (o.session == place.session && o.client_seq == place.client_seq) ||
         (o.verdict == Verdict::repeat && o.slot == place.slot && o.index == place.index);
}

/// The slot's record; nothing where it was trimmed.
tl::expected<std::optional<paxos::LogEntry>, std::string> record_of(const LogReader& log, paxos::Slot slot) {
  auto entries = log.entries(slot, slot, SIZE_MAX);
  if (!entries) return tl::make_unexpected(entries.error());
  if (!entries->empty()) return std::optional(std::move(entries->front()));
  // Asked afterwards: it may have been trimmed meanwhile.
  if (slot < log.first()) return std::optional<paxos::LogEntry>{};
  return tl::make_unexpected("slot " + std::to_string(slot.n) + " is not in the log");
}

/// content_of() the command at this place of the log; 0 where that was trimmed.
tl::expected<std::uint64_t, std::string> content_at(const LogReader& log, paxos::Slot slot,
                                                    std::uint32_t index) {
  const auto record = record_of(log, slot);
  if (!record) return tl::make_unexpected(record.error());
  if (!*record) return std::uint64_t{0};
  const auto batch = view_batch((*record)->decree);
  if (!batch || index >= batch->commands.size())
    return tl::make_unexpected("the record of slot " + std::to_string(slot.n) + " is not what was applied");
  return content_of(batch->commands[index]);
}

/// Whether the command is the target's, which came in vain.
bool is_target(const ErasePlan::Target& target, const CommandView& command) {
  const auto* post = std::get_if<PostView>(&command.operation);
  if (post == nullptr) return false;
  if (target.content != 0) return content_of(command) == target.content;
  return !post->redacted && post->room == target.message.room && post->name == target.name &&
         post->text == target.text;
}

paxos::Slot before(paxos::Slot slot) { return {slot.none() ? 0 : slot.n - 1}; }

void locate(ErasePlan& plan, const RowReader& rows, const LogReader& log) {
  plan.scanned = {UINT64_MAX};
  for (ErasePlan::Target& target : plan.targets) {
    auto run = run_without_text(rows, target.message);
    if (!run) {
      const auto kept = read_kept(rows, target.message.room);
      if (!kept || target.message.seq >= kept->first) {
        plan.fault = kept ? run.error() : kept.error();
        return;
      }
      // Its room has forgotten it, and it is off this disk. Later copies of it are found by where it stood,
      // as long as that is known.
      if (!target.place.slot.none()) {
        plan.copies[target.place.slot].insert(target.place.index);
        plan.scanned = std::min(plan.scanned, before(target.scan_from));
      }
      continue;
    }
    target.place = run->place;
    const auto content = content_at(log, run->place.slot, run->place.index);
    if (!content) {
      plan.fault = content.error();
      return;
    }
    target.content = *content;
    if (*content == 0) {
      target.name = std::move(run->name);
      target.text = std::move(run->text);
    }
    plan.copies[run->place.slot].insert(run->place.index);
    plan.scanned = std::min(plan.scanned, before(target.scan_from));
    // Two messages of one run: the second is taken out of what the first left.
    plan.rows.push_back(std::move(run->row));
    if (auto topic = topic_row_set_by(rows, target.message)) plan.rows.push_back(std::move(*topic));
  }
  plan.located = true;
}

/// Of the commands that came in vain in this slot, those with a target's content. False: the record does not
/// read.
bool look_at_contents(ErasePlan& plan, std::string_view outcomes, paxos::Slot slot, const LogReader& log) {
  const auto record = record_of(log, slot);
  if (record && !*record) return true;  // trimmed
  const auto batch = record ? view_batch((*record)->decree) : tl::make_unexpected(std::string());
  if (!batch) {
    plan.fault =
        record ? "the record of slot " + std::to_string(slot.n) + " is not what was applied" : record.error();
    return false;
  }
  each_outcome(outcomes, [&](std::uint32_t index, const Outcome& outcome) {
    if (!came_in_vain(outcome.verdict) || index >= batch->commands.size()) return;
    for (const ErasePlan::Target& target : plan.targets)
      if (is_target(target, batch->commands[index])) plan.copies[slot].insert(index);
  });
  return true;
}

bool scan(ErasePlan& plan, const RowReader& rows, const LogReader& log) {
  const auto applied = read_applied(rows);
  if (!applied) {
    plan.fault = applied.error();
    return false;
  }
  std::size_t seen = 0;
  if (plan.scanned < applied->slot)
    rows.scan(rows::hash(plan.scanned + 1), rows::hash(applied->slot + 1),
              [&](std::string_view key, std::string_view value) {
                const paxos::Slot slot{paxos::ByteReader(key.substr(1)).key64()};
                bool vain = false;
                const bool whole = each_outcome(value, [&](std::uint32_t index, const Outcome& outcome) {
                  vain = vain || came_in_vain(outcome.verdict);
                  for (const ErasePlan::Target& target : plan.targets)
                    if (is_copy(outcome, target.place)) plan.copies[slot].insert(index);
                });
                if (vain && whole && !look_at_contents(plan, value, slot, log)) return false;
                if (vain) seen += scan_rows / 64;  // a record was read
                if (!whole) plan.fault = "the outcomes of slot " + std::to_string(slot.n) + " do not read";
                plan.scanned = slot;
                return whole && ++seen < scan_rows;
              });
  return plan.fault.empty() && plan.scanned >= applied->slot;
}

void read_records(ErasePlan& plan, const LogReader& log) {
  for (std::size_t step = 0; step < records_a_step; ++step) {
    if (plan.copies.empty()) {
      plan.complete = true;
      return;
    }
    const auto& [slot, indexes] = *plan.copies.begin();
    const auto record = record_of(log, slot);
    if (!record) {
      plan.fault = record.error();
      return;
    }
    if (*record)
      if (auto without =
              redacted((*record)->decree, std::vector<std::uint32_t>(indexes.begin(), indexes.end())))
        plan.decrees.push_back({slot, (*record)->ballot, std::move(*without)});
    plan.slots.push_back(slot);
    plan.copies.erase(plan.copies.begin());
  }
}

}  // namespace

std::optional<Redaction> decode_redaction(std::string_view value) {
  paxos::ByteReader r(value);
  Redaction out;
  const auto version = r.fixed<std::uint8_t>();
  r.raw(8);  // the slot
  out.time_ms = static_cast<std::int64_t>(r.fixed<std::uint64_t>());
  out.by = r.sized_view(limits::name_bytes_max);
  out.reason = r.sized_view(limits::reason_bytes_max);
  return r.done() && version == rows::row_version ? std::optional(std::move(out)) : std::nullopt;
}

bool came_in_vain(Verdict verdict) {
  return verdict != Verdict::done && verdict != Verdict::repeat && verdict != Verdict::receipt_gone &&
         verdict != Verdict::no_message && verdict != Verdict::no_room &&
         verdict != Verdict::kept_too_short && verdict != Verdict::forgotten &&
         verdict != Verdict::no_such_key;
}

std::string encode_erasure(const ErasureMark& mark) {
  std::string out;
  paxos::ByteWriter w(out);
  w.fixed(rows::row_version);
  w.fixed(static_cast<std::uint8_t>(mark.done ? MarkState::done : MarkState::pending));
  if (!mark.place) return out;
  w.varint(mark.place->slot.n);
  w.varint(mark.place->index);
  w.varint(mark.place->session.slot.n);
  w.varint(mark.place->session.index);
  w.varint(mark.place->client_seq);
  w.fixed(mark.content);
  return out;
}

std::optional<ErasureMark> decode_erasure(std::string_view value) {
  paxos::ByteReader r(value);
  const auto version = r.fixed<std::uint8_t>();
  const auto state = static_cast<MarkState>(r.fixed<std::uint8_t>());
  ErasureMark out{.done = state == MarkState::done, .place = {}};
  if (r.ok() && r.remaining() > 0) {
    out.place.emplace();
    out.place->slot.n = r.varint();
    out.place->index = static_cast<std::uint32_t>(r.varint_max(limits::commands_per_decree_max));
    out.place->session.slot.n = r.varint();
    out.place->session.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
    out.place->client_seq = r.varint();
    out.content = r.fixed<std::uint64_t>();
  }
  const bool known = state == MarkState::pending || state == MarkState::done;
  return r.done() && version == rows::row_version && known ? std::optional(out) : std::nullopt;
}

std::optional<MessageName> message_in(std::string_view key) {
  if (key.size() < 2) return std::nullopt;
  const std::size_t room = static_cast<unsigned char>(key[1]);
  if (key.size() != 2 + room + 8) return std::nullopt;
  return MessageName{std::string(key.substr(2, room)), paxos::ByteReader(key.substr(2 + room)).key64()};
}

/// The rows of `plan` as they lie over those on the disk.
namespace {
class Over final : public RowReader {
 public:
  Over(const RowReader& below, const std::vector<Row>& rows) : below_(below), rows_(rows) {}
  void scan(std::string_view from, std::string_view to,
            const std::function<bool(std::string_view, std::string_view)>& visit) const override {
    below_.scan(from, to,
                [&](std::string_view key, std::string_view value) { return visit(key, shown(key, value)); });
  }
  void scan_back(std::string_view from, std::string_view to,
                 const std::function<bool(std::string_view, std::string_view)>& visit) const override {
    below_.scan_back(from, to, [&](std::string_view key, std::string_view value) {
      return visit(key, shown(key, value));
    });
  }
  [[nodiscard]] std::optional<std::string> get(std::string_view key) const override {
    return below_.get(key);
  }

 private:
  [[nodiscard]] std::string_view shown(std::string_view key, std::string_view value) const {
    for (auto row = rows_.rbegin(); row != rows_.rend(); ++row)
      if (row->key == key && row->value) return *row->value;
    return value;
  }
  const RowReader& below_;
  const std::vector<Row>& rows_;
};
}  // namespace

void advance(ErasePlan& plan, const RowReader& rows, const LogReader& log) {
  if (!plan.located) locate(plan, Over(rows, plan.rows), log);
  if (!plan.fault.empty()) return;
  if (scan(plan, rows, log) && plan.fault.empty()) read_records(plan, log);
}

}  // namespace chat
