// What happens in the demo, in order.
import { settle } from './ledger.ts'
import type { DemoOptions } from './options.ts'
import { digits } from './paint.ts'
import { createClient, replay } from './replay.ts'
import { type Check, makeReport, type Report } from './report.ts'
import type { Progress, Screen, ServiceLine } from './screen.ts'
import { orderIdOf, type Settled, type Stage, seenOn } from './stage.ts'
import { waitFor } from './wait.ts'

const badOrders = [
  { userId: '0001', productName: '1 CDs', orderId: 'bad-1', price: 'free', placedAt: '1997-01-01' },
  { userId: '0001', productName: '1 CDs', orderId: 'bad-2', price: 9.99, placedAt: 'yesterday' },
  { productName: '1 CDs', orderId: 'bad-3', price: 9.99, placedAt: '1997-01-01' },
]

export async function tell(stage: Stage, options: DemoOptions, screen: Screen, signal: AbortSignal): Promise<Report> {
  const { orders, accepted, services, mail, push } = stage
  const checks: Check[] = []
  const check = (ok: boolean, what: string) => checks.push({ what, ok })
  const wait = async (condition: () => boolean | Promise<boolean>): Promise<boolean> => {
    const happened = await waitFor(condition, stage.arrived, { signal })
    signal.throwIfAborted()
    return happened
  }

  for (const name of ['inventory', 'audit', 'push', 'order'] as const) await services.start(name)
  screen.say(`order, push, audit and inventory service started; the email service is not. POST ${services.ordersUrl}`)
  check(await refusesBadOrders(services.ordersUrl, screen), `${badOrders.length} bad orders were refused with the reason`)

  const started = performance.now()
  screen.show(() => progressOf(stage))
  let posted = false
  await Promise.all([postOrders(), startEmailLate(), restartPush()])
  screen.say(`all orders are placed: ${digits(accepted.length)} in ${((performance.now() - started) / 1000).toFixed(1)} s`, 'good')

  const settled = await fixWhatIsDead()
  await wait(() => isComplete(stage))
  const seconds = (performance.now() - started) / 1000
  // Whatever the server still holds could arrive again: the counts are final when it holds nothing.
  const isEmpty = await wait(async () => (await stage.unfinished()) === 0)
  check(isEmpty, 'no group has an unfinished message left on the server')
  const announced = stage.announced()
  if (announced > 0)
    check(
      true,
      `${many(announced, 'call')} of the stopped push service had finished behind one that waited: announced, and may come again on this server`,
    )
  screen.end()
  return makeReport({
    broker: options.title,
    orders: orders.length,
    customers: new Set(orders.map(({ userId }) => userId)).size,
    seconds,
    services: settle(orders, stage.trouble, seenOn(stage, settled)),
    checks,
  })

  async function postOrders(): Promise<void> {
    const unexpected = new Map<number, number>()
    await replay(orders, {
      url: services.ordersUrl,
      concurrency: 32,
      rate: options.rate,
      signal,
      onAnswer(order, { status }) {
        if (status === 201) accepted.push(order.orderId)
        else unexpected.set(status, (unexpected.get(status) ?? 0) + 1)
      },
    })
    signal.throwIfAborted()
    posted = true
    for (const [status, times] of unexpected) screen.say(`${many(times, 'order')} answered with ${status}`, 'trouble')
  }

  async function startEmailLate(): Promise<void> {
    await wait(() => posted || accepted.length * 3 >= orders.length)
    const waiting = accepted.length
    const early = mail.mails.length
    await services.start('email')
    screen.say(`email service started: ${many(waiting, 'order')} waited for it`)
    check(waiting * 3 >= orders.length && early === 0, `the email service was started after ${many(waiting, 'order')}`)
  }

  async function restartPush(): Promise<void> {
    let calls = 0
    // Inside a call, so that something surely is in flight; in a moment with much of it, if one comes soon.
    const stopped = new Promise<{ inFlight: number; stop: Promise<void> }>((resolve) => {
      push.onCall = () => {
        calls++
        if (calls * 3 < orders.length || (push.inFlight < 8 && calls * 5 < orders.length * 2)) return
        push.onCall = undefined
        resolve({ inFlight: push.inFlight, stop: services.stop('push') })
      }
    })
    const happened = await Promise.race([stopped, wait(() => push.calls.length >= orders.length)])
    if (typeof happened === 'boolean') return void check(false, 'the push service was stopped with work in flight')
    screen.say(`push service told to stop, with ${many(happened.inFlight, 'call')} in flight`)
    await happened.stop
    const before = accepted.length
    screen.say(`push service stopped after ${many(push.calls.length, 'call')}`)
    await wait(() => posted || accepted.length - before >= orders.length / 6)
    await services.start('push')
    screen.say(`push service started again: ${many(accepted.length - push.calls.length, 'order')} to catch up`)
    check(happened.inFlight > 0, `the push service was stopped with ${many(happened.inFlight, 'call')} in flight and started again`)
  }

  async function fixWhatIsDead(): Promise<Settled> {
    const { email, push: pushTrouble } = stage.trouble
    await wait(async () => {
      if (mail.mails.length + mail.refusals < orders.length || push.calls.length < orders.length - pushTrouble.always.size) return false
      const [mails, calls] = await Promise.all([stage.deadLetters('email'), stage.deadLetters('push')])
      return mails.length >= email.always.size && calls.length >= pushTrouble.always.size
    })
    const letters = { email: await stage.deadLetters('email'), push: await stage.deadLetters('push') }
    for (const [group, list] of Object.entries(letters)) {
      const [first] = list
      if (first === undefined) continue
      const why = `${first.reason}${first.error === undefined ? '' : `, ${first.error}`}`
      screen.say(
        `${many(list.length, 'dead letter')} of ${group}; the first: order ${orderIdOf(first)} after ${many(first.attempts, 'attempt')}: ${why}`,
        'trouble',
      )
    }
    check(
      letters.email.every(({ reason, attempts }) => reason === 'mailbox refused: 552' && attempts === 1) &&
        letters.push.every(({ reason, attempts }) => reason === 'failed' && attempts === 5),
      'each dead letter says why it is there and how often it was tried',
    )
    mail.fix()
    push.fix()
    const again = { email: await stage.replay('email'), push: await stage.replay('push') }
    const replayed = { email: again.email.replayed, push: again.push.replayed }
    if (replayed.email + replayed.push > 0)
      screen.say(`mailboxes and certificate are fixed: ${many(replayed.email + replayed.push, 'dead letter')} replayed`, 'good')
    check(
      (await stage.deadLetters('email')).length + (await stage.deadLetters('push')).length === 0 &&
        again.email.left + again.push.left === 0,
      'after the fix all dead letters were replayed and none is left',
    )
    return { dead: { email: letters.email.map(orderIdOf), push: letters.push.map(orderIdOf) }, replayed }
  }
}

