#include <algorithm>

#include "tests/sim/world.h"

/// Rolling upgrades: who runs which version of the program, and what operators do about one that is too old.
namespace sim {

namespace {

constexpr std::uint32_t runs_with_upgrades_ppm = 200'000;

}  // namespace

void draw_upgrades(Scenario& s) {
  Random r(s.seed ^ 0x7570'6772'6164'6573ULL);
  if (!r.chance(runs_with_upgrades_ppm)) return;
  Upgrades upgrades;
  upgrades.mixed_birth = r.chance(125'000);
  upgrades.careless = r.chance(400'000);
  switch (r.below(4)) {
    case 0:
      upgrades.never = static_cast<std::uint8_t>(r.below(s.replicas));
      break;
    case 1:
      break;  // whatever they run at the end, they run
    default:
      upgrades.finish = true;
  }
  upgrades.from = r.chance(500'000) ? chat::rules_first : chat::rules_released;
  s.upgrades = upgrades;
  s.faults.push_back(Fault::upgrade);
  // Each replica some times; now and then two within the time for which a replica's word counts.
  const auto replicas = static_cast<std::int64_t>(s.replicas);
  const Nanos every = s.safety_length / r.between(2 * replicas, 6 * replicas);
  for (Nanos at = s.faults_from + r.between(0, s.safety_length / 4); at < s.safety_length;
       at += r.below(3) == 0 ? r.between(0, 2 * s.election_timeout) : r.between(0, 2 * every))
    s.schedule.push_back({.number = static_cast<unsigned>(s.schedule.size()),
                          .at = at,
                          .kind = Fault::upgrade,
                          .seed = r.next()});
  order_schedule(s);
}

/// One step of operators who mean to upgrade one replica after another, and sometimes go back.
void World::change_program(Random& random, Nanos length) {
  if (!scenario_.upgrades) return;
  const Upgrades& upgrades = *scenario_.upgrades;
  const std::uint16_t old_rules = upgrades.from;
  const std::uint16_t next_rules = upgrades.from + 1;
  std::vector<Host*> have_old;
  std::vector<Host*> have_next;
  bool seen_raised = false;  // as `paxosctl status` shows it
  for (Host& host : hosts_) {
    if (upgrades.never != host.id) (host.installed < next_rules ? have_old : have_next).push_back(&host);
    seen_raised = seen_raised || (host.node && host.node->machine().rules() >= next_rules);
  }
  // Once there is nothing else to do, going back is what is left to try.
  const bool back = random.below(have_old.empty() ? 2 : 4) == 0 && !have_next.empty() &&
                    (!seen_raised || upgrades.careless);
  const auto& from = back ? have_next : have_old;
  if (from.empty()) return;
  Host& host = *from[random.below(from.size())];
  install(host, back ? old_rules : next_rules);
  if (random.below(3) == 0) return;  // it runs from the next start on, whenever that is
  const bool last = !back && have_old.size() == 1 && !have_next.empty() && random.below(2) == 0;
  if (!last && host.node && host.paused == 0 && random.below(2) == 0 && host.node->hand_over(local(host)))
    turn(host);
  crash(host, "to run another version");
  if (!last) {
    restart_later(host, random.between(millisecond, millisecond + length / 4));
    return;
  }
  // The last one, while another goes back, whose word about the next rules still counts.
  restart_later(host, random.between(millisecond, scenario_.election_timeout / 4));
  Host& other = *have_next[random.below(have_next.size())];
  install(other, old_rules);
  crash(other, "to run another version");
  restart_later(other, random.between(millisecond, scenario_.election_timeout));
}

void World::install(Host& host, std::uint16_t rules) {
  host.installed = rules;
  if (saying())
    say("replica " + std::to_string(host.id) + " gets the " +
        (rules <= scenario_.upgrades->from ? "old" : "next") + " version of the program");
}

void World::refused(Host& host, const std::string& why) {
  if (saying()) say("replica " + std::to_string(host.id) + " refuses to run: " + why);
  rules_->refuses(host.id, why);
  // It is started again and again; at last somebody reads what it says.
  if (!faults_on_ || random_.below(2) == 0) host.installed = scenario_.upgrades->from + 1;
  restart_later(host, random_.between(millisecond, scenario_.fault_length_max));
}

void World::finish_upgrades(bool at_the_end) {
  if (!scenario_.upgrades) return;
  const Upgrades& upgrades = *scenario_.upgrades;
  const std::uint16_t next_rules = upgrades.from + 1;
  for (Host& host : hosts_) {
    if (upgrades.never == host.id) continue;
    const bool must = rules_->proposed(next_rules) || rules_->counted_on(host.id, next_rules, now_);
    if (!must && !(at_the_end && (upgrades.finish || upgrades.never))) continue;
    host.installed = next_rules;
    if (host.node && host.program < next_rules) crash(host, "to run the next version");
  }
}

std::vector<std::uint16_t> World::rules() const {
  std::vector<std::uint16_t> out;
  for (const Host& host : hosts_) out.push_back(host.node ? host.node->machine().rules() : std::uint16_t{0});
  return out;
}

std::uint8_t World::format_spoken(const Host& host) const {
  return chat::formats_of(host.node ? host.node->machine().rules() : std::uint16_t{1}).datagrams;
}

bool World::reads(const Host& host, std::uint64_t format) {
  if (format <= chat::formats_of(host.program).datagrams) return true;
  const auto* of = std::find_if(chat::formats.begin(), chat::formats.end(),
                                [&](const chat::Formats& f) { return f.datagrams == format; });
  if (of != chat::formats.end()) rules_->cannot_read(host.id, of->rules);
  return false;
}

}  // namespace sim
