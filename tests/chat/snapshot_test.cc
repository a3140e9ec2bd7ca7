#include "chat/snapshot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "chat/redaction.h"
#include "chat/rows.h"
#include "chat/snapshot_puller.h"
#include "chat/snapshot_source.h"
#include "paxos/overloaded.h"
#include "tests/chat/fixture.h"

namespace {

using namespace chat;
using chat::test::MapRows;
using paxos::ReplicaId;
using paxos::Slot;
using std::chrono::milliseconds;
using std::chrono::seconds;

paxos::Incarnation incarnation(unsigned n) {
  paxos::Incarnation out;
  out.bytes[0] = static_cast<std::uint8_t>(n + 1);
  return out;
}

/// Some slots of talk in several rooms, short texts and long ones, and what a redaction leaves.
test::Log talk(int slots, std::size_t longest = 3000) {
  test::Log log;
  const SessionId ann = log.open(1);
  for (int i = 1; i < slots; ++i)
    log.apply({test::post(ann, static_cast<std::uint64_t>(i),
                          std::string(1 + static_cast<std::size_t>(i * 7919) % longest, 'a' + i % 26),
                          "room" + std::to_string(i % 5), static_cast<std::uint64_t>(i))});
  log.rows.write(
      {{rows::redaction("room1", 1), "who and why"},
       {rows::erasure("room1", 1),
        encode_erasure({.done = true,
                        .place = MessagePlace{.slot = {3}, .index = 0, .session = ann, .client_seq = 1},
                        .content = 77})}});
  return log;
}

SnapshotId id_of(const test::Log& log, unsigned source = 1, std::uint64_t number = 9) {
  return {.source = incarnation(source),
          .number = number,
          .slot = log.machine.applied(),
          .hash = log.machine.hash()};
}

/// As a receiver keeps them.
MapRows as_received(const MapRows& rows) {
  MapRows out = rows;
  for (auto& [key, value] : out.rows())
    if (key.front() == rows::family_erasure) {
      auto mark = *decode_erasure(value);
      mark.done = false;
      value = encode_erasure(mark);
    }
  out.rows().erase(rows::progress());
  return out;
}

SnapshotSum count_of(const RowReader& rows, std::size_t step = 1000) {
  SnapshotCount count;
  while (!count.advance(rows, step)) continue;
  return count.sum();
}

TEST(SnapshotStream, ComesBackAsRowsWhateverThePieces) {
  test::Log log = talk(60);
  log.rows.write({{rows::progress(), "of an earlier pull of the source's own"}});
  for (const std::size_t bytes : {1U, 7U, 100U, 4096U, 65536U}) {
    const SnapshotId id = id_of(log);
    SnapshotPlace at;
    SnapshotRows back;
    MapRows got;
    for (bool last = false; !last;) {
      const SnapshotChunk chunk = read_snapshot(log.rows, id, at, bytes);
      EXPECT_LE(chunk.bytes.size(), bytes);
      EXPECT_EQ(chunk.checksum, snapshot_checksum(chunk));
      std::vector<Row> rows;
      ASSERT_TRUE(back.take(chunk.bytes.view(), rows));
      got.write(rows);
      at = chunk.next;
      last = chunk.last;
    }
    EXPECT_EQ(back.held(), 0U);
    EXPECT_EQ(got, as_received(log.rows)) << "in pieces of " << bytes;
    EXPECT_EQ(count_of(got), count_of(log.rows)) << "own rows count for nothing";
    EXPECT_EQ(count_of(got).bytes, at.offset);
    const auto machine = Machine::load(got);
    ASSERT_TRUE(machine) << machine.error();
    EXPECT_EQ(machine->hash(), log.machine.hash());
  }
}

TEST(SnapshotStream, IsCountedTheSameInAnySteps) {
  const test::Log log = talk(40);
  EXPECT_EQ(count_of(log.rows, 1), count_of(log.rows, 1u << 20));
  MapRows other = log.rows;
  other.rows().begin()->second.back() ^= 1;
  EXPECT_NE(count_of(other).sum, count_of(log.rows).sum);
}

TEST(SnapshotStream, RefusesRowsOutOfOrderAndForeignProgress) {
  const auto stream = [](const std::vector<Row>& rows) {
    std::string out;
    for (const Row& row : rows) {
      paxos::ByteWriter(out).sized(row.key);
      paxos::ByteWriter(out).sized(*row.value);
    }
    return out;
  };
  std::vector<Row> out;
  EXPECT_TRUE(SnapshotRows().take(stream({{"a", "1"}, {"b", "2"}}), out));
  EXPECT_FALSE(SnapshotRows().take(stream({{"b", "1"}, {"a", "2"}}), out));
  EXPECT_FALSE(SnapshotRows().take(stream({{"a", "1"}, {"a", "2"}}), out));
  EXPECT_FALSE(SnapshotRows().take(stream({{rows::progress(), "1"}}), out));
  SnapshotRows resumed;
  resumed.resume("m");
  EXPECT_FALSE(resumed.take(stream({{"m", "1"}}), out)) << "it is there already";
}

TEST(SnapshotProgress, ComesBackAsItWas) {
  const SnapshotProgress progress{.id = id_of(talk(5)),
                                  .place = {.offset = 12, .key = std::string("mroom\0", 6), .skip = 0},
                                  .bytes_about = 99,
                                  .complete = true};
  EXPECT_EQ(decode_progress(encode_progress(progress)), progress);
  EXPECT_FALSE(decode_progress(encode_progress(progress) + "x"));
  EXPECT_FALSE(decode_progress(""));
}

/// Replica 0 pulls; the others have snapshots, and answer. Letters are lost, doubled and late.
struct World {
  struct Peer {
    test::Log log;
    std::unique_ptr<SnapshotSource> source;
    std::optional<std::pair<SnapshotId, MapRows>> disk;  ///< survives a crash
    bool up = true;
    std::uint64_t chunks = 0;
  };
  struct Event {
    paxos::Time at;
    std::uint64_t order;
    std::function<void()> what;
  };

