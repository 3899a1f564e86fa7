// CloudEvents writes points in time as RFC 3339; everything here counts milliseconds since 1970.

const form = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,30}))?(Z|z|[+-]\d\d:\d\d)$/

let lastMs = Number.NaN
let lastText = ''

/** As RFC 3339 in UTC with milliseconds. Messages of one millisecond share the text. @throws RangeError beyond the years a Date can hold */
export function formatTime(ms: number): string {
  if (ms !== lastMs) {
    lastText = new Date(ms).toISOString()
    lastMs = ms
  }
  return lastText
}

let parsedText = ''
let parsedMs: number | null = null

/** Milliseconds since 1970, finer digits cut off, or null for what is no RFC 3339 point in time. Messages of one millisecond are read once. Never throws. */
export function parseTime(text: unknown): number | null {
  if (typeof text !== 'string' || text.length > 64) return null
  if (text !== parsedText) {
    parsedMs = parsed(text)
    parsedText = text
  }
  return parsedMs
}

function parsed(text: string): number | null {
  const match = form.exec(text)
  if (match === null) return null
  const [, day, clock, fraction = '', zone] = match
  const ms = Date.parse(`${day}T${clock}.${fraction.padEnd(3, '0').slice(0, 3)}${zone === 'z' ? 'Z' : zone}`)
  return Number.isNaN(ms) ? null : ms
}
