"""The partition of a key: Kafka's murmur2 of its UTF-8 bytes, without the sign, modulo the number of partitions."""

MASK = 0xFFFFFFFF
M = 0x5BD1E995


def murmur2(data):
    value = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * M & MASK
        k = (k ^ k >> 24) * M & MASK
        value = (value * M & MASK) ^ k
    if whole < len(data):
        value = (value ^ int.from_bytes(data[whole:], "little")) * M & MASK
    value = (value ^ value >> 13) * M & MASK
    return value ^ value >> 15


def partition_of(key, partitions):
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
