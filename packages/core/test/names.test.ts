import type { Place } from '@posthorn/core/adapter'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkGroupName, checkTopicName, groupName, parsePlaceName, placeName } from '../src/names.ts'

const letter = 'abcdefghijklmnopqrstuvwxyz0123456789'
const token = fc
  .tuple(
    fc.string({ unit: fc.constantFrom(...letter), minLength: 1, maxLength: 8 }),
    fc.option(fc.string({ unit: fc.constantFrom(...letter), minLength: 1, maxLength: 8 })),
  )
  .map(([a, b]) => (b === null ? a : `${a}-${b}`))
const topicName = fc.array(token, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('.'))
const groups = token.filter((name) => !['delay', 'retry', 'dead', 'foreign', 'members'].includes(name))
const place: fc.Arbitrary<Place> = fc.oneof(
  topicName.map((topic): Place => ({ topic, role: 'main', group: null })),
  topicName.map((topic): Place => ({ topic, role: 'delay', group: null })),
  fc
    .tuple(topicName, groups, fc.constantFrom('retry' as const, 'dead' as const))
    .map(([topic, group, role]): Place => ({ topic, role, group })),
)

describe('topic names', () => {
  it.each(['a', 'orders.placed', 'a-b.c9', '0', 'x'.repeat(180)])('accepts %s', (name) => {
    expect(() => checkTopicName('cannot test', name)).not.toThrow()
  })

  it.each([
    '',
    '.',
    'a.',
    '.a',
    'a..b',
    'Orders',
    'a_b',
    'a__b',
    '-a',
    'a-',
    'a b',
    'ä',
    'a/b',
    '#',
    '+',
    'a\n',
    '$SYS',
    'a\u0000',
    'x'.repeat(181),
    7,
    null,
    undefined,
    {},
  ])('refuses %j', (name) => {
    expect(() => checkTopicName('cannot test', name)).toThrow(/^cannot test: /)
  })
})

describe('group names', () => {
  it.each(['email', 'e-mail', '9', 'x'.repeat(60)])('accepts %s', (name) => {
    expect(() => checkGroupName('cannot test', name)).not.toThrow()
  })

  it.each(['', 'a.b', 'E', 'a_b', '-a', 'delay', 'retry', 'dead', 'foreign', 'members', 'x'.repeat(61), 7, null])('refuses %j', (name) => {
    expect(() => checkGroupName('cannot test', name)).toThrow(/^cannot test: /)
  })

  it('says that the option is missing where there is none', () => {
    expect(() => checkGroupName('cannot consume', undefined)).toThrow('the option "group" is missing')
  })
})

describe('derived names', () => {
  it('join with two underscores', () => {
    expect(placeName({ topic: 'orders.placed', role: 'main', group: null })).toBe('orders.placed')
    expect(placeName({ topic: 'orders.placed', role: 'delay', group: null })).toBe('orders.placed__delay')
    expect(placeName({ topic: 'orders.placed', role: 'dead', group: 'email' })).toBe('orders.placed__email__dead')
    expect(groupName('orders.placed', 'email')).toBe('orders.placed__email')
  })

  it('can be read back, and no two places share one', () => {
    fc.assert(
      fc.property(place, (each) => {
        expect(parsePlaceName(placeName(each))).toEqual(each)
      }),
    )
    fc.assert(
      fc.property(place, place, (a, b) => {
        if (placeName(a) === placeName(b)) expect(a).toEqual(b)
      }),
    )
  })

  it.each(['', 'a__b', 'a__b__c', 'a__b__dead__x', '__dead'])("%j is nobody's", (name) => {
    expect(parsePlaceName(name)).toBeNull()
  })
})
