import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { monotonic } from '../src/clock.ts'
import type { Cell } from '../src/compare/comparison.ts'
import type { Measured, Outcome } from '../src/compare/task.ts'
import { recordOf } from '../src/faults/record.ts'
import { pageOf } from '../src/html/page.ts'
import { linear, logarithmic } from '../src/html/scale.ts'
import { clean, type Faults } from '../src/ledger.ts'
import { orderOf, runPasses } from '../src/plan.ts'
import { progressOf, timeOf } from '../src/progress.ts'
import { type Line, linesIn, rawFile } from '../src/raw.ts'
import { exitCodeOf, leftOutOf } from '../src/report.ts'
import { summaryOf } from '../src/summary.ts'
import { tablesOf } from '../src/tables.ts'

const folders: string[] = []
function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'posthorn-bench-'))
  folders.push(folder)
  return folder
}
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

const measured = (rate: number, faults: Faults = clean): Measured => ({
  messages: 1000,
  sent: 1000,
  confirmed: 1000,
  received: 1000 - faults.lost,
  wallMs: 1_000_000 / rate,
  processorMs: 20,
  rssBytes: 1_048_576,
  server: { processorMs: 10, rssBytes: 2_097_152 },
  faults,
  unsettled: 0,
})
const throughput = (rate: number, faults?: Faults): Outcome => ({
  measured: { produce: measured(rate), consume: measured(rate), 'end to end': measured(rate, faults) },
  notes: [],
})
const run = (broker: string, client: string, pass: number, outcome: Outcome, comparison = 'throughput', name = '1 KB'): Line => ({
  type: 'run',
  comparison,
  case: name,
  broker,
  client,
  pass,
  seconds: 1,
  outcome,
})
const about = { promise: 'at least once', how: 'as it is <set>' } as const
const server = (broker: string): Line => ({
  type: 'server',
  broker,
  server: `${broker} 1.0`,
  tier: 'disk',
  clients: { naive: about, tuned: about, posthorn: about },
})
const head: Line = { type: 'head', about: { node: '20', repeat: 'npm run bench -- --quick' } }

const cellOf = (broker: string, client: string, work: () => Promise<Outcome>, seconds = 0): Cell => ({
  comparison: 'throughput',
  case: '1 KB',
  broker,
  client,
  seconds,
  run: work,
})
const silent = { write: () => true }

test('brokers and clients take turns, and every pass begins with another one', () => {
  const work = (): Promise<Outcome> => Promise.resolve(throughput(1))
  const cells = ['redis', 'kafka'].flatMap((broker) => ['naive', 'tuned', 'posthorn'].map((client) => cellOf(broker, client, work)))
  const firsts = [0, 1, 2].map((pass) => orderOf(cells, pass)[0])
  expect(new Set(firsts).size).toBe(3)
  for (const pass of [0, 1, 2]) expect(new Set(orderOf(cells, pass))).toEqual(new Set(cells))
})

test('a run that fails is written as failed, and the others go on', async () => {
  const raw = rawFile(join(newFolder(), 'a', 'bench.jsonl'))
  const cells = [
    cellOf('redis', 'tuned', () => Promise.reject(new Error('the server is gone'))),
    cellOf('redis', 'posthorn', () => Promise.resolve(throughput(1000))),
  ]
  const until = monotonic() + 60_000
  await runPasses(cells, { passes: 1, until }, raw, progressOf(cells, 1, until, silent))
  expect(raw.lines.map(({ type }) => type)).toEqual(['failed', 'run'])
  expect(leftOutOf(raw.lines)).toContain('redis, throughput 1 KB, tuned: the server is gone')
})

test('nothing begins that would not be over in time, and the report says what is missing', async () => {
  const raw = rawFile(join(newFolder(), 'bench.jsonl'))
  let runs = 0
  const work = (): Promise<Outcome> => {
    runs++
    return Promise.resolve(throughput(1000))
  }
  const cells = [cellOf('redis', 'tuned', work, 3600), cellOf('redis', 'posthorn', work, 1)]
  const until = monotonic() + 10_000
  await runPasses(cells, { passes: 2, until }, raw, progressOf(cells, 2, until, silent))
  expect(runs).toBe(2)
  expect(leftOutOf(raw.lines).trim().split('\n')).toEqual(['left out, because there was no time', '  redis, throughput 1 KB, tuned'])
})

test('the display says how far it is and how long it takes, on one line of a terminal', () => {
  const steps = [{ seconds: 10 }, { seconds: 10 }]
  const texts: string[] = []
  const screen = { isTTY: true, columns: 200, write: (text: string) => texts.push(text) }
  const progress = progressOf(steps, 2, monotonic() + 3_600_000, screen)
  const [first, second] = steps as [{ seconds: number }, { seconds: number }]
  progress.now(first, 'redis')
  expect(texts.at(-1)).toMatch(/^░+ +0 % {2}0:40 left {2}redis$/)
  progress.over(first, 20)
  progress.now(second, 'kafka')
  // What is not known is taken to be as wrong as what is: twice as long as it was said to be.
  expect(texts.at(-1)).toMatch(/1:00 left {2}kafka$/)
  progress.end()
  expect(texts.at(-1)).toContain('\r')
  expect(timeOf(83.4)).toBe('1:23')
})

