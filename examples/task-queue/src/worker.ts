// One packer: takes a parcel, packs it, takes the next. Start as many as there is work for, on any machines:
//   npm run task-worker, or POSTHORN_BROKER=… npx tsx src/worker.ts
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Broker, type Consumer, connect } from '@posthorn/core'
import { loadConfig } from '@posthorn/core/config'
import { type Parcel, parcelToPack } from './tasks.ts'

/** How long a person needs for one item, in milliseconds. */
export const msPerItem = 20

/** Joins the group of packers; `packed` is told of each parcel. A throw there or here gives the parcel to a packer again. */
export async function startWorker(broker: Broker, packed: (parcel: Parcel) => void): Promise<Consumer> {
  // One task at a time, and at most one more in hand: a slow worker does not sit on tasks that another one could do.
  return broker.consume(parcelToPack, { group: 'packers', concurrency: 1, maxUnsettled: 2 }, async ({ value }) => {
    await wait(value.items * msPerItem)
    packed(value)
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const broker = await connect(await loadConfig(), { name: `packer-${process.pid}` })
  let count = 0
  const started = startWorker(broker, ({ orderId, items }) => {
    count++
    console.log(`packer ${process.pid}: ${orderId}, ${items} CDs`)
  })
  async function end(): Promise<void> {
    await started
    console.log(`packer ${process.pid}: packing this one, then going home; the others take the rest`)
    await broker.close()
    console.log(`packer ${process.pid}: packed ${count}`)
  }
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, end)
  await started
  console.log(`packer ${process.pid}: waiting for parcels on ${broker.adapter}; Ctrl-C stops it`)
}
