// W3C trace context as text, on every broker: `traceparent`, `tracestate`, `baggage`. In the transport headers it is this
// hop; in the attribute `traceparent` it is where the message was created. What arrives malformed is dropped, never copied.

type Headers = Readonly<Record<string, string>>

const parentForm = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const stateKey = /^(?:[a-z0-9][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})$/
const stateValue = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/
// Nothing here can match one text in two ways, so that no text from outside takes long to refuse.
const baggageMember =
  /^[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=[ \t]*[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*[ \t]*(?:;[\t\x20\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]*)?$/
const plainText = /^[\t\x20-\x7e]+$/

const mostParent = 256
const mostState = 512
const mostBaggage = 8192

/** Is this a `traceparent` that may be continued? Later versions of the form are read as far as this one goes. */
export function isTraceparent(value: unknown): value is string {
  if (typeof value !== 'string' || value.length < 55 || value.length > mostParent) return false
  const match = parentForm.exec(value)
  return match !== null && (match[1] !== '00' || match[5] === undefined)
}

/** Is this a `tracestate` that may be passed on: at most 32 members and 512 characters, no key twice? */
export function isTracestate(value: unknown): value is string {
  if (typeof value !== 'string' || value.length > mostState || !plainText.test(value)) return false
  const keys = new Set<string>()
  for (const part of value.split(',')) {
    const member = part.trim()
    if (member === '') continue
    const equals = member.indexOf('=')
    const key = member.slice(0, Math.max(0, equals))
    if (!stateKey.test(key) || !stateValue.test(member.slice(equals + 1)) || keys.has(key)) return false
    keys.add(key)
  }
  return keys.size > 0 && keys.size <= 32
}

/** Is this a `baggage` that may be passed on: at most 64 members and 8 KiB? */
export function isBaggage(value: unknown): value is string {
  if (typeof value !== 'string' || value.length > mostBaggage || !plainText.test(value)) return false
  const members = value.split(',')
  return members.length <= 64 && members.every((part) => baggageMember.test(part.trim()))
}

/**
 * The valid trace headers among these: what of a received message may be shown and passed on. Null where there are none.
 * `tracestate` belongs to a `traceparent` and goes with it; `baggage` stands by itself.
 */
export function traceOf(headers: Headers | null | undefined): Record<string, string> | null {
  if (headers === null || headers === undefined) return null
  const { traceparent, tracestate, baggage } = headers
  if (traceparent === undefined && baggage === undefined) return null
  const found = Object.create(null) as Record<string, string>
  let any = false
  if (isTraceparent(traceparent)) {
    found.traceparent = traceparent
    if (tracestate !== undefined && isTracestate(tracestate)) found.tracestate = tracestate
    any = true
  }
  if (baggage !== undefined && isBaggage(baggage)) {
    found.baggage = baggage
    any = true
  }
  return any ? found : null
}

/**
 * The trace headers of the next hop: the same trace with a new span where `parent` holds a valid one, else a new trace.
 * The parent's sampling decision, `tracestate` and `baggage` go along; bad values are dropped. Never throws.
 */
export function nextTrace(parent: Headers | null | undefined, random: () => number): Record<string, string> {
  const next = traceOf(parent)
  // Most messages begin a trace: an ordinary object, which costs a fraction of one without prototype.
  if (next === null) return { traceparent: newTraceparent(random) }
  const { traceparent } = next
  next.traceparent =
    traceparent === undefined
      ? newTraceparent(random)
      : // Known flags only: sampled, and that the trace id is random. A later version's flags mean nothing here.
        `00-${traceparent.slice(3, 35)}-${newSpan(random)}-0${Number.parseInt(traceparent.slice(53, 55), 16) & 3}`
  return next
}

/**
 * The trace in which a message was created, for the attribute `traceparent` of its copies: what the attribute says
 * already, else the transport's, because on the first hop the two are equal and the attribute is left out.
 */
export function creationTrace(message: { readonly attributes: Headers; readonly transport: Headers | null }): string | undefined {
  const created = message.attributes.traceparent
  if (isTraceparent(created)) return created
  const hop = message.transport?.traceparent
  return isTraceparent(hop) ? hop : undefined
}

// One call of `random` gives 48 bits, twelve digits: a new trace costs four calls.
const digits: readonly string[] = Array.from({ length: 4096 }, (_, i) => i.toString(16).padStart(3, '0'))

function twelve(random: () => number): string {
  const value = random()
  const high = Math.floor(value * 0x1000000)
  const low = Math.floor((value * 0x1000000 - high) * 0x1000000)
  return `${digits[high >>> 12]}${digits[high & 4095]}${digits[low >>> 12]}${digits[low & 4095]}`
}

// One text, written as bytes in place: most messages begin a trace, and a text made of pieces stays in pieces.
const form = Buffer.from(`00-${'0'.repeat(32)}-${'0'.repeat(16)}-01`, 'latin1')
const traceAt = 3
const spanAt = 36
const hexDigits = Buffer.from('0123456789abcdef', 'latin1')

function write(at: number, bits: number, count: number): void {
  for (let end = at + count - 1; end >= at; end--) {
    form[end] = hexDigits[bits & 15] ?? 0
    bits >>>= 4
  }
}

// The text of a whole trace is 48 digits: 32 of the trace id, 16 of the span.
function newTraceparent(random: () => number): string {
  let trace = 0
  let span = 0
  for (let part = 0; part < 4; part++) {
    const value = random()
    const high = Math.floor(value * 0x1000000)
    const low = Math.floor((value * 0x1000000 - high) * 0x1000000)
    if (part < 2) {
      write(traceAt + part * 12, high, 6)
      write(traceAt + part * 12 + 6, low, 6)
      trace |= high | low
    } else if (part === 2) {
      write(traceAt + 24, high, 6)
      write(traceAt + 30, low >>> 16, 2)
      write(spanAt, low & 0xffff, 4)
      trace |= high | (low >>> 16)
      span |= low & 0xffff
    } else {
      write(spanAt + 4, high, 6)
      write(spanAt + 10, low, 6)
      span |= high | low
    }
  }
  if (trace === 0) write(traceAt, 1, 32)
  if (span === 0) write(spanAt, 1, 16)
  return form.toString('latin1')
}

function newSpan(random: () => number): string {
  return orOne(`${twelve(random)}${twelve(random).slice(0, 4)}`)
}

// All zeros means "none" and is not valid. A pinned source of randomness gives it.
const orOne = (span: string): string => (span === '0000000000000000' ? '0000000000000001' : span)
