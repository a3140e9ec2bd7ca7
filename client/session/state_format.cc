#include "client/session/state_format.h"

#include <xxhash.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "chat/bounds.h"
#include "paxos/coding.h"
#include "paxos/invariant.h"

namespace client::state_format {

namespace {

constexpr std::string_view magic = "paxoschat state 2\n";
constexpr std::string_view first_magic = "paxoschat state 1\n";
constexpr std::string_view any_magic = "paxoschat state ";
constexpr std::size_t cluster_id_bytes_max = 256;
constexpr std::size_t first_record_header_bytes = 12;
enum class EventNumber : std::uint8_t { queued = 1, opened = 2, abandoned = 3, answered = 4, snapshot = 5 };

std::uint64_t sum_of(std::string_view bytes, std::uint64_t seed = 0) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

void encode_post(paxos::ByteWriter& w, const chat::Post& post) {
  w.sized(post.room);
  w.sized(post.name);
  w.sized(post.text);
  w.sized(post.key);
  w.fixed(static_cast<std::uint8_t>(post.topic ? 1 : 0));
  if (post.topic) w.sized(*post.topic);
  w.varint(static_cast<std::uint64_t>(post.written_ms));
}
chat::Post decode_post(paxos::ByteReader& r, bool first_format) {
  chat::Post post;
  post.room = r.sized_view(chat::limits::room_bytes_max);
  post.name = r.sized_view(chat::limits::name_bytes_max);
  post.text = r.sized_view(chat::limits::text_bytes_max);
  if (first_format) return post;
  post.key = r.sized_view(chat::limits::key_bytes_max);
  const auto has_topic = r.fixed<std::uint8_t>();
  if (has_topic > 1) r.fail();
  if (has_topic == 1) post.topic = r.sized_view(chat::limits::topic_bytes_max);
  post.written_ms = static_cast<std::int64_t>(r.varint());
  return post;
}

void encode_event(paxos::ByteWriter& w, const LedgerEvent& event) {
  const auto number = [&](EventNumber n) { w.fixed(static_cast<std::uint8_t>(n)); };
  if (const auto* queued = std::get_if<Queued>(&event)) {
    number(EventNumber::queued);
    w.varint(queued->ticket);
    encode_post(w, queued->post);
  } else if (const auto* opened = std::get_if<Opened>(&event)) {
    number(EventNumber::opened);
    w.varint(opened->session.slot.n);
    w.varint(opened->session.index);
  } else if (std::holds_alternative<Abandoned>(event)) {
    number(EventNumber::abandoned);
  } else {
    number(EventNumber::answered);
    w.varint(std::get<Answered>(event).ticket);
  }
}

/// What a payload does to a ledger, and what it shows of messages.
class Folding {
 public:
  explicit Folding(bool first_format) : first_format_(first_format) {}

  /// False when it is not what we write, or does not fit what came before.
  bool apply(std::string_view payload, Ledger& ledger) {
    return walk(
        payload, [&](const LedgerEvent& event) { return ledger.apply(event); },
        [&](Ledger&& snapshot) {
          ledger = std::move(snapshot);
          return true;
        });
  }
  /// The messages in it, whatever came before.
  void gather(std::string_view payload, std::map<std::uint64_t, Found>& found) {
    (void)walk(
        payload,
        [&](const LedgerEvent& event) {
          if (const auto* queued = std::get_if<Queued>(&event)) {
            Found& at = found[queued->ticket];
            at.ticket = queued->ticket;
            at.post = queued->post;
          } else if (const auto* answered = std::get_if<Answered>(&event)) {
            if (const auto at = found.find(answered->ticket); at != found.end()) at->second.answered = true;
          }
          return true;
        },
        [&](Ledger&& snapshot) {
          for (Ledger::Entry& entry : snapshot.entries)
            found[entry.ticket] = {.ticket = entry.ticket, .post = std::move(entry.post), .answered = false};
          return true;
        });
  }

