import type { BrokerContext } from './context.ts'
import { startForwarder } from './forwarder.ts'
import type { TopicDefinition } from './topic.ts'

/** The delay forwarders of one broker object: one for each topic that somebody here consumes. */
export interface Forwarders {
  /** Runs the topic's forwarder; returns what lets go of it. The last one to let go ends it. */
  use(topic: TopicDefinition): () => void
  /** Ends all; resolves soon after `deadline` (monotonic) at the latest. */
  close(deadline: number): Promise<void>
}

interface Running {
  users: number
  readonly forwarder: { close(deadline: number): Promise<void> }
}

const handOverMs = 1_000

export function createForwarders(context: BrokerContext): Forwarders {
  const running = new Map<string, Running>()
  const ending = new Set<Promise<void>>()

  function end(name: string, deadline: number): void {
    const found = running.get(name)
    if (found === undefined) return
    running.delete(name)
    const ended: Promise<void> = found.forwarder.close(deadline).then(
      () => void ending.delete(ended),
      () => void ending.delete(ended),
    )
    ending.add(ended)
  }

  return {
    use(topic) {
      const held = running.get(topic.name) ?? { users: 0, forwarder: startForwarder(context, topic) }
      running.set(topic.name, held)
      held.users += 1
      let gone = false
      return () => {
        if (gone) return
        gone = true
        held.users -= 1
        if (held.users === 0 && running.get(topic.name) === held) end(topic.name, context.clock.monotonic() + handOverMs)
      }
    },
    async close(deadline) {
      for (const name of [...running.keys()]) end(name, deadline)
      await Promise.all(ending)
    },
  }
}
