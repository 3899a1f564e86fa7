"""MQTT 5 with paho. A partition is a topic, orders/placed/@0 and so on; attributes are user properties by their own names."""

import json
import queue
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from event import Received, read
from partition import partition_of

DAY = 86_400


def connect(url, name="", session_seconds=0):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5, manual_ack=True)
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = session_seconds
    where = urlsplit(url)
    client.connect(where.hostname, where.port or 1883, clean_start=session_seconds == 0, properties=properties)
    client.loop_start()
    return client


def leave(client):
    client.disconnect()
    client.loop_stop()  # when everything is written


def subscribe(client, topics, qos):
    """Waits for the server's answer: what is published from then on comes."""
    answers = queue.Queue()
    client.on_subscribe = lambda _client, _data, _mid, reasons, _properties: answers.put(reasons)
    client.subscribe([(topic, qos) for topic in topics])
    refused = [str(reason) for reason in answers.get(timeout=30) if reason.is_failure]
    if refused:
        raise SystemExit(f"the server refused {list(topics)}: {refused}")


def partitions_of(client, topic):
    """A retained record has the number of partitions, once a service of ours has declared the topic."""
    records = queue.Queue()
    name = f"posthorn/topic/{topic}"
    client.message_callback_add(name, lambda _client, _data, message: records.put(message.payload))
    subscribe(client, [name], qos=0)
    try:
        return json.loads(records.get(timeout=10))["partitions"]
    except queue.Empty:
        raise SystemExit(f"there is no topic {topic}: start a service of its own first") from None
    finally:
        client.unsubscribe(name)


def produce(url, topic, events):
    client = connect(url)
    partitions = partitions_of(client, topic)
    answers = queue.Queue()
    client.on_publish = lambda _client, _data, _mid, reason, _properties: answers.put(reason)
    for event in events:
        partition = partition_of(event.key, partitions)
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = event.content_type
        named = event.attributes | {f"h_{name}": value for name, value in event.headers.items()}
        properties.UserProperty = list((named | {"traceparent": event.traceparent}).items())
        client.publish(f"{topic.replace('.', '/')}/@{partition}", event.body, qos=1, properties=properties)
        reason = answers.get(timeout=30)
        if reason.value != 0:  # 16: nobody is subscribed, and so nobody has stored it
            raise SystemExit(f"{event.attributes['id']} was not stored: {reason}")
        yield event, partition
    leave(client)


def consume(url, topic, reader, count, ready, handle):
    """With a session of its own name, for which the server queues while we are away."""
    client = connect(url, reader, session_seconds=DAY)
    partitions = partitions_of(client, topic)
    path = topic.replace(".", "/")
    places = {f"{path}/@{partition}": partition for partition in range(partitions)} | {path: 0}
    messages = queue.Queue()
    client.on_message = lambda _client, _data, message: messages.put(message)
    subscribe(client, places, qos=1)
    ready()
    for _ in range(count):
        message = messages.get()
        content_type = getattr(message.properties, "ContentType", None)
        names = dict(getattr(message.properties, "UserProperty", []))
        handle(read(Received(places[message.topic], None, content_type, names, message.payload.decode()), header="h_"))
        client.ack(message.mid, message.qos)
    leave(client)
