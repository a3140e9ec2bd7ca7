#include "tests/sim/disk.h"

#include <algorithm>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "paxos/coding.h"

namespace sim {

namespace {

const std::string cluster_name = "8d3f6a52-0000-4000-8000-5eed5eed5eed";

/// Stands for a record of RocksDB's write-ahead log: checksum, then the rows, which `add(frame)` appends.
/// Empty without any.
template <class Add>
std::string frame_of(std::size_t bytes, Add&& add) {
  std::string out;
  out.reserve(8 + bytes);
  out.resize(8);
  add(out);
  if (out.size() == 8) return {};
  std::string sum;
  paxos::ByteWriter(sum).fixed(static_cast<std::uint64_t>(XXH3_64bits(out.data() + 8, out.size() - 8)));
  out.replace(0, 8, sum);
  return out;
}

void add_row(std::string& rows, std::string_view key, std::string_view value) {
  paxos::ByteWriter w(rows);
  w.sized(key);
  w.sized(value);
}

storage::LogMark newest(const std::array<std::string, 2>& cells) {
  storage::LogMark out;
  for (const std::string& cell : cells)
    if (const auto mark = storage::decode_mark(cell)) out = std::max(out, *mark);
  return out;
}

}  // namespace

void Disk::apply(const chat::GroupWrite& group) {
  last_group = std::max(last_group, group.group);
  for (const paxos::Record& record : group.records) {
    if (storage::of_trimming_format(record)) format = std::max(format, storage::trimming_format);
    if (const auto* promise = std::get_if<paxos::PromiseRecord>(&record)) {
      promised = std::max(promised, promise->ballot);
    } else if (const auto* vote = std::get_if<paxos::VoteRecord>(&record)) {
      at(vote->slot) = {.present = true, .learned = false, .ballot = vote->ballot, .decree = vote->decree};
      promised = std::max(promised, vote->ballot);
    } else if (const auto* chosen = std::get_if<paxos::ChosenRecord>(&record)) {
      at(chosen->slot) = {
          .present = true, .learned = true, .ballot = chosen->ballot, .decree = chosen->decree};
    } else if (const auto* mark = std::get_if<paxos::ChosenPrefixRecord>(&record)) {
      prefix = std::max(prefix, mark->slot);
    } else if (const auto* trim = std::get_if<paxos::TrimRecord>(&record)) {
      for (std::uint64_t n = begins.n; n < trim->first.n && n <= log.size(); ++n) log[n - 1] = {};
      if (log.size() + 1 < trim->first.n) log.resize(trim->first.n - 1);
      begins = trim->first;
      std::erase_if(spoilt_rows_, [&](const SpoiltRow& row) { return row.slot < begins.n; });
    } else if (const auto* peer = std::get_if<paxos::PeerRecord>(&record)) {
      peers.insert_or_assign(peer->peer.n, *peer);
    } else if (const auto* told = std::get_if<paxos::OutdatedRecord>(&record)) {
      outdated = *told;
    } else {
      birth = std::get<paxos::BirthRecord>(record);
    }
  }
}

paxos::Recovered Disk::recovered(paxos::Slot applied, const paxos::Hash& hash) const {
  paxos::Recovered out{.incarnation = incarnation,
                       .boot = boot,
                       .birth = birth,
                       .promised = promised,
                       .chosen_prefix = std::max({prefix, applied, paxos::Slot{begins.n - 1}}),
                       .applied = applied,
                       .redo_to = std::max({prefix, applied, paxos::Slot{begins.n - 1}}),
                       .hash = hash,
                       .first_slot = begins,
                       .last_group = last_group,
                       .lives = lives,
                       .peers = {},
                       .outdated = outdated,
                       .entries = {}};
  for (const auto& [id, peer] : peers) out.peers.push_back(peer);
  for (std::uint64_t n = out.redo_to.n + 1; n <= log.size(); ++n) {
    const Entry& entry = log[n - 1];
    if (entry.present) out.entries.push_back({paxos::Slot{n}, entry.ballot, entry.learned, entry.decree});
  }
  return out;
}

void Disk::install(paxos::Slot slot, const std::map<std::string, OwnRow, std::less<>>& rows) {
  own = rows;
  for (auto& [key, row] : own) row.written_at = slot;
  state_written = state_durable = slot;
  std::vector<chat::GroupWrite> group(1);
  group[0].group = last_group + 1;
  group[0].records = {paxos::TrimRecord{slot + 1}};
  if (prefix < slot) group[0].records.push_back(paxos::ChosenPrefixRecord{slot});
  apply(group[0]);
  write(group, true);
}

// --- real rows ---

void Disk::write(std::vector<chat::GroupWrite>& groups, bool mark) {
  Batch batch;
  for (chat::GroupWrite& group : groups)
    if (!group.records.empty()) batch.groups.push_back({group.group, std::move(group.records)});
  if (batch.groups.empty()) return;
  const std::uint64_t last = batch.groups.back().number;
  batches_.push_back(std::move(batch));
  if (!mark) return;
  cells_[cell_] = storage::encode_mark({.boot = boot, .group = last});
  cell_ = 1 - cell_;
}

void Disk::tear(const chat::GroupWrite& group, Random& random) {
  if (group.records.empty()) return;
  torn_ = frame_of(0, [&](std::string& rows) {
    const auto add = [&](std::string_view key, std::string_view value) { add_row(rows, key, value); };
    const std::vector<Batch::Group> groups{{group.group, group.records}};
    storage::each_row(groups, promised, add);
    storage::each_row_of_format(groups, format, add);
  });
  // Some of it reached the disk: the front, or everything but a piece that still holds zeros.
  const std::size_t cut = 1 + random.below(torn_.size() - 1);
  const std::string whole = torn_;
  if (random.below(2) != 0)
    std::fill(torn_.begin() + static_cast<std::ptrdiff_t>(cut),
              torn_.begin() + static_cast<std::ptrdiff_t>(std::min(torn_.size(), cut + 512)), '\0');
  if (torn_ == whole) torn_.resize(cut);  // also where the piece was zeros anyway: that write would be whole
}

void Disk::lose_mark(Random& random) {
  switch (random.below(4)) {
    case 0:
      cells_ = start_cells_;
      return;
    case 1:
      // Each cell is written by itself.
      cells_[random.below(2)] = start_cells_[random.below(2)];
      return;
    case 2:
      if (std::string& cell = cells_[random.below(2)]; !cell.empty()) cell.resize(random.below(cell.size()));
      return;
    default:
      return;
  }
}

std::string Disk::rot(Random& random) {
  const storage::LogMark mark = newest(cells_);
  std::size_t covered = 0;
  if (mark.boot == boot && !start_rows_.empty()) {
    covered = 1;
    while (covered - 1 < batches_.size() && batches_[covered - 1].groups.back().number <= mark.group)
      ++covered;
  }
  const auto in_table = [&](bool recent) -> std::string {
    if (table_slots_.empty()) return {};
    const std::uint64_t behind =
        random.below(recent ? std::min<std::uint64_t>(table_slots_.size(), 40) : table_slots_.size());
    const std::uint64_t slot = table_slots_.size() - behind;
    std::string& row = table_slots_[slot - 1];
    if (row.empty()) return {};
    spoilt_rows_.push_back({slot, row});
    row[random.below(row.size())] ^= static_cast<char>(1U << random.below(8));
    return "the row of slot " + std::to_string(slot) + " in a table";
  };
  const std::uint64_t kind = random.below(4);
  if (kind == 0) return in_table(true);
  if (kind == 1) return in_table(false);
  if (covered == 0) return in_table(false);
  // The ends of the log are where a reader is easily mistaken.
  const std::uint64_t where = random.below(4);
  const std::size_t frame = where == 0   ? covered - 1
                            : where == 1 ? std::min<std::size_t>(1, covered - 1)
                                         : random.below(covered);
  spoilt_frame_ = SpoiltFrame{.frame = frame, .at = random.next(), .zeros = kind == 3};
  return std::string(kind == 3 ? "zeros in place of" : "a flipped bit in") + " write " +
         std::to_string(frame) + " of " + std::to_string(batches_.size() + 1) + " in the write-ahead log";
}

void Disk::repair() {
  spoilt_frame_.reset();
  for (SpoiltRow& row : spoilt_rows_) table_slots_[row.slot - 1] = std::move(row.value);
  spoilt_rows_.clear();
}

bool Disk::spoilt(paxos::Slot first, paxos::Slot last) const {
  return std::any_of(spoilt_rows_.begin(), spoilt_rows_.end(),
                     [&](const SpoiltRow& row) { return first.n <= row.slot && row.slot <= last.n; });
}

std::vector<std::string> Disk::frames() const {
  std::vector<std::string> out;
  out.reserve(batches_.size() + 2);
  if (!start_rows_.empty())
    out.push_back(frame_of(0, [&](std::string& rows) {
      for (const storage::LogRow& row : start_rows_) add_row(rows, row.key, row.value);
    }));
  paxos::Ballot stored = start_promised_;
  for (const Batch& batch : batches_)
    out.push_back(frame_of(256, [&](std::string& rows) {
      const auto add = [&](std::string_view key, std::string_view value) { add_row(rows, key, value); };
      stored = storage::each_row(batch.groups, stored, add);
      storage::each_row_of_format(batch.groups, start_format_, add);
    }));
  if (!torn_.empty()) out.push_back(torn_);
  if (spoilt_frame_ && spoilt_frame_->frame < out.size()) {
    std::string& frame = out[spoilt_frame_->frame];
    if (spoilt_frame_->zeros)
      std::fill(frame.begin(), frame.end(), '\0');
    else
      frame[spoilt_frame_->at / 8 % frame.size()] ^= static_cast<char>(1U << spoilt_frame_->at % 8);
  }
  return out;
}

/// As RocksDB reads it, with storage::WalChain looking on: up to the first record that does not read; zeros
/// are stepped over. Gives what is missing.
std::string Disk::read_frames(const std::vector<std::string>& frames, Overlay& into) const {
  storage::GroupChain chain;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const std::string& frame = frames[i];
    if (std::all_of(frame.begin(), frame.end(), [](char byte) { return byte == 0; })) {
      if (i == 0 && frames.size() > 1) return "the log begins with zeros, but has records behind them";
      continue;
    }
    if (frame.size() < 8) return {};
    paxos::ByteReader r{std::string_view(frame)};
    const auto sum = r.fixed<std::uint64_t>();
    if (sum != XXH3_64bits(frame.data() + 8, frame.size() - 8)) return {};
    std::string missing;
    while (r.ok() && r.remaining() > 0) {
      const std::string_view key = r.sized_view(r.remaining());
      const std::string_view value = r.sized_view(r.remaining());
      if (key == storage::log_key::group)
        if (const auto opened = storage::open_value(key, value))
          if (const auto group = storage::decode_group(*opened)) missing = chain.follow(*group);
      if (const auto slot = storage::log_key::parse_slot(key))
        into.slots.insert_or_assign(into.slots.end(), slot->n, value);
      else
        into.others.insert_or_assign(key, value);
    }
    if (!missing.empty()) return missing;
  }
  return {};
}

