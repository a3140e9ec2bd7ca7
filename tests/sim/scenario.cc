#include "tests/sim/scenario.h"

#include <algorithm>
#include <charconv>

#include "tests/sim/random.h"

namespace sim {

namespace {

/// "3,17,20"; empty or "none": no number.
bool parse_numbers(std::string_view text, std::vector<unsigned>& out) {
  if (text == "none") return true;
  while (!text.empty()) {
    unsigned number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{}) return false;
    out.push_back(number);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (!text.empty() && (text.front() != ',' || text.size() == 1)) return false;
    if (!text.empty()) text.remove_prefix(1);
  }
  return true;
}

template <class Number>
bool parse_number(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

std::string joined(const std::vector<unsigned>& numbers) {
  std::string out;
  for (const unsigned number : numbers) out += (out.empty() ? "" : ",") + std::to_string(number);
  return out.empty() ? "none" : out;
}

}  // namespace

const char* to_string(Setting setting) {
  static constexpr const char* names[] = {"loss",      "duplicates", "late",      "drift", "twice",
                                          "gathering", "texts",      "datagrams", "rows",  "pages",
                                          "upgrades",  "bounds",     "narrow",    "trims", "retention"};
  static_assert(std::size(names) == setting_kinds);
  return names[static_cast<std::size_t>(setting)];
}

std::optional<Fault> parse_fault(std::string_view name) {
  for (unsigned kind = 0; kind < fault_kinds; ++kind) {
    std::string known = to_string(static_cast<Fault>(kind));
    std::replace(known.begin(), known.end(), ' ', '-');
    if (known == name) return static_cast<Fault>(kind);
  }
  return std::nullopt;
}

const char* to_string(Fault fault) {
  switch (fault) {
    case Fault::crash:
      return "crash";
    case Fault::crash_at_effect:
      return "crash at an effect";
    case Fault::crash_all:
      return "crash of all";
    case Fault::fail_sync:
      return "failing sync";
    case Fault::slow_disk:
      return "slow disk";
    case Fault::hang_disk:
      return "hung disk";
    case Fault::pause:
      return "pause";
    case Fault::cut_one_way:
      return "one-way cut";
    case Fault::partition:
      return "partition";
    case Fault::flap:
      return "flapping link";
    case Fault::loss_burst:
      return "loss burst";
    case Fault::replay:
      return "replay";
    case Fault::wall_clock:
      return "wall clock";
    case Fault::client_crash:
      return "client crash";
    case Fault::skip:
      return "skip";
    case Fault::hand_over:
      return "hand-over";
    case Fault::campaign:
      return "campaign";
    case Fault::wipe:
      return "wiped directory";
    case Fault::rot:
      return "bit rot";
    case Fault::upgrade:
      return "upgrade";
    case Fault::clock_stall:
      return "stalled clock";
    case Fault::clock_jump:
      return "clock jump";
    case Fault::hold_applying:
      return "held applying";
    case Fault::full_disk:
      return "full disk";
    case Fault::lag:
      return "lag";
    case Fault::misapply:
      return "misapplying";
    case Fault::client_cut:
      return "client cut";
    case Fault::share_session:
      return "shared session";
    case Fault::roll_back:
      return "rolled back directory";
    case Fault::lose:
      return "lost directory";
    case Fault::fill:
      return "filling disks";
  }
  return "?";
}

Scenario draw_scenario(std::uint64_t seed) {
  Random r(seed);
  Scenario s;
  s.seed = seed;
  static constexpr std::size_t sizes[] = {1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 6, 7, 7};
  s.replicas = sizes[r.below(std::size(sizes))];
  s.clients = 1 + r.below(16);
  s.rooms = 1 + r.below(4);
  s.election_timeout = r.between(100, 500) * millisecond;
  s.heartbeat = s.election_timeout / r.between(4, 6);
  if (r.chance(300'000)) s.clock_drift_ppm = static_cast<std::uint32_t>(r.below(20'000));

  s.delay_min = r.between(10'000, 500'000);
  s.delay_max = s.delay_min + r.between(0, 5 * millisecond);
  if (r.chance(500'000)) s.loss_ppm = static_cast<std::uint32_t>(r.below(300'000));
  if (r.chance(500'000)) s.duplicate_ppm = static_cast<std::uint32_t>(r.below(200'000));
  if (r.chance(500'000)) {
    s.late_ppm = static_cast<std::uint32_t>(r.below(200'000));
    s.late_max = r.between(1, 400) * millisecond;
  }
  if (r.chance(200'000)) s.datagram_bytes = static_cast<std::size_t>(r.between(512, 1400));
  s.seal_all = r.chance(20'000);
  if (r.chance(300'000)) s.turn_delay = r.between(0, 2 * millisecond);

  s.sync_min = r.between(50'000, 500'000);
  s.sync_max = s.sync_min + r.between(0, 8 * millisecond);
  s.real_rows = r.chance(500'000);
  s.flush_max = r.between(10, 8000) * millisecond;

  for (unsigned f = 0; f < mixed_fault_kinds; ++f)
    if (r.chance(f == static_cast<unsigned>(Fault::crash_all) || f == static_cast<unsigned>(Fault::wipe)
                     ? 200'000
                     : 450'000))
      s.faults.push_back(static_cast<Fault>(f));
  s.fault_every = r.between(300, 1700) * millisecond;
  s.fault_length_max = r.between(50, 5000) * millisecond;
  s.faults_from = r.chance(200'000) ? 0 : 2 * second;
  s.wall_jump_ms_max = r.chance(500'000) ? 5000 : 4 * 24 * 3600 * 1000LL;

  s.safety_length = r.between(60, 70) * second;
  s.skips_until = s.safety_length - 3 * second;
  s.posts_per_second = static_cast<std::uint32_t>(r.between(10, 90));
  if (r.chance(400'000)) s.twice_ppm = static_cast<std::uint32_t>(r.below(500'000));
  s.text_bytes_max = r.chance(150'000) ? static_cast<std::size_t>(r.between(1'000, 16'000)) : 100;
  s.lossy_liveness = r.chance(200'000);
  if (r.chance(500'000)) s.bounds.hot_slots = static_cast<std::uint64_t>(r.between(1, 64));

  if (!s.faults.empty()) {
    Random times(r.next());
    for (Nanos at = s.faults_from; at < s.safety_length; at += times.between(0, 2 * s.fault_every)) {
      const Fault kind = s.faults[times.below(s.faults.size())];
      s.schedule.push_back(
          {.number = static_cast<unsigned>(s.schedule.size()), .at = at, .kind = kind, .seed = times.next()});
    }
  }
  // Else there is next to no promise of more than one page: that many votes rarely stand above a chosen
  // prefix.
  if (r.chance(250'000)) s.bounds.promise_entries = static_cast<std::size_t>(r.between(1, 4));
  draw_upgrades(s);
  draw_clock_faults(s);
  draw_trouble(s);
  draw_people(s);
  draw_copies(s);
  draw_losses(s);
  draw_bounds(s);
  draw_narrow(s);
  draw_trims(s);
  draw_filling_disks(s);
  draw_retention(s);
  return s;
}

void draw_clock_faults(Scenario& s) {
  Random r(s.seed ^ 0x636c'6f63'6b73'2e2eULL);
  if (!r.chance(200'000)) return;
  s.faults.push_back(Fault::clock_stall);
  s.faults.push_back(Fault::clock_jump);
  const Nanos every = r.between(1, 6) * second;
  for (Nanos at = s.faults_from + r.between(0, every); at < s.safety_length; at += r.between(0, 2 * every))
    s.schedule.push_back({.number = static_cast<unsigned>(s.schedule.size()),
                          .at = at,
                          .kind = r.below(3) == 0 ? Fault::clock_jump : Fault::clock_stall,
                          .seed = r.next()});
  order_schedule(s);
}

void order_schedule(Scenario& s) {
  std::sort(s.schedule.begin(), s.schedule.end(), [](const PlannedFault& a, const PlannedFault& b) {
    return std::pair(a.at, a.number) < std::pair(b.at, b.number);
  });
  for (unsigned number = 0; number < s.schedule.size(); ++number) s.schedule[number].number = number;
}

// --- less of it ---

Scenario reduce(Scenario s, const Reduction& r) {
  if (r.faults)
    std::erase_if(s.schedule, [&](const PlannedFault& fault) {
      return std::find(r.faults->begin(), r.faults->end(), fault.number) == r.faults->end();
    });
  if (r.clients) s.clients = std::clamp<std::size_t>(*r.clients, 1, s.clients);
  if (r.length) s.safety_length = std::min(s.safety_length, *r.length);
  const auto without = [&](Setting setting) {
    return (r.without >> static_cast<unsigned>(setting) & 1) != 0;
  };
  if (without(Setting::loss)) s.loss_ppm = 0;
  if (without(Setting::duplicates)) s.duplicate_ppm = 0;
  if (without(Setting::late)) s.late_ppm = 0;
  if (without(Setting::drift)) s.clock_drift_ppm = 0;
  if (without(Setting::twice)) s.twice_ppm = 0;
  if (without(Setting::gathering)) s.turn_delay = 0;
  if (without(Setting::texts)) s.text_bytes_max = std::min<std::size_t>(s.text_bytes_max, 1);
  if (without(Setting::datagrams)) {
    s.datagram_bytes = 0;
    s.seal_all = false;
    s.narrow.reset();
  }
  if (without(Setting::rows)) s.real_rows = false;
  if (without(Setting::pages)) s.bounds.promise_entries = paxos::limits::page_entries_max;
  if (without(Setting::upgrades)) {
    s.upgrades.reset();
    std::erase_if(s.schedule, [](const PlannedFault& fault) { return fault.kind == Fault::upgrade; });
  }
  if (without(Setting::bounds)) {
    s.bounds = {};
    s.machine_bounds = {};
    s.node_bounds = {};
    s.reassembly = {};
    s.small_bounds = false;
  }
  if (without(Setting::narrow)) s.narrow.reset();
  if (without(Setting::trims)) {
    s.slack.reset();
    s.log_damage_one_in = 0;
  }
  if (without(Setting::retention)) s.retain_every = 0;
  s.shake = r.shake;
  return s;
}

std::string to_flags(const Reduction& r) {
  std::string out;
  if (r.faults) out += " --only-faults " + joined(*r.faults);
  if (r.clients) out += " --clients " + std::to_string(*r.clients);
  if (r.length) out += " --length-us " + std::to_string(*r.length / 1000);
  if (r.without != 0) {
    std::string names;
    for (unsigned setting = 0; setting < setting_kinds; ++setting)
      if ((r.without >> setting & 1) != 0)
        names += (names.empty() ? "" : ",") + std::string(to_string(static_cast<Setting>(setting)));
    out += " --without " + names;
  }
  if (r.shake != 0) out += " --shake " + std::to_string(r.shake);
  return out;
}

bool parse_flag(std::string_view flag, std::string_view value, Reduction& r) {
  if (flag == "--only-faults") return parse_numbers(value, r.faults.emplace());
  if (flag == "--clients") return parse_number(value, r.clients.emplace()) && *r.clients > 0;
  if (flag == "--length-us") {
    if (!parse_number(value, r.length.emplace()) || *r.length < 0) return false;
    *r.length *= 1000;
    return true;
  }
  if (flag == "--shake") return parse_number(value, r.shake);
  if (flag != "--without") return false;
  while (!value.empty()) {
    const std::size_t comma = std::min(value.find(','), value.size());
    bool known = false;
    for (unsigned setting = 0; setting < setting_kinds; ++setting)
      if (value.substr(0, comma) == to_string(static_cast<Setting>(setting))) {
        r.without |= 1U << setting;
        known = true;
      }
    if (!known) return false;
    value.remove_prefix(std::min(comma + 1, value.size()));
  }
  return true;
}

std::string describe(const Scenario& s) {
  std::string out = std::to_string(s.replicas) + " replicas, " + std::to_string(s.clients) +
                    " clients, election timeout " + std::to_string(s.election_timeout / millisecond) +
                    " ms, loss " + std::to_string(s.loss_ppm / 10'000) + " %, faults:";
  for (Fault f : s.faults) out += std::string(" ") + to_string(f) + ",";
  if (s.faults.empty())
    out += " none";
  else
    out.pop_back();
  if (s.retain_every != 0) out += "; rooms forget";
  if (s.slack)
    out += "; logs keep " + (s.slack->slots != 0 ? std::to_string(s.slack->slots) + " slots" : "") +
           (s.slack->bytes != 0 ? " " + std::to_string(s.slack->bytes) + " bytes" : "") +
           (s.log_damage_one_in != 0 ? ", and begin behind damage" : "");
  if (s.narrow) out += "; " + std::to_string(s.narrow->all.size()) + " narrow paths";
  const std::string bounds = describe_bounds(s);
  return bounds.empty() ? out : out + "; bounds: " + bounds;
}

}  // namespace sim