  explicit World(unsigned replicas, std::uint64_t seed, test::Log log) : random(seed), peers(replicas) {
    for (unsigned i = 1; i < replicas; ++i) {
      peers[i].log.rows = log.rows;
      peers[i].log.reload();
      boot(i);
    }
    boot_puller();
  }

  void boot(unsigned i) {
    source_options.incarnation = incarnation(i);
    source_options.seed = 1000 * i + ++boots;
    peers[i].up = true;
    peers[i].source = std::make_unique<SnapshotSource>(source_options);
    if (peers[i].disk) peers[i].source->found(now, peers[i].disk->first, 1);
  }
  void boot_puller() {
    ++life;
    options.self = {0};
    options.replicas = peers.size();
    options.seed = ++boots * 7777;
    puller = std::make_unique<SnapshotPuller>(options);
    staging = durable;
    if (const auto row = staging.get(rows::progress())) {
      const auto progress = decode_progress(*row);
      std::optional<ReplicaId> whose;
      for (unsigned i = 1; i < peers.size(); ++i)
        if (incarnation(i) == progress->id.source) whose = ReplicaId{static_cast<std::uint8_t>(i)};
      puller->found(*progress, whose);
    }
    puller->want(now, {1}, {}, everybody());
  }
  [[nodiscard]] paxos::Configuration everybody() const {
    return paxos::Configuration::of_birth(std::vector<paxos::Incarnation>(peers.size(), incarnation(1)));
  }
  void after(paxos::Duration d, std::function<void()> what) {
    queue.emplace(std::pair(now + d, ++orders), std::move(what));
  }
  paxos::Duration counting = milliseconds(5);  ///< at the puller
  bool chance(double p) { return std::uniform_real_distribution<>(0, 1)(random) < p; }
  paxos::Duration delay() {
    return paxos::Duration{std::uniform_int_distribution<int>(100'000, 5'000'000)(random)};
  }
  void carry(unsigned from, unsigned to, const SnapshotWord& word) {
    for (int copies = chance(loss) ? 0 : chance(0.05) ? 2 : 1; copies > 0; --copies)
      after(delay(), [this, from, to, word] {
        if (to == 0) {
          if (tamper) {
            SnapshotWord other = word;
            tamper(other);
            puller->message(now, {static_cast<std::uint8_t>(from)}, other);
          } else {
            puller->message(now, {static_cast<std::uint8_t>(from)}, word);
          }
          return;
        }
        Peer& peer = peers[to];
        if (!peer.up) return;
        if (const auto* ask = std::get_if<SnapshotHashAsk>(&word)) {
          carry(to, 0, SnapshotHash{ask->nonce, ask->slot, read_hash(peer.log.rows, ask->slot)});
          return;
        }
        peer.source->message(now, {static_cast<std::uint8_t>(from)}, word,
                             {.fit = true, .applied = peer.log.machine.applied(), .first_slot = first_slot});
      });
  }
  void drain_source(unsigned i) {
    Peer& peer = peers[i];
    auto out = peer.source->take_output();
    if (out.drop) peer.disk.reset();
    if (out.make)
      after(milliseconds(3), [this, i, number = *out.make, source = peer.source.get()] {
        Peer& p = peers[i];
        if (p.source.get() != source) return;
        p.disk = {id_of(p.log, i, number), p.log.rows};
        p.source->made(now, SnapshotSource::Made{p.disk->first.slot, p.disk->first.hash, 1});
      });
    for (const auto& read : out.reads)
      after(milliseconds(1), [this, i, read, source = peer.source.get()] {
        Peer& p = peers[i];
        if (p.source.get() != source || !p.disk) return;
        ++p.chunks;
        p.source->read(now, read.to, read_snapshot(p.disk->second, read.id, read.from, read.bytes));
      });
    if (out.count && peer.disk)
      after(milliseconds(5), [this, i, source = peer.source.get()] {
        Peer& p = peers[i];
        if (p.source.get() == source && p.disk) p.source->counted(p.disk->first, count_of(p.disk->second));
      });
    for (auto& [to, word] : out.send) {
      if (const auto* chunk = std::get_if<SnapshotChunk>(&word)) bytes_sent += chunk->bytes.size();
      carry(i, to.n, word);
    }
  }
  void drain_puller() {
    auto out = puller->take_output();
    for (const std::string& e : out.events) events.push_back(e);
    if (out.begin) staging = durable = MapRows();
    for (auto& write : out.writes) {
      unwritten += write.bytes;
      most_unwritten = std::max(most_unwritten, unwritten);
      after(milliseconds(2), [this, write, l = life] {
        if (l != life) return;
        staging.write(write.rows);
        staging.write({{rows::progress(), encode_progress(write.progress)}});
        if (++writes % 4 == 0) durable = staging;
        unwritten -= write.bytes;
        puller->written(now, write.bytes);
      });
    }
    if (out.count)
      after(counting, [this, l = life] {
        if (l != life) return;
        const auto mark = read_applied(staging);
        puller->counted(now, mark ? std::optional(std::pair(count_of(staging), *mark)) : std::nullopt);
      });
    if (out.complete) complete = out.complete;
    for (auto& [to, word] : out.send)
      for (unsigned i = 1; i < peers.size(); ++i)
        if (!to || to->n == i) carry(0, i, word);
  }
  /// Until `until` says so; false: it never did.
  bool run(paxos::Duration most, const std::function<bool()>& until) {
    for (const paxos::Time end = now + most; now < end && !until();) {
      paxos::Time next = end;
      if (!queue.empty()) next = std::min(next, queue.begin()->first.first);
      next = std::min(next, puller->deadline());
      for (unsigned i = 1; i < peers.size(); ++i)
        if (peers[i].up) next = std::min(next, peers[i].source->deadline());
      now = std::max(now, next);
      while (!queue.empty() && queue.begin()->first.first <= now) {
        auto what = std::move(queue.begin()->second);
        queue.erase(queue.begin());
        what();
      }
      puller->tick(now);
      drain_puller();
      for (unsigned i = 1; i < peers.size(); ++i) {
        if (!peers[i].up) continue;
        peers[i].source->tick(now);
        drain_source(i);
      }
    }
    return until();
  }
  std::string dump() const {
    std::string out;
    for (const std::string& e : events) out += e + "; ";
    const auto f = puller->figures();
    return out + "stage " + std::to_string(static_cast<int>(f.stage)) + ", " + std::to_string(f.bytes) +
           " bytes, " + std::to_string(f.repeats) + " repeats, " + std::to_string(f.refused) + " refused";
  }
  bool done() const { return complete.has_value(); }
  void expect_right() {
    ASSERT_TRUE(complete);
    MapRows got = staging;
    got.rows().erase(rows::progress());
    EXPECT_EQ(got, as_received(peers[complete_from()].log.rows));
  }
  unsigned complete_from() const { return complete->id.source.bytes[0] - 1U; }

  std::mt19937_64 random;
  double loss = 0.05;
  paxos::Time now{seconds(100)};
  std::uint64_t boots = 0, life = 0, orders = 0, writes = 0, bytes_sent = 0;
  Slot first_slot{1};
  SnapshotSource::Options source_options{.chunk_bytes = 512};
  SnapshotPuller::Options options{.window_bytes = 4096, .unwritten_bytes_max = 16384};
  std::vector<Peer> peers;
  std::unique_ptr<SnapshotPuller> puller;
  std::map<std::pair<paxos::Time, std::uint64_t>, std::function<void()>> queue;
  MapRows staging, durable;
  std::size_t unwritten = 0, most_unwritten = 0;
  std::optional<SnapshotProgress> complete;
  std::vector<std::string> events;
  std::function<void(SnapshotWord&)> tamper;
};

TEST(SnapshotPull, BringsAllOfItThroughLossDoublesAndDisorder) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    World w(3, seed, talk(80));
    w.loss = 0.05 * static_cast<double>(seed % 5);
    ASSERT_TRUE(w.run(seconds(120), [&] { return w.done(); })) << "seed " << seed;
    w.expect_right();
    EXPECT_LE(w.most_unwritten, w.options.unwritten_bytes_max + 2 * w.options.window_bytes + 3200);
  }
}

TEST(SnapshotPull, GoesOnWhereItsDiskIsAfterACrash) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    World w(3, seed, talk(120));
    const auto bytes_here = [&] { return w.puller->figures().bytes; };
    const std::uint64_t total = count_of(w.peers[1].log.rows).bytes;
    ASSERT_TRUE(w.run(seconds(60), [&] { return bytes_here() > total / 2; }));
    w.boot_puller();
    ASSERT_TRUE(w.run(seconds(60), [&] { return w.done(); })) << "seed " << seed;
    EXPECT_GT(w.puller->figures().resumed_at, total / 4) << "seed " << seed;
    w.expect_right();
    EXPECT_TRUE(!w.peers[1].disk || !w.peers[2].disk) << "nobody else had to make one";
  }
}

