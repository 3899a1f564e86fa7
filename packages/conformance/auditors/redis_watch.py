"""Counts what nobody at the server counts, by listening with MONITOR: requests by kind, settlements that touched nothing,
deliveries handed out again. It sees only what happens while it listens.
"""

import hashlib
import re
import socket
import ssl
import threading
import time
from urllib.parse import unquote, urlsplit

OWN = re.compile(rb'"\{([^"{}]+)\}:own:([^"]+)"')
SCRIPT = re.compile(rb'"(evalsha|eval)" "([^"]*)"', re.IGNORECASE)
XACK = re.compile(rb'"xack" "\{(.+?)\}:(\d+)" "([^"]+)"(.*)', re.IGNORECASE)
HISTORY = re.compile(rb'"xreadgroup" "group" "([^"]+)".*"streams" "\{(.+)\}:(\d+)" "([^"]+)"', re.IGNORECASE)
MARK = "auditor-mark-"


class Watch:
    def __init__(self, url, ask, scripts):
        self.url, self.ask, self.scripts = urlsplit(url), ask, scripts
        self.opened = 0
        self.closed = False
        self.lock = threading.Condition()
        self.marks, self.made = set(), 0
        self.counts, self.touched_nothing, self.acked = {}, {}, {}
        self.deliveries, self.missed = {}, False
        self.running = None  # the script whose commands come now
        self.touched = 0  # how much it settled
        self.link = None  # for questions of this thread
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()
        self.catch_up()

    def connect(self):
        plain = socket.create_connection((self.url.hostname, self.url.port or 6379), timeout=5)
        if self.url.scheme == "rediss":
            plain = ssl._create_unverified_context().wrap_socket(plain)
        plain.settimeout(None)
        self.opened += 1
        words = []
        if self.url.password is not None:
            words.append([b"AUTH", unquote(self.url.username or "default").encode(), unquote(self.url.password).encode()])
        words += [[b"CLIENT", b"SETNAME", b"auditor"], [b"MONITOR"]]
        for command in words:
            plain.sendall(b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in command))
        return plain

    def listen(self):
        while not self.closed:
            try:
                self.socket = self.connect()
                rest = b""
                while True:
                    chunk = self.socket.recv(1 << 20)
                    if chunk == b"":
                        break
                    lines = (rest + chunk).split(b"\r\n")
                    rest = lines.pop()
                    self.take(lines)
            except OSError:
                pass
            self.missed = True
            time.sleep(0.05)

    def take(self, lines):
        history = set()
        with self.lock:
            for line in lines:
                head = line[:600]
                if b" lua] " in head[:60]:
                    self.from_script(line, head, history)
                    continue
                self.ended()
                script = SCRIPT.search(head)
                if script is not None:
                    self.started(script, line)
                elif MARK.encode() in head:
                    self.marks.add(head.rsplit(b'"', 2)[1].decode())
                    self.lock.notify_all()
        for topic, partition, group in history:
            self.look(topic, partition, group)

    def started(self, script, line):
        word, text = script.group(1).lower(), script.group(2)
        sha = text.decode() if word == b"evalsha" else hashlib.sha1(unescaped(text)).hexdigest()
        operation = self.scripts.get(sha, "other")
        self.counts[operation] = self.counts.get(operation, 0) + 1
        own = OWN.search(line[:1500])  # keys come before values
        self.running = (operation, own.groups() if own else None)
        self.touched = 0

    def ended(self):
        running, self.running = self.running, None
        if running is not None and running[0] == "settle" and running[1] is not None and self.touched == 0:
            topic, group = (each.decode() for each in running[1])
            self.touched_nothing[topic, group] = self.touched_nothing.get((topic, group), 0) + 1

    def from_script(self, line, head, history):
        low = head.lower()
        if b'"xack"' in low:
            found = XACK.search(line)
            if found is not None:
                topic, partition, group = (each.decode() for each in found.groups()[:3])
                acked = self.acked.setdefault((topic, partition, group), set())
                self.touched += 1
                for entry in re.findall(rb'"([^"]+)"', found.group(4)):
                    if entry in acked:
                        self.touched_nothing[topic, group] = self.touched_nothing.get((topic, group), 0) + 1
                    acked.add(entry)
        elif b'"zrem"' in low or b'"hdel"' in low:
            self.touched += 1  # a settled retry
        elif b'"xreadgroup"' in low:
            found = HISTORY.search(line)
            if found is not None and found.group(4) != b">":
                history.add((found.group(2).decode(), found.group(3).decode(), found.group(1).decode()))

    def connections(self):
        """How many connections it made."""
        return self.opened + (self.link.opened if self.link is not None else 0)

    def look(self, topic, partition, group):
        """After a read of what is pending already: how often each of it was handed out by now."""
        from redis import RedisError

        try:
            if self.link is None:
                self.link = type(self.ask)(self.url.geturl())
            rows = self.link("XPENDING", f"{{{topic}}}:{partition}", group, "-", "+", "10000")
        except (RedisError, OSError):
            return
        with self.lock:
            for entry, _owner, _idle, times in rows:
                key = (topic, group, partition, entry)
                self.deliveries[key] = max(self.deliveries.get(key, 1), times)

    # Answers

    def catch_up(self):
        """Returns when everything that the server did until now was heard."""
        self.made += 1
        mark = f"{MARK}{id(self)}-{self.made}"
        deadline = time.monotonic() + 10
        while True:
            self.ask("ECHO", mark)
            with self.lock:
                if self.lock.wait_for(lambda: mark in self.marks, timeout=0.5):
                    self.marks.clear()
                    self.ended()
                    return
            if time.monotonic() > deadline:
                raise OSError("the server's MONITOR says nothing")

    def stale(self, topic, group):
        with self.lock:
            return self.touched_nothing.get((topic, group), 0)

    def repeated(self, topic, group):
        with self.lock:
            return sum(times - 1 for key, times in self.deliveries.items() if key[:2] == (topic, group))

    def requests(self):
        with self.lock:
            return {operation: count for operation, count in self.counts.items() if operation != "other"}

    def close(self):
        self.closed = True
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except (AttributeError, OSError):
            pass
        if self.link is not None:
            self.link.close()


def unescaped(text):
    """The bytes of a text as MONITOR shows it."""
    return text.decode("unicode_escape").encode("latin-1")
