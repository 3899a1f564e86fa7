"""Redis Streams with redis-py. A partition is a stream, {topic}:0 and so on; attributes are its fields ce_<name>."""

import redis

from event import Received, read
from partition import partition_of


def partitions_of(client, topic):
    """The server knows how many partitions a topic has, once a service of ours has declared it."""
    count = client.hget(f"{{{topic}}}:meta", "partitions")
    if count is None:
        raise SystemExit(f"there is no topic {topic}: start a service of its own first")
    return int(count)


def produce(url, topic, events):
    client = redis.Redis.from_url(url, decode_responses=True)
    partitions = partitions_of(client, topic)
    for event in events:
        partition = partition_of(event.key, partitions)
        fields = {f"ce_{name}": value for name, value in event.attributes.items()}
        fields |= {f"h_{name}": value for name, value in event.headers.items()}
        fields |= {"traceparent": event.traceparent, "content-type": event.content_type, "data": event.body}
        client.xadd(f"{{{topic}}}:{partition}", fields)
        yield event, partition


def consume(url, topic, reader, count, ready, handle):
    """With a group of its own, so that nothing is taken away from others. It holds trimming back: destroy it when it is not needed any more."""
    client = redis.Redis.from_url(url, decode_responses=True)
    streams = [f"{{{topic}}}:{partition}" for partition in range(partitions_of(client, topic))]
    for stream in streams:
        try:
            client.xgroup_create(stream, reader, id="0", mkstream=True)
        except redis.ResponseError as problem:
            if "BUSYGROUP" not in str(problem):
                raise
    ready()
    while count > 0:
        for stream, entries in client.xreadgroup(reader, "one", {stream: ">" for stream in streams}, count=count, block=1000):
            for entry, fields in entries:
                body = fields.pop("data", None)  # no such field: a null body
                message = Received(streams.index(stream), None, fields.get("content-type"), fields, body)
                handle(read(message, attribute="ce_", header="h_"))
                client.xack(stream, reader, entry)
                count -= 1
