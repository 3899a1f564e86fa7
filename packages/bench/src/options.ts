import { parseArgs } from 'node:util'

/** What was asked on the command line. */
export interface Options {
  readonly driver: string
  readonly only: readonly string[]
  readonly runs: number
  readonly quick: boolean
  readonly json: boolean
  readonly help: boolean
}

/** Reads the command line; throws with a sentence for people. */
export function optionsOf(
  args: readonly string[],
  known: { readonly drivers: readonly string[]; readonly scenarios: readonly string[] },
): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      only: { type: 'string' },
      runs: { type: 'string' },
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const driver = positionals[0] ?? known.drivers[0] ?? ''
  if (positionals.length > 1 || !known.drivers.includes(driver)) throw new Error(`name one broker of: ${known.drivers.join(', ')}`)
  const only = values.only === undefined ? known.scenarios : values.only.split(',').map((name) => name.trim())
  for (const name of only)
    if (!known.scenarios.includes(name)) throw new Error(`--only takes ${known.scenarios.join(', ')}, with commas; not "${name}"`)
  const runs = values.runs === undefined ? (values.quick ? 3 : 5) : Number(values.runs)
  if (!Number.isSafeInteger(runs) || runs < 1) throw new Error('--runs must be a whole number from 1')
  return { driver, only, runs, quick: values.quick, json: values.json, help: values.help }
}

/** What `--help` prints. */
export const usageOf = (drivers: readonly string[], scenarios: readonly string[]): string => `npm run bench -- [broker] [options]

  broker         ${drivers.join(', ')} (default ${drivers[0]})
  --only NAMES   ${scenarios.join(', ')}, with commas; all by default
  --runs N       runs of each measurement after a warm-up that does not count (5; 3 with --quick)
  --quick        fewer messages: a minute becomes seconds
  --json         the report as JSON on stdout

Targets are printed as met or not met and change nothing: the exit code is 1 only if a message was lost, handled twice or
out of order.
`