tl::expected<paxos::Recovered, std::string> Disk::open(paxos::ReplicaId self, paxos::Slot applied,
                                                       const paxos::Hash& hash, const Formats& formats) {
  const auto fail = [](std::string why) { return tl::make_unexpected(std::move(why)); };
  const std::vector<std::string> found = frames();
  Overlay overlay;
  if (const std::string missing = read_frames(found, overlay); !missing.empty())
    return fail("the log is damaged: " + missing);
  const auto stored = [&](std::string_view key) -> std::optional<std::string_view> {
    const auto fresh = overlay.others.find(key);
    if (fresh != overlay.others.end()) return fresh->second;
    const auto old = table_others_.find(key);
    return old == table_others_.end() ? std::nullopt : std::optional<std::string_view>(old->second);
  };
  const auto get = [&](std::string_view key) -> tl::expected<std::optional<std::string>, std::string> {
    const auto value = stored(key);
    if (!value) return std::optional<std::string>{};
    auto opened = storage::open_row(key, *value);
    if (!opened) return tl::make_unexpected(opened.error());
    return std::optional<std::string>(std::move(*opened));
  };
  paxos::Recovered out;
  auto rows = storage::recover_log(get, newest(cells_),
                                   {.cluster_id = cluster_name,
                                    .replica = self,
                                    .fresh_incarnation = incarnation,
                                    .life = formats.life,
                                    .format_known = formats.known},
                                   out);
  if (!rows) return fail(rows.error());

  // As LogStore::read() does it for the entries, and for what a start looks up besides.
  const auto slot_row = [&](std::uint64_t n) -> std::optional<std::string_view> {
    if (n < out.first_slot.n) return std::nullopt;
    const auto fresh = overlay.slots.find(n);
    if (fresh != overlay.slots.end()) return fresh->second;
    if (n == 0 || n > table_slots_.size() || table_slots_[n - 1].empty()) return std::nullopt;
    return table_slots_[n - 1];
  };
  const auto entry_of = [&](std::uint64_t n, std::string_view row) {
    const auto value = storage::open_value(storage::log_key::slot({n}), row);
    return value ? storage::decode_slot({n}, *value) : std::nullopt;
  };
  storage::settle(out, applied, hash);
  const std::uint64_t last =
      std::max<std::uint64_t>(table_slots_.size(), overlay.slots.empty() ? 0 : overlay.slots.rbegin()->first);
  for (const paxos::Slot slot : storage::landmarks(out)) {
    const auto row = slot_row(slot.n);
    if (!row) return fail(storage::landmark_missing(out, slot));
    if (!entry_of(slot.n, *row)) return fail("the record of slot " + std::to_string(slot.n) + " is damaged");
  }
  for (std::uint64_t n = out.redo_to.n + 1; n <= last; ++n) {
    const auto row = slot_row(n);
    if (!row) continue;
    auto entry = entry_of(n, *row);
    if (!entry) return fail("the record of slot " + std::to_string(n) + " is damaged");
    out.entries.push_back(std::move(*entry));
  }
  auto raised = storage::raised_format(get, formats.in_force);
  if (!raised) return fail(raised.error());
  if (*raised) rows->push_back(std::move(**raised));

  // All of it goes to synced tables; the new boot is the first write of the next log, then comes the mark.
  for (const auto& [slot, value] : overlay.slots) {
    if (table_slots_.size() < slot) table_slots_.resize(slot);
    table_slots_[slot - 1] = value;
    std::erase_if(spoilt_rows_, [&, n = slot](const SpoiltRow& row) { return row.slot == n; });
  }
  for (std::uint64_t n = 1; n < out.first_slot.n && n <= table_slots_.size(); ++n)
    table_slots_[n - 1].clear();
  for (const auto& [key, value] : overlay.others)
    table_others_.insert_or_assign(std::string(key), std::string(value));
  batches_.clear();
  torn_.clear();
  spoilt_frame_.reset();
  start_rows_ = std::move(*rows);
  start_promised_ = out.promised;
  begin_life(formats.life);
  format = std::max(format, formats.in_force);
  start_format_ = format;
  cells_[cell_] = storage::encode_mark({.boot = boot, .group = out.last_group});
  cell_ = 1 - cell_;
  start_cells_ = cells_;
  return out;
}

}  // namespace sim
