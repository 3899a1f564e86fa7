// The module that looks inside RabbitMQ's node: how it gets there, and how this process asks it.

import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { auditorProgram } from '@posthorn/conformance/auditor'
import type { RunningBroker } from '../../../../tools/brokers/index.mjs'

/** Where it listens, for whoever knows the token. */
export interface Inspector {
  readonly port: number
  readonly token: string
}

const source = fileURLToPath(new URL('posthorn_inspector.erl', `file://${auditorProgram('rabbitmq')}`))

/** Compiles and starts it inside the node, on the port that it had before if it ran before. */
export async function loadInspector(broker: RunningBroker, before: Inspector | undefined): Promise<Inspector> {
  const token = before?.token ?? randomBytes(12).toString('hex')
  const text = readFileSync(source).toString('base64')
  const printed = await broker.control([
    'eval',
    `File = filename:join(rabbit_mnesia:dir(), "posthorn_inspector.erl"),
     ok = file:write_file(File, base64:decode("${text}")),
     {ok, Module, Binary} = compile:file(File, [binary]),
     code:purge(Module), {module, Module} = code:load_binary(Module, File, Binary),
     Module:start(<<"${token}">>, ${before?.port ?? 0}).`,
  ])
  const port = Number(printed.trim())
  if (!Number.isSafeInteger(port)) throw new Error(`the inspector does not start in ${broker.title}: ${printed}`)
  return { port, token }
}

/** Asks one thing. Rejects with what the node says. */
export function askInspector({ port, token }: Inspector, ...request: readonly unknown[]): Promise<unknown> {
  const packet = (text: string): Buffer => {
    const bytes = Buffer.from(text)
    const head = Buffer.alloc(4)
    head.writeUInt32BE(bytes.length)
    return Buffer.concat([head, bytes])
  }
  return new Promise((resolve, reject) => {
    let got: Buffer = Buffer.alloc(0)
    const socket = connect(port, '127.0.0.1')
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('the inspector is gone')))
    socket.on('data', (chunk: Buffer) => {
      got = Buffer.concat([got, chunk])
      if (got.length < 4 || got.length < 4 + got.readUInt32BE(0)) return
      const { value, error } = JSON.parse(got.subarray(4).toString()) as { value?: unknown; error?: string }
      if (error === undefined) resolve(value)
      else reject(new Error(error))
      socket.destroy()
    })
    socket.write(Buffer.concat([packet(token), packet(JSON.stringify(request))]))
  })
}
