#!/usr/bin/env python3
"""Runs every planted bug (mutants.h) against the tests that must see it; exit 1 when one survives.

  run.py [--quick] [--only MUTANT ...] [--markdown] [--jobs N] [--programs FOLDER]

Then the same programs run the same seeds, states and tests with no bug planted, and must be clean. --quick leaves out what
takes more than some ten CPU seconds. --markdown prints the table of docs/RELIABILITY.md. The times are CPU seconds of the
killer alone."""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SIM, EXPLORE, TOPOLOGY, STORAGE = "paxos-sim-mutants", "paxos-explore-mutants", "sim-tests-mutants", "storage-tests-mutants"
PAXOS = "paxos-tests-mutants"
SEEDS_MAX = 2000
SECONDS_MAX = 3600

# Mutant, program, its configuration or test filter, and whether the quick half runs it. Each line must kill.
KILLERS = [
    ("promise_before_sync", EXPLORE, "tiny", True),
    ("promise_before_sync", SIM, "", True),
    ("accepted_before_sync", EXPLORE, "tiny", True),
    ("accepted_before_sync", SIM, "", True),
    ("adopt_first", EXPLORE, "ballots", True),
    ("adopt_first", SIM, "", False),
    ("adopt_newest", EXPLORE, "ballots", True),
    ("adopt_newest", SIM, "", False),
    ("adopt_longest", EXPLORE, "ballots", True),
    ("adopt_longest", SIM, "", False),
    ("one_ballot", EXPLORE, "ballots", True),
    ("one_ballot", SIM, "", True),
    ("accept_keeps_promise", EXPLORE, "tiny", True),
    ("accept_keeps_promise", SIM, "", True),
    ("ballot_reused", EXPLORE, "tiny", True),
    ("ballot_reused", SIM, "", True),
    ("votes_per_packet", EXPLORE, "tiny", True),
    ("votes_per_packet", SIM, "", True),
    ("votes_across_ballots", EXPLORE, "crash", True),
    ("votes_across_ballots", SIM, "", False),
    ("tail_without_phase1", EXPLORE, "tiny", True),
    ("tail_without_phase1", SIM, "", True),
    ("holes_unfilled", SIM, "", True),
    ("promise_changes", SIM, "", True),
    ("commit_any_ballot", EXPLORE, "ballots", True),
    ("commit_any_ballot", SIM, "", True),
    ("ack_across_hole", EXPLORE, "slots", True),
    ("ack_across_hole", SIM, "", True),
    ("apply_past_hole", EXPLORE, "slots", True),
    ("apply_past_hole", SIM, "", True),
    ("applied_apart", STORAGE, "State.*", True),
    ("dedup_in_leader", SIM, "", True),
    ("damaged_tail_clean", STORAGE, "Damage.*", True),
    ("wiped_votes", SIM, "", True),
    ("replaced_votes", PAXOS, "Change.*", True),
    ("replaced_votes", EXPLORE, "replace", True),
    ("change_open", PAXOS, "Change.*", True),
    ("change_open", EXPLORE, "shrink", True),
    ("change_passed_by", PAXOS, "Change.*", True),
    ("change_passed_by", EXPLORE, "shrink", True),
    ("change_brought_back", PAXOS, "Change.*", True),
    ("change_brought_back", EXPLORE, "overtaken", True),
    ("change_dropped", EXPLORE, "overtaken", True),
    ("change_unchosen", EXPLORE, "shrink", True),
    ("change_unprepared", EXPLORE, "grow", True),
    ("configuration_unrecovered", EXPLORE, "restart", True),
    ("replaced_goes_on", EXPLORE, "beside", True),
    ("learner_votes", EXPLORE, "grow", True),
    ("change_unremembered", PAXOS, "Change.*", True),
    ("old_votes_adopted", PAXOS, "Change.*", True),
    ("later_votes_forgotten", PAXOS, "Change.*", True),
    ("learner_counted", PAXOS, "Members.*-*Everything", True),
    ("learner_counted", EXPLORE, "grow", True),
    ("change_unready", PAXOS, "PlanChange.*", True),
    ("promoted_unheard", PAXOS, "Members.*-*Everything", True),
    ("removed_serves_nothing", PAXOS, "Members.*-*Everything", True),
    ("lone_birth", PAXOS, "Members.*-*Everything", True),
    ("read_while_closing", PAXOS, "Change.*", True),
    ("copies_vote", SIM, "", False),
    ("descent_ignored", SIM, "", True),
    ("failed_sync_retried", STORAGE, "Faults.*", True),
    ("bridge_refuses", TOPOLOGY, "Topology.Chained", True),
    ("bridge_refuses", SIM, "", True),
    ("deaf_campaigns", TOPOLOGY, "Topology.SampledDirectedGraphs", True),
    ("deaf_campaigns", SIM, "", False),
    ("hung_disk_leads", SIM, "", False),
    ("full_disk_votes", PAXOS, "FullDisk.*", True),
    ("full_leader_stays", PAXOS, "FullDisk.*", True),
    ("full_leader_proposes", PAXOS, "FullDisk.*", True),
    ("full_majority_ignored", PAXOS, "FullDisk.*", True),
    ("no_space_believed", STORAGE, "Faults.*", True),
    ("stalled_clock_leads", SIM, "", False),
    ("w_ignored", EXPLORE, "tiny", True),
    ("w_ignored", SIM, "", False),
    ("quorum_less_one", EXPLORE, "tiny", True),
    ("quorum_less_one", SIM, "", True),
    ("first_page_counts", EXPLORE, "pages", True),
    ("first_page_counts", SIM, "", True),
    ("own_vote_unsynced", EXPLORE, "tiny", True),
    ("own_vote_unsynced", SIM, "", True),
    ("apply_unsynced", EXPLORE, "tiny", True),
    ("apply_unsynced", SIM, "", True),
    ("read_index_low", SIM, "", True),
    ("read_unconfirmed", SIM, "", False),
    ("raise_at_quorum", SIM, "", True),
    ("raise_by_hearsay", SIM, "", True),
    ("raise_applied_late", SIM, "", True),
    ("rules_forgotten", SIM, "", True),
    ("row_too_late", SIM, "", True),
    ("change_twice", SIM, "", True),
    ("old_program_applies", SIM, "", False),
    ("disagreement_sticks", PAXOS, "HashWatch.*", True),
    ("leads_by_hearsay", PAXOS, "Election.*", True),
    ("window_stops_finishing", PAXOS, "Proposer.*", True),
    # The wider world: rules of conduct, clients' disks, lagging candidates, followers, shared sessions, expiry.
    ("journal_unsynced", SIM, "", True),
    ("journal_after_send", SIM, "", True),
    ("old_page_served", SIM, "", True),
    ("read_old_round", SIM, "", True),
    ("skip_fills", SIM, "", True),
    ("skip_bare", SIM, "", True),
    ("handover_stale", SIM, "", True),
    ("born_at_quorum", SIM, "", True),
    ("announced_unsynced", SIM, "", True),
    ("proposed_twice", SIM, "", True),
    ("proposed_early", SIM, "", True),
    ("adopted_forgotten", SIM, "", False),
    ("divergence_unseen", SIM, "", False),
    ("window_ignored", SIM, "", False),
    ("cold_read_high", SIM, "", False),
    ("forward_dropped", SIM, "", False),
    ("forward_unawaited", SIM, "", False),
    ("push_last_only", SIM, "", False),
    ("conflict_unseen", SIM, "", False),
    ("clock_leaps", SIM, "", False),
    ("replay_taken", SIM, "", False),
    ("destination_unchecked", SIM, "", False),
    ("old_boot_taken", SIM, "", False),
    ("trim_ahead", SIM, "", True),
    ("cut_ahead", SIM, "", True),
    ("trimmed_silent", PAXOS, "Trim.*", True),
    ("foreign_piece_taken", STORAGE, "SnapshotPull.*", True),
    ("snapshot_uncounted", STORAGE, "SnapshotPull.*", True),
    ("snapshot_unconfirmed", STORAGE, "SnapshotPull.*", True),
    ("snapshot_forgets_promise", STORAGE, "SnapshotInstall.*", True),
    ("kept_by_wall_clock", SIM, "", True),
    ("kept_one_less", SIM, "", True),
    ("numbers_come_again", SIM, "", True),
    ("forgotten_not_found", SIM, "", True),
    ("spill_unsynced", PAXOS, "RedoTest.*", True),
]


