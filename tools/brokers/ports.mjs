// Ports for servers that are killed and started again. They lie below the range from which the system gives ports to outgoing
// connections: there, a client that reconnects to a dead server can get the server's own port and talk to itself.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { identify, lives } from './identity.mjs'
import { runsFolder } from './runs.mjs'

const lowest = 20_000
const count = 5_000
const file = (port) => join(runsFolder, 'ports', String(port))

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}

/** Notes that the port is ours even while nobody listens on it; false when another living process has it. */
function reserve(port) {
  const owner = JSON.stringify(identify(process.pid))
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      writeFileSync(file(port), owner, { flag: 'wx' })
      return true
    } catch {
      try {
        if (lives(JSON.parse(readFileSync(file(port), 'utf8')))) return false
      } catch {
        // Unreadable or gone: nobody's.
      }
      rmSync(file(port), { force: true })
    }
  }
  return false
}

/** A port of 127.0.0.1 that nobody uses, reserved for this process until `releasePort`. */
export async function freePort() {
  mkdirSync(join(runsFolder, 'ports'), { recursive: true, mode: 0o700 })
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const port = lowest + Math.floor(Math.random() * count)
    if (!reserve(port)) continue
    if (await isFree(port)) return port
    releasePort(port)
  }
  throw new Error(`no free port between ${lowest} and ${lowest + count}`)
}

/** Gives a port of `freePort` back. */
export function releasePort(port) {
  rmSync(file(port), { force: true })
}
