import { deadLetter, drop, postpone, retry } from '@posthorn/core'
import { describe, expect, it } from 'vitest'
import { decided } from '../src/decision.ts'

describe('decisions', () => {
  it('say what to do, and cannot be changed', () => {
    expect(retry()).toEqual({ '~decision': 'retry', afterMs: undefined, reason: undefined })
    expect(retry({ afterMs: 5, reason: 'busy' })).toEqual({ '~decision': 'retry', afterMs: 5, reason: 'busy' })
    expect(postpone({ afterMs: 0 })).toEqual({ '~decision': 'postpone', afterMs: 0 })
    expect(deadLetter('bad address')).toEqual({ '~decision': 'dead-letter', reason: 'bad address' })
    expect(drop('too old')).toEqual({ '~decision': 'drop', reason: 'too old' })
    for (const each of [retry(), postpone({ afterMs: 1 }), deadLetter('x'), drop('x')]) expect(Object.isFrozen(each)).toBe(true)
  })

  it.each<readonly [string, () => unknown]>([
    ['retry({ after })', () => retry({ after: 5 } as never)],
    ['retry({ afterMs: -1 })', () => retry({ afterMs: -1 })],
    ['retry({ afterMs: NaN })', () => retry({ afterMs: Number.NaN })],
    ['postpone({})', () => postpone({} as never)],
    ['postpone()', () => postpone(undefined as never)],
    ['deadLetter()', () => deadLetter(undefined as never)],
    ["deadLetter('')", () => deadLetter('')],
    ['drop({})', () => drop({} as never)],
  ])('%s is refused', (_, run) => {
    expect(run).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  })

  it('are told from everything else a handler may return', () => {
    expect(decided(retry())?.['~decision']).toBe('retry')
    for (const other of [undefined, null, 'retry', 1, {}, { '~decision': 'explode' }, new Error('x'), []])
      expect(decided(other)).toBeUndefined()
  })
})
