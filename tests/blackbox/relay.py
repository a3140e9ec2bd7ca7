"""A network between programs on one machine: datagrams go through sockets of this process, which delays, repeats, reorders, loses
or swallows them, or gives a client another port. One thread; every link has a generator of its own."""
import heapq
import random
import select
import socket
import threading
import time


class Relay:
    def __init__(self, seed=1):
        self.random = random.Random(seed)
        self.delay = 0.0      # one way, seconds
        self.jitter = 0.0     # up to so much more: what was sent later may come earlier
        self.repeated = 0.0   # share that comes twice
        self.lost = 0.0
        self.carried = 0
        self.ways = {}        # socket -> (socket that it leaves by, address it goes to)
        self.due = []
        self.count = 0
        self.lock = threading.Lock()
        self.stopping = False
        self.wake_read, self.wake_write = socket.socketpair()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    @staticmethod
    def socket():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            s.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
        s.setblocking(False)
        s.bind(("127.0.0.1", 0))
        return s

    def link(self, a, b):
        """Between two programs that listen on the ports a and b: the port that a knows b by, and the one that b knows a by."""
        at_a, at_b = self.socket(), self.socket()
        with self.lock:
            self.ways[at_a] = (at_b, ("127.0.0.1", b))
            self.ways[at_b] = (at_a, ("127.0.0.1", a))
        self.wake()
        return at_a.getsockname()[1], at_b.getsockname()[1]

    def front(self, port):
        """For clients, whose ports come as they come: a port in front of that one. Each client gets a socket of its own behind it."""
        front = self.socket()
        with self.lock:
            self.ways[front] = Clients(("127.0.0.1", port))
        self.wake()
        return front.getsockname()[1]

    def other_ports(self):
        """As NAT that forgot: from now on every client comes from another port, and nothing gets to it by the old one."""
        with self.lock:
            for front in [w for w in self.ways.values() if isinstance(w, Clients)]:
                for behind in front.by_client.values():
                    del self.ways[behind]
                    behind.close()
                front.by_client.clear()
        self.wake()

    def wake(self):
        self.wake_write.send(b"x")

    def run(self):
        while not self.stopping:
            now = time.monotonic()
            wait = max(0.0, min(0.5, self.due[0][0] - now)) if self.due else 0.5
            with self.lock:
                listening = list(self.ways)
            try:
                ready, _, _ = select.select([self.wake_read, *listening], [], [], wait)
            except (OSError, ValueError):
                continue  # closed meanwhile
            with self.lock:
                for s in ready:
                    if s is self.wake_read:
                        s.recv(4096)
                    elif s in self.ways:
                        self.take(s)
                while self.due and self.due[0][0] <= time.monotonic():
                    _, _, out, to, data = heapq.heappop(self.due)
                    try:
                        out.sendto(data, to)
                        self.carried += 1
                    except OSError:
                        pass  # lost, as datagrams are

    def take(self, s):
        for _ in range(64):
            try:
                data, sender = s.recvfrom(65535)
            except OSError:
                return
            way = self.ways[s]
            if isinstance(way, Clients):
                behind = way.by_client.get(sender)
                if behind is None:
                    behind = way.by_client[sender] = self.socket()
                    self.ways[behind] = (s, sender)
                way = (behind, way.to)
            for _ in range(2 if self.random.random() < self.repeated else 1):
                if self.random.random() < self.lost:
                    continue
                self.count += 1
                heapq.heappush(self.due, (time.monotonic() + self.delay + self.random.random() * self.jitter, self.count, *way, data))

    def close(self):
        self.stopping = True
        self.wake()
        self.thread.join()
        for s in self.ways:
            s.close()
        self.wake_read.close()
        self.wake_write.close()


class Clients:
    def __init__(self, to):
        self.to = to
        self.by_client = {}
