import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isMessagingError } from '../src/errors.ts'
import { checkHeaders, escapeHeader, maxHeaderBytes, tooManyHeaders, unescapeHeader } from '../src/headers.ts'

const check = (headers: unknown) => checkHeaders('cannot send to "orders.placed"', headers)
const refusal = (headers: unknown): string => {
  try {
    check(headers)
  } catch (error) {
    if (isMessagingError(error, 'INVALID_ARGUMENT')) return error.message
    throw error
  }
  return 'accepted'
}
const record = (entries: readonly (readonly [string, string])[]) => Object.fromEntries(entries)

describe('checkHeaders', () => {
  it('takes HTTP tokens with any text, and the names of a trace', () => {
    const headers = {
      'x-tenant': 'ä☺',
      "!#$%&'*+.^_`|~9": '',
      empty: '',
      numeric: '007',
      spaced: '  a b  ',
      traceparent: 't',
      baggage: 'a=b',
      tracestate: 'x=y',
    }
    expect({ ...check(headers) }).toEqual(headers)
  })

  it('returns a frozen copy without prototype that follows no change of the original', () => {
    const headers = { a: '1' }
    const copy = check(headers)
    headers.a = '2'
    expect(copy.a).toBe('1')
    expect(Object.getPrototypeOf(copy)).toBeNull()
    expect(Object.isFrozen(copy)).toBe(true)
  })

  it('keeps "__proto__" and "constructor" as plain names', () => {
    const copy = check(JSON.parse('{"__proto__":"a","constructor":"b"}'))
    expect(Object.entries(copy)).toEqual([
      ['__proto__', 'a'],
      ['constructor', 'b'],
    ])
    expect(({} as Record<string, unknown>).a).toBeUndefined()
  })

  it('has none for undefined and for an empty object', () => {
    expect(Object.keys(check(undefined))).toEqual([])
    expect(Object.keys(check({}))).toEqual([])
  })

  it.each(['a b', '', 'ä', 'a:b', 'a/b', 'a\r\nb', 'a\0', '☺', '(a)', '"a"', '../', '\\'])('refuses the name %j', (name) => {
    expect(refusal({ [name]: 'x' })).toContain('is not a header name')
  })

  it.each(['a\rb', 'a\nb', '\0', 'a\r\nSet-Cookie: b'])('refuses the value %j', (value) => {
    expect(refusal({ good: 'x', 'x-bad': value })).toContain('"x-bad"')
  })

  it.each(['ce_id', 'CE_type', 'ce-source', 'cloudEvents_id', 'ph-due', 'Ph-Attempt', 'content-type', 'Content-Type'])(
    'refuses the reserved name %s',
    (name) => {
      expect(refusal({ [name]: 'x' })).toContain('reserved')
    },
  )

  it.each([1, true, null, undefined, {}, [], Symbol('x'), 1n])('refuses a value that is no text: %o', (value) => {
    expect(refusal({ 'x-count': value })).toContain('"x-count" must be a text')
  })

  it.each([null, 'a', 1, ['a'], new Map([['a', 'b']]), () => 'x'])('refuses %j as headers', (headers) => {
    expect(refusal(headers)).toContain('"headers" must be an object of texts')
  })

  it('takes 64 headers and refuses 65', () => {
    const many = (count: number) => record(Array.from({ length: count }, (_, i) => [`h${i}`, 'x'] as const))
    expect(Object.keys(check(many(64)))).toHaveLength(64)
    expect(refusal(many(65))).toContain('65 headers')
  })

  it('takes 8 KiB of names and values in UTF-8 and refuses one byte more', () => {
    expect(check({ h: 'x'.repeat(maxHeaderBytes - 1) }).h).toHaveLength(maxHeaderBytes - 1)
    expect(refusal({ h: 'x'.repeat(maxHeaderBytes) })).toContain('8192 bytes')
    expect(refusal({ h: `x${'ä'.repeat(4096)}` })).toContain('8192 bytes')
    expect(check({ h: `x${'ä'.repeat(4095)}` }).h).toHaveLength(4096)
  })

  it('refuses half a character, which would arrive as another text', () => {
    expect(refusal({ h: 'a\ud800b' })).toContain('half a character')
    expect(check({ h: '\ud83d\ude00' }).h).toBe('😀')
  })
})

describe('tooManyHeaders', () => {
  it('agrees with what may be sent, for any headers', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.stringMatching(/^[a-z]{1,4}$/), fc.string({ unit: 'grapheme', maxLength: 400 }), { maxKeys: 70 }),
        (headers) => {
          const clean = Object.fromEntries(
            Object.entries(headers).map(([name, value]) => [`x-${name}`, value.replace(/[\r\n\0]|\p{Surrogate}/gu, '')]),
          )
          expect(tooManyHeaders(clean)).toBe(refusal(clean) !== 'accepted')
        },
      ),
    )
  })

  it('stops at 5,000 from outside', () => {
    expect(tooManyHeaders(record(Array.from({ length: 5000 }, (_, i) => [`h${i}`, 'x'] as const)))).toBe(true)
    expect(tooManyHeaders({ h: 'x'.repeat(1_000_000) })).toBe(true)
    expect(tooManyHeaders(null)).toBe(false)
    expect(tooManyHeaders({})).toBe(false)
  })
})

describe('escapeHeader', () => {
  it('round-trips any string, half characters included', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 40 }), (units) => {
        const text = String.fromCharCode(...units)
        const wire = escapeHeader(text)
        expect(wire).toMatch(/^[!#-~]*$/)
        expect(unescapeHeader(wire)).toBe(text)
      }),
    )
  })

  it('leaves visible ASCII readable and escapes as the CloudEvents HTTP binding does', () => {
    expect(escapeHeader('orders/placed?a=1')).toBe('orders/placed?a=1')
    expect(escapeHeader('Euro € 😀')).toBe('Euro%20%E2%82%AC%20%F0%9F%98%80')
    expect(escapeHeader('%u0041"')).toBe('%25u0041%22')
    expect(unescapeHeader('%25u0041')).toBe('%u0041')
  })

  it('leaves what is no escape of UTF-8 as it is', () => {
    expect(unescapeHeader('100% %zz %ff %e2%82')).toBe('100% %zz %ff %e2%82')
    expect(unescapeHeader('\ufeff%EF%BB%BFx')).toBe('\ufeff\ufeffx')
  })
})
