"""Keeps the process of a model from the user's other processes; in a sandbox also from network and disk.

    python -I -S -B sandbox.py SPEC [PROGRAM ARGUMENT...]

runs a program in the sandbox that a JSON file describes, as `enter` takes it; without one it only tries it.
The program is the interpreter of the model: what runs when it starts, as `.pth` files of packages, is inside.

A sandbox is namespaces of its own for users, processes, files, network and shared memory. Its disk has
nothing but the interpreter, the system's libraries and what it is given, for reading alone; its own folders
are all that it can write. Then all capabilities are given up. See namespaces(7), pivot_root(2).
"""

import contextlib
import ctypes
import errno
import importlib.util
import json
import os
import platform
import signal
import socket
import struct
import sys
import sysconfig

_NEWNS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 0x1000, 0x4000, 0x40000
_DETACH, _AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = 2, -100, 0x1000, 0x8000
_PDEATHSIG, _CAPBSET_DROP, _NO_NEW_PRIVS, _CAP_AMBIENT, _CLEAR_ALL = 1, 24, 38, 47, 4
_MOUNT_SETATTR = 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "loongarch64": 41, "ppc64le": 203, "s390x": 217}
_SIOCSIFFLAGS, _UP = 0x8914, 0x1
_LONGEST = 40  # links on the way to one file, as path_resolution(7) has it

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
DEVICES = ("null", "zero", "full", "random", "urandom")
# What libraries look up of the machine; no names of users, hosts or certificates.
FACTS = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "alternatives", "mime.types", "protocols")
FACTS += ("services", "fonts", "java", "OpenCL")
CORES = ("/sys/devices/system/cpu", "/sys/devices/system/node")
# Of an interpreter's folder; not pip.conf, which may hold the password of a package index.
PARTS = ("bin", "lib", "lib32", "lib64", "libexec", "share", "include", "pyvenv.cfg")


HARMLESS = (".gitignore", ".gitattributes", ".gitkeep", ".dvcignore")


def plain(folder):
    """A sandbox that is built on `top` in a folder, and can write to `work`, `home` and `said` there."""
    own = {name: os.path.join(folder, name) for name in ("top", "work")}
    own["said"] = os.path.join(folder, "said", "result.json")
    write = [os.path.join(folder, name) for name in ("work", "home", "said")]
    return {**own, "read": [], "hide": [], "write": write, "network": False}


def interpreter(executable, keep=()):
    """The paths of an interpreter, of its libraries and of what is installed for it.

    Args:
        executable: the one that runs gitreg, or one of a virtual environment of the same Python.
        keep: folders of packages.
    """
    own = os.path.dirname(os.path.dirname(executable))
    mine = (sys.prefix, sys.exec_prefix) if executable == sys.executable else ()
    prefixes = dict.fromkeys((own, *mine, sys.base_prefix, sys.base_exec_prefix))
    paths = [os.path.join(prefix, part) for prefix in prefixes for part in PARTS]
    paths += [executable, os.path.realpath(executable), os.path.dirname(os.path.abspath(__file__))]
    return paths + [path for path in (sysconfig.get_config_var("LIBDIR"), *keep) if path]


def libraries():
    """Folders of libraries that the environment names, but for those that hold more than libraries."""
    named = [os.environ.get(name, "").split(os.pathsep) for name in ("LD_LIBRARY_PATH", "JAVA_HOME")]
    return [path for paths in named for path in paths if os.path.isabs(path) and not is_above_home(path)]


def is_above_home(path):
    """Whether a folder holds the user's home, and with it much that is nobody else's business."""
    return _under(os.path.realpath(os.path.expanduser("~")), os.path.realpath(path).rstrip("/"))


def hidden(folder):
    """What is hidden below a folder, as Git's and DVC's settings are, but for harmless files."""
    found = []
    for place, folders, files in os.walk(folder):
        found += [os.path.join(place, name) for name in folders if name.startswith(".")]
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(place, n) for n in files if n.startswith(".") and n not in HARMLESS]
    return found


class Unavailable(Exception):
    """There can be no sandbox here; the text says what is missing, and then what helps."""


def _libc():
    return ctypes.CDLL(None, use_errno=True)


