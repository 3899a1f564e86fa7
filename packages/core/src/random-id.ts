import { realBytes, realRandom } from './clock.ts'

// Asking the system costs more than making an id: it is asked for this many at once.
const idsAtOnce = 128

// One text, written as bytes in place: a text put together of pieces stays in pieces, one object each, as long as it is kept.
const form = Buffer.from('00000000-0000-4000-8000-000000000000', 'latin1')
const places = Uint8Array.of(0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34)
const digits = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
const high = Uint8Array.from(digits, (text) => text.charCodeAt(0))
const low = Uint8Array.from(digits, (text) => text.charCodeAt(1))

/** Makes random UUIDs (version 4): from the system's source in real life, from `random` where it is given, so that a simulation repeats them. */
export function createIds(random: () => number): () => string {
  return random === realRandom ? realIds() : () => uuidOf(bytesOf(random), 0)
}

function realIds(): () => string {
  const bytes = new Uint8Array(16 * idsAtOnce)
  let used = bytes.length
  return () => {
    if (used === bytes.length) {
      realBytes(bytes)
      used = 0
    }
    used += 16
    return uuidOf(bytes, used - 16)
  }
}

function bytesOf(random: () => number): Uint8Array {
  const bytes = new Uint8Array(16)
  for (let at = 0; at < 16; ) {
    let bits = Math.floor(random() * 2 ** 32)
    for (let byte = 0; byte < 4; byte++) {
      bytes[at++] = bits & 0xff
      bits >>>= 8
    }
  }
  return bytes
}

function uuidOf(bytes: Uint8Array, from: number): string {
  for (let index = 0; index < 16; index++) {
    let byte = bytes[from + index] ?? 0
    if (index === 6) byte = (byte & 0x0f) | 0x40
    else if (index === 8) byte = (byte & 0x3f) | 0x80
    const at = places[index] ?? 0
    form[at] = high[byte] ?? 0
    form[at + 1] = low[byte] ?? 0
  }
  return form.toString('latin1')
}
