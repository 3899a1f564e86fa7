// Checks that are active during every clause. What they find is reported under their own ids.

import { inspect } from 'node:util'
import type { MadeTrial } from './create-trial.ts'
import type { Journal } from './journal.ts'
import type { SeenEvent } from './trial.ts'
import { senderOf } from './watch-broker.ts'

/** After everything was closed: each send has ended, nothing of ours is left, no secret was shown. */
export function checkStanding(made: MadeTrial, journal: Journal, events: readonly SeenEvent[], written: readonly string[]): void {
  checkSends(made, journal)
  for (const peer of made.connections.peers) {
    if (peer.state !== 'closed') continue
    const left = peer.clock.pending()
    if (left > 0) journal.violate('LIFE-8', `${peer.name} closed, and ${left} of its timers ${left === 1 ? 'is' : 'are'} still set`)
  }
  checkSecrets(made, journal, events, written)
}

function checkSends(made: MadeTrial, journal: Journal): void {
  for (const send of made.sends) {
    const peer = senderOf(send)
    if (peer === undefined || peer.state === 'dead' || peer.wasFrozen) continue
    const ids = send.id === undefined ? [] : [send.id]
    if (send.endedAt === undefined) journal.violate('PUB-9', `a send to ${send.topic} never ended, though its connection is closed`, ids)
    else if (send.endedAt - send.at > send.timeoutMs + made.trial.slack(1000)) {
      journal.violate(
        'PUB-9',
        `a send to ${send.topic} took ${Math.round(send.endedAt - send.at)} ms with timeoutMs ${send.timeoutMs}`,
        ids,
      )
    }
  }
}

const mostErrors = 100
function checkSecrets(made: MadeTrial, journal: Journal, events: readonly SeenEvent[], written: readonly string[]): void {
  const { canary } = made.trial
  const look = (where: string, text: string): void => {
    if (text.includes(canary)) journal.violate('SEC-1', `the planted secret shows in ${where}`)
  }
  const whole = (error: unknown): string => {
    const stack = error instanceof Error ? `${error.stack}` : ''
    return `${stack} ${inspect(error, { depth: 8, showHidden: true })}`
  }
  for (const text of written) look('what was written to stderr', text)
  for (const entry of made.logs) look('a log entry', entry.error === undefined ? entry.message : `${entry.message} ${whole(entry.error)}`)
  for (const seen of events.filter(({ event }) => event['note'] !== undefined || event['error'] !== undefined).slice(0, mostErrors)) {
    look(`an event (${seen.name})`, whole(seen.event))
  }
  const errors = [...made.errors, ...made.sends.flatMap((send) => (send.error === undefined ? [] : [send.error]))]
  for (const error of errors.slice(0, mostErrors)) look('an error', whole(error))
}
