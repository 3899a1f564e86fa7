import { topic, unchecked } from '@posthorn/core'
import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { definitionOf, isUnchecked } from '../src/topic.ts'

const order = z.object({ userId: z.string(), price: z.number() })

describe('topic', () => {
  it('holds its name, and shows nothing else', () => {
    const placed = topic('orders.placed', { schema: order, key: (value) => value.userId, groups: ['email'] })
    expect(Object.keys(placed)).toEqual(['name'])
    expect(placed.name).toBe('orders.placed')
    expect(Object.isFrozen(placed)).toBe(true)
  })

  it('has defaults', () => {
    expect(definitionOf('cannot test', topic('ticks'))).toMatchObject({
      name: 'ticks',
      schema: undefined,
      key: undefined,
      type: 'ticks',
      groups: [],
      partitions: undefined,
      maxBytes: 1_048_576,
      unrouted: 'reject',
    })
    expect(definitionOf('cannot test', topic('ticks')).codec.contentType).toBe('application/json')
  })

  it('copies its options', () => {
    const options = { groups: ['email'] }
    const first = topic('a', options)
    options.groups.push('push')
    const second = topic('b', options)
    expect(definitionOf('x', first).groups).toEqual(['email'])
    expect(definitionOf('x', second).groups).toEqual(['email', 'push'])
  })

  it.each<readonly [object, string]>([
    [{ shema: order }, 'did you mean "schema"?'],
    [{ schema: {} }, '"schema" must be a Standard Schema'],
    [{ schema: { parse: () => 1 } }, '"schema" must be a Standard Schema'],
    [{ accept: order }, '"accept" must be a list'],
    [{ key: 'userId' }, '"key" must be a function'],
    [{ groups: 'email' }, '"groups" must be a list'],
    [{ groups: ['Email'] }, '"Email" is not a group name'],
    [{ groups: ['email', 'email'] }, 'names a group twice'],
    [{ groups: ['dead'] }, 'reserved'],
    [{ partitions: 0 }, '"partitions" must be a whole number from 1'],
    [{ partitions: 2.5 }, '"partitions"'],
    [{ codec: 'xml' }, '"codec" must be one of "json", "text", "bytes", or a codec'],
    [{ codec: { encode: () => 1 } }, '"codec"'],
    [{ maxBytes: Number.NaN }, '"maxBytes"'],
    [{ retentionMs: '1d' }, '"retentionMs"'],
    [{ unrouted: 'ignore' }, '"unrouted" must be one of "reject", "drop"'],
    [{ type: '' }, '"type"'],
    [{ native: 'kafka' }, '"native" must be an object'],
  ])('refuses %j', (options, message) => {
    expect(() => topic('orders.placed', options)).toThrow(message)
    expect(() => topic('orders.placed', options)).toThrow('cannot declare the topic "orders.placed"')
  })

  it('refuses what it did not make, wherever a topic is taken', () => {
    for (const other of [undefined, null, 'orders.placed', { name: 'orders.placed' }]) {
      expect(() => definitionOf('cannot send', other)).toThrow("cannot send: a topic made by topic('name') is needed")
    }
  })
})

describe('unchecked', () => {
  it('is a schema that refuses nothing', () => {
    const schema = unchecked<{ n: number }>()
    expect(schema['~standard'].validate('anything')).toEqual({ value: 'anything' })
    expect(isUnchecked(schema)).toBe(true)
    expect(isUnchecked(undefined)).toBe(true)
    expect(isUnchecked(order)).toBe(false)
  })
})
