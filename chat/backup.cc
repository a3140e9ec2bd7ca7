#include "chat/backup.h"

#include <xxhash.h>

#include "chat/wire_fields.h"
#include "paxos/coding.h"
#include "paxos/invariant.h"

namespace chat {

namespace {

/// The number in it is the format's.
constexpr std::string_view magic_text = "paxosd backup ";
constexpr std::string_view magic = "paxosd backup 1\n";

/// What stands before a part's bytes: how many, which kind, their checksum.
constexpr std::size_t part_head_bytes = 4 + 1 + 8;
enum Kind : std::uint8_t { kind_head = 1, kind_rows = 2, kind_end = 3 };
constexpr std::size_t name_bytes_max = 1024;

std::uint64_t checksum_of(std::uint64_t before, std::uint8_t kind, std::string_view bytes) {
  std::string seed;
  paxos::ByteWriter w(seed);
  w.fixed(before);
  w.fixed(kind);
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), XXH3_64bits(seed.data(), seed.size()));
}

std::string part(std::uint64_t& chain, Kind kind, std::string_view bytes) {
  PAXOS_ASSERT(bytes.size() <= backup_part_bytes_max);
  chain = checksum_of(chain, kind, bytes);
  std::string out;
  paxos::ByteWriter w(out);
  w.fixed(static_cast<std::uint32_t>(bytes.size()));
  w.fixed(static_cast<std::uint8_t>(kind));
  w.fixed(chain);
  out.append(bytes);
  return out;
}

std::string encode_head(const BackupHead& head) {
  std::string out;
  wire::Writer w(out);
  w.text(head.cluster);
  w.text(head.cluster_id);
  w.raw(head.id.source.bytes);
  w.fixed(head.id.number);
  w.fixed(head.id.slot.n);
  w.raw(head.id.hash.bytes);
  w.number(head.rules);
  w.fixed(head.time_ms);
  w.fixed(head.bytes_about);
  return out;
}

bool decode_head(std::string_view bytes, BackupHead& out) {
  paxos::ByteReader r(bytes);
  out.cluster = r.sized_view(name_bytes_max);
  out.cluster_id = r.sized_view(name_bytes_max);
  out.id.source.bytes = r.array<16>();
  out.id.number = r.fixed<std::uint64_t>();
  out.id.slot.n = r.fixed<std::uint64_t>();
  out.id.hash.bytes = r.array<16>();
  out.rules = static_cast<std::uint16_t>(r.varint_max(UINT16_MAX));
  out.time_ms = r.fixed<std::uint64_t>();
  out.bytes_about = r.fixed<std::uint64_t>();
  return r.done() && !out.id.slot.none() && out.rules > 0;
}

bool decode_end(std::string_view bytes, SnapshotSum& out) {
  paxos::ByteReader r(bytes);
  out.rows = r.fixed<std::uint64_t>();
  out.bytes = r.fixed<std::uint64_t>();
  out.sum.bytes = r.array<16>();
  return r.done();
}

}  // namespace

std::string BackupWriter::head(const BackupHead& head) {
  PAXOS_ASSERT(chain_ == 0);
  return std::string(magic) + part(chain_, kind_head, encode_head(head));
}

std::string BackupWriter::rows(std::string_view bytes) { return part(chain_, kind_rows, bytes); }

std::string BackupWriter::end(const SnapshotSum& sum) {
  std::string body;
  wire::Writer w(body);
  w.fixed(sum.rows);
  w.fixed(sum.bytes);
  w.raw(sum.sum.bytes);
  return part(chain_, kind_end, body);
}

BackupReader::BackupReader() : wants_(magic.size()) {}

std::string BackupReader::damaged() const {
  return "it is damaged: what stands at byte " + std::to_string(at_) + " is not what was written there";
}

tl::expected<BackupReader::Part, std::string> BackupReader::take(std::string_view bytes) {
  PAXOS_ASSERT(stage_ != Stage::ended && bytes.size() == wants_);
  switch (stage_) {
    case Stage::magic: {
      if (bytes != magic)
        return tl::make_unexpected(bytes.starts_with(magic_text)
                                       ? "its format is not 1, the one that this program knows"
                                       : std::string("it is no backup of `paxosctl backup`"));
      stage_ = Stage::part;
      at_ += wants_;
      wants_ = part_head_bytes;
      return std::monostate{};
    }
    case Stage::part: {
      paxos::ByteReader r(bytes);
      const auto size = r.fixed<std::uint32_t>();
      kind_ = r.fixed<std::uint8_t>();
      checksum_ = r.fixed<std::uint64_t>();
      if (size == 0 || size > backup_part_bytes_max || kind_ < kind_head || kind_ > kind_end ||
          (kind_ == kind_head) == begun_)
        return tl::make_unexpected(damaged());
      stage_ = Stage::body;
      at_ += wants_;
      wants_ = size;
      return std::monostate{};
    }
    case Stage::body:
      return body(bytes);
    case Stage::ended:
      break;
  }
  return tl::make_unexpected(damaged());
}

tl::expected<BackupReader::Part, std::string> BackupReader::body(std::string_view bytes) {
  const std::uint64_t sum = checksum_of(chain_, kind_, bytes);
  if (sum != checksum_) return tl::make_unexpected(damaged());
  chain_ = sum;
  Part out;
  if (kind_ == kind_head) {
    BackupHead head;
    if (!decode_head(bytes, head)) return tl::make_unexpected(damaged());
    out = std::move(head);
  } else if (kind_ == kind_rows) {
    out = Rows{bytes};
  } else {
    SnapshotSum end;
    if (!decode_end(bytes, end)) return tl::make_unexpected(damaged());
    out = end;
  }
  begun_ = true;
  at_ += wants_;
  stage_ = kind_ == kind_end ? Stage::ended : Stage::part;
  wants_ = kind_ == kind_end ? 0 : part_head_bytes;
  return out;
}

}  // namespace chat