async function refusesBadOrders(url: string, screen: Screen): Promise<boolean> {
  const client = createClient(url, 1)
  let refused = 0
  for (const bad of badOrders) {
    const { status, body } = await client.post(bad)
    const { reasons = [] } = JSON.parse(body) as { reasons?: readonly string[] }
    if (status === 400 && reasons.length > 0) refused++
    screen.say(`bad order answered with ${status}: ${reasons.join('; ')}`)
  }
  client.close()
  return refused === badOrders.length
}

function many(count: number, what: string): string {
  return `${digits(count)} ${what}${count === 1 ? '' : 's'}`
}

function isComplete({ orders, mail, push, services }: Stage): boolean {
  const all = orders.length
  return mail.mails.length >= all && push.calls.length >= all && services.booked.length >= all && services.audited.length >= 3 * all
}

function progressOf({ orders, accepted, mail, push, services }: Stage): Progress {
  const all = orders.length
  const done = accepted.length + mail.mails.length + push.calls.length + services.booked.length + services.audited.length
  const line = (name: Parameters<typeof services.isRunning>[0], count: number, word: string, more = ''): ServiceLine => ({
    name,
    state: services.isRunning(name) ? 'running' : count === 0 ? 'not started' : 'stopped',
    figures: `${digits(count).padStart(6)} ${word}${more}`,
  })
  return {
    done: Math.min(1, done / (7 * all)),
    orders: accepted.length,
    of: all,
    services: [
      line('order', accepted.length, 'accepted'),
      line('email', mail.mails.length, 'mails', `, ${digits(mail.deferred.size)} tried again, ${digits(mail.refusals)} refused`),
      line('push', push.calls.length, 'calls', `, ${digits(push.refused.size)} tried again`),
      line('audit', services.audited.length, 'entries'),
      line('inventory', services.booked.length, 'booked'),
    ],
  }
}
