import { wire } from '@posthorn/core/adapter'
import { describe, expect, it } from 'vitest'

describe('what lies in the bytes of an answer', () => {
  it.each(['', 'plain', 'naïve', '7 €', 'long '.repeat(40), `${'long '.repeat(40)}ü`])('is the text %j', (text) => {
    const bytes = Buffer.from(`<${text}>`)
    expect(wire.textAt(bytes, 1, bytes.length - 2)).toBe(text)
  })

  it('is no text where it is no UTF-8', () => {
    expect(() => wire.textAt(Buffer.from([0x61, 0xff, 0x61]), 0, 3)).toThrow(TypeError)
  })

  it('is a name, known by its bytes or not', () => {
    const nameAt = wire.nameReader(['ce_id', 'ce_time'])
    for (const name of ['ce_id', 'ce_ia', 'ce_time', 'ce-time', 'other', 'größe', ''])
      expect(nameAt(Buffer.from(`_${name}`), 1, Buffer.byteLength(name))).toBe(name)
  })

  it('is a body, which keeps no large answer alive', () => {
    const answer = Buffer.alloc(40_000, 7)
    const small = wire.bodyAt(answer, 10, 100)
    const large = wire.bodyAt(answer, 10, 20_000)
    expect([small.length, large.length]).toEqual([100, 20_000])
    expect([small.buffer === answer.buffer, large.buffer === answer.buffer]).toEqual([false, true])
  })
})

it.each([
  ['ce_type', 'ce_type'],
  ['ce-type', 'ce_type'],
  ['CE-Type', 'ce_type'],
  ['cloudEvents:type', 'ce_type'],
  ['cloudevents_type', 'ce_type'],
  ['content-type', 'content-type'],
  ['ce-my-own', 'ce-my-own'],
  ['traceparent', 'traceparent'],
])('the header %s is %s for us', (name, ours) => {
  expect(wire.ceName(name)).toBe(ours)
})
