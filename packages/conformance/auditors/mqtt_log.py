"""Counts from Mosquitto's log what nobody at the server counts: deliveries, repeats, acknowledgements, requests by kind."""

import re

SENT = re.compile(r"Sending PUBLISH to (\S+) \(d(\d), q(\d), r\d, m(\d+), '([^']*)'")
PUBACK = re.compile(r"Received PUBACK from (\S+) \(Mid: (\d+)")
CONNECTED = re.compile(r"New client connected from \S+ as (\S+) ")
CLOSED = re.compile(r"(?:Client (\S+) (?:disconnected|closed its connection|has exceeded timeout|already connected)|Socket error on client (\S+),)")
PUBLISH = re.compile(r"Received PUBLISH from (\S+) \(d\d, q\d, r\d, m\d+, '([^']*)'")
SUBSCRIBE = re.compile(r"Received SUBSCRIBE from (\S+)")
DROPPED = re.compile(r"Outgoing messages are being dropped for client (\S+)")


class Log:
    def __init__(self, path):
        self.path, self.at, self.rest = path, 0, ""
        self.sent, self.again, self.acked, self.open = {}, {}, {}, {}
        self.online, self.requests, self.dropped = set(), {}, 0

    def catch_up(self):
        with open(self.path, encoding="utf8", errors="replace") as log:
            log.seek(self.at)
            found = log.read()
            self.at = log.tell()
        lines = (self.rest + found).split("\n")
        self.rest = lines.pop()
        for line in lines:
            self.line(line)

    def count(self, kind, client):
        if not client.startswith("auditor"):
            self.requests[kind] = self.requests.get(kind, 0) + 1

    def line(self, line):
        if "starting" in line and "mosquitto version" in line:
            self.online = set()
            return
        match = SENT.search(line)
        if match is not None:
            client, dup, qos, mid = match.group(1), match.group(2), match.group(3), match.group(4)
            if qos != "0":
                self.sent[client] = self.sent.get(client, 0) + 1
                self.again[client] = self.again.get(client, 0) + (dup == "1")
                self.open.setdefault(client, set()).add(mid)
            return
        match = PUBACK.search(line)
        if match is not None:
            client = match.group(1)
            mids = self.open.setdefault(client, set())
            if match.group(2) in mids:
                mids.discard(match.group(2))
                self.acked[client] = self.acked.get(client, 0) + 1
            self.count("settle", client)
            return
        match = PUBLISH.search(line)
        if match is not None:
            folder = match.group(2).split("/")[1] if match.group(2).startswith("posthorn/") else ""
            return self.count({"topic": "declare", "group": "declare", "member": "renew", "echo": "renew"}.get(folder, "publish"), match.group(1))
        match = CONNECTED.search(line)
        if match is not None:
            self.online.add(match.group(1))
            return self.count("connect", match.group(1))
        match = SUBSCRIBE.search(line)
        if match is not None:
            # A member's or a broadcast's own connection: whoever makes a topic subscribes sessions too.
            return self.count("subscribe" if match.group(1).startswith(("ph!m!", "ph!b!")) else "declare", match.group(1))
        match = CLOSED.search(line)
        if match is not None:
            self.online.discard(match.group(1) or match.group(2))
            return
        if DROPPED.search(line) is not None:
            self.dropped += 1

    def of(self, table, clients):
        return sum(table.get(client, 0) for client in clients)
