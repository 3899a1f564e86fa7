// The suite's side of members in processes of their own: starts them, kills and freezes them with signals, and feeds what they saw
// to the same recorders, counters and lists as members in this process, so that clauses do not differ.

import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { LogEntry, OnceKey } from '@posthorn/core'
import { ClauseFailure, fail } from './assert.ts'
import { later, realClock } from './clock.ts'
import { forkArgs } from './fork-args.ts'
import type { BrokerProcess } from './harness.ts'
import type { Journal } from './journal.ts'
import type { RealLinks } from './links.ts'
import type { Member, Script } from './member.ts'
import { type FromMember, type PlainSend, plainScript, type Seen, type ToMember } from './member-messages.ts'
import type { Order } from './orders.ts'
import { noCalls } from './peer.ts'
import type { OpenRecorder, Start } from './recorder.ts'
import type { Gate, SeenEvent, SendRecord } from './trial.ts'
import { type Sender, sentBy } from './watch-broker.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
const program = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './member-process.ts' : './member-process.js', import.meta.url))

/** Processes that are started ahead, because starting one takes a moment. */
export interface MemberPool {
  take(): ChildProcess
  close(): void
}

/** Members load the harness from here. Told the id of each process, so that whoever watches can end it. */
export function createPool(harnessAt: string, spares = 1, started?: (pid: number) => void): MemberPool {
  const ready: ChildProcess[] = []
  let closed = false
  function start(): ChildProcess {
    const child = fork(program, [harnessAt], {
      execArgv: [...forkArgs(import.meta.url)],
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    if (child.pid !== undefined) started?.(child.pid)
    // An idle spare does not keep the suite alive.
    child.unref()
    child.channel?.unref()
    return child
  }
  function fill(): void {
    while (!closed && ready.length < spares) ready.push(start())
  }
  const killSpares = (): void => {
    for (const child of ready.splice(0)) child.kill('SIGKILL')
  }
  process.on('exit', killSpares)
  return {
    take() {
      const child = ready.find((each) => each.exitCode === null && each.connected)
      if (child === undefined) return start()
      ready.splice(ready.indexOf(child), 1)
      later(fill)
      return child
    },
    close() {
      closed = true
      process.off('exit', killSpares)
      killSpares()
    },
  }
}

/** What remote members need of the clause. */
export interface RemoteTools {
  readonly pool: MemberPool
  readonly server: BrokerProcess
  readonly links: RealLinks
  readonly random: () => number
  readonly journal: Journal
  readonly written: string[]
  readonly events: SeenEvent[]
  readonly partitions: ReadonlyMap<string, number>
  readonly sends: Mutable<SendRecord>[]
  logged(entry: LogEntry): void
  recorder(name: string): OpenRecorder
  orders(n: number, keys: number): readonly Order[]
}
export interface RemoteMembers {
  start(script: Script, name: string): Promise<Member>
  /** Closes those that live; what does not close in time is a violation of LIFE-3. */
  closeAll(): Promise<void>
  /** Ends them at once. */
  killAll(): void
}

/** How long a process may go on after its member has closed, in milliseconds. */
const afterCloseMs = 5000
const closeAllMs = 12_000

export function createRemoteMembers(tools: RemoteTools): RemoteMembers {
  const members: { readonly member: Member; readonly ended: Promise<void>; readonly state: () => Sender['state'] }[] = []
  const killers = new Set<() => void>()
  const killAll = (): void => {
    for (const kill of killers) kill()
  }
  process.on('exit', killAll)

  async function start(script: Script, name: string): Promise<Member> {
    const gates = new Map<string, Gate>()
    const recorder = (script.recorder as OpenRecorder | undefined) ?? tools.recorder(name)
    const plain = plainScript(script, gates, tools.orders)
    const link = await tools.links.make(name)
    const child = tools.pool.take()
    child.ref()
    child.channel?.ref()
    const sender: Mutable<Sender> = { state: 'open', wasFrozen: false }
    const calls = noCalls()
    let instance: string | undefined
    let frozen = false
    let endedAt: number | undefined
    let closing: Promise<void> | undefined
    let closed: (error: string | undefined) => void = () => {}
    const starts = new Map<number, Start>()
    const works = new Map<number, (failed: boolean) => void>()
    const sends = new Map<number, Mutable<SendRecord>>()
    let ready: () => void = () => {}
    let refused: (error: unknown) => void = () => {}
    const subscribed = new Promise<void>((resolve, reject) => {
      ready = resolve
      refused = reject
    })
    let ended: () => void = () => {}
    const died = new Promise<void>((resolve) => {
      ended = resolve
    })
    const killProcess = (): void => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    }
    killers.add(killProcess)
    const say = (message: ToMember): void => {
      if (child.connected) child.send(message, () => {})
    }

    let lastWords = ''
    child.stderr?.on('data', (chunk: Buffer) => {
      lastWords = `${lastWords}${chunk}`.slice(-600)
      tools.written.push(chunk.toString())
    })
    child.stdout?.on('data', (chunk: Buffer) => tools.journal.note(`${name} writes to stdout: ${chunk.toString().slice(0, 200)}`))
    // The channel ends after the last message; the process may be gone before that.
    child.on('disconnect', () => {
      const at = endedAt ?? realClock.monotonic()
      if (sender.state !== 'closed') {
        sender.state = 'dead'
        tools.journal.note(`${name}: its process ended`, undefined, at)
        for (const start of starts.values()) recorder.told({ kind: 'end', run: 0, how: 'lost', at }, start)
        calls.assignments = []
      }
      refused(
        new ClauseFailure('fail', `the process of ${name} ended before its member had started: ${lastWords.trim() || 'without a word'}`),
      )
      closed(undefined)
      ended()
    })
    child.on('exit', () => killers.delete(killProcess))
    child.on('message', (message: FromMember) => {
      if (message.kind === 'seen') for (const seen of message.seen) take(seen)
      else if (message.kind === 'ready') {
        instance = message.instance
        ready()
      } else if (message.kind === 'refused') {
        refused(Object.assign(new Error(message.message), message.code === undefined ? {} : { name: 'MessagingError', code: message.code }))
      } else if (message.kind === 'wait') void wait(message.gate, message.wait)
      else if (message.kind === 'once') void once(message.call, message.key)
      else if (message.kind === 'worked') {
        works.get(message.call)?.(message.failed)
        works.delete(message.call)
      } else closed(message.error)
    })

    async function wait(gate: string, id: number): Promise<void> {
      await gates.get(gate)?.wait()
      say({ kind: 'open', gate, wait: id })
    }
    /** A call of the store: the transaction is here, the work in the member's process. */
    async function once(call: number, key: OnceKey): Promise<void> {
      try {
        const result = await script.once?.once(key, async () => {
          const failed = await new Promise<boolean>((resolve) => {
            works.set(call, resolve)
            say({ kind: 'work', call })
          })
          if (failed) throw new Error('the work failed')
        })
        say({ kind: 'stored', call, result, error: undefined })
      } catch (error) {
        say({ kind: 'stored', call, result: undefined, error: error instanceof Error ? error.message : String(error) })
      }
    }
    function take(seen: Seen): void {
      switch (seen.kind) {
        case 'recorder': {
          const { event } = seen
          if (event.kind === 'start') {
            const begun = recorder.told({ ...event, member: name })
            if (begun !== undefined) starts.set(event.run, begun)
          } else if (event.kind === 'hidden') recorder.told({ ...event, member: name })
          else {
            recorder.told(event, starts.get(event.run))
            starts.delete(event.run)
          }
          return
        }
        case 'note':
          return tools.journal.note(seen.text, seen.id, seen.at)
        case 'event':
          if (tools.events.length < 500_000) tools.events.push({ name: seen.name, at: seen.at, event: seen.event })
          return
        case 'log':
          return tools.logged(seen.entry)
        case 'violation':
          return tools.journal.violate(seen.clause, seen.text, seen.ids)
        case 'calls':
          Object.assign(calls, seen.calls)
          if (endedAt !== undefined) calls.assignments = []
          return
        case 'partitions':
          ;(tools.partitions as Map<string, number>).set(seen.topic, seen.partitions)
          return
        case 'send':
          takeSend(seen.send)
      }
    }
    function takeSend({ n, code, ...facts }: PlainSend): void {
      const known = sends.get(n)
      const error = code === undefined ? undefined : (Object.assign(new Error(code), { name: 'MessagingError', code }) as never)
      if (known !== undefined) {
        Object.assign(known, facts, { error })
        return
      }
      const record: Mutable<SendRecord> = { ...facts, error }
      sends.set(n, record)
      sentBy(record, sender)
      tools.sends.push(record)
    }

    function kill(): void {
      if (sender.state === 'dead' || endedAt !== undefined) return
      endedAt = realClock.monotonic()
      sender.state = 'dead'
      tools.journal.note(`${name}: killed`)
      killProcess()
    }
    const { title, profile, leaseMs, recoverMs } = tools.server
    say({
      kind: 'play',
      name,
      address: link.address,
      seed: Math.floor(tools.random() * 2 ** 31),
      server: { title, profile, leaseMs, recoverMs },
      script: plain,
    })
    const mine = (): readonly Start[] => recorder.starts.filter((each) => each.member === name)
    const member: Member = {
      name,
      get instance() {
        return instance ?? fail(`${name} has no identity`)
      },
      get alive() {
        return sender.state !== 'dead'
      },
      get frozen() {
        return frozen && sender.state !== 'dead'
      },
      get running() {
        return mine().filter((each) => each.end === 'open').length
      },
      get starts() {
        return mine().length
      },
      link,
      calls,
      consumer: undefined,
      kill,
      freeze() {
        if (sender.state === 'dead') return
        frozen = true
        sender.wasFrozen = true
        tools.journal.note(`${name}: frozen`)
        child.kill('SIGSTOP')
      },
      thaw() {
        if (!frozen) return
        frozen = false
        tools.journal.note(`${name}: thawed`)
        child.kill('SIGCONT')
      },
      cut: () => link.cut(),
      close(options) {
        closing ??= closeProcess(options?.drainMs)
        return closing
      },
      died,
    }
    async function closeProcess(drainMs: number | undefined): Promise<void> {
      if (sender.state === 'dead') return
      sender.state = 'closing'
      const error = await new Promise<string | undefined>((resolve) => {
        closed = resolve
        if (!child.connected) resolve(undefined)
        say({ kind: 'close', drainMs })
      })
      if (sender.state === 'closing') sender.state = 'closed'
      calls.assignments = []
      watchEnd(child, name, tools.journal, killProcess)
      if (error !== undefined) throw new Error(error)
    }
    try {
      await subscribed
    } catch (error) {
      kill()
      throw error
    }
    members.push({ member, ended: died, state: () => sender.state })
    return member
  }

  return {
    start,
    async closeAll() {
      for (const { member } of members) if (member.frozen) member.kill()
      const open = members.filter(({ state }) => state() === 'open' || state() === 'closing')
      await Promise.all(
        open.map(async ({ member, ended }) => {
          let timer: () => void = () => {}
          const late = new Promise<'late'>((resolve) => {
            timer = realClock.timer(closeAllMs, () => resolve('late'))
          })
          try {
            if ((await Promise.race([member.close({ drainMs: 1000 }), late])) === 'late')
              tools.journal.violate('LIFE-3', `${member.name}: close did not resolve within 12 s at the end of the clause`)
            // What a closed member does in its last moments counts as well.
            else await Promise.race([ended, late])
          } catch (error) {
            tools.journal.violate('LIFE-3', `${member.name}: close rejected: ${String(error)}`)
          } finally {
            timer()
          }
        }),
      )
    },
    killAll() {
      killAll()
      process.off('exit', killAll)
    },
  }
}

/** A process whose member has closed ends by itself; what keeps it alive was left behind. */
function watchEnd(child: ChildProcess, name: string, journal: Journal, killProcess: () => void): void {
  if (child.exitCode !== null || child.signalCode !== null) return
  const stop = realClock.timer(afterCloseMs, () => {
    journal.violate('LIFE-8', `the process of ${name} was still there ${afterCloseMs} ms after its member had closed`)
    killProcess()
  })
  child.once('exit', stop)
}
