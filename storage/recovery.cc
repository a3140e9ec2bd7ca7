#include "storage/recovery.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <variant>

#include "paxos/coding.h"
#include "paxos/overloaded.h"

namespace storage {

std::string encode_mark(const LogMark& mark) {
  std::string bytes;
  paxos::ByteWriter w(bytes);
  w.fixed(mark.boot);
  w.fixed(mark.group);
  const std::uint64_t sum = XXH3_64bits(bytes.data(), bytes.size());
  w.fixed(sum);
  return bytes;
}

std::optional<LogMark> decode_mark(std::string_view cell) {
  if (cell.size() != mark_cell_bytes) return std::nullopt;
  paxos::ByteReader r(cell);
  LogMark mark;
  mark.boot = r.fixed<std::uint64_t>();
  mark.group = r.fixed<std::uint64_t>();
  if (r.fixed<std::uint64_t>() != XXH3_64bits(cell.data(), 16)) return std::nullopt;
  return mark;
}

std::string GroupChain::follow(const GroupValue& found) {
  std::string missing;
  if (last_ && found.last == *last_) return missing;  // said again by a start
  if (last_ && found.before != *last_)
    missing = fmt::format("group {} is followed by group {}, which was written after group {}", *last_,
                          found.last, found.before);
  last_ = found.last;
  return missing;
}

tl::expected<std::string, std::string> open_row(std::string_view key, std::string_view stored) {
  const auto value = open_value(key, stored);
  if (!value) return tl::make_unexpected(fmt::format("the record '{}' is damaged. {}", key, damage_hint));
  return std::string(*value);
}

tl::expected<std::vector<LogRow>, std::string> recover_log(const LogGet& get, const LogMark& mark,
                                                           const LogOwner& owner, paxos::Recovered& out) {
  const auto fail = [](std::string why) { return tl::make_unexpected(std::move(why)); };
  std::vector<LogRow> rows;
  const auto put = [&](std::string_view key, std::string value) {
    rows.push_back({std::string(key), seal_value(key, std::move(value))});
  };
  // With the boot: whoever comes from the same directory names the same lives before it.
  const auto begin_life = [&] {
    if (owner.life == 0) return;
    if (out.lives.size() == paxos::limits::lives_max) out.lives.erase(out.lives.begin());
    out.lives.push_back({out.boot, owner.life});
    put(log_key::lives, encode_lives(out.lives));
  };
  const auto format = get(log_key::format);
  if (!format) return fail(format.error());
  if (!*format) {
    // Nothing was ever synced here. (A log that lost its first group has a mark, or slots.)
    if (mark.boot != 0)
      return fail(
          fmt::format("boot {} and groups up to {} were synced, but the log is empty: it is damaged. {}",
                      mark.boot, mark.group, damage_hint));
    put(log_key::format, encode_number(format_version));
    put(log_key::cluster, owner.cluster_id);
    put(log_key::replica, encode_number(owner.replica.n));
    put(log_key::incarnation,
        std::string(reinterpret_cast<const char*>(owner.fresh_incarnation.bytes.data()), 16));
    put(log_key::boot, encode_number(1));
    put(log_key::group, encode_group({}));
    out.incarnation = owner.fresh_incarnation;
    out.boot = 1;
    begin_life();
  } else {
    const auto stored = decode_number(**format).value_or(0);
    if (stored < format_version || stored > owner.format_known)
      return fail(fmt::format(
          "format version {}; this program knows version{} {}: use the paxosd that wrote it, or a newer one",
          stored, owner.format_known == format_version ? "" : fmt::format("s {} to", format_version),
          owner.format_known));
    const auto cluster = get(log_key::cluster);
    if (!cluster) return fail(cluster.error());
    if (!*cluster || **cluster != owner.cluster_id)
      return fail(fmt::format(
          "this directory belongs to cluster {}, the config is of cluster {}: check `data_dir` and `id`",
          cluster->value_or("(unknown)"), owner.cluster_id));
    const auto replica = get(log_key::replica);
    if (!replica) return fail(replica.error());
    const auto known = *replica ? decode_number(**replica) : std::nullopt;
    if (known != owner.replica.n)
      return fail(
          fmt::format("this directory belongs to replica {}, not to replica {}: check --id and `data_dir`",
                      known ? std::to_string(*known) : "(unknown)", owner.replica.n));
    GroupValue group;
    for (std::string_view key : {log_key::incarnation, log_key::boot, log_key::birth, log_key::promised,
                                 log_key::chosen_prefix, log_key::first_slot, log_key::group}) {
      const auto found = get(key);
      if (!found) return fail(found.error());
      if (!*found) continue;
      const std::string& value = **found;
      bool ok = true;
      if (key == log_key::incarnation) {
        ok = value.size() == 16;
        if (ok) std::memcpy(out.incarnation.bytes.data(), value.data(), 16);
      } else if (key == log_key::birth) {
        out.birth = decode_birth(value);
        ok = out.birth.has_value();
      } else if (key == log_key::promised) {
        const auto ballot = decode_ballot(value);
        ok = ballot.has_value();
        if (ok) out.promised = *ballot;
      } else if (key == log_key::group) {
        const auto found_group = decode_group(value);
        ok = found_group.has_value();
        if (ok) group = *found_group;
        out.last_group = group.last;
      } else {
        const auto number = decode_number(value);
        ok = number.has_value();
        if (ok && key == log_key::boot) out.boot = *number + 1;
        if (ok && key == log_key::chosen_prefix) out.chosen_prefix = {*number};
        if (key == log_key::first_slot) {
          ok = ok && *number > 0;
          if (ok) out.first_slot = {*number};
        }
      }
      if (!ok) return fail(fmt::format("the record '{}' makes no sense. {}", key, damage_hint));
    }
    if (const auto lives = get(log_key::lives); !lives) {
      return fail(lives.error());
    } else if (*lives) {
      const auto decoded = decode_lives(**lives);
      if (!decoded)
        return fail(fmt::format("the record '{}' makes no sense. {}", log_key::lives, damage_hint));
      out.lives = *decoded;
    }
    if (const auto outdated = get(log_key::outdated); !outdated) {
      return fail(outdated.error());
    } else if (*outdated) {
      out.outdated = decode_outdated(**outdated);
      if (!out.outdated)
        return fail(fmt::format("the record '{}' makes no sense. {}", log_key::outdated, damage_hint));
    }
    for (std::uint8_t id = 0; id < paxos::limits::replicas_max; ++id) {
      const std::string key = log_key::peer({id});
      const auto found = get(key);
      if (!found) return fail(found.error());
      if (!*found) continue;
      const auto peer = decode_peer({id}, **found);
      if (!peer) return fail(fmt::format("the record '{}' makes no sense. {}", key, damage_hint));
      out.peers.push_back(*peer);
    }
    if (out.incarnation.none() || out.boot == 0)
      return fail(fmt::format("its incarnation or boot is missing. {}", damage_hint));
    if (out.last_group < mark.group)
      return fail(
          fmt::format("groups up to {} were synced, but the log ends at group {}: its tail is damaged. {}",
                      mark.group, out.last_group, damage_hint));
    // A boot that is used twice would take the peers' answers to the first one for its own.
    if (out.boot <= mark.boot)
      return fail(fmt::format("boot {} was synced, but the log ends in boot {}: its tail is damaged. {}",
                              mark.boot, out.boot - 1, damage_hint));
    put(log_key::boot, encode_number(out.boot));
    begin_life();
    // Said again, so that the first group of this start has one before it: otherwise nobody would miss that
    // group, were its write stepped over.
    put(log_key::group, encode_group(group));
  }
  return rows;
}

bool of_trimming_format(const paxos::Record& record) {
  const auto configured = [](const paxos::Ballot& ballot, const paxos::Decree& decree) {
    return ballot.configuration != 1 || decree.kind == paxos::DecreeKind::configuration;
  };
  return std::visit(paxos::Overloaded{
                        [](const paxos::TrimRecord&) { return true; },
                        [](const paxos::PromiseRecord& r) { return r.ballot.configuration != 1; },
                        [&](const paxos::VoteRecord& r) { return configured(r.ballot, r.decree); },
                        [&](const paxos::ChosenRecord& r) { return configured(r.ballot, r.decree); },
                        [](const paxos::BirthRecord& r) { return r.configuration != 1; },
                        [](const auto&) { return false; },
                    },
                    record);
}

tl::expected<std::optional<LogRow>, std::string> raised_format(const LogGet& get, std::uint32_t format) {
  const auto stored = get(log_key::format);
  if (!stored) return tl::make_unexpected(stored.error());
  if (*stored && decode_number(**stored).value_or(0) >= format) return std::optional<LogRow>{};
  return LogRow{std::string(log_key::format), seal_value(log_key::format, encode_number(format))};
}

void settle(paxos::Recovered& recovered, paxos::Slot applied, const paxos::Hash& hash) {
  recovered.applied = applied;
  recovered.hash = hash;
  // What was trimmed was applied here: it is chosen, whatever the prefix on the disk says (it is a hint, and
  // lags), and wherever the state is by now. Nobody may take those slots for empty ones.
  recovered.chosen_prefix =
      std::max({recovered.chosen_prefix, applied, paxos::Slot{recovered.first_slot.n - 1}});
  recovered.redo_to = recovered.chosen_prefix;
}

std::vector<paxos::Slot> landmarks(const paxos::Recovered& recovered) {
  std::vector<paxos::Slot> out;
  // A slot is applied only after its record is synced, so the log holds it, unless it was trimmed. (Of what
  // is trimmed the state is on the disk; a state that is older than that was put there, or lost. It has to
  // come from a peer.)
  if (!recovered.applied.none()) out.push_back(recovered.applied);
  if (recovered.redo_to > recovered.applied) {
    out.push_back(recovered.applied + 1);
    out.push_back(recovered.redo_to);
  }
  std::erase_if(out, [&](paxos::Slot slot) { return slot < recovered.first_slot; });
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::string landmark_missing(const paxos::Recovered& recovered, paxos::Slot slot) {
  if (slot == recovered.applied)
    return fmt::format("the state has applied slot {}, which the log does not have: the log is damaged. {}",
                       slot.n, damage_hint);
  return fmt::format("slot {} is missing from the log, which knew every slot up to {}: it is damaged. {}",
                     slot.n, recovered.chosen_prefix.n, damage_hint);
}

}  // namespace storage
