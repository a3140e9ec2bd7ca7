#include "tests/explore/search.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <set>
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
  const char bytes[4] = {static_cast<char>(budgets.campaigns), static_cast<char>(budgets.crashes),
                         static_cast<char>(budgets.skips), static_cast<char>(budgets.changes)};
  return print_of({bytes, sizeof bytes}, budgets_kind);
}

std::size_t Search::bytes() const {
  std::size_t sum =
      visited_.bytes() + visited_.bytes_to_grow() + model_.bytes() + level_.bytes() + next_level_.bytes();
  for (const auto& steps : steps_) sum += steps.bytes();
  return sum;
}

Result Search::run() {
  const auto begin = std::chrono::steady_clock::now();
  auto told = begin;
  const std::size_t directories = model_.config().directories();
  Result result;
  {
    const std::vector<LetterId>& bag = model_.first_letters();
    Head first{.print = budgets_print({}), .budgets = {}, .letters = static_cast<std::uint32_t>(bag.size())};
    for (const LetterId letter : bag) first.print = first.print + model_.letter(letter).print;
    std::vector<LocalId> ids;
    for (std::uint8_t r = 0; r < directories; ++r) {
      ids.push_back(model_.initial(r));
      first.print = first.print + model_.local(ids.back()).print;
    }
    std::uint32_t* state = next_level_.extend(words(bag.size()));
    std::memcpy(state, &first, sizeof first);
    std::copy(ids.begin(), ids.end(), state + head_words);
    std::copy(bag.begin(), bag.end(), reinterpret_cast<LetterId*>(state + head_words + directories));
    visited_.insert(first.print);
    next_count_ = 1;
  }
  const auto finish = [&] {
    if (result.violation.empty()) {
      try {
        result.forgotten_checked = model_.verify_outlived();
      } catch (const Violation& violation) {
        result.violation = violation.what();
        result.fixpoint = false;
      }
    }
    result.states = visited_.size();
    result.edges = edges_;
    result.decided_next = static_cast<std::size_t>(std::popcount(by_next_));
    result.bytes = bytes() - visited_.bytes_to_grow();  // what is there, not what was feared
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
          if (visited_.nearly_full() && bytes() > bytes_max_) {
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
          std::fprintf(stderr,
                       "%.0f s: depth %zu, %zu states, %zu in the next level, %zu local states, %zu letters, "
                       "%.2f GiB\n",
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
    if (!model_.deaf(ids[to], bag[i])) add(ids[to], {.kind = EventKind::deliver, .replica = to, .a = bag[i]});
  }
  for (std::uint8_t r = 0; r < config.directories(); ++r) {
    const Host::Options& options = model_.local(ids[r]).options;
    for (const Event& event : options.others) add(ids[r], event);
    if (options.campaign && h.budgets.campaigns < config.ballots)
      add(ids[r], {.kind = EventKind::campaign, .replica = r});
    if (options.skip && h.budgets.skips < config.skips) add(ids[r], {.kind = EventKind::skip, .replica = r});
    if (options.change && h.budgets.changes < config.changes)
      add(ids[r], {.kind = EventKind::change, .replica = r});
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
                        .first_letter = static_cast<std::uint32_t>(letters_scratch_.size()),
                        .budgets = h.budgets,
                        .print = h.print};
    Budgets& budgets = candidate.budgets;
    if (event.kind == EventKind::campaign) ++budgets.campaigns;
    if (event.kind == EventKind::crash) ++budgets.crashes;
    if (event.kind == EventKind::skip) ++budgets.skips;
    if (event.kind == EventKind::change) ++budgets.changes;
    const bool spent = event.kind == EventKind::campaign || event.kind == EventKind::crash ||
                       event.kind == EventKind::skip || event.kind == EventKind::change;
    if (model_.config().reduce) {
      reduce(attempt, outcome, event.kind == EventKind::crash, candidate);
    } else {
      for (const LetterId letter : model_.list(outcome.letters)) {
        if (in_bag(letter)) continue;
        letters_scratch_.push_back(letter);
        ++candidate.letters;
        candidate.print = candidate.print + model_.letter(letter).print;
      }
    }
    if (outcome.next != attempt.local || candidate.letters != 0 || spent) {
      if (spent) candidate.print = candidate.print - budgets_print(h.budgets) + budgets_print(budgets);
      candidate.print =
          candidate.print - model_.local(attempt.local).print + model_.local(outcome.next).print;
      visited_.prefetch(candidate.print);
      candidates_.push_back(candidate);
    }
    // A choice among the other replicas at most.
    if (!outcome.more || event.choice + 2 >= model_.config().replicas) return;
  }
}

/// What the candidate's network becomes.
void Search::reduce(const Try& attempt, const Model::Outcome& outcome, bool crashed, Candidate& c) {
  const Config& config = model_.config();
  LocalId ids[paxos::limits::replicas_max];
  std::copy_n(locals(attempt.state), config.directories(), ids);
  ids[c.event.replica] = outcome.next;
  const bool last_crash = c.budgets.crashes == config.crashes;
  if (++seen_now_ == 0) {
    std::fill(seen_.begin(), seen_.end(), 0);
    seen_now_ = 1;
  }
  added_.clear();
  forgotten_.clear();
  removed_.clear();
  const auto add = [&](std::uint32_t list) {
    for (const LetterId letter : model_.list(list)) {
      if (letter >= seen_.size()) seen_.resize(letter + std::size_t{1024});
      if (in_bag(letter) || seen_[letter] == seen_now_) continue;
      seen_[letter] = seen_now_;
      added_.push_back(letter);
    }
  };
  /// True when nobody will listen to it any more.
  const auto look_at = [&](LetterId letter) {
    const std::uint8_t to = model_.addressee(letter);
    switch (model_.effect(ids[to], letter)) {
      case Model::Effect::none:
        if (!model_.letter(letter).to_proposer &&
            !(last_crash && model_.letter(letter).news && model_.of_member(ids[to], letter)))
          return false;
        model_.outlived(ids[to], letter);
        return true;
      case Model::Effect::answer:
        add(model_.outcome(ids[to], {.kind = EventKind::deliver, .replica = to, .a = letter}).letters);
        return false;
      case Model::Effect::change:
        return false;
    }
    return false;
  };
  add(outcome.letters);
  if (outcome.next != attempt.local) {
    add(model_.chatter(outcome.next));
    const LetterId* bag = letters(attempt.state);
    const std::uint32_t count = head(attempt.state).letters;
    // When the last crash has come, all replicas' letters may be forgotten.
    const bool all = crashed && last_crash;
    for (std::uint32_t i = 0; i < count; ++i)
      if (all || model_.addressee(bag[i]) == c.event.replica)
        if (look_at(bag[i])) removed_.push_back(bag[i]);
  }
  std::size_t stay = 0;
  for (std::size_t i = 0; i < added_.size(); ++i) {  // it grows meanwhile
    const LetterId letter = added_[i];
    if (look_at(letter))
      forgotten_.push_back(letter);
    else
      added_[stay++] = letter;
  }
  added_.resize(stay);
  c.letters = static_cast<std::uint32_t>(added_.size());
  c.forgotten = static_cast<std::uint32_t>(forgotten_.size());
  c.removed = static_cast<std::uint32_t>(removed_.size());
  for (const LetterId letter : added_) c.print = c.print + model_.letter(letter).print;
  for (const LetterId letter : removed_) c.print = c.print - model_.letter(letter).print;
  letters_scratch_.insert(letters_scratch_.end(), added_.begin(), added_.end());
  letters_scratch_.insert(letters_scratch_.end(), forgotten_.begin(), forgotten_.end());
  letters_scratch_.insert(letters_scratch_.end(), removed_.begin(), removed_.end());
}

void Search::settle() {
  for (const Candidate& candidate : candidates_) {
    ++edges_;
    const bool fresh = visited_.insert(candidate.print);
    // What is forgotten at once leaves no trace in the state, so it is judged wherever it is said.
    if (!fresh && candidate.forgotten == 0) continue;
    at_index_ = candidate.index;
    at_event_ = candidate.event;
    judge(candidate);
    if (!fresh) continue;
    keep(candidate);
  }
  candidates_.clear();
  letters_scratch_.clear();
}

/// The observer's look at a new state. What held before holds still (what is chosen stays chosen), so that it
/// is enough to look at what changed.
void Search::judge(const Candidate& c) {
  const std::size_t directories = model_.config().directories();
  const LocalId* ids = locals(c.state);
  const Model::Local& before = model_.local(ids[c.event.replica]);
  const Model::Local& after = model_.local(c.next);
  bool changed = before.votes != after.votes || (after.claims.decrees & ~before.claims.decrees) != 0 ||
                 after.claims.prefix > before.claims.prefix;
  const LetterId* fresh = letters_scratch_.data() + c.first_letter;
  for (std::uint32_t i = 0; i < c.letters + c.forgotten; ++i) {
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
  for (std::size_t r = 0; r < directories; ++r)
    votes[r] = model_.local(r == c.event.replica ? c.next : ids[r]).votes;
  const Facts::Chosen chosen = model_.facts().chosen(votes);
  by_next_ |= chosen.by_next;
  model_.facts().check("a replica", after.claims, chosen);
  for (std::uint32_t i = 0; i < c.letters + c.forgotten; ++i)
    model_.facts().check("a message", model_.letter(fresh[i]).claims, chosen);
}

void Search::keep(const Candidate& c) {
  const Head old = head(c.state);
  const std::uint32_t count = old.letters + c.letters - c.removed;
  std::uint32_t* state = next_level_.extend(words(count));
  const Head h{.print = c.print, .budgets = c.budgets, .letters = count};
  std::memcpy(state, &h, sizeof h);
  std::memcpy(state + head_words, locals(c.state), model_.config().directories() * sizeof(LocalId));
  state[head_words + c.event.replica] = c.next;
  auto* bag = reinterpret_cast<LetterId*>(state + head_words + model_.config().directories());
  const LetterId* scratch = letters_scratch_.data() + c.first_letter;
  const LetterId* removed = scratch + c.letters + c.forgotten;
  const LetterId* old_bag = letters(c.state);
  LetterId* end = bag;
  for (std::uint32_t i = 0; i < old.letters; ++i)
    if (std::find(removed, removed + c.removed, old_bag[i]) == removed + c.removed) *end++ = old_bag[i];
  std::copy(scratch, scratch + c.letters, end);
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
  return replay(events);
}

/// Tells the events, and of the answers that were sent at once those that a later event needs.
std::vector<std::string> Search::replay(const std::vector<Event>& events) const {
  struct Told {
    Event event;
    bool answer = false;  ///< not an event of its own in the search
    std::vector<LetterId> sent;
    bool needed = false;
  };
  std::vector<Told> told;
  std::vector<LocalId> ids;
  const std::vector<LetterId>& first = model_.first_letters();
  std::set<LetterId> bag(first.begin(), first.end());
  for (std::uint8_t r = 0; r < model_.config().directories(); ++r) ids.push_back(model_.initial(r));
  const auto take = [&](const Event& event, bool answer) {
    const Model::Outcome outcome = model_.outcome(ids[event.replica], event);
    if (answer && (outcome.next != ids[event.replica] || outcome.more)) return false;
    Told line{.event = event, .answer = answer, .sent = {}, .needed = !answer};
    for (const LetterId letter : model_.list(outcome.letters))
      if (bag.insert(letter).second || !answer) line.sent.push_back(letter);
    ids[event.replica] = outcome.next;
    if (answer && line.sent.empty()) return false;
    told.push_back(std::move(line));
    return true;
  };
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    take(events[i], false);
    for (bool more = model_.config().reduce; more;) {
      more = false;
      const std::set<LetterId> now = bag;
      for (const LetterId letter : now)
        more = take({.kind = EventKind::deliver, .replica = model_.addressee(letter), .a = letter}, true) ||
               more;
      for (const LocalId id : ids)
        for (const Event& event : std::vector<Event>(model_.local(id).options.others))
          more = take(event, true) || more;
    }
  }
  // The last event may be what cannot be computed.
  told.push_back({.event = events.back(), .answer = false, .sent = {}, .needed = true});
  std::set<LetterId> wanted;
  for (std::size_t i = told.size(); i-- > 0;) {
    Told& line = told[i];
    for (const LetterId letter : line.sent)
      if (wanted.erase(letter) != 0) line.needed = true;
    if (line.needed && line.event.kind == EventKind::deliver) wanted.insert(line.event.a);
  }
  std::vector<std::string> out;
  std::size_t number = 0;
  for (const Told& line : told) {
    if (!line.needed) continue;
    out.push_back(std::to_string(++number) + ". " + model_.describe(line.event));
    for (const LetterId letter : line.sent) {
      const Letter& l = model_.letter(letter).letter;
      out.push_back("      " + model_.members().name(l.from) + " -> " + model_.members().name(l.to) + "  " +
                    to_text(l.message));
    }
  }
  out.push_back("before the last event:");
  for (std::uint8_t r = 0; r < model_.config().directories(); ++r)
    out.push_back("  replica " + model_.members().name(r) + ": " +
                  Host(model_.members(), r, model_.local(ids[r]).saved).describe());
  return out;
}

}  // namespace explore