TEST(SnapshotPull, GoesOnWithASourceThatCameBack) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    World w(3, seed, talk(120));
    const std::uint64_t total = count_of(w.peers[1].log.rows).bytes;
    ASSERT_TRUE(w.run(seconds(60), [&] { return w.puller->figures().bytes > total / 2; }));
    const unsigned source = w.puller->figures().from->n;
    w.peers[source].up = false;
    ASSERT_FALSE(w.run(seconds(5), [&] { return w.done(); }));
    w.boot(source);
    ASSERT_TRUE(w.run(seconds(60), [&] { return w.done(); })) << "seed " << seed;
    EXPECT_EQ(w.complete_from(), source);
    EXPECT_LT(w.bytes_sent, total * 3 / 2) << "seed " << seed;
    w.expect_right();
  }
}

TEST(SnapshotPull, BeginsAnewWithAnotherWhenItsSourceStaysAway) {
  World w(3, 5, talk(120));
  const std::uint64_t total = count_of(w.peers[1].log.rows).bytes;
  ASSERT_TRUE(w.run(seconds(60), [&] { return w.puller->figures().bytes > total / 2; }));
  const unsigned source = w.puller->figures().from->n;
  w.peers[source].up = false;
  ASSERT_TRUE(w.run(seconds(120), [&] { return w.done(); }));
  EXPECT_EQ(w.complete_from(), 3 - source);
  w.expect_right();
}

