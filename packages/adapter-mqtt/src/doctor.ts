// What a server keeps and drops is its own setting, and nothing that an adapter does makes up for it. MQTT has no way to ask for
// settings; what shows is in the first answer, and in what some servers publish about themselves.

import type { AdapterContext } from '@posthorn/core/adapter'
import type { IPublishPacket } from 'mqtt'
import { fault } from './explain.ts'
import type { Settings } from './options.ts'
import type { Wire } from './wire.ts'

const versionTopic = '$SYS/broker/version'
const droppedTopic = '$SYS/broker/publish/messages/dropped'
/** What Mosquitto takes at once unless it is told otherwise. */
const stockInflight = 20

/** See the file. */
export interface ServerWatch {
  /** Refuses a server without what everything here stands on. */
  check(wire: Wire): void
  greet(wire: Wire): void
  /** True: it was about the server. */
  take(packet: IPublishPacket): boolean
}

export function watchServer(context: AdapterContext, settings: Settings): ServerWatch {
  let told = false
  let dropped: number | null = null
  let inflight = 0

  function known(version: string): void {
    if (told || !/mosquitto/i.test(version)) return
    told = true
    context.event('not-durable', {
      note: `${version} saves what it holds every autosave_interval and when it ends: kill -9 loses what came since, although it was acknowledged`,
    })
    if (inflight === stockInflight)
      context.event('not-durable', {
        note:
          'its limits seem to be those that it comes with: of a group that falls behind by max_queued_messages (1000) it drops what it has acknowledged. ' +
          'set max_queued_messages 1000000000, max_queued_bytes 0 and max_inflight_messages 0, and no persistent_client_expiration',
      })
  }

  return {
    check({ properties }) {
      if (settings.version !== 5) return
      inflight = properties.receiveMaximum ?? 0
      const missing: string[] = []
      if (properties.retainAvailable === false) missing.push('retained messages (members, records and dead letters are some)')
      if (properties.wildcardSubscriptionAvailable === false) missing.push('wildcards in subscriptions')
      if (properties.maximumQoS === 0) missing.push('acknowledged messages (QoS 1)')
      if (missing.length > 0) throw fault('UNSUPPORTED', `mqtt: the server offers no ${missing.join(', no ')}. allow it there`, 'failed')
    },
    greet(wire) {
      // Who may not read it is told nothing.
      wire.subscribe([versionTopic, droppedTopic].map((topic) => ({ topic, retained: true }))).catch(() => {})
    },
    take(packet) {
      if (!packet.topic.startsWith('$SYS/')) return false
      const text = packet.payload.toString()
      if (packet.topic === versionTopic) known(text)
      else if (packet.topic === droppedTopic) {
        const count = Number(text)
        if (dropped !== null && count > dropped)
          context.event('broker-dropped', {
            count: count - dropped,
            note: 'the server dropped messages that it had acknowledged, because a queue was full: raise max_queued_messages',
          })
        if (Number.isFinite(count)) dropped = count
      }
      return true
    },
  }
}
