#include <algorithm>

#include "chat/redaction.h"
#include "chat/retention.h"
#include "chat/rows.h"
#include "paxos/overloaded.h"
#include "tests/chat/map_rows.h"
#include "tests/sim/own_rows.h"
#include "tests/sim/world.h"

/// Snapshots: who needs slots that nobody has any more pulls a peer's state, through the classes that the
/// daemon uses, over a network that loses, doubles and delays, with crashes of both sides. What is modelled
/// is the disk: what is served stays through a crash, of what is staged a prefix of the writes does.
namespace sim {

namespace {

enum Part : std::uint64_t { word, made, read, begun, written, counted, served_counted, tick };

chat::SnapshotSum count(const chat::RowReader& rows) {
  chat::SnapshotCount counting;
  while (!counting.advance(rows, 1u << 20)) continue;
  return counting.sum();
}

}  // namespace

/// The roles of a life; what the directory has of snapshots is found again.
void World::start_snapshots(Host& host) {
  Snapshots& s = host.snapshots;
  s.tick_at = never;
  s.staging_until = 0;
  s.source = std::make_unique<chat::SnapshotSource>(
      chat::SnapshotSource::Options{.incarnation = host.disk.incarnation,
                                    .seed = random_.next(),
                                    .bytes_per_second = 64u << 20,
                                    .chunk_bytes = scenario_.snapshot_chunk,
                                    .keep = paxos::Duration{20 * scenario_.election_timeout},
                                    .silence = paxos::Duration{8 * scenario_.election_timeout}});
  s.puller = std::make_unique<chat::SnapshotPuller>(
      chat::SnapshotPuller::Options{.self = {host.id},
                                    .replicas = scenario_.replicas,
                                    .seed = random_.next(),
                                    .window_bytes = 4 * scenario_.snapshot_chunk,
                                    .unwritten_bytes_max = 16 * scenario_.snapshot_chunk,
                                    .patience = paxos::Duration{8 * scenario_.election_timeout},
                                    .try_each = paxos::Duration{2 * scenario_.election_timeout},
                                    .confirm = paxos::Duration{2 * scenario_.election_timeout}});
  if (s.served && s.served->id.source == host.disk.incarnation)
    s.source->found(local(host), s.served->id, 1);
  else
    s.served.reset();
  if (!s.staged.empty()) {
    const chat::SnapshotProgress& progress = s.staged.back().progress;
    std::optional<paxos::ReplicaId> whose;
    for (const Host& other : hosts_)
      if (other.disk.incarnation == progress.id.source) whose = paxos::ReplicaId{other.id};
    s.puller->found(progress, whose);
  }
}

/// Of the writes that were under way, a prefix survives; of those before, all that were flushed.
void World::crash_snapshots(Host& host) {
  Snapshots& s = host.snapshots;
  s.source.reset();
  s.puller.reset();
  const std::size_t kept =
      s.flushed + static_cast<std::size_t>(random_.below(s.staged.size() - s.flushed + 1));
  s.staged.resize(kept);
  s.flushed = kept;
}

void World::want_snapshot(Host& host, const paxos::SnapshotWish& wish) {
  host.snapshots.puller->want(local(host), {wish.above.n - 1}, wish.from, wish.voters);
  snapshot_turn(host);
}

void World::say_snapshot_word(Host& host, std::optional<paxos::ReplicaId> to,
                              const chat::SnapshotWord& said) {
  const Event packet{.kind = EventKind::snapshot,
                     .from = host.id,
                     .a = host.disk.boot,
                     .b = Part::word,
                     .incarnation = host.disk.incarnation,
                     .payload = std::make_shared<const chat::SnapshotWord>(said)};
  for (std::uint8_t id = 0; id < scenario_.replicas; ++id)
    if (id != host.id && (!to || to->n == id)) carry(host.id, id, packet);
}

/// As what was served then has them.
void World::with_served(const Served& served, const std::function<void(const chat::RowReader&)>& use) {
  const VersionedRows::View all(observer_.rows(), served.id.slot);
  use(OwnRows(all, served.disk));
}

void World::snapshot_turn(Host& host) {
  Snapshots& s = host.snapshots;
  if (!host.node) return;
  const paxos::Time at = local(host);
  s.puller->applied(host.node->machine().applied());
  if (s.source->deadline() <= at) s.source->tick(at);
  if (s.puller->deadline() <= at) s.puller->tick(at);
  const auto put = [&](Nanos when, Part part, std::shared_ptr<const void> payload) {
    queue_.push(when, {.kind = EventKind::snapshot,
                       .to = host.id,
                       .from = host.id,
                       .a = host.life,
                       .b = part,
                       .payload = std::move(payload)});
  };
  const auto later = [&](Part part, std::shared_ptr<const void> payload) {
    put(now_ + random_.between(10'000, 3 * millisecond), part, std::move(payload));
  };
  // One thread does all that is to be done with what is staged, in the order in which it was said: what is
  // counted are all rows that were to be written before.
  const auto staging = [&](Nanos takes, Part part, std::shared_ptr<const void> payload) {
    s.staging_until = std::max(s.staging_until, now_ + takes);
    put(s.staging_until, part, std::move(payload));
  };
  auto given = s.source->take_output();
  if (given.drop) s.served.reset();
  if (given.make) {
    s.served.reset();
    later(Part::made, std::make_shared<const std::uint64_t>(*given.make));
  }
  for (auto& one : given.reads)
    later(Part::read, std::make_shared<const chat::SnapshotSource::Read>(std::move(one)));
  if (given.count) later(Part::served_counted, nullptr);
  for (const auto& [to, said] : given.send) say_snapshot_word(host, to, said);

  auto taken = s.puller->take_output();
  if (taken.begin) staging(0, Part::begun, nullptr);
  for (auto& write : taken.writes)
    staging(random_.between(10'000, 3 * millisecond), Part::written,
            std::make_shared<const chat::SnapshotPuller::Write>(std::move(write)));
  if (taken.count) staging(random_.between(10'000, 3 * millisecond), Part::counted, nullptr);
  for (const auto& [to, said] : taken.send) say_snapshot_word(host, to, said);
  if (saying())
    for (const std::string& event : taken.events) say("replica " + std::to_string(host.id) + ": " + event);
  if (const auto held = s.source->holds())
    host.node->hold_log(at, {host.id}, *held + 1, at + paxos::Duration{4 * scenario_.election_timeout});
  if (taken.complete) return install_snapshot(host, *taken.complete);

  const Nanos due = global(host, std::min(s.source->deadline(), s.puller->deadline()));
  if (due >= s.tick_at) return;
  s.tick_at = std::max(due, now_ + 1000);
  queue_.push(s.tick_at,
              {.kind = EventKind::snapshot, .to = host.id, .from = host.id, .a = host.life, .b = Part::tick});
}

void World::snapshot(Host& host, const Event& event) {
  Snapshots& s = host.snapshots;
  const paxos::Time at = local(host);
  if (event.b != Part::word && event.a != host.life) return;
  switch (event.b) {
    case Part::word: {
      if (!latest_boot(host, event.from, event.incarnation, event.a)) return;
      const auto& said = *static_cast<const chat::SnapshotWord*>(event.payload.get());
      if (const auto* ask = std::get_if<chat::SnapshotHashAsk>(&said)) {
        const VersionedRows::View all(observer_.rows(), host.disk.state_written);
        const OwnRows rows(all, host.disk);
        say_snapshot_word(host, paxos::ReplicaId{event.from},
                          chat::SnapshotHash{ask->nonce, ask->slot, chat::read_hash(rows, ask->slot)});
        break;
      }
      s.source->message(at, {event.from}, said,
                        {.fit = !host.misapplies && !host.node->diverged(),
                         .applied = host.disk.state_written,
                         .first_slot = host.disk.begins});
      s.puller->message(at, {event.from}, said);
      break;
    }
    case Part::made: {
      const auto number = *static_cast<const std::uint64_t*>(event.payload.get());
      if (host.disk.state_written.none()) {
        s.source->made(at, tl::make_unexpected(std::string("there is nothing in it")));
        break;
      }
      const VersionedRows::View all(observer_.rows(), host.disk.state_written);
      const auto mark = chat::read_applied(all);
      Served served{
          .id = {.source = host.disk.incarnation, .number = number, .slot = mark->slot, .hash = mark->hash},
          .disk = {}};
      served.disk.own = host.disk.own;
      served.disk.hashes_below = host.disk.hashes_below;
      served.disk.swept = host.disk.swept;
      s.served = std::move(served);
      s.source->made(at, chat::SnapshotSource::Made{.slot = mark->slot, .hash = mark->hash, .bytes = 1});
      break;
    }
    case Part::read: {
      const auto& one = *static_cast<const chat::SnapshotSource::Read*>(event.payload.get());
      std::optional<chat::SnapshotChunk> chunk;
      if (s.served && s.served->id == one.id)
        with_served(*s.served, [&](const chat::RowReader& rows) {
          chunk = chat::read_snapshot(rows, one.id, one.from, one.bytes);
        });
      s.source->read(at, one.to, std::move(chunk));
      break;
    }
    case Part::served_counted:
      if (s.served)
        with_served(*s.served,
                    [&](const chat::RowReader& rows) { s.source->counted(s.served->id, count(rows)); });
      break;
    case Part::begun:
      s.staged.clear();
      s.flushed = 0;
      break;
    case Part::written: {
      const auto& write = *static_cast<const chat::SnapshotPuller::Write*>(event.payload.get());
      s.staged.push_back(write);
      if (random_.below(4) == 0) s.flushed = s.staged.size();
      s.puller->written(at, write.bytes);
      break;
    }
    case Part::counted: {
      s.flushed = s.staged.size();
      chat::test::MapRows rows;
      for (const auto& write : s.staged) rows.write(write.rows);
      const auto mark = chat::read_applied(rows);
      s.puller->counted(at, mark ? std::optional(std::pair(count(rows), *mark)) : std::nullopt);
      break;
    }
    default:
      s.tick_at = never;
      break;
  }
  snapshot_turn(host);
}

/// What it promised and voted stays. Its log begins behind the snapshot, or where it had begun.
void World::install_snapshot(Host& host, const chat::SnapshotProgress& progress) {
  Snapshots& s = host.snapshots;
  const paxos::Slot slot = progress.id.slot;
  chat::test::MapRows rows;
  for (const auto& write : s.staged) rows.write(write.rows);
  // Byte for byte what every replica that applied the slot has, but for what is each one's own.
  const VersionedRows::View all(observer_.rows(), slot);
  std::map<std::string, Disk::OwnRow, std::less<>> own;
  paxos::Slot hashes;
  std::map<std::string, std::vector<Disk::Swept>, std::less<>> swept;
  std::size_t seen = 0;
  const Served* source = nullptr;
  for (const Host& other : hosts_)
    if (other.snapshots.served && other.snapshots.served->id == progress.id)
      source = &*other.snapshots.served;
  const auto broken = [&](const std::string& what) {
    throw Violation("S1: replica " + std::to_string(host.id) + " takes a snapshot of slot " +
                    std::to_string(slot.n) + " " + what);
  };
  chat::each_snapshot_row(all, {}, [&](std::string_view key, std::string_view value) {
    const auto at = rows.rows().find(key);
    if (at == rows.rows().end()) {
      if (key.front() == chat::rows::family_message || key.front() == chat::rows::family_redaction) {
        // Off the source's disk, and it may be.
        const std::string room(key.substr(2, key.size() - 10));
        const std::uint64_t seq = paxos::ByteReader(key.substr(key.size() - 8)).key64();
        if (seq >= chat::read_kept(all, room)->first)
          broken("without message " + std::to_string(seq) + " of " + room);
        auto& gone = swept[room];
        gone.resize(1, {slot, 0});
        gone[0].below = std::max(gone[0].below, seq + 1);
        return true;
      }
      if (key.front() != chat::rows::family_hash)
        broken("without the row of family '" + std::string(1, key.front()) + "'");
      hashes = std::max(hashes, paxos::Slot{paxos::ByteReader(key.substr(1)).key64() + 1});
      return true;
    }
    ++seen;
    if (at->second != value) own.insert_or_assign(std::string(key), Disk::OwnRow{slot, at->second});
    return true;
  });
  if (seen != rows.rows().size()) broken("with rows that no replica has");
  for (const auto& [key, row] : own) {
    const bool may_differ = key.front() == chat::rows::family_erasure ||
                            (source != nullptr && source->disk.own.contains(key)) ||
                            (source == nullptr && key.front() == chat::rows::family_message);
    if (!may_differ)
      broken("with another row of family '" + std::string(1, key.front()) + "' than it has there");
  }
  if (chat::read_applied(all)->hash != progress.id.hash) broken("with another hash");
  crash(host, "it has taken a snapshot");
  s.staged.clear();
  s.flushed = 0;
  if (slot > host.disk.state_durable && slot >= host.disk.begins) {
    host.disk.install(slot, own);
    host.disk.hashes_below = hashes;
    host.disk.swept = std::move(swept);
    ++snapshots_;
    if (saying())
      say("replica " + std::to_string(host.id) + " takes the state of another replica at slot " +
          std::to_string(slot.n));
  }
  restart_later(host, millisecond);
}

}  // namespace sim
