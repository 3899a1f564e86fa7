// A server in a container, where an engine answers. The engine's own cleaner ends it when this process is gone.
import { existsSync } from 'node:fs'
import { pause } from './child.mjs'
import { startInstance } from './instance.mjs'

/** One container as the process of an instance: created by the first start, started again by the next. */
async function createContainer({ GenericContainer, Wait }, image, { entrypoint, command, environment, files }, { port }) {
  const plain = new GenericContainer(image)
    // The same port on both sides: a server that tells clients its address tells the right one.
    .withExposedPorts({ container: port, host: port })
    .withEnvironment(environment ?? {})
    // The instance asks the server itself whether it answers.
    .withWaitStrategy(Wait.forAll([]))
    .withCopyFilesToContainer(files.filter((file) => existsSync(file)).map((file) => ({ source: file, target: file, mode: 0o644 })))
  const made = entrypoint === undefined ? plain : plain.withEntrypoint(entrypoint)
  return await (command === undefined ? made : made.withCommand(command)).start()
}

/** Starts a server of a kind in a container of its own; otherwise as `startInstance`. */
export async function startContainer(kind, found, options) {
  const testcontainers = await import('testcontainers')
  const { container: engine } = await testcontainers.getContainerRuntimeClient()
  const { port, ...rest } = options
  const server = kind.server(found, rest)
  let started
  const handle = () => engine.getById(started.getId())
  const exec = async (args) => {
    const { exitCode, output } = await started.exec(args)
    if (exitCode !== 0) throw new Error(`${args.join(' ')} failed:\n${output.trim()}`)
    return output.trimEnd()
  }

  async function launch(at) {
    if (started === undefined) started = await createContainer(testcontainers, found.image, server.container(at), at)
    else await handle().start()
    let end
    return {
      pid: undefined,
      get end() {
        return end
      },
      async signal(signal) {
        if (end !== undefined) return
        // Pausing stops every process of the container, the server's helpers included.
        if (signal === 'SIGSTOP') return await handle().pause()
        const { State: state } = await handle().inspect()
        if (state.Paused) await handle().unpause()
        if (signal === 'SIGCONT') return
        if (state.Running) {
          await handle().kill({ signal })
          // Asked again and again: some engines answer `wait` half a minute late.
          const deadline = performance.now() + 60_000
          while ((await handle().inspect()).State.Running) {
            if (performance.now() > deadline) throw new Error(`the container still runs 60 s after ${signal}`)
            await pause(20)
          }
        }
        end = signal
      },
    }
  }

  const inside = {
    ...server,
    launch,
    companions: undefined,
    async dispose() {
      await started?.stop({ remove: true, removeVolumes: true, timeout: 0 })
    },
    ...server.inContainer?.(exec),
  }
  return await startInstance(inside, { port, bind: '0.0.0.0' })
}
