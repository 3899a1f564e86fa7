"""The auditor of RabbitMQ: a plain AMQP client (pika) that writes, and an inspector inside the server's node for what AMQP cannot
say without disturbing a queue. It knows the published names and wire form, and no code of the adapter. Start it with
`python3 -I`.
"""

import base64
import json
import os
import re
import socket
import struct
import sys
import time

import pika

sys.path.append(os.path.dirname(os.path.abspath(__file__)))

from common import Missing, Unsupported, attributes_of, is_transport, partition_of, serve, stored  # noqa: E402

PREFIX = "cloudEvents_"
ASIDE = "ph-header-"  # in front of application headers that mean something to the server
PATIENCE = 60.0
BLIND = "the server is not ours, so nobody looks inside it, and AMQP cannot tell"


class Inspector:
    """Asks the module that the harness loads into the node."""

    def __init__(self, where):
        self.where = where
        self.socket = None

    def once(self, *request):
        if self.where is None:
            raise Unsupported(BLIND)
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.where["port"]), timeout=PATIENCE)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.send(self.where["token"].encode())
        self.send(json.dumps(request).encode())
        answer = json.loads(self.receive(struct.unpack(">I", self.receive(4))[0]))
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def send(self, data):
        self.socket.sendall(struct.pack(">I", len(data)) + data)

    def receive(self, size):
        found = b""
        while len(found) < size:
            chunk = self.socket.recv(size - len(found))
            if chunk == b"":
                raise ConnectionError("the inspector is gone")
            found += chunk
        return found

    def __call__(self, *request):
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.once(*request)
            except OSError:
                self.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def close(self):
        found, self.socket = self.socket, None
        if found is not None:
            found.close()


def instance_of(name):
    """The last word of a connection's name: "<name of the broker object> <purpose> <instance>"."""
    words = (name or "").split(" ")
    return words[-1] if len(words) >= 3 else None


def short(text):
    return text if text is not None and len(text.encode()) <= 255 else None


