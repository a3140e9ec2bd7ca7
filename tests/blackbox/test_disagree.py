"""A replica whose state went astray, as real processes see it: noticed at once, and nobody confirms a read that may be wrong."""
import os
import pathlib
import shutil
import subprocess
import unittest
import urllib.request

from harness import BIN, ClusterTest, wait_for

ASTRAY = pathlib.Path(os.environ.get("PAXOSD_ASTRAY", BIN.parent / "release/tests/blackbox/paxosd-astray"))


@unittest.skipUnless(ASTRAY.exists(), f"there is no {ASTRAY} (build tests/blackbox/paxosd-astray)")
class Disagree(ClusterTest):
    def said(self, cluster, replica):
        """What it says of those that it disagrees with; nothing while all is well, or while it does not answer."""
        found = cluster.status()["replicas"][replica]
        return {k: found[k] for k in ("disagrees_with", "disagrees_since", "disputed", "voting") if k in found} \
            if "disagrees_with" in found else None

    def both_applied(self, cluster):
        found = [cluster.status()["replicas"][r].get("applied", 0) for r in (1, 2)]
        return found[0] if found[0] == found[1] and len(cluster.history("ops", "--replica", 2, "--local")) == 2 else None

    def test_two_survivors_who_disagree_say_so_and_confirm_no_read_until_the_third_decides(self):
        cluster = self.cluster(metrics=True)
        self.assertEqual(cluster.chat("send", "--room", "ops", "one")[0], 0)
        cluster.wait_all_applied()
        cluster.kill(0)
        self.assertEqual(cluster.chat("send", "--room", "ops", "--timeout", "60s", "two")[0], 0, "0 has no word in this slot")
        slot = wait_for("both have applied it", lambda: self.both_applied(cluster))
        self.assertEqual(cluster.stop(2), 0)
        done = subprocess.run([ASTRAY, cluster.folder / "data/2"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        cluster.start(2)
        for replica, other in ((1, 2), (2, 1)):
            found = wait_for(f"replica {replica} says that it disagrees", lambda r=replica: self.said(cluster, r), 60)
            self.assertEqual(found["disagrees_with"], [other])
            self.assertGreaterEqual(found["disagrees_since"], slot)
            self.assertTrue(found["disputed"])
            self.assertTrue(found["voting"], "below a quorum nobody stops")
            log = (cluster.folder / f"replica{replica}.log").read_text()
            self.assertIn(f"error: replica {other} has computed another state than this one by slot", log)
        _, out, _ = cluster.ctl("status")
        self.assertIn("replica 1 DISAGREES with replica 2: they computed different states by slot", out)
        self.assertIn("it confirms no read until an operator mends that", out)
        metrics = self.metrics(cluster, 1)
        self.assertIn('paxosd_disagreeing_replicas{cluster="demo",replica="1"} 1\n', metrics)
        self.assertIn('paxosd_disputed{cluster="demo",replica="1"} 1\n', metrics)
        self.assertEqual(cluster.chat("send", "--room", "ops", "--timeout", "60s", "three")[0], 0, "messages are taken all the same")
        for replica in (1, 2):
            code, out, err = cluster.chat("history", "--room", "ops", "--replica", replica, "--timeout", "5s")
            self.assertNotEqual(code, 0)
            self.assertIn("replicas disagree: replica", err)
            self.assertIn("no quorum tells which is right", err)
            wait_for(f"replica {replica} shows what it has", lambda r=replica: [
                m["text"] for m in cluster.history("ops", "--replica", r, "--local")] == ["one", "two", "three"])
        # The third one decides: 2 stops, and the others confirm reads again.
        cluster.start(0)
        wait_for("replica 2 stops", lambda: not cluster.status()["replicas"][2].get("voting", True))
        wait_for("replica 1 doubts no more", lambda: (self.said(cluster, 1) or {}).get("disputed") is False)
        wait_for("reads are confirmed", lambda: cluster.chat("history", "--room", "ops")[0] == 0)
        self.assertEqual([m["text"] for m in cluster.history("ops")], ["one", "two", "three"])
        # Mended as OPERATIONS.md says.
        self.assertEqual(cluster.stop(2), 0)
        shutil.move(cluster.folder / "data/2/state", cluster.folder / "state-astray")
        cluster.start(2)
        self.assertEqual(cluster.chat("send", "--room", "ops", "--timeout", "60s", "four")[0], 0)
        for replica in range(3):
            wait_for(f"replica {replica} disagrees with nobody", lambda r=replica: cluster.status()["replicas"][r].get("applied", 0)
                     and self.said(cluster, r) is None)
        self.assert_consistent(cluster)
        self.assertIn("replica 2 agrees again", (cluster.folder / "replica1.log").read_text())

    def metrics(self, cluster, replica):
        with urllib.request.urlopen(f"http://127.0.0.1:{cluster.metrics_port + replica}/metrics", timeout=20) as answer:
            return answer.read().decode()


if __name__ == "__main__":
    unittest.main()
