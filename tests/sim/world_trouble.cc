#include <algorithm>

#include "chat/rows.h"
#include "tests/sim/world.h"

/// Faults that are put together on purpose, because they are too rare by chance: a candidate that lags, and a
/// replica that applies otherwise than the rest.
namespace sim {

using namespace fault_end;

namespace {

/// The state's rows, with another hash in the row that says where it stands: from there on this replica's
/// chain is another.
class OtherHash final : public chat::RowReader {
 public:
  explicit OtherHash(const chat::RowReader& rows) : rows_(rows) {}
  using Visit = std::function<bool(std::string_view, std::string_view)>;
  void scan(std::string_view from, std::string_view to, const Visit& visit) const override {
    rows_.scan(from, to, visit);
  }
  void scan_back(std::string_view from, std::string_view to, const Visit& visit) const override {
    rows_.scan_back(from, to, visit);
  }
  [[nodiscard]] std::optional<std::string> get(std::string_view key) const override {
    auto value = rows_.get(key);
    if (value && key == chat::rows::meta()) value->at(meta_hash) = static_cast<char>(~value->at(meta_hash));
    return value;
  }

 private:
  static constexpr std::size_t meta_hash = 10;
  const chat::RowReader& rows_;
};

}  // namespace

void draw_trouble(Scenario& s) {
  Random r(s.seed ^ 0x7472'6f75'626c'652eULL);
  const bool lag = s.replicas >= 3 && r.chance(350'000);
  const bool misapply = s.replicas >= 3 && r.chance(120'000);
  if (lag) {
    s.faults.push_back(Fault::lag);
    const Nanos every = r.between(3, 8) * second;
    for (Nanos at = s.faults_from + r.between(0, every); at < s.safety_length;
         at += r.between(every / 2, 2 * every))
      s.schedule.push_back({.number = static_cast<unsigned>(s.schedule.size()),
                            .at = at,
                            .kind = Fault::lag,
                            .seed = r.next()});
  }
  if (misapply) {
    s.faults.push_back(Fault::misapply);
    s.schedule.push_back({.number = static_cast<unsigned>(s.schedule.size()),
                          .at = s.faults_from + r.between(5, 40) * second,
                          .kind = Fault::misapply,
                          .seed = r.next()});
  }
  if (lag || misapply) order_schedule(s);
}

void draw_copies(Scenario& s) {
  Random r(s.seed ^ 0x636f'7069'6573'2e2eULL);
  if (s.replicas < 3 || !r.chance(250'000)) return;
  s.faults.push_back(Fault::roll_back);
  const Nanos every = r.between(1, 5) * second;
  for (Nanos at = s.faults_from + r.between(0, every); at < s.safety_length; at += r.between(0, 2 * every))
    s.schedule.push_back({.number = static_cast<unsigned>(s.schedule.size()),
                          .at = at,
                          .kind = Fault::roll_back,
                          .seed = r.next()});
  order_schedule(s);
}

// --- an older copy of a directory ---

/// Whether the other one's disk says, whatever it heard since its start, that the host's copy is an old one.
bool World::knows_better(const Host& other, const Host& host) const {
  const Disk& disk = other.shelf ? *other.shelf : other.disk;
  const auto known = disk.peers.find(host.id);
  return known != disk.peers.end() && known->second.origin.incarnation == host.copy->incarnation &&
         (known->second.origin.life.boot > host.copy->boot ||
          known->second.groups > host.copy->last_group + 100);  // what it may write before it is told
}

/// The first time a copy is taken of what a power cut would leave now; another time it takes the place of the
/// directory, where every other replica knows better. (Where one does not, and makes a quorum with it, what
/// the copy has forgotten may be lost: nobody can tell.)
void World::roll_back(Host& host, Nanos length) {
  if (host.shelf || host.lost || host.disk.damaged() || !born(host.id)) return;
  if (!host.copy) {
    // Under the first format nobody says which life it is.
    const VersionedRows::View all(observer_.rows(), host.disk.state_durable);
    const auto mark = chat::read_applied(OwnRows(all, host.disk));
    if (!mark || chat::formats_of(mark->rules).datagrams < net::format_named) return;
    host.copy = host.disk;
    host.copy->pending.clear();
    host.copy->state_written = host.copy->state_durable;
    return;
  }
  if (unfit() + 1 > (scenario_.replicas - 1) / 2) return;
  for (const Host& other : hosts_)
    if (other.id != host.id && !knows_better(other, host)) return;
  crash(host, "an older copy of its directory takes its place");
  host.shelf = std::move(host.disk);
  host.disk = std::move(*host.copy);
  host.copy.reset();
  host.old_copy = true;
  observer_.directory_rolled_back(host.id);
  restart_later(host, length / 4);
  until_later(restore, host.id, 0, 4 * length);
}

// --- a directory that is lost for good ---

void draw_losses(Scenario& s) {
  Random r(s.seed ^ 0x6c6f'7373'6573'2e2eULL);
  // Under upgrades a program may be too old for what it takes.
  if (s.replicas < 3 || s.upgrades || !r.chance(300'000)) return;
  s.faults.push_back(Fault::lose);
  const Nanos every = r.between(2, 6) * second;
  for (Nanos at = s.faults_from + r.between(0, every); at < s.safety_length;
       at += r.between(every / 2, 2 * every))
    s.schedule.push_back({.number = static_cast<unsigned>(s.schedule.size()),
                          .at = at,
                          .kind = Fault::lose,
                          .seed = r.next()});
  order_schedule(s);
}

void World::lose_directory(Host& host, Random& random, Nanos length) {
  if (rules_ || host.shelf || host.lost || host.disk.damaged() || host.misapplies || !born(host.id) ||
      unfit() + 1 > (scenario_.replicas - 1) / 2)
    return;
  // Before the rules are raised it can't be replaced, and without it they aren't.
  if (std::none_of(hosts_.begin(), hosts_.end(), [](const Host& each) {
        return each.node && each.node->machine().rules() >= chat::rules_configurations;
      }))
    return;
  crash(host, "its directory is lost");
  host.disk = Disk{};
  host.copy.reset();
  host.snapshots = {};
  for (auto& byte : host.disk.incarnation.bytes) byte = static_cast<std::uint8_t>(random.next());
  host.disk.incarnation.bytes[0] |= 1;
  host.lost = true;
  observer_.directory_wiped(host.id);
  restart_later(host, length / 4);
  until_later(operate, host.id, 0, 20 * millisecond + random.between(0, length));
}

/// One time in two in one step; else its replica is taken out of the cluster, and added to it as a learner,
/// which the leader makes a voter.
paxos::MemberChange World::next_change(const Host& host, const paxos::Configuration& now) const {
  using Kind = paxos::MemberChange::Kind;
  const bool in_steps = host.disk.incarnation.bytes[1] % 2 == 1;
  const Kind kind = !in_steps ? Kind::replace : now.holds({host.id}) ? Kind::remove : Kind::add;
  return {.kind = kind, .id = {host.id}, .address = {}};
}

void World::replace_directory(Host& host) {
  if (!host.lost) return;
  if (host.node && host.node->status().voting) {
    host.lost = false;
    return;
  }
  for (Host& each : hosts_) {
    if (!each.node || each.paused != 0 || !each.node->is_leader()) continue;
    // A learner that only has to catch up needs nobody's word.
    if (each.node->configuration().member({host.id}, host.disk.incarnation)) break;
    const paxos::MemberChange change = next_change(host, each.node->configuration());
    const paxos::ChangeResult result = each.node->change(local(each), change);
    if (saying())
      say("replica " + std::to_string(each.id) + " is told to " + paxos::to_string(change.kind) + " " +
          std::to_string(host.id) + ": " + (result.refused.empty() ? "does" : result.refused));
    turn(each);
    break;
  }
  until_later(operate, host.id, 0, random_.between(20, 300) * millisecond);
}

// --- a candidate that lags ---

/// What is small gets through to the host, what carries decrees does not (a path that loses big datagrams),
/// so it lags and is connected all the same. Then the leader hears nobody any more, so that its votes stay
/// open; then the host gets everything again and is a candidate at once: it has to learn, and above that to
/// adopt.
void World::lag(Host& host, Random& random, Nanos length) {
  length = std::max(length, 100 * millisecond);
  const Nanos deaf = random.between(5, 60) * millisecond;
  host.narrow_until = now_ + length;
  queue_.push(now_ + length - deaf, {.kind = EventKind::fault_end, .to = host.id, .from = deafen, .b = era_});
  queue_.push(now_ + length, {.kind = EventKind::fault_end, .to = host.id, .from = candidate, .b = era_});
}

void World::end_of_lag(Host& host, bool campaign) {
  if (campaign) {
    if (!host.node || host.paused != 0) return;
    host.node->campaign(local(host));
    turn(host);
    return;
  }
  const auto leader = this->leader();
  if (!leader || *leader == host.id) return;
  std::vector<std::pair<std::uint8_t, std::uint8_t>> links;
  for (std::uint8_t other = 0; other < scenario_.replicas; ++other)
    if (other != *leader) links.emplace_back(other, *leader);
  cut_links(std::move(links), random_.between(60 * millisecond, 2 * scenario_.election_timeout));
}

// --- a replica that applies otherwise ---

tl::expected<chat::Machine, std::string> World::load(const Host& host, const chat::RowReader& rows) const {
  if (host.disk.state_durable.none()) return chat::Machine{host.program, scenario_.machine_bounds};
  if (host.misapplies) return chat::Machine::load(OtherHash(rows), host.program, scenario_.machine_bounds);
  return chat::Machine::load(rows, host.program, scenario_.machine_bounds);
}

void World::misapply(Host& host, Random& random, Nanos length) {
  // Upgrades have an observer of their own, who looks at every hash.
  if (rules_ || host.shelf || host.lost || host.disk.damaged() || host.misapplies || !born(host.id) ||
      host.disk.state_durable.none() || unfit() + 1 > (scenario_.replicas - 1) / 2)
    return;
  crash(host, "killed");
  host.misapplies = true;
  host.unnoticed_until = never;
  if (saying()) say("replica " + std::to_string(host.id) + " applies otherwise from its next start on");
  restart_later(host, length / 4);
  queue_.push(now_ + length / 4 + random.between(20, 60) * scenario_.election_timeout,
              {.kind = EventKind::fault_end, .to = host.id, .from = sound, .b = era_});
}

void World::end_misapplying(Host& host) {
  if (!host.misapplies) return;
  crash(host, "its state is mended");
  host.misapplies = false;
  restart_later(host, millisecond);
}

/// As long as it hears a quorum of the others, it has so many election timeouts to see that it is alone.
void World::watch_misapplying(Host& host) {
  // With fewer hashes than are shipped (bounds.cc) it may not have those any more of which the others speak.
  const bool few_hashes = scenario_.bounds.recent_hashes < paxos::Bounds{}.recent_hashes;
  // Nor does one that stands still ever come to the slots of which they speak.
  const bool stands = host.held != 0 || host.room != paxos::DiskRoom::enough;
  if (!host.node || stands || few_hashes || host.node->diverged()) {
    host.unnoticed_until = never;
    return;
  }
  // Those count that apply rightly, and are as far as it was when it began to differ.
  const paxos::Status status = host.node->status();
  const auto sound =
      std::count_if(status.connected.begin(), status.connected.end(), [&](paxos::ReplicaId id) {
        const Host& other = hosts_[id.n];
        return !other.misapplies && other.node && other.node->machine().applied() >= host.misapplies_from;
      });
  if (static_cast<std::size_t>(sound) < scenario_.replicas / 2 + 1 || host.stalled != 0) {
    host.unnoticed_until = never;
    return;
  }
  if (host.unnoticed_until == never)
    host.unnoticed_until = now_ + 12 * scenario_.election_timeout + 2 * scenario_.late_max;
  else if (now_ > host.unnoticed_until)
    throw Violation("I11: replica " + std::to_string(host.id) +
                    " applies otherwise than the rest, hears a quorum of them, and has not noticed");
}

}  // namespace sim
