import { invalid, show } from './check.ts'

/** At most this many application headers of one message. */
export const maxHeaders = 64
/** At most this many UTF-8 bytes of names and values of one message's application headers together. */
export const maxHeaderBytes = 8192

/** The application headers of a message that has none. */
export const noHeaders: Readonly<Record<string, string>> = Object.freeze(Object.create(null) as Record<string, string>)

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const reserved = /^(?:ce[_-]|ph-|cloudevents|content-type$)/i
const breaking = /[\r\n\0]/
const loneSurrogate = /\p{Surrogate}/u

/**
 * Checks headers that an application gave and returns its own frozen copy without prototype, so that later changes of
 * the caller's object change nothing. The rules are the same on every adapter, whatever its wire could carry: names are
 * HTTP tokens, values are texts without CR, LF, NUL or half characters, at most 64, together at most 8 KiB of UTF-8.
 * `traceparent`, `tracestate` and `baggage` are allowed: they continue a trace.
 *
 * @throws MessagingError `INVALID_ARGUMENT` naming the header; what was sent before is not affected
 */
export function checkHeaders(attempted: string, headers: unknown): Readonly<Record<string, string>> {
  if (headers === undefined) return noHeaders
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers) || headers instanceof Map) {
    throw invalid(attempted, `"headers" must be an object of texts, not ${show(headers)}`)
  }
  const names = Object.keys(headers)
  if (names.length === 0) return noHeaders
  if (names.length > maxHeaders) throw invalid(attempted, `it has ${names.length} headers; at most ${maxHeaders} are allowed`)
  const copy = Object.create(null) as Record<string, string>
  let bytes = 0
  for (const name of names) {
    if (!token.test(name)) throw invalid(attempted, `${show(name)} is not a header name. use letters, digits and any of !#$%&'*+.^_\`|~-`)
    if (reserved.test(name)) throw invalid(attempted, `the header name ${show(name)} is reserved for the envelope of messages`)
    const value = (headers as Readonly<Record<string, unknown>>)[name]
    if (typeof value !== 'string') throw invalid(attempted, `the header ${show(name)} must be a text, not ${show(value)}`)
    if (breaking.test(value)) throw invalid(attempted, `the header ${show(name)} holds a line break or NUL, which no header can carry`)
    if (loneSurrogate.test(value))
      throw invalid(attempted, `the header ${show(name)} holds half a character (a lone surrogate), which has no UTF-8`)
    bytes += name.length + Buffer.byteLength(value)
    if (bytes > maxHeaderBytes)
      throw invalid(
        attempted,
        `its headers are over ${maxHeaderBytes} bytes together, at ${show(name)}. send a reference, or put it into the body`,
      )
    copy[name] = value
  }
  return Object.freeze(copy)
}

/**
 * Does a message from outside carry more headers than any of ours could? Such a message is set aside unread instead of
 * parsed, so that nobody can make a receiver work for it. Stops counting as soon as it knows.
 */
export function tooManyHeaders(
  headers: Readonly<Record<string, string>> | null,
  most: number = maxHeaders,
  mostBytes: number = maxHeaderBytes,
): boolean {
  if (headers === null) return false
  let count = 0
  let bytes = 0
  for (const name in headers) {
    count += 1
    if (count > most) return true
    const value = headers[name] ?? ''
    bytes += name.length + value.length
    // A UTF-16 unit is one to three bytes: only where that leaves a doubt are the bytes counted.
    if (bytes > mostBytes) return true
  }
  return bytes * 3 > mostBytes && exactBytes(headers) > mostBytes
}

function exactBytes(headers: Readonly<Record<string, string>>): number {
  let bytes = 0
  for (const name in headers) bytes += Buffer.byteLength(name) + Buffer.byteLength(headers[name] ?? '')
  return bytes
}

const escaped = /[^!#$&-~]/gu
const escapes = /%u([0-9A-F]{4})|((?:%[0-9A-F]{2})+)/gi
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Any text as visible ASCII, for adapters whose wire wants it: what is not visible ASCII, and `"` and `%`, becomes
 * `%XX` per byte of UTF-8, as in the HTTP binding of CloudEvents. Half a character, which has no UTF-8, becomes `%uXXXX`.
 */
export function escapeHeader(text: string): string {
  return text.replace(escaped, (char) => {
    const code = char.codePointAt(0) ?? 0
    if (code >= 0xd800 && code <= 0xdfff) return `%u${code.toString(16).toUpperCase()}`
    let out = ''
    for (const byte of Buffer.from(char)) out += `%${byte < 16 ? '0' : ''}${byte.toString(16).toUpperCase()}`
    return out
  })
}

/** The text that `escapeHeader` was given. Of others' texts, escapes that stand for nothing stay as they are; it never throws. */
export function unescapeHeader(text: string): string {
  if (!text.includes('%')) return text
  return text.replace(escapes, (whole: string, unit: string | undefined) => {
    if (unit !== undefined) return String.fromCharCode(Number.parseInt(unit, 16))
    try {
      return strict.decode(Buffer.from(whole.replaceAll('%', ''), 'hex'))
    } catch {
      return whole
    }
  })
}
