// The tables of docs/choosing-a-broker.md: what a need means on each broker, from the capabilities, and what was measured.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const duration = (ms) => {
  if (ms >= 86_400_000) return `${ms / 86_400_000} d`
  return ms >= 60_000 ? `${ms / 60_000} min` : `${ms / 1000} s`
}
const size = (bytes) => (bytes % 1_048_576 === 0 ? `${bytes / 1_048_576} MiB` : `${(bytes / 1_048_576).toFixed(1)} MiB`)
const endless = (value) => value === null || value >= Number.MAX_SAFE_INTEGER

/** `[what is needed, what an adapter with these capabilities gives]`. Every word of the capabilities that a user can notice is in one of them. */
const needs = [
  ['order per key, retries, dead letters and replay, groups, delays', () => 'yes'],
  [
    'messages of a topic without any group are kept',
    ({ retention }) => (retention === 'log' ? 'yes' : 'refused, or dropped if you say so'),
  ],
  ['a new group starts at a point in time', ({ replay }) => (replay === 'native' ? 'yes' : 'refused')],
  ['outputs and settlement in one step (`forward: { atomic: true }`)', ({ forward }) => (forward === 'atomic' ? 'yes' : 'refused')],
  ['a guard against messages that crash the process (`maxDeliveries`)', ({ attempts }) => (attempts === 'native' ? 'yes' : 'refused')],
  [
    'a crash repeats only what was running',
    ({ settlement }) => (settlement === 'each' ? 'yes' : 'no: also what finished behind an unfinished message'),
  ],
  ['foreign messages without an id are recognised when they come again', ({ positions }) => (positions === 'native' ? 'yes' : 'no')],
  ['delayed messages become due', ({ delay }) => (delay === 'native' ? 'by the server’s own means' : 'by whoever consumes the topic')],
  ['longest delay', ({ limits }) => duration(limits.delayMs)],
  ['longest handler', ({ limits }) => (endless(limits.holdMs) ? 'no limit' : duration(limits.holdMs))],
  ['largest message', ({ limits }) => size(limits.messageBytes)],
]

/** Rows of the decision table, for columns as `{ name, best }`. */
export function decisions(columns) {
  return {
    head: ['you need', ...columns.map(({ name }) => name)],
    rows: needs.map(([need, give]) => [need, ...columns.map(({ best }) => give(best))]),
  }
}

/** The table of the benchmark on real servers, as docs/performance.md has it. */
export function measured(base) {
  const lines = readFileSync(join(base, 'docs', 'performance.md'), 'utf8').split('\n')
  const first = lines.findIndex((line) => /^\| messages\/s, /.test(line))
  if (first === -1) throw new Error('docs/performance.md has no table that begins with "| messages/s, "')
  const length = lines.slice(first).findIndex((line) => !line.startsWith('|'))
  return lines.slice(first, first + length).join('\n')
}