def _must(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


# A sandbox ------------------------------------------------------------------------------------------


def enter(spec):
    """Go on in a sandbox, as another process; this one waits for it, and ends as it ends.

    Args:
        spec: `top`, an empty folder to build its disk on; `read` and `write`, paths that it has, where they
            are here; `hide`, what it has not of those; `work`, the folder to start in, one of those that it
            may write; `network`, whether it keeps this machine's.

    Raises:
        Unavailable: there can be none here. This may be the process that was to be in it.
    """
    if sys.platform != "linux" or platform.machine() not in _PIVOT_ROOT:
        raise Unavailable("a sandbox needs Linux", "a container or machine with Linux")
    _unshare(0 if spec.get("network") else _NEWNET)
    inside = os.fork()
    if inside:
        _wait_for(inside)
    _must(_libc().prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    try:
        if not spec.get("network"):
            _raise_loopback()
        _build(spec)
        _give_up()
    except OSError as error:
        raise Unavailable(*_explained(error)) from None
    model = os.fork()
    if model:
        _reap(model)


def _unshare(network):
    """Move into new namespaces: as a user without rights, else with root's, where that is allowed.

    Without a namespace of users there are no rights to give up; with one, none of this machine's are left.
    """
    libc, user, group = _libc(), os.geteuid(), os.getegid()
    most = _NEWNS | _NEWIPC | _NEWPID | network
    if libc.unshare(_NEWUSER | most) == 0:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            try:
                with open(f"/proc/self/{name}", "w") as stream:
                    stream.write(text)
            except OSError as error:
                raise Unavailable(*_explained(error)) from None
        return
    refused = ctypes.get_errno()
    if libc.unshare(most) != 0:
        raise Unavailable(*_explained(OSError(refused, f"namespaces: {os.strerror(refused)}")))


def _explained(error):
    """What is missing for a sandbox, and what helps."""
    if error.errno == errno.ENOSYS:
        return f"{error.strerror}: Linux 5.12 or newer is needed", "a newer kernel"
    for file, wrong, helps in (
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("user/max_user_namespaces", "0", "10000"),
    ):
        if _read(f"/proc/sys/{file}") == wrong and (os.geteuid() or "apparmor" not in file):
            name = file.replace("/", ".")
            return (
                f"{error.strerror}; {name} is {wrong}, which allows no namespaces",
                f"sudo sysctl {name}={helps}",
            )
    return (
        f"{error.strerror}: this system, or the container that gitreg runs in, allows none",
        "docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined "
        "--security-opt apparmor=unconfined",
    )


def _read(file):
    try:
        with open(file) as stream:
            return stream.read().strip()
    except OSError:
        return ""


def _wait_for(child):
    """Wait for the first process of the sandbox, and end as it does."""
    _pass_on(child)
    _end_as(os.waitpid(child, 0)[1])


def _reap(model):
    """Be the first process of the sandbox: whose end is everybody's in it."""
    _pass_on(model)
    while True:
        child, status = os.wait()
        if child == model:
            # A signal that this process sent itself would be ignored: it says it as shells do.
            os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def _pass_on(child):
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, frame: os.kill(child, got))


def _end_as(status):
    code = os.waitstatus_to_exitcode(status)
    if code > 128 and code - 128 in signal.valid_signals():
        with contextlib.suppress(OSError):  # of some it cannot be changed
            signal.signal(code - 128, signal.SIG_DFL)
        os.kill(os.getpid(), code - 128)
    os._exit(code)


def _raise_loopback():
    """Let the sandbox speak with itself."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        fcntl.ioctl(one, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _UP))


# Its disk -------------------------------------------------------------------------------------------


def _build(spec):
    """Make the disk of the sandbox, and move onto it."""
    libc, top = _libc(), spec["top"]
    _mount(None, "/", None, _REC | _PRIVATE)
    _mount("tmpfs", top, "tmpfs", _NOSUID | _NODEV, "mode=755,size=16m")
    disk = _Disk(top)
    for name, options in (
        ("tmp", "mode=1777,size=512m"),
        ("dev", "mode=755,size=1m"),
        ("dev/shm", "mode=1777"),
    ):
        os.mkdir(f"{top}/{name}")
        _mount("tmpfs", f"{top}/{name}", "tmpfs", _NOSUID | _NODEV, options)
    for name in DEVICES:
        disk.bind(f"/dev/{name}")  # what is written to a device goes to the device
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"{top}/dev/{name}")
    os.mkdir(f"{top}/proc")
    _mount("proc", f"{top}/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    try:
        with open(f"{top}/proc/sys/user/max_user_namespaces", "w") as stream:
            stream.write("0")  # a namespace within would have all capabilities again, in itself
    except OSError:
        pass  # it is a second lock
    _settle(f"{top}/proc", _RDONLY)
    shown = [*SYSTEM, *CORES, *_facts(), *spec["read"]]
    # The outer ones first: what lies on top of another, or of what is hidden, is what is seen.
    todo = [(path, disk.bind) for path in shown] + [(path, disk.cover) for path in spec["hide"]]
    for path, act in sorted(todo, key=lambda one: os.path.realpath(one[0]).count("/")):
        act(path)
    _name_the_user(top, spec["work"])
    for path in spec["write"]:
        disk.bind(path, write=True)
    for path in disk.covered:
        _settle(top + path, _RDONLY)
    _settle(f"{top}/dev", _RDONLY)
    _settle(top, _RDONLY)
    os.chdir(top)
    _must(libc.syscall(_PIVOT_ROOT[platform.machine()], b".", b"."), "pivot_root")
    _must(libc.umount2(b".", _DETACH), "umount")
    os.chdir(spec["work"])


class _Disk:
    """The disk of a sandbox, on which paths of this machine are shown where they are here."""

    def __init__(self, top):
        self.top, self.shown, self.covered = top, [], []

    def bind(self, path, write=False):
        """Show a file or folder; one that is not there is none there either, unless it is written to."""
        if not write and not os.path.exists(path):
            return
        real = self._reach(os.path.abspath(path))
        if real == "/" or (not write and self._is_shown(real)):
            return  # never all of it
        place = self.top + real
        if not os.path.lexists(place):
            os.mkdir(place, 0o755) if os.path.isdir(real) else os.close(os.open(place, os.O_CREAT, 0o644))
        _mount(real, place, None, _BIND | _REC)
        _settle(place, _NOSUID | (0 if write else _RDONLY), _AT_RECURSIVE)
        self.shown.append(real)

    def cover(self, path):
        """Show an empty file or folder instead of one."""
        real = os.path.realpath(path)
        if not self._is_shown(real) or not os.path.lexists(self.top + real):
            return
        if os.path.isdir(real):
            _mount("tmpfs", self.top + real, "tmpfs", _NOSUID | _NODEV, "mode=755,size=1m")
            self.covered.append(real)
        else:
            _mount("/dev/null", self.top + real, None, _BIND)

    def _is_shown(self, path):
        around = [one for one in (*self.shown, *self.covered) if _under(path, one)]
        return bool(around) and max(around, key=len) not in self.covered

    def _reach(self, path):
        """Make the folders and links that lead to a path, as they are here; where they lead."""
        parts, here = [part for part in path.split("/") if part], ""
        links = 0
        while parts:
            part = parts.pop(0)
            if part == "..":
                here = here.rpartition("/")[0]
                continue
            if part == ".":
                continue
            there = f"{here}/{part}"
            if os.path.islink(there):
                target = os.readlink(there)
                if not os.path.lexists(self.top + there):
                    os.symlink(target, self.top + there)
                links += 1
                if links > _LONGEST:
                    raise OSError(errno.ELOOP, f"{path}: {os.strerror(errno.ELOOP)}")
                here = "" if target.startswith("/") else here
                parts = [part for part in target.split("/") if part] + parts
                continue
            if parts and not os.path.lexists(self.top + there):
                os.mkdir(self.top + there, 0o755)
            here = there
        return here or "/"


def _under(path, folder):
    return path == folder or path.startswith(folder + "/")


def _facts():
    yield from (f"/etc/{name}" for name in FACTS)
    with contextlib.suppress(OSError):
        yield from (f"/etc/{name}" for name in os.listdir("/etc") if name.startswith("java-"))


def _name_the_user(top, home):
    """A name for the user and for this machine, and no other names."""
    user, group = os.geteuid(), os.getegid()
    texts = {
        "passwd": f"model:x:{user}:{group}::{home}:/bin/false\n",
        "group": f"model:x:{group}:\n",
        "hosts": "127.0.0.1 localhost\n::1 localhost\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }
    os.makedirs(f"{top}/etc", exist_ok=True)
    for name, text in texts.items():
        with open(f"{top}/etc/{name}", "w") as stream:
            stream.write(text)


def _mount(source, target, kind, flags, options=""):
    said = [None if text is None else os.fsencode(text) for text in (source, target, kind, options or None)]
    result = _libc().mount(said[0], said[1], said[2], ctypes.c_ulong(flags), said[3])
    _must(result, f"mount {target}")


def _settle(place, flags, below=0):
    """Set flags of a mount, and of those below it; none is ever taken away."""
    attributes = struct.pack("=QQQQ", flags, 0, 0, 0)
    size = ctypes.c_size_t(len(attributes))
    result = _libc().syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(place), below, attributes, size)
    _must(result, f"mount_setattr {place}")


def _give_up():
    """Give up all capabilities, for good, and the keys of the user's session."""
    libc = _libc()
    keyctl = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "loongarch64": 219}.get(platform.machine())
    if keyctl:
        libc.syscall(keyctl, 1, None)  # a new session keyring
    _must(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    for capability in range(64):
        if libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # there are no more
    libc.prctl(_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    header, sets = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    _must(libc.capset(header, sets), "capset")


def _beside(name):
    """A module of this folder."""
    file = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"gitreg_{name}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main():
    """Run a program in a sandbox, or only try it."""
    with open(sys.argv[1]) as stream:
        spec = json.load(stream)
    try:
        enter(spec)
    except Unavailable as error:
        with open(spec["said"], "w") as stream:
            json.dump({"unavailable": error.args}, stream)
        os._exit(1)
    if len(sys.argv) > 2:
        _beside("apart").keep()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.execv(sys.argv[2], sys.argv[2:])
    os._exit(0)


if __name__ == "__main__":
    main()
