// A broker object over an adapter that the clause looks into: for what the suite's own count of calls does not tell.

import type { Broker, ConnectOptions } from '@posthorn/core'
import { type Adapter, connectWith, type Session } from '@posthorn/core/adapter'
import { realClock } from '../clock.ts'
import type { Trial } from '../trial.ts'

/** Methods and fields of a session to put in place of its own. */
export type Changes = (inner: Session) => Partial<Session>

/** An adapter whose sessions are changed; all else is the inner one's. */
export function changedAdapter(inner: Adapter, changes: Changes): Adapter {
  return {
    name: inner.name,
    best: inner.best,
    explain: (error) => inner.explain(error),
    async open(context, signal) {
      const session = await inner.open(context, signal)
      return {
        capabilities: session.capabilities,
        client: session.client,
        declare: (topology, stop) => session.declare(topology, stop),
        publish: (batch, stop) => session.publish(batch, stop),
        subscribe: (source, stop) => session.subscribe(source, stop),
        browse: (place, after, max, stop) => session.browse(place, after, max, stop),
        remove: (place, entries, stop) => session.remove(place, entries, stop),
        inspect: (topic, group, stop) => session.inspect(topic, group, stop),
        close: (stop) => session.close(stop),
        ...changes(session),
      }
    },
  }
}

/** Connects through such an adapter. The clause closes it. */
export function connectChanged(t: Trial, changes: Changes, options: ConnectOptions = {}): Promise<Broker> {
  const clock = t.server.simulation?.clock ?? realClock
  return connectWith({ clock, random: t.random }, changedAdapter(t.adapter(), changes), { name: 'suite', log: false, ...options })
}
