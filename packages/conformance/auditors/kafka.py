"""The auditor of Kafka: a plain client (kafka-python) on a listener of its own. It knows the published names and wire form, and no
code of the adapter. Start it with `python3 -I`.
"""

import base64
import os
import struct
import subprocess
import sys
import time

sys.path.append(os.path.dirname(os.path.abspath(__file__)))

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition  # noqa: E402
from kafka import errors as Errors  # noqa: E402
from kafka.admin import (  # noqa: E402
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    NewTopic,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.protocol.group import LeaveGroupRequest  # noqa: E402

from common import Missing, Unsupported, attributes_of, is_transport, partition_of, serve, stored  # noqa: E402

PATIENCE = 60.0
MECHANISM = "SCRAM-SHA-256"  # by which the adapter logs in: one change at a time is all that the server takes
BITS = "ph1:"  # before the bits of what is finished behind a position
FLEETING = (Errors.KafkaError, OSError, AssertionError, AttributeError, ValueError)


def bits_of(place):
    """Offsets that are finished behind a position."""
    offset, text = place
    if not text.startswith(BITS):
        return set()
    raw = base64.b64decode(text[len(BITS) :])
    return {offset + 8 * at + bit for at, byte in enumerate(raw) for bit in range(8) if byte >> bit & 1}


class Auditor:
    def call_open(self, options):
        self.server = options["url"]
        self.port = options["port"]
        self.user = options.get("user")
        self.rights = options.get("rights")  # the server's own program that changes users: a command and its first arguments
        self.password = options.get("password")
        self.admin = self.producer = self.consumer = None
        self.denied, self.turn, self.known, self.seen = [], 0, {}, None

    # Clients, made again when they are lost

    def lasting(self, work):
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return work()
            except (Missing, Unsupported):
                raise
            except FLEETING as problem:
                self.forget()
                if time.monotonic() > deadline or isinstance(problem, (Errors.InvalidTopicError, Errors.TopicAlreadyExistsError)):
                    raise
                time.sleep(0.1)

    def forget(self):
        for name in ("admin", "producer", "consumer"):
            client = getattr(self, name)
            setattr(self, name, None)
            try:
                if client is not None:
                    client.close() if name != "producer" else client.close(timeout=0)
            except Exception:  # noqa: BLE001 - it is thrown away
                pass

    def asking(self):
        if self.admin is None:
            self.admin = KafkaAdminClient(bootstrap_servers=self.server, client_id="auditor", request_timeout_ms=10_000, api_version=(2, 5, 0))
        return self.admin

    def reading(self):
        if self.consumer is None:
            self.consumer = KafkaConsumer(
                bootstrap_servers=self.server,
                client_id="auditor",
                group_id=None,
                enable_auto_commit=False,
                isolation_level="read_committed",
                fetch_max_wait_ms=50,
                max_partition_fetch_bytes=4 * 1024 * 1024,
                api_version=(2, 5, 0),
            )
        return self.consumer

    def writing(self):
        if self.producer is None:
            self.producer = KafkaProducer(
                bootstrap_servers=self.server,
                client_id="auditor",
                acks="all",
                retries=0,
                max_request_size=4 * 1024 * 1024,
                enable_idempotence=False,
                api_version=(2, 5, 0),
            )
        return self.producer

    # Topics

    def partitions(self, topic):
        if topic not in self.known:
            found = self.lasting(lambda: self.asking().describe_topics([topic]))
            if found[0]["error_code"] == 3:
                raise Missing(f'there is no topic "{topic}"')
            self.known[topic] = len(found[0]["partitions"])
        return self.known[topic]

    def topics(self, prefix):
        return [name for name in self.lasting(lambda: self.asking().list_topics()) if name.startswith(prefix)]

    def call_exists(self, topic):
        return topic in self.lasting(lambda: self.asking().list_topics())

    def ends(self, topic, first=False):
        parts = [TopicPartition(topic, p) for p in range(self.partitions(topic))]
        found = self.lasting(lambda: (self.reading().beginning_offsets if first else self.reading().end_offsets)(parts))
        return [found[part] for part in parts]

    # Messages

    def call_write(self, topic, message):
        partitions = self.partitions(topic)
        key = message.get("key")
        if message.get("partition") is not None:
            partition = message["partition"]
        elif key is not None:
            partition = partition_of(key, partitions)
        else:
            partition = self.turn % partitions
            self.turn += 1
        headers = []
        for name, value in attributes_of(message).items():
            headers.append(("content-type" if name == "datacontenttype" else f"ce_{name}", value.encode()))
        for name, value in {**(message.get("transport") or {}), **(message.get("headers") or {})}.items():
            headers.append((name, value.encode()))
        for name, value in (message.get("rawHeaders") or {}).items():
            headers.append((name, bytes(value)))
        body = message.get("body")
        if message.get("undecodable") is not None and not message.get("rawHeaders"):
            headers.append(("unreadable", b"\xff\xfe"))
        if key is None and body is None:
            return self.write_nothing(topic, partition, headers)
        record = self.writing().send(topic, key=None if key is None else key.encode(), value=body, headers=headers, partition=partition)
        return f"{partition}:{record.get(timeout=PATIENCE).offset}"

    def call_write_entry(self, topic, entry):
        """Exactly these headers, into the first partition."""
        headers = [(name, value.encode()) for name, value in entry["headers"]]
        if entry["contentType"] is not None:
            headers.append(("content-type", entry["contentType"].encode()))
        key, body = entry["key"], entry["body"]
        if key is None and body is None:
            self.write_nothing(topic, 0, headers)
        else:
            record = self.writing().send(topic, key=None if key is None else key.encode(), value=body, headers=headers, partition=0)
            record.get(timeout=PATIENCE)

    def call_read_entries(self, topic):
        found = []
        for record in self.records(topic):
            texts = [[name, value.decode()] for name, value in record.headers]
            content_type = next((value for name, value in texts if name == "content-type"), None)
            key = None if record.key is None else record.key.decode()
            headers = [pair for pair in texts if pair[0] != "content-type"]
            found.append({"headers": headers, "contentType": content_type, "body": record.value, "key": key})
        return found

    def write_nothing(self, topic, partition, headers):
        """Neither key nor value: the client's own check forbids it, and the server does not."""
        producer = self.writing()
        producer._wait_on_metadata(topic, 10_000)
        part = TopicPartition(topic, partition)
        future, _, _ = producer._accumulator.append(part, int(time.time() * 1000), None, None, headers)
        producer._sender.wakeup()
        producer.flush(10)
        return f"{partition}:{future.get(timeout=PATIENCE).offset}"

    def records(self, topic):
        """All that is committed, in stored order per partition."""

        def once():
            parts = [TopicPartition(topic, p) for p in range(self.partitions(topic))]
            client = self.reading()
            client.assign(parts)
            first, last = client.beginning_offsets(parts), client.end_offsets(parts)
            for part in parts:
                client.seek(part, first[part])
            found = {part: [] for part in parts}
            quiet = time.monotonic() + 2
            while any(client.position(part) < last[part] for part in parts):
                got = client.poll(timeout_ms=100)
                for part, some in got.items():
                    found[part] += [record for record in some if record.offset < last[part]]
                if got:
                    quiet = time.monotonic() + 2
                elif time.monotonic() > quiet:
                    break  # what is left are the marks of transactions
            return [record for part in parts for record in found[part]]

        return self.lasting(once)

    def parsed(self, record, position, dead=False):
        attributes, headers, transport, undecodable = {}, {}, {}, None
        body, key = record.value, None
        mark = None
        for name, value in record.headers:
            try:
                text = value.decode()
            except (UnicodeDecodeError, AttributeError):
                undecodable = f"the header {name} is no text"
                continue
            if dead and name in ("ph-slot", "ph-record-key", "ph-record-body"):
                key = text if name == "ph-record-key" else key
                mark = text if name == "ph-record-body" else mark
            elif name == "content-type":
                attributes["datacontenttype"] = text
            elif name.startswith("ce_"):
                attributes[name[3:]] = text
            elif is_transport(name):
                transport[name] = text
            else:
                headers[name] = text
        if mark is not None:
            body = None if mark == "null" else b""
        if not dead and record.key is not None:
            key = record.key.decode(errors="replace")
        if key is not None:
            attributes["partitionkey"] = key
        due = transport.get("ph-due")
        due = int(due) if due is not None and int(due) > time.time() * 1000 else None
        return stored(record.partition, position, attributes, headers, transport, body, undecodable, due)

    def call_read(self, place):
        topic, role, group = place["topic"], place["role"], place["group"]
        if role == "main":
            return [self.parsed(record, f"{record.partition}:{record.offset}") for record in self.records(topic)]
        name = f"{topic}__delay" if role == "delay" else f"{topic}__{group}__{role}"
        if name not in self.topics(name):
            return []
        if role == "dead":
            slots = {}
            for record in self.records(name):
                slot = record.key.decode().rsplit("/", 1)[0]
                if record.value is not None:
                    slots[slot] = record
                elif slot in slots and slots[slot].key == record.key:
                    del slots[slot]
            kept = sorted(slots.values(), key=lambda record: record.offset)
            return [self.parsed(record, f"dead/0:{record.offset}", True) for record in kept]
        # What its readers have finished is in the log still, and no part of the place any more.
        reader = name if role == "delay" else f"{topic}__{group}"
        places = self.places(reader, name)
        done = {p: bits_of(at) for p, at in places.items()}
        return [
            self.parsed(record, f"{role}/{record.partition}:{record.offset}")
            for record in self.records(name)
            if record.offset >= places.get(record.partition, (0, ""))[0] and record.offset not in done.get(record.partition, ())
        ]

    # Groups

    def places(self, group_id, topic):
        """The group's position and what is beside it, by partition."""
        parts = [TopicPartition(topic, p) for p in range(self.partitions(topic))]
        found = self.lasting(lambda: self.asking().list_consumer_group_offsets(group_id, partitions=parts))
        return {part.partition: (at.offset, at.metadata or "") for part, at in found.items() if at.offset >= 0}

    def group(self, topic, group):
        places = self.places(f"{topic}__{group}", topic)
        if not places:
            raise Missing(f'topic "{topic}" has no group "{group}"')
        return places

    def behind(self, topic, places):
        first, last = self.ends(topic, True), self.ends(topic)
        total = 0
        for p, end in enumerate(last):
            at, text = places.get(p, (first[p], ""))
            start = max(at, first[p])
            total += max(0, end - start) - sum(1 for offset in bits_of((at, text)) if start <= offset < end)
        return total

    def call_remaining(self, topic, group):
        total = self.behind(topic, self.group(topic, group))
        retry = f"{topic}__{group}__retry"
        if retry in self.topics(retry):
            total += self.behind(retry, self.places(f"{topic}__{group}", retry))
        return total

    def call_unsettled(self, topic, group):
        return self.call_remaining(topic, group)

    def call_positions(self, topic, group):
        places = self.group(topic, group)
        return [places.get(p, (0, ""))[0] for p in range(self.partitions(topic))]

    def described(self, group_id):
        return self.lasting(lambda: self.asking().describe_consumer_groups([group_id]))[0]

    @staticmethod
    def instance(member):
        data = getattr(member.member_metadata, "user_data", None)
        return data.decode() if data else member.client_id

    def call_members(self, topic, group):
        return [self.instance(member) for member in self.described(f"{topic}__{group}").members]

    def call_owners(self, topic, group):
        found = []
        for member in self.described(f"{topic}__{group}").members:
            for name, partitions in getattr(member.member_assignment, "assignment", []):
                if name == topic:
                    found += [[p, self.instance(member)] for p in partitions]
        return sorted(found)

    def moves(self):
        """How far each group's positions went forward and back, as the server's own log of them says."""
        if self.seen is None:
            self.seen = {}
        for record in self.records("__consumer_offsets"):
            key, value = record.key, record.value
            if key is None or struct.unpack(">h", key[:2])[0] > 1:
                continue
            at, words = 2, []
            for _ in range(2):
                size = struct.unpack(">h", key[at : at + 2])[0]
                words.append(key[at + 2 : at + 2 + size].decode())
                at += 2 + size
            partition = struct.unpack(">i", key[at : at + 4])[0]
            steps = self.seen.setdefault((words[0], words[1], partition), {})
            steps[record.offset] = None if value is None else struct.unpack(">q", value[2:10])[0]
        return self.seen

    def call_settles(self, topic, group):
        places, first = self.group(topic, group), self.ends(topic, True)
        settled = sum(at - first[p] + len(bits_of((at, text))) for p, (at, text) in places.items())
        repeated = 0
        for (group_id, name, _), steps in self.moves().items():
            if group_id == f"{topic}__{group}" and name == topic:
                offsets = [offset for _, offset in sorted(steps.items()) if offset is not None]
                repeated += sum(max(0, before - after) for before, after in zip(offsets, offsets[1:]))
        return {"settled": settled, "stale": 0, "handedOut": settled + repeated, "repeated": repeated}

    # An administrator's hands

    def call_deny(self, operation, topic):
        if self.user is None:
            raise Unsupported("the adapter is not connected as a user of its own, whose rights could be changed")
        self.denied.append((operation, topic))
        if operation == "connect":
            self.change("--delete-config", MECHANISM)
            return
        for kind, name, pattern, right in self.resources(operation, topic):
            resource = ResourcePattern(kind, name, pattern)
            # With one entry on a resource, whoever has none may do nothing with it.
            everybody = ACL("User:*", "*", ACLOperation.ALL, ACLPermissionType.ALLOW, resource)
            nobody = ACL(f"User:{self.user}", "*", right, ACLPermissionType.DENY, resource)
            self.lasting(lambda entries=(everybody, nobody): self.asking().create_acls(list(entries)))

    def change(self, *words):
        command = [*self.rights, "--alter", *words, "--entity-type", "users", "--entity-name", self.user]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode != 0:
            raise RuntimeError(f"changing the user failed: {done.stdout[-500:]}{done.stderr[-500:]}")

    @staticmethod
    def resources(operation, topic):
        literal, prefixed = ACLResourcePatternType.LITERAL, ACLResourcePatternType.PREFIXED
        topics = [(ResourceType.TOPIC, "*" if topic is None else topic, literal)]
        groups = [(ResourceType.GROUP, "*", literal)]
        if topic is not None:
            topics.append((ResourceType.TOPIC, f"{topic}__", prefixed))
            groups = [(ResourceType.GROUP, f"{topic}__", prefixed)]
        if operation == "publish":
            return [(*each, ACLOperation.WRITE) for each in topics]
        if operation in ("read", "browse"):
            return [(*each, ACLOperation.READ) for each in topics]
        if operation == "remove":
            return [(*each, ACLOperation.WRITE) for each in topics]
        if operation in ("subscribe", "settle", "renew", "release", "leave"):
            return [(*each, ACLOperation.READ) for each in groups]
        if operation == "inspect":
            return [(*each, ACLOperation.DESCRIBE) for each in groups]
        # Whoever may make topics anywhere may make this one.
        made = [(ResourceType.CLUSTER, "kafka-cluster", literal, ACLOperation.CREATE)]
        return made + [(*each, right) for each in topics for right in (ACLOperation.CREATE, ACLOperation.DESCRIBE)]

    def call_allow(self):
        if any(operation == "connect" for operation, _ in self.denied):
            self.change("--add-config", f"{MECHANISM}=[password={self.password}]")
        if any(operation != "connect" for operation, _ in self.denied):
            everything = ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY))
            self.lasting(lambda: self.asking().delete_acls([everything]))
        self.denied = []

    def call_set_password(self, password):
        if self.user is None:
            raise Unsupported("the adapter is not connected as a user of its own, whose password could be changed")
        self.change("--add-config", f"{MECHANISM}=[password={self.password if password is None else password}]")

    def call_remove(self, what):
        topic = what["topic"]
        if "partition" in what:
            raise Unsupported("Kafka removes no single partition")
        if "group" in what:
            self.remove_group(f"{topic}__{what['group']}")
        else:
            self.delete([name for name in self.topics(topic) if name == topic or name.startswith(f"{topic}__")])

    def remove_group(self, group_id):
        deadline = time.monotonic() + PATIENCE
        while True:
            for member in self.described(group_id).members:
                self.end_membership(group_id, member.member_id)
            try:
                [(_, error)] = self.asking().delete_consumer_groups([group_id])
                if error is Errors.NoError or error is Errors.GroupIdNotFoundError:
                    return
            except FLEETING:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError(f"group {group_id} could not be removed")
            time.sleep(0.02)

    def end_membership(self, group_id, member_id):
        def once():
            admin = self.asking()
            coordinator = admin._find_coordinator_ids([group_id])[group_id]
            admin._wait_for_futures([admin._send_request_to_node(coordinator, LeaveGroupRequest[1](group_id, member_id))])

        self.lasting(once)

    def delete(self, names):
        for name in names:
            self.known.pop(name, None)
        if names:
            try:
                self.asking().delete_topics(names, timeout_ms=10_000)
            except Errors.UnknownTopicOrPartitionError:
                pass

    def call_trim(self, topic, partition):
        part = TopicPartition(topic, partition)
        end = self.ends(topic)[partition]
        self.lasting(lambda: self.asking().delete_records({part: end}, timeout_ms=10_000))

    def call_expel(self, instance):
        for group_id, _ in self.lasting(lambda: self.asking().list_consumer_groups()):
            for member in self.described(group_id).members:
                if self.instance(member) == instance:
                    self.end_membership(group_id, member.member_id)

    def call_counters(self):
        """Connections at the adapter's listener, as the system counts them; ours are at another one."""
        wanted = f":{self.port:04X}"
        count = 0
        for name in ("/proc/net/tcp", "/proc/net/tcp6"):
            if not os.path.exists(name):
                if name == "/proc/net/tcp":
                    raise Unsupported("nobody but Linux counts connections in a file")
                continue
            with open(name, encoding="ascii") as table:
                rows = [line.split() for line in table][1:]
            count += sum(1 for row in rows if row[1].endswith(wanted) and row[3] == "01")
        return {"connections": count, "requests": {}, "dropped": 0}

    def call_clean(self, prefix):
        """Removes every topic and group whose name begins with the prefix."""
        self.delete(self.topics(prefix))
        for group_id, _ in self.lasting(lambda: self.asking().list_consumer_groups()):
            if group_id.startswith(prefix):
                try:
                    self.asking().delete_consumer_groups([group_id])
                except FLEETING:
                    pass

    # A service of another kind, with names of its own

    def call_plain_make(self, names):
        self.lasting(lambda: self.asking().create_topics([NewTopic(names["topic"], 3, 1)]))

    def call_plain_send(self, names, bodies):
        sent = [self.writing().send(names["topic"], value=body) for body in bodies]
        for each in sent:
            each.get(timeout=PATIENCE)

    def call_plain_work_off(self, names, count):
        found, deadline = [], time.monotonic() + 30
        consumer = KafkaConsumer(
            names["topic"],
            bootstrap_servers=self.server,
            group_id=names["groupId"],
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            api_version=(2, 5, 0),
        )
        try:
            while len(found) < count:
                for some in consumer.poll(timeout_ms=200, max_records=1).values():
                    found += [record.value for record in some]
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{len(found)} of {count} messages came")
            consumer.commit()
            return found
        finally:
            consumer.close(autocommit=False)

    def call_plain_remaining(self, names):
        topic = names["topic"]
        return self.behind(topic, self.places(names["groupId"], topic))

    def call_plain_everything(self):
        groups = [group_id for group_id, _ in self.lasting(lambda: self.asking().list_consumer_groups())]
        return sorted(self.topics("") + groups)

    def call_close(self):
        self.forget()


if __name__ == "__main__":
    serve(Auditor())
