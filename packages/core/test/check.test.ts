import { isMessagingError } from '@posthorn/core'
import { describe, expect, it } from 'vitest'
import {
  boolean,
  checkOptions,
  date,
  either,
  fn,
  listOf,
  milliseconds,
  number,
  oneOf,
  type Rule,
  show,
  signal,
  text,
  whole,
} from '../src/check.ts'

const rules = { timeoutMs: milliseconds, max: whole(1, 100), retry: boolean }
interface Options {
  readonly timeoutMs?: number | undefined
  readonly max?: number | undefined
  readonly retry?: boolean | undefined
}
const refusal = (options: unknown): string => {
  try {
    checkOptions('cannot test', options as Options, rules)
  } catch (error) {
    if (isMessagingError(error, 'INVALID_ARGUMENT')) return error.message
    throw error
  }
  return 'accepted'
}

describe('checkOptions', () => {
  it('returns a copy of what was given, without undefined fields', () => {
    const options = { timeoutMs: 5, max: undefined }
    const copy = checkOptions<Options>('cannot test', options, rules)
    options.timeoutMs = 6
    expect(copy).toEqual({ timeoutMs: 5 })
    expect(options).toEqual({ timeoutMs: 6, max: undefined })
  })

  it('takes no options at all', () => {
    expect(refusal(undefined)).toBe('accepted')
  })

  it.each([
    [{ timeoutMS: 5 }, 'cannot test: there is no option "timeoutMS". did you mean "timeoutMs"?'],
    [{ zebra: 1 }, 'cannot test: there is no option "zebra". known are timeoutMs, max, retry'],
    [{ timeoutMs: '60s' }, '"timeoutMs" must be a whole number of milliseconds from 0 to 2147483647, not "60s"'],
    [{ timeoutMs: Number.NaN }, 'not NaN'],
    [{ timeoutMs: -1 }, 'not -1'],
    [{ timeoutMs: 2 ** 53 }, 'not 9007199254740992'],
    [{ timeoutMs: Number.POSITIVE_INFINITY }, 'not Infinity'],
    [{ timeoutMs: null }, 'not null'],
    [{ max: 0.5 }, '"max" must be a whole number from 1 to 100, not 0.5'],
    [{ retry: 'yes' }, '"retry" must be true or false, not "yes"'],
    [{ toString: 1 }, 'there is no option "toString"'],
    [JSON.parse('{"__proto__": 1}'), 'there is no option "__proto__"'],
    [null, 'the options must be an object, not null'],
    [[], 'the options must be an object, not []'],
    ['fast', 'the options must be an object, not "fast"'],
  ])('refuses %j', (options, message) => {
    expect(refusal(options)).toContain(message)
  })

  it('does not show a secret that was given as a wrong value', () => {
    expect(refusal({ retry: 'redis://:shown-nowhere@host' })).not.toContain('shown-nowhere')
  })
})

describe('rules', () => {
  const table: readonly (readonly [string, Rule, readonly unknown[], readonly unknown[]])[] = [
    ['milliseconds', milliseconds, [0, 1, 2 ** 31 - 1], [-0.5, 1.5, 2 ** 31, '1', null]],
    ['whole', whole(2), [2, 3], [1, 2.5, Number.NaN]],
    ['number', number(1), [1, 1.5], [0.5, Number.POSITIVE_INFINITY, Number.NaN, '2']],
    ['text', text, ['a'], ['', 1, null]],
    ['date', date, [new Date(0)], [new Date(Number.NaN), 0, '2024-01-01']],
    ['fn', fn, [() => 1], [{}, null]],
    ['signal', signal, [new AbortController().signal], [new AbortController(), {}]],
    ['oneOf', oneOf('a', false), ['a', false], ['b', undefined, 0]],
    ['either', either(text, fn), ['a', () => 1], [1]],
    ['listOf', listOf(text), [[], ['a']], ['a', ['a', 1], null]],
  ]
  it.each(table)('%s accepts what is right and says what it wants else', (_, rule, right, wrong) => {
    for (const value of right) expect(rule(value)).toBeUndefined()
    for (const value of wrong) expect(rule(value)).toBeTypeOf('string')
  })
})

describe('show', () => {
  it('is short, on one line where it can be, and calls nothing', () => {
    expect(show('x'.repeat(500)).length).toBeLessThan(70)
    expect(
      show({
        get password() {
          throw new Error('called')
        },
      }),
    ).toContain('Getter')
    expect(show(() => 'body')).toBe('a function')
    expect(show('line\nbreak')).toBe('"line\\nbreak"')
  })
})
