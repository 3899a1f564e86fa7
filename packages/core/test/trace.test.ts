import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { realRandom } from '../src/clock.ts'
import { creationTrace, isBaggage, isTraceparent, isTracestate, nextTrace, traceOf } from '../src/trace.ts'

const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
const parent = `00-${trace}-00f067aa0ba902b7-01`

describe('nextTrace', () => {
  it('continues a valid trace with a new span and keeps state, baggage and the sampling decision', () => {
    const next = nextTrace(
      { traceparent: parent, tracestate: 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE', baggage: 'userId=alice' },
      realRandom,
    )
    expect(next.traceparent).toMatch(new RegExp(`^00-${trace}-[0-9a-f]{16}-01$`))
    expect(next.traceparent).not.toBe(parent)
    expect(next.tracestate).toBe('rojo=00f067aa0ba902b7,congo=t61rcWkgMzE')
    expect(next.baggage).toBe('userId=alice')
    expect(nextTrace({ traceparent: parent.replace(/01$/, '00') }, realRandom).traceparent).toMatch(/-00$/)
  })

  it('starts a new valid trace without a parent, and different ones each time', () => {
    const seen = new Set<string>()
    for (let i = 0; i < 2000; i++) {
      const { traceparent } = nextTrace(undefined, realRandom)
      expect(isTraceparent(traceparent)).toBe(true)
      seen.add(traceparent as string)
    }
    expect(seen.size).toBe(2000)
    expect(Object.keys(nextTrace(null, realRandom))).toEqual(['traceparent'])
  })

  it('is valid under any randomness, pinned to 0 or to nearly 1 included', () => {
    fc.assert(
      fc.property(fc.constantFrom(0, 0.5, 1 - Number.EPSILON / 2, 2 ** -32, 0.1), (value) => {
        for (const from of [undefined, { traceparent: parent }]) expect(isTraceparent(nextTrace(from, () => value).traceparent)).toBe(true)
      }),
    )
  })

  it('spends four random numbers on a new trace and two on a new span', () => {
    let calls = 0
    const counted = () => {
      calls += 1
      return 0.3
    }
    nextTrace(undefined, counted)
    expect(calls).toBe(4)
    nextTrace({ traceparent: parent }, counted)
    expect(calls).toBe(6)
  })

  it.each([
    ['an empty text', ''],
    ['words', 'not a trace'],
    ['upper case', parent.toUpperCase()],
    ['the forbidden version', `ff${parent.slice(2)}`],
    ['a trace of zeros', `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`],
    ['a span of zeros', `00-${trace}-${'0'.repeat(16)}-01`],
    ['a short trace', `00-${trace.slice(1)}-00f067aa0ba902b7-01`],
    ['no flags', `00-${trace}-00f067aa0ba902b7`],
    ['more after version 00', `${parent}-extra`],
    ['a later version without a separator', `01${parent.slice(2)}extra`],
    ['a line break', `${parent}\r\nx-evil: 1`],
    ['a giant', `01${parent.slice(2)}-${'x'.repeat(10_000)}`],
  ])('drops a traceparent that is %s and starts a new trace', (_, bad) => {
    const next = nextTrace({ traceparent: bad, tracestate: 'a=b', baggage: 'k=v' }, realRandom)
    expect(next.traceparent).not.toContain(trace)
    expect(isTraceparent(next.traceparent)).toBe(true)
    expect(next.tracestate).toBeUndefined()
    expect(next.baggage).toBe('k=v')
  })

  it('reads a later version as far as this one goes, and writes this one', () => {
    expect(nextTrace({ traceparent: `cc-${trace}-00f067aa0ba902b7-0f-what-comes-later` }, realRandom).traceparent).toMatch(
      new RegExp(`^00-${trace}-[0-9a-f]{16}-03$`),
    )
  })
})

describe('isTracestate and isBaggage', () => {
  it.each(['a=1', 'fw529a3039@dt=FfAAA,congo=t61rcWkgMzE', ' a=1 ,, b=2', `${'k'.repeat(256)}=v`])('passes the state %j on', (value) => {
    expect(isTracestate(value)).toBe(true)
  })
  it.each([
    '',
    ',',
    'a',
    '=b',
    'A=b',
    'a=b=c',
    'a=1,a=2',
    'a=\u00e4',
    'a= ',
    'a=b\n',
    `a=${'x'.repeat(600)}`,
    Array.from({ length: 33 }, (_, i) => `a${i}=1`).join(','),
  ])('drops the state %j', (value) => {
    expect(isTracestate(value)).toBe(false)
  })
  it.each(['a=1', 'userId=alice,serverNode=DF%2028,isProduction=false', 'k=v;p1;p2=x , k2=', 'a = 1'])(
    'passes the baggage %j on',
    (value) => {
      expect(isBaggage(value)).toBe(true)
    },
  )
  it.each([
    '',
    'a',
    'a=b c',
    'a="b"',
    'a=\u00e4',
    'a=b\r\nc=d',
    'a b=c',
    `a=${'x'.repeat(9000)}`,
    Array.from({ length: 65 }, (_, i) => `a${i}=1`).join(','),
  ])('drops the baggage %j', (value) => {
    expect(isBaggage(value)).toBe(false)
  })

  it('decides any text in bounded time', () => {
    for (const unit of ['a=1;', 'a=;;', '; ', ' ', 'a =', '=;']) {
      const text = unit.repeat(8192 / unit.length)
      expect([isBaggage(text), isTracestate(text)]).toHaveLength(2)
      isBaggage(`a=1${text.slice(4)}"`)
    }
  }, 1000)
})

describe('traceOf', () => {
  it('shows only what is valid, and null where nothing is', () => {
    expect({ ...traceOf({ traceparent: parent, tracestate: 'BAD', baggage: 'a=1', 'ph-due': '5' }) }).toEqual({
      traceparent: parent,
      baggage: 'a=1',
    })
    expect(traceOf({ traceparent: 'x', baggage: '' })).toBeNull()
    expect(traceOf({ tracestate: 'a=b' })).toBeNull()
    expect(traceOf(null)).toBeNull()
  })
})

describe('creationTrace', () => {
  it('is the attribute where a copy has one, else the hop on which the message came', () => {
    const other = parent.replace(trace, 'a'.repeat(32))
    expect(creationTrace({ attributes: { traceparent: parent }, transport: { traceparent: other } })).toBe(parent)
    expect(creationTrace({ attributes: {}, transport: { traceparent: other } })).toBe(other)
    expect(creationTrace({ attributes: { traceparent: 'bad' }, transport: null })).toBeUndefined()
  })
})
