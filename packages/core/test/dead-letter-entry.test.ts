import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Content, Delivery, Received, Undecodable } from '../src/contract.ts'
import { type Failure, fromDeadLetter, slotOf, toDeadLetter } from '../src/dead-letter-entry.ts'
import { forwardId } from '../src/forward-id.ts'
import { toStructured } from '../src/structured.ts'
import { definitionOf, topic } from '../src/topic.ts'
import { scriptedCapabilities } from './support/scripted.ts'

const orders = definitionOf('test', topic('orders', { codec: 'text' }))
const failure: Failure = {
  id: 'm',
  reason: 'failed',
  attempts: 3,
  error: 'boom',
  firstFailedAt: 10,
  lastFailedAt: 20,
  topic: 'orders',
  group: 'email',
  position: '0:7',
}
const delivery = (content: Received | Undecodable, position: string | null = '0:1'): Delivery => ({
  token: 1,
  content,
  parked: false,
  deliveries: null,
  position: () => position,
})
const message: Received = {
  id: 'm',
  key: 'k',
  body: Buffer.from('text'),
  time: 5,
  expiresAt: null,
  attributes: { source: 's', type: 't' },
  headers: { own: '1' },
  transport: null,
}
const read = (content: Content) => fromDeadLetter(scriptedCapabilities, orders, 'email', delivery(content))

describe('a dead letter', () => {
  test('that the server would not take with its body says where the message lies, and cannot be replayed', () => {
    const many = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`h${n}`, 'v']))
    const dead = toDeadLetter({ ...message, body: new Uint8Array(5000), headers: many }, { ...failure, withoutBody: true })
    expect(dead.body?.length).toBe(1)
    expect(dead.headers).toBeNull()
    const { letter, bodyless } = read(dead)
    expect({ bytes: letter.bytes.length, position: letter.position, key: letter.key, bodyless }).toEqual({
      bytes: 0,
      position: '0:7',
      key: 'k',
      bodyless: true,
    })
    expect(read(toDeadLetter(message, failure)).bodyless).toBe(false)
  })

  test('gives back the message as it was, whatever its body, key and headers', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 20 })
    fc.assert(
      fc.property(
        fc.record({
          id: text.filter((id) => id !== ''),
          key: fc.option(text),
          body: fc.option(fc.uint8Array({ maxLength: 20 })),
          time: fc.option(fc.nat()),
          expiresAt: fc.option(fc.nat()),
          headers: fc.option(fc.dictionary(fc.constantFrom('a', 'b'), text, { minKeys: 1 })),
        }),
        (parts) => {
          const source: Received = { ...message, ...parts, body: parts.body === null ? null : Buffer.from(parts.body) }
          const dead = toDeadLetter(source, { ...failure, id: parts.id })
          expect(dead.body?.length).toBeGreaterThan(0)
          expect(dead.expiresAt).toBeNull()
          const { original, letter } = read(dead)
          expect({ ...original, body: original.body === null ? null : Buffer.from(original.body), transport: null }).toEqual({
            ...source,
            transport: null,
          })
          expect(letter).toMatchObject({
            id: parts.id,
            reason: 'failed',
            attempts: 3,
            error: 'boom',
            position: '0:7',
            topic: 'orders',
            group: 'email',
          })
        },
      ),
    )
  })

  test('starts again with attempt 1, in its trace, without anything that outsiders wrote', () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const dead = toDeadLetter({ ...message, transport: { traceparent, 'ph-attempt': '4', 'ph-due': '9', 'ph-body': 'null' } }, failure)
    expect(dead.transport).not.toHaveProperty('ph-due')
    expect(dead.transport).not.toHaveProperty('ph-body')
    expect(read(dead).original.transport).toEqual({ traceparent, 'ph-attempt': '1', 'ph-position': '0:7' })
  })

  test('caps and redacts what it says', () => {
    const dead = toDeadLetter(message, { ...failure, error: `amqp://user:hunter2@host ${'x'.repeat(5_000)}` })
    expect(dead.transport?.['ph-error']).not.toContain('hunter2')
    expect(Buffer.byteLength(dead.transport?.['ph-error'] ?? '')).toBeLessThanOrEqual(2_048)
  })

  test('that another program or the server wrote is shown as far as it can be', () => {
    const { letter, original } = read({ ...message, id: null } as unknown as Content)
    expect(letter).toMatchObject({ id: 'orders@0:1', key: 'k', value: 'text', reason: 'server', attempts: 0 })
    expect(original.key).toBe('k')
    const bare = fromDeadLetter(
      scriptedCapabilities,
      orders,
      'email',
      delivery({ undecodable: 'torn', body: Buffer.from([255]), headers: null }, null),
    )
    expect(bare.letter).toMatchObject({ reason: 'undecodable', error: 'torn', value: undefined })
    expect(bare.letter.id).not.toBe('')
    const structured = fromDeadLetter(
      { ...scriptedCapabilities, headers: 'envelope' },
      orders,
      'email',
      delivery({ ...message, id: null, attributes: {}, headers: null, body: toStructured(toDeadLetter(message, failure)) }),
    )
    expect(structured.letter).toMatchObject({ id: 'm', key: 'k', value: 'text', reason: 'failed' })
  })
})

test('slots tell sources apart', () => {
  expect(slotOf('a', 'x')).toBe(slotOf('a', 'x'))
  expect(
    new Set([slotOf('a', 'x'), slotOf('b', 'x'), slotOf(undefined, 'x'), slotOf('', 'x'), slotOf('ax', ''), slotOf('', 'ax')]).size,
  ).toBe(6)
})

test('forwarded ids differ whenever anything differs, and never otherwise', () => {
  const field = fc.constantFrom('', 'a', 'b', 'aa', '1:', '-', '2:a')
  const parts = fc.record({
    sourceTopic: field,
    source: field,
    id: field,
    group: field,
    target: field,
    key: fc.option(field),
    body: fc.option(field.map((each) => Buffer.from(each))),
    ordinal: fc.nat({ max: 12 }),
  })
  fc.assert(
    fc.property(parts, parts, (one, other) => {
      const same = JSON.stringify(one) === JSON.stringify(other)
      expect(forwardId(one) === forwardId(other)).toBe(same)
      expect(forwardId(one)).toMatch(/^[\w-]{22,}$/)
    }),
    { numRuns: 2_000 },
  )
})
