// A file of tests on a server of its own: sessions, topics, ways to the server and a plain client, taken away after each test.

import { never, type Opened, plan, type Relay, relay } from '@posthorn/conformance/live'
import type { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { type RunningBroker, startBroker } from '../../../../tools/brokers/index.mjs'
import { describeLive, open, witness } from './server.ts'

export interface OnRedis {
  readonly broker: RunningBroker
  /** A plain client, to look and to meddle with. */
  readonly see: Redis
  /** A session, on a lease of 2 s. */
  start(options?: Parameters<typeof open>[0]): Promise<Opened>
  /** A way to the server that can be cut. */
  way(): Promise<Relay>
  /** Declares a topic of its own and returns its name. */
  declared(one: Opened, over?: Parameters<typeof plan>[1]): Promise<string>
}

let topics = 0

/** Tests on a server of their own; skipped, and said so, where there is none. */
export function onRedis(title: string, tests: (on: OnRedis) => void): void {
  describeLive(title, () => {
    let broker: RunningBroker | undefined
    let see: Redis | undefined
    const opened: Opened[] = []
    const relays: Relay[] = []
    const made = <T>(thing: T | undefined): T => {
      if (thing === undefined) throw new Error('the server is not started yet')
      return thing
    }

    beforeAll(async () => {
      broker = await startBroker('redis', { settings: ['appendfsync no'] })
      see = await witness(broker.url)
    }, 60_000)
    afterEach(async () => {
      await Promise.all(opened.splice(0).map(({ session }) => session.close(AbortSignal.abort())))
      await Promise.all(relays.splice(0).map((each) => each.close()))
    })
    afterAll(async () => {
      see?.disconnect()
      await broker?.stop()
    })

    tests({
      get broker() {
        return made(broker)
      },
      get see() {
        return made(see)
      },
      async start(options) {
        const one = await open({ url: made(broker).url, ...options })
        opened.push(one)
        return one
      },
      async way() {
        const one = await relay('redis', made(broker).port)
        relays.push(one)
        return one
      },
      async declared(one, over = {}) {
        const name = `live.t${++topics}`
        await one.session.declare({ topics: [plan(name, over)] }, never)
        return name
      },
    })
  })
}
