"""The auditor of Redis Streams: what a person with redis-cli sees and does. It runs on redis-py and knows the published key
layout and wire form, and no code of the adapter. Start it with `python3 -I`: its own folder must not come before redis-py.
"""

import os
import sys
import time

import redis

sys.path.append(os.path.dirname(os.path.abspath(__file__)))

from common import Missing, Unsupported, attributes_of, is_transport, partition_of, serve, stored  # noqa: E402
from redis_rights import user_rules  # noqa: E402
from redis_watch import Watch  # noqa: E402

HEADER = b"h_"  # in front of the application's headers
NULL = b"ph-null"  # the field that says: no body
MARKS = (NULL, b"ph-partition", b"ph-slot")  # no part of the message
HANDED_OUT = 10**15  # added to the due time of a parked entry while a member has it
EXPELLER, EXPELLED_MS = "auditor", 2500  # who has the partitions of an expelled member, and for how long
PATIENCE = 60.0  # seconds that a call waits for a server that restarts or stands still


class Link:
    """One connection of redis-py, opened again when it is lost."""

    def __init__(self, url):
        self.options = redis.ConnectionPool.from_url(url).connection_kwargs
        self.connection = None
        self.opened = 0

    def open(self):
        if self.connection is None:
            connection = redis.Connection(**{**self.options, "protocol": 2, "socket_timeout": PATIENCE, "client_name": "auditor"})
            self.opened += 1
            connection.connect()
            self.connection = connection
        return self.connection

    def close(self):
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.disconnect()

    def once(self, *command):
        """Asks, and does not repeat what may have been done."""
        try:
            connection = self.open()
            connection.send_command(*command)
            return connection.read_response()
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            self.close()
            raise

    def __call__(self, *command):
        """Asks until there is an answer: for everything that may be asked twice."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.once(*command)
            except (redis.ConnectionError, redis.TimeoutError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def pairs(flat):
    return {flat[at].decode(): flat[at + 1] for at in range(0, len(flat), 2)}


def cut(member):
    """The instance that a member belongs to: one that joins a group twice has a number behind a tilde."""
    return member.split("~")[0]


def after(entry_id):
    """The next possible entry id."""
    ms, seq = entry_id.decode().split("-")
    return f"{ms}-{int(seq) + 1}".encode()


class Auditor:
    def call_open(self, options):
        self.ask = Link(options["url"])
        self.user = options.get("user")
        self.password = options.get("password")
        self.denied = []
        self.turn = 0
        self.written = 0
        self.ask("PING")
        self.watch = Watch(options["url"], self.ask, options.get("scripts") or {})

    # What it knows of a topic

    def partitions(self, topic):
        count = self.ask("HGET", f"{{{topic}}}:meta", "partitions")
        if count is None:
            raise Missing(f'there is no topic "{topic}"')
        return int(count)

    def groups(self, topic, group):
        """Per partition what XINFO says of the group, or None."""
        found = []
        for p in range(self.partitions(topic)):
            try:
                rows = [pairs(row) for row in self.ask("XINFO", "GROUPS", f"{{{topic}}}:{p}")]
            except redis.ResponseError as problem:
                if "no such key" not in str(problem):
                    raise
                rows = []
            found.append(next((row for row in rows if row["name"] == group.encode()), None))
        if all(row is None for row in found):
            raise Missing(f'topic "{topic}" has no group "{group}"')
        return found

    def now(self):
        seconds, micros = self.ask("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    # Messages

    def call_write(self, topic, message):
        partitions = self.partitions(topic)
        partition = message.get("partition")
        if partition is None:
            key = message.get("key")
            partition = self.turn % partitions if key is None else partition_of(key, partitions)
            self.turn += key is None
        fields = []
        for name, value in attributes_of(message).items():
            fields += ["content-type" if name == "datacontenttype" else f"ce_{name}", value]
        for name, value in (message.get("transport") or {}).items():
            fields += [name, value]
        for name, value in {**(message.get("headers") or {}), **(message.get("rawHeaders") or {})}.items():
            fields += [HEADER + name.encode(), value]
        if message.get("body") is not None:
            fields += ["data", message["body"]]
        elif message.get("undecodable") is not None:
            fields += [b"\xff\xfe", b"\xff"]  # a name that is no text
        else:
            fields += [NULL, "1"]
        self.written += 1
        return f"{partition}:{self.ask.once('XADD', f'{{{topic}}}:{partition}', '*', *fields).decode()}"

    def call_write_entry(self, topic, entry):
        """Exactly these fields, into the first partition."""
        fields = [part for pair in entry["headers"] for part in pair]
        if entry["contentType"] is not None:
            fields += ["content-type", entry["contentType"]]
        if entry["body"] is not None:
            fields += ["data", entry["body"]]
        self.ask.once("XADD", f"{{{topic}}}:0", "*", *fields)

    def call_read_entries(self, topic):
        found = []
        for p in range(self.partitions(topic)):
            for _, flat in self.entries(f"{{{topic}}}:{p}"):
                fields = list(zip(flat[::2], flat[1::2]))
                body = next((value for name, value in fields if name == b"data"), None)
                texts = [[name.decode(), value.decode()] for name, value in fields if name != b"data"]
                content_type = next((value for name, value in texts if name == "content-type"), None)
                headers = [pair for pair in texts if pair[0] != "content-type"]
                found.append({"headers": headers, "contentType": content_type, "body": body, "key": None})
        return found

    def parsed(self, partition, position, flat, due=None):
        attributes, headers, transport = {}, {}, {}
        body, undecodable = None, None
        for at in range(0, len(flat), 2):
            name, value = flat[at], flat[at + 1]
            if name == b"data":
                body = value
                continue
            try:
                text, content = name.decode(), value.decode()
            except UnicodeDecodeError:
                undecodable = f"the field {name!r} is no text"
                continue
            if name in MARKS:
                continue
            if text == "content-type":
                attributes["datacontenttype"] = content
            elif text.startswith("ce_"):
                attributes[text[3:]] = content
            elif is_transport(text):
                transport[text] = content
            else:
                headers[text.removeprefix(HEADER.decode())] = content
        return stored(partition, position, attributes, headers, transport, body, undecodable, due)

    def entries(self, key, start=b"-", end=b"+"):
        """All entries of a stream from start to end, in pages that no reply limit refuses."""
        page = self.ask("XRANGE", key, start, end, "COUNT", "1000")
        while page:
            yield from page
            page = self.ask("XRANGE", key, after(page[-1][0]), end, "COUNT", "1000")

    def call_read(self, place):
        topic, role, group = place["topic"], place["role"], place["group"]
        partitions = self.partitions(topic)
        if role == "main":
            kept = [
                self.parsed(p, f"{p}:{entry_id.decode()}", flat)
                for p in range(partitions)
                for entry_id, flat in self.entries(f"{{{topic}}}:{p}")
            ]
            return kept + self.due(f"{{{topic}}}:delay")
        if role == "delay":
            return []
        return self.due(f"{{{topic}}}:retry:{group}") if role == "retry" else self.dead(f"{{{topic}}}:dead:{group}")

    def due(self, name):
        """What waits in a sorted set by due time, with its entries in a stream beside it. Handed out: due plus 10^15."""
        flat = self.ask("ZRANGE", name, "0", "-1", "WITHSCORES")
        times = {flat[at]: float(flat[at + 1]) for at in range(0, len(flat), 2)}
        found = []
        for entry_id, fields in self.entries(f"{name}:entries"):
            if entry_id not in times:
                continue  # promoted or settled meanwhile
            due = times[entry_id] % HANDED_OUT
            partition, rest = (int(fields[1]), fields[2:]) if name.endswith(":delay") else (0, fields)
            found.append(self.parsed(partition, "", rest, int(due) if due > self.now() else None))
        return found

    def dead(self, name):
        return [self.parsed(0, f"dead:{entry_id.decode()}", fields) for entry_id, fields in self.entries(name)]

    # Groups

    def call_unsettled(self, topic, group):
        parked = self.ask("ZCOUNT", f"{{{topic}}}:retry:{group}", str(HANDED_OUT), "+inf")
        return parked + sum(row["pending"] for row in self.groups(topic, group) if row is not None)

    def call_remaining(self, topic, group):
        total = self.ask("ZCARD", f"{{{topic}}}:retry:{group}")
        for p, row in enumerate(self.groups(topic, group)):
            if row is not None:
                total += row["pending"] + self.unread(f"{{{topic}}}:{p}", row)
        return total

    def unread(self, key, row, info=None):
        """Entries that the group has not been given, counted: the server's own count is a guess after a restart."""
        last = row["last-delivered-id"]
        info = info or pairs(self.ask("XINFO", "STREAM", key))
        return 0 if last == info["last-generated-id"] else sum(1 for _ in self.entries(key, after(last)))

    def given(self, key, row):
        """How many entries the group has been given, the first time of each; those that were trimmed are among them."""
        info = pairs(self.ask("XINFO", "STREAM", key))
        return info["entries-added"] - self.unread(key, row, info)

    def call_positions(self, topic, group):
        found = []
        for p, row in enumerate(self.groups(topic, group)):
            key = f"{{{topic}}}:{p}"
            if row is None:
                found.append(0)
                continue
            given = self.given(key, row)
            if row["pending"] > 0:
                lowest = self.ask("XPENDING", key, group)[1]
                given -= sum(1 for _ in self.entries(key, lowest, row["last-delivered-id"]))
            found.append(given)
        return found

    def call_owners(self, topic, group):
        rows = pairs(self.ask("HGETALL", f"{{{topic}}}:own:{group}"))
        now = self.now()
        found = []
        for field, value in rows.items():
            if not field.isdigit():
                continue
            token, until = value.decode().rsplit("|", 1)
            if int(until) > now and not token.startswith(EXPELLER):
                found.append([int(field), cut(token.rsplit("/", 1)[0])])
        return sorted(found)

    def call_members(self, topic, group):
        return [cut(member.decode()) for member in self.ask("ZRANGEBYSCORE", f"{{{topic}}}:mem:{group}", f"({self.now()}", "+inf")]

    def call_settles(self, topic, group):
        given, settled = 0, 0
        for p, row in enumerate(self.groups(topic, group)):
            if row is not None:
                read = self.given(f"{{{topic}}}:{p}", row)
                given += read
                settled += read - row["pending"]
        self.watch.catch_up()
        repeated = self.watch.repeated(topic, group)
        return {"settled": settled, "stale": self.watch.stale(topic, group), "handedOut": given + repeated, "repeated": repeated}

    def call_exists(self, topic):
        return self.ask("EXISTS", f"{{{topic}}}:meta") == 1

    # An administrator's hands

    def call_deny(self, operation, topic):
        self.denied.append((operation, topic))
        self.set_rights()

    def call_allow(self):
        self.denied = []
        self.set_rights()

    def set_rights(self):
        if self.user is None:
            raise Unsupported("the adapter is not connected as a user of its own, whose rights could be changed")
        self.ask("ACL", "SETUSER", self.user, *user_rules(self.denied))

    def call_set_password(self, password):
        if self.user is None or self.password is None:
            raise Unsupported("the adapter is not connected as a user of its own, whose password could be changed")
        self.ask("ACL", "SETUSER", self.user, "resetpass", f">{self.password if password is None else password}")

    def call_fill(self, full):
        """Less memory than the server has in use already, and nothing may be evicted."""
        if self.user is None:
            raise Unsupported("a server that is not ours is not filled")
        self.ask("CONFIG", "SET", "maxmemory", "1" if full else "0")

    def call_remove(self, what):
        topic = what["topic"]
        partitions = self.partitions(topic)
        if "partition" in what:
            self.ask("DEL", f"{{{topic}}}:{what['partition']}")
        elif "group" in what:
            group = what["group"]
            self.ask("HDEL", f"{{{topic}}}:meta", f"group:{group}")
            for p in range(partitions):
                if self.ask("EXISTS", f"{{{topic}}}:{p}") == 1:
                    self.ask("XGROUP", "DESTROY", f"{{{topic}}}:{p}", group)
            self.ask("DEL", *(f"{{{topic}}}:{end}" for end in (f"own:{group}", f"mem:{group}", f"bell:{group}")))
            self.delete(f"{{{topic}}}:retry:{group}*")
        else:
            self.delete(f"{{{topic}}}:*")

    def delete(self, *patterns):
        for pattern in patterns:
            cursor = b"0"
            while True:
                cursor, keys = self.ask("SCAN", cursor, "MATCH", pattern, "COUNT", "1000")
                if keys:
                    self.ask("DEL", *keys)
                if cursor == b"0":
                    break

    def call_trim(self, topic, partition):
        self.ask("XTRIM", f"{{{topic}}}:{partition}", "MAXLEN", "0")

    def call_expel(self, instance):
        """Its memberships are gone and somebody else has what it owned, for a moment; its connections stay."""
        cursor = b"0"
        while True:
            cursor, keys = self.ask("SCAN", cursor, "MATCH", "{*}:mem:*", "COUNT", "1000")
            for key in keys:
                own = key.replace(b"}:mem:", b"}:own:")
                for member in self.ask("ZRANGE", key, "0", "-1"):
                    if cut(member.decode()) == instance:
                        self.ask("ZREM", key, member)
                for field, value in pairs(self.ask("HGETALL", own)).items():
                    if field.isdigit() and cut(value.decode().rsplit("/", 1)[0]) == instance:
                        self.ask("HSET", own, field, f"{EXPELLER}/0|{self.now() + EXPELLED_MS}")
            if cursor == b"0":
                return

    def call_counters(self):
        clients = self.ask("CLIENT", "LIST").decode().splitlines()
        named = [dict(pair.split("=", 1) for pair in line.split(" ") if "=" in pair) for line in clients]
        mine = self.user
        connections = sum(1 for each in named if (each["user"] == mine if mine is not None else each["name"] != "auditor"))
        self.watch.catch_up()
        info = self.ask("INFO", "stats").decode()
        total = int(info.split("total_connections_received:")[1].split()[0])
        requests = {"connect": total - self.ask.opened - self.watch.connections(), **self.watch.requests()}
        return {"connections": connections, "requests": requests, "dropped": 0}

    def call_clean(self, prefix):
        """Removes every topic whose name begins with the prefix."""
        self.delete(f"{{{prefix}*}}:*")

    def call_close(self):
        self.watch.close()
        self.ask.close()


if __name__ == "__main__":
    serve(Auditor())
