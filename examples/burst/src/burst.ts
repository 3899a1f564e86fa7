// A burst buffered in front of a slow service: orders come in all at once, the shop takes them at once, and the payment provider
// gets them at its own pace.
//   npm run burst -- --orders 800 --broker redis
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { connect } from '@posthorn/core'
import { loadConfig } from '@posthorn/core/config'
import { refuseLeftovers } from '@posthorn/example-order-notification/leftovers'
import { readPurchases } from '@posthorn/example-order-notification/purchases'
import { createProvider, paymentDue, perTenth, startPayments } from './payments.ts'

const { values } = parseArgs({ options: { orders: { type: 'string', default: '800' } } })
const orders = readPurchases(Number(values.orders)).map(({ orderId, userId, price }) => ({ orderId, userId, price }))

const broker = await connect(await loadConfig(), { name: 'shop' })
await refuseLeftovers(broker, [[paymentDue, 'payments']])
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort())

console.log(`${orders.length} orders at once, on ${broker.adapter}; the payment provider takes ${perTenth * 10} a second`)
const provider = createProvider()
const payments = await startPayments(broker, provider.charge)
const started = performance.now()
const seconds = (): string => `${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s`
let accepted = 0
let lastAccepted = seconds()
const producer = broker.producer(paymentDue)
const burst = Promise.all(
  orders.map(async (order) => {
    await producer.send(order, { id: order.orderId, signal: stop.signal })
    // Here the customer gets an answer: the order is stored, however long the payment takes.
    accepted++
    lastAccepted = seconds()
  }),
)
let refused: unknown
burst.catch((error: unknown) => {
  if (!stop.signal.aborted) refused = error
  stop.abort()
})

const deadline = started + 60_000 + orders.length * 10
while (payments.stats().handled < orders.length && !stop.signal.aborted && performance.now() < deadline) {
  show()
  await wait(500, undefined, { signal: stop.signal }).catch(() => undefined)
}
if (refused !== undefined) console.error(`an order was not taken: ${refused instanceof Error ? refused.message : String(refused)}`)
if (stop.signal.aborted) console.log('stopping: calls that are under way end; what waits stays on the broker')
await broker.close()
show()
report()

function show(): void {
  const { handled, unsettled } = payments.stats()
  const waiting = accepted - handled
  const bar = '█'.repeat(Math.ceil((60 * waiting) / orders.length))
  const figures = [`accepted ${accepted}`, `charged ${handled}`, `waiting ${waiting}`, `of these in this process ${unsettled}`]
  console.log(`${seconds()}  ${figures.map((figure) => figure.padEnd(14)).join('  ')}  ${bar}`)
}

function report(): void {
  const charged = new Set(provider.calls.map(({ due }) => due.orderId))
  const lastOf = new Map<string, number>()
  let late = 0
  for (const { due } of provider.calls) {
    const n = Number(due.orderId.split('-')[1])
    if (n < (lastOf.get(due.userId) ?? 0)) late++
    lastOf.set(due.userId, n)
  }
  const twice = provider.calls.length - charged.size
  if (stop.signal.aborted) console.log(`stopped: ${charged.size} of ${accepted} accepted orders are charged, none halfway`)
  else if (charged.size < orders.length) console.log(`only ${charged.size} of ${orders.length} orders are charged`)
  else console.log(`all ${accepted} were accepted after${lastAccepted}, and charged after${seconds()}`)
  console.log(`charged twice ${twice}, out of order ${late}, most calls within a second ${provider.peak()}`)
  const tooFast = provider.peak() > 11 * perTenth
  const missing = !stop.signal.aborted && charged.size < orders.length
  if (twice + late > 0 || tooFast || missing || refused !== undefined) process.exitCode = 1
}
