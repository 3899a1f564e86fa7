import { describe, expect, it } from 'vitest'
import type { Received } from '../src/contract.ts'
import { isMessagingError } from '../src/errors.ts'
import { readContent, unwrapEnvelope } from '../src/incoming.ts'
import { toStructured } from '../src/structured.ts'

const native = { headers: 'native' } as const
const envelope = { headers: 'envelope' } as const
const bytes = (text: string) => new Uint8Array(Buffer.from(text))
const textOf = (body: Uint8Array | null) => (body === null ? null : Buffer.from(body).toString())
const received = (parts: Partial<Received>): Received => ({
  id: null,
  key: null,
  body: null,
  time: null,
  expiresAt: null,
  attributes: {},
  headers: null,
  transport: null,
  ...parts,
})
const event = '{"specversion":"1.0","id":"e1","source":"/s","type":"t","partitionkey":"k","traceparent":"inner","data":{"a":1}}'
const codeOf = (run: () => unknown) => {
  try {
    run()
  } catch (error) {
    return isMessagingError(error) ? error.code : error
  }
  return 'accepted'
}

describe('readContent on a wire with headers', () => {
  it.each(['application/cloudevents+json', 'application/cloudevents+json; charset=UTF-8', 'APPLICATION/CloudEvents+JSON'])(
    'unwraps %s',
    (datacontenttype) => {
      const content = readContent(
        native,
        received({
          body: bytes(event),
          attributes: { datacontenttype },
          headers: { a: 'b' },
          transport: { traceparent: 'hop', 'ph-attempt': '2' },
        }),
      )
      expect([content.id, content.key, textOf(content.body), content.headers?.a]).toEqual(['e1', 'k', '{"a":1}', 'b'])
      expect({ ...content.attributes }).toEqual({ source: '/s', type: 't' })
      expect({ ...content.transport }).toEqual({ traceparent: 'hop', 'ph-attempt': '2' })
    },
  )

  it('unwraps data_base64', () => {
    const body = bytes('{"specversion":"1.0","id":"e1","datacontenttype":"application/octet-stream","data_base64":"AAEC/w=="}')
    expect([
      ...(readContent(native, received({ body, attributes: { datacontenttype: 'application/cloudevents+json' } })).body ?? []),
    ]).toEqual([0, 1, 2, 255])
  })

  it('prefers the key of the record', () => {
    expect(
      readContent(native, received({ key: 'r', body: bytes(event), attributes: { datacontenttype: 'application/cloudevents' } })).key,
    ).toBe('r')
  })

  it('returns everything else as it is, bodies that look like events included', () => {
    for (const attributes of [{}, { datacontenttype: 'application/json' }]) {
      const plain = received({ body: bytes(event), attributes })
      expect(readContent(native, plain)).toBe(plain)
      expect(unwrapEnvelope(native, plain)).toBe(plain)
    }
  })

  it.each([
    ['application/cloudevents-batch+json', '[]'],
    ['application/cloudevents+avro', 'x'],
    ['application/cloudevents+json', 'not-json{'],
    ['application/cloudevents+json', '['.repeat(1_000_000)],
  ])('refuses %s %.12s as undecodable', (datacontenttype, body) => {
    expect(codeOf(() => readContent(native, received({ body: bytes(body), attributes: { datacontenttype } })))).toBe('UNDECODABLE')
  })

  it('refuses a structured event whose body is null', () => {
    expect(codeOf(() => readContent(native, received({ attributes: { datacontenttype: 'application/cloudevents+json' } })))).toBe(
      'UNDECODABLE',
    )
  })

  it('does not read a giant', () => {
    const giant = received({ body: bytes(`{${' '.repeat(500_000)}`), attributes: { datacontenttype: 'application/cloudevents+json' } })
    expect(readContent(native, giant, 1000)).toBe(giant)
  })
})

describe('readContent on a wire without headers', () => {
  it('gives back what the sender of an envelope meant', () => {
    const sent = {
      id: 'i',
      key: '',
      body: bytes('{"a":1}'),
      time: 5,
      expiresAt: null,
      attributes: { source: 's', type: 't', datacontenttype: 'application/json' },
      headers: { h: 'v' },
      transport: { 'ph-due': '7' },
    }
    const content = readContent(envelope, received({ body: toStructured(sent) }))
    expect({
      ...content,
      body: textOf(content.body),
      attributes: { ...content.attributes },
      headers: { ...content.headers },
      transport: { ...content.transport },
    }).toEqual({ ...sent, body: '{"a":1}' })
  })

  it('takes anything else as a plain message', () => {
    for (const body of ['{"a":1}', 'not-json{', '', '{"specversion":"1.0"']) {
      const plain = received({ body: bytes(body) })
      expect(readContent(envelope, plain)).toBe(plain)
    }
    const nothing = received({ body: null })
    expect(readContent(envelope, nothing)).toBe(nothing)
  })

  it('refuses an event that is malformed inside', () => {
    expect(codeOf(() => readContent(envelope, received({ body: bytes('{"specversion":"1.0","data_base64":"%"}') })))).toBe('UNDECODABLE')
  })

  it('opens one envelope, not the event inside it, so that an undecodable dead letter can be shown', () => {
    const body = toStructured({
      id: 'i',
      key: null,
      body: bytes('not-json{'),
      time: null,
      expiresAt: null,
      attributes: { datacontenttype: 'application/cloudevents+json' },
      headers: null,
      transport: null,
    })
    expect(textOf(unwrapEnvelope(envelope, received({ body })).body)).toBe('not-json{')
  })
})

describe('readContent', () => {
  it('refuses more headers or attributes than any message of ours has', () => {
    const many = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`h${i}`, 'x']))
    for (const wire of [native, envelope]) {
      expect(codeOf(() => readContent(wire, received({ headers: many })))).toBe('UNDECODABLE')
      expect(codeOf(() => readContent(wire, received({ attributes: many })))).toBe('UNDECODABLE')
    }
    const inside = bytes(JSON.stringify({ specversion: '1.0', ...many }))
    expect(codeOf(() => readContent(envelope, received({ body: inside })))).toBe('UNDECODABLE')
  })
})
