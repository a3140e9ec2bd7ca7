#include "client/ctl/top.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "client/session/attention.h"
#include "client/terminal/printable.h"
#include "client/terminal/words.h"

namespace client {

namespace {

constexpr std::array<std::string_view, 8> heights{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

std::string count_text(double n) {
  if (n >= 1e6) return fmt::format("{:.1f}M", n / 1e6);
  if (n >= 1e5) return fmt::format("{:.0f}k", n / 1e3);
  return fmt::format("{:.0f}", n);
}

std::string figure_text(std::optional<double> bytes) {
  if (!bytes) return "-";
  constexpr double k = 1024;
  if (*bytes >= k * k * k * k) return fmt::format("{:.1f}T", *bytes / (k * k * k * k));
  if (*bytes >= k * k * k) return fmt::format("{:.1f}G", *bytes / (k * k * k));
  if (*bytes >= k * k) return fmt::format("{:.0f}M", *bytes / (k * k));
  return fmt::format("{:.0f}K", *bytes / k);
}

std::string latency_text(const std::optional<Latency>& latency) {
  if (!latency) return "-";
  const double ms = latency->us_mean / 1000;
  return ms >= 100  ? fmt::format("{:.0f}ms", ms)
         : ms >= 10 ? fmt::format("{:.1f}ms", ms)
                    : fmt::format("{:.2f}ms", ms);
}

std::vector<double> numbers_in(const Json& answer, const std::string& field) {
  std::vector<double> out;
  const auto at = answer.find(field);
  if (at == answer.end() || !at->is_array() || at->size() > 64) return out;
  for (const Json& one : *at) out.push_back(one.is_number() ? one.get<double>() : 0);
  return out;
}

/// At most six columns.
std::string short_age(const std::optional<std::chrono::milliseconds>& age) {
  if (!age) return "-";
  const auto ms = age->count();
  if (ms < 1000) return fmt::format("{}ms", ms);
  if (ms < 120'000) return fmt::format("{}s", ms / 1000);
  if (ms < 2 * 3'600'000) return fmt::format("{}min", ms / 60'000);
  if (ms < 48LL * 3'600'000) return fmt::format("{}h", ms / 3'600'000);
  return fmt::format("{}d", std::min<std::int64_t>(ms / 86'400'000, 99'999));
}

Json latency_json(const std::optional<Latency>& latency) {
  if (!latency) return nullptr;
  return {{"us_mean", std::round(latency->us_mean)}, {"us_p99", std::round(latency->us_p99)}};
}

Json number_or_null(const std::optional<double>& number) { return number ? Json(*number) : Json(nullptr); }

}  // namespace

std::string sparkline(const std::vector<std::optional<double>>& values) {
  double most = 0;
  for (const auto& value : values)
    if (value) most = std::max(most, *value);
  std::string out;
  for (const auto& value : values) {
    if (!value || !std::isfinite(*value)) {
      out += ' ';
      continue;
    }
    const double share = most > 0 ? std::clamp(*value / most, 0.0, 1.0) : 0;
    out +=
        heights[std::min<std::size_t>(static_cast<std::size_t>(share * heights.size()), heights.size() - 1)];
  }
  return out;
}

std::optional<Latency> latency_between(const Json& before, const Json& now, const std::string& name) {
  std::vector<double> buckets = numbers_in(now, name + "_us_buckets");
  const std::vector<double> old = numbers_in(before, name + "_us_buckets");
  const auto total = number_in(now, (name + "_us_total").c_str());
  const auto total_before = number_in(before, (name + "_us_total").c_str());
  const std::vector<double> bounds = numbers_in(now, "latency_bounds_us");
  if (!total || !total_before || *total < *total_before || old.size() != buckets.size() ||
      buckets.size() != bounds.size() + 1)
    return std::nullopt;
  double count = 0;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    buckets[i] -= old[i];
    if (buckets[i] < 0) return std::nullopt;
    count += buckets[i];
  }
  if (count <= 0) return std::nullopt;
  Latency out{.us_mean = (*total - *total_before) / count, .us_p99 = 0};
  const double rank = 0.99 * count;
  double below = 0;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    if (buckets[i] > 0 && below + buckets[i] >= rank) {
      const double low = i == 0 ? 0 : bounds[i - 1];
      const double high = i < bounds.size() ? bounds[i] : low;  // above the last bound there is no telling
      out.us_p99 = low + (high - low) * (rank - below) / buckets[i];
      break;
    }
    below += buckets[i];
  }
  return out;
}

// --- one replica ---

void TopReplica::take(paxos::Time at, std::optional<Json> answer) {
  Sample sample{.at = at, .rate = {}, .us = {}};
  rate_.reset();
  commit_.reset();
  sync_.reset();
  if (answer && answer_) {
    const auto same = [&](const char* field) {
      return number_in(*answer, field) == number_in(*answer_, field);
    };
    const double seconds = std::chrono::duration<double>(at - at_).count();
    const auto applied = number_in(*answer, "applied");
    const auto before = number_in(*answer_, "applied");
    // Another boot began to count anew.
    if (same("boot") && seconds > 0) {
      if (applied && before && *applied >= *before) rate_ = (*applied - *before) / seconds;
      commit_ = latency_between(*answer_, *answer, "commit");
      sync_ = latency_between(*answer_, *answer, "sync");
    }
  }
  sample.rate = rate_;
  if (commit_ || sync_) sample.us = (commit_ ? commit_ : sync_)->us_mean;
  samples_.push_back(sample);
  while (samples_.size() > samples_max || at - samples_.front().at > 2 * shown) samples_.pop_front();
  asked_ = true;
  at_ = at;
  answer_ = std::move(answer);
}

void TopReplica::reset() { samples_.clear(); }

template <class Pick>
std::vector<std::optional<double>> TopReplica::parts(paxos::Time now, std::size_t columns, Pick pick) const {
  std::vector<std::optional<double>> out(columns);
  if (columns == 0) return out;
  std::vector<unsigned> counts(columns, 0);
  for (const Sample& sample : samples_) {
    const auto value = pick(sample);
    const double age = std::chrono::duration<double>(now - sample.at) / std::chrono::duration<double>(shown);
    if (!value || age >= 1) continue;
    const auto column = std::min(
        columns - 1, static_cast<std::size_t>((1 - std::max(age, 0.0)) * static_cast<double>(columns)));
    out[column] = out[column].value_or(0) + *value;
    ++counts[column];
  }
  for (std::size_t i = 0; i < columns; ++i)
    if (counts[i] > 1) *out[i] /= counts[i];
  return out;
}

std::vector<std::optional<double>> TopReplica::rates(paxos::Time now, std::size_t columns) const {
  return parts(now, columns, [](const Sample& s) { return s.rate; });
}

std::vector<std::optional<double>> TopReplica::latencies(paxos::Time now, std::size_t columns) const {
  return parts(now, columns, [](const Sample& s) { return s.us; });
}

// --- the cluster ---

void Top::reset() {
  for (TopReplica& replica : replicas_) replica.reset();
}

Json Top::status() const {
  std::vector<ReplicaStatus> answers;
  for (std::size_t i = 0; i < replicas_.size(); ++i)
    answers.push_back({.id = {static_cast<std::uint8_t>(i)}, .json = replicas_[i].answer()});
  return cluster_status(config_, answers, std::chrono::milliseconds{1000});
}

Json Top::json() const {
  Json out = status();
  double highest = 0;
  for (const TopReplica& r : replicas_)
    if (r.answer()) highest = std::max(highest, number_in(*r.answer(), "chosen_max").value_or(0));
  for (Json& one : out["replicas"]) {
    const TopReplica& r = replicas_[one.at("id").get<std::size_t>()];
    if (!r.answer()) continue;
    one["slots_per_second"] = number_or_null(r.slots_per_second());
    one["lag"] = std::max(0.0, highest - number_in(*r.answer(), "applied").value_or(0));
    one["commit"] = latency_json(r.commit());
    one["sync"] = latency_json(r.sync());
  }
  return out;
}

/// Under the title: what is wrong, one line each, as many as leave room for the replicas on a small screen.
std::vector<std::string> Top::notes(const Json& all, const Outage& outage, bool told) const {
  constexpr std::size_t notes_max = 4;
  std::vector<std::string> out;
  if (told && !outage.over()) {
    std::string note = outage.why;
    if (outage.stuck)
      note += "; next: " + text_in(all, "stuck_advice");
    else if (!outage.missing.empty() && outage.anyone)
      note +=
          fmt::format("; next: systemctl start paxosd@{} there, or paxosctl doctor", outage.missing.front());
    out.push_back(std::move(note));
  } else {
    std::vector<unsigned> silent;
    for (std::size_t i = 0; i < replicas_.size(); ++i)
      if (config_.replicas[i].member && replicas_[i].asked() && !replicas_[i].answer())
        silent.push_back(static_cast<unsigned>(i));
    if (!silent.empty())
      out.push_back(
          fmt::format("replica{} {} {} not answer; next: systemctl status paxosd@{}, or paxosctl doctor",
                      silent.size() == 1 ? "" : "s", list_text(silent), silent.size() == 1 ? "does" : "do",
                      silent.front()));
  }
  std::size_t more = 0;
  for (const Attention& a : attention_in(all)) {
    if (a.replica < replicas_.size() && !replicas_[a.replica].answer()) continue;  // told above
    if (outage.stuck && a.what == "hole") continue;
    if (out.size() >= notes_max)
      ++more;
    else
      out.push_back(fmt::format("replica {} {}", a.replica, a.text));
  }
  if (more > 0) out.push_back(fmt::format("and {} more: paxosctl status", more));
  if (out.empty())
    out.push_back(fmt::format("{}, a quorum is {}", counted(config_.members(), "replica"), config_.quorum()));
  return out;
}

std::vector<ScreenLine> Top::lines(paxos::Time now, std::size_t columns, bool keys) const {
  using Look = ScreenLine::Look;
  const Json all = json();
  std::vector<ScreenLine> out;
  const Outage outage = outage_of(all);
  std::string title = fmt::format("{}: ", printable(config_.cluster));
  const bool told =
      std::any_of(replicas_.begin(), replicas_.end(), [](const TopReplica& r) { return r.asked(); });
  if (!told) {
    out.push_back({title + "asking", Look::bold});
  } else if (outage.over()) {
    const auto leader = all.at("leader").get<std::size_t>();
    title += headline(all);
    if (leader < replicas_.size() && replicas_[leader].answer())
      if (const auto age = age_in(*replicas_[leader].answer(), "leader_age_ms"))
        title += " for " + age_text(*age);
    out.push_back({title, all.at("degraded").get<bool>() ? Look::alarm : Look::bold});
  } else {
    out.push_back({title + outage.what + (outage.age ? " for " + age_text(*outage.age) : ""), Look::alarm});
  }
  for (const std::string& note : notes(all, outage, told)) out.push_back({note, Look::plain});
  out.push_back(
      {fmt::format("{:>2} {:<9} {:>7} {:>7} {:>6} {:>6} {:>8} {:>8} {:>5} {:>5} {:>5}", "ID", "ROLE",
                   "BALLOT", "SLOTS/S", "LAG", "WAITS", "COMMIT", "SYNC", "USED", "FREE", "RSS"),
       Look::bold});
  // The sparks share what the address leaves; a minute has no more than a column a second.
  constexpr std::size_t before_sparks = 3 + 22;
  const std::size_t room = columns > before_sparks + 8 ? columns - before_sparks - 8 : 0;
  const std::size_t spark = std::clamp<std::size_t>(room / 2, 1, 60);
  for (std::size_t i = 0; i < replicas_.size(); ++i) {
    const TopReplica& r = replicas_[i];
    const Json* one = replica_in(all, static_cast<unsigned>(i));
    if (one == nullptr) continue;
    const Json& derived = *one;
    const std::string address = std::string(cut(printable(config_.replicas[i].address), 21));
    if (!r.answer()) {
      out.push_back({fmt::format("{:>2} {}", i, r.asked() ? "no answer" : "not asked yet"),
                     r.asked() ? Look::alarm : Look::plain});
    } else {
      const Json& a = *r.answer();
      std::string ballot = "-";
      if (const auto at = a.find("ballot"); at != a.end() && at->is_object())
        ballot = fmt::format("{:.0f}.{:.0f}", number_in(*at, "round").value_or(0),
                             number_in(*at, "replica").value_or(0));
      out.push_back({fmt::format("{:>2} {:<9} {:>7} {:>7} {:>6} {:>6} {:>8} {:>8} {:>5} {:>5} {:>5}", i,
                                 cut(printable(text_in(a, "role")), 9), cut(ballot, 7),
                                 r.slots_per_second() ? count_text(*r.slots_per_second()) : "-",
                                 count_text(number_in(derived, "lag").value_or(0)),
                                 short_age(age_in(a, "waiting_ms")), latency_text(r.commit()),
                                 latency_text(r.sync()), figure_text(number_in(a, "disk_used_bytes")),
                                 figure_text(number_in(a, "disk_free_bytes")),
                                 figure_text(number_in(a, "resident_bytes"))),
                     Look::plain});
    }
    // One look has no minute behind it.
    out.push_back({keys ? fmt::format("   {:<21} s/s{} lat{}", address, sparkline(r.rates(now, spark)),
                                      sparkline(r.latencies(now, spark)))
                        : "   " + address,
                   Look::plain});
  }
  if (keys) out.push_back({"q quits, r resets; the sparks show the last minute", Look::plain});
  return out;
}

}  // namespace client
