"""Our programs on a pseudo terminal: keys in, what a person sees out."""
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

from harness import BIN, DEADLINE, die_with_parent, wait_for


class OnTerminal:
    """A program on a pseudo terminal of a real size."""

    def __init__(self, *words, rows=24, columns=80):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.seen = ""
        self.process = subprocess.Popen([str(BIN / words[0]), *map(str, words[1:])], stdin=self.slave, stdout=self.slave,
                                        stderr=self.slave, preexec_fn=self._as_owner,
                                        env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"})

    def _as_owner(self):
        """The terminal is the child's own: its kernel sends SIGWINCH there."""
        die_with_parent()
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        while select.select([self.master], [], [], 0.02)[0]:
            self.seen += os.read(self.master, 65536).decode(errors="replace")
        return self.seen

    def wait_text(self, text):
        wait_for(f"the screen shows {text!r}", lambda: text in self.read())

    def key(self, key):
        os.write(self.master, key.encode())

    def end(self):
        end = time.monotonic() + DEADLINE
        while self.process.poll() is None and time.monotonic() < end:
            self.read()
        self.read()
        return self.process.wait(timeout=1)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)
