import type { Adapter, Outgoing, Session } from '@posthorn/core/adapter'
import { expect, test } from 'vitest'
import { coreRun } from '../src/core-run.ts'
import type { Driver, Place } from '../src/driver.ts'
import { memoryDriver } from '../src/drivers/memory.ts'
import { clean, createLedger, type Faults, faulty } from '../src/ledger.ts'
import { optionsOf } from '../src/options.ts'
import { exitCodeOf, tableOf, targetsOf } from '../src/report.ts'
import type { Row } from '../src/scenario.ts'
import { backlog } from '../src/scenarios/backlog.ts'
import { spreadOf } from '../src/statistics.ts'

const never = new AbortController().signal

// Where the bench looks, a publish may do to its batch what no server should.
function planted(spoil: (batch: readonly Outgoing[], session: Session) => readonly Outgoing[]): Driver {
  const spoiled = (adapter: Adapter): Adapter => ({
    ...adapter,
    async open(context, signal) {
      const session = await adapter.open(context, signal)
      return { ...session, publish: (batch, given) => session.publish(spoil(batch, session), given) }
    },
  })
  return {
    ...memoryDriver,
    async open(): Promise<Place> {
      const place = await memoryDriver.open()
      return { ...place, adapter: spoiled(place.adapter) }
    },
  }
}

const job = { messages: 1000, bytes: 100, keyed: true, lanes: 1000, stallMs: 300 }

async function faultsOf(driver: Driver, keys = job.lanes): Promise<Faults> {
  const place = await driver.open()
  const { faults } = await coreRun(place, { ...job, lanes: keys })
  await place.close()
  return faults
}

const rowOf = (faults: Faults): Row => ({
  name: 'planted',
  figures: { rate: '1' },
  data: {},
  faults,
  targets: [{ text: 'as fast as light', value: '1', met: false }],
})

test('a sound run has no faults, and a missed target changes nothing', async () => {
  const faults = await faultsOf(memoryDriver)
  expect(faults).toEqual(clean)
  expect(exitCodeOf([rowOf(faults)])).toBe(0)
  expect(targetsOf(rowOf(faults).targets)).toContain('NOT MET')
})

test('a message that is confirmed and not stored is counted as lost', async () => {
  let dropped = 0
  const faults = await faultsOf(planted((batch) => (dropped++ === 0 && batch.length > 1 ? batch.slice(0, -1) : batch)))
  expect(faults).toEqual({ lost: 1, twice: 0, misordered: 0 })
  expect(exitCodeOf([rowOf(clean), rowOf(faults)])).toBe(1)
  expect(tableOf('title', 'method', [rowOf(clean), rowOf(faults)])).toMatch(/planted +1 +1 +0 +0 +<- FAULTY/)
})

test('a message that is stored twice is counted as repeated', async () => {
  let planting = true
  const faults = await faultsOf(
    planted((batch, session) => {
      if (planting) void session.publish(batch.slice(0, 3), never)
      planting = false
      return batch
    }),
  )
  expect(faults).toEqual({ lost: 0, twice: 3, misordered: 0 })
  expect(faulty(faults)).toBe(true)
})

test('messages of one key that change places are counted as out of order', async () => {
  const backwards = planted((batch) => batch.toReversed())
  const faults = await faultsOf(backwards, 10)
  expect({ lost: faults.lost, twice: faults.twice }).toEqual({ lost: 0, twice: 0 })
  expect(faults.misordered).toBeGreaterThan(900)
  expect(exitCodeOf([rowOf(faults)])).toBe(1)
})

test('what comes again says nothing about the order', () => {
  const ledger = createLedger(4, 1)
  for (const n of [0, 2, 0, 1, 3, 3]) ledger.handled(n, 0)
  expect(ledger.faults(4)).toEqual({ lost: 0, twice: 2, misordered: 1 })
})

test('the long queue in front of a slow consumer knows what was lost', async () => {
  let planting = true
  const lossy = planted((batch) => {
    const kept = planting && batch.length > 1 ? batch.slice(0, -1) : batch
    planting = false
    return kept
  })
  const [row] = await backlog.run(lossy, {
    size: 'quick',
    runs: 1,
    clients: [],
    keyed: true,
    profile: undefined,
    say: () => undefined,
  })
  expect(row?.faults).toEqual({ lost: 1, twice: 0, misordered: 0 })
}, 60_000)

test('the median stands between the extremes', () => {
  expect(spreadOf([3, 1, 2])).toEqual({ median: 2, lowest: 1, highest: 3 })
  expect(spreadOf([4, 1, 2, 3])).toEqual({ median: 2.5, lowest: 1, highest: 4 })
})

test('the command line refuses what it does not know', () => {
  const known = {
    embedded: ['memory'],
    servers: ['redis', 'kafka'],
    scenarios: ['throughput', 'backlog'],
    comparisons: ['throughput', 'latency'],
    clients: ['naive', 'tuned', 'posthorn'],
  }
  const given = optionsOf(['redis', 'memory', 'redis', '--quick', '--only', 'backlog,latency', '--out', 'raw'], known)
  expect(given).toMatchObject({ brokers: ['redis', 'memory'], only: ['backlog', 'latency'], size: 'quick', runs: 3, out: 'raw' })
  expect(given.minutes).toBeLessThan(5)
  expect(optionsOf([], known)).toMatchObject({
    brokers: ['redis', 'kafka'],
    anyBroker: true,
    only: undefined,
    clients: ['naive', 'tuned', 'posthorn'],
    durability: 'disk',
    runs: 3,
  })
  expect(optionsOf(['--full'], known)).toMatchObject({ size: 'full', runs: 5, minutes: Number.POSITIVE_INFINITY })
  expect(() => optionsOf(['nats'], known)).toThrow('name brokers of: memory, redis')
  expect(() => optionsOf(['--only', 'speed'], known)).toThrow('throughput, backlog, latency')
  expect(() => optionsOf(['--clients', 'tuned,best'], known)).toThrow('--clients takes naive, tuned, posthorn')
  expect(() => optionsOf(['--runs', '0'], known)).toThrow('--runs must be a whole number from 1')
  expect(() => optionsOf(['--minutes', 'few'], known)).toThrow('--minutes must be a number')
  expect(() => optionsOf(['--durability', 'ram'], known)).toThrow('--durability takes disk, process, memory')
  expect(() => optionsOf(['--quick', '--full'], known)).toThrow('name one')
})
