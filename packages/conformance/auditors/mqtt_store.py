"""Reads the file in which Mosquitto keeps what it holds (`mosquitto.db`, version 6): messages, and what of them waits in which session.
All numbers but ids and times are big-endian.
"""

import struct

MAGIC = b"\x00\xb5\x00mosquitto db"
STORE, CLIENT_MESSAGE, RETAIN, SUBSCRIPTION, CLIENT = 2, 3, 4, 5, 6
WAITS_FOR_PUBACK = 3
OUTWARDS = 1


def number(data, at):
    """A length in one to four bytes, and where it ends."""
    value, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def text(data, at):
    size = struct.unpack_from(">H", data, at)[0]
    return data[at + 2 : at + 2 + size], at + 2 + size


FIXED = {0x01: 1, 0x02: 4, 0x23: 2, 0x24: 1, 0x25: 1, 0x11: 4, 0x18: 4, 0x21: 2, 0x22: 2, 0x27: 4, 0x13: 2, 0x17: 1, 0x19: 1, 0x28: 1, 0x29: 1, 0x2A: 1}


def properties(data):
    """Content type, user properties in order."""
    found, content_type = [], None
    if len(data) == 0:
        return content_type, found
    size, at = number(data, 0)
    end = at + size
    while at < end:
        kind = data[at]
        at += 1
        if kind == 0x26:
            name, at = text(data, at)
            value, at = text(data, at)
            found.append((name.decode(), value.decode()))
        elif kind == 0x0B:
            _, at = number(data, at)
        elif kind in FIXED:
            at += FIXED[kind]
        else:
            value, at = text(data, at)
            if kind == 0x03:
                content_type = value.decode()
    return content_type, found


class Store:
    """`messages`: by id, a tuple of topic, payload, content type, user properties. `waiting`: by client, ids and whether they are out."""

    def __init__(self, data):
        if data[: len(MAGIC)] != MAGIC or struct.unpack_from(">I", data, 19)[0] != 6:
            raise ValueError("no store of a version that is known")
        self.messages, self.waiting, self.clients, self.subscriptions = {}, {}, set(), {}
        at = 23
        while at < len(data):
            kind, size = struct.unpack_from(">II", data, at)
            self.chunk(kind, data[at + 8 : at + 8 + size])
            at += 8 + size

    def chunk(self, kind, data):
        if kind == STORE:
            ident, _expiry, payload, _mid, source, user, topic, _port, _qos, _retain = struct.unpack_from("<Qq", data) + struct.unpack_from(">IHHHHHBB", data, 16)
            at = 32 + source + user
            name = data[at : at + topic].decode()
            at += topic
            body = bytes(data[at : at + payload])
            content_type, user_properties = properties(data[at + payload :])
            self.messages[ident] = (name, body, content_type, user_properties)
        elif kind == CLIENT_MESSAGE:
            (ident,) = struct.unpack_from("<Q", data)
            _mid, size, _qos, state, _retain_dup, direction = struct.unpack_from(">HHBBBB", data, 8)
            client = data[16 : 16 + size].decode()
            if direction == OUTWARDS:
                self.waiting.setdefault(client, []).append((ident, state == WAITS_FOR_PUBACK))
        elif kind == CLIENT:
            size = struct.unpack_from(">H", data, 14)[0]
            self.clients.add(data[24 : 24 + size].decode())
        elif kind == SUBSCRIPTION:
            size, topic = struct.unpack_from(">HH", data, 4)
            client = data[12 : 12 + size].decode()
            self.subscriptions.setdefault(client, set()).add(data[12 + size : 12 + size + topic].decode())
