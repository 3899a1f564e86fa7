import { realId, realRandom } from './clock.ts'

const hex: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Makes random UUIDs (version 4): from the system's source in real life, from `random` where it is given, so that a simulation repeats them. */
export function createIds(random: () => number): () => string {
  return random === realRandom ? realId : () => uuidOf(random)
}

function uuidOf(random: () => number): string {
  const bytes: number[] = []
  for (let word = 0; word < 4; word++) {
    let bits = Math.floor(random() * 2 ** 32)
    for (let byte = 0; byte < 4; byte++) {
      bytes.push(bits & 0xff)
      bits >>>= 8
    }
  }
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  let text = ''
  for (const [index, byte] of bytes.entries()) {
    if (index === 4 || index === 6 || index === 8 || index === 10) text += '-'
    text += hex[byte] ?? ''
  }
  return text
}
