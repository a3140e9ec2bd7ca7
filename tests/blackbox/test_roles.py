"""Keys with roles: who has one does what its role allows, posts under its name, and nobody else does; a revoked one opens nothing."""
import json
import stat

from harness import ClusterTest, Sender, run, wait_for


class Roles(ClusterTest):
    def born(self, **options):
        cluster = self.cluster(**options)
        wait_for("rules 2", lambda: all(r.get("rules") == 2 for r in cluster.status()["replicas"]))
        return cluster

    def key(self, cluster, verb, *words):
        return run("paxosctl", "key", verb, "--config", cluster.config, *words)

    def issue(self, cluster, role, name=None, *words):
        file = cluster.folder / f"{role}-{name}.key"
        named = ("--name", name) if name else ()
        code, out, err = self.key(cluster, "issue", "--role", role, *named, "-o", file, "--json", *words)
        self.assertEqual(code, 0, err)
        issued = json.loads(out)
        self.assertEqual((issued["role"], issued["name"], issued["file"]), (role, name, str(file)))
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        return file, issued["key"]

    def send(self, cluster, key, text, *words, code=0):
        under = ("--key-file", key) if key else ()
        got, out, err = cluster.chat("send", "--room", "ops", "--json", "--timeout", "30s", *under, *words, text)
        self.assertEqual(got, code, (out, err))
        return json.loads(out) if out else {}, err

    def test_a_key_with_a_name_posts_as_nobody_else_and_nobody_else_posts_as_it(self):
        cluster = self.born()
        ann, ann_id = self.issue(cluster, "client", "ann")
        bot, bot_id = self.issue(cluster, "client")
        sent, _ = self.send(cluster, ann, "it is me")
        self.assertEqual((sent["name"], sent["key"], sent["proven"]), ("ann", ann_id, True))
        _, err = self.send(cluster, ann, "it is not me", "--name", "bob", code=1)
        self.assertIn("posts as ann alone", err)
        for key in (bot, None):
            for name in ("ann", "ANN", "аnn"):
                told, _ = self.send(cluster, key, "I am she", "--name", name, code=1)
                self.assertIn("belongs to somebody", told["refused"])
        self.send(cluster, bot, "beep", "--name", "robot")
        self.send(cluster, None, "with the secret", "--name", "op")
        for replica in range(3):
            def all_there():
                code, out, err = cluster.chat("history", "--room", "ops", "--json", "--local", "--replica", replica, "--key-file", bot)
                self.assertEqual(code, 0, err)
                return [m for m in map(json.loads, out.splitlines())] if len(out.splitlines()) == 3 else None
            found = wait_for(f"the messages at replica {replica}", all_there)
            self.assertEqual([(m["name"], m.get("key"), m.get("proven")) for m in found],
                             [("ann", ann_id, True), ("robot", bot_id, False), ("op", None, None)])
        code, out, err = cluster.chat("history", "--room", "ops")
        self.assertEqual(code, 0, err)
        self.assertIn("ann✓: it is me", out)
        self.assertIn("robot: beep", out)
        code, out, err = cluster.chat("follow", "--room", "ops", "--from", 1, "--count", 3, "--json", "--key-file", ann)
        self.assertEqual([json.loads(line).get("key") for line in out.splitlines()], [ann_id, bot_id, None])
        self.assert_consistent(cluster)

    def test_each_role_does_what_it_may(self):
        cluster = self.born()
        reader, _ = self.issue(cluster, "reader")
        client, _ = self.issue(cluster, "client", "ann")
        operator, _ = self.issue(cluster, "operator", "op")
        self.send(cluster, client, "hello")
        _, err = self.send(cluster, reader, "no", "--name", "eve", code=1)
        for key in (reader, client, operator):
            for verb in (("status", "--json"), ("rooms", "--json"), ("verify", "--json")):
                code, out, err = cluster.ctl(*verb, "--key-file", key)
                self.assertEqual(code, 0, (verb, key, err))
            code, out, err = cluster.chat("history", "--room", "ops", "--json", "--key-file", key)
            self.assertEqual((code, len(out.splitlines())), (0, 1), err)
        for key in (reader, client):
            for verb in (("log", 0), ("kill", 0), ("skip", "--next", 1), ("redact", "ops", 1), ("doctor",), ("loss", 0.5),
                         ("backup", cluster.folder / "b"), ("transfer-leader", 1), ("retention", "--all", "--count", 1, "--yes")):
                code, out, err = cluster.ctl(*verb, "--key-file", key)
                self.assertEqual(code, 1, (verb, key, out, err))
                self.assertIn("operator", out + err, verb)
            for verb in (("list",), ("issue", "--role", "operator", "-o", cluster.folder / "mine.key"), ("revoke", "00000001")):
                code, out, err = self.key(cluster, *verb, "--key-file", key)
                self.assertEqual(code, 1, (verb, key, out, err))
                self.assertIn("operator", err, verb)
            code, out, err = cluster.ctl("verify", "--full", "--json", "--key-file", key)
            self.assertEqual((code, out), (1, ""))
            self.assertIn("operator", err)
        self.assertFalse((cluster.folder / "mine.key").exists())
        self.assertTrue(all(r["reachable"] for r in cluster.status()["replicas"]), "nobody was killed")
        for key in (client, operator):
            code, out, err = cluster.ctl("bench", "--clients", 2, "--duration", "200ms", "--warmup", "0s", "--json", "--key-file", key)
            self.assertEqual((code, json.loads(out)["errors"]), (0, 0), err)
        code, out, err = cluster.ctl("log", 0, "--json", "--key-file", operator)
        self.assertEqual(code, 0, err)
        code, out, err = cluster.ctl("redact", "ops", 1, "--json", "--key-file", operator)
        self.assertEqual((code, json.loads(out)["by"]), (0, "op"), err)
        code, out, err = self.key(cluster, "list", "--json", "--key-file", operator)
        listed = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([k["role"] for k in listed[1:]], ["reader", "client", "operator"])
        code, out, err = cluster.ctl("kill", (cluster.leader() + 1) % 3, "--key-file", operator)
        self.assertEqual(code, 0, err)

    def test_a_revoked_key_opens_nothing(self):
        cluster = self.born()
        ann, ann_id = self.issue(cluster, "client", "ann")
        operator, operator_id = self.issue(cluster, "operator")
        state = cluster.folder / "ann.state"
        self.send(cluster, ann, "before", "--state", state)
        code, out, err = self.key(cluster, "revoke", ann_id, "--json")
        self.assertEqual((code, json.loads(out)["revoked"]), (0, True), err)
        told, _ = self.send(cluster, ann, "after", "--state", state, code=1)
        self.assertIn("revoked", told["refused"])
        told, _ = self.send(cluster, ann, "after, in a new session", code=1)
        self.assertIn("revoked", told["refused"])
        told, _ = self.send(cluster, None, "as she", "--name", "ann", code=1)
        self.assertIn("belongs to", told["refused"])
        code, out, err = self.key(cluster, "revoke", operator_id)
        self.assertEqual(code, 0, err)
        wait_for("every replica to know", lambda: cluster.ctl("log", 0, "--key-file", operator)[0] != 0)
        code, out, err = cluster.ctl("kill", 0, "--key-file", operator)
        self.assertNotEqual(code, 0)
        self.assertTrue(all(r["reachable"] for r in cluster.status()["replicas"]))
        # Her next key has the name again, and the messages of both stand.
        code, out, err = self.key(cluster, "issue", "--role", "client", "--name", "Ann", "-o", cluster.folder / "again.key", "--json")
        self.assertEqual(code, 0, err)
        sent, _ = self.send(cluster, cluster.folder / "again.key", "back")
        self.assertEqual((sent["name"], sent["seq"]), ("Ann", 2))

    def test_a_session_is_its_keys_own(self):
        cluster = self.born()
        ann, _ = self.issue(cluster, "client", "ann")
        bot, _ = self.issue(cluster, "client")
        state = cluster.folder / "a.state"
        self.send(cluster, ann, "one", "--state", state)
        code, out, err = cluster.chat("send", "--room", "ops", "--name", "robot", "--state", state, "--timeout", "60s", "--key-file", bot, "two")
        self.assertNotEqual(code, 0)
        self.assertIn("belongs to another key", err)
        # What waited in the file is said under her key now, and refused by the log: it has another name.
        code, out, err = cluster.chat("send", "--room", "ops", "--json", "--state", state, "--timeout", "30s", "--key-file", ann, "three")
        told = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((code, [t.get("text", t.get("refused")) for t in told]), (1, ["this key posts under its own name alone", "three"]), err)
        self.assertEqual([m["text"] for m in cluster.history("ops")], ["one", "three"])

    def test_a_file_that_is_there_is_lost_by_no_refusal(self):
        cluster = self.born()
        ann, _ = self.issue(cluster, "client", "ann")
        text = ann.read_text()
        code, out, err = self.key(cluster, "issue", "--role", "client", "--name", "ANN", "-o", ann, "--force")
        self.assertEqual((code, ann.read_text()), (1, text), err)
        self.assertEqual(sorted(p.name for p in cluster.folder.glob("*.key*")), ["client-ann.key", "cluster.key"])
        code, out, err = self.key(cluster, "issue", "--role", "client", "--name", "bob", "-o", ann, "--force")
        self.assertEqual(code, 0, err)
        self.assertNotEqual(ann.read_text(), text)

    def test_open_names_can_be_closed_and_keys_outlive_restarts(self):
        cluster = self.born()
        ann, ann_id = self.issue(cluster, "client", "ann")
        bot, _ = self.issue(cluster, "client")
        self.assertEqual(self.key(cluster, "open-names", "off")[0], 0)
        self.send(cluster, ann, "hello")
        for key in (bot, None):
            told, _ = self.send(cluster, key, "hello", "--name", "robot", code=1)
            self.assertIn("only who has a key with a name", told["refused"])
        for replica in range(3):
            cluster.kill(replica)
            cluster.start(replica)
            cluster.wait_healthy()
        told, _ = self.send(cluster, bot, "hello", "--name", "robot", code=1)
        self.assertIn("only who has a key with a name", told["refused"])
        sent, _ = self.send(cluster, ann, "still me")
        self.assertEqual(sent["seq"], 2)
        self.assertEqual(self.key(cluster, "open-names", "on")[0], 0)
        self.send(cluster, bot, "hello", "--name", "robot")
        self.assert_consistent(cluster)

    def test_bad_keys_are_told_apart(self):
        cluster = self.born()
        ann, _ = self.issue(cluster, "client", "ann")
        text = ann.read_text()
        cases = {"cut": text[:-20], "twice": text + text, "role": text.replace("-client-", "-admin-"), "nothing": "pxk1-\n"}
        for case, damaged in cases.items():
            file = cluster.folder / "damaged.key"
            file.write_text(damaged)
            file.chmod(0o600)
            _, err = self.send(cluster, file, "hello", code=1)
            self.assertIn("damaged key file", err, case)
        # Another role than it was issued in is another key, which nobody knows.
        file.write_text(text.replace("-client-", "-operator-"))
        code, out, err = cluster.ctl("kill", 0, "--key-file", file)
        self.assertNotEqual(code, 0)
        code, out, err = self.key(cluster, "issue", "--role", "client", "--name", "ann", "-o", cluster.folder / "second.key")
        self.assertEqual(code, 1)
        self.assertIn("belongs to one", err)
        self.assertFalse((cluster.folder / "second.key").exists())
        code, out, err = self.key(cluster, "issue", "--role", "client", "-o", ann)
        self.assertEqual((code, ann.read_text()), (1, text), "a file that is there stays")
        self.assertEqual(self.key(cluster, "issue", "--role", "boss", "-o", cluster.folder / "x")[0], 2)
        self.assertEqual(self.key(cluster, "revoke", "xyz")[0], 2)
        code, out, err = self.key(cluster, "revoke", "0badf00d")
        self.assertEqual(code, 1)
        self.assertIn("no key 0badf00d", err)
        # A replica needs the secret.
        cluster.stop(2)
        secret = cluster.folder / "cluster.key"
        kept = secret.read_bytes()
        secret.write_text(text)
        cluster.start(2)
        self.assertEqual(cluster.processes.pop(2).wait(timeout=30), 1)
        secret.write_bytes(kept)

    def secrets(self, cluster):
        return [r["secret"] for r in cluster.status()["replicas"]]

    def test_the_secret_is_rotated_under_load_and_nothing_is_lost(self):
        cluster = self.born()
        ann, _ = self.issue(cluster, "client", "ann")
        operator, _ = self.issue(cluster, "operator")
        old = cluster.folder / "cluster.key"
        fresh = cluster.folder / "fresh.key"
        senders = [Sender(cluster, "ops", [f"{who} {n}" for n in range(1500)], "--timeout", "120s", *words)
                   for who, words in (("with the secret", ("--name", "op")), ("with a key", ("--key-file", ann)))]
        code, out, err = self.key(cluster, "rotate", "-o", fresh, "--key-file", operator)
        self.assertEqual((code, fresh.exists()), (1, False), "who is told a new secret could be a replica")
        code, out, err = self.key(cluster, "rotate", "-o", fresh, "--json")
        self.assertEqual(code, 0, err)
        told = json.loads(out)
        self.assertEqual(stat.S_IMODE(fresh.stat().st_mode), 0o600)
        wait_for("every replica to speak under it", lambda: all(s["speaks"] == told["secret"] for s in self.secrets(cluster)))
        self.assertEqual([s["good"] for s in self.secrets(cluster)], [[told["before"], told["secret"]]] * 3)
        code, out, err = self.key(cluster, "rotate", "-o", cluster.folder / "third.key")
        self.assertEqual(code, 1)
        self.assertIn("retire", err)
        # One that restarts now, and one that was down for good while the others go on.
        for replica in range(3):
            cluster.kill(replica)
            cluster.start(replica)
            cluster.wait_healthy()
        renewed = cluster.folder / "ann2.key"
        code, out, err = self.key(cluster, "renew", "-o", renewed, "--key-file", ann)
        self.assertEqual(code, 0, err)
        self.assertNotEqual(renewed.read_text(), ann.read_text())
        for sender in senders:
            code, receipts, err = sender.finish()
            self.assertEqual((code, len(receipts)), (0, 1500), err)
            self.assert_exactly_once(cluster, "ops", receipts)
        code, out, err = self.key(cluster, "retire", "--force")
        self.assertEqual(code, 1)
        self.assertIn("under the new one", err)
        code, out, err = self.key(cluster, "retire", "--key-file", fresh)
        self.assertEqual(code, 1, "somebody spoke under it a moment ago")
        self.assertIn("127.0.0.1", err)
        code, out, err = self.key(cluster, "retire", "--force", "--json", "--key-file", fresh)
        self.assertEqual((code, json.loads(out)["retired"]), (0, told["before"]), err)

        def ask(*under):
            return run("paxosctl", "status", "--json", "--config", cluster.config, "--key-file", *under)

        def only_the_new():
            code, out, _ = ask(fresh)
            return code == 0 and all(r["secret"]["good"] == [told["secret"]] for r in json.loads(out)["replicas"])
        wait_for("the earlier one to be gone everywhere", only_the_new)
        for gone in (old, ann, operator):
            self.assertNotEqual(ask(gone)[0], 0, gone)
        code, out, err = cluster.chat("send", "--room", "ops", "--timeout", "30s", "--json", "--key-file", renewed, "still me")
        self.assertEqual((code, json.loads(out)["proven"]), (0, True), err)
        # The key file of the config has the earlier one still: a restart is not led astray by it.
        cluster.kill(0)
        cluster.start(0)
        wait_for("it to be back", lambda: ask(fresh)[0] == 0 and all(r["reachable"] for r in json.loads(ask(fresh)[1])["replicas"]))
        # As the operator is told to: the new file in its place, and all goes on without a flag.
        old.write_bytes(fresh.read_bytes())
        cluster.wait_healthy()
        for replica in range(3):
            cluster.kill(replica)
            cluster.start(replica)
            cluster.wait_healthy()
        self.assert_consistent(cluster)
        self.assertNotIn(fresh.read_text().strip(), cluster.logs())

    def test_an_interrupted_rotation_goes_on_with_the_same_file(self):
        cluster = self.born()
        fresh = cluster.folder / "fresh.key"
        cluster.kill(2)
        code, out, err = self.key(cluster, "rotate", "-o", fresh, "--timeout", "3s")
        self.assertEqual(code, 3, err)
        self.assertIn("replica 2", err)
        cluster.start(2)
        cluster.wait_healthy()
        code, out, err = self.key(cluster, "rotate", "-o", fresh, "--json")
        self.assertEqual(code, 0, err)
        wait_for("all to speak under it", lambda: all(s["speaks"] == json.loads(out)["secret"] for s in self.secrets(cluster)))
        # Another attempt that comes to nothing leaves no dead end.
        self.assertEqual(self.key(cluster, "retire", "--force", "--key-file", fresh)[0], 0)
        (cluster.folder / "cluster.key").write_bytes(fresh.read_bytes())
        cluster.kill(2)
        self.assertEqual(self.key(cluster, "rotate", "-o", cluster.folder / "lost.key", "--timeout", "3s")[0], 3)
        cluster.start(2)
        cluster.wait_healthy()
        fresh = cluster.folder / "other.key"
        code, out, err = self.key(cluster, "rotate", "-o", fresh)
        self.assertEqual(code, 0, err)
        # Who was away while it was retired comes back all the same: it has the new one on its disk.
        cluster.kill(1)
        code, out, err = self.key(cluster, "retire", "--force", "--timeout", "3s", "--key-file", fresh)
        self.assertEqual(code, 3, "every member has to be there")
        cluster.start(1)
        cluster.wait_healthy()
        code, out, err = self.key(cluster, "retire", "--force", "--key-file", fresh)
        self.assertEqual(code, 0, err)
