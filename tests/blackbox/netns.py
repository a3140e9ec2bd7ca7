"""Replicas in network namespaces of their own on one switch; paxosctl and paxoschat run on the switch, or beside it. Needs root
and `ip`; `reason` says what is missing."""
import os
import re
import shutil
import subprocess

import harness


def reason(*tools):
    """Why namespaces, or these tools, can't be had here; None: they can."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    for tool in ("ip", *tools):
        if shutil.which(tool) is None:
            return f"needs {tool}"
    name = f"paxos{os.getpid()}p"
    probe = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if probe.returncode != 0:
        return f"no network namespaces here: {probe.stderr.strip()}"
    tried = [subprocess.run(["ip", "-n", name, "link", "add", "b0", "type", "bridge"], capture_output=True, text=True)]
    if "nft" in tools:
        tried.append(subprocess.run(["ip", "netns", "exec", name, "nft", "add", "table", "inet", "t"], capture_output=True,
                                    text=True))
    subprocess.run(["ip", "netns", "del", name], check=True)
    for done in tried:
        if done.returncode != 0:
            return f"no bridges or nftables here: {done.stderr.strip()}"
    return None


class SeparateMachines(harness.Cluster):
    """2f+1 replicas, each in a namespace with its own address on one switch. `mtu` is that of every link, as where a tunnel is
    the only way: the kernel knows it. `settings` are lines of cluster.yaml that are added, or put in the place of those there."""
    count = 0

    def __init__(self, f, mtu=1500, v6=False, settings=None, start=True, segments=True):
        super().__init__(f=f, start=False)
        SeparateMachines.count += 1
        self.v6 = v6
        self.name = f"paxos{os.getpid()}n{SeparateMachines.count}"
        hosts = [word for replica in range(self.replicas) for word in ("--host", self.address(replica))]
        code, _, err = harness.run("paxosctl", "config", "generate", "-f", f, "-o", self.config, "--force", *hosts)
        assert code == 0, err
        self.set(**(settings or {}))
        self.ip("netns", "add", self.switch())
        self.ip("-n", self.switch(), "link", "add", "b0", "type", "bridge")
        for replica in range(self.replicas):
            space = self.space(replica)
            self.ip("netns", "add", space)
            self.ip("-n", space, "link", "add", "e0", "type", "veth", "peer", "name", f"v{replica}", "netns", self.switch())
            self.ip("-n", self.switch(), "link", "set", f"v{replica}", "mtu", mtu, "master", "b0", "up")
            self.ip("-n", space, "link", "set", "e0", "mtu", mtu)
            if not segments:  # a device that cuts nothing: the kernel does, before the packets get there
                self.ip("-n", space, "link", "set", "e0", "gso_max_segs", 1)
            self.settle(space, "e0", replica + 1)
        self.ip("-n", self.switch(), "link", "set", "b0", "mtu", mtu)
        if not segments:
            self.ip("-n", self.switch(), "link", "set", "b0", "gso_max_segs", 1)
        self.settle(self.switch(), "b0", 100)
        if start:
            for replica in range(self.replicas):
                self.start(replica)
            self.wait_healthy()

    def set(self, **settings):
        text = self.config.read_text()
        for key, value in settings.items():
            text = re.sub(rf"(?m)^{key}:.*\n", "", text) + f"{key}: {value}\n"
        self.config.write_text(text)

    def settle(self, space, device, number):
        prefix = "fd77::" if self.v6 else "10.77.0."
        self.ip("-n", space, "addr", "add", f"{prefix}{number}/{64 if self.v6 else 24}", "dev", device,
                *(["nodad"] if self.v6 else []))
        for each in ("lo", device):
            self.ip("-n", space, "link", "set", each, "up")

    @staticmethod
    def ip(*words):
        done = subprocess.run(["ip", *map(str, words)], capture_output=True, text=True)
        assert done.returncode == 0, f"ip {' '.join(map(str, words))}: {done.stderr}"

    def switch(self):
        return f"{self.name}s"

    def space(self, replica):
        return f"{self.name}r{replica}"

    def address(self, replica):
        return f"fd77::{replica + 1}" if self.v6 else f"10.77.0.{replica + 1}"

    def start(self, replica):
        log = open(self.folder / f"replica{replica}.log", "ab")
        self.processes[replica] = subprocess.Popen(
            ["ip", "netns", "exec", self.space(replica), str(harness.BIN / "paxosd"), "--config", str(self.config), "--id",
             str(replica)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=harness.die_with_parent)
        log.close()

    def ctl(self, verb, *arguments, **options):
        return self.on_switch("paxosctl", verb, "--config", self.config, *arguments, **options)

    def chat(self, verb, *arguments, **options):
        return self.on_switch("paxoschat", verb, "--config", self.config, *arguments, **options)

    def on_switch(self, program, *arguments, text="", timeout=120, **_):
        done = subprocess.run(["ip", "netns", "exec", self.switch(), str(harness.BIN / program), *map(str, arguments)],
                              input=text.encode(), capture_output=True, timeout=timeout,
                              preexec_fn=harness.die_with_parent)
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def rules(self, replica, body):
        """The chains of this replica's packet filter from now on; empty: none."""
        text = "table inet cut\ndelete table inet cut\n" + (f"table inet cut {{\n{body}\n}}\n" if body else "")
        done = subprocess.run(["ip", "netns", "exec", self.space(replica), "nft", "-f", "-"], input=text, text=True,
                              capture_output=True)
        assert done.returncode == 0, done.stderr

    def swallow_above(self, size):
        """From now on no replica gets an IP packet of more than `size` bytes, and nobody is told; None: all of them again."""
        for replica in range(self.replicas):
            self.rules(replica, size and f" chain big {{ type filter hook prerouting priority -450; meta length > {size} drop; }}")

    def close(self):
        super().close()
        for space in [self.switch(), *map(self.space, range(self.replicas))]:
            subprocess.run(["ip", "netns", "del", space], capture_output=True)
