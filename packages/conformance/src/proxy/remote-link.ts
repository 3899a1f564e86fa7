import type { ProxyLink } from './index.ts'
import type { Order, SentOrder } from './orders.ts'
import { emptyState, operations, stateReader } from './state.ts'

/** How orders reach the proxy. */
export interface RemoteTools {
  give(order: SentOrder): void
  ready(): Promise<void>
}

/** The suite's end of a link: orders go out, and what the proxy wrote down is read when asked. */
export function remoteLink(number: number, file: string, tools: RemoteTools): ProxyLink {
  const reader = stateReader(file)
  let seq = 0
  let lastCut = 0
  let closed = false
  let last = emptyState()

  const give = (order: Order): void => {
    seq++
    if (order.do === 'cut' || order.do === 'rst') lastCut = seq
    if (!closed || order.do === 'close') tools.give({ link: number, seq, order })
  }
  function state(): typeof last {
    if (closed) return last
    last = reader.read()
    // A cut that the proxy has yet to make is made as far as anyone here is concerned.
    if (last.applied < lastCut) return { ...last, connections: 0, open: operations.map(() => 0) }
    return last
  }

  const link: ProxyLink = {
    get connected() {
      return state().connections > 0
    },
    open(operation) {
      const { open } = state()
      if (operation === undefined) return open.reduce((sum, count) => sum + count, 0)
      return open[operations.indexOf(operation)] ?? 0
    },
    get withheld() {
      return state().withheld
    },
    connects() {
      const { connects } = state()
      return reader.connects(connects)
    },
    cut: () => give({ do: 'cut' }),
    rst: () => give({ do: 'rst' }),
    forget: () => give({ do: 'forget' }),
    heal: () => give({ do: 'heal' }),
    refuse: (on) => give({ do: 'refuse', on }),
    silence: (direction) => give({ do: 'silence', direction }),
    delay: (latencyMs, jitterMs = 0) => give({ do: 'delay', latencyMs, jitterMs }),
    throttle: (bytesPerSecond) => give({ do: 'throttle', bytesPerSecond }),
    slices: (bytes) => give({ do: 'slices', bytes }),
    lumps: (bytes) => give({ do: 'lumps', bytes }),
    withhold: (withheld) => give({ do: 'withhold', operations: withheld }),
    dropReplies: (dropped) => give({ do: 'drop', operations: dropped }),
    cutAfter: (operation, short = 0) => give({ do: 'cutAfter', operation, short }),
    corrupt: (bytes) => give({ do: 'corrupt', bytes }),
    ready: () => tools.ready(),
    close() {
      if (closed) return
      link.connects()
      last = { ...last, connections: 0, open: emptyState().open }
      closed = true
      reader.close()
      give({ do: 'close' })
    },
  }
  return link
}