 private:
  template <class OnEvent, class OnSnapshot>
  bool walk(std::string_view payload, OnEvent&& on_event, OnSnapshot&& on_snapshot) const {
    paxos::ByteReader r(payload);
    while (r.ok() && r.remaining() > 0) {
      switch (static_cast<EventNumber>(r.fixed<std::uint8_t>())) {
        case EventNumber::queued: {
          Queued queued;
          queued.ticket = r.varint();
          queued.post = decode_post(r, first_format_);
          if (!r.ok() || !on_event(queued)) return false;
          break;
        }
        case EventNumber::opened: {
          Opened opened;
          opened.session.slot.n = r.varint();
          opened.session.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
          if (!r.ok() || !on_event(opened)) return false;
          break;
        }
        case EventNumber::abandoned:
          if (!on_event(Abandoned{})) return false;
          break;
        case EventNumber::answered: {
          const std::uint64_t ticket = r.varint();
          if (!r.ok() || !on_event(Answered{ticket})) return false;
          break;
        }
        case EventNumber::snapshot: {
          Ledger ledger;
          ledger.session.slot.n = r.varint();
          ledger.session.index = static_cast<std::uint32_t>(r.varint_max(UINT32_MAX));
          ledger.next_seq = r.varint();
          ledger.next_ticket = r.varint();
          const std::uint64_t count = r.varint();
          for (std::uint64_t i = 0; i < count && r.ok(); ++i) {
            Ledger::Entry entry;
            entry.ticket = r.varint();
            entry.seq = r.varint();
            entry.post = decode_post(r, first_format_);
            ledger.entries.push_back(std::move(entry));
          }
          if (!r.ok() || !on_snapshot(std::move(ledger))) return false;
          break;
        }
        default:
          return false;
      }
    }
    return r.done();
  }

  bool first_format_;
};

std::string frame(std::uint64_t at, std::string_view payload) {
  std::string out;
  out.reserve(record_header_bytes + payload.size());
  paxos::ByteWriter w(out);
  w.fixed(static_cast<std::uint64_t>(payload.size()));
  w.fixed(sum_of(payload));
  // Over the two above, and where it stands: a length is believed only with it.
  w.fixed(sum_of(std::string_view(out), at));
  w.raw(payload);
  return out;
}

bool all_zeros(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == 0; });
}

/// Whether a crash that kept only part of what was written from `from` on can have left these bytes: one of
/// the sectors that they touch is zeros as far as they go.
bool has_lost_sector(std::string_view bytes, std::size_t from, std::size_t to) {
  to = std::min(to, bytes.size());
  for (std::size_t at = from; at < to;) {
    const std::size_t end = std::min(to, (at / sector + 1) * sector);
    if (all_zeros(bytes.substr(at, end - at))) return true;
    at = end;
  }
  return false;
}

/// One record's place; no size: its header does not hold.
struct Framed {
  std::size_t header = 0;  ///< bytes before the payload
  std::optional<std::size_t> size;
  bool whole = false;  ///< the payload is there and is what was written
};

Framed second_frame(std::string_view bytes, std::size_t at) {
  Framed out{.header = record_header_bytes, .size = {}};
  const std::string_view rest = bytes.substr(at);
  if (rest.size() < record_header_bytes) return out;
  paxos::ByteReader r(rest);
  const auto size = r.fixed<std::uint64_t>();
  const auto sum = r.fixed<std::uint64_t>();
  if (r.fixed<std::uint64_t>() != sum_of(rest.substr(0, 16), at) || size == 0 || size > bytes_max) return out;
  out.size = static_cast<std::size_t>(size);
  out.whole =
      rest.size() - record_header_bytes >= size && sum_of(rest.substr(record_header_bytes, *out.size)) == sum;
  return out;
}

Framed first_frame(std::string_view bytes, std::size_t at) {
  Framed out{.header = first_record_header_bytes, .size = {}};
  const std::string_view rest = bytes.substr(at);
  if (rest.size() < first_record_header_bytes) return out;
  paxos::ByteReader r(rest);
  const auto size = r.fixed<std::uint32_t>();
  const auto sum = r.fixed<std::uint64_t>();
  if (size == 0) return out;
  out.size = size;
  out.whole = rest.size() - first_record_header_bytes >= size &&
              sum_of(rest.substr(first_record_header_bytes, size)) == sum;
  return out;
}

using Frame = Framed (*)(std::string_view, std::size_t);

