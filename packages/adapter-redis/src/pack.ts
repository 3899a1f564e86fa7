// Lists of byte strings in one argument and in one reply, as MessagePack, which every server's Lua packs and unpacks in C: a
// batch of five hundred messages is one argument instead of ten thousand, and one buffer instead of ten thousand.

/** Writes lists of texts and bytes one behind the other. Use one per batch: what `take` gave is not written to again. */
export interface PackWriter {
  /** A list of so many items follows. */
  list(count: number): void
  /** A whole number from 0 to 65,535. */
  number(value: number): void
  text(text: string): void
  bytes(bytes: Uint8Array): void
  /** Packed already: by another writer, or by `packed`. */
  raw(packed: Uint8Array): void
  readonly size: number
  take(): Buffer
  /** All its room, to make another writer of when nobody needs what was taken any more. */
  readonly room: Buffer
}

/** Makes a writer with room for about so many bytes, or in this room, which grows where it is too small. */
export function packWriter(room: number | Buffer): PackWriter {
  let buffer = typeof room === 'number' ? Buffer.allocUnsafe(Math.max(64, room)) : room
  let at = 0

  function need(bytes: number): void {
    if (at + bytes <= buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(buffer.length * 2, at + bytes))
    buffer.copy(larger, 0, 0, at)
    buffer = larger
  }
  // The caller made room for 5 bytes.
  function head(length: number): void {
    if (length < 32) buffer[at++] = 0xa0 | length
    else if (length < 256) {
      buffer[at++] = 0xd9
      buffer[at++] = length
    } else if (length < 65_536) {
      buffer[at++] = 0xda
      at = buffer.writeUInt16BE(length, at)
    } else {
      buffer[at++] = 0xdb
      at = buffer.writeUInt32BE(length, at)
    }
  }

  // A few letters are written sooner than anybody can be asked to write them. False: there are others than ASCII's.
  function short(text: string): boolean {
    const { length } = text
    need(1 + length)
    const start = at + 1
    let all = 0
    for (let index = 0; index < length; index++) {
      const code = text.charCodeAt(index)
      buffer[start + index] = code
      all |= code
    }
    if (all > 127) return false
    buffer[at] = 0xa0 | length
    at = start + length
    return true
  }

  return {
    list(count) {
      need(5)
      if (count < 16) buffer[at++] = 0x90 | count
      else if (count < 65_536) {
        buffer[at++] = 0xdc
        at = buffer.writeUInt16BE(count, at)
      } else {
        buffer[at++] = 0xdd
        at = buffer.writeUInt32BE(count, at)
      }
    },
    number(value) {
      need(3)
      if (value < 128) buffer[at++] = value
      else {
        buffer[at++] = 0xcd
        at = buffer.writeUInt16BE(value, at)
      }
    },
    text(text) {
      if (text.length < 32 && short(text)) return
      const length = Buffer.byteLength(text)
      need(5 + length)
      head(length)
      at += buffer.write(text, at, length, length === text.length ? 'latin1' : 'utf8')
    },
    bytes(bytes) {
      need(5 + bytes.length)
      head(bytes.length)
      buffer.set(bytes, at)
      at += bytes.length
    },
    raw(packed) {
      need(packed.length)
      buffer.set(packed, at)
      at += packed.length
    },
    get size() {
      return at
    },
    take: () => buffer.subarray(0, at),
    get room() {
      return buffer
    },
  }
}

/** These texts, packed one behind the other: what is said again and again is packed once. */
export function packed(...texts: readonly string[]): Buffer {
  const writer = packWriter(64)
  for (const text of texts) writer.text(text)
  return Buffer.from(writer.take())
}

/** Reads what the server's Lua packed: lists, byte strings, and false for what is not there. */
export interface PackReader {
  readonly buffer: Buffer
  /** Where the next item begins, and after `string` where the last one's bytes do. */
  at: number
  /** Length of a list; -1 where a false stands instead. */
  list(): number
  /** Length of a byte string; its bytes begin at `at`, which the caller moves on. */
  string(): number
}

/** Makes a reader. Throws RangeError for what no server packs. */
export function packReader(buffer: Buffer): PackReader {
  const reader: PackReader = {
    buffer,
    at: 0,
    list() {
      const kind = buffer[reader.at++] ?? 0
      if (kind >= 0x90 && kind <= 0x9f) return kind & 0x0f
      if (kind === 0xdc) {
        reader.at += 2
        return buffer.readUInt16BE(reader.at - 2)
      }
      if (kind === 0xdd) {
        reader.at += 4
        return buffer.readUInt32BE(reader.at - 4)
      }
      // An empty table of Lua may be an empty map.
      if (kind === 0x80) return 0
      if (kind === 0xc2 || kind === 0xc0) return -1
      throw new RangeError(`no list but ${kind}`)
    },
    string() {
      const kind = buffer[reader.at++] ?? 0
      if (kind >= 0xa0 && kind <= 0xbf) return kind & 0x1f
      if (kind === 0xd9) return buffer[reader.at++] ?? 0
      if (kind === 0xda) {
        reader.at += 2
        return buffer.readUInt16BE(reader.at - 2)
      }
      if (kind === 0xdb) {
        reader.at += 4
        return buffer.readUInt32BE(reader.at - 4)
      }
      throw new RangeError(`no string but ${kind}`)
    },
  }
  return reader
}
