#include "daemon/snapshots.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "daemon/log.h"
#include "paxos/overloaded.h"

namespace paxosd {

namespace {

using Stage = chat::SnapshotPuller::Stage;

constexpr paxos::Duration hold_again = std::chrono::seconds{1};
/// After so long without a word from who takes a backup its place may be another one's.
constexpr paxos::Duration taker_silence = std::chrono::seconds{30};
constexpr paxos::Duration tell_again = std::chrono::seconds{10};

const char* to_string(Stage stage) {
  switch (stage) {
    case Stage::idle:
      return "idle";
    case Stage::asking:
      return "asks who has one";
    case Stage::pulling:
      return "pulls";
    case Stage::counting:
      return "counts what came";
    case Stage::confirming:
      return "asks others for their hash";
    case Stage::complete:
      return "is installed";
  }
  return "?";
}

std::optional<paxos::ReplicaId> whose(const chat::SnapshotProgress& progress,
                                      const paxos::Recovered& recovered) {
  if (!recovered.birth) return std::nullopt;
  for (std::size_t id = 0; id < recovered.birth->members.size(); ++id)
    if (recovered.birth->members[id] == progress.id.source)
      return paxos::ReplicaId{static_cast<std::uint8_t>(id)};
  return std::nullopt;
}

}  // namespace

Snapshots::Snapshots(const Options& options, const paxos::Recovered& recovered, storage::SnapshotFiles& files,
                     Hooks hooks, paxos::Time now)
    : files_(files),
      hooks_(std::move(hooks)),
      incarnation_(recovered.incarnation),
      source_({.incarnation = recovered.incarnation,
               .seed = options.seed,
               .bytes_per_second = options.bytes_per_second}),
      puller_({.self = options.self, .replicas = options.replicas, .seed = options.seed}) {
  if (const auto& served = files_.found_served(); served && served->id.source == incarnation_)
    source_.found(now, served->id, served->bytes);
  if (const auto& staged = files_.found_staged()) puller_.found(*staged, whose(*staged, recovered));
}

void Snapshots::start() {
  files_.start([this](std::string why) { hooks_.post([this, why = std::move(why)] { hooks_.failed(why); }); },
               [this] { hooks_.post([this] { source_.lost(); }); });
  if (const auto& served = files_.found_served(); served && served->id.source != incarnation_)
    files_.drop_served();
}

void Snapshots::message(paxos::Time now, paxos::ReplicaId from, const chat::SnapshotWord& word) {
  std::visit(paxos::Overloaded{
                 [&](const chat::SnapshotHashAsk& ask) { hooks_.tell_hash(from, ask); },
                 [&]<class T>(const T&) {
                   if constexpr (std::is_same_v<T, chat::SnapshotAsk> ||
                                 std::is_same_v<T, chat::SnapshotPull> ||
                                 std::is_same_v<T, chat::SnapshotSumAsk>)
                     source_.message(now, from, word, hooks_.standing());
                   else if (!pulling_held_)
                     puller_.message(now, from, word);
                 },
             },
             word);
}

void Snapshots::backup_message(paxos::Time now, const std::string& who, chat::SnapshotWord word, Tell tell) {
  auto taker = std::ranges::find(takers_, who, &Taker::who);
  if (taker == takers_.end()) taker = std::ranges::min_element(takers_, {}, &Taker::heard);
  if (taker->who != who && taker->heard > now - taker_silence) {
    // Whoever is not served yet waits; who is, has a place.
    if (const auto* ask = std::get_if<chat::SnapshotAsk>(&word))
      tell(chat::SnapshotOffer{.nonce = ask->nonce, .answer = chat::SnapshotAnswer::busy, .id = {}});
    return;
  }
  *taker = {.who = who, .tell = std::move(tell), .heard = now};
  // One chunk an answer, and always anew: who did not get it says the same once more.
  if (auto* pull = std::get_if<chat::SnapshotPull>(&word)) {
    pull->window = 1;
    pull->again = true;
  }
  const auto id = static_cast<std::uint8_t>(first_taker + (taker - takers_.begin()));
  source_.message(now, {id}, word, hooks_.standing());
}

void Snapshots::want(paxos::Time now, const paxos::SnapshotWish& wish) {
  puller_.want(now, {wish.above.n == 0 ? 0 : wish.above.n - 1}, wish.from, wish.voters);
}

void Snapshots::turn(paxos::Time now, paxos::Slot applied) {
  puller_.applied(applied);
  if (source_.deadline() <= now) source_.tick(now);
  if (!pulling_held_ && puller_.deadline() <= now) puller_.tick(now);
  carry_source();
  carry_puller();
  if (const auto held = source_.holds(); held && now >= held_at_) {
    hooks_.hold_log(*held);
    held_at_ = now + hold_again;
  }
  if (const auto f = puller_.figures(); f.stage == Stage::pulling && now - told_at_ >= tell_again) {
    told_at_ = now;
    daemon_log::info("{}", line());
  }
}

paxos::Time Snapshots::deadline() const {
  const paxos::Time hold = source_.holds() ? held_at_ : paxos::time_never;
  const paxos::Time pull = pulling_held_ ? paxos::time_never : puller_.deadline();
  return std::min({source_.deadline(), pull, hold});
}

void Snapshots::carry_source() {
  auto out = source_.take_output();
  for (const std::string& event : out.events) daemon_log::info("{}", event);
  if (out.drop) files_.drop_served();
  if (out.make)
    files_.make(incarnation_, *out.make, [this](storage::SnapshotFiles::Made made) {
      hooks_.post([this, made = std::move(made)]() mutable { source_.made(hooks_.now(), std::move(made)); });
    });
  for (auto& read : out.reads)
    files_.read(read.id, std::move(read.from), read.bytes,
                [this, to = read.to](std::optional<chat::SnapshotChunk> chunk) {
                  hooks_.post([this, to, chunk = std::move(chunk)]() mutable {
                    source_.read(hooks_.now(), to, std::move(chunk));
                  });
                });
  if (out.count)
    files_.count_served([this](const chat::SnapshotId& id, const chat::SnapshotSum& sum) {
      hooks_.post([this, id, sum] { source_.counted(id, sum); });
    });
  for (const auto& [to, word] : out.send) {
    if (to.n < first_taker)
      hooks_.send(to, word);
    else if (const Tell tell = std::exchange(takers_.at(to.n - first_taker).tell, {}))
      tell(word);
  }
}

void Snapshots::carry_puller() {
  auto out = puller_.take_output();
  for (const std::string& event : out.events) daemon_log::info("snapshot: {}", event);
  if (out.begin) files_.begin();
  for (auto& write : out.writes) {
    const std::size_t bytes = write.bytes;
    files_.write(std::move(write),
                 [this, bytes] { hooks_.post([this, bytes] { puller_.written(hooks_.now(), bytes); }); });
  }
  if (out.count)
    files_.count_staged([this](storage::SnapshotFiles::Counted counted) {
      hooks_.post([this, counted = std::move(counted)] { puller_.counted(hooks_.now(), counted); });
    });
  if (out.complete) {
    daemon_log::info("the snapshot of slot {} is whole: it takes the place of this replica's state",
                     out.complete->id.slot.n);
    files_.finish(*out.complete, [this] { hooks_.post([this] { hooks_.installed(); }); });
  }
  for (const auto& [to, word] : out.send) hooks_.send(to, word);
}

std::string Snapshots::line() const {
  const auto f = puller_.figures();
  if (f.stage == Stage::idle) return {};
  std::string line = fmt::format("its state comes as a snapshot: {}", to_string(f.stage));
  if (!f.slot.none()) line += fmt::format(", slot {}", f.slot.n);
  if (f.from) line += fmt::format(", from replica {}", f.from->n);
  if (f.stage == Stage::pulling)
    line += fmt::format(", {} MiB of about {}", f.bytes >> 20, f.bytes_about >> 20);
  return line;
}

void Snapshots::add_to(nlohmann::json& out) const {
  if (const auto f = puller_.figures(); f.stage != Stage::idle) {
    auto& pull = out["snapshot_pull"];
    pull = {{"stage", to_string(f.stage)},  {"slot", f.slot.n},           {"bytes", f.bytes},
            {"bytes_about", f.bytes_about}, {"resumed_at", f.resumed_at}, {"repeats", f.repeats},
            {"refused_chunks", f.refused}};
    if (f.from) pull["from"] = f.from->n;
  }
  if (const auto f = source_.figures(); f.id)
    out["snapshot_served"] = {{"slot", f.id->slot.n}, {"pullers", f.pullers}, {"bytes_sent", f.bytes_sent}};
}

}  // namespace paxosd
