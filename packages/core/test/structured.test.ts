import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Content, Received } from '../src/contract.ts'
import { isMessagingError } from '../src/errors.ts'
import { formatTime, parseTime } from '../src/rfc3339.ts'
import { fromMaybeStructured, fromStructured, isStructured, structuredKind, toStructured } from '../src/structured.ts'

const bytes = (text: string) => new Uint8Array(Buffer.from(text))
const textOf = (body: Uint8Array | null) => (body === null ? null : Buffer.from(body).toString())
const content = (parts: Partial<Content>): Content => ({
  id: '1',
  key: null,
  body: null,
  time: null,
  expiresAt: null,
  attributes: { source: '/orders', type: 'order.created.v1', datacontenttype: 'application/json' },
  headers: null,
  transport: null,
  ...parts,
})
// Null prototypes and Buffers aside.
const plain = (received: Received | Content) => ({
  ...received,
  body: received.body === null ? null : [...received.body],
  attributes: { ...received.attributes },
  headers: received.headers === null ? null : { ...received.headers },
  transport: received.transport === null ? null : { ...received.transport },
})
const roundTrip = (given: Content) => fromStructured(toStructured(given))
const refusal = (text: string): string => {
  try {
    fromStructured(bytes(text))
  } catch (error) {
    if (isMessagingError(error, 'UNDECODABLE')) return error.message
    throw error
  }
  return 'accepted'
}

