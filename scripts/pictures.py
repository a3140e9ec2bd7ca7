#!/usr/bin/env python3
"""Draws README's pictures from a real run: scripts/pictures.py [leader-dies] [top] [--bin FOLDER]      default: both, build/bin

leader-dies: two people chat, a bot writes without a pause, and the leader is killed. top: what `paxosctl top` shows of such a
cluster under load, a few seconds later. Writes docs/pictures/NAME.svg: text, for light and dark screens. What is drawn is what the programs
printed, and when; a busy machine makes another picture than a quiet one."""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import unicodedata
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/blackbox"))

COLUMN, LINE, MARGIN, TITLE = 7.8, 18, 14, 26  # of the drawing, in pixels
ELECTION_TIMEOUT = 0.25  # as `paxosctl config generate` writes it


def style():
    """Colours for light and for dark; as plain rules, since many viewers know no CSS variables."""
    def rules(back, bar, text, dim, good, alarm):
        return (f"text {{ fill: {text}; }} .dim {{ fill: {dim}; }} .alarm {{ fill: {alarm}; }} .good {{ fill: {good}; }} "
                f".back {{ fill: {back}; }} .bar {{ fill: {bar}; }} "
                f".mark {{ stroke: {alarm}; }} .axis {{ stroke: {dim}; }} .receipts {{ stroke: {good}; }}")
    return f"""
  text {{ font: 13px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre; }}
  .bold, .alarm {{ font-weight: bold; }} .mark, .axis {{ fill: none; }} .mark {{ stroke-width: 1.5; }}
  {rules("#f6f8fa", "#dfe3e8", "#1f2328", "#6a737d", "#116329", "#b31d28")}
  @media (prefers-color-scheme: dark) {{ {rules("#161b22", "#30363d", "#e6edf3", "#8b949e", "#56d364", "#ff7b72")} }}
"""


LOOKS = {"0": "", "1": "bold", "2": "dim", "1;31": "alarm", "31": "alarm", "32": "good", "33": "alarm"}