/// Everything that is whole in the file, found record by record, and byte by byte behind what is not.
std::vector<Found> gather(std::string_view bytes, std::size_t from, Frame frame_at, bool first_format) {
  std::map<std::uint64_t, Found> found;
  Folding folding(first_format);
  for (std::size_t at = from; at < bytes.size();) {
    const Framed record = frame_at(bytes, at);
    if (!record.whole) {
      ++at;
      continue;
    }
    folding.gather(bytes.substr(at + record.header, *record.size), found);
    at += record.header + *record.size;
  }
  std::vector<Found> out;
  out.reserve(found.size());
  for (auto& [ticket, message] : found) out.push_back(std::move(message));
  return out;
}

/// Whether any whole record stands behind `at`: then what is at `at` is no torn end.
bool any_whole_behind(std::string_view bytes, std::size_t at, Frame frame_at) {
  for (++at; at < bytes.size(); ++at)
    if (frame_at(bytes, at).whole) return true;
  return false;
}

/// `synced`: bytes that are known to have been on the disk.
void read_records(std::string_view bytes, std::size_t from, std::size_t synced, bool first_format,
                  Contents& out) {
  const Frame frame_at = first_format ? first_frame : second_frame;
  Folding folding(first_format);
  std::size_t at = from;
  const auto damaged = [&](std::string what) {
    out.damage = std::move(what);
    out.found = gather(bytes, from, frame_at, first_format);
  };
  while (at < bytes.size()) {
    const Framed record = frame_at(bytes, at);
    if (record.whole) {
      if (!folding.apply(bytes.substr(at + record.header, *record.size), out.ledger))
        return damaged("the record at byte " + std::to_string(at) + " makes no sense");
      at += record.header + *record.size;
      continue;
    }
    const std::size_t end = record.size ? at + record.header + *record.size : bytes.size();
    const bool cut = record.size ? end > bytes.size() : bytes.size() - at < record.header;
    bool torn = at >= synced && (cut || has_lost_sector(bytes, at, end) || all_zeros(bytes.substr(at)));
    // A length without a checksum may itself be what is wrong.
    if (torn && first_format && !all_zeros(bytes.substr(at))) {
      const std::string_view rest = bytes.substr(at);
      paxos::ByteReader r(rest);
      r.fixed<std::uint32_t>();
      const auto sum = r.fixed<std::uint64_t>();
      if ((rest.size() > record.header && sum_of(rest.substr(record.header)) == sum) ||
          any_whole_behind(bytes, at, frame_at))
        torn = false;
    }
    if (!torn) return damaged("it is damaged at byte " + std::to_string(at));
    break;
  }
  out.end = at;
  if (at < synced)
    damaged("it ends at byte " + std::to_string(at) + ", but was on the disk up to byte " +
            std::to_string(synced));
}

std::string other_cluster(std::string_view theirs, std::string_view ours) {
  return "belongs to the cluster with id " + std::string(theirs) + ", the config names " + std::string(ours) +
         "; give that cluster's config with --config, or another file with --state";
}

/// Of both formats: magic, cluster id, checksum. Nothing: it is damaged.
struct Header {
  std::string cluster;
  std::size_t bytes = 0;
};
std::optional<Header> read_header(std::string_view bytes, std::string_view wanted_magic) {
  paxos::ByteReader r(bytes.substr(wanted_magic.size()));
  Header header;
  header.cluster = r.sized_view(cluster_id_bytes_max);
  const std::size_t signed_bytes = r.ok() ? bytes.size() - r.remaining() : 0;
  const auto sum = r.fixed<std::uint64_t>();
  if (!r.ok() || sum != sum_of(bytes.substr(0, signed_bytes))) return std::nullopt;
  header.bytes = signed_bytes + 8;
  return header;
}

/// Whether a crash in the making of an empty file can have left this: no record yet, each sector as it should
/// be, cut, or zeros.
bool cut_making(std::string_view bytes, std::string_view whole) {
  if (bytes.size() > whole.size()) return false;
  for (std::size_t at = 0; at < bytes.size(); at += sector) {
    const std::string_view piece = bytes.substr(at, sector);
    if (whole.compare(at, piece.size(), piece) != 0 && !all_zeros(piece)) return false;
  }
  return true;
}

std::string header_text(std::string_view cluster_id, std::string_view of) {
  std::string out(of);
  paxos::ByteWriter w(out);
  w.sized(cluster_id);
  w.fixed(sum_of(out));
  return out;
}

}  // namespace

std::string mark(std::uint64_t synced) {
  std::string out;
  paxos::ByteWriter w(out);
  w.fixed(synced);
  w.fixed(sum_of(std::string_view(out), mark_offset));
  return out;
}