TEST(SnapshotPull, BeginsAnewWhenItsSourceHasItNoMore) {
  World w(2, 6, talk(120));
  const std::uint64_t total = count_of(w.peers[1].log.rows).bytes;
  ASSERT_TRUE(w.run(seconds(60), [&] { return w.puller->figures().bytes > total / 2; }));
  w.peers[1].disk.reset();
  w.peers[1].log.noop();
  w.boot(1);
  ASSERT_TRUE(w.run(seconds(60), [&] { return w.done(); }));
  EXPECT_EQ(w.complete->id.slot, w.peers[1].log.machine.applied());
  w.expect_right();
}

TEST(SnapshotPull, TakesNoPieceOfAnotherSnapshot) {
  World w(3, 7, talk(120));
  int odd = 0;
  // Whole and sealed, of the same place, of another snapshot of the same source.
  w.tamper = [&](SnapshotWord& word) {
    auto* chunk = std::get_if<SnapshotChunk>(&word);
    if (chunk == nullptr || ++odd % 5 != 0) return;
    std::string bytes(chunk->bytes.view());
    for (char& c : bytes) c ^= 1;
    chunk->bytes = paxos::Bytes::from(std::move(bytes));
    ++chunk->id.number;
    chunk->checksum = snapshot_checksum(*chunk);
  };
  ASSERT_TRUE(w.run(seconds(60), [&] { return w.done(); })) << w.dump();
  EXPECT_GT(w.puller->figures().refused, 0U);
  w.expect_right();
}

