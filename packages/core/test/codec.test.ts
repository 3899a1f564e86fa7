import { describe, expect, test } from 'vitest'
import { codecOf } from '../src/codec.ts'

describe('a codec', () => {
  test('of the application decodes a copy, so that what it gives out can be changed without harm', () => {
    const codec = codecOf({ contentType: 'application/x', encode: (value) => value as Uint8Array, decode: (bytes) => bytes })
    const body = Buffer.from('original')
    ;(codec.decode(body) as Uint8Array).fill(0)
    expect(body.toString()).toBe('original')
    expect(codec.contentType).toBe('application/x')
  })

  test('of bytes copies a Buffer both ways', () => {
    const codec = codecOf('bytes')
    const given = Buffer.from('original')
    const encoded = codec.encode(given) as Uint8Array
    given.fill(0)
    expect(Buffer.from(encoded).toString()).toBe('original')
    const received = Buffer.from('original')
    ;(codec.decode(received) as Uint8Array).fill(0)
    expect(received.toString()).toBe('original')
  })

  test('of text keeps a byte order mark', () => {
    const codec = codecOf('text')
    expect(codec.decode(codec.encode('\ufefftext') as Uint8Array)).toBe('\ufefftext')
  })

  test('of JSON reads over a byte order mark, and refuses what is no UTF-8', () => {
    const codec = codecOf(undefined)
    expect(codec.decode(Buffer.from('\ufeff{"n":1}'))).toEqual({ n: 1 })
    expect(() => codec.decode(Buffer.from([0x22, 0xff, 0x22]))).toThrow()
  })
})

describe('bytes of an application', () => {
  test('are copied when they are given, so that the next value may be written into the same place', async () => {
    const scratch = new Uint8Array(2)
    const write = (value: unknown): Uint8Array => {
      scratch.fill(Number(value))
      return scratch
    }
    const now = codecOf({ contentType: 'x/y', encode: write, decode: (bytes) => bytes })
    const later = codecOf({ contentType: 'x/y', encode: async (value) => write(value), decode: (bytes) => bytes })
    const given = [now.encode(1), now.encode(2), await later.encode(3), await later.encode(4)]
    expect(given).toEqual([1, 2, 3, 4].map((value) => new Uint8Array([value, value])))
  })
})