describe('toStructured', () => {
  it('writes what any CloudEvents reader takes', () => {
    const document = JSON.parse(
      textOf(
        toStructured(
          content({
            id: 'A234',
            key: 'order-17',
            body: bytes('{"orderId":17}'),
            time: Date.UTC(2026, 10, 2, 10),
            expiresAt: Date.UTC(2026, 10, 3),
            headers: { 'x-tenant': 'ä' },
            transport: { traceparent: '00-a-b-01', 'ph-attempt': '2' },
          }),
        ),
      ) as string,
    )
    expect(document).toEqual({
      specversion: '1.0',
      id: 'A234',
      source: '/orders',
      type: 'order.created.v1',
      datacontenttype: 'application/json',
      time: '2026-11-02T10:00:00.000Z',
      expirytime: '2026-11-03T00:00:00.000Z',
      partitionkey: 'order-17',
      phheaders: '{"x-tenant":"ä"}',
      traceparent: '00-a-b-01',
      phtransport: '{"ph-attempt":"2"}',
      data: { orderId: 17 },
    })
    for (const [name, value] of Object.entries(document)) {
      if (name !== 'data') expect([name, typeof value]).toEqual([expect.stringMatching(/^[a-z0-9]{1,20}$/), 'string'])
    }
  })

  it.each([
    ['application/json', '{"a":[1,2.5,"ä"],"b":null}', 'data'],
    ['application/vnd.acme+json; charset=utf-8', '{}', 'data'],
    ['application/json', '{"a": 1}', 'data_base64'],
    ['application/json', '12345678901234567890', 'data_base64'],
    ['application/json', 'not-json{', 'data_base64'],
    ['application/json', '', 'data_base64'],
    ['application/json', 'null', 'data'],
    ['application/json', '"text"', 'data'],
    ['application/json', '\ufeff{}', 'data_base64'],
    ['application/json', '{"__proto__":{"x":1}}', 'data'],
    ['text/plain; charset=utf-8', '{"a": 1}', 'data'],
    ['text/plain', '', 'data'],
    ['application/xml', '<a/>', 'data'],
    ['application/octet-stream', 'abc', 'data_base64'],
  ])('puts %s %j into %s and gives back the same bytes', (datacontenttype, body, member) => {
    const given = content({ body: bytes(body), attributes: { source: 's', type: 't', datacontenttype } })
    const document = JSON.parse(textOf(toStructured(given)) as string)
    expect(Object.keys(document).filter((name) => name.startsWith('data') && name !== 'datacontenttype')).toEqual([member])
    expect(textOf(roundTrip(given).body)).toBe(body)
  })

  it('tells a null body, an empty body and JSON null apart', () => {
    expect(roundTrip(content({ body: null })).body).toBeNull()
    expect(roundTrip(content({ body: bytes('') })).body).toHaveLength(0)
    expect(textOf(roundTrip(content({ body: bytes('null') })).body)).toBe('null')
  })

  it('tells no key and the empty key apart, and keeps a partitionkey that is not the key', () => {
    expect(roundTrip(content({ key: null })).key).toBeNull()
    expect(roundTrip(content({ key: '' })).key).toBe('')
    for (const key of ['record', null, 'attribute']) {
      const back = roundTrip(content({ key, attributes: { type: 't', partitionkey: 'attribute' } }))
      expect(back.key).toBe(key)
      if (key !== 'attribute') expect(back.attributes.partitionkey).toBe('attribute')
    }
  })

  it('keeps the trace of the creation apart from that of the hop', () => {
    const back = roundTrip(
      content({ attributes: { type: 't', traceparent: 'created' }, transport: { traceparent: 'hop', tracestate: 'a=b' } }),
    )
    expect(back.attributes.traceparent).toBe('created')
    expect({ ...back.transport }).toEqual({ traceparent: 'hop', tracestate: 'a=b' })
  })

  it('gives back an equal content for any content', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 20 })
    const texts = fc.dictionary(fc.stringMatching(/^[a-z][a-z0-9-]{0,9}$/), text, { maxKeys: 5 })
    const names = fc
      .stringMatching(/^[a-z][a-z0-9]{0,19}$/)
      .filter(
        (name) =>
          !/^(specversion|id|time|expirytime|data|partitionkey|ph|traceparent|tracestate|baggage|created|datacontenttype)/.test(name),
      )
    const body = fc.oneof(
      fc.constant(null),
      fc.uint8Array({ maxLength: 200 }),
      text.map(bytes),
      fc.json().map(bytes),
      fc.jsonValue().map((value) => bytes(JSON.stringify(value))),
    )
    const stamp = fc.option(fc.integer({ min: 0, max: 4e12 }), { nil: null })
    const given: fc.Arbitrary<Content> = fc.record({
      id: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
      key: fc.option(text, { nil: null }),
      body,
      time: stamp,
      expiresAt: stamp,
      attributes: fc
        .tuple(
          fc.dictionary(names, text, { maxKeys: 4 }),
          fc.option(fc.constantFrom('application/json', 'text/plain', 'application/octet-stream', 'application/xml', 'x/y+json;a=b'), {
            nil: undefined,
          }),
        )
        .map(([rest, datacontenttype]) => (datacontenttype === undefined ? rest : { ...rest, datacontenttype })),
      headers: fc.option(texts, { nil: null }),
      transport: fc.option(
        texts.filter((all) => Object.keys(all).length > 0),
        { nil: null },
      ),
    })
    fc.assert(
      fc.property(given, (each) => {
        expect(plain(roundTrip(each))).toEqual(plain(each))
      }),
      { numRuns: 500 },
    )
  })
})

