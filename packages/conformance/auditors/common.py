"""What the auditors share: JSON lines over stdin and stdout, and the names of a CloudEvent. No broker is known here.

A request is {"id", "call", "args"}, an answer {"id", "value"}, {"id", "error"} or {"id", "unsupported"}. Bytes travel as
{"base64": "..."}. The process ends when its stdin does.
"""

import base64
import json
import sys
from datetime import datetime, timezone

TRACE = ("traceparent", "tracestate", "baggage")
# Attributes that have a member of their own in a message; all others are in "attributes".
OWN = {"id": "id", "time": "time", "expirytime": "expiresAt", "partitionkey": "key"}


class Unsupported(Exception):
    """What this broker cannot do or tell, with the reason."""


class Missing(Exception):
    """There is no such topic, group or partition."""


def encode(value):
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {str(name): encode(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(each) for each in value]
    return value


def decode(value):
    if isinstance(value, dict):
        if set(value) == {"base64"}:
            return base64.b64decode(value["base64"])
        return {name: decode(each) for name, each in value.items()}
    if isinstance(value, list):
        return [decode(each) for each in value]
    return value


def serve(calls):
    """Answers one request after the other until stdin ends. `calls` is an object with a method for each call."""
    for line in sys.stdin:
        if line.strip() == "":
            continue
        request = json.loads(line)
        answer = {"id": request["id"]}
        try:
            call = getattr(calls, "call_" + request["call"], None)
            if call is None:
                raise Unsupported(f"the auditor of this server does not know the call \"{request['call']}\"")
            answer["value"] = encode(call(*decode(request["args"])))
        except Unsupported as problem:
            answer["unsupported"] = str(problem)
        except Exception as problem:  # noqa: BLE001 - whatever it is, the caller is to hear of it
            answer["error"] = f"{type(problem).__name__}: {problem}"
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def murmur2(data):
    """Kafka's hash of a key, as its Java client computes it."""
    mask = 0xFFFFFFFF
    length = len(data)
    value = (0x9747B28C ^ length) & mask
    for at in range(0, length - length % 4, 4):
        k = int.from_bytes(data[at : at + 4], "little")
        k = (k * 0x5BD1E995) & mask
        k ^= k >> 24
        k = (k * 0x5BD1E995) & mask
        value = ((value * 0x5BD1E995) & mask) ^ k
    rest = data[length - length % 4 :]
    if len(rest) >= 3:
        value ^= rest[2] << 16
    if len(rest) >= 2:
        value ^= rest[1] << 8
    if len(rest) >= 1:
        value ^= rest[0]
        value = (value * 0x5BD1E995) & mask
    value ^= value >> 13
    value = (value * 0x5BD1E995) & mask
    value ^= value >> 15
    return value


def partition_of(key, partitions):
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def timestamp(ms):
    """Milliseconds since 1970 as RFC 3339."""
    whole, rest = divmod(int(ms), 1000)
    return datetime.fromtimestamp(whole, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:03d}Z"


def milliseconds(text):
    """RFC 3339 as milliseconds since 1970, or None."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    return round((moment - epoch).total_seconds() * 1000)


def is_transport(name):
    return name in TRACE or name.startswith("ph-")


def attributes_of(message):
    """The attributes that a plain client writes for a message, by their CloudEvents names, in a fixed order."""
    given = {}
    for name, member in OWN.items():
        value = message.get(member)
        if value is not None:
            given[name] = timestamp(value) if name in ("time", "expirytime") else value
    return {**given, **(message.get("attributes") or {})}


def stored(partition, position, attributes, headers, transport, body, undecodable=None, due=None):
    """A message as the suite wants it, from attributes by their CloudEvents names."""
    rest = {name: value for name, value in attributes.items() if name not in OWN}
    return {
        "partition": partition,
        "position": position,
        "id": attributes.get("id"),
        "key": attributes.get("partitionkey"),
        "body": body,
        "time": milliseconds(attributes.get("time", "")),
        "expiresAt": milliseconds(attributes.get("expirytime", "")),
        "attributes": rest,
        "headers": headers or None,
        "transport": transport or None,
        "undecodable": undecodable,
        "dueAt": due,
    }
