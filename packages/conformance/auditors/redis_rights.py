"""What a Redis user may not do any more, as ACL rules.

The rules know only what is allowed, so "everything but the keys of one topic" is written as the patterns of all keys that
differ from it somewhere: [^a]*, a[^b]*, ab[^c]* for all that do not begin with "abc".
"""

PARTITIONS = list("0123456789")
PLACES = [*PARTITIONS, "delay", "retry", "dead"]
# Per operation the commands that do it and the keys on which they do: what follows "{topic}:" begins with one of these.
COMMANDS = {
    "publish": {"xadd": PLACES, "zadd": ["delay"]},
    "declare": {"xgroup": PARTITIONS, "hsetnx": ["meta"], "hset": ["meta"]},
    "subscribe": {"zadd": ["mem"], "hset": ["cast"]},
    "renew": {"zadd": ["mem"], "hset": ["cast"]},
    "read": {"xreadgroup": PARTITIONS},
    "settle": {"xack": PARTITIONS, "zrem": ["retry"]},
    "release": {"hdel": ["own"]},
    "leave": {"zrem": ["mem"]},
    "browse": {"xrange": ["dead"]},
    "remove": {"xdel": ["dead"]},
    "inspect": {"xinfo": PARTITIONS},
}


def escaped(text):
    return "".join("\\" + each if each in "*?[]\\^" else each for each in text)


def all_but(prefixes):
    """Glob patterns that together match every key that begins with none of the prefixes."""
    patterns = []

    def walk(path, rest):
        if "" in rest:
            return  # everything from here on is taken away
        heads = sorted({each[0] for each in rest})
        if path != "":
            patterns.append(escaped(path))
        patterns.append(f"{escaped(path)}[^{''.join(escaped(head) for head in heads)}]*")
        for head in heads:
            walk(path + head, {each[1:] for each in rest if each[0] == head})

    walk("", set(prefixes))
    return patterns


def user_rules(denied):
    """The rules of the adapter's user, to be given to ACL SETUSER. `denied`: pairs of operation and topic, None for all."""
    rules = ["on", "clearselectors", "resetkeys", "~*", "&*", "+@all"]
    taken = {}
    for operation, topic in denied:
        if operation == "connect":
            rules[0] = "off"
            continue
        for command, ends in COMMANDS[operation].items():
            prefixes = taken.setdefault(command, [])
            prefixes += [""] if topic is None else [f"{{{topic}}}:{end}" for end in ends]
    for command, prefixes in taken.items():
        rules.append(f"-{command}")
        keys = all_but(prefixes)
        if keys:
            rules.append(f"(+{command} {' '.join('~' + key for key in keys)})")
    return rules
