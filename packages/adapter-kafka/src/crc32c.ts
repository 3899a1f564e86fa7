// The checksum of record batches (CRC-32C), sixteen bytes at a step.

const polynomial = 0x82f63b78
/** What a byte does to the checksum that lies so many bytes before its end. */
const tables: readonly Int32Array[] = makeTables()

function makeTables(): readonly Int32Array[] {
  const first = new Int32Array(256)
  for (let byte = 0; byte < 256; byte++) {
    let value = byte
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1
    first[byte] = value
  }
  const all = [first]
  for (let step = 1; step < 16; step++) {
    const before = all[step - 1] as Int32Array
    all.push(before.map((value) => (value >>> 8) ^ (first[value & 0xff] as number)))
  }
  return all
}

type Table = Int32Array
type Tables = readonly [Table, Table, Table, Table, Table, Table, Table, Table, Table, Table, Table, Table, Table, Table, Table, Table]
const [t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12, t13, t14, t15] = tables as Tables

/** CRC-32C of `bytes` from `start` to `end`. */
export function crc32c(bytes: Uint8Array, start = 0, end: number = bytes.length): number {
  // Whole numbers are read where they lie in memory, and that is at every fourth byte.
  const even = Math.min(end, start + (-(bytes.byteOffset + start) & 3))
  let crc = oneByOne(-1, bytes, start, even)
  const whole = littleEndian ? (end - even) >>> 4 : 0
  const words = whole === 0 ? none : new Int32Array(bytes.buffer, bytes.byteOffset + even, whole * 4)
  for (let at = 0; at < words.length; at += 4) {
    const a = crc ^ (words[at] as number)
    const b = words[at + 1] as number
    const c = words[at + 2] as number
    const d = words[at + 3] as number
    crc =
      (t15[a & 0xff] as number) ^
      (t14[(a >>> 8) & 0xff] as number) ^
      (t13[(a >>> 16) & 0xff] as number) ^
      (t12[a >>> 24] as number) ^
      (t11[b & 0xff] as number) ^
      (t10[(b >>> 8) & 0xff] as number) ^
      (t9[(b >>> 16) & 0xff] as number) ^
      (t8[b >>> 24] as number) ^
      (t7[c & 0xff] as number) ^
      (t6[(c >>> 8) & 0xff] as number) ^
      (t5[(c >>> 16) & 0xff] as number) ^
      (t4[c >>> 24] as number) ^
      (t3[d & 0xff] as number) ^
      (t2[(d >>> 8) & 0xff] as number) ^
      (t1[(d >>> 16) & 0xff] as number) ^
      (t0[d >>> 24] as number)
  }
  return (oneByOne(crc, bytes, even + words.byteLength, end) ^ -1) >>> 0
}

const none = new Int32Array(0)
const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

function oneByOne(before: number, bytes: Uint8Array, start: number, end: number): number {
  let crc = before
  for (let at = start; at < end; at++) crc = (crc >>> 8) ^ (t0[(crc ^ (bytes[at] as number)) & 0xff] as number)
  return crc
}