class Screen:
    """As much of a terminal as our programs use: what a person sees after all of `text` was written."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.cells = [{}]  # a row: {column: (character, look)}
        self.row = self.column = 0
        self.look = ""

    def write(self, text):
        for escaped, letter, character in re.findall(r"\x1b\[([0-9;?]*)([A-Za-z])|([^\x1b])", text):
            if character:
                self._put(character)
            elif letter == "m":
                self.look = LOOKS[escaped or "0"]
            elif letter == "C":
                self.column += int(escaped or 1)
            elif letter == "A":
                self.row -= int(escaped or 1)
            elif letter == "H":
                self.row = self.column = 0
            elif letter == "K":
                self.cells[self.row] = {c: v for c, v in self.cells[self.row].items() if c < self.column}
            elif letter == "J":
                self.cells[self.row] = {c: v for c, v in self.cells[self.row].items() if c < self.column}
                del self.cells[self.row + 1:]
            elif letter not in "hl":
                raise ValueError(f"an escape sequence that this screen doesn't know: {escaped}{letter}")
        return self

    def _put(self, character):
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row += 1
            if self.row == len(self.cells):
                self.cells.append({})
        elif unicodedata.category(character) != "Cc":
            if self.column == self.columns:
                self._put("\r")
                self._put("\n")
            self.cells[self.row][self.column] = (character, self.look)
            self.column += 1

    def lines(self):
        """Rows of runs (column, text, look), without the empty ones at the end, the last `rows` of them."""
        out = []
        for row in self.cells:
            runs = []
            for column in sorted(row):
                character, look = row[column]
                if runs and runs[-1][2] == look and runs[-1][0] + len(runs[-1][1]) == column:
                    runs[-1][1] += character
                else:
                    runs.append([column, character, look])
            out.append(runs)
        while out and not out[-1]:
            out.pop()
        return out[-self.rows:]


class Drawing:
    def __init__(self, columns, said):
        self.width = columns * COLUMN + 2 * MARGIN
        self.columns, self.said = columns, said
        self.height = 0
        self.parts = []

    def text(self, x, y, words, look="", anchor=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}"' + (f' class="{look}"' if look else "")
                          + (f' text-anchor="{anchor}"' if anchor else "") + f">{escape(words)}</text>")

    def panel(self, title, rows):
        """A window of so many rows; gives the y of its first line."""
        if self.height:
            self.height += 10
        top, height = self.height, TITLE + rows * LINE + MARGIN
        self.parts.append(f'<rect class="back" y="{top}" width="{self.width:.0f}" height="{height}" rx="8"/>')
        self.parts.append(f'<rect class="bar" y="{top}" width="{self.width:.0f}" height="{TITLE - 4}" rx="8"/>')
        self.text(MARGIN, top + 15, title, "dim")
        self.height = top + height
        return top + TITLE + 14

    def terminal(self, title, lines):
        y = self.panel(title, len(lines))
        for runs in lines:
            for column, words, look in runs:
                if column < self.columns and words.strip():
                    words = words[:self.columns - column]
                    # As wide as that many columns in whatever font there is.
                    self.parts.append(f'<text x="{MARGIN + column * COLUMN:.1f}" y="{y}" textLength="{len(words) * COLUMN:.1f}" '
                                      f'lengthAdjust="spacingAndGlyphs"' + (f' class="{look}"' if look else "")
                                      + f' xml:space="preserve">{escape(words)}</text>')
            y += LINE

    def save(self, name):
        path = ROOT / f"docs/pictures/{name}.svg"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width:.0f}" height="{self.height}" '
            f'viewBox="0 0 {self.width:.0f} {self.height}" role="img">\n<title>{escape(self.said)}</title>\n'
            f"<!-- Drawn from a real run by scripts/pictures.py {name}. -->\n<style>{style()}</style>\n" + "\n".join(self.parts) + "\n</svg>\n")
        print(f"wrote {path.relative_to(ROOT)}")


class Bot:
    """Writes without a pause, and notes when each receipt came."""

    def __init__(self, cluster):
        self.receipts = []
        self.process = subprocess.Popen(
            [str(harness.BIN / "paxoschat"), "send", "--config", str(cluster.config), "--room", "metrics", "--name", "bot",
             "--timeout", "60s", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=harness.die_with_parent)
        self.thread = threading.Thread(target=self._write, daemon=True)
        self.stopping = False
        self.thread.start()

    def _write(self):
        while not self.stopping:
            self.process.stdin.write(b"load 0.4\n")
            self.process.stdin.flush()
            if not self.process.stdout.readline():
                return
            self.receipts.append(time.monotonic())

    def stop(self):
        self.stopping = True
        self.thread.join(60)
        self.process.stdin.close()
        self.process.wait(60)


class Shell:
    """What an operator types, and what comes."""

    def __init__(self, cluster, columns, rows):
        self.cluster = cluster
        self.screen = Screen(columns, rows)

    def run(self, program, *words):
        _, out, err = harness.run(program, words[0], "--config", self.cluster.config, *words[1:])
        self.screen.write(f"\x1b[2m$\x1b[0m \x1b[1m{program} {' '.join(words)}\x1b[0m\r\n" + (out + err).replace("\n", "\r\n"))
        return out


def strip(drawing, receipts, died, entered, delivered):
    """Time from left to right: a stroke where the bot got a receipt, the leader's end, ann's message."""
    before, after = 1.0, 2.0
    times = [t for t in receipts if died - before <= t <= died + after]
    gap_from, gap_to = max(t for t in receipts if t <= died), min(t for t in receipts if t > died)
    y = drawing.panel("a bot that writes without a pause: each stroke is a receipt, as time goes by", 6)
    width = drawing.width - 2 * MARGIN

    def x(t):
        return MARGIN + (t - (died - before)) / (before + after) * width
    path, top = [], y + 26
    taken = sorted({int(x(t)) for t in times})
    for pixel in taken:
        path.append(f"M{pixel} {top}v28")
    drawing.parts.append(f'<path class="receipts" d="{"".join(path)}"/>')
    drawing.parts.append(f'<path class="axis" d="M{MARGIN} {top + 34}h{width:.0f}"/>')
    for tenth in range(-10, 21, 5):
        at = x(died + tenth / 10)
        drawing.parts.append(f'<path class="axis" d="M{at:.1f} {top + 34}v4"/>')
        anchor = "start" if tenth == -10 else "end" if tenth == 20 else "middle"
        drawing.text(at, top + 52, f"{tenth / 10:+.1f} s" if tenth else "0", "dim", anchor)
    drawing.parts.append(f'<path class="mark" d="M{x(died):.1f} {top - 12}v46"/>')
    drawing.text(x(died) - 6, top - 8, "the leader dies", "alarm", "end")
    gap = gap_to - gap_from
    drawing.text(x(died) + 8, top - 8, f"{gap * 1000:.0f} ms without a receipt, {gap / ELECTION_TIMEOUT:.1f} election timeouts", "bold")
    drawing.text(MARGIN, top + 72, f"ann's Enter at {entered - died:+.2f} s, her message shown at {delivered - died:+.2f} s; "
                 f"of the bot: {len(receipts):,} receipts, as many messages", "dim")


def leader_dies():
    columns = 100
    cluster = harness.Cluster(f=1)
    people = []
    try:
        for name in ("ann", "bob"):
            person = OnTerminal("paxoschat", "--config", cluster.config, "--room", "ops", "--name", name, rows=14, columns=columns)
            people.append(person)
            person.wait_text("ops> ")
        ann, bob = people

        def says(person, words):
            person.key(words + "\r")
            for one in people:
                one.wait_text(f": {words}")
        says(ann, "disk on db3 is full")
        says(bob, "on it, moving the logs away")
        bot = Bot(cluster)
        shell = Shell(cluster, columns, 20)
        harness.wait_for("the bot writes", lambda: len(bot.receipts) > 50)
        time.sleep(1.5)  # so that there is something to the left of the crash
        leader = cluster.processes[cluster.leader()]
        ended = []
        watch = threading.Thread(target=lambda: (leader.wait(), ended.append(time.monotonic())))
        watch.start()
        killing = threading.Thread(target=shell.run, args=("paxosctl", "kill", "leader"))
        killing.start()
        watch.join(30)
        died = ended[0]
        time.sleep(0.05)
        entered = time.monotonic()
        ann.key("did you lose power as well?\r")
        harness.wait_for("it is delivered", lambda: ": did you lose power as well?" in ann.seen)
        delivered = time.monotonic()
        says(bob, "no, only replica " + str(next(i for i, p in cluster.processes.items() if p is leader)))
        harness.wait_for("two seconds are over", lambda: time.monotonic() > died + 2.1)
        killing.join(60)
        bot.stop()
        if len(cluster.history("metrics")) != len(bot.receipts):
            raise SystemExit("pictures: there are not as many messages as receipts; that is no picture but a bug")
        shell.run("paxosctl", "status")
        shell.run("paxosctl", "verify")
        drawing = Drawing(columns, "Two people chat while the leader is killed: no message is lost, and the chat goes on after an election.")
        drawing.terminal("ann's terminal: paxoschat --name ann --room ops", Screen(columns, 14).write(ann.seen).lines())
        strip(drawing, bot.receipts, died, entered, delivered)
        drawing.terminal("the operator's terminal", shell.screen.lines())
        drawing.save("leader-dies")
    finally:
        for person in people:
            person.close()
        cluster.close()


def top():
    columns = 92
    cluster = harness.Cluster(f=1)
    load = screen = None
    try:
        load = subprocess.Popen([str(harness.BIN / "paxosctl"), "bench", "--config", str(cluster.config), "--clients", "4", "--duration", "120s"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=harness.die_with_parent)
        screen = OnTerminal("paxosctl", "top", "--config", cluster.config, rows=16, columns=columns)
        time.sleep(35)  # the sparks show the last minute
        cluster.kill(cluster.leader())
        screen.wait_text("can lose 0 more")
        time.sleep(8)
        screen.key("q")
        screen.end()
        seen = screen.seen.split("\x1b[?1049l")[0]
        drawing = Drawing(columns, "paxosctl top: three replicas under load; the leader was killed, another one leads.")
        drawing.terminal("paxosctl top, some seconds after the leader was killed under load", Screen(columns, 16).write(seen).lines())
        drawing.save("top")
    finally:
        if screen:
            screen.close()
        if load:
            load.kill()
            load.wait()
        cluster.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", metavar="NAME", help="leader-dies, top")
    parser.add_argument("--bin", default=str(ROOT / "build/bin"), help="the folder of the programs (default: build/bin)")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.pictures if name not in ("leader-dies", "top")]
    if unknown:
        parser.error(f"there is no picture {unknown[0]}: leader-dies, top")
    os.environ["PAXOSD_BIN"] = chosen.bin
    import harness
    from on_terminal import OnTerminal
    for name in chosen.pictures or ["leader-dies", "top"]:
        {"leader-dies": leader_dies, "top": top}[name]()
