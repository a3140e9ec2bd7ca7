#include "tests/explore/search.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

namespace explore {

namespace {
/// States looked at together, so that the tables' cache misses overlap.
constexpr std::size_t block_states = 16;
constexpr std::uint64_t budgets_kind = 102;
}  // namespace

bool Visited::insert(Print print) {
  if (print == Print{}) print.low = 1;  // all zero is an empty place
  if (full()) grow();
  for (std::size_t at = slot_of(print);; at = (at + 1) & (table_.size() - 1)) {
    if (table_[at] == print) return false;
    if (table_[at] == Print{}) {
      table_[at] = print;
      ++filled_;
      return true;
    }
  }
}

void Visited::grow() {
  std::vector<Print> old(table_.size() * 2);
  old.swap(table_);
  --shift_;
  for (const Print& print : old) {
    if (print == Print{}) continue;
    std::size_t at = slot_of(print);
    while (!(table_[at] == Print{})) at = (at + 1) & (table_.size() - 1);
    table_[at] = print;
  }
}

Search::Search(Model& model, std::uint64_t states_max, std::size_t bytes_max, bool progress)
    : model_(model), states_max_(states_max), bytes_max_(bytes_max), progress_(progress) {}

Search::Head Search::head(const std::uint32_t* state) {
  Head out;
  std::memcpy(&out, state, sizeof out);
  return out;
}

Print Search::budgets_print(Budgets budgets) const {
  const char bytes[3] = {static_cast<char>(budgets.campaigns), static_cast<char>(budgets.crashes),
                         static_cast<char>(budgets.skips)};
  return print_of({bytes, sizeof bytes}, budgets_kind);
}

std::size_t Search::bytes() const {
  std::size_t sum = visited_.bytes() + visited_.bytes_to_grow() + model_.bytes() + level_.bytes() + next_level_.bytes();
  for (const auto& steps : steps_) sum += steps.bytes();
  return sum;
}

Result Search::run() {
  const auto begin = std::chrono::steady_clock::now();
  auto told = begin;
  const std::size_t replicas = model_.config().replicas;
  Result result;
  {
    Head first{.print = budgets_print({}), .budgets = {}, .letters = 0};
    std::vector<LocalId> ids;
    for (std::uint8_t r = 0; r < replicas; ++r) {
      ids.push_back(model_.initial(r));
      first.print = first.print + model_.local(ids.back()).print;
    }
    std::uint32_t* state = next_level_.extend(words(0));
    std::memcpy(state, &first, sizeof first);
    std::copy(ids.begin(), ids.end(), state + head_words);
    visited_.insert(first.print);
    next_count_ = 1;
  }
  const auto finish = [&] {
    result.states = visited_.size();
    result.edges = edges_;
    result.bytes = bytes();
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return result;
  };
  try {
    while (next_count_ != 0) {
      result.depth = steps_.size();
      result.widest = std::max(result.widest, next_count_);
      level_ = std::exchange(next_level_, {});
      next_count_ = 0;
      steps_.emplace_back();
      std::uint32_t index = 0;
      std::size_t in_block = 0;
      for (std::size_t piece = 0; piece < level_.pieces(); ++piece) {
        const std::uint32_t* state = level_.piece(piece);
        const std::uint32_t* const end = state + level_.used(piece);
        while (state != end) {
          tries(state, index++);
          state += words(head(state).letters);
          if (++in_block < block_states && state != end) continue;
          in_block = 0;
          candidates();
          settle();
          if (visited_.size() >= states_max_) {
            result.bound = "states";
            return finish();
          }
          if (visited_.full() && bytes() > bytes_max_) {
            result.bound = "memory";
            return finish();
          }
        }
        level_.release(piece);
        const auto now = std::chrono::steady_clock::now();
        if (bytes() > bytes_max_) {
          result.bound = "memory";
          return finish();
        }
        if (progress_ && now - told >= std::chrono::seconds{10}) {
          told = now;
          std::fprintf(stderr, "%.0f s: depth %zu, %zu states, %zu in the next level, %zu local states, %zu letters, %.2f GiB\n",
                       std::chrono::duration<double>(now - begin).count(), result.depth, visited_.size(),
                       next_count_, model_.locals(), model_.letters(),
                       static_cast<double>(bytes()) / (1U << 30U));
        }
      }
    }
    result.fixpoint = true;
  } catch (const Violation& violation) {
    result.violation = violation.what();
    result.transcript = transcript();
  }
  return finish();
}

/// Everything that may happen in this state; the lookups are started.
void Search::tries(const std::uint32_t* state, std::uint32_t index) {
  const Head h = head(state);
  const LocalId* ids = locals(state);
  const Config& config = model_.config();
  const auto add = [&](LocalId local, const Event& event) {
    model_.prefetch(local, event);
    tries_.push_back({state, index, local, event});
  };
  const LetterId* bag = letters(state);
  for (std::uint32_t i = 0; i < h.letters; ++i) {
    const std::uint8_t to = model_.addressee(bag[i]);
    if (!model_.deaf(ids[to], bag[i]))
      add(ids[to], {.kind = EventKind::deliver, .replica = to, .a = bag[i]});
  }
  for (std::uint8_t r = 0; r < config.replicas; ++r) {
    const Host::Options& options = model_.local(ids[r]).options;
    for (const Event& event : options.others) add(ids[r], event);
    if (options.campaign && h.budgets.campaigns < config.ballots)
      add(ids[r], {.kind = EventKind::campaign, .replica = r});
    if (options.skip && h.budgets.skips < config.skips) add(ids[r], {.kind = EventKind::skip, .replica = r});
    if (h.budgets.crashes < config.crashes)
      for (const Event& event : options.crashes) add(ids[r], event);
  }
}

void Search::candidates() {
  const std::uint32_t* stamped = nullptr;
  Head h;
  for (const Try& attempt : tries_) {
    if (attempt.state != stamped) {
      stamped = attempt.state;
      h = head(stamped);
      if (++stamp_now_ == 0) {
        std::fill(stamp_.begin(), stamp_.end(), 0);
        stamp_now_ = 1;
      }
      const LetterId* bag = letters(stamped);
      for (std::uint32_t i = 0; i < h.letters; ++i) {
        if (bag[i] >= stamp_.size()) stamp_.resize(bag[i] + std::size_t{1024});
        stamp_[bag[i]] = stamp_now_;
      }
    }
    look_up(attempt, h);
  }
  tries_.clear();
}

void Search::look_up(const Try& attempt, const Head& h) {
  at_index_ = attempt.index;
  Event event = attempt.event;
  for (;; ++event.choice) {
    at_event_ = event;
    const Model::Outcome outcome = model_.outcome(attempt.local, event);
    Candidate candidate{.state = attempt.state,
                        .index = attempt.index,
                        .event = event,
                        .next = outcome.next,
                        .first_letter = static_cast<std::uint32_t>(fresh_letters_.size()),
                        .letters = 0,
                        .budgets = h.budgets,
                        .print = h.print};
    for (const LetterId letter : model_.list(outcome.letters)) {
      if (letter >= stamp_.size()) stamp_.resize(letter + std::size_t{1024});
      if (stamp_[letter] == stamp_now_) continue;
      fresh_letters_.push_back(letter);
      ++candidate.letters;
      candidate.print = candidate.print + model_.letter(letter).print;
    }
    Budgets& budgets = candidate.budgets;
    if (event.kind == EventKind::campaign) ++budgets.campaigns;
    if (event.kind == EventKind::crash) ++budgets.crashes;
    if (event.kind == EventKind::skip) ++budgets.skips;
    const bool spent = event.kind == EventKind::campaign || event.kind == EventKind::crash || event.kind == EventKind::skip;
    if (outcome.next != attempt.local || candidate.letters != 0 || spent) {
      if (spent) candidate.print = candidate.print - budgets_print(h.budgets) + budgets_print(budgets);
      candidate.print = candidate.print - model_.local(attempt.local).print + model_.local(outcome.next).print;
      visited_.prefetch(candidate.print);
      candidates_.push_back(candidate);
    }
    // A choice among the other replicas at most.
    if (!outcome.more || event.choice + 2 >= model_.config().replicas) return;
  }
}

void Search::settle() {
  for (const Candidate& candidate : candidates_) {
    ++edges_;
    if (!visited_.insert(candidate.print)) continue;
    at_index_ = candidate.index;
    at_event_ = candidate.event;
    judge(candidate);
    keep(candidate);
  }
  candidates_.clear();
  fresh_letters_.clear();
}

/// The observer's look at a new state. What held before holds still (what is chosen stays chosen), so that it is
/// enough to look at what changed.
void Search::judge(const Candidate& c) {
  const std::size_t replicas = model_.config().replicas;
  const LocalId* ids = locals(c.state);
  const Model::Local& before = model_.local(ids[c.event.replica]);
  const Model::Local& after = model_.local(c.next);
  bool changed = before.votes != after.votes || (after.claims.decrees & ~before.claims.decrees) != 0 ||
                 after.claims.prefix > before.claims.prefix;
  const LetterId* fresh = fresh_letters_.data() + c.first_letter;
  for (std::uint32_t i = 0; i < c.letters; ++i) {
    const Claims& claims = model_.letter(fresh[i]).claims;
    changed = changed || claims.decrees != 0 || claims.prefix != 0;
    if (claims.proposal < 0) continue;
    const VoteSet rivals = model_.facts().rivals(static_cast<std::size_t>(claims.proposal));
    if (rivals == 0) continue;
    const auto rival = [&](LetterId other) {
      const std::int16_t proposal = model_.letter(other).claims.proposal;
      return proposal >= 0 && (rivals >> proposal & 1) != 0;
    };
    const LetterId* bag = letters(c.state);
    if (std::any_of(bag, bag + head(c.state).letters, rival))
      throw Violation("I1: two decrees are proposed in one slot and ballot, one is " +
                      model_.facts().vote_text(static_cast<std::size_t>(claims.proposal)));
  }
  if (!changed) return;
  VoteSet votes[paxos::limits::replicas_max] = {};
  for (std::size_t r = 0; r < replicas; ++r) votes[r] = model_.local(r == c.event.replica ? c.next : ids[r]).votes;
  const Facts::Chosen chosen = model_.facts().chosen(votes, replicas);
  model_.facts().check("a replica", after.claims, chosen);
  for (std::uint32_t i = 0; i < c.letters; ++i)
    model_.facts().check("a message", model_.letter(fresh[i]).claims, chosen);
}

void Search::keep(const Candidate& c) {
  const Head old = head(c.state);
  const std::uint32_t count = old.letters + c.letters;
  std::uint32_t* state = next_level_.extend(words(count));
  const Head h{.print = c.print, .budgets = c.budgets, .letters = count};
  std::memcpy(state, &h, sizeof h);
  std::memcpy(state + head_words, locals(c.state), model_.config().replicas * sizeof(LocalId));
  state[head_words + c.event.replica] = c.next;
  auto* bag = reinterpret_cast<LetterId*>(state + head_words + model_.config().replicas);
  std::memcpy(bag, letters(c.state), old.letters * sizeof(LetterId));
  std::memcpy(bag + old.letters, fresh_letters_.data() + c.first_letter, c.letters * sizeof(LetterId));
  if (count % 2 != 0) bag[count] = 0;
  steps_.back().push_back({c.index, c.event.packed()});
  ++next_count_;
}

std::vector<std::string> Search::transcript() const {
  std::vector<Event> events{at_event_};
  std::uint32_t index = at_index_;
  for (std::size_t level = steps_.size() - 1; level > 0; --level) {
    const Step& step = steps_[level - 1].at(index);
    events.push_back(Event::unpack(step.event));
    index = step.parent;
  }
  std::reverse(events.begin(), events.end());
  std::vector<std::string> out;
  std::vector<LocalId> ids;
  for (std::uint8_t r = 0; r < model_.config().replicas; ++r) ids.push_back(model_.initial(r));
  for (std::size_t i = 0; i < events.size(); ++i) {
    const Event& event = events[i];
    out.push_back(std::to_string(i + 1) + ". " + model_.describe(event));
    if (i + 1 == events.size()) break;  // it may be what cannot be computed
    const Model::Outcome outcome = model_.outcome(ids[event.replica], event);
    ids[event.replica] = outcome.next;
    for (const LetterId letter : model_.list(outcome.letters)) {
      const Letter& l = model_.letter(letter).letter;
      out.push_back("      " + std::to_string(l.from.n) + " -> " + std::to_string(l.to.n) + "  " + to_text(l.message));
    }
  }
  out.push_back("before the last event:");
  for (std::uint8_t r = 0; r < model_.config().replicas; ++r)
    out.push_back("  replica " + std::to_string(r) + ": " +
                  Host(model_.config(), r, model_.local(ids[r]).saved).describe());
  return out;
}

}  // namespace explore