describe('fromStructured reads the examples of the specification', () => {
  it('with binary data', () => {
    const received = fromStructured(
      bytes(`{
        "specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext", "id" : "A234-1234-1234",
        "time" : "2018-04-05T17:31:00Z", "comexampleextension1" : "value", "comexampleothervalue" : 5, "unsetextension": null,
        "datacontenttype" : "application/vnd.apache.thrift.binary", "data_base64" : "Li4uIGJhc2U2NCBlbmNvZGVkIHN0cmluZyAuLi4="
      }`),
    )
    expect(plain(received)).toEqual({
      id: 'A234-1234-1234',
      key: null,
      body: [...bytes('... base64 encoded string ...')],
      time: Date.UTC(2018, 3, 5, 17, 31),
      expiresAt: null,
      attributes: {
        type: 'com.example.someevent',
        source: '/mycontext',
        comexampleextension1: 'value',
        comexampleothervalue: '5',
        datacontenttype: 'application/vnd.apache.thrift.binary',
      },
      headers: null,
      transport: null,
    })
  })

  it('with serialized XML data', () => {
    const received = fromStructured(
      bytes(
        '{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","id":"B234-1234-1234","time":"2018-04-05T17:31:00Z","unsetextension":null,"datacontenttype":"application/xml","data":"<much wow=\\"xml\\"/>"}',
      ),
    )
    expect(textOf(received.body)).toBe('<much wow="xml"/>')
  })

  it('with JSON data', () => {
    const received = fromStructured(
      bytes(
        '{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","subject":null,"id":"C234-1234-1234","time":"2018-04-05T17:31:00Z","datacontenttype":"application/json","data":{"appinfoA":"abc","appinfoB":123,"appinfoC":true}}',
      ),
    )
    expect(textOf(received.body)).toBe('{"appinfoA":"abc","appinfoB":123,"appinfoC":true}')
    expect(Object.hasOwn(received.attributes, 'subject')).toBe(false)
  })

  it('with JSON data of a declared but implied type, numbers and texts included', () => {
    expect(textOf(fromStructured(bytes('{"specversion":"1.0","id":"D234","data":1.5}')).body)).toBe('1.5')
    expect(textOf(fromStructured(bytes('{"specversion":"1.0","id":"D234","data":"I\'m just a string"}')).body)).toBe('"I\'m just a string"')
    expect(
      textOf(fromStructured(bytes('{"specversion":"1.0","id":"D234","datacontenttype":"text/plain","data":"I\'m just a string"}')).body),
    ).toBe("I'm just a string")
    expect(fromStructured(bytes('{"specversion":"1.0","id":"D234"}')).body).toBeNull()
    expect(textOf(fromStructured(bytes('{"specversion":"1.0","id":"D234","data":null}')).body)).toBe('null')
  })

  it('without a time, with names of 20 characters and with every type of attribute', () => {
    const received = fromStructured(
      bytes('{"specversion":"1.0","id":"x","abcdefghij0123456789":true,"anumber":-3,"auri":"/a?b#c","abinary":"AQI="}'),
    )
    expect(received.time).toBeNull()
    expect({ ...received.attributes }).toEqual({ abcdefghij0123456789: 'true', anumber: '-3', auri: '/a?b#c', abinary: 'AQI=' })
  })
})

