"""The auditor of MQTT on Mosquitto: paho as a plain client, the server's own store and log for what no client can see. It knows the
published names and wire form, and no code of the adapter. Start it with `python3 -I`.
"""

import json
import os
import re
import signal
import sys
import threading
import time
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

sys.path.append(os.path.dirname(os.path.abspath(__file__)))

from common import Missing, Unsupported, attributes_of, is_transport, partition_of, serve, stored  # noqa: E402
from mqtt_log import Log  # noqa: E402
from mqtt_store import Store  # noqa: E402

PATIENCE = 60.0
HEADER = "h_"
NULL = "ph-null"
ESCAPED = "ph-escaped"
CONTROL = "$CONTROL/dynamic-security/v1"
BLIND = "the server is not ours, so nobody reads its files, and MQTT cannot tell"
FOLDERS = ["topic", "group", "member", "dead", "retry", "delay"]
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
# What taking an operation away from a topic means to the server.
RIGHTS = {
    "publish": [("publishClientSend", "{path}"), ("publishClientSend", "{path}/+"), ("publishClientSend", "posthorn/delay/-/{topic}/#"), ("publishClientSend", "posthorn/dead/+/{topic}/#"), ("publishClientSend", "posthorn/retry/+/{topic}/#")],
    "declare": [("publishClientSend", "posthorn/topic/{topic}"), ("publishClientSend", "posthorn/group/+/{topic}")],
    "subscribe": [("subscribePattern", "{path}"), ("subscribePattern", "{path}/+"), ("subscribePattern", "posthorn/member/+/{topic}/+")],
    "browse": [("subscribePattern", "posthorn/dead/+/{topic}/#")],
    "remove": [("publishClientSend", "posthorn/dead/+/{topic}/#")],
}


def percent(match):
    return "".join(f"%{byte:02X}" for byte in match.group().encode())


def cut(member):
    return member.split("~")[0]


