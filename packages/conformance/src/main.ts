// The suite on the embedded broker, from the command line. The last line is "N passed, N failed, N skipped".

import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { MemoryProfile } from '@posthorn/core/testing'
import { memoryHarness } from './memory.ts'
import { clauseLines, countLine, totalLines } from './report.ts'
import { runSuite, type SuiteReport } from './runner.ts'

const profiles = ['default', 'kafka', 'rabbitmq', 'redis', 'mqtt'] as const
const usage = `node packages/conformance/dist/main.js [options]

  --profile NAME   ${profiles.join(', ')} or all (default)
  --only IDS       ACK-3,ERR-*
  --seed N         the first seed (1)
  --seeds N        how many seeds each clause runs with (1)
  --quick          divide message counts by ten
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
  json: string | undefined
  brief: boolean
  bail: boolean
} {
  const { values } = parseArgs({
    options: {
      profile: { type: 'string', default: 'default' },
      only: { type: 'string' },
      seed: { type: 'string', default: '1' },
      seeds: { type: 'string', default: '1' },
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      brief: { type: 'boolean', default: false },
      bail: { type: 'boolean', default: false },
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
  if (values.profile !== 'all' && !profiles.some((name) => name === values.profile))
    throw new Error(`--profile must be one of ${profiles.join(', ')}, all`)
  return {
    profile: values.profile,
    only: values.only?.split(',').map((id) => id.trim()),
    seed: whole('seed', values.seed),
    seeds: whole('seeds', values.seeds),
    quick: values.quick,
    json: values.json,
    brief: values.brief,
    bail: values.bail,
  }
}

async function main(): Promise<void> {
  const options = parse()
  const chosen: readonly MemoryProfile[] = options.profile === 'all' ? profiles : [options.profile as MemoryProfile]
  const say = (lines: readonly string[]): void => {
    process.stdout.write(`${lines.join('\n')}\n`)
  }
  const reports: SuiteReport[] = []
  for (const profile of chosen) {
    const { only, seed, seeds, quick } = options
    if (chosen.length > 1) say([`profile ${profile}`])
    const report = await runSuite({
      harness: memoryHarness({ profile }),
      profile,
      only,
      seed,
      seeds,
      quick,
      bail: options.bail,
      onResult(result) {
        if (options.brief && result.verdict !== 'fail') return
        say(
          clauseLines(
            result,
            (id, failing) =>
              `node packages/conformance/dist/main.js --profile ${profile} --only ${id} --seed ${failing}${quick ? ' --quick' : ''}`,
          ),
        )
      },
    })
    reports.push(report)
    say(totalLines(report))
  }
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(reports, null, 1)}\n`)
  say([countLine(reports)])
  process.exitCode = reports.some((report) => report.totals.fail + report.totals.vacuous > 0) ? 1 : 0
}

try {
  await main()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${usage}`)
  process.exitCode = 2
}
