// Is there a container engine? Programs and variables prove nothing; an answer on a socket does.
import { existsSync, statSync } from 'node:fs'
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
    if (existsSync(path) && statSync(path).isSocket() && (await ping(path))) return path
  }
  return undefined
}
