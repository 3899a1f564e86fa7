import { describe, expect, test } from 'vitest'
import type { Client, ComparedBroker, Connection, Place } from '../src/compare/client.ts'
import { quantile } from '../src/compare/latency.ts'
import { posthornClient } from '../src/compare/posthorn.ts'
import { ratios, throughputRows, verdict } from '../src/compare/rows.ts'
import { runTask } from '../src/compare/run-task.ts'
import type { Measured, Task } from '../src/compare/task.ts'
import { clean } from '../src/ledger.ts'
import { numberOf, type Work } from '../src/messages.ts'
import { exitCodeOf, tableOf } from '../src/report.ts'

// The comparison on a broker that needs no server: what it counts is the same everywhere.

const embedded = posthornClient('the embedded broker')

/** A client that does to its messages what no client should. */
function spoiled(spoil: (work: Work, handle: (work: Work) => void | Promise<void>) => void | Promise<void>): Client {
  return {
    ...embedded,
    async open(place: Place): Promise<Connection> {
      const inner = await embedded.open(place)
      return { ...inner, consume: (handle) => inner.consume((work) => spoil(work, handle)) }
    },
  }
}
const brokerWith = (client: Client, left = 0): ComparedBroker => ({
  name: 'embedded',
  settings: () => Promise.resolve(''),
  partitions: { keyed: 4, unkeyed: 4 },
  messages: { naive: 1, tuned: 1, posthorn: 1 },
  clients: { naive: client, tuned: client, posthorn: client },
  versions: () => ({}),
  unsettled: () => Promise.resolve(left),
  remove: () => Promise.resolve(),
})
const common = { broker: 'embedded', client: 'posthorn', url: 'memory:bench', bytes: 100, keyed: true, warmUp: 10 } as const
const throughput: Task = { ...common, kind: 'throughput', messages: 500 }

describe('what a comparison measures', () => {
  test('a sound client stores, is handed and settles everything once and in order', async () => {
    const { measured, notes } = await runTask(brokerWith(embedded), throughput)
    expect(Object.keys(measured)).toEqual(['produce', 'consume', 'end to end'])
    for (const each of Object.values(measured)) {
      expect(each).toMatchObject({ messages: 500, faults: clean, unsettled: 0 })
      expect(each.wallMs).toBeGreaterThan(0)
    }
    expect(notes).toEqual([])
  })

  test('what is handled twice or in another order is counted in each row that it spoils', async () => {
    const twice = await runTask(
      brokerWith(
        spoiled((work, handle) => {
          if (numberOf(work) === 7) void handle(work)
          return handle(work)
        }),
      ),
      throughput,
    )
    expect(twice.measured.produce?.faults).toEqual({ lost: 0, twice: 1, misordered: 0 })
    expect(twice.measured['end to end']?.faults.twice).toBe(1)
    const held: Work[] = []
    const late = await runTask(
      brokerWith(
        spoiled(async (work, handle) => {
          if (numberOf(work) === 3) return void held.push(work)
          await handle(work)
          for (const old of numberOf(work) === 103 ? held.splice(0) : []) await handle(old)
        }),
      ),
      { ...common, kind: 'slow', warmUp: 0, messages: 200, handlerMs: 1, lanes: 100 },
    )
    expect(late.measured.slow?.faults).toEqual({ lost: 0, twice: 0, misordered: 1 })
  })

  test('latency is known of every message of the schedule', async () => {
    const { measured } = await runTask(brokerWith(embedded), { ...common, kind: 'latency', perSecond: 200, seconds: 1 })
    expect(measured.latency).toMatchObject({ messages: 200, faults: clean })
    expect(measured.latency?.latency?.p50).toBeGreaterThan(0)
  })

  test('what the server still holds afterwards is in the row', async () => {
    const { measured } = await runTask(brokerWith(embedded, 3), {
      ...common,
      kind: 'slow',
      warmUp: 0,
      messages: 10,
      handlerMs: 1,
      lanes: 10,
    })
    expect(measured.slow?.unsettled).toBe(3)
  })
})

describe('what a comparison says', () => {
  const one = (messages: number, wallMs: number, lost = 0): Measured => ({
    messages,
    wallMs,
    processorMs: 1,
    faults: { ...clean, lost },
    unsettled: 0,
  })
  const outcome = (measured: Measured) => ({ measured: { produce: measured }, notes: [] })

  test('ratios are taken run by run', () => {
    expect(ratios([90, 40, 120], [100, 50, 100])).toEqual({ median: 0.9, lowest: 0.8, highest: 1.2 })
    expect(ratios([1], [])).toBeUndefined()
  })

  test('Posthorn meets the goal, is near it, or is under what it may never be', () => {
    expect([1.2, 1, 0.99, 0.85, 0.84].map(verdict)).toEqual(['met', 'met', 'within 0.85', 'within 0.85', 'UNDER 0.85'])
  })

  test('a row shows the ratio to the tuned client, its promise, and a loss', () => {
    const runs = new Map([
      ['tuned', [outcome(one(1000, 10))]],
      ['posthorn', [outcome(one(1000, 12.5, 4))]],
    ] as const)
    const rows = throughputRows({ broker: brokerWith(embedded), url: '' }, runs, 'produce', 'produce, 100 B')
    const table = tableOf('title', 'method', rows)
    expect(table).toMatch(
      /produce, 100 B, posthorn .* 80,000 .* 0\.80 \(0\.80–0\.80\) +UNDER 0\.85 .* 4 +0 +0 +0 +at least once +<- FAULTY/,
    )
    expect(table).toContain('embedded, posthorn: the embedded broker; concurrency 16')
    expect(exitCodeOf(rows)).toBe(1)
  })

  test('quantiles are values that were measured', () => {
    expect(quantile([1, 2, 3, 4], 0.5)).toBe(3)
    expect(quantile([1, 2, 3, 4], 0.99)).toBe(4)
    expect(quantile([], 0.5)).toBeNaN()
  })
})
