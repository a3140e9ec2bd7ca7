"""Our programs on a pseudo terminal: keys in, what a person sees out."""
import codecs
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time

from harness import BIN, DEADLINE, die_with_parent, wait_for


class OnTerminal:
    """A program on a pseudo terminal of a real size, which takes what is written at all times, as terminals do: a program that
    writes more than some 26 KB to one that does not stands still."""

    def __init__(self, *words, rows=24, columns=80, env=None):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.lock = threading.Lock()
        self.text = ""
        self.process = subprocess.Popen([str(BIN / words[0]), *map(str, words[1:])], stdin=self.slave, stdout=self.slave,
                                        stderr=self.slave, preexec_fn=self._as_owner,
                                        env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})})

        self.reader = threading.Thread(target=self._read_all, daemon=True)
        self.reader.start()

    @property
    def seen(self):
        with self.lock:
            return self.text

    @seen.setter
    def seen(self, text):
        with self.lock:
            self.text = text

    def _read_all(self):
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            with self.lock:
                self.text += decode(data)

    def _as_owner(self):
        """The terminal is the child's own: its kernel sends SIGWINCH there."""
        die_with_parent()
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def resize(self, rows, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        """All that was shown until nothing more came for a moment."""
        seen = None
        while seen != self.seen:
            seen = self.seen
            time.sleep(0.02)
        return seen

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

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def hang_up(self):
        """The terminal's window is closed: its kernel sends SIGHUP."""
        self.process.send_signal(signal.SIGHUP)
        return self.process.wait(timeout=DEADLINE)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)  # the last one: the reader comes to the end
        self.reader.join(DEADLINE)
        os.close(self.master)
