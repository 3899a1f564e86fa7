// `npm run bench`: how fast, at what cost, beside what the same server gives a bare client, and whether every message arrived
// once and in order.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { monotonic, wallClock } from './clock.ts'
import { brokerNamed, comparedBrokers } from './compare/brokers.ts'
import { durabilityOf } from './compare/client.ts'
import type { About, Cell, Server } from './compare/comparison.ts'
import { comparisons } from './compare/comparisons.ts'
import type { StartServer } from './compare/servers.ts'
import { drivers } from './drivers.ts'
import { pageOf } from './html/page.ts'
import { type Known, type Options, optionsOf, usageOf } from './options.ts'
import { runPasses } from './plan.ts'
import { progressOf } from './progress.ts'
import { type Line, linesIn, type Raw, rawFile } from './raw.ts'
import { exitCodeOf, headOf, leftOutOf, tableOf, targetsOf } from './report.ts'
import type { Settings } from './scenario.ts'
import { scenarios } from './scenarios.ts'
import { summaryOf } from './summary.ts'
import { tablesOf } from './tables.ts'
import { versions } from './versions.ts'

const known: Known = {
  embedded: drivers.map(({ name }) => name),
  servers: comparedBrokers.map(({ name }) => name),
  scenarios: Object.keys(scenarios),
  comparisons: comparisons.filter(({ runsOf }) => runsOf === undefined).map(({ name }) => name),
  clients: [...new Set(comparedBrokers.flatMap(({ clients }) => clients.map(({ name }) => name)))],
}

/**
 * Measures what the arguments ask for on servers that `start` gives, prints the tables, and writes the raw data and the report.
 * Returns the exit code; throws with a sentence for people where the arguments make no sense.
 */
export async function bench(args: readonly string[], start: StartServer): Promise<number> {
  const options = optionsOf(args, known)
  if (options.help) {
    process.stdout.write(usageOf(known))
    return 0
  }
  const lines = options.from === undefined ? await measure(args, options, start) : linesIn(options.from)
  return show(lines, options)
}

async function measure(args: readonly string[], options: Options, start: StartServer): Promise<readonly Line[]> {
  const began = monotonic()
  const until = began + options.minutes * 60_000
  const raw = rawFile(join(options.out, 'bench.jsonl'))
  const servers = await serversOf(options, start)
  const settings: Settings = { ...options, keyed: !options.unkeyed, say: (line) => void process.stderr.write(`  … ${line}\n`) }
  raw.write({ type: 'head', about: { ...(await headAbout(args, options, servers)) } })
  for (const { about } of servers) raw.write({ type: 'server', ...about })
  await measureEmbedded(options, settings, raw)
  const cells = comparisons
    .filter(({ name }) => options.only === undefined || options.only.includes(name))
    .flatMap((comparison): Cell[] => servers.flatMap((server) => comparison.cells(server, settings)))
  const progress = progressOf(cells, options.runs, until, process.stderr)
  await runPasses(cells, { passes: options.runs, until }, raw, progress)
  progress.end()
  raw.write({ type: 'end', seconds: (monotonic() - began) / 1000 })
  return raw.lines
}

/** The servers that were asked for, started, and what the report says about each. */
async function serversOf(options: Options, start: StartServer): Promise<(Server & { readonly about: About })[]> {
  const servers = []
  for (const name of options.brokers.filter((each) => known.servers.includes(each))) {
    const broker = brokerNamed(name)
    const { tier, settings, says } = durabilityOf(broker, options.durability)
    const given = await start(name, settings)
    if (given === undefined) {
      if (options.anyBroker) continue
      throw new Error(`there is no server for "${name}"`)
    }
    const clients = Object.fromEntries(
      [...broker.clients, ...(broker.yardsticks ?? [])].map(({ name: client, promise, how }) => [client, { promise, how }]),
    )
    const server = `${given.title} (${given.source}): ${says}; ${await broker.settings(given.url)}`
    servers.push({ broker, given, about: { broker: name, server, tier, clients } })
  }
  return servers
}

async function headAbout(
  args: readonly string[],
  { brokers, runs, size }: Options,
  servers: readonly { readonly about: About; readonly broker: { versions(): Readonly<Record<string, string>> } }[],
): Promise<Record<string, string>> {
  const embedded = drivers.filter(({ name }) => brokers.includes(name))
  return {
    ...versions(),
    ...Object.assign({}, ...(await Promise.all(embedded.map((driver) => driver.versions())))),
    ...Object.assign(
      {},
      ...servers.map(({ about, broker }) => ({ [about.broker]: `${about.server}; durability ${about.tier}`, ...broker.versions() })),
    ),
    size,
    passes: `up to ${runs}, interleaved over brokers and clients, after warm-ups that do not count; median (lowest–highest)`,
    when: new Date(wallClock()).toISOString(),
    repeat: ['npm run bench --', ...args].join(' '),
  }
}

async function measureEmbedded({ brokers, only }: Options, settings: Settings, raw: Raw): Promise<void> {
  for (const driver of drivers.filter(({ name }) => brokers.includes(name))) {
    for (const [name, { title, method, run }] of Object.entries(scenarios)) {
      if (only !== undefined && !only.includes(name)) continue
      settings.say(`${driver.name}: ${title}`)
      const rows = await run(driver, settings)
      raw.write({ type: 'rows', name: `${driver.name} ${name}`, title: `${driver.name}: ${title}`, method, rows })
    }
  }
}

function show(lines: readonly Line[], { out, from }: Options): number {
  const print = (text: string): void => void process.stdout.write(`${text}\n`)
  const tables = tablesOf(lines)
  const rows = tables.flatMap((table) => table.rows)
  print(headOf(lines.find((line) => line.type === 'head')?.about ?? {}))
  for (const { title, method, rows: own } of tables) print(tableOf(title, method, own))
  const targets = rows.flatMap((row) => row.targets)
  if (targets.length > 0) print(targetsOf(targets))
  const summary = summaryOf(tables)
  if (summary !== undefined) print(summary)
  const missing = leftOutOf(lines)
  if (missing !== '') print(missing)
  mkdirSync(out, { recursive: true })
  const page = join(out, 'bench.html')
  writeFileSync(page, pageOf(lines, tables))
  print(`\nreport  ${page}\nraw     ${from ?? join(out, 'bench.jsonl')}`)
  const code = exitCodeOf(rows)
  if (code !== 0) process.stderr.write('\nmessages were lost, repeated or out of order: the figures of these rows are worth nothing\n')
  return code === 0 && lines.some((line) => line.type === 'failed') ? 1 : code
}
