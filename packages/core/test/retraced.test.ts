import { describe, expect, it } from 'vitest'
import { realRandom } from '../src/clock.ts'
import type { Content } from '../src/contract.ts'
import { retraced } from '../src/retraced.ts'

const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
const parent = `00-${trace}-00f067aa0ba902b7-01`
const content = (transport: Content['transport'], attributes: Content['attributes'] = {}): Content => ({
  id: '1',
  key: null,
  body: null,
  time: null,
  expiresAt: null,
  attributes,
  headers: null,
  transport,
})

describe('retraced', () => {
  it('keeps where the message was created and gives the copy a hop of its own', () => {
    const first = retraced(content({ traceparent: parent, tracestate: 'a=b', 'ph-attempt': '2' }), realRandom)
    expect(first.attributes.traceparent).toBe(parent)
    expect(first.transport).toMatchObject({ tracestate: 'a=b', 'ph-attempt': '2' })
    expect(first.transport?.traceparent).toMatch(new RegExp(`^00-${trace}-`))
    expect(first.transport?.traceparent).not.toBe(parent)
    const second = retraced(first, realRandom)
    expect(second.attributes.traceparent).toBe(parent)
    expect(second.transport?.traceparent).not.toBe(first.transport?.traceparent)
  })

  it('copies nothing that is malformed', () => {
    const bad = { tracestate: 'NOT VALID', baggage: '"', 'ph-due': '5' }
    expect(retraced(content({ ...bad, traceparent: 'x' }), realRandom).transport).toEqual({ 'ph-due': '5' })
    expect(Object.keys(retraced(content({ ...bad, traceparent: parent }), realRandom).transport ?? {}).sort()).toEqual([
      'ph-due',
      'traceparent',
    ])
  })

  it('leaves a message without a trace as it is', () => {
    const plain = content({ 'ph-due': '5' })
    expect(retraced(plain, realRandom)).toBe(plain)
  })
})
