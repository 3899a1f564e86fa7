// Replay of a log into a new service: sales are made and booked; then a service is written that needs all of them, and gets them.
//   npm run replay -- --sales 3000 --broker kafka
// It takes a server that keeps a log: Kafka, or the embedded broker. The others forget what every group has finished.
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { connect, isMessagingError } from '@posthorn/core'
import { loadConfig } from '@posthorn/core/config'
import { readPurchases } from '@posthorn/example-order-notification/purchases'
import { type Purchase, saleMade, startBookkeeping, startSince, startStatistics } from './services.ts'

const { values } = parseArgs({ options: { sales: { type: 'string', default: '3000' } } })
const sales: readonly Purchase[] = readPurchases(Number(values.sales)).map(({ productName: _, ...sale }) => sale)
const morning = sales.slice(0, Math.floor(sales.length / 2))
const afternoon = sales.slice(morning.length)

const broker = await connect(await loadConfig(), { name: 'replay' })
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort())
async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000
  while (!condition() && !stop.signal.aborted && performance.now() < deadline) await wait(20)
}

try {
  await tell()
} catch (error) {
  if (!isMessagingError(error, 'UNSUPPORTED')) throw error
  console.error(`${broker.adapter} keeps no log, so a new service starts with what is sent from then on:\n  ${error.message}`)
  console.error('on a log: npm run replay, or npm run replay -- --broker kafka')
  process.exitCode = 3
} finally {
  await broker.close()
}

async function tell(): Promise<void> {
  const booked = new Set<string>()
  await startBookkeeping(broker, ({ orderId }) => booked.add(orderId))
  await send(morning)
  // The log goes by the clock of its messages, in milliseconds: noon is in neither half.
  await wait(20)
  const noon = new Date()
  await wait(20)
  await send(afternoon)
  await until(() => booked.size === sales.length)
  console.log(`${booked.size} sales are booked, on ${broker.adapter}; nobody waits for anything`)

  const since: Purchase[] = []
  await startSince(broker, noon, (sale) => since.push(sale))
  const revenue = new Map<string, number>()
  const statistics = await startStatistics(broker, revenue)
  await until(() => statistics.stats().handled >= sales.length && since.length >= afternoon.length)
  if (stop.signal.aborted) return console.log('stopped: each group goes on where it is when its service comes back')

  console.log(`a new service reads them again, ${statistics.stats().handled} of ${sales.length}, and knows the revenue of every month:`)
  const must = revenueOf(sales)
  for (const [month, cents] of [...revenue].sort()) {
    const mark = cents === must.get(month) ? '✓' : `must be ${must.get(month)}`
    console.log(`  ${month}  ${`$${(cents / 100).toFixed(2)}`.padStart(11)}  ${mark}`)
  }
  const right = [...must].every(([month, cents]) => revenue.get(month) === cents) && must.size === revenue.size
  const late = new Set(afternoon.map(({ orderId }) => orderId))
  const sinceNoon = since.length === afternoon.length && since.every(({ orderId }) => late.has(orderId))
  console.log(
    `another one that starts at noon sees ${since.length} of the ${afternoon.length} sales of the afternoon, and none of the morning`,
  )
  if (!right || !sinceNoon || booked.size < sales.length) process.exitCode = 1
}

async function send(some: readonly Purchase[]): Promise<void> {
  await broker.producer(saleMade).sendBatch(some.map((value) => ({ value, id: value.orderId })))
}

/** Computed from the file. */
function revenueOf(some: readonly Purchase[]): Map<string, number> {
  const revenue = new Map<string, number>()
  for (const { placedAt, price } of some)
    revenue.set(placedAt.slice(0, 7), (revenue.get(placedAt.slice(0, 7)) ?? 0) + Math.round(price * 100))
  return revenue
}
