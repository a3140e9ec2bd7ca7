"""A log that is trimmed: what it takes on the disk levels off, status tells where it begins, and what asks for older slots is told so."""
import unittest

from harness import ClusterTest, wait_for
from test_memory import Load


class Trim(ClusterTest):
    def test_the_log_is_trimmed_behind_what_is_on_the_disk(self):
        cluster = self.cluster(start=False)
        config = cluster.folder / "cluster.yaml"
        config.write_text(config.read_text() + "log_keep_slots: 256\n")
        for replica in range(3):
            cluster.start(replica)
        cluster.wait_healthy()
        load = Load(cluster)
        try:
            def trimmed():
                return all(r["reachable"] and r["first_slot"] > 100 for r in cluster.status()["replicas"])
            wait_for("all have trimmed their logs", trimmed, 400)
        finally:
            load.stop()
        cluster.wait_all_applied()
        for one in cluster.status()["replicas"]:
            self.assertLess(one["first_slot"], one["applied"])
        # Who asks for what is gone is told so.
        code, out, err = cluster.ctl("explain", "3")
        self.assertIn("has trimmed its log up to slot", out + err)
        first = cluster.status()["replicas"][0]["first_slot"]
        self.assertGreaterEqual(cluster.log(0)[0]["slot"], first)
        code, verdict, err = cluster.verify("--full")
        self.assertEqual(code, 0, err)
        # And it starts again, where it may have to redo what it has.
        for replica in range(3):
            cluster.kill(replica)
        for replica in range(3):
            cluster.start(replica)
        cluster.wait_healthy()
        self.assertEqual(cluster.chat("send", "--room", "ops", "hello")[0], 0)
        self.assertGreaterEqual(cluster.status()["replicas"][0]["first_slot"], first)
        self.assert_consistent(cluster)


if __name__ == "__main__":
    unittest.main()
