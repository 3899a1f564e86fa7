// Is there a container engine? Programs and variables prove nothing; an answer on a socket does.
import { stat } from 'node:fs/promises'
import { request } from 'node:http'
import { homedir } from 'node:os'
import { join } from 'node:path'

function sockets() {
  const runtime = process.env.XDG_RUNTIME_DIR
  return [
    process.env.DOCKER_HOST?.replace(/^unix:\/\//, ''),
    '/var/run/docker.sock',
    join(homedir(), '.docker', 'run', 'docker.sock'),
    ...(runtime ? [join(runtime, 'docker.sock'), join(runtime, 'podman', 'podman.sock')] : []),
    '/run/podman/podman.sock',
  ].filter((path) => path !== undefined && path !== '')
}

const ping = (socketPath) =>
  new Promise((resolve) => {
    const asked = request({ socketPath, path: '/_ping', timeout: 500 }, (answer) => {
      answer.resume()
      resolve(answer.statusCode === 200)
    })
    asked.on('timeout', () => asked.destroy(new Error('too slow')))
    asked.on('error', () => resolve(false))
    asked.end()
  })

/** The socket of the first container engine of this machine that answers within half a second, or undefined. */
export async function engineSocket() {
  for (const path of sockets()) {
    // Not statSync: in Node 20, resolving links gives up early while the last file that was looked at synchronously is a socket, and
    // the next import of a linked package then loads it under the wrong name.
    const found = await stat(path).catch(() => undefined)
    if (found?.isSocket() && (await ping(path))) return path
  }
  return undefined
}