class Auditor:
    def call_open(self, options):
        self.url = options["url"]
        self.user = options.get("user")
        self.password = options.get("password")
        self.vhost = options.get("vhost", "/")
        self.ask = Inspector(options.get("inspector"))
        self.connection, self.channel = None, None
        self.denied, self.turn, self.opened, self.known = [], 0, 0, {}
        self.link()

    def link(self):
        """The channel to write on, opened again when it is lost."""
        deadline = time.monotonic() + PATIENCE
        while self.channel is None or self.channel.is_closed:
            try:
                parameters = pika.URLParameters(self.url)
                parameters.heartbeat = 0
                parameters.socket_timeout = parameters.blocked_connection_timeout = PATIENCE
                parameters.client_properties = {"connection_name": "auditor"}
                if self.connection is None or self.connection.is_closed:
                    self.connection = pika.BlockingConnection(parameters)
                    self.opened += 1
                self.channel = self.connection.channel()
                self.channel.confirm_delivery()
            except (pika.exceptions.AMQPError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        return self.channel

    # Names

    def queues(self, topic):
        """What follows "<topic>__" in the names of queues."""
        start = f"{topic}__"
        return [name[len(start) :] for name in self.ask("queues", self.vhost) if name.startswith(start)]

    def partitions(self, topic):
        """How many there are, or None for a topic without keys."""
        names = self.ask("exchanges", self.vhost)
        if topic not in names:
            raise Missing(f'there is no topic "{topic}"')
        found = [re.fullmatch(re.escape(topic) + r"__foreign__p(\d+)", name) for name in names]
        return next((int(match.group(1)) for match in found if match is not None), None)

    def groups(self, topic):
        heads = {re.split("__|:", name)[0] for name in self.queues(topic)}
        return sorted(heads - {"delay", "foreign"})

    def group_queues(self, topic, group):
        """The group's queues in the order of their partitions."""
        partitions = self.partitions(topic)
        names = [f"{topic}__{group}"] if partitions is None else [f"{topic}__{group}:{p}" for p in range(partitions)]
        there = set(self.ask("queues", self.vhost))
        if not there.intersection(names):
            raise Missing(f'topic "{topic}" has no group "{group}"')
        return [name if name in there else None for name in names]

    def lanes(self, base):
        """The lanes of a place, the shortest first, and the queue that they end in."""
        found = []
        for name in self.ask("queues", self.vhost):
            step = re.fullmatch(re.escape(base) + r"__(\d+)(ms)?", name)
            if step is not None:
                found.append((int(step.group(1)) * (1 if step.group(2) else 1000), name))
            elif name == base:
                found.append((0, name))
        return [name for _, name in sorted(found)]

    def counted(self, names):
        """Ready and unacknowledged of each queue that is there."""
        return [each for each in self.ask("counts", self.vhost, [name for name in names if name is not None]) if each is not None]

    # Messages

    def call_write(self, topic, message):
        partitions = self.known.get(topic)
        if topic not in self.known:
            partitions = self.known[topic] = self.partitions(topic)
        key = message.get("key")
        if partitions is None:
            routing_key = ""
        elif message.get("partition") is not None:
            routing_key = str(message["partition"])
        elif key is not None:
            routing_key = str(partition_of(key, partitions))
        else:
            routing_key = str(self.turn % partitions)
            self.turn += 1
        headers, content_type = {}, None
        for name, value in attributes_of(message).items():
            if name == "datacontenttype" and short(value) is not None:
                content_type = value
            else:
                headers[PREFIX + name] = value
        headers.update(message.get("transport") or {})
        headers.update(message.get("headers") or {})
        for name, value in (message.get("rawHeaders") or {}).items():
            headers[name] = value  # bytes: pika writes them as such
        body = message.get("body")
        if body is None:
            headers["ph-body"] = "null"
            if message.get("undecodable") is not None:
                headers["unreadable"] = b"\xff\xfe"
        properties = pika.BasicProperties(headers=headers, content_type=content_type, delivery_mode=2)
        try:
            self.link().basic_publish(topic, routing_key, body or b"", properties)
        except pika.exceptions.AMQPChannelError:
            self.known.pop(topic, None)
            raise
        return ""

    def call_write_entry(self, topic, entry):
        """Exactly these headers, into the first partition."""
        properties = pika.BasicProperties(headers=dict(entry["headers"]), content_type=entry["contentType"], delivery_mode=2)
        routing_key = "" if self.partitions(topic) is None else "0"
        self.link().basic_publish(topic, routing_key, entry["body"] or b"", properties)

    def call_read_entries(self, topic):
        found = []
        for name in self.group_queues(topic, self.groups(topic)[0]):
            for raw in self.lying(name):
                headers = [[base64.b64decode(name).decode(), base64.b64decode(value).decode()] for name, _, value in raw["headers"]]
                body = base64.b64decode(raw["body"])
                found.append({"headers": headers, "contentType": raw["content_type"], "body": body, "key": None})
        return found

    def parsed(self, partition, raw):
        attributes, headers, transport, undecodable = {}, {}, {}, None
        body = base64.b64decode(raw["body"])
        for name64, kind, value in raw["headers"]:
            try:
                name = base64.b64decode(name64).decode()
                text = base64.b64decode(value).decode() if isinstance(value, str) else json.dumps(value)
            except UnicodeDecodeError:
                undecodable = "a header is no text"
                continue
            if name == "ph-slot" or name.startswith(("x-death", "x-first-death", "x-last-death", "x-delivery-count")):
                continue
            if name == "ph-body" and text == "null" and body == b"":
                body = None
            elif name.startswith(PREFIX):
                attributes[name[len(PREFIX) :]] = text
            elif is_transport(name) and not name.startswith(ASIDE):
                transport[name] = text
            else:
                headers[name.removeprefix(ASIDE)] = text
        if raw["content_type"] is not None:
            attributes["datacontenttype"] = raw["content_type"]
        due = raw["expiry"]
        due = due if due is not None and due > time.time() * 1000 else None
        return stored(partition, "", attributes, headers, transport, body, undecodable, due)

    def lying(self, name):
        return self.ask("messages", self.vhost, name)

    def call_read(self, place):
        topic, role, group = place["topic"], place["role"], place["group"]
        partitions = self.partitions(topic)
        if role == "main":
            found = []
            for p in range(partitions or 1):
                ends = "" if partitions is None else f":{p}"
                found += [self.parsed(p, raw) for raw in self.union([f"{topic}__{group}{ends}" for group in self.groups(topic)])]
            return found
        base = f"{topic}__delay" if role == "delay" else f"{topic}__{group}__{role}"
        return [self.parsed(lane, raw) for lane, name in enumerate(self.lanes(base)) for raw in self.lying(name)]

    def union(self, names):
        """What lies in several queues of one partition, each message once, in the order in which it was written."""
        there = set(self.ask("queues", self.vhost))
        merged = []
        for name in names:
            if name not in there:
                continue
            rest = [(json.dumps([raw["headers"], raw["body"], raw["content_type"]]), raw) for raw in self.lying(name)]
            at, result = 0, []
            for mark, raw in rest:
                later = next((n for n in range(at, len(merged)) if merged[n][0] == mark), None)
                if later is not None:
                    result += merged[at:later]
                    at = later + 1
                result.append((mark, raw))
            merged = result + merged[at:]
        return [raw for _, raw in merged]

    # Groups

    def call_unsettled(self, topic, group):
        names = self.group_queues(topic, group) + self.lanes(f"{topic}__{group}__retry")
        return sum(out for _, out in self.counted(names))

    def call_remaining(self, topic, group):
        names = self.group_queues(topic, group) + self.lanes(f"{topic}__{group}__retry")
        return sum(ready + out for ready, out in self.counted(names))

    def call_positions(self, topic, group):
        names = self.group_queues(topic, group)
        counts = {name: self.ask("counts", self.vhost, [name])[0] for name in names if name is not None}
        if any(out > 0 for _, out in counts.values()):
            raise Unsupported("a queue has no positions: with messages handed out, nobody says which of them were settled")
        settled = self.ask("settles", self.vhost, [name or "" for name in names])
        return [acked for _given, _again, acked in settled]

    def active(self, name):
        return [instance_of(connection) for connection, active in self.ask("consumers", self.vhost, name) if active]

    def call_owners(self, topic, group):
        if self.partitions(topic) is None:
            return []
        found = []
        for p, name in enumerate(self.group_queues(topic, group)):
            if name is not None:
                found += [[p, instance] for instance in self.active(name)[:1] if instance is not None]
        return found

    def call_members(self, topic, group):
        try:
            there = self.group_queues(topic, group)
        except Missing:
            return []
        name = f"{topic}__{group}__members"
        if name not in self.ask("queues", self.vhost):
            name = there[0]
        return [instance_of(connection) for connection, _ in self.ask("consumers", self.vhost, name) if connection is not None]

    def call_settles(self, topic, group):
        names = [name for name in self.group_queues(topic, group) if name is not None] + self.lanes(f"{topic}__{group}__retry")
        rows = self.ask("settles", self.vhost, names)
        given, again, acked = (sum(row[at] for row in rows) for at in range(3))
        # An acknowledgement of what is not out ends its channel: there is none that touches nothing.
        return {"settled": acked, "stale": 0, "handedOut": given, "repeated": again}

    def call_exists(self, topic):
        return topic in self.ask("exchanges", self.vhost)

    # An administrator's hands

    def call_deny(self, operation, topic):
        if operation not in ("connect", "publish", "declare", "subscribe", "browse"):
            raise Unsupported(f'the server knows no right to "{operation}": whoever consumes may go on until he ends')
        if self.user is None:
            raise Unsupported("the adapter is not connected as a user of its own, whose rights could be changed")
        self.denied.append((operation, topic))
        self.set_rights()

    def call_allow(self):
        self.denied = []
        self.set_rights()

    def set_rights(self):
        taken = {"configure": [], "write": [], "read": []}
        for operation, topic in self.denied:
            name = ".*" if topic is None else re.escape(topic)
            if operation == "publish":
                # Copies go to queues by name, and for that the server knows one right for all queues.
                taken["write"] += [name, f"{name}__.*", "amq\\.default"]
            elif operation == "declare":
                taken["configure"] += [name, f"{name}__.*"]
            elif operation == "subscribe":
                taken["read"] += [f"{name}__.*"]
            elif operation == "browse":
                taken["read"] += [f"{name}__.*__dead"]
        rules = [".*" if not names else f"^(?!(?:{'|'.join(names)})$).*$" for names in taken.values()]
        self.ask("permissions", self.user, self.vhost, *rules)
        locked = any(operation == "connect" for operation, _ in self.denied)
        self.ask("password", self.user, "another one" if locked else self.password)

    def call_set_password(self, password):
        if self.user is None:
            raise Unsupported("the adapter is not connected as a user of its own, whose password could be changed")
        self.ask("password", self.user, self.password if password is None else password)

    def call_fill(self, full):
        """The server's alarm of memory, and its end."""
        self.ask("fill", full)

    def call_remove(self, what):
        topic = what["topic"]
        partitions = self.partitions(topic)
        names = [name for name in self.ask("queues", self.vhost) if name.startswith(f"{topic}__")]
        if "partition" in what:
            names = [name for name in names if name.endswith(f":{what['partition']}")]
        elif "group" in what:
            mine = re.compile(re.escape(f"{topic}__{what['group']}") + r"(:\d+|__members|__retry.*)?")
            names = [name for name in names if mine.fullmatch(name)]
        self.ask("delete", self.vhost, names)
        if "partition" not in what and "group" not in what:
            self.known.pop(topic, None)
            mine = [name for name in self.ask("exchanges", self.vhost) if name == topic or name.startswith(f"{topic}__")]
            self.ask("delete_exchanges", self.vhost, mine)
        return partitions

    def call_trim(self, topic, partition):
        ends = "" if self.partitions(topic) is None else f":{partition}"
        there = set(self.ask("queues", self.vhost))
        for group in self.groups(topic):
            if f"{topic}__{group}{ends}" in there:
                self.link().queue_purge(f"{topic}__{group}{ends}")

    def call_expel(self, instance):
        self.ask("close", f"consume {instance}")

    def call_counters(self):
        named = [name for _, name in self.ask("connections") if name not in ("auditor", None)]
        events, traffic = self.ask("events"), self.ask("traffic")
        return {
            "connections": len(named),
            "requests": {
                "connect": events.get("connection_created", 0) - self.opened,
                "declare": events.get("queue_created", 0) + events.get("exchange_created", 0) + events.get("binding_created", 0),
                "subscribe": events.get("consumer_created", 0),
                "publish": traffic.get("messages_received_total", 0),
                "settle": traffic.get("messages_acknowledged_total", 0),
                "read": traffic.get("messages_get_empty_total", 0) + traffic.get("messages_delivered_total", 0),
            },
            "dropped": traffic.get("messages_unroutable_dropped_total", 0),
        }

    # A service of another kind, with names of its own

    def call_plain_make(self, names):
        channel = self.link()
        channel.exchange_declare(names["exchange"], "topic", durable=True)
        channel.queue_declare(names["queue"], durable=True)
        channel.queue_bind(names["queue"], names["exchange"], "order.#")

    def call_plain_send(self, names, bodies):
        properties = pika.BasicProperties(content_type="application/json", delivery_mode=2)
        for body in bodies:
            self.link().basic_publish(names["exchange"], names["routingKey"], body, properties)

    def call_plain_work_off(self, names, count):
        found, deadline = [], time.monotonic() + 20
        while len(found) < count:
            method, _, body = self.link().basic_get(names["queue"])
            if method is not None:
                found.append(body)
                self.channel.basic_ack(method.delivery_tag)
            elif time.monotonic() > deadline:
                raise RuntimeError(f"{len(found)} of {count} messages came")
        return found

    def call_plain_remaining(self, names):
        return sum(ready + out for ready, out in self.counted([names["queue"]]))

    def call_plain_everything(self):
        return sorted(self.ask("queues", self.vhost) + self.ask("exchanges", self.vhost))

    def call_close(self):
        self.ask.close()
        if self.connection is not None and self.connection.is_open:
            try:
                self.connection.close()
            except (pika.exceptions.AMQPError, OSError):
                pass


if __name__ == "__main__":
    serve(Auditor())