TEST(SnapshotPull, TakesNoPieceThatDoesNotFitItsChecksum) {
  World w(3, 8, talk(120));
  int odd = 0;
  w.tamper = [&](SnapshotWord& word) {
    auto* chunk = std::get_if<SnapshotChunk>(&word);
    if (chunk == nullptr || ++odd % 5 != 0 || chunk->bytes.empty()) return;
    std::string bytes(chunk->bytes.view());
    bytes[bytes.size() / 2] ^= 4;
    chunk->bytes = paxos::Bytes::from(std::move(bytes));
  };
  ASSERT_TRUE(w.run(seconds(60), [&] { return w.done(); }));
  EXPECT_GT(w.puller->figures().refused, 0U);
  w.expect_right();
}

TEST(SnapshotPull, IsNotCompleteUntilWhatIsOnTheDiskComesToTheSameSum) {
  World w(2, 9, talk(120));
  ASSERT_TRUE(
      w.run(seconds(60), [&] { return w.puller->figures().stage == SnapshotPuller::Stage::counting; }));
  // The disk loses a bit of a row that was right when it came.
  w.staging.rows().begin()->second[12] ^= 1;
  ASSERT_FALSE(w.run(milliseconds(30), [&] { return w.done(); }));
  ASSERT_TRUE(w.run(seconds(60), [&] { return w.done(); }));
  w.expect_right();
  EXPECT_TRUE(std::any_of(w.events.begin(), w.events.end(), [](const std::string& e) {
    return e.find("come to something else") != std::string::npos;
  }));
}

TEST(SnapshotPull, WaitsForItsOwnDiskHoweverLongThatCounts) {
  World w(3, 12, talk(120));
  w.counting = 4 * w.options.patience;
  ASSERT_TRUE(w.run(w.counting + seconds(60), [&] { return w.done(); })) << w.dump();
  w.expect_right();
  for (const std::string& e : w.events) EXPECT_EQ(e.find("is silent"), std::string::npos) << e;
}

TEST(SnapshotPull, WritesNothingOfWhatItGivesUp) {
  World w(2, 13, talk(120));
  bool asked = false;
  w.tamper = [&](SnapshotWord& word) {
    const auto* chunk = std::get_if<SnapshotChunk>(&word);
    if (chunk == nullptr) return;
    // In the same turn as the piece, before what is to be done is carried out.
    w.after({}, [&w, &asked, slot = chunk->id.slot] {
      SnapshotPuller twin = *w.puller;
      if (asked || twin.take_output().writes.empty()) return;  // nothing that follows on what is here
      asked = true;
      w.puller->applied(slot);
      const auto out = w.puller->take_output();
      EXPECT_TRUE(out.begin);
      EXPECT_TRUE(out.writes.empty());
      EXPECT_FALSE(out.count);
    });
  };
  (void)w.run(seconds(5), [&] { return asked && w.puller->figures().stage == SnapshotPuller::Stage::idle; });
  EXPECT_TRUE(asked);
  EXPECT_EQ(w.puller->figures().stage, SnapshotPuller::Stage::idle);
}

TEST(SnapshotPull, TakesNoSnapshotFromOneThatWentAstray) {
  World w(5, 10, talk(60));
  // Replica 1 computed something else: it is asked first, and its snapshot is whole in itself.
  w.peers[1].log = talk(60, 2999);
  ASSERT_EQ(w.peers[1].log.machine.applied(), w.peers[2].log.machine.applied());
  w.boot(1);
  ASSERT_TRUE(w.run(seconds(120), [&] { return w.done(); }));
  EXPECT_NE(w.complete_from(), 1U);
  w.expect_right();
}

TEST(SnapshotPull, AsksThoseFirstThatItWasToldOf) {
  World w(3, 11, talk(60));
  w.puller = std::make_unique<SnapshotPuller>(w.options);
  w.puller->want(w.now, {1}, {ReplicaId{2}, ReplicaId{1}}, w.everybody());
  ASSERT_TRUE(w.run(seconds(60), [&] { return w.done(); }));
  EXPECT_EQ(w.complete_from(), 2U);
  EXPECT_FALSE(w.peers[1].disk);
}

