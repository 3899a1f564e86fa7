package polyglot;

import static java.nio.charset.StandardCharsets.UTF_8;

/** The partition of a key: Kafka's murmur2 of its UTF-8 bytes, without the sign, modulo the number of partitions. */
final class Partition {
  private static final int M = 0x5bd1e995;

  static int of(String key, int partitions) {
    return (murmur2(key.getBytes(UTF_8)) & 0x7fffffff) % partitions;
  }

  static int murmur2(byte[] data) {
    int value = 0x9747b28c ^ data.length;
    int whole = data.length & ~3;
    for (int at = 0; at < whole; at += 4) {
      int k = (data[at] & 0xff | (data[at + 1] & 0xff) << 8 | (data[at + 2] & 0xff) << 16 | data[at + 3] << 24) * M;
      value = value * M ^ (k ^ k >>> 24) * M;
    }
    if (whole < data.length) {
      for (int at = whole; at < data.length; at++) value ^= (data[at] & 0xff) << 8 * (at - whole);
      value *= M;
    }
    value = (value ^ value >>> 13) * M;
    return value ^ value >>> 15;
  }

  private Partition() {}
}
