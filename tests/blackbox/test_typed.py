"""What a person types into paxoschat is never lost, whatever ends the chat, and a paste is never sent by accident."""
import json
import unittest

from harness import ClusterTest, wait_for
from on_terminal import OnTerminal

CTRL_C, CTRL_D, CTRL_U, ESC, ALT_ENTER = "\x03", "\x04", "\x15", "\x1b", "\x1b\r"
LEFT_AND_RIGHT = "\x1b[D\x1b[C"


class Typed(ClusterTest):
    def chat(self, cluster, *words, room="ops", **options):
        env = {"XDG_STATE_HOME": str(cluster.folder / "state"), **options.pop("env", {})}
        terminal = OnTerminal("paxoschat", "--config", cluster.config, "--room", room, "--name", "ann", *words, env=env, **options)
        self.addCleanup(terminal.close)
        terminal.wait_text(f"{room}> ")
        return terminal

    def texts(self, cluster, room="ops"):
        return [m["text"] for m in cluster.history(room)]

    def without_quorum(self, cluster):
        cluster.kill(0)
        cluster.kill(1)

    def paste(self, terminal, text):
        terminal.key("\x1b[200~" + text.replace("\n", "\r") + "\x1b[201~")

    # --- nothing typed is lost ---

    def left_behind(self, end):
        """A chat that `end` ends while three messages wait and a fourth is being written: the next one delivers the three, once,
        and has the fourth in its input line."""
        cluster = self.cluster(f=1)
        person = self.chat(cluster)
        person.key("before\r")
        person.wait_text(": before")
        self.without_quorum(cluster)
        person.key("one\r")
        person.key("two\r")
        person.key("three\r")
        person.wait_text("waiting: three")
        person.key("half a wo")
        person.wait_text("half a wo")
        # On the disk it is when the next key is asked for, a moment after it is on the screen.
        drafts = lambda: [p.read_text() for p in (cluster.folder / "state").glob("paxoschat/*.draft")]
        wait_for("the draft is kept", lambda: any("half a wo" in text for text in drafts()))
        end(person)
        cluster.start(0)
        cluster.wait_healthy()
        again = self.chat(cluster)
        again.wait_text("3 messages from before go out now")
        again.wait_text("what waited from before is delivered")
        again.wait_text("what you were writing is in the input line")
        again.key("rd\r")
        again.wait_text(": half a word")
        self.assertEqual(self.texts(cluster), ["before", "one", "two", "three", "half a word"])
        again.key("/quit\r")
        self.assertEqual(again.end(), 0)
        third = self.chat(cluster)
        third.wait_text(": half a word")
        third.key(CTRL_D)
        self.assertEqual(third.end(), 0)
        self.assertNotIn("from before", third.seen)
        self.assertNotIn("what you were writing", third.seen)
        self.assertEqual(len(cluster.history("ops")), 5)
        return person

    def test_a_killed_chat_loses_nothing(self):
        self.left_behind(lambda person: person.kill())

    def test_a_closed_terminal_loses_nothing(self):
        self.left_behind(lambda person: person.hang_up())

    def test_leaving_says_what_waits_and_where_and_the_next_chat_delivers_it(self):
        def leave(person):
            person.key(CTRL_C)
            self.assertEqual(person.end(), 3)
        seen = self.left_behind(leave).seen
        for text in ("one", "two", "three"):
            self.assertRegex(seen, rf"(unknown \(sent, no answer\)|waiting \(not sent\)), for ops: {text}")
        self.assertIn("3 messages kept in", seen)
        self.assertIn("what you were writing is kept for the next time", seen)

    def test_what_waits_stays_on_the_screen_until_it_is_delivered(self):
        cluster = self.cluster(f=1)
        person = self.chat(cluster)
        person.key("before\r")
        person.wait_text(": before")
        self.without_quorum(cluster)
        for n in range(7):
            person.key(f"message {n}\r")
        person.wait_text("waiting: message 4")
        person.wait_text("waiting: 2 more")
        person.wait_text("7 messages are queued: no quorum")
        cluster.start(0)
        person.wait_text("the quorum is back: 7 messages delivered")
        person.wait_text("ann\x1b[0m: message 6\r\n")
        person.seen = ""
        person.key("x")
        person.wait_text("ops> x")
        person.key(CTRL_U + "after\r")
        person.wait_text(": after")
        self.assertNotIn("waiting", person.read())

    def test_two_chats_at_once_each_keep_their_own(self):
        cluster = self.cluster(f=1)
        first = self.chat(cluster)
        second = self.chat(cluster)
        second.wait_text("another chat is open here: this one has an outbox of its own")
        for person, text in ((first, "warm up one"), (second, "warm up two")):
            person.key(text + "\r")
            person.wait_text(": " + text)
        self.without_quorum(cluster)
        for person, text in ((first, "from the first"), (second, "from the second")):
            person.key(text + "\r")
            person.wait_text("waiting: " + text)
            person.kill()
        cluster.start(0)
        cluster.wait_healthy()
        again = self.chat(cluster)
        again.wait_text("2 messages from before go out now")
        again.wait_text("what waited from before is delivered")
        self.assertEqual(sorted(self.texts(cluster)), ["from the first", "from the second", "warm up one", "warm up two"])

    def test_without_a_state_folder_it_says_so(self):
        cluster = self.cluster(f=0)
        (cluster.folder / "file").write_text("")
        person = self.chat(cluster, env={"XDG_STATE_HOME": str(cluster.folder / "file")}, columns=160)
        person.wait_text("what you type is kept only as long as this chat is open")
        person.key("hello\r")
        person.wait_text(": hello")

    # --- pastes and line breaks ---

    def test_a_paste_of_lines_asks_first(self):
        cluster = self.cluster(f=0)
        person = self.chat(cluster, columns=120)
        self.paste(person, "rm -rf /\nls\n")
        person.wait_text("2 lines: [o]ne message, [l]ines, [e]dit, Esc drops them ")
        person.key("\r" + LEFT_AND_RIGHT + "x")  # none of these is an answer
        person.key(ESC)
        person.wait_text("nothing of the paste was sent")
        person.seen = ""
        person.key("say: ")
        self.paste(person, "one\n12:00:00 bob: two\nthree")
        person.wait_text("3 lines: ")
        person.key("o")
        person.wait_text("say: one\r\n         12:00:00 bob: two\r\n         three\r\n")
        self.paste(person, "/quit\n\nfour\n")
        person.wait_text("2 lines: ")
        person.key("l")
        person.wait_text(": four")
        self.paste(person, "five\nsix")
        person.key("e")
        person.wait_text("five\\nsix")
        person.key("!\r")
        person.wait_text(": five\r\n         six!\r\n")
        self.paste(person, "a single line\n")
        person.wait_text("ops> a single line")
        person.key(" and" + ALT_ENTER + "more\r")
        person.wait_text(": a single line and\r\n         more\r\n")
        texts = ["say: one\n12:00:00 bob: two\nthree", "/quit", "four", "five\nsix!", "a single line and\nmore"]
        self.assertEqual(self.texts(cluster), texts)
        person.key(CTRL_D)
        self.assertEqual(person.end(), 0)
        self.assertTrue(person.seen.rstrip("\r\n").endswith("\x1b[?2004l"), "the terminal marks no pastes any more")
        # For programs and for people the same.
        code, out, err = cluster.chat("history", "--room", "ops", "--last", "2")
        lines = out.splitlines()
        self.assertEqual((code, [lines[0][8:], lines[1], lines[2][8:], lines[3]]),
                         (0, [" ann: five", " " * 9 + "six!", " ann: a single line and", " " * 9 + "more"]), err)

    def test_a_message_with_line_breaks_is_one_message_everywhere(self):
        cluster = self.cluster(f=0)
        text = "first\nsecond\n\tthird " + "x" * (16 * 1024 - 20)
        code, out, err = cluster.chat("send", "--room", "ops", "--name", "ann", "--json", text)
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(out)["text"], text)
        self.assertEqual(self.texts(cluster), [text])

    def test_a_paste_that_nobody_answered_for_is_there_the_next_time(self):
        cluster = self.cluster(f=0)
        person = self.chat(cluster, columns=120)
        self.paste(person, "one\ntwo")
        person.wait_text("2 lines: ")
        wait_for("it is kept", lambda: any("two" in p.read_text() for p in (cluster.folder / "state").glob("paxoschat/*.draft")))
        person.hang_up()
        again = self.chat(cluster, columns=120)
        again.wait_text("one\\ntwo")
        again.key("\r")
        again.wait_text(": one\r\n         two")
        self.assertEqual(self.texts(cluster), ["one\ntwo"])

    # --- time ---

    def test_a_time_zone_that_nobody_knows_is_said_once(self):
        cluster = self.cluster(f=0)
        self.assertEqual(cluster.chat("send", "--room", "ops", "--name", "ann", "-", text="a\nb\n")[0], 0)
        code, out, err = cluster.chat("history", "--room", "ops", env={"TZ": "Mars/Phobos"})
        self.assertEqual((code, err.count("TZ=Mars/Phobos names no time zone")), (0, 1), err)
        code, _, err = cluster.chat("history", "--room", "ops", env={"TZ": "UTC0"})
        self.assertEqual((code, err), (0, ""))
        code, _, err = cluster.chat("history", "--room", "ops", "--json", env={"TZ": "Mars/Phobos"})
        self.assertEqual((code, err), (0, ""), "programs read milliseconds")


if __name__ == "__main__":
    unittest.main()
