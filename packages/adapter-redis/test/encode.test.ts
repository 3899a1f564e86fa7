import type { Content, Received } from '@posthorn/core/adapter'
import { describe, expect, it } from 'vitest'
import { type AttributeCache, bytesOf, countFields, type Entry, readEntries, writeFields } from '../src/encode.ts'
import { packReader, packWriter } from '../src/pack.ts'

const attributes = Object.freeze({ specversion: '1.0', source: 'shop', type: 'orders.placed', datacontenttype: 'application/json' })

const content = (over: Partial<Content> = {}): Content => ({
  id: 'o-1',
  key: 'ada',
  body: Buffer.from('{"n":1}'),
  time: Date.parse('2026-11-02T10:00:00.000Z'),
  expiresAt: null,
  attributes,
  headers: null,
  transport: null,
  ...over,
})

/** What the server would give back: a list of entries, each an id and the fields as they were written. */
function packed(contents: readonly Content[]): Buffer {
  const writer = packWriter(16)
  writer.list(contents.length)
  contents.forEach((each, at) => {
    writer.list(2)
    writer.text(`1700000000000-${at}`)
    writer.list(countFields(each))
    writeFields(writer, each)
  })
  return writer.take()
}

function raw(pairs: readonly (readonly [string | Buffer, string | Buffer])[]): Buffer {
  const writer = packWriter(16)
  writer.list(1)
  writer.list(2)
  writer.text('5-1')
  writer.list(pairs.length * 2)
  for (const pair of pairs) for (const one of pair) writer.bytes(Buffer.from(one))
  return writer.take()
}

function read(buffer: Buffer, cache: AttributeCache = { last: null }): Entry[] {
  const entries: Entry[] = []
  readEntries(packReader(buffer), cache, entries)
  return entries
}

function received(entry: Entry | undefined): Received {
  const found = entry?.content
  if (found === undefined || found === null || 'undecodable' in found) throw new Error('it was not readable')
  return found
}

describe('a message as fields', () => {
  it.each([
    ['plain', content()],
    ['without a key', content({ key: null })],
    ['with the empty key', content({ key: '' })],
    ['with a null body', content({ body: null })],
    ['with an empty body', content({ body: Buffer.alloc(0) })],
    ['with bytes that are no text', content({ body: Buffer.from([0, 255, 254, 128]) })],
    ['with a large body', content({ body: Buffer.alloc(70_000, 7) })],
    ['with a body of 4 KiB', content({ body: Buffer.alloc(4096, 1) })],
    ['with headers of any language', content({ headers: { tenant: 'Zürich 漢字 🐘', empty: '' } })],
    ['with a trace and what copies carry', content({ transport: { traceparent: '00-a-b-01', 'ph-attempt': '3', 'ph-body': 'null' } })],
    ['that expires', content({ expiresAt: Date.parse('2026-11-03T00:00:00.500Z') })],
    ['without a time', content({ time: null })],
    ['with attributes of its own', content({ attributes: { ...attributes, subject: 'ä', dataschema: 'urn:x' } })],
    ['with a header named like an attribute', content({ headers: { type: 'loud', ce_type: 'no', id: '5' } })],
  ])('comes back as it was: %s', (_, message) => {
    const found = received(read(packed([message]))[0])
    const { id, key, time, expiresAt } = message
    expect(found).toMatchObject({ id, key, time, expiresAt })
    expect(found.body === null ? null : Buffer.from(found.body)).toEqual(message.body === null ? null : Buffer.from(message.body))
    expect({ ...found.attributes }).toEqual(message.attributes)
    expect(found.headers === null ? null : { ...found.headers }).toEqual(message.headers)
    expect(found.transport === null ? null : { ...found.transport }).toEqual(message.transport)
  })

  it('messages of one sender share their attributes, and another one gets its own', () => {
    const other = Object.freeze({ ...attributes, source: 'till' })
    const all = read(packed([content(), content({ id: 'o-2', key: 'eva' }), content({ attributes: other }), content({ id: 'o-4' })])).map(
      received,
    )
    expect(all[1]?.attributes).toBe(all[0]?.attributes)
    expect(all[2]?.attributes).toEqual(other)
    expect(all[3]?.attributes).toEqual(attributes)
    expect(all.map(({ id }) => id)).toEqual(['o-1', 'o-2', 'o-1', 'o-4'])
  })

  it('a message that begins like the one before and has more is not taken for it', () => {
    const longer = Object.freeze({ ...attributes, subject: 'one more' })
    const all = read(packed([content(), content({ attributes: longer }), content()])).map(received)
    expect(all.map((each) => ({ ...each.attributes }))).toEqual([attributes, longer, attributes])
  })

  it('bodies do not share bytes: who writes into one changes no other', () => {
    const [first, second] = read(packed([content(), content()])).map(received)
    first?.body?.fill(0)
    expect(Buffer.from(second?.body ?? []).toString()).toBe('{"n":1}')
  })

  it('counts bytes of the body and the headers', () => {
    expect(bytesOf(content({ body: Buffer.alloc(100), headers: { a: 'ä' } }))).toBe(103)
  })
})