describe('fromStructured is lenient', () => {
  it('takes a byte order mark, a missing id, an unreadable time and headers as an object', () => {
    const received = fromStructured(bytes('\ufeff{"specversion":"1.0","time":"yesterday","phheaders":{"a":"b"},"partitionkey":"k"}'))
    expect([received.id, received.time, received.key, received.headers?.a]).toEqual([null, null, 'k', 'b'])
    expect(Object.hasOwn(received.attributes, 'partitionkey')).toBe(false)
  })

  it.each([
    ['{"specversion":"1.0","id":"x"', 'not JSON'],
    ['[]', 'not a JSON object'],
    ['null', 'not a JSON object'],
    ['"a"', 'not a JSON object'],
    ['', 'not JSON'],
    ['['.repeat(1_000_000), 'not JSON'],
    ['{"specversion":"0.3","id":"x"}', 'specversion is "0.3"'],
    ['{"specversion":1,"id":"x"}', 'specversion is 1'],
    ['{"specversion":"1.0","id":"x","data":1,"data_base64":"AQI="}', 'both'],
    ['{"specversion":"1.0","id":"x","data_base64":"%%%"}', 'not base64'],
    ['{"specversion":"1.0","id":"x","data_base64":5}', 'not base64'],
    ['{"specversion":"1.0","__proto__":"x"}', 'not the name'],
    ['{"specversion":"1.0","a b":"x"}', 'not the name'],
    ['{"specversion":"1.0","phheaders":"{"}', '"phheaders" is not JSON'],
    ['{"specversion":"1.0","phheaders":"[1]"}', 'object of texts'],
    ['{"specversion":"1.0","phheaders":"{\\"a\\":1}"}', 'object of texts'],
    ['{"specversion":"1.0","phkey":"1"}', '"phkey" is not a text'],
  ])('but refuses %.60s', (text, why) => {
    expect(refusal(text)).toContain(why)
  })

  it('refuses bytes that are no UTF-8', () => {
    expect(() => fromStructured(Uint8Array.of(0x7b, 0xff, 0x7d))).toThrow('not JSON')
  })

  it('cannot be made to reach a prototype', () => {
    const received = fromStructured(
      bytes(
        '{"specversion":"1.0","constructor":"x","phheaders":"{\\"__proto__\\":\\"y\\",\\"constructor\\":\\"z\\"}","data":{"__proto__":{"polluted":1}}}',
      ),
    )
    expect(Object.getPrototypeOf(received.headers)).toBeNull()
    expect(Object.getPrototypeOf(received.attributes)).toBeNull()
    expect(textOf(received.body)).toBe('{"__proto__":{"polluted":1}}')
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  it('never throws anything but UNDECODABLE', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 100 }),
          fc.json().map(bytes),
          fc
            .dictionary(
              fc.constantFrom('specversion', 'id', 'data', 'data_base64', 'phheaders', 'phtransport', 'phkey', 'time', 'x'),
              fc.jsonValue(),
            )
            .map((value) => bytes(JSON.stringify(value))),
        ),
        (body) => {
          try {
            fromStructured(body)
          } catch (error) {
            expect(isMessagingError(error, 'UNDECODABLE')).toBe(true)
          }
        },
      ),
      { numRuns: 500 },
    )
  })
})

describe('fromMaybeStructured', () => {
  it('takes only what says that it is an event', () => {
    expect(fromMaybeStructured(bytes('{"specversion":"1.0","id":"x"}'))?.id).toBe('x')
    for (const text of ['{"id":"x"}', '', 'x', '"\\"specversion\\""', '["specversion"]', '{"specversion":1}', '{"specversion"'])
      expect(fromMaybeStructured(bytes(text))).toBeNull()
  })
})

describe('isStructured', () => {
  it.each([
    'application/cloudevents+json',
    'application/cloudevents+json; charset=UTF-8',
    'Application/CloudEvents+JSON;charset=utf-8',
    'application/cloudevents',
  ])('recognises %s', (type) => {
    expect([isStructured(type), structuredKind(type)]).toEqual([true, 'json'])
  })
  it('tells batches, other formats and everything else apart', () => {
    expect(structuredKind('application/cloudevents-batch+json')).toBe('batch')
    expect(isStructured('application/cloudevents-batch+json')).toBe(false)
    expect(structuredKind('application/cloudevents+avro')).toBe('other')
    for (const type of [undefined, '', 'application/json', 'text/plain; x=application/cloudevents+json'])
      expect(structuredKind(type)).toBe('none')
  })
})

describe('time', () => {
  it.each([
    ['2018-04-05T17:31:00Z', Date.UTC(2018, 3, 5, 17, 31)],
    ['2018-04-05t17:31:00.1z', Date.UTC(2018, 3, 5, 17, 31, 0, 100)],
    ['2018-04-05T17:31:00.123999999+02:00', Date.UTC(2018, 3, 5, 15, 31, 0, 123)],
    ['2018-04-05', null],
    ['2018-13-05T17:31:00Z', null],
    ['1522949460', null],
    ['', null],
    [5, null],
  ])('reads %j as %j', (text, ms) => {
    expect(parseTime(text)).toBe(ms)
  })
  it('writes what it reads', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4e12 }), (ms) => {
        expect(parseTime(formatTime(ms))).toBe(ms)
      }),
    )
  })
})
