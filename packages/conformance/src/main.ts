// The suite from the command line: on the embedded broker, or on the one whose harness is named. The last line is "N passed, N failed, N skipped".

import { existsSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import type { MemoryProfile } from '@posthorn/core/testing'
import { bundled } from './bundle.ts'
import { realClock } from './clock.ts'
import { faultLines, faultReport } from './fault-report.ts'
import { readsTypeScript } from './fork-args.ts'
import type { Harness } from './harness.ts'
import { memoryHarness } from './memory.ts'
import { clauseLines, countLine, totalLines } from './report.ts'
import { runSuite, type SuiteReport } from './runner.ts'

const profiles = ['default', 'kafka', 'rabbitmq', 'redis', 'mqtt'] as const
const usage = `node packages/conformance/dist/main.js [options]

  --profile NAME   of the embedded broker: ${profiles.join(', ')} or all (default)
  --harness FILE   a module whose default export is a harness: runs on its broker instead, in real time
  --shards N       so many worker processes, each with a broker of its own (with --harness)
  --slack N        stretches upper bounds on a slow machine (1)
  --report FILE    what the faults did: runs, messages, lost, repeats, recovery times
  --only IDS       ACK-3,ERR-*
  --seed N         the first seed (1)
  --seeds N        how many seeds each clause runs with (1)
  --quick          divide message counts by ten
  --long           the extended tier as well: clauses of many minutes, clusters
  --json FILE      the same data for programs
  --brief          only failures and totals
  --bail           stop at the first failure
`

function parse(): {
  profile: string
  only: readonly string[] | undefined
  seed: number
  seeds: number
  quick: boolean
  long: boolean
  json: string | undefined
  brief: boolean
  bail: boolean
  named: string
  harness: string | undefined
  shards: number
  slack: number
  report: string | undefined
} {
  const { values } = parseArgs({
    options: {
      profile: { type: 'string', default: 'default' },
      only: { type: 'string' },
      seed: { type: 'string', default: '1' },
      seeds: { type: 'string', default: '1' },
      quick: { type: 'boolean', default: false },
      long: { type: 'boolean', default: false },
      json: { type: 'string' },
      brief: { type: 'boolean', default: false },
      bail: { type: 'boolean', default: false },
      harness: { type: 'string' },
      shards: { type: 'string', default: '0' },
      slack: { type: 'string', default: '1' },
      report: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(usage)
    process.exit(0)
  }
  const whole = (name: string, text: string): number => {
    const number = Number(text)
    if (!Number.isSafeInteger(number) || number < 1) throw new Error(`--${name} must be a whole number from 1`)
    return number
  }
  const slack = Number(values.slack)
  if (!(slack >= 1 && slack <= 20)) throw new Error('--slack must be a number from 1 to 20')
  if (values.profile !== 'all' && !profiles.some((name) => name === values.profile))
    throw new Error(`--profile must be one of ${profiles.join(', ')}, all`)
  return {
    profile: values.profile,
    only: values.only?.split(',').map((id) => id.trim()),
    seed: whole('seed', values.seed),
    seeds: whole('seeds', values.seeds),
    quick: values.quick,
    long: values.long,
    json: values.json === undefined ? undefined : resolve(values.json),
    brief: values.brief,
    bail: values.bail,
    named: values.harness ?? '',
    harness: values.harness === undefined ? undefined : resolve(values.harness),
    shards: values.shards === '0' ? 0 : whole('shards', values.shards),
    slack,
    report: values.report === undefined ? undefined : resolve(values.report),
  }
}

function packageOf(file: string): string {
  let folder = dirname(file)
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder)
  return folder
}
async function main(): Promise<void> {
  const options = parse()
  const named = options.harness
  const file = named?.endsWith('.ts') && !readsTypeScript() ? await bundled(named) : named
  // URLs and configuration load the adapter from where the application is: here that is the harness's package.
  if (file !== undefined) process.chdir(packageOf(file))
  const chosen: readonly string[] = file !== undefined ? ['real'] : options.profile === 'all' ? profiles : [options.profile]
  const where = (profile: string): string =>
    file === undefined ? `--profile ${profile}` : `--harness ${options.named}${options.slack === 1 ? '' : ` --slack ${options.slack}`}`
  const say = (lines: readonly string[]): void => {
    process.stdout.write(`${lines.join('\n')}\n`)
  }
  const reports: SuiteReport[] = []
  for (const profile of chosen) {
    const { only, seed, seeds, quick } = options
    if (chosen.length > 1) say([`profile ${profile}`])
    const report = await runSuite({
      ...(file === undefined
        ? { harness: memoryHarness({ profile: profile as MemoryProfile }) }
        : {
            harness: ((await import(pathToFileURL(file).href)) as { default: Harness }).default,
            harnessAt: pathToFileURL(file).href,
            shards: options.shards,
            slackFactor: options.slack,
          }),
      profile,
      only,
      seed,
      seeds,
      quick,
      long: options.long,
      bail: options.bail,
      // What is told above comes in the order of the page, which is late where several run at once.
      ...(options.shards > 0 && !options.brief
        ? {
            onEnd: ({ id, verdict, seconds, reason }, ended, of) => {
              const why = verdict === 'fail' ? `: ${reason}` : ''
              process.stderr.write(`${ended} of ${of}: ${id} ${verdict}, ${seconds.toFixed(1)} s${why}\n`)
            },
          }
        : {}),
      onResult(result) {
        if (options.brief && result.verdict !== 'fail') return
        say(
          clauseLines(
            result,
            (id, failing) =>
              `node packages/conformance/dist/main.js ${where(profile)} --only ${id} --seed ${failing}${quick ? ' --quick' : ''}`,
          ),
        )
      },
    })
    reports.push(report)
    say(totalLines(report))
  }
  if (file !== undefined || options.report !== undefined) say(reports.flatMap(faultLines))
  if (options.report !== undefined) writeFileSync(options.report, `${JSON.stringify(reports.map(faultReport), null, 1)}\n`)
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(reports, null, 1)}\n`)
  say([countLine(reports)])
  process.exitCode = reports.some((report) => report.totals.fail + report.totals.vacuous > 0) ? 1 : 0
  // What a clause that failed has left open must not hold the process.
  if (file !== undefined && process.exitCode !== 0) realClock.timer(1000, () => process.exit())
}

try {
  await main()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${usage}`)
  process.exitCode = 2
}