TEST(SnapshotPull, EndsWhenTheReplicaHasCaughtUpByItself) {
  World w(3, 12, talk(120));
  ASSERT_TRUE(w.run(seconds(60), [&] { return w.puller->figures().bytes > 10000; }));
  w.puller->applied(w.peers[1].log.machine.applied());
  w.drain_puller();
  EXPECT_EQ(w.puller->figures().stage, SnapshotPuller::Stage::idle);
  EXPECT_TRUE(w.staging.rows().empty());
  EXPECT_EQ(w.puller->deadline(), paxos::time_never);
}

TEST(SnapshotSource, KeepsToItsRate) {
  World w(2, 13, talk(300));
  w.source_options.bytes_per_second = 50'000;
  w.loss = 0;
  w.boot(1);
  const std::uint64_t total = count_of(w.peers[1].log.rows).bytes;
  ASSERT_GT(total, 300'000U);
  const paxos::Time began = w.now;
  ASSERT_TRUE(w.run(seconds(120), [&] { return w.done(); }));
  const double took = std::chrono::duration<double>(w.now - began).count();
  EXPECT_GT(took, static_cast<double>(total) / 50'000 * 0.95);
  EXPECT_LT(took, static_cast<double>(total) / 50'000 * 1.3 + 1);
}

struct Alone {
  SnapshotSource source{{.incarnation = incarnation(1), .pullers = 2}};
  paxos::Time now{seconds(5)};
  SnapshotSource::Standing standing{.fit = true, .applied = {50}, .first_slot = {40}};
  SnapshotOffer ask(unsigned who, Slot above = {9}) {
    source.message(now, {static_cast<std::uint8_t>(who)}, SnapshotAsk{.nonce = 1, .above = above}, standing);
    auto out = source.take_output();
    last = out;
    return std::get<SnapshotOffer>(out.send.back().second);
  }
  void make() {
    EXPECT_EQ(ask(2).answer, SnapshotAnswer::making);
    EXPECT_TRUE(last.make);
    source.made(now, SnapshotSource::Made{standing.applied, {}, 100});
    EXPECT_EQ(ask(2).answer, SnapshotAnswer::offered);
  }
  SnapshotSource::Output last;
};

TEST(SnapshotSource, ServesSoManyAtOnceAndNoMore) {
  Alone a;
  a.make();
  EXPECT_EQ(a.ask(3).answer, SnapshotAnswer::offered);
  EXPECT_EQ(a.ask(4).answer, SnapshotAnswer::busy);
  a.now += seconds(31);
  EXPECT_EQ(a.ask(4).answer, SnapshotAnswer::offered) << "the others fell silent";
}

TEST(SnapshotSource, GivesItUpWhenNobodyComesAndHoldsTheLogUntilThen) {
  Alone a;
  EXPECT_EQ(a.source.holds(), std::nullopt);
  a.make();
  EXPECT_EQ(a.source.holds(), Slot{50});
  a.now = a.source.deadline();
  a.source.tick(a.now);
  EXPECT_TRUE(a.source.take_output().drop);
  EXPECT_EQ(a.source.holds(), std::nullopt);
  EXPECT_EQ(a.source.deadline(), paxos::time_never);
}

TEST(SnapshotSource, OffersNothingThatIsOfNoUse) {
  Alone a;
  EXPECT_EQ(a.ask(2, {50}).answer, SnapshotAnswer::none) << "who asks is as far";
  a.standing.fit = false;
  EXPECT_EQ(a.ask(2).answer, SnapshotAnswer::none) << "its state is not to be trusted";
  a.standing.fit = true;
  a.make();
  a.standing.applied = {900};
  a.standing.first_slot = {52};
  EXPECT_EQ(a.ask(2).answer, SnapshotAnswer::making) << "slot 51 is in no log any more";
  EXPECT_TRUE(a.last.drop);
}

TEST(SnapshotSource, SaysWhatIsGone) {
  Alone a;
  a.make();
  SnapshotId other = *a.source.figures().id;
  ++other.number;
  a.source.message(a.now, {2}, SnapshotPull{.id = other, .from = {}, .window = 10}, a.standing);
  EXPECT_TRUE(std::holds_alternative<SnapshotGone>(a.source.take_output().send.at(0).second));
}

}  // namespace
