"""paxoschat without a verb: several rooms at once, who is there and calls, topics, keys, completion."""
import json
import re
import unittest

from harness import BIN, ClusterTest, run, wait_for
from on_terminal import OnTerminal

CTRL_C, CTRL_D, CTRL_L, CTRL_R = "\x03", "\x04", "\x0c", "\x12"


def plain(text):
    """Without colours and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


class People(ClusterTest):
    def send(self, cluster, room, text, *words, name="eve"):
        return cluster.chat("send", "--room", room, "--name", name, *words, text)

    def rooms(self, cluster, *words):
        code, out, err = cluster.ctl("rooms", "--json", *words)
        self.assertEqual(code, 0, err)
        return [json.loads(line) for line in out.splitlines()]

    def wait_rules(self, cluster):
        wait_for("the rules are raised", lambda: all(r.get("rules", 0) >= 2 for r in cluster.status()["replicas"]))

    def chat(self, cluster, *words, name="ann", room="ops", env=None, **size):
        terminal = OnTerminal("paxoschat", "--config", cluster.config, "--room", room, "--name", name, *words,
                              env={"XDG_STATE_HOME": str(cluster.folder / f"state-{name}"), **(env or {})}, **size)
        self.addCleanup(terminal.close)
        terminal.wait_text(f"{room.lstrip('#').lower()}> ")
        return terminal

    def wait_plain(self, terminal, text):
        wait_for(f"the screen shows {text!r}", lambda: text in plain(terminal.read()))

    def test_several_rooms_at_once_with_what_is_unread_and_who_calls(self):
        cluster = self.cluster(f=1)
        self.send(cluster, "ops", "hello ops")
        self.send(cluster, "dev", "hello dev")
        ann = self.chat(cluster, columns=100)
        self.wait_plain(ann, "eve: hello ops")
        ann.key("/join #DEV\r")
        self.wait_plain(ann, "now in dev")
        self.wait_plain(ann, "eve: hello dev")
        self.send(cluster, "ops", "while you were away")
        self.wait_plain(ann, "[1 ops 1] dev> ")
        self.assertNotIn("\x07", ann.read())
        self.send(cluster, "ops", "Ann: are you there? \x1b[2J")
        self.wait_plain(ann, "eve calls you in ops (Alt-1): Ann: are you there?")
        self.wait_plain(ann, "[1 ops 2!] dev> ")
        self.send(cluster, "ops", "ann! ann!")
        self.wait_plain(ann, "[1 ops 3!] dev> ")
        self.assertEqual(ann.read().count("\x07"), 1, "it rings once")
        ann.seen = ""
        ann.key("\x1b1")
        self.wait_plain(ann, "now in ops, 3 new")
        self.wait_plain(ann, "ann! ann!")
        shown = plain(ann.read())
        self.assertLess(shown.index("hello ops"), shown.index("-- new --"), "old ones above the line")
        self.assertLess(shown.index("-- new --"), shown.index("while you were away"), "new ones below it")
        self.assertNotIn("\x1b[2J", ann.read())
        self.assertIn("\x1b[1;7mAnn: are you there?", ann.read(), "it stands out")
        ann.key("/next\r")
        self.wait_plain(ann, "now in dev")
        ann.key("to dev\r")
        self.wait_plain(ann, "ann: to dev")
        self.assertEqual(cluster.history("dev")[-1]["text"], "to dev")
        ann.key("/leave\r")
        self.wait_plain(ann, "left dev")
        ann.key("/leave\r")
        self.wait_plain(ann, "it is the only room")
        ann.key(CTRL_D)
        self.assertEqual(ann.end(), 0)

    def test_join_asks_before_it_makes_a_room(self):
        cluster = self.cluster(f=1)
        self.send(cluster, "deploys", "x")
        ann = self.chat(cluster)
        ann.key("/join deplyos\r")
        self.wait_plain(ann, "there is no room deplyos yet; did you mean deploys?")
        self.wait_plain(ann, "make room deplyos? [y/N] ")
        ann.key("what is this\r")  # no answer: not lost, not sent
        self.wait_plain(ann, "y makes room deplyos")
        ann.key("\x15n\r")
        self.wait_plain(ann, "room deplyos was not made")
        ann.key("/join  ends \r/join fresh\r")
        self.wait_plain(ann, "make room ends? [y/N] ")
        ann.key("n\r")
        self.wait_plain(ann, "make room fresh? [y/N] ")
        ann.key("y\r")
        self.wait_plain(ann, "fresh> ")
        ann.key("first\r")
        self.wait_plain(ann, "ann: first")
        self.assertEqual([r["name"] for r in self.rooms(cluster)], ["deploys", "fresh"])
        ann.key("/join deploys\rtyped ahead\r")  # what follows is meant for that room
        self.wait_plain(ann, "ann: typed ahead")
        self.assertEqual(cluster.history("deploys")[-1]["text"], "typed ahead")

    def test_who_topic_me_and_search(self):
        cluster = self.cluster(f=1)
        self.wait_rules(cluster)
        self.send(cluster, "ops", "I leave now")
        ann = self.chat(cluster)
        bob = self.chat(cluster, name="bob", columns=160)
        def there():
            ann.seen = ""
            ann.key("/who\r")
            self.wait_plain(ann, "posted there: eve")
            return "in ops now: ann (you), bob" in plain(ann.read())
        wait_for("both are there", there)
        bob.key("/nick robert\r")
        wait_for("under the new name", lambda: self.who_says(ann, "in ops now: ann (you), robert"))
        ann.key("/me waves\r")
        self.wait_plain(bob, "* ann waves")
        ann.key("/topic db3 is down\r")
        self.wait_plain(bob, "* ann set the topic: db3 is down")
        self.assertEqual(self.rooms(cluster)[0]["topic"], "db3 is down")
        bob.key("/topic\r")
        self.wait_plain(bob, "topic of ops: db3 is down (ann, ")
        late = self.chat(cluster, name="late")
        self.wait_plain(late, "topic of ops: db3 is down")
        ann.key("/topic -\r")
        self.wait_plain(bob, "* ann took the topic away")
        self.assertNotIn("topic", self.rooms(cluster)[0])
        bob.key("/search I LEAVE\r")
        self.wait_plain(bob, '1 message with "I LEAVE" in room ops')
        bob.key("/rooms\r")
        self.wait_plain(bob, "you are in it (1)")
        late.key("/quit\r")
        self.assertEqual(late.end(), 0)
        wait_for("who left is not there", lambda: self.who_says(ann, "in ops now: ann (you), robert") and "late" not in plain(ann.read()).split("posted")[0])
        self.assert_consistent(cluster)

    def who_says(self, terminal, text):
        terminal.seen = ""
        terminal.key("/who\r")
        self.wait_plain(terminal, "in ops now: ")
        return text in plain(terminal.read())

    def test_a_room_of_two_finds_the_other(self):
        cluster = self.cluster(f=1)
        ann = self.chat(cluster, columns=100)
        bob = self.chat(cluster, name="bob", columns=100)
        eve = self.chat(cluster, name="eve", columns=100)
        ann.key("/msg Bob psst\r")
        self.wait_plain(ann, "@ann,bob> ")
        self.wait_plain(bob, "ann calls you in @ann,bob (Alt-2): psst")
        bob.key("/next\ryes?\r")
        self.wait_plain(ann, "bob: yes?")
        eve.key("/rooms\r")
        self.wait_plain(eve, "you are in it (1)")
        self.assertNotIn("ann,bob", plain(eve.read()), "others' rooms of two are nothing to be shown around")
        # Written while bob is away: there when he comes back.
        bob.key(CTRL_D)
        bob.end()
        ann.key("later then\r")
        self.wait_plain(ann, "ann: later then")
        bob = self.chat(cluster, name="bob", columns=100)
        self.wait_plain(bob, "ann calls you in @ann,bob")

    def test_what_is_meant_for_one_room_goes_to_no_other(self):
        cluster = self.cluster(f=0)
        self.send(cluster, "ops", "hello")
        # Too many rooms for one more.
        lines = [f"/join r{n}" for n in range(31)] + ["/next", "/msg bob the password"]
        code, _, err = run("paxoschat", "--config", cluster.config, "--room", "ops", "--name", "ann", text="\n".join(lines) + "\n")
        self.assertIn("32 rooms are joined", err)
        for room in ["ops", *[f"r{n}" for n in range(31)]]:
            self.assertNotIn("the password", [m["text"] for m in cluster.history(room)])
        # Typed ahead for a room that is not made after all.
        ann = self.chat(cluster)
        self.wait_plain(ann, "eve: hello")
        ann.key("/join opss\rfor opss alone\r")
        self.wait_plain(ann, "make room opss? [y/N]")
        ann.key("n\r")
        self.wait_plain(ann, "ops> for opss alone")
        ann.key("\x15for ops\r")  # the whole line away
        self.wait_plain(ann, "ann: for ops")
        self.assertEqual([m["text"] for m in cluster.history("ops")], ["hello", "for ops"])
        ann.key("/join opss\rnever said")
        ann.key(CTRL_D)
        ann.key(CTRL_C)
        ann.end()
        self.assertEqual([m["text"] for m in cluster.history("ops")], ["hello", "for ops"])

    def test_the_first_room_is_folded_like_any_other(self):
        cluster = self.cluster(f=0)
        self.send(cluster, "ops", "hello")
        ann = self.chat(cluster, room="#Ops")
        self.wait_plain(ann, "eve: hello")

    def test_keys_and_completion(self):
        cluster = self.cluster(f=0)
        self.send(cluster, "deploys", "x")
        self.send(cluster, "ops", "hello", name="alexandra")
        ann = self.chat(cluster)
        self.wait_plain(ann, "alexandra: hello")
        ann.key("/jo\t")
        self.wait_plain(ann, "ops> /join ")
        ann.key("dep\t")
        wait_for("the room is known", lambda: "/join deploys" in plain(ann.read()) or ann.key("\t"))
        ann.key("\r")
        self.wait_plain(ann, "now in deploys")
        ann.key("\x1b1")
        self.wait_plain(ann, "now in ops")
        ann.key("alex\t")
        self.wait_plain(ann, "alexandra: ")
        ann.key("look\r")
        self.wait_plain(ann, "ann: alexandra: look")
        ann.key(CTRL_R + "alex")
        self.wait_plain(ann, 'search "alex": alexandra: look')
        ann.key("\r again\r")
        self.wait_plain(ann, "ann: alexandra: look again")
        ann.seen = ""
        ann.key(CTRL_L)
        ann.wait_text("\x1b[H\x1b[2J")
        ann.key("/jion x\r")
        self.wait_plain(ann, "there is no command /jion; did you mean /join?")
        self.assertEqual([m["text"] for m in cluster.history("ops")], ["hello", "alexandra: look", "alexandra: look again"])

    def test_without_colour_nothing_is_coloured(self):
        cluster = self.cluster(f=0)
        self.send(cluster, "ops", "ann: hello")
        ann = self.chat(cluster, env={"NO_COLOR": "1"})
        ann.wait_text("eve: ann: hello")
        ann.key("/me waves\r")
        ann.wait_text("* ann waves")
        self.assertNotRegex(ann.read(), r"\x1b\[[0-9;]*m")

    def test_ctrl_z_stops_and_fg_goes_on(self):
        cluster = self.cluster(f=0)
        self.send(cluster, "ops", "hello")
        # A shell that gives its job the terminal, as people's do: a process alone in its session can't be stopped by keys.
        shell = cluster.folder / "shell"
        shell.write_text("#!/bin/bash\nset -m\n\"$@\"\nstty -a | grep -o -- '-\\?icanon'\necho stopped\nread -r\nfg >/dev/null\n")
        ann = OnTerminal("/bin/bash", shell, BIN / "paxoschat", "--config", cluster.config, "--room", "ops", "--name", "ann",
                         env={"XDG_STATE_HOME": str(cluster.folder / "state")})
        self.addCleanup(ann.close)
        self.wait_plain(ann, "eve: hello")
        ann.key("half a line")
        self.wait_plain(ann, "half a line")
        ann.key("\x1a")
        self.wait_plain(ann, "stopped")
        self.assertNotIn("-icanon", ann.read(), "the shell has its terminal as it was")
        self.send(cluster, "ops", "meanwhile")
        ann.key("\r")
        self.wait_plain(ann, "eve: meanwhile")
        ann.key(", the rest\r")
        self.wait_plain(ann, "ann: half a line, the rest")
        ann.key(CTRL_D)
        self.assertEqual(ann.end(), 0)


if __name__ == "__main__":
    unittest.main()