class Ran:
    """One process that has ended: its words, its CPU seconds, what it says was violated and after how much."""

    def __init__(self, folder, program, what, mutant=None, count=None):
        self.program, self.what, self.mutant = program, what, mutant
        words = [str(folder / program)] + (["--mutant", mutant] if mutant else [])
        if program == SIM:
            words += ["--seeds", str(count or SEEDS_MAX), "--seconds", str(SECONDS_MAX), "--no-minimise"]
        elif program == EXPLORE:
            words += ["--config", what, "--walks", "0", "--memory-max", "3"]
            if count:
                words += ["--states-max", str(count)]
        else:
            words += ["--gtest_filter=" + what, "--gtest_brief=1"]
            if mutant:  # the first broken claim is enough; a store's folder must go first
                words += ["--gtest_break_on_failure" if program == TOPOLOGY else "--gtest_fail_fast"]
        self.command = " ".join([program] + words[1:])
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(words, stdout=said, stderr=subprocess.STDOUT)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            self.words = said.read()
        self.failed = process.returncode != 0
        self.seconds = used.ru_utime + used.ru_stime
        self.count, self.unit, self.violation = getattr(self, program.split("-")[1])()
        self.violation = re.sub(r"/\S*/storage-test-\w+/", "", self.violation)[:140]

    def sim(self):
        invariant = re.search(r"^\S*?([^/\s]+\.(?:cc|h)):\d+: broken invariant: (.*)$", self.words, re.M)
        aborted = re.search(r"^seed (\d+) aborted", self.words, re.M)
        violates = re.search(r"^seed (\d+) violates (.*)$", self.words, re.M)
        runs = re.search(r"^(\d+) runs", self.words, re.M)
        if violates:
            return int(violates[1]), "seeds", violates[2].replace("../../", "")
        if aborted:
            return int(aborted[1]), "seeds", f"the core's invariant in {invariant[1]}: {invariant[2]}" if invariant else ""
        return int(runs[1]) if runs else 0, "seeds", ""

    def explore(self):
        invariant = re.search(r"^\S*?([^/\s]+\.(?:cc|h)):\d+: broken invariant: (.*)$", self.words, re.M)
        violation = re.search(r"^violation: (.*)$", self.words, re.M)
        states = re.search(r"^distinct states: (\d+)", self.words, re.M)
        said = violation[1] if violation else ""
        if invariant and "aborts" in said:
            said = f"the core's invariant in {invariant[1]}: {invariant[2]}"
        if not re.match(r"[IC]\d|the core", said):
            said = ""  # the search itself lost its way: that kills nothing
        return int(states[1]) if states else 0, "states", said

    def tests(self):
        test = re.search(r"^\[ *(?:RUN|FAILED) *\] (\S+)", self.words, re.M)
        graph = re.search(r"^(links .*)$", self.words, re.M)
        expected = re.search(r"^\S*?([^/\s]+\.cc):\d+: Failure\n((?:.*\n){1,5})", self.words, re.M)
        lines = [line.strip() for line in expected[2].splitlines() if line.strip()] if expected else []
        if graph:
            return 0, "graphs", graph[1]
        named = (test[1].rstrip(",") + ": ") if test else ""
        return 0, "tests", named + " ".join(lines)[:160] if expected else ""