test('the report can be made again from the raw data alone', () => {
  const file = join(newFolder(), 'bench.jsonl')
  const raw = rawFile(file)
  for (const line of [head, server('redis'), run('redis', 'tuned', 0, throughput(2000)), run('redis', 'posthorn', 0, throughput(1000))])
    raw.write(line)
  const tables = tablesOf(linesIn(file))
  expect(tables).toEqual(tablesOf(raw.lines))
  expect(tables.map(({ name }) => name)).toEqual(['throughput'])
  const [row] = tables[0]?.rows.filter(({ name }) => name === 'redis, end to end, 1 KB, posthorn') ?? []
  expect(row?.figures).toMatchObject({
    'messages/s': '1,000 (1,000–1,000)',
    'of tuned': '0.50 (0.50–0.50)',
    'server RSS': '2 MiB',
    runs: '1',
  })
  expect(row).toMatchObject({ tier: 'disk', promise: 'at least once', counts: { sent: 1000, confirmed: 1000, received: 1000 } })
  expect(summaryOf(tables)).toMatch(/redis, posthorn +1,000 +0\.50 +0 +0 +0$/m)
})

test('a pass that a client sat out is not compared with', () => {
  const lines = [
    head,
    server('redis'),
    run('redis', 'tuned', 0, throughput(1000)),
    run('redis', 'tuned', 1, throughput(4000)),
    run('redis', 'posthorn', 1, throughput(4000)),
  ]
  const rows = tablesOf(lines)[0]?.rows ?? []
  expect(rows.find(({ name }) => name === 'redis, produce, 1 KB, posthorn')?.figures['of tuned']).toBe('1.00 (1.00–1.00)')
})

test('the page needs nothing but itself, is drawn for light and dark, and leaves out the bar of a row with a loss', () => {
  const lost = { lost: 2, twice: 0, misordered: 0 }
  const lines = [
    head,
    server('redis'),
    run('redis', 'naive', 0, throughput(300)),
    run('redis', 'tuned', 0, throughput(2000, lost)),
    run('redis', 'posthorn', 0, throughput(1000)),
  ]
  const tables = tablesOf(lines)
  const page = pageOf(lines, tables)
  expect(page).toContain('prefers-color-scheme: dark')
  expect(page.replaceAll('http://www.w3.org', '')).not.toMatch(/https?:|<script|<link|<img|@import|url\(/)
  expect(page).toContain('as it is &lt;set&gt;')
  expect(page).toContain('<title>redis, posthorn: 1.0k messages/s')
  expect(page).toContain('not drawn, faulty: redis, tuned')
  // Produce and consume are sound, end to end is not.
  expect(page.split('<title>redis, tuned:')).toHaveLength(3)
  expect(exitCodeOf(tables.flatMap(({ rows }) => rows))).toBe(1)
})

test('where something was killed a repeat is no fault, and a loss is one', () => {
  const killed = (faults: Faults): Outcome => ({
    measured: { 'consumer killed': { ...measured(300, faults), fault: { backMs: 800, worstMs: 900 } } },
    notes: [],
  })
  const codeOf = (faults: Faults): number =>
    exitCodeOf(
      tablesOf([head, server('redis'), run('redis', 'posthorn', 0, killed(faults), 'faults', 'consumer killed')]).flatMap(
        ({ rows }) => rows,
      ),
    )
  expect(codeOf({ ...clean, twice: 7 })).toBe(0)
  expect(codeOf({ ...clean, lost: 1 })).toBe(1)
  expect(codeOf({ ...clean, misordered: 1 })).toBe(1)
})

test('a fault run knows what was lost, what came again, and when messages were in time again', () => {
  const record = recordOf(() => 0, 100, 1000, true)
  for (let n = 0; n < 300; n++) {
    record.called(n)
    if (n !== 299) record.confirmed(n)
  }
  // Message n is due at n × 10 ms. The fault is at 500 ms; what was due until 900 ms is handled late.
  for (let n = 0; n < 50; n++) record.handled(n, n * 10 + 2)
  record.handled(49, 1200)
  for (let n = 50; n < 90; n++) record.handled(n, 1300 + n)
  expect(record.steady(500)).toBe(false)
  expect(record.backMs(500)).toBeUndefined()
  for (let n = 90; n < 250; n++) record.handled(n, n * 10 + 2)
  expect(record.backMs(500)).toBe(400)
  expect(record.worstMs).toBe(850)
  expect(record.counts()).toEqual({ sent: 300, confirmed: 299, received: 251 })
  expect(record.unconfirmed()).toEqual({ again: [299], from: 300 })
  // 250 to 298 were confirmed and never handled; of 299 nobody said that it is stored.
  expect(record.faults()).toEqual({ lost: 49, twice: 1, misordered: 0 })
  expect(record.complete()).toBe(false)
})

test('axes end at round numbers and hold what they show', () => {
  const bars = linear([123_456, 7], 0, 100)
  expect(bars.ticks).toEqual([0, 50_000, 100_000, 150_000])
  expect(bars.at(75_000)).toBe(50)
  const decades = logarithmic([0, 0.5, 2000], 0, 100)
  expect(decades.ticks).toEqual([0.1, 1, 10, 100, 1000, 10_000])
  expect(decades.at(0)).toBe(0)
  expect(decades.at(10_000)).toBe(100)
})
