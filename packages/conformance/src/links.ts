// Links of a real broker: each client gets a listener of its own at the fault proxy, which runs in another process.

import { ClauseFailure } from './assert.ts'
import type { SimulatedLink } from './harness.ts'
import type { FaultProxy, ProxyLink } from './proxy/index.ts'

/** A link of a real client, as the suite holds it. */
export interface RealLink extends SimulatedLink {
  /** What the client connects to. */
  readonly address: string
  /** What only a link that carries bytes can suffer; undefined where nothing stands between client and server. */
  readonly wire: ProxyLink | undefined
}
export interface RealLinks {
  make(name: string): Promise<RealLink>
  /** No client of this clause connects any more. */
  retire(): void
}

/** Without a proxy clients connect straight to the server, and nothing can disturb them. */
export function directLinks(address: string): RealLinks {
  const none = (): never => {
    throw new ClauseFailure('not proven', 'nothing stands between this client and its server that could disturb it')
  }
  const link: RealLink = {
    address,
    wire: undefined,
    get connected() {
      return none()
    },
    get withheld() {
      return none()
    },
    open: none,
    connects: none,
    cut: none,
    refuse: none,
    silence: none,
    delay: none,
    throttle: none,
    withhold: none,
    heal() {},
    freeze() {},
    thaw() {},
    kill() {},
  }
  return { make: async () => link, retire() {} }
}

/** Links of one clause over a proxy that serves many. */
export function createLinks(proxy: FaultProxy): RealLinks {
  const made: RealLink[] = []
  return {
    async make(name) {
      const { address, link } = await proxy.link(name)
      const real: RealLink = {
        address,
        wire: link,
        get connected() {
          return link.connected
        },
        get withheld() {
          return link.withheld
        },
        open: (operation) => link.open(operation),
        connects: () => link.connects(),
        cut: () => link.cut(),
        refuse: (on) => link.refuse(on),
        silence: (direction) => link.silence(direction),
        delay: (latencyMs, jitterMs) => link.delay(latencyMs, jitterMs),
        throttle: (bytesPerSecond) => link.throttle(bytesPerSecond),
        withhold: (operations) => link.withhold(operations),
        heal: () => link.heal(),
        // This process cannot be stopped; members that freeze are processes of their own.
        freeze() {},
        thaw() {},
        kill() {
          link.refuse(true)
          link.cut()
        },
      }
      made.push(real)
      return real
    },
    retire() {
      for (const link of made) link.kill()
    },
  }
}
