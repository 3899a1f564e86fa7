// A task queue: real purchases become parcels to pack, many workers share them, and each is packed.
//   npm run task-queue -- --tasks 300 --workers 8 --broker rabbitmq
// `--workers 0` only queues the tasks, for workers in other terminals: npm run task-worker.
import { parseArgs } from 'node:util'
import { connect } from '@posthorn/core'
import { loadConfig } from '@posthorn/core/config'
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
let stopped = false
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    stopped = true
    console.log('stopping: each packer packs what it has in hand')
    void broker.close()
  })
}

console.log(`${parcels.length} parcels with ${items(parcels)} CDs for ${workers.length} packers, on ${broker.adapter}`)
const done = new Set<string>()
const started = performance.now()
const seconds = (): string => ((performance.now() - started) / 1000).toFixed(1)
const ended: Promise<void>[] = []
for (const worker of workers) {
  const consumer = await startWorker(broker, (parcel) => {
    worker.packed.push(parcel)
    if (done.add(parcel.orderId).size === parcels.length) void broker.close()
  })
  ended.push(consumer.closed)
}
await broker.producer(parcelToPack).sendBatch(parcels.map((value) => ({ value, id: value.orderId })))
console.log(`all are stored after ${seconds()} s`)
if (workers.length === 0) await broker.close()
await Promise.all(ended)
if (workers.length > 0) report()

function report(): void {
  for (const { name, packed } of workers) {
    const bar = '█'.repeat(Math.round((100 * items(packed)) / items(parcels)))
    console.log(`  ${name.padEnd(10)} ${String(packed.length).padStart(4)} parcels ${String(items(packed)).padStart(5)} CDs  ${bar}`)
  }
  const twice = workers.flatMap(({ packed }) => packed).length - done.size
  if (stopped) console.log(`stopped: ${done.size} of ${parcels.length} are packed; the rest waits on the broker for its packers`)
  else console.log(`all packed after ${seconds()} s; one packer alone needs ${((items(parcels) * msPerItem) / 1000).toFixed(1)} s`)
  console.log(`packed twice: ${twice}`)
  if (!stopped && (done.size < parcels.length || twice > 0)) process.exitCode = 1
}