def count_text(ran):
    if ran.unit in ("graphs", "tests") or ran.count == 0:
        return ""
    return f"{ran.count:,} {ran.unit[:-1] if ran.count == 1 else ran.unit}"


def name_of(program, what):
    base = program.removesuffix("-mutants")
    return f"`{base}`" + (f" {what}" if what else "")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--programs", type=pathlib.Path, default=ROOT / "build/release/tests/mutants")
    options = parser.parse_args()

    listed = subprocess.run([options.programs / SIM, "--mutants"], check=True, capture_output=True, text=True).stdout
    meaning = dict(line.split("  ", 1) for line in listed.splitlines())
    bad = [f"{name}: nothing is said to kill it" for name in meaning if name not in {row[0] for row in KILLERS}]
    bad += [f"{name}: there is no such mutant" for name in {row[0] for row in KILLERS} | set(options.only) if name not in meaning]
    rows = [row for row in KILLERS if (row[3] or not options.quick) and (not options.only or row[0] in options.only)]

    if options.markdown:
        print("| Mutant | Killed by | After | CPU s | Violation |\n| --- | --- | --- | --- | --- |", flush=True)
    last = ""
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        tries = [pool.submit(Ran, options.programs, program, what, mutant) for mutant, program, what, _ in rows]
        for done in tries:
            ran = done.result()
            killed = ran.failed and ran.violation
            if not killed:
                bad.append(f"{ran.mutant} survives {ran.command} ({ran.count} {ran.unit}, {ran.seconds:.0f} s)"
                           + (f"; it failed without naming a violation:\n{ran.words[-1500:]}" if ran.failed else ""))
            if options.markdown:
                first = "" if ran.mutant == last else f"`{ran.mutant}`: {meaning[ran.mutant]}"
                last = ran.mutant
                seen = ran.violation.replace("|", "\\|") if killed else "**survives**"
                print(f"| {first} | {name_of(ran.program, ran.what)} | {count_text(ran)} | {ran.seconds:.1f} | {seen} |", flush=True)
            else:
                print(f"{'killed' if killed else 'SURVIVES'}: {ran.mutant} by {name_of(ran.program, ran.what)}, "
                      f"{count_text(ran)} {ran.seconds:.1f} s: {ran.violation}", flush=True)
        ran_all = [done.result() for done in tries]
        # As far as the farthest of them, with nothing planted: what cries wolf proves nothing.
        reach = {}
        for ran in ran_all:
            reach[ran.program, ran.what] = max(reach.get((ran.program, ran.what), 1), ran.count)
        clean = [pool.submit(Ran, options.programs, program, what, None, count) for (program, what), count in reach.items()]
        for done in clean:
            ran = done.result()
            if ran.failed:
                bad.append(f"a false alarm: {ran.command}: {ran.violation}\n{ran.words[-1500:]}")
            elif not options.markdown:
                print(f"clean: {ran.command}, {ran.seconds:.1f} s", flush=True)

    if not options.markdown:
        print(f"{len({ran.mutant for ran in ran_all})} mutants, {len(rows)} killers, "
              f"{sum(done.result().seconds for done in tries + clean):.0f} CPU s, {len(bad)} wrong")
    for line in bad:
        print(line, file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
