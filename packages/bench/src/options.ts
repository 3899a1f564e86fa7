import { parseArgs } from 'node:util'
import { type Tier, tiers } from './compare/client.ts'
import type { Size } from './scenario.ts'

/** What was asked on the command line. */
export interface Options {
  /** Brokers in the order in which they were named, each once. */
  readonly brokers: readonly string[]
  /** Nobody named any: one that cannot be had is left out. */
  readonly anyBroker: boolean
  /** Names of measurements; undefined: all. */
  readonly only: readonly string[] | undefined
  readonly clients: readonly string[]
  readonly size: Size
  readonly runs: number
  /** Nothing begins that would take longer than so many minutes in all. */
  readonly minutes: number
  readonly durability: Tier
  readonly unkeyed: boolean
  /** Folder for the raw data and the report. */
  readonly out: string
  /** Raw data of an earlier run: nothing is measured, the report is made again. */
  readonly from: string | undefined
  /** Folder for CPU profiles of the clients. */
  readonly profile: string | undefined
  readonly help: boolean
}

/** What can be named. */
export interface Known {
  readonly embedded: readonly string[]
  readonly servers: readonly string[]
  /** Measurements of the embedded broker, and those that compare clients of a real one. */
  readonly scenarios: readonly string[]
  readonly comparisons: readonly string[]
  readonly clients: readonly string[]
}

const runsOf: Readonly<Record<Size, number>> = { quick: 3, usual: 3, full: 5 }
// The servers start before it, and the report is written after it.
const quickMinutes = 4.6

/** Reads the command line; throws with a sentence for people. */
export function optionsOf(args: readonly string[], known: Known): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      only: { type: 'string' },
      clients: { type: 'string' },
      runs: { type: 'string' },
      minutes: { type: 'string' },
      durability: { type: 'string', default: 'disk' },
      quick: { type: 'boolean', default: false },
      full: { type: 'boolean', default: false },
      unkeyed: { type: 'boolean', default: false },
      out: { type: 'string', default: 'reports' },
      from: { type: 'string' },
      profile: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const brokerNames = [...known.embedded, ...known.servers]
  const anyBroker = positionals.length === 0
  const brokers = anyBroker ? known.servers : [...new Set(positionals)]
  if (!brokers.every((name) => brokerNames.includes(name))) throw new Error(`name brokers of: ${brokerNames.join(', ')}`)
  const only = namesOf('--only', values.only, [...new Set([...known.scenarios, ...known.comparisons])])
  const clients = namesOf('--clients', values.clients, known.clients) ?? known.clients
  const { quick, full, unkeyed, out, from, profile, help } = values
  if (quick && full) throw new Error('--quick and --full are two sizes: name one')
  const size: Size = quick ? 'quick' : full ? 'full' : 'usual'
  const runs = values.runs === undefined ? runsOf[size] : Number(values.runs)
  if (!Number.isSafeInteger(runs) || runs < 1) throw new Error('--runs must be a whole number from 1')
  const minutes = values.minutes === undefined ? (quick ? quickMinutes : Number.POSITIVE_INFINITY) : Number(values.minutes)
  if (!(minutes > 0)) throw new Error('--minutes must be a number above 0')
  const durability = tiers.find((tier) => tier === values.durability)
  if (durability === undefined) throw new Error(`--durability takes ${tiers.join(', ')}; not "${values.durability}"`)
  return { brokers, anyBroker, only, clients, size, runs, minutes, durability, unkeyed, out, from, profile, help }
}

function namesOf<Name extends string>(option: string, value: string | undefined, known: readonly Name[]): readonly Name[] | undefined {
  if (value === undefined) return undefined
  return value.split(',').map((text) => {
    const found = known.find((name) => name === text.trim())
    if (found === undefined) throw new Error(`${option} takes ${known.join(', ')}, with commas; not "${text.trim()}"`)
    return found
  })
}

/** What `--help` prints. */
export const usageOf = ({ embedded, servers, scenarios, comparisons, clients }: Known): string => `npm run bench -- [broker ...] [options]

  broker             ${[...embedded, ...servers].join(', ')}; any of them, side by side
                     (default: every real server that can be had)
  --quick            everything in five minutes: few messages, as many passes as fit
  --full             many messages, five passes; on two processors about two hours
  --only NAMES       on real servers ${comparisons.join(', ')};
                     on the embedded broker ${scenarios.join(', ')}; with commas; all by default
  --clients NAMES    ${clients.join(', ')}, with commas, on a real server; all by default
  --durability TIER  what a confirmed message survives: disk (a loss of power; the default), process (kill -9 of the
                     server), memory (a clean stop). A server that cannot have it takes the nearest, and each row says which
  --unkeyed          messages without keys and without an order, where there is a choice
  --runs N           passes, interleaved over brokers and clients (3; 5 with --full)
  --minutes N        begin nothing that would not be over by then
  --out FOLDER       where bench.jsonl (raw data) and bench.html (the report) are written (reports)
  --from FILE        measure nothing; make the report again from the raw data of an earlier run
  --profile FOLDER   CPU profiles of the clients' processes
  --help             this text

A real server is started for the run and taken away afterwards. POSTHORN_REDIS_URL and its like name one that runs: it is
measured as it is set and not restarted. Goals and targets are printed as met or not and change nothing: the exit code is 1
only if a message was lost, handled twice where nothing was killed, or out of order, or if a run failed.
`
