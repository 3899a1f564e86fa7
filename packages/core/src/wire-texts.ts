// Texts and bodies inside the bytes of an answer, and the names under which they lie there. Every message that is read passes through
// here several times, so nothing is made that nobody needs.

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const shortText = 128

/** The text that lies there. Short ones are nearly always ASCII, which is sooner seen than decoded. @throws TypeError for bytes that are no UTF-8 */
export function textAt(buffer: Buffer, start: number, length: number): string {
  const end = start + length
  if (length < shortText && ascii(buffer, start, end)) return buffer.toString('latin1', start, end)
  return strict.decode(buffer.subarray(start, end))
}

function ascii(buffer: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if ((buffer[at] as number) > 127) return false
  return true
}

// Bodies up to this are copied out of the answer, so that one that is held long does not hold its neighbours.
const smallBody = 4096

/** The body that lies there: a copy, or a part of the same memory where it is most of it. */
export function bodyAt(buffer: Buffer, start: number, length: number): Buffer {
  if (length > smallBody && length * 4 >= buffer.length) return buffer.subarray(start, start + length)
  const body = Buffer.allocUnsafe(length)
  buffer.copy(body, 0, start, start + length)
  return body
}

/**
 * Reads names as `textAt` does. Those that nearly every message has, of different lengths and in ASCII, are known by their bytes, without
 * a text being made.
 */
export function nameReader(likely: readonly string[]): typeof textAt {
  const byLength: ({ readonly text: string; readonly bytes: Uint8Array } | undefined)[] = []
  for (const text of likely) byLength[text.length] = { text, bytes: Buffer.from(text, 'latin1') }
  return (buffer, start, length) => {
    const name = byLength[length]
    if (name === undefined) return textAt(buffer, start, length)
    const { bytes } = name
    for (let at = 0; at < length; at++) if (buffer[start + at] !== bytes[at]) return textAt(buffer, start, length)
    return name.text
  }
}

const elsewhere = /^(?:ce-|cloudEvents[:_])([a-z0-9]+)$/i

/** The name of a header with `ce_` in front of an attribute of CloudEvents: libraries of other protocols write `ce-`, `cloudEvents:` or `cloudEvents_`. */
export function ceName(name: string): string {
  const code = name.charCodeAt(0) | 0x20
  if (code !== 0x63 || name.startsWith('ce_')) return name
  const attribute = elsewhere.exec(name)?.[1]
  return attribute === undefined ? name : `ce_${attribute.toLowerCase()}`
}