describe('entries of others', () => {
  it('fields that nobody knows are headers, and no data is a null body', () => {
    const found = received(
      read(
        raw([
          ['orderId', '17'],
          ['user', 'ada'],
        ]),
      )[0],
    )
    expect(found).toMatchObject({ id: null, key: null, body: null, time: null })
    expect({ ...found.headers }).toEqual({ orderId: '17', user: 'ada' })
  })

  it('of a field that stands twice the last one counts', () => {
    expect(
      received(
        read(
          raw([
            ['data', 'a'],
            ['data', 'b'],
          ]),
        )[0],
      ).body?.toString(),
    ).toBe('b')
  })

  it('a time that is none is none', () => {
    expect(
      received(
        read(
          raw([
            ['ce_time', 'yesterday'],
            ['data', 'x'],
          ]),
        )[0],
      ).time,
    ).toBeNull()
  })

  it.each([
    [
      'a value that is no text',
      [
        ['ce_id', Buffer.from([0xff, 0xfe])],
        ['data', 'x'],
      ] as const,
    ],
    [
      'a name that is no text',
      [
        [Buffer.from([0xff, 0xfe]), 'v'],
        ['data', 'x'],
      ] as const,
    ],
    [
      'another specversion',
      [
        ['ce_specversion', '0.3'],
        ['data', 'x'],
      ] as const,
    ],
  ])('what cannot be read keeps its bytes: %s', (_, pairs) => {
    const [entry] = read(raw(pairs))
    const found = entry?.content
    if (found === null || found === undefined || !('undecodable' in found)) throw new Error('it was readable')
    expect(Buffer.from(found.body ?? []).toString()).toBe('x')
    expect(Object.keys(found.headers ?? {})).toHaveLength(1)
    expect(found.undecodable.length).toBeGreaterThan(10)
  })

  it('a neighbour of one that cannot be read is read', () => {
    const writer = packWriter(16)
    writer.list(2)
    for (const value of [Buffer.from([0xff]), Buffer.from('o-2')]) {
      writer.list(2)
      writer.text('1-1')
      writer.list(4)
      writer.text('ce_id')
      writer.bytes(value)
      writer.text('data')
      writer.text('x')
    }
    const [first, second] = read(writer.take())
    expect(first?.content).toHaveProperty('undecodable')
    expect(received(second).id).toBe('o-2')
  })

  it('an entry whose fields are gone is told apart from one without a body', () => {
    const entries = read(Buffer.from([0x91, 0x92, 0xa3, ...Buffer.from('1-1'), 0xc2]))
    expect(entries).toEqual([{ id: '1-1', content: null, slot: '', bytes: 0 }])
  })

  it('names of prototypes are only names', () => {
    const found = received(
      read(
        raw([
          ['ce___proto__', 'x'],
          ['__proto__', 'y'],
          ['constructor', 'z'],
          ['data', ''],
        ]),
      )[0],
    )
    expect(Object.getPrototypeOf(found.attributes)).toBe(Object.prototype)
    expect(found.headers?.constructor).toBe('z')
  })
})
