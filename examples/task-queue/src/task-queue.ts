// A task queue: real purchases become parcels to pack, many workers share them, and each is packed.
//   npm run task-queue -- --tasks 300 --workers 8 --broker rabbitmq
// `--workers 0` only queues the tasks, for workers in other terminals: npm run task-worker.
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { connect } from '@posthorn/core'
import { loadConfig } from '@posthorn/core/config'
import { refuseLeftovers } from '@posthorn/example-order-notification/leftovers'
import { readPurchases } from '@posthorn/example-order-notification/purchases'
import { type Parcel, parcelToPack } from './tasks.ts'
import { msPerItem, startWorker } from './worker.ts'

const { values } = parseArgs({ options: { tasks: { type: 'string', default: '300' }, workers: { type: 'string', default: '8' } } })
const parcels = readPurchases(Number(values.tasks)).map(
  ({ orderId, userId, productName }): Parcel => ({ orderId, userId, items: Number.parseInt(productName, 10) }),
)
const workers = Array.from({ length: Number(values.workers) }, (_, n) => ({ name: `packer ${n + 1}`, packed: [] as Parcel[] }))
const items = (some: readonly Parcel[]): number => some.reduce((sum, parcel) => sum + parcel.items, 0)

const broker = await connect(await loadConfig(), { name: 'task-queue' })
if (workers.length > 0) await refuseLeftovers(broker, [[parcelToPack, 'packers']])
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort())

console.log(`${parcels.length} parcels with ${items(parcels)} CDs for ${workers.length} packers, on ${broker.adapter}`)
const done = new Set<string>()
const started = performance.now()
const seconds = (): string => ((performance.now() - started) / 1000).toFixed(1)
for (const worker of workers) {
  await startWorker(broker, (parcel) => {
    worker.packed.push(parcel)
    done.add(parcel.orderId)
  })
}
const tasks = parcels.map((value) => ({ value, id: value.orderId }))
await broker.producer(parcelToPack).sendBatch(tasks)
console.log(`all are stored after ${seconds()} s`)
if (workers.length > 0) {
  const deadline = started + 60_000 + items(parcels) * msPerItem
  while (done.size < parcels.length && !stop.signal.aborted && performance.now() < deadline) await wait(20)
}
const took = seconds()
if (stop.signal.aborted) console.log('stopping: each packer packs what it has in hand')
await broker.close()
if (workers.length > 0) report()

function report(): void {
  for (const { name, packed } of workers) {
    const bar = '█'.repeat(Math.round((100 * items(packed)) / items(parcels)))
    console.log(`  ${name.padEnd(10)} ${String(packed.length).padStart(4)} parcels ${String(items(packed)).padStart(5)} CDs  ${bar}`)
  }
  const twice = workers.flatMap(({ packed }) => packed).length - done.size
  if (stop.signal.aborted)
    console.log(`stopped: ${done.size} of ${parcels.length} are packed; the rest waits on the broker for its packers`)
  else if (done.size < parcels.length) console.log(`only ${done.size} of ${parcels.length} were packed`)
  else console.log(`all packed after ${took} s; one packer alone needs ${((items(parcels) * msPerItem) / 1000).toFixed(1)} s`)
  console.log(`packed twice: ${twice}`)
  if (twice > 0 || (!stop.signal.aborted && done.size < parcels.length)) process.exitCode = 1
}
