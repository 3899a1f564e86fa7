import { describe, expect, test } from 'vitest'
import { type Client, type ComparedBroker, type Connection, durabilityOf, type Place } from '../src/compare/client.ts'
import type { Results } from '../src/compare/comparison.ts'
import { posthornClient } from '../src/compare/posthorn.ts'
import { ratios, verdict } from '../src/compare/rows.ts'
import type { Measured, Outcome, Task } from '../src/compare/task.ts'
import { throughput as throughputTable } from '../src/compare/throughput.ts'
import { clean } from '../src/ledger.ts'
import { numberOf, type Work } from '../src/messages.ts'
import { exitCodeOf, tableOf } from '../src/report.ts'
import { histogramOf, quantile } from '../src/tasks/histogram.ts'
import { runTask } from '../src/tasks/run-task.ts'
import { keptUp, nextRate } from '../src/tasks/saturation.ts'

// The comparison on a broker that needs no server: what it counts is the same everywhere.

const embedded = posthornClient('the embedded broker', 1)

/** A client that does to its messages what no client should. */
function spoiled(spoil: (work: Work, handle: (work: Work) => void | Promise<void>) => void | Promise<void>): Client {
  return {
    ...embedded,
    async open(place: Place): Promise<Connection> {
      const inner = await embedded.open(place)
      return { ...inner, consume: (handle, group) => inner.consume((work) => spoil(work, handle), group) }
    },
  }
}
const brokerWith = (client: Client, left = 0): ComparedBroker => ({
  name: 'embedded',
  settings: () => Promise.resolve(''),
  partitions: { keyed: 4, unkeyed: 4 },
  durabilities: [{ tier: 'memory', settings: [], says: 'in memory' }],
  restartedBy: 'SIGKILL',
  clients: [client],
  versions: () => ({}),
  unsettled: () => Promise.resolve(left),
  remove: () => Promise.resolve(),
})
const common = {
  broker: 'embedded',
  client: 'posthorn',
  url: 'memory:bench',
  serverPid: undefined,
  bytes: 100,
  keyed: true,
  warmUp: 10,
} as const
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
    const { measured } = await runTask(brokerWith(embedded), { ...common, kind: 'latency', rates: [200, 400], seconds: 0.5 })
    expect(measured['200/s']).toMatchObject({ messages: 100, sent: 100, confirmed: 100, received: 100, perSecond: 200, faults: clean })
    expect(measured['400/s']).toMatchObject({ messages: 200, faults: clean, unsettled: 0 })
    const { p50, p95, p99, p999, worst, negative, histogram } = measured['400/s']?.latency ?? expect.fail('no latency')
    expect(p50).toBeGreaterThan(0)
    expect([p50, p95, p99, p999, worst].toSorted((a, b) => a - b)).toEqual([p50, p95, p99, p999, worst])
    expect(negative).toBe(0)
    expect(histogram.reduce((sum, [, count]) => sum + count, 0)).toBe(200)
  })

  test('the highest rate is looked for, and latency is measured below it', async () => {
    const task: Task = { ...common, kind: 'saturation', warmUp: 500, steps: 3, stepSeconds: 0.2, shares: [0.5, 0.8] }
    const { measured } = await runTask(brokerWith(embedded), task)
    expect(Object.keys(measured)).toEqual(['highest', 'at 50 %', 'at 80 %'])
    expect(measured['at 50 %']?.perSecond).toBeCloseTo((measured.highest?.perSecond ?? 0) / 2)
    for (const each of Object.values(measured)) expect(each.faults).toEqual(clean)
  })

  test('each of several groups handles every message', async () => {
    const { measured } = await runTask(brokerWith(embedded), { ...common, kind: 'fan-out', messages: 200, groups: 3 })
    expect(measured['fan-out']).toMatchObject({ messages: 600, sent: 200, received: 600, faults: clean, unsettled: 0 })
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
    sent: messages,
    confirmed: messages,
    received: messages - lost,
    wallMs,
    processorMs: 1,
    rssBytes: 1_048_576,
    faults: { ...clean, lost },
    unsettled: 0,
  })
  const outcome = (measured: Measured): Outcome => ({ measured: { produce: measured }, notes: [] })
  const about = {
    broker: 'embedded',
    server: 'in this process',
    tier: 'memory',
    clients: { tuned: { promise: 'at least once', how: 'tuned' }, posthorn: { promise: 'at least once', how: embedded.how } },
  } as const

  test('ratios are taken run by run', () => {
    expect(ratios([90, 40, 120], [100, 50, 100])).toEqual({ median: 0.9, lowest: 0.8, highest: 1.2 })
    expect(ratios([1, undefined, 3], [undefined, 2, 3])).toEqual({ median: 1, lowest: 1, highest: 1 })
    expect(ratios([1], [])).toBeUndefined()
  })

  test('Posthorn meets the goal, is near it, or is under what it may never be', () => {
    expect([1.2, 1, 0.99, 0.85, 0.84].map(verdict)).toEqual(['met', 'met', 'within 0.85', 'within 0.85', 'UNDER 0.85'])
  })

  test('a row shows the ratio to the tuned client, its promise, and a loss', () => {
    const runs = new Map([
      ['tuned', [outcome(one(1000, 10))]],
      ['posthorn', [outcome(one(1000, 12.5, 4))]],
    ])
    const results: Results = { case: '100 B', about, runs }
    const rows = throughputTable.rows(results)
    const table = tableOf('title', 'method', rows)
    expect(table).toMatch(
      /produce, 100 B, posthorn .* 80,000 .* 0\.80 \(0\.80–0\.80\) +UNDER 0\.85 .* 1,000\/1,000\/996 +4 +0 +0 +0 +memory +at least once +<- FAULTY/,
    )
    expect(table).toContain('embedded, posthorn: the embedded broker; concurrency 16')
    expect(exitCodeOf(rows)).toBe(1)
  })

  test('a rate is kept up with when the second half comes in time and nothing is missing', () => {
    expect(keptUp([900, 900, 10, 10], 4)).toBe(true)
    expect(keptUp([10, 10, 900, 900], 4)).toBe(false)
    expect(keptUp([10, 10, 10], 4)).toBe(false)
    expect([nextRate(0, 800), nextRate(400, 800), nextRate(400, Number.POSITIVE_INFINITY)]).toEqual([400, 600, 600])
  })

  test('a server gives the durability that was asked for, more where it cannot give less, or the most that it has', () => {
    const disk = { tier: 'disk', settings: [], says: '' } as const
    const killed = { tier: 'process', settings: [], says: '' } as const
    const stop = { tier: 'memory', settings: [], says: '' } as const
    expect(durabilityOf({ durabilities: [disk, killed] }, 'process').tier).toBe('process')
    expect(durabilityOf({ durabilities: [disk, killed] }, 'disk').tier).toBe('disk')
    expect(durabilityOf({ durabilities: [disk] }, 'memory').tier).toBe('disk')
    expect(durabilityOf({ durabilities: [stop] }, 'disk').tier).toBe('memory')
  })

  test('quantiles are values that were measured, and a histogram holds all of them', () => {
    expect(histogramOf([1, 1, 50, -3]).map(([, count]) => count)).toEqual([1, 2, 1])
    for (const [bound] of histogramOf([7])) expect(bound / 7).toBeLessThan(1.03)
    expect(quantile([1, 2, 3, 4], 0.5)).toBe(3)
    expect(quantile([1, 2, 3, 4], 0.99)).toBe(4)
    expect(quantile([], 0.5)).toBeNaN()
  })
})
