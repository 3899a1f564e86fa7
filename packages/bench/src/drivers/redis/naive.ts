import { Redis } from 'ioredis'
import type { Client } from '../../compare/client.ts'
import { inTurn } from '../../compare/in-turn.ts'
import { fieldsOf, type Reply, streamOf, workIn } from './wire.ts'

const patient = { maxRetriesPerRequest: 0, enableOfflineQueue: true } as const

/** As the first page of a tutorial has it: one XADD awaited after the other, one entry read, handled and acknowledged. */
export const naive: Client = {
  name: 'naive',
  promise: 'at least once',
  how: 'XADD each awaited; COUNT 1, XACK awaited after the handler; one stream',
  messages: 4_000,
  async open({ url, topic, keyed, groups }) {
    const redis = new Redis(url, patient)
    const stream = streamOf(topic, 0)
    return {
      notes: [],
      async declare() {
        for (const group of groups) await redis.xgroup('CREATE', stream, group, '0', 'MKSTREAM')
      },
      sendAll: inTurn(async (work) => void (await redis.xadd(stream, '*', ...fieldsOf(topic, work, keyed)))),
      async send(work) {
        await redis.xadd(stream, '*', ...fieldsOf(topic, work, keyed))
      },
      async consume(handle, group) {
        const reader = new Redis(url, patient)
        let open = true
        // First what an earlier process was given and did not finish, then what is new.
        let from = '0'
        const loop = (async () => {
          while (open) {
            const reply = (await reader.xreadgroup('GROUP', group, 'owner', 'COUNT', 1, 'BLOCK', 100, 'STREAMS', stream, from)) as Reply
            if ((reply?.[0]?.[1].length ?? 0) === 0) from = '>'
            for (const [, entries] of reply ?? []) {
              for (const [id, fields] of entries) {
                await handle(workIn(fields))
                await reader.xack(stream, group, id)
              }
            }
          }
        })()
        return {
          async close() {
            open = false
            await loop
            reader.disconnect()
          },
        }
      },
      async close() {
        await redis.quit()
      },
    }
  },
}
