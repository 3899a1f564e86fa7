// `npm run bench -- memory`: how fast, at what cost per stage, and whether every message arrived once and in order.

import { drivers } from './drivers.ts'
import { optionsOf, usageOf } from './options.ts'
import { exitCodeOf, tableOf, targetsOf } from './report.ts'
import type { Row } from './scenario.ts'
import { scenarios } from './scenarios.ts'
import { versions } from './versions.ts'

async function main(args: readonly string[]): Promise<number> {
  const known = { drivers: drivers.map(({ name }) => name), scenarios: Object.keys(scenarios) }
  const options = optionsOf(args, known)
  if (options.help) {
    process.stdout.write(usageOf(known.drivers, known.scenarios))
    return 0
  }
  const driver = drivers.find(({ name }) => name === options.driver)
  if (driver === undefined) throw new Error(`there is no broker "${options.driver}"`)
  const repeat = ['npm run bench --', driver.name, ...args.filter((arg) => arg !== driver.name)].join(' ')
  const about = {
    ...versions(),
    ...(await driver.versions()),
    runs: `${options.runs}, interleaved, after one that does not count; median (lowest–highest)`,
    repeat,
  }
  const print = (text: string): void => {
    if (!options.json) process.stdout.write(`${text}\n`)
  }
  const say = (line: string): void => {
    process.stderr.write(`  … ${line}\n`)
  }
  const width = Math.max(...Object.keys(about).map((name) => name.length))
  print(
    Object.entries(about)
      .map(([name, value]) => `${name.padEnd(width)}  ${value}`)
      .join('\n'),
  )
  const all: Row[] = []
  const report: Record<string, unknown> = {}
  for (const name of options.only) {
    const scenario = scenarios[name]
    if (scenario === undefined) continue
    say(`${scenario.title}`)
    const rows = await scenario.run(driver, { quick: options.quick, runs: options.runs, say })
    all.push(...rows)
    report[name] = rows.map((row) => ({ name: row.name, ...row.data, faults: row.faults, targets: row.targets }))
    print(tableOf(scenario.title, scenario.method, rows))
  }
  const targets = all.flatMap((row) => row.targets)
  if (targets.length > 0) print(targetsOf(targets))
  const code = exitCodeOf(all)
  if (code !== 0) process.stderr.write('\nmessages were lost, handled twice or out of order: these figures are worth nothing\n')
  if (options.json) process.stdout.write(`${JSON.stringify({ about, scenarios: report, targets, exitCode: code }, null, 2)}\n`)
  return code
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
