import { describe, expect, it } from 'vitest'
import type { Assignment, Delivery, Outgoing, SettleResult } from '../src/contract.ts'
import { createEntry, type Entry } from '../src/entry.ts'
import { createSettlement, type Settlement } from '../src/settlement.ts'
import { virtualClock } from '../src/virtual-clock.ts'
import { pass, quiet } from './support/scripted.ts'

const outputs: readonly Outgoing[] = [{ id: 'output' } as Outgoing]

function world(mode: 'each' | 'prefix', atomic = true) {
  const clock = virtualClock()
  const calls: { readonly tokens: readonly unknown[]; readonly outputs: number; answer(result: SettleResult): Promise<void> }[] = []
  const answers: string[] = []
  const assignment = {
    settle: (tokens: readonly unknown[], given: readonly Outgoing[] = []) =>
      new Promise<SettleResult>((resolve) => {
        calls.push({
          tokens,
          outputs: given.length,
          async answer(result) {
            resolve(result)
            await quiet()
            await pass(clock, 1)
          },
        })
      }),
  } as unknown as Assignment
  const settlement: Settlement = createSettlement({
    clock,
    assignment,
    mode,
    atomic,
    answered: (entries, result) => void answers.push(`${entries.map(({ id }) => id).join('')} ${result}`),
    sent: () => undefined,
  })
  const admit = (id: string, withOutputs: boolean): Entry => {
    const delivery: Delivery = {
      token: id,
      content: { undecodable: '', body: null, headers: null },
      parked: false,
      deliveries: null,
      position: () => null,
    }
    const entry = createEntry({ topic: { name: 't' } } as Entry['runner'], delivery, null, id, null)
    entry.outputs = withOutputs ? outputs : null
    settlement.admit(entry)
    return entry
  }
  return { clock, calls, answers, settlement, admit, go: () => pass(clock, 1) }
}

describe('settling with outputs', () => {
  it('is one step at a time where only prefixes are settled, and stops at one that was not done', async () => {
    const { calls, answers, settlement, admit, go } = world('prefix')
    const [a, b, c] = [admit('a', true), admit('b', true), admit('c', false)] as [Entry, Entry, Entry]
    settlement.finish(a)
    await go()
    settlement.finish(b)
    await go()
    expect(calls.map(({ tokens }) => tokens)).toEqual([['a']])
    await calls[0]?.answer('settled')
    expect(calls.map(({ tokens }) => tokens)).toEqual([['a'], ['b']])
    settlement.finish(c)
    await calls[1]?.answer('unknown')
    await go()
    expect(calls).toHaveLength(2)
    expect(answers).toEqual(['a settled', 'b unknown'])
    await settlement.flush()
    expect(settlement.stop().unanswered.map(({ id }) => id)).toEqual(['c'])
  })

  it('takes no neighbours along where each is settled by itself', async () => {
    const { calls, settlement, admit, go } = world('each')
    for (const [id, withOutputs] of [
      ['a', false],
      ['b', false],
      ['c', true],
      ['d', true],
      ['e', false],
    ] as const)
      settlement.finish(admit(id, withOutputs))
    await go()
    expect(calls.map(({ tokens, outputs: count }) => [tokens, count])).toEqual([
      [['a', 'b'], 0],
      [['c'], 1],
      [['d'], 1],
      [['e'], 0],
    ])
  })

  it('is a matter of the consumer: without outputs several calls are open, a thousand in each', async () => {
    const { calls, settlement, admit, go } = world('prefix', false)
    for (let count = 0; count < 2_500; count++) settlement.finish(admit(String(count), false))
    await go()
    expect(calls.map(({ tokens }) => tokens.length)).toEqual([1_000, 1_000, 500])
  })

  it('where each is settled by itself, full calls do not wait for answers, and small ones gather', async () => {
    const { calls, settlement, admit, go } = world('each', false)
    const finish = async (count: number): Promise<void> => {
      for (let n = 0; n < count; n++) settlement.finish(admit(String(n), false))
      await go()
    }
    for (let call = 0; call < 4; call++) await finish(1)
    for (let call = 0; call < 5; call++) await finish(50)
    expect(calls.map(({ tokens }) => tokens.length)).toEqual([1, 1, 1, 1, 100, 100])
    await calls[0]?.answer('settled')
    for (let call = 0; call < 40; call++) await finish(100)
    expect(calls).toHaveLength(1 + 32)
  })
})
