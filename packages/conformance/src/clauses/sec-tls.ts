// SEC-3 and SEC-4: whom a connection trusts, and what it shows of itself each time anew.

import type { Broker } from '@posthorn/core'
import type { TlsAbility, TlsTold } from '../abilities.ts'
import { type Certificate, makeAuthority, selfSigned } from '../certificates.ts'
import { openFront, type SecureFront } from '../secure-front.ts'
import type { OrderTopic, Recorder, Trial, TrialConnectOptions } from '../trial.ts'

const tlsOf = (t: Trial): TlsAbility => t.abilities.tls ?? t.notProven('this harness does not say how its adapter is told to encrypt (tls)')

/** Options of a connection through the front. */
function through(front: SecureFront, tls: TlsAbility, options: Record<string, unknown>): TrialConnectOptions {
  return { adapter: options, at: (address) => tls.address(front.before(address)), connectTimeoutMs: 10_000 }
}

/** Ten orders go out and are handled. */
async function works(t: Trial, broker: Broker, topic: OrderTopic, seen: Recorder, what: string): Promise<void> {
  const orders = t.orders(10)
  await t.send(broker, topic, orders)
  await t.until(`ten orders are handled ${what}`, () => orders.every((order) => seen.of(order).length > 0), {
    withinMs: t.recoverMs,
    seen: () => broker.status,
  })
}

/** SEC-3 */
export async function tlsIsVerified(t: Trial): Promise<void> {
  const tls = tlsOf(t)
  const [right, other] = [makeAuthority('right authority'), makeAuthority('another authority')]
  const fine = right.issue('server')
  const front = await openFront(fine)
  const wrong: readonly (readonly [what: string, shown: Certificate, told: TlsTold | undefined])[] = [
    ['that signed itself', selfSigned('server'), { ca: right.cert }],
    ['that has expired', right.issue('server', { expired: true }), { ca: right.cert }],
    ['for another host', right.issue('server', { hosts: ['elsewhere.example'] }), { ca: right.cert }],
    ['of another authority', fine, { ca: other.cert }],
    ['of an authority that nobody named', fine, {}],
    ['of an authority, without a word about encryption', fine, undefined],
  ]
  try {
    for (const [what, shown, told] of wrong) {
      front.show(shown)
      const began = t.now()
      const options = told === undefined ? {} : tls.options(() => told)
      const error = await t.rejects(t.connect(through(front, tls, options)), 'UNAUTHORIZED', {
        what: `connecting to a server with a certificate ${what}`,
      })
      t.ok(/certificate/i.test(error.message), `the error speaks of the certificate (${what}): ${error.message}`)
      t.equal(error.retryable, false, `is trying again of any use with a certificate ${what}`)
      t.atMost(t.now() - began, t.slack(5000), `milliseconds until a certificate ${what} is refused`)
    }
    // The same server, when its authority is trusted.
    front.show(fine)
    const topic = t.topic('jobs')
    const seen = t.recorder()
    const broker = await t.connect(
      through(
        front,
        tls,
        tls.options(() => ({ ca: right.cert })),
      ),
    )
    await broker.consume(topic, t.consumeOptions(), seen.handler())
    await works(t, broker, topic, seen, 'where the authority is trusted')
    t.equal(warnings(t).length, 0, 'warnings of certificates where the authority is trusted')
    await verificationOff(t, tls, front, topic)
  } finally {
    await front.close()
  }
}

const warnings = (t: Trial): readonly unknown[] =>
  t.logs.filter(({ level, message }) => level === 'warn' && /certificate|verif/i.test(message))

/** Switched off only by an option that says so, and never without a word. */
async function verificationOff(t: Trial, tls: TlsAbility, front: SecureFront, topic: OrderTopic): Promise<void> {
  if (tls.unverified === undefined) return t.note('this adapter has no option that switches verification off')
  front.show(selfSigned('server'))
  const broker = await t.connect(through(front, tls, tls.unverified))
  await broker.declare(topic)
  t.atLeast(warnings(t).length, 1, 'warnings that nobody looks at the certificate')
}

/** SEC-4 */
export async function credentialsAreAskedForAgain(t: Trial): Promise<void> {
  await passwordIsAskedForAgain(t)
  await certificateIsAskedForAgain(t)
}

async function passwordIsAskedForAgain(t: Trial): Promise<void> {
  const { abilities, auditor } = t
  if (abilities.password === undefined) t.notProven('this harness does not say how its adapter asks for a password (password)')
  if (auditor.setPassword === undefined) t.notProven('this auditor cannot change a password (setPassword)')
  const topic = t.topic('jobs')
  const seen = t.recorder()
  let [password, asked] = ['the-first-password', 0]
  const ask = (): string => {
    asked++
    return password
  }
  try {
    await auditor.setPassword(password)
    const broker = await t.connect({ adapter: abilities.password(ask) })
    await broker.consume(topic, t.consumeOptions(), seen.handler())
    t.atLeast(asked, 1, 'times that the password was asked for at first')
    await works(t, broker, topic, seen, 'with the first password')
    const before = asked
    password = 'the-second-password'
    await auditor.setPassword(password)
    t.link(broker).cut()
    await t.until('the password is asked for again', () => asked > before, { withinMs: t.recoverMs, seen: () => broker.status })
    await works(t, broker, topic, seen, 'with the second password')
    // The first one is no good any more: it was the second that let it in.
    await t.rejects(t.connect({ adapter: abilities.password(() => 'the-first-password'), connectTimeoutMs: 5000 }), 'UNAUTHORIZED', {
      what: 'connecting with the password that was replaced',
    })
    await t.fence(broker, topic, seen)
    await broker.close()
  } finally {
    await auditor.setPassword(null)
  }
}

async function certificateIsAskedForAgain(t: Trial): Promise<void> {
  const tls = tlsOf(t)
  const authority = makeAuthority('right authority')
  const front = await openFront(authority.issue('server'))
  try {
    const topic = t.topic('safe')
    const seen = t.recorder('safe')
    let told: TlsTold = { ca: authority.cert, ...authority.issue('the first client') }
    const broker = await t.connect(
      through(
        front,
        tls,
        tls.options(() => told),
      ),
    )
    await broker.consume(topic, t.consumeOptions(), seen.handler())
    await works(t, broker, topic, seen, 'with the first certificate')
    t.equal(new Set(front.shown), new Set(['the first client']), 'certificates that were shown')
    // Both ends have new ones, of a new authority.
    const next = makeAuthority('next authority')
    told = { ca: next.cert, ...next.issue('the second client') }
    front.show(next.issue('server'))
    const before = front.shown.length
    t.link(broker).cut()
    await t.until('it connects anew', () => front.shown.length > before, { withinMs: t.recoverMs, seen: () => broker.status })
    await works(t, broker, topic, seen, 'with the second certificate')
    t.equal(new Set(front.shown.slice(before)), new Set(['the second client']), 'certificates that were shown after they were replaced')
    await broker.close()
  } finally {
    await front.close()
  }
}
