"""A replica whose state/ was moved away redoes it from the log beside it: in pages, within its memory, taking part meanwhile."""
import shutil
import unittest

from harness import ClusterTest, wait_for
from test_memory import Load, resident_mib

LOAD_MIB = 120
# What it needs at rest and its buffers, and far less than the log: all of that in memory is what it once took.
LIMIT_MIB = 110


class Redo(ClusterTest):
    def test_a_state_that_is_gone_is_redone_in_pages(self):
        cluster = self.cluster()
        load = Load(cluster)
        try:
            load.wait_for(LOAD_MIB)
        finally:
            load.stop()
        cluster.wait_all_applied()
        replica = next(r for r in range(3) if r != cluster.leader())
        cluster.stop(replica)
        shutil.rmtree(cluster.folder / "data" / str(replica) / "state")
        cluster.start(replica)
        pid = cluster.processes[replica].pid
        seen = []

        def done():
            one = next(r for r in cluster.status()["replicas"] if r["id"] == replica)
            if not one["reachable"]:
                return None
            if "redoing" in one:
                seen.append(one)
            return one if "redoing" not in one and one["applied"] > 0 else None
        after = wait_for("it has redone its log", done, 300)
        held = resident_mib(pid, "VmHWM")
        print(f"# {held:.0f} MiB at most for {load.sent >> 20} MiB of text, seen {len(seen)} times on its way", flush=True)
        for one in seen:
            self.assertTrue(one["voting"], one)
            self.assertGreaterEqual(one["chosen"], one["redoing"]["of"])
            self.assertLess(one["redoing"]["done"], one["redoing"]["of"])
            self.assertNotEqual(one["role"], "leader")
        self.assertEqual([one["redoing"]["done"] for one in seen], sorted(one["redoing"]["done"] for one in seen))
        log = (cluster.folder / f"replica{replica}.log").read_text()
        self.assertIn("redoes its own log up to slot", log)
        self.assertIn("has redone its own log up to slot", log)
        self.assertGreater(after["applied"], 0)
        self.assertLess(held, LIMIT_MIB)
        self.assertEqual(cluster.chat("send", "--room", "ops", "hello")[0], 0)
        self.assert_consistent(cluster)
        code, verdict, err = cluster.verify("--full")
        self.assertEqual(code, 0, err)
        self.assertEqual(len({r["hash"] for r in verdict["replicas"]}), 1)


if __name__ == "__main__":
    unittest.main()
