// What a server keeps over a crash is its own setting, and nothing that an adapter does makes up for it. So it is looked at once,
// quietly: who may not ask, or asks a server that does not tell, is told nothing.

import type { AdapterContext } from '@posthorn/core/adapter'
import type { Link } from './link.ts'
import type { Settings } from './options.ts'

/** Tells core, and with it the log, when the server may lose what it has acknowledged. Never rejects. */
export async function warnOfLosses(link: Link, settings: Settings, context: AdapterContext): Promise<void> {
  try {
    const reply = await link.call('config', ['GET', 'appendonly'])
    if (Array.isArray(reply) && String(reply[1]) === 'no')
      context.event('not-durable', {
        note: 'the server keeps no append-only file (appendonly no): a crash loses what was stored since its last snapshot',
      })
  } catch {
    // Many users may not ask, and many servers that are run for others do not tell.
  }
  if (settings.sentinels !== null)
    context.event('not-durable', {
      note: 'replicas follow with a delay: a failover may lose what was stored last, although it was acknowledged',
    })
}
