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
