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

const backMs = 60_000
const source = fileURLToPath(new URL('posthorn_inspector.erl', `file://${auditorProgram('rabbitmq')}`))

/**
 * Compiles and starts it inside the node. The node keeps it: when it is started again it starts the inspector by itself, on the same
 * port, which takes none of the seconds of processor time that a control command takes.
 */
export async function loadInspector(broker: RunningBroker): Promise<Inspector> {
  const token = randomBytes(12).toString('hex')
  const text = readFileSync(source).toString('base64')
  // What Erlang reads at each start from the home folder, which is the server's own here, and before the node has its name.
  const again = `spawn(fun() ->
    Wait = fun W() ->
      case whereis(rabbit_event) =/= undefined andalso ets:whereis(channel_queue_metrics) =/= undefined of
        true -> ok;
        false -> timer:sleep(50), W()
      end
    end,
    Wait(),
    {module, Module} = code:load_abs("~s"),
    Module:start(<<"${token}">>, ~b)
  end).`
  const printed = await broker.control([
    'eval',
    `Base = filename:join(rabbit_mnesia:dir(), "posthorn_inspector"),
     ok = file:write_file(Base ++ ".erl", base64:decode("${text}")),
     {ok, Module, Binary} = compile:file(Base ++ ".erl", [binary]),
     ok = file:write_file(Base ++ ".beam", Binary),
     code:purge(Module), {module, Module} = code:load_binary(Module, Base, Binary),
     Port = Module:start(<<"${token}">>, 0),
     Again = base64:decode("${Buffer.from(again).toString('base64')}"),
     ok = file:write_file(filename:join(os:getenv("HOME"), ".erlang"), io_lib:format(Again, [Base, Port])),
     Port.`,
  ])
  const port = Number(printed.trim())
  if (!Number.isSafeInteger(port)) throw new Error(`the inspector does not start in ${broker.title}: ${printed}`)
  return { port, token }
}

/** Resolves when the inspector of a node that was started again answers. */
export async function inspectorBack(inspector: Inspector, vhost: string): Promise<void> {
  for (const deadline = performance.now() + backMs; ; ) {
    try {
      await askInspector(inspector, 'queues', vhost)
      return
    } catch (error) {
      if (performance.now() > deadline) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
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
