import { parseArgs } from 'node:util'
import type { ClientName } from './compare/client.ts'

/** What was asked on the command line. */
export interface Options {
  /** Brokers in the order in which they were named, each once. */
  readonly brokers: readonly string[]
  /** Names of measurements; undefined: all. */
  readonly only: readonly string[] | undefined
  readonly clients: readonly ClientName[]
  readonly runs: number
  readonly quick: boolean
  readonly unkeyed: boolean
  /** File for the raw figures, `-` for stdout. */
  readonly json: string | undefined
  /** Folder for CPU profiles of the clients. */
  readonly profile: string | undefined
  readonly help: boolean
}

/** What can be named. */
export interface Known {
  readonly brokers: readonly string[]
  /** Measurements of the embedded broker, and those that compare clients of a real one. */
  readonly scenarios: readonly string[]
  readonly comparisons: readonly string[]
}

const clientNames: readonly ClientName[] = ['naive', 'tuned', 'posthorn']

/** Reads the command line; throws with a sentence for people. */
export function optionsOf(args: readonly string[], known: Known): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      only: { type: 'string' },
      clients: { type: 'string' },
      runs: { type: 'string' },
      quick: { type: 'boolean', default: false },
      unkeyed: { type: 'boolean', default: false },
      json: { type: 'string' },
      profile: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const brokers = positionals.length === 0 ? known.brokers.slice(0, 1) : [...new Set(positionals)]
  if (!brokers.every((name) => known.brokers.includes(name))) throw new Error(`name brokers of: ${known.brokers.join(', ')}`)
  const measurements = [...new Set([...known.scenarios, ...known.comparisons])]
  const only = namesOf('--only', values.only, measurements)
  const clients = namesOf('--clients', values.clients, clientNames) ?? clientNames
  const runs = values.runs === undefined ? (values.quick ? 3 : 5) : Number(values.runs)
  if (!Number.isSafeInteger(runs) || runs < 1) throw new Error('--runs must be a whole number from 1')
  const { quick, unkeyed, json, profile, help } = values
  return { brokers, only, clients, runs, quick, unkeyed, json, profile, help }
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
export const usageOf = ({ brokers, scenarios, comparisons }: Known): string => `npm run bench -- [broker ...] [options]

  broker           ${brokers.join(', ')}; any of them, side by side (default ${brokers[0]})
  --only NAMES     on a real server ${comparisons.join(', ')}; on the embedded broker
                   ${scenarios.join(', ')}; with commas; all by default
  --clients NAMES  ${clientNames.join(', ')}, with commas, on a real server; all by default
  --unkeyed        on a real server: messages without keys and without an order, where there is a choice
  --runs N         runs of each measurement, interleaved over the clients (5; 3 with --quick)
  --quick          fewer messages and runs: a first look
  --json FILE      the raw figures of every run too; - for stdout, and nothing else on it
  --profile DIR    CPU profiles of the clients' processes
  --help           this text

A real server is started for the run, on the durable profile, and taken away afterwards; POSTHORN_REDIS_URL and
POSTHORN_RABBITMQ_URL name one that runs. Goals and targets are printed as met or not and change nothing: the exit code is 1
only if a message was lost, handled twice or out of order.
`