class Auditor:
    def call_open(self, options):
        self.url = urlsplit(options["url"])
        self.user, self.password = options.get("user"), options.get("password")
        self.folder, self.pid = options.get("folder"), options.get("pid")
        self.log = Log(os.path.join(self.folder, "audit.log")) if self.folder else None
        self.lock = threading.Condition()
        self.retained, self.fences, self.answers = {}, set(), []
        self.turn, self.made, self.denied, self.given = 0, 0, [], None
        self.links = 0
        self.client = self.connect("auditor", self.heard)

    def connect(self, name, heard):
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        if self.url.username:
            client.username_pw_set(unquote(self.url.username), unquote(self.url.password or ""))
        client.on_message = heard
        ready = threading.Event()

        def connected(one, _userdata, _flags, reason, _properties):
            if reason == 0:
                with self.lock:
                    self.retained = {}
                filters = [(f"posthorn/{folder}/#", 1) for folder in FOLDERS] + [("auditor/fence", 1)] + ([(f"{CONTROL}/response", 1)] if self.user else [])
                one.subscribe(filters)

        def subscribed(*_):
            ready.set()

        client.on_connect, client.on_subscribe = connected, subscribed
        client.reconnect_delay_set(1, 1)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                client.connect(self.url.hostname, self.url.port or 1883, keepalive=30)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        client.loop_start()
        if not ready.wait(PATIENCE):
            raise TimeoutError("the server does not let the auditor subscribe")
        return client

    def heard(self, _client, _userdata, message):
        with self.lock:
            if message.topic == "auditor/fence":
                self.fences.add(message.payload.decode())
            elif message.topic.startswith("$CONTROL"):
                self.answers.append(json.loads(message.payload))
            elif len(message.payload) == 0:
                self.retained.pop(message.topic, None)
            else:
                expiry = getattr(message.properties, "MessageExpiryInterval", None)
                until = None if expiry is None else time.monotonic() + expiry
                self.retained[message.topic] = (message.payload, message.properties, until)
            self.lock.notify_all()

    def publish(self, topic, payload, retain=False, properties=None):
        deadline = time.monotonic() + PATIENCE
        while True:
            info = self.client.publish(topic, payload, qos=1, retain=retain, properties=properties)
            try:
                info.wait_for_publish(deadline - time.monotonic())
                if info.is_published():
                    return
            except (RuntimeError, ValueError):
                pass
            if time.monotonic() > deadline:
                raise TimeoutError("the server does not answer the auditor")
            time.sleep(0.1)

    def fence(self):
        """Everything that the server has taken before has been heard."""
        self.made += 1
        mark = str(self.made)
        deadline = time.monotonic() + PATIENCE
        while True:
            self.publish("auditor/fence", mark)
            with self.lock:
                if self.lock.wait_for(lambda: mark in self.fences, 5):
                    self.fences.discard(mark)
                    return
            if time.monotonic() > deadline:
                raise TimeoutError("the server does not send the auditor what it publishes")

    def records(self, folder):
        """Retained messages of a folder that are not over, by what follows it."""
        start = f"posthorn/{folder}/"
        now = time.monotonic()
        with self.lock:
            return {name[len(start) :]: kept for name, kept in self.retained.items() if name.startswith(start) and (kept[2] is None or kept[2] > now)}

    # What it knows of a topic

    def partitions(self, topic):
        self.fence()
        found = self.records("topic").get(topic)
        if found is None:
            raise Missing(f'there is no topic "{topic}"')
        return json.loads(found[0])["partitions"]

    def group(self, topic, group):
        partitions = self.partitions(topic)
        if f"{group}/{topic}" not in self.records("group"):
            raise Missing(f'topic "{topic}" has no group "{group}"')
        return [f"ph!{group}!{topic}!{p}" for p in range(partitions)]

    def presences(self, topic, group):
        self.fence()
        return {name.rsplit("/", 1)[1]: json.loads(kept[0]) for name, kept in self.records("member").items() if name.startswith(f"{group}/{topic}/")}

    def store(self):
        """The server's store as it is now."""
        if self.folder is None:
            raise Unsupported(BLIND)
        path = os.path.join(self.folder, "mosquitto.db")

        def mark():
            try:
                about = os.stat(path)
                return about.st_ino, about.st_mtime_ns
            except OSError:
                return None

        self.fence()
        deadline = time.monotonic() + PATIENCE
        while True:
            before = mark()
            os.kill(self.server(), signal.SIGUSR1)
            again = time.monotonic() + 5
            while mark() == before and time.monotonic() < again:
                time.sleep(0.01)
            if mark() != before:
                try:
                    with open(path, "rb") as file:
                        return Store(file.read())
                except (OSError, IndexError, ValueError):
                    pass
            if time.monotonic() > deadline:
                raise TimeoutError("the server does not save what it holds")

    def server(self):
        with open(os.path.join(self.folder, "server.pid"), encoding="ascii") as file:
            return int(file.read())

    # Messages

    def call_write(self, topic, message):
        partitions = self.partitions(topic)
        partition, key = message.get("partition"), message.get("key")
        if partition is None:
            partition = self.turn % partitions if key is None else partition_of(key, partitions)
            self.turn += key is None
        properties = Properties(PacketTypes.PUBLISH)
        users = []
        attributes = attributes_of(message)
        if attributes and "specversion" not in attributes:
            users.append(("specversion", "1.0"))
        for name, value in attributes.items():
            if name == "datacontenttype":
                properties.ContentType = value
            else:
                users.append((name, value))
        users += (message.get("transport") or {}).items()
        users += [(HEADER + name, value) for name, value in (message.get("headers") or {}).items()]
        body = message.get("body")
        if message.get("undecodable") is not None:
            # The server lets no bytes through that are no text: an attribute twice, with two values, is what it cannot see.
            users = [("specversion", "1.0"), ("id", "one"), ("id", "another")]
            try:
                users += [(HEADER + name, value.decode()) for name, value in (message.get("rawHeaders") or {}).items()]
            except UnicodeDecodeError:
                raise Unsupported("a property of MQTT is text") from None
        elif body is None:
            users.append((NULL, "null"))
        # Servers close connections over control characters: what has some travels escaped, as the page on the wire says.
        escaped = [name for name, value in users if CONTROLS.search(value)]
        if escaped:
            users = [(name, CONTROLS.sub(percent, value.replace("%", "%25")) if name in escaped else value) for name, value in users]
            users.append((ESCAPED, " ".join(escaped)))
        if any(len(text.encode()) > 65535 for pair in users for text in pair):
            raise Unsupported("a property of MQTT holds 65,535 bytes at most")
        if users:
            properties.UserProperty = users
        self.publish(f"{topic.replace('.', '/')}/@{partition}", body or b"", properties=properties)
        return ""

    def call_write_entry(self, topic, entry):
        """Exactly these user properties, into the first partition."""
        properties = Properties(PacketTypes.PUBLISH)
        if entry["contentType"] is not None:
            properties.ContentType = entry["contentType"]
        if entry["headers"]:
            properties.UserProperty = [tuple(pair) for pair in entry["headers"]]
        self.publish(f"{topic.replace('.', '/')}/@0", entry["body"] or b"", properties=properties)

    def call_read_entries(self, topic):
        store = self.store()
        idents = {ident for client, waiting in store.waiting.items() if client.split("!")[2:3] == [topic] for ident, _ in waiting}
        found = []
        for ident in sorted(idents):
            body, content_type, users = store.messages[ident][1:]
            found.append({"headers": users, "contentType": content_type, "body": body, "key": None})
        return found

    def parsed(self, partition, body, content_type, users, due=None):
        attributes, headers, transport, seen, undecodable = {}, {}, {}, {}, None
        is_event = any(name == "specversion" for name, _ in users)
        escaped = next((value.split(" ") for name, value in users if name == ESCAPED), [])
        for name, value in users:
            if name == ESCAPED:
                continue
            if name in escaped:
                value = unquote(value)
            if name.startswith("created") and name[7:] in ("traceparent", "tracestate", "baggage"):
                attributes[name[7:]] = value
                continue
            if name == NULL:
                body = None if value == "null" else b""
            elif is_transport(name):
                transport[name] = value
            elif name.startswith(HEADER) or not is_event:
                headers[name.removeprefix(HEADER)] = value
            else:
                if seen.get(name, value) != value:
                    undecodable = f"{name} is there twice"
                seen[name] = value
                if name != "specversion":
                    attributes[name] = value
        if content_type is not None:
            attributes["datacontenttype"] = content_type
        return stored(partition, "", attributes, headers, transport, body, undecodable, due)

    def kept(self, folder):
        """Retained messages of a folder: the last two parts of the name, and the message."""
        self.fence()
        found = []
        for name, (payload, properties, _until) in self.records(folder).items():
            rest = name.split("/")[2:]
            found.append((rest, payload, getattr(properties, "ContentType", None), getattr(properties, "UserProperty", [])))
        return found

    def waiting(self, role, group, topic):
        now = time.time() * 1000
        found = []
        for name, kept in self.records(role).items():
            whose, where, _ident, due, partition = name.split("/")
            if whose != group or where != topic:
                continue
            late = int(due) if int(due) > now else None
            to = int(partition) if partition.isdigit() else 0
            found.append((int(due), self.parsed(to, kept[0], getattr(kept[1], "ContentType", None), getattr(kept[1], "UserProperty", []), late)))
        return [message for _, message in sorted(found, key=lambda each: each[0])]

    def call_read(self, place):
        topic, role, group = place["topic"], place["role"], place["group"]
        partitions = self.partitions(topic)
        if role == "main":
            store = self.store()
            found = []
            for p in range(partitions):
                idents = set()
                for client, waiting in store.waiting.items():
                    parts = client.split("!")
                    if len(parts) == 4 and parts[2] == topic and parts[3] == str(p):
                        idents.update(ident for ident, _ in waiting)
                found += [self.parsed(p, *store.messages[ident][1:]) for ident in sorted(idents)]
            return found + self.waiting("delay", "-", topic)
        if role == "delay":
            return []
        if role == "retry":
            return self.waiting("retry", group, topic)
        newest = {}
        for name, kept in self.records("dead").items():
            whose, where, slot, stamp = name.split("/")
            if whose == group and where == topic and newest.get(slot, ("",))[0] < stamp:
                newest[slot] = (stamp, kept)
        ordered = sorted(newest.values(), key=lambda each: each[0])
        return [self.parsed(0, kept[0], getattr(kept[1], "ContentType", None), getattr(kept[1], "UserProperty", [])) for _, kept in ordered]

    # Groups

    def held(self, topic, group):
        return {hold: cut(member) for member, presence in self.presences(topic, group).items() for hold in presence["holds"]}

    def call_unsettled(self, topic, group):
        clients = self.group(topic, group)
        held = self.held(topic, group)
        store = self.store()
        return sum(1 for p, client in enumerate(clients) if str(p) in held for _, out in store.waiting.get(client, []) if out)

    def call_remaining(self, topic, group):
        clients = self.group(topic, group)
        store = self.store()
        return sum(len(store.waiting.get(client, [])) for client in clients) + len(self.waiting("retry", group, topic))

    def caught_up(self):
        if self.log is None:
            raise Unsupported(BLIND)
        self.fence()
        self.log.catch_up()
        return self.log

    def call_positions(self, topic, group):
        log = self.caught_up()
        return [log.acked.get(client, 0) for client in self.group(topic, group)]

    def call_owners(self, topic, group):
        return sorted([int(slot), member] for slot, member in self.held(topic, group).items() if slot.isdigit())

    def call_members(self, topic, group):
        members = [cut(member) for member in self.presences(topic, group)]
        return members if f"{group}/{topic}" in self.records("group") else []

    def call_settles(self, topic, group):
        clients = self.group(topic, group)
        log = self.caught_up()
        given, again = log.of(log.sent, clients), log.of(log.again, clients)
        return {"settled": log.of(log.acked, clients), "stale": 0, "handedOut": given, "repeated": again}

    def call_exists(self, topic):
        self.fence()
        return topic in self.records("topic")

    # An administrator's hands

    def command(self, *commands):
        with self.lock:
            self.answers.clear()
        self.publish(CONTROL, json.dumps({"commands": commands}))
        with self.lock:
            if not self.lock.wait_for(lambda: len(self.answers) > 0, PATIENCE):
                raise TimeoutError("the server does not answer the administrator")
            answer = self.answers.pop(0)
        bad = [each["error"] for each in answer["responses"] if "error" in each]
        if bad:
            raise RuntimeError(bad[0])
        return answer["responses"]

    def rights(self):
        """What the adapter's user may do, less what is denied. The whole role at once: to add a right to it would end the connections of its user."""
        if self.given is None:
            [answer] = self.command({"command": "getRole", "rolename": self.user})
            self.given = answer["data"]["role"]["acls"]
        less = [{"priority": 10, "allow": False, **acl} for acl in self.denied if acl is not None]
        self.command({"command": "modifyRole", "rolename": self.user, "acls": self.given + less})

    def call_deny(self, operation, topic):
        if self.user is None:
            raise Unsupported("the adapter is not connected as a user of its own, whose rights could be changed")
        if operation == "connect":
            self.command({"command": "disableClient", "username": self.user})
        elif operation not in RIGHTS:
            raise Unsupported(f'the server knows no right to "{operation}"')
        else:
            names = {"topic": "+", "path": "+"} if topic is None else {"topic": topic, "path": topic.replace(".", "/")}
            acls = [{"acltype": kind, "topic": where.format(**names)} for kind, where in RIGHTS[operation]]
            self.denied += [acl for acl in acls if acl not in self.denied]
            self.rights()
            return
        self.denied.append(None)

    def call_allow(self):
        before, self.denied = self.denied, []
        if None in before:
            self.command({"command": "enableClient", "username": self.user})
        if any(acl is not None for acl in before):
            self.rights()

    def call_set_password(self, password):
        if self.user is None:
            raise Unsupported("the adapter is not connected as a user of its own, whose password could be changed")
        self.command({"command": "setClientPassword", "username": self.user, "password": self.password if password is None else password})

    def forget_session(self, client_id):
        """Ends a session and whatever it holds, as whoever connects under its name and asks for a new one does."""
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
        if self.url.username:
            client.username_pw_set(unquote(self.url.username), unquote(self.url.password or ""))
        ready = threading.Event()
        client.on_connect = lambda *_: ready.set()
        client.connect(self.url.hostname, self.url.port or 1883, clean_start=True)
        client.loop_start()
        ready.wait(PATIENCE)
        client.disconnect()
        client.loop_stop()

    def clear(self, *topics):
        for topic in topics:
            self.publish(topic, b"", retain=True)

    def groups(self, topic):
        return [name.split("/")[0] for name in self.records("group") if name.split("/")[1] == topic]

    def call_remove(self, what):
        topic = what["topic"]
        partitions = self.partitions(topic)
        groups = [what["group"]] if "group" in what else self.groups(topic)
        if "partition" not in what:
            self.clear(*(f"posthorn/group/{group}/{topic}" for group in groups))
        for group in groups:
            for p in [what["partition"]] if "partition" in what else range(partitions):
                self.forget_session(f"ph!{group}!{topic}!{p}")
        if "partition" not in what and "group" not in what:
            self.clear(f"posthorn/topic/{topic}")

    def call_trim(self, topic, partition):
        self.partitions(topic)
        for group in self.groups(topic):
            client = f"ph!{group}!{topic}!{partition}"
            self.take_over(client, lambda: not self.store().waiting.get(client))

    def call_expel(self, instance):
        self.fence()
        for name, kept in self.records("member").items():
            group, topic, member = name.split("/")
            if cut(member) != instance:
                continue
            for hold in json.loads(kept[0])["holds"]:
                if hold.isdigit():
                    self.take_over(f"ph!{group}!{topic}!{hold}")

    def take_over(self, client_id, until=None):
        """Connects under a session's name, takes what it is sent where something is waited for, and leaves the session."""
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, manual_ack=until is None)
        if self.url.username:
            client.username_pw_set(unquote(self.url.username), unquote(self.url.password or ""))
        ready = threading.Event()
        client.on_connect = lambda *_: ready.set()
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0xFFFFFFFF
        client.connect(self.url.hostname, self.url.port or 1883, clean_start=False, properties=properties)
        client.loop_start()
        ready.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while until is not None and not until() and time.monotonic() < deadline:
            time.sleep(0.02)
        client.disconnect()
        client.loop_stop()

    def call_counters(self):
        log = self.caught_up()
        return {
            "connections": len([client for client in log.online if not client.startswith(("auditor", "ph-launcher"))]),
            "requests": {kind: count for kind, count in log.requests.items()},
            "dropped": log.dropped,
        }

    def call_clean(self, prefix):
        """Removes every topic whose name begins with the prefix."""
        self.fence()
        topics = [topic for topic in self.records("topic") if topic.startswith(prefix)]
        for topic in topics:
            for group in self.groups(topic):
                for p in range(json.loads(self.records("topic")[topic][0])["partitions"]):
                    self.forget_session(f"ph!{group}!{topic}!{p}")
        names = [f"posthorn/{folder}/{name}" for folder in FOLDERS for name in self.records(folder) if any(part.startswith(prefix) for part in name.split("/"))]
        self.clear(*names)

    def call_close(self):
        self.client.disconnect()
        self.client.loop_stop()


if __name__ == "__main__":
    serve(Auditor())
