"""Builds the packages (scripts/package, lintian included) and tries them in a booted systemd (tests/systemd/node.py), or, where
none can be booted, in a private root without one. PAXOSD_PACKAGES names a folder of packages that are there already."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import node

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# A private root over this machine's: what dpkg does in there ends with it.
PRIVATE_ROOT = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs tmpfs "$1/root/run"
mount -t tmpfs tmpfs "$1/root/tmp"
mkdir -p "$1/root/node"
mount --bind "$2" "$1/root/node"
exec chroot "$1/root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 /node/steps /node
"""


def packages():
    given = os.environ.get("PAXOSD_PACKAGES")
    if given:
        return pathlib.Path(given)
    subprocess.run([ROOT / "scripts/package"], check=True, stdout=subprocess.DEVNULL)
    return ROOT / "build/packages"


def newer(package, folder):
    """The package as its next version would be: another version, another unit file."""
    tree = folder / "tree"
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    control = tree / "DEBIAN/control"
    lines = control.read_text().splitlines()
    control.write_text("\n".join(f"{line}+next" if line.startswith("Version: ") else line for line in lines) + "\n")
    unit = tree / "lib/systemd/system/paxosd@.service"
    if unit.exists():
        unit.write_text(unit.read_text() + "# of the next version\n")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, folder / package.name], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)


@unittest.skipIf(os.geteuid() != 0, "trying packages needs root")
class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="paxosd-packages-"))
        cls.shared.chmod(0o755)
        shutil.copy(HERE / "steps", cls.shared / "steps")
        for folder in ("first", "next"):
            (cls.shared / folder).mkdir()
        found = [p for p in packages().glob("*.deb") if "-dbgsym_" not in p.name]
        assert sorted(p.name.split("_")[0] for p in found) == ["paxos-chat", "paxosd"], found
        for package in found:
            shutil.copy(package, cls.shared / "first")
            newer(package, cls.shared / "next")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shared, ignore_errors=True)

    def tell(self, done):
        for line in done.stdout.splitlines():
            print(f"# {line}", flush=True)
        self.assertEqual(done.returncode, 0, done.stdout[-4000:] + done.stderr[-4000:])

    def test_links_of_the_documents_lead_somewhere(self):
        found = next((self.shared / "first").glob("paxosd_*.deb"))
        with tempfile.TemporaryDirectory(prefix="paxosd-documents-") as tree:
            subprocess.run(["dpkg-deb", "-x", found, tree], check=True)
            folder = pathlib.Path(tree) / "usr/share/doc/paxosd"
            documents = list(folder.rglob("*.md"))
            links = [(d, link) for d in documents for link in re.findall(r"\[[^\]]*\]\(([^)\s#]+)", d.read_text()) if "://" not in link]
            self.assertGreater(len(links), 20)
            self.assertIn(folder / "README.md", documents)
            self.assertEqual([f"{d.name}: {link}" for d, link in links if not (d.parent / link).exists()], [])

    def test_in_a_booted_systemd(self):
        if reason := node.why_not():
            self.skipTest(reason)
        with node.Node("package", self.shared) as machine:
            self.tell(machine.run("/node/steps", "/node", check=False, timeout=600))

    def test_in_a_root_without_systemd(self):
        with tempfile.TemporaryDirectory(prefix="paxosd-root-") as work:
            self.tell(subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", PRIVATE_ROOT, "root", work, str(self.shared)],
                                     capture_output=True, text=True, timeout=600))
