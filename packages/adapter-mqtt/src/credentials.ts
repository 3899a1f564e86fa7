// What the application gives for one connection: asked anew each time, so that it may be replaced under a running service.

import type { Clock } from '@posthorn/core/adapter'
import { fault } from './explain.ts'
import type { Settings, Tls } from './options.ts'

export interface Credentials {
  readonly password: string | null
  /** null: not encrypted. */
  readonly tls: Tls | null
}

/** Asks for them. An answer that does not come is no reason to wait for ever, nor when connecting is given up. */
export async function credentials(settings: Settings, clock: Clock, signal: AbortSignal): Promise<Credentials> {
  let cancel = (): void => {}
  const stop = new Promise<never>((_, reject) => {
    const abort = (): void => reject(fault('CANCELLED', 'mqtt: connecting was given up'))
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    const silent = `mqtt: the functions "password" and "tls" did not answer within ${settings.connectMs} ms`
    const cancelTimer = clock.timer(settings.connectMs, () => reject(fault('UNAVAILABLE', silent, 'none')))
    cancel = () => {
      cancelTimer()
      signal.removeEventListener('abort', abort)
    }
  })
  try {
    const asked = Promise.all([settings.password(), settings.secure ? settings.tls() : null])
    const [password, tls] = await Promise.race([asked, stop])
    return { password, tls }
  } finally {
    cancel()
    stop.catch(() => {})
  }
}
