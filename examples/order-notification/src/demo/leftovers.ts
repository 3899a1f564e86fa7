// A program that counts what arrives wants a server without messages of another run.
import { type Broker, isMessagingError, type Topic } from '@posthorn/core'

/**
 * Looks before anything is made or sent. MQTT servers tell nobody what waits, so there it finds nothing.
 *
 * Ends the process with code 1 and a text for people if a group has messages that it has not finished.
 */
export async function refuseLeftovers(broker: Broker, memberships: readonly (readonly [topic: Topic, group: string])[]): Promise<void> {
  let left = 0
  for (const [topic, group] of memberships) {
    try {
      const { backlog, unsettled } = await broker.lag(topic, group)
      left += (backlog ?? 0) + (unsettled ?? 0)
    } catch (error) {
      // Nobody has been here before.
      if (!isMessagingError(error, 'NOT_FOUND')) throw error
    }
  }
  if (left === 0) return
  await broker.close()
  console.error(`this ${broker.adapter} server has ${left} unfinished messages of an earlier run, which would be counted as ours.`)
  console.error('take one that is empty: `-- --broker redis` starts one for the run, `npm run broker redis` one that stays')
  process.exit(1)
}
