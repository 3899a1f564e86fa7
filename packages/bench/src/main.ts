// `npm run bench -- redis rabbitmq`: how fast, at what cost, beside what the same server gives a bare client, and whether every
// message arrived once and in order.

import { writeFileSync } from 'node:fs'
import { comparedBrokers } from './compare/brokers.ts'
import { comparisons } from './compare/comparisons.ts'
import { serverOf, serversVariable } from './compare/servers.ts'
import { drivers } from './drivers.ts'
import { type Known, type Options, optionsOf, usageOf } from './options.ts'
import { exitCodeOf, headOf, tableOf, targetsOf } from './report.ts'
import type { Row, Settings } from './scenario.ts'
import { scenarios } from './scenarios.ts'
import { versions } from './versions.ts'

/** One table: what it is called, how it is measured, and what makes its rows. */
interface Measurement {
  readonly broker: string
  readonly name: string
  readonly title: string
  readonly method: string
  run(settings: Settings): Promise<readonly Row[]>
}

const known: Known = {
  brokers: [...drivers.map(({ name }) => name), ...comparedBrokers.map(({ name }) => name)],
  scenarios: Object.keys(scenarios),
  comparisons: Object.keys(comparisons),
}

/** What is measured on one broker, and what the report says about it. */
async function planOf(broker: string, only: Options['only']): Promise<{ about: Record<string, string>; measurements: Measurement[] }> {
  const asked = (name: string): boolean => only === undefined || only.includes(name)
  const driver = drivers.find(({ name }) => name === broker)
  if (driver !== undefined) {
    const chosen = Object.entries(scenarios).filter(([name]) => asked(name))
    return {
      about: { ...(await driver.versions()) },
      measurements: chosen.map(([name, { title, method, run }]) => ({
        broker,
        name,
        title,
        method,
        run: (settings) => run(driver, settings),
      })),
    }
  }
  const { server, given } = serverOf(broker, process.env[serversVariable])
  const settings = await server.broker.settings(server.url)
  const chosen = Object.entries(comparisons).filter(([name]) => asked(name))
  return {
    about: { [broker]: `${given.title}, ${given.source}, profile ${given.profile}; ${settings}`, ...server.broker.versions() },
    measurements: chosen.map(([name, { title, method, run }]) => ({ broker, name, title, method, run: (given) => run(server, given) })),
  }
}

async function main(args: readonly string[]): Promise<number> {
  const options = optionsOf(args, known)
  if (options.help) {
    process.stdout.write(usageOf(known))
    return 0
  }
  const plans = []
  for (const broker of options.brokers) plans.push(await planOf(broker, options.only))
  const about = {
    ...versions(),
    ...Object.assign({}, ...plans.map((plan) => plan.about)),
    runs: `${options.runs}, interleaved, after a warm-up that does not count; median (lowest–highest)`,
    repeat: ['npm run bench --', ...args].join(' '),
  }
  const print = (text: string): void => {
    if (options.json !== '-') process.stdout.write(`${text}\n`)
  }
  const say = (line: string): void => {
    process.stderr.write(`  … ${line}\n`)
  }
  print(headOf(about))
  const settings: Settings = { ...options, keyed: !options.unkeyed, say }
  const all: Row[] = []
  const report: Record<string, unknown> = {}
  for (const { broker, name, title, method, run } of plans.flatMap(({ measurements }) => measurements)) {
    say(`${broker}: ${title}`)
    const rows = await run(settings)
    all.push(...rows)
    report[`${broker} ${name}`] = rows.map((row) => ({ name: row.name, ...row.data, faults: row.faults, targets: row.targets }))
    print(tableOf(title, method, rows))
  }
  const targets = all.flatMap((row) => row.targets)
  if (targets.length > 0) print(targetsOf(targets))
  const code = exitCodeOf(all)
  if (code !== 0) process.stderr.write('\nmessages were lost, handled twice or out of order: these figures are worth nothing\n')
  const json = `${JSON.stringify({ about, measurements: report, targets, exitCode: code }, null, 2)}\n`
  if (options.json === '-') process.stdout.write(json)
  else if (options.json !== undefined) writeFileSync(options.json, json)
  return code
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
