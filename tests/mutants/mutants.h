#pragma once

#include <cstdint>

/// Planted bugs, to show that the tests would see them (docs/RELIABILITY.md, "Planted bugs"). The sources
/// know nothing of them: the patches beside this file put them in, into copies that only test programs are
/// compiled from (planting.py); those copies include this. The test `shipped` looks at the installed
/// programs.
namespace mutants {

// clang-format off
#define MUTANT_LIST(M)                                                                        \
  M(promise_before_sync, "a Promise leaves before it is on the disk")                               \
  M(accepted_before_sync, "an Accepted leaves before its votes are on the disk")                    \
  M(adopt_first, "phase 1 adopts the vote that came first")                                         \
  M(adopt_newest, "phase 1 adopts the vote that came last")                                         \
  M(adopt_longest, "phase 1 adopts the votes of the longest reply")                                 \
  M(one_ballot, "one variable for the promised and the accepted ballot")                            \
  M(accept_keeps_promise, "accepting at a higher ballot does not raise the promise")                \
  M(ballot_reused, "a ballot is used before it is stored, and again after a restart")               \
  M(votes_per_packet, "votes are counted per packet, not per acceptor")                             \
  M(votes_across_ballots, "a vote at another ballot counts")                                        \
  M(tail_without_phase1, "a new leader proposes above its own tail without asking there")           \
  M(holes_unfilled, "a new leader leaves holes unfilled")                                           \
  M(promise_changes, "a vote slips in between the building of a Promise and its leaving")           \
  M(commit_any_ballot, "a Commit marks a vote of any ballot chosen")                                \
  M(ack_across_hole, "an Accepted names all slots up to its highest")                               \
  M(apply_past_hole, "what is chosen is applied past a hole")                                       \
  M(applied_apart, "applied slot and rows are written apart")                                       \
  M(dedup_in_leader, "repeats are known only in the leader's memory")                               \
  M(damaged_tail_clean, "a damaged end of the log is taken for a clean one")                        \
  M(wiped_votes, "a replica with an emptied directory votes")                                       \
  M(replaced_votes, "the vote of a replaced directory counts")                                      \
  M(change_open, "a leader proposes above the change of the configuration")                         \
  M(change_passed_by, "who finds a change in phase 1 goes on above it")                             \
  M(change_brought_back, "a change that was passed over is proposed again")                         \
  M(change_dropped, "any vote above a change passes it over, whatever its ballot")                  \
  M(change_unchosen, "a change is in force where it is proposed, before it is chosen")              \
  M(change_unprepared, "phase 1 of a new configuration asks nobody")                                \
  M(configuration_unrecovered, "a start forgets in which configuration its state stands")           \
  M(replaced_goes_on, "a replaced directory votes in the configuration that has another one")       \
  M(learner_votes, "a learner votes")                                                               \
  M(change_unremembered, "that a change is chosen is not on the disk before the next promise")      \
  M(old_votes_adopted, "phase 1 adopts votes of the configuration before")                          \
  M(later_votes_forgotten, "redoing an earlier configuration forgets the votes of a later one")     \
  M(learner_counted, "a learner's word counts in a quorum")                                         \
  M(change_unready, "a change is made though no quorum could go on with it")                        \
  M(promoted_unheard, "a learner is made a voter though nobody hears it")                           \
  M(removed_serves_nothing, "who is taken out keeps what only it and the leader have")              \
  M(lone_birth, "a config of one replica begins a cluster without listening")                       \
  M(read_while_closing, "reads are confirmed while the configuration changes")                      \
  M(copies_vote, "a replica with an older copy of its directory votes")                             \
  M(descent_ignored, "an older copy votes once its boots are later than those that are known")      \
  M(failed_sync_retried, "a failed sync is tried again, and believed")                              \
  M(bridge_refuses, "no votes for another while the last leader is heard, with a quorum or not")    \
  M(deaf_campaigns, "who hears no quorum campaigns")                                                \
  M(hung_disk_leads, "a leader whose disk hangs says that all is well")                             \
  M(full_disk_votes, "a replica whose disk is full votes for what is new")                          \
  M(full_leader_stays, "a leader whose disk is full says nothing of it, and stays")                 \
  M(full_leader_proposes, "a leader whose disk is full proposes")                                   \
  M(full_majority_ignored, "a leader proposes where a majority of the disks is full")               \
  M(no_space_believed, "a write for which there was no space is believed")                          \
  M(stalled_clock_leads, "a leader whose clock stands still is believed that all is well")          \
  M(w_ignored, "a new leader proposes where its acceptors know what was chosen")                    \
  M(quorum_less_one, "a quorum of promises less one is enough")                                     \
  M(first_page_counts, "a promise counts after its first page")                                     \
  M(own_vote_unsynced, "a leader counts its own vote before it is on the disk")                     \
  M(apply_unsynced, "what is chosen is applied before it is on the disk here")                      \
  M(read_index_low, "the index of a read leaves out what phase 1 adopted")                          \
  M(read_unconfirmed, "a leader serves reads without asking whether it still leads")                \
  M(raise_at_quorum, "the rules are raised once the programs of a quorum know the next ones")       \
  M(raise_by_hearsay, "the rules are raised by what each said last, however long ago")              \
  M(raise_applied_late, "the rules rise after the rows of their slot were made")                    \
  M(rules_forgotten, "a restart goes back to the first rules")                                      \
  M(row_too_late, "changes leave the journal before their session has a row")                       \
  M(change_twice, "a start does to a session's row what is in it already")                          \
  M(old_program_applies, "a program applies rules that it does not know")                           \
  M(disagreement_sticks, "a disagreement that was repaired still counts")                           \
  M(leads_by_hearsay, "who comes back with a ballot of its own says that it proposes with it")      \
  M(window_stops_finishing, "a new leader waits for the window with what phase 1 found")            \
  M(adopted_forgotten, "a leader that had to learn forgets meanwhile what phase 1 adopted")         \
  M(window_ignored, "a leader proposes beyond its window")                                          \
  M(skip_fills, "a skipped slot gets a no-op at once")                                              \
  M(skip_bare, "nothing is proposed above a skipped slot")                                          \
  M(old_page_served, "a page of a promise is served after the promise moved on")                    \
  M(read_old_round, "a read is confirmed by an answer to an older round")                           \
  M(cold_read_high, "catch-up reads slots from the disk that are not applied yet")                  \
  M(divergence_unseen, "replicas that apply differently do not notice")                             \
  M(handover_stale, "an old hand-over starts an election")                                          \
  M(forward_dropped, "a leader drops what is forwarded to it")                                      \
  M(forward_unawaited, "who forwards a command does not wait for its answer")                       \
  M(born_at_quorum, "born once a quorum has announced the incarnations")                            \
  M(announced_unsynced, "incarnations are announced before they are on the disk")                   \
  M(proposed_twice, "a command is proposed again while it is under way")                            \
  M(proposed_early, "a leader proposes a session's commands out of their order")                    \
  M(push_last_only, "a follower gets only the last message of a slot")                              \
  M(conflict_unseen, "a repeat with another content gets the stored answer")                        \
  M(clock_leaps, "one wrong wall clock moves the session clock by as much")                         \
  M(replay_taken, "a datagram is taken twice")                                                      \
  M(destination_unchecked, "a datagram for another replica is taken")                               \
  M(old_boot_taken, "a datagram of an earlier boot is taken")                                       \
  M(journal_unsynced, "a client never syncs its journal")                                           \
  M(journal_after_send, "a client journals a message after it was sent")                            \
  M(trim_ahead, "a log is trimmed behind what is applied, not what of it is on the disk")           \
  M(cut_ahead, "a log begins behind damage before its state is on the disk up to there")           \
  M(trimmed_silent, "who asks for slots that were trimmed gets no answer")                          \
  M(foreign_piece_taken, "a piece of another snapshot is taken for one of this")                    \
  M(snapshot_uncounted, "a snapshot is installed that comes to another sum than its source counted") \
  M(snapshot_unconfirmed, "a snapshot is installed whose hash nobody else was asked for")           \
  M(snapshot_forgets_promise, "a snapshot that is installed takes the promise with it")             \
  M(kept_by_wall_clock, "what a room keeps is told by the proposer's wall clock")                   \
  M(kept_one_less, "a room forgets one message more than its rule says")                            \
  M(numbers_come_again, "a room that forgets messages gives their numbers again")                   \
  M(forgotten_not_found, "what a client's room has forgotten counts as never posted")               \
  M(spill_unsynced, "what waits to be redone leaves the memory before it is on the disk")
// clang-format on

enum class Mutant : std::uint8_t {
  none,
#define MUTANT_NAME(name, what) name,
  MUTANT_LIST(MUTANT_NAME)
#undef MUTANT_NAME
};

/// The one that this program runs with: set once, by a test program's main().
inline Mutant chosen = Mutant::none;
/// What `shipped` looks for: it stands in every object that was compiled with planted bugs.
[[gnu::used]] inline const char mutants_marker[] = "compiled with planted bugs: never ship this";
[[nodiscard]] inline bool mutant(Mutant which) { return chosen == which; }

}  // namespace mutants

// Planted code says mutant(Mutant::...) in whichever room it is.
using mutants::mutant;
using mutants::Mutant;
