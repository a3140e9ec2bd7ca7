"""paxoschat without a verb, on a terminal: typing, pasting, resizing, others' control characters, dying leaders, lost quorums."""
import re
import termios
import time
import unittest

from harness import ClusterTest, wait_for
from on_terminal import OnTerminal

CTRL_C, CTRL_D = "\x03", "\x04"


class Interactive(ClusterTest):
    def chat(self, cluster, *words, **size):
        terminal = OnTerminal("paxoschat", "--config", cluster.config, "--room", "ops", "--name", "ann", *words,
                              env={"XDG_STATE_HOME": str(cluster.folder / "state")}, **size)
        self.addCleanup(terminal.close)
        terminal.wait_text("ops> ")
        return terminal

    def chat_without_a_quorum(self):
        """A cluster whose room has a message of eve's, and a chat that began when only replica 2 was left."""
        cluster = self.cluster(f=1)
        self.assertEqual(cluster.chat("send", "--room", "ops", "--name", "eve", "said before")[0], 0)
        cluster.kill(0)
        cluster.kill(1)
        person = self.chat(cluster)
        person.wait_text("cannot read room ops yet")
        return cluster, person

    def given_back(self, terminal):
        self.assertEqual(termios.tcgetattr(terminal.slave), terminal.before, "the terminal is as it was")

    def test_wide_and_multibyte_characters_are_typed_edited_and_sent(self):
        cluster = self.cluster(f=1)
        person = self.chat(cluster)
        person.key("世界 grüße 👋x\x7f\r")
        person.wait_text("ann\x1b[0m: 世界 grüße 👋\r\n")
        person.key("äö\x1b[D\x7fü\r")  # left, then backspace takes the whole ä
        person.wait_text(": üö\r\n")
        self.assertEqual([m["text"] for m in cluster.history("ops")], ["世界 grüße 👋", "üö"])
        person.key(CTRL_D)
        self.assertEqual(person.end(), 0)
        self.given_back(person)

    def test_control_characters_of_others_never_reach_the_terminal_raw(self):
        cluster = self.cluster(f=1)
        person = self.chat(cluster)
        evil = "evil \x1b[2J\x1b]0;title\x07 \u202e \x9b31m\r\tend"
        self.assertEqual(cluster.chat("send", "--room", "ops", "--name", "eve", "-", text=evil + "\n")[0], 0)
        person.wait_text("end")
        seen = person.read()
        self.assertIn(r"evil \x1b[2J\x1b]0;title\x07 \u202e \x9b31m\x0d\tend", seen)
        for raw in ("\x1b[2J", "\x1b]", "\x07", "\u202e", "\x9b", "\t"):
            self.assertNotIn(raw, seen)
        person.key(CTRL_C)
        self.assertEqual(person.end(), 0)
        self.given_back(person)

    def test_a_long_line_scrolls_and_a_resize_draws_it_anew(self):
        cluster = self.cluster(f=0)
        person = self.chat(cluster, columns=100)
        line = " ".join(f"word{n}" for n in range(13))  # 88 columns with the blanks
        person.key(line)
        person.wait_text("word12")
        self.assertIn("ops> " + line, person.read(), "it fits")
        person.seen = ""
        person.resize(24, 40)
        # What was 95 columns wide fills three rows of 40: two above the cursor's are taken away too.
        person.wait_text("\x1b[2A\r\x1b[J")
        person.wait_text("word12\r")
        drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", person.read()).split("\r")
        self.assertTrue(all(len(part) < 40 for part in drawn), drawn)
        person.key(" end\r")
        person.wait_text(line + " end")
        self.assertEqual(cluster.history("ops")[0]["text"], line + " end")

    def test_a_paste_of_many_lines_without_a_quorum_stands_exactly_once_and_in_order(self):
        cluster = self.cluster(f=1)
        person = self.chat(cluster)
        person.key("before\r")
        person.wait_text(": before")
        cluster.kill(0)
        cluster.kill(1)
        lines = [f"pasted line {n}" for n in range(400)]  # more than may be under way at once
        for line in lines:
            person.key(line + "\r")
        person.wait_text("400 messages are queued: no quorum")
        cluster.start(0)
        wait_for("all are delivered", lambda: len(cluster.history("ops", "--local")) == 401)
        person.wait_text("the quorum is back: 400 messages delivered")
        self.assertEqual([m["text"] for m in cluster.history("ops")], ["before", *lines])
        person.key("after\r")
        person.wait_text(": after")
        person.key(CTRL_D)
        self.assertEqual(person.end(), 0)
        self.assertNotIn("not sent", person.seen)

    def test_an_escape_by_itself_swallows_no_key(self):
        cluster = self.cluster(f=0)
        person = self.chat(cluster)
        person.key("ab")
        person.wait_text("ops> ab")
        person.seen = ""
        person.key("\x1b")
        # Drawn once when it comes, and once more when nothing came behind it for a while.
        wait_for("the escape is a key by itself", lambda: person.read().count("ops> ab") >= 2)
        person.key("c\r")
        person.wait_text(": abc")
        person.key("de\x1b[Df\r")  # what comes at once still belongs together
        person.wait_text(": dfe")

    def test_leaving_without_a_quorum_says_what_it_waits_for(self):
        _, person = self.chat_without_a_quorum()
        person.key("late\r")
        person.wait_text("late")
        person.key("/quit\r")
        person.wait_text("1 message is not delivered yet: waiting for up to 3 s")
        self.assertEqual(person.end(), 3)

    def test_a_room_that_can_not_be_read_yet_is_told_once_and_shown_when_it_can(self):
        cluster, person = self.chat_without_a_quorum()
        person.key("typed meanwhile\r")
        person.wait_text("1 message is queued")  # seconds later: it has tried again
        cluster.start(0)
        person.wait_text("room ops can be read again")
        person.wait_text("eve\x1b[0m: said before")
        person.wait_text(": typed meanwhile")
        self.assertEqual(person.read().count("cannot read room"), 1)

    def test_a_room_is_read_again_with_a_quorum_also_when_one_replica_stays_dead(self):
        cluster, person = self.chat_without_a_quorum()
        # Long enough for the chat to have asked all of them with patience, so that the dead one may take all of a page's time.
        start = time.monotonic()
        wait_for("some rounds over all replicas", lambda: time.monotonic() - start > 14)
        cluster.start(0)
        person.wait_text("room ops can be read again")
        person.wait_text("eve\x1b[0m: said before")
        self.assertEqual(cluster.chat("send", "--room", "ops", "--name", "bob", "after")[0], 0)
        person.wait_text(": after")

    def test_the_leader_dies_while_somebody_types(self):
        cluster = self.cluster(f=1)
        person = self.chat(cluster)
        person.key("typed while ")
        cluster.kill(cluster.leader())
        person.key("the leader dies\r")
        person.wait_text(": typed while the leader dies")
        self.assertEqual([m["text"] for m in cluster.history("ops")], ["typed while the leader dies"])

    def test_commands_say_what_they_did_or_what_is_wrong(self):
        cluster = self.cluster(f=0)
        person = self.chat(cluster)
        for typed, said in (("/help", "/join ROOM"), ("/help", "Ctrl-C"), ("/nonsense", "there is no command /nonsense"),
                            ("/name", "you are ann; /name NAME changes that"), ("/name bob", "you are bob"),
                            ("/join", "the room's name is empty"), ("/history 0", "N from 1 to 500"), ("/history", "0 messages of room ops"),
                            ("//slash", ": /slash"), ("/history", "1 message of room ops"), ("/join other", "make room other? [y/N] "), ("y", "other> ")):
            person.seen = ""
            person.key(typed + "\r")
            person.wait_text(said)
        person.key("/quit\r")
        self.assertEqual(person.end(), 0)
        self.given_back(person)


if __name__ == "__main__":
    unittest.main()
