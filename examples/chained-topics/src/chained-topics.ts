// Chained topics: purchases → totals → ranks → letters, each step a service of its own that knows only its input and its output.
//   npm run chained-topics -- --purchases 2000 --broker kafka
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { connect } from '@posthorn/core'
import { loadConfig } from '@posthorn/core/config'
import { refuseLeftovers } from '@posthorn/example-order-notification/leftovers'
import { readPurchases } from '@posthorn/example-order-notification/purchases'
import { type Letter, ranks, startLetters, startRanks, startTotals } from './stages.ts'
import { purchaseMade, rankReached, totalChanged } from './topics.ts'

const { values } = parseArgs({ options: { purchases: { type: 'string', default: '2000' } } })
const purchases = readPurchases(Number(values.purchases)).map(({ orderId, userId, price }) => ({
  orderId,
  userId,
  cents: Math.round(price * 100),
}))
const nameOf = ({ userId, rank }: Letter): string => `${userId} ${rank}`

const broker = await connect(await loadConfig(), { name: 'chained-topics' })
await refuseLeftovers(broker, [
  [purchaseMade, 'totals'],
  [totalChanged, 'ranks'],
  [rankReached, 'letters'],
])
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort())

console.log(`${purchases.length} purchases go through three services, on ${broker.adapter}`)
const letters: string[] = []
const failed = new Set<string>()
// Every 25th purchase fails once, after its output was queued.
const unlucky = new Set(purchases.filter((_, n) => n % 25 === 24).map(({ orderId }) => orderId))
const stages = [
  await startTotals(broker, (orderId) => {
    if (!unlucky.has(orderId) || failed.has(orderId)) return
    failed.add(orderId)
    throw new Error('the database is busy')
  }),
  await startRanks(broker),
  await startLetters(broker, (letter, cents) => {
    letters.push(nameOf(letter))
    if (letter.rank === 'gold') console.log(`  letter to ${letter.userId}: welcome to gold, with $${(cents / 100).toFixed(2)}`)
  }),
]
await broker.producer(purchaseMade).sendBatch(purchases.map((value) => ({ value, id: value.orderId })))

// Each service is done when it has handled as many as the one before it has sent.
const must = expected()
const handled = () => stages.map((stage) => stage.stats().handled)
const isDone = () => handled()[0] === purchases.length && handled()[1] === purchases.length && letters.length >= must.size
const deadline = performance.now() + 60_000
while (!isDone() && !stop.signal.aborted && performance.now() < deadline) await wait(20)
await broker.close()

const [totals, steps] = handled()
console.log(`  purchases ${totals} (${failed.size} tried again)  ▶  totals ${steps}  ▶  letters ${letters.length}`)
if (stop.signal.aborted)
  console.log('stopped: what was not finished waits on the broker, in the topic before the service that has to do it')
else {
  const written = new Set(letters)
  const lost = [...must].filter((letter) => !written.has(letter))
  const wrong = [...written].filter((letter) => !must.has(letter))
  console.log(
    `  computed from the file: ${must.size} letters. lost ${lost.length}, wrong ${wrong.length}, twice ${letters.length - written.size}`,
  )
  if (lost.length + wrong.length > 0 || letters.length !== written.size) process.exitCode = 1
}

/** The letters that must be written, straight from the file. */
function expected(): Set<string> {
  const totalOf = new Map<string, number>()
  for (const { userId, cents } of purchases) totalOf.set(userId, (totalOf.get(userId) ?? 0) + cents)
  return new Set(
    [...totalOf].flatMap(([userId, total]) => ranks.filter(([, line]) => total >= line).map(([rank]) => nameOf({ userId, rank }))),
  )
}