std::string head(std::string_view cluster_id, std::uint64_t synced) {
  PAXOS_ASSERT(cluster_id.size() <= cluster_id_bytes_max);
  std::string out = header_text(cluster_id, magic);
  out.resize(mark_offset, '\0');
  out += mark(synced);
  out.resize(records_offset, '\0');
  return out;
}

std::string record(std::uint64_t at, std::span<const LedgerEvent> events) {
  std::string payload;
  paxos::ByteWriter w(payload);
  for (const LedgerEvent& event : events) encode_event(w, event);
  return frame(at, payload);
}

std::string snapshot_record(std::uint64_t at, const Ledger& ledger) {
  std::string payload;
  paxos::ByteWriter w(payload);
  w.fixed(static_cast<std::uint8_t>(EventNumber::snapshot));
  w.varint(ledger.session.slot.n);
  w.varint(ledger.session.index);
  w.varint(ledger.next_seq);
  w.varint(ledger.next_ticket);
  w.varint(ledger.entries.size());
  for (const Ledger::Entry& entry : ledger.entries) {
    w.varint(entry.ticket);
    w.varint(entry.seq);
    encode_post(w, entry.post);
  }
  return frame(at, payload);
}

tl::expected<Contents, std::string> read(std::string_view bytes, std::string_view cluster_id) {
  Contents out;
  // A making that was cut short left a part of the head: nothing can have been sent.
  const std::string mine = head(cluster_id, records_offset);
  const std::string first = header_text(cluster_id, first_magic);
  if (cut_making(bytes, mine) ||
      (bytes.size() < first.size() && first.compare(0, bytes.size(), bytes) == 0)) {
    out.fresh = true;
    return out;
  }
  out.first_format = bytes.substr(0, first_magic.size()) == first_magic;
  const std::string_view wanted = out.first_format ? first_magic : magic;
  const Frame frame_at = out.first_format ? first_frame : second_frame;
  if (bytes.substr(0, wanted.size()) != wanted) {
    // One bit of our magic, or something else? Records tell; so does the rest of the magic.
    std::size_t same = 0;
    for (std::size_t i = 0; i < magic.size() && i < bytes.size(); ++i) same += bytes[i] == magic[i] ? 1 : 0;
    if (same + 1 < magic.size())
      return tl::make_unexpected(std::string("is not a paxoschat state file; give another one with --state"));
    if (bytes.substr(0, any_magic.size()) == any_magic &&
        !any_whole_behind(bytes, records_offset - 1, second_frame))
      return tl::make_unexpected(
          std::string("is of a later version of paxoschat; use that one, or give another file with --state"));
    out.damage = "its header is damaged";
    out.found = gather(bytes, std::min(records_offset, bytes.size()), second_frame, false);
    return out;
  }
  const auto header = read_header(bytes, wanted);
  if (!header) {
    out.damage = "its header is damaged";
    out.found =
        gather(bytes, std::min<std::size_t>(out.first_format ? wanted.size() : records_offset, bytes.size()),
               frame_at, out.first_format);
    return out;
  }
  if (header->cluster != cluster_id) return tl::make_unexpected(other_cluster(header->cluster, cluster_id));
  if (out.first_format) {
    read_records(bytes, header->bytes, 0, true, out);
    return out;
  }
  const auto damaged_head = [&](std::string what) {
    out.damage = std::move(what);
    out.found = gather(bytes, std::min(records_offset, bytes.size()), frame_at, false);
    return out;
  };
  if (bytes.size() < records_offset) return damaged_head("it is cut off within its header");
  paxos::ByteReader r(bytes.substr(mark_offset));
  const auto synced = r.fixed<std::uint64_t>();
  if (r.fixed<std::uint64_t>() != sum_of(bytes.substr(mark_offset, 8), mark_offset))
    return damaged_head("its mark of the last sync is damaged");
  if (!all_zeros(bytes.substr(header->bytes, mark_offset - header->bytes)) ||
      !all_zeros(bytes.substr(mark_offset + 16, records_offset - mark_offset - 16)))
    return damaged_head("its header is damaged");
  read_records(bytes, records_offset, static_cast<std::size_t>(synced), false, out);
  return out;
}

}  // namespace client::state_format
