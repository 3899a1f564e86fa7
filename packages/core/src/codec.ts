import { isThenable } from './check.ts'

/** Turns values into bytes and back. Both directions must be pure; `decode` gets bytes from anybody and may throw. */
export interface Codec {
  /** Travels as CloudEvents `datacontenttype`. */
  readonly contentType: string
  encode(value: unknown): Uint8Array | Promise<Uint8Array>
  decode(bytes: Uint8Array): unknown
}

const utf8 = new TextDecoder('utf-8', { fatal: true })
// A text is what was sent, a byte order mark at its beginning included.
const exactUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const json: Codec = Object.freeze({
  contentType: 'application/json',
  encode(value: unknown): Uint8Array {
    const text = JSON.stringify(value)
    if (text === undefined) throw new TypeError(`JSON has no form for ${typeof value === 'function' ? 'a function' : String(value)}`)
    return Buffer.from(text)
  },
  // JSON.parse makes own properties of "__proto__", so a body cannot reach a prototype; it parses iteratively deep bodies
  // by recursion in native code with a stack check, which throws instead of crashing.
  decode: (bytes: Uint8Array): unknown => JSON.parse(utf8.decode(bytes)),
})
const text: Codec = Object.freeze({
  contentType: 'text/plain; charset=utf-8',
  encode(value: unknown): Uint8Array {
    if (typeof value !== 'string') throw new TypeError('the codec "text" takes a string')
    return Buffer.from(value)
  },
  decode: (bytes: Uint8Array): unknown => exactUtf8.decode(bytes),
})
// `slice` of a Buffer shares its memory, so the copies are made by constructor.
const bytes: Codec = Object.freeze({
  contentType: 'application/octet-stream',
  encode(value: unknown): Uint8Array {
    if (!(value instanceof Uint8Array)) throw new TypeError('the codec "bytes" takes a Uint8Array')
    return new Uint8Array(value)
  },
  decode: (body: Uint8Array): unknown => new Uint8Array(body),
})

/** A copy of bytes; anything else is looked at by who asked. */
const owned = <T>(given: T): T | Uint8Array => (given instanceof Uint8Array ? new Uint8Array(given) : given)

/**
 * The codec that a topic's option names. One of the application is copied both ways: it may write the next value into the
 * same bytes, and a handler that changes what it gave out changes nothing that the next attempt sees.
 */
export function codecOf(option: 'json' | 'text' | 'bytes' | Codec | undefined): Codec {
  if (option === undefined || option === 'json') return json
  if (option === 'text' || option === 'bytes') return option === 'text' ? text : bytes
  return Object.freeze({
    contentType: option.contentType,
    encode(value: unknown): Uint8Array | Promise<Uint8Array> {
      const encoded = option.encode(value)
      return isThenable(encoded) ? Promise.resolve(encoded).then(owned) : owned(encoded)
    },
    decode: (body: Uint8Array) => option.decode(new Uint8Array(body)),
  })
}
