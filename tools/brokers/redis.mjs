// Redis and its relatives that read its configuration (Valkey).

import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../lib/process.mjs'
import { libraryPath, onPath } from './apt.mjs'
import { answerText, redisCommands } from './resp.mjs'

const serverNames = ['redis-server', 'valkey-server']

/** How to find it; see find.mjs. */
export const redis = {
  name: 'redis',
  variable: 'POSTHORN_REDIS',
  packages: ['redis-server'],
  image: 'redis:7.4.5-alpine',
  inFolder: (folder) => ['', 'bin', 'usr/bin'].flatMap((sub) => serverNames.map((name) => join(folder, sub, name))),
  inSystem: () => serverNames.map(onPath).filter((file) => file !== undefined),
  async identify(file, folder) {
    const env = environment(folder)
    const { code, output } = await run(file, ['--version'], { env, cwd: '/', timeoutMs: 10_000 })
    const [, name, version] = /^(\w+) server v=([\w.]+)/.exec(output) ?? []
    if (code !== 0 || version === undefined) throw new Error(output.trim() || `ends with code ${code}`)
    return { file, folder, version, title: `${name} ${version}` }
  },
  async external(url) {
    const info = answerText(await redisCommands(url, [['INFO', 'server']], { timeoutMs: 5_000 }))
    const [, field, version] = /^(redis|valkey)_version:(\S+)/m.exec(info) ?? []
    const [, valkey] = /^valkey_version:(\S+)/m.exec(info) ?? []
    const title = valkey === undefined ? `Redis ${version}` : `Valkey ${valkey}`
    if (field === undefined) throw new Error('what answers is not Redis')
    return { version: valkey ?? version, title, profile: await externalProfile(url) }
  },
}

async function externalProfile(url) {
  try {
    const setting = async (name) => (await redisCommands(url, [['CONFIG', 'GET', name]]))?.[1]
    if ((await setting('appendonly')) === 'yes') return 'durable'
    return (await setting('save')) ? 'graceful' : 'volatile'
  } catch {
    // Hosted servers often refuse CONFIG; what cannot be seen is not promised.
    return 'volatile'
  }
}

function environment(folder) {
  return folder === undefined ? process.env : { ...process.env, LD_LIBRARY_PATH: libraryPath(folder) }
}

/**
 * The lines of the durable profile. `always` and not `everysec`: with the latter a write waits up to two seconds behind a slow sync
 * while its reply goes out, and a kill in that time loses what was acknowledged.
 */
const durable = ['appendonly yes', 'appendfsync always', 'save ""', 'maxmemory-policy noeviction']

const aclLine = ({ name, password, rules = '~* &* +@all' }) => `user ${name} reset on >${password} ${rules}`

/** One server of `found` with these options, for startInstance. */
export function redisServer(found, { profile = 'durable', settings = [], tls, users = [], sentinel = false } = {}) {
  // With users, the launcher has one of its own: theirs may be allowed little.
  const admin = users.length > 0 ? { name: 'posthorn-launcher', password: randomBytes(16).toString('hex') } : undefined
  const scheme = tls === undefined ? 'redis' : 'rediss'
  const address = (port, user) => {
    const who =
      user === undefined ? '' : `${user.name === 'default' ? '' : encodeURIComponent(user.name)}:${encodeURIComponent(user.password)}@`
    return `${scheme}://${who}127.0.0.1:${port}`
  }
  const ask = (port, commands, timeoutMs) => redisCommands(address(port, admin), commands, { tls, timeoutMs })
  return {
    ...found,
    name: 'redis',
    profile: profile === 'durable' ? 'durable' : 'graceful',
    bootMs: 60_000,
    pollMs: 10,
    url: (port) => address(port, users[0]),
    configure({ folder, port, bind }) {
      const lines = [`bind ${bind}`, `dir ${folder}`, 'daemonize no']
      // In a container the address that is listened at is not the loopback one, and without a password nobody would be let in.
      if (bind !== '127.0.0.1') lines.push('protected-mode no')
      if (tls === undefined) lines.push(`port ${port}`)
      else {
        lines.push('port 0', `tls-port ${port}`, `tls-ca-cert-file ${tls.ca}`, `tls-cert-file ${tls.cert}`, `tls-key-file ${tls.key}`)
        lines.push('tls-auth-clients optional')
        if (sentinel) lines.push('tls-replication yes')
      }
      if (!sentinel && profile === 'durable') lines.push(...durable)
      if (admin !== undefined) {
        // Nobody can be it, and it keeps its rights: the server loads its file as this user, and leaves out every transaction (what a
        // script wrote) whose commands this user may not do.
        const others = users.some(({ name }) => name === 'default') ? [] : ['user default reset off ~* &* +@all']
        writeFileSync(join(folder, 'users.acl'), `${[...others, ...[admin, ...users].map(aclLine)].join('\n')}\n`, { mode: 0o600 })
        lines.push(`aclfile ${join(folder, 'users.acl')}`)
      }
      // A sentinel writes what it learns into its own configuration.
      const file = join(folder, 'redis.conf')
      writeFileSync(file, `${[...lines, ...settings].join('\n')}\n`, { flag: sentinel ? 'a' : 'w', mode: 0o600 })
    },
    command: ({ folder }) => ({
      command: found.file,
      args: [join(folder, 'redis.conf'), ...(sentinel ? ['--sentinel'] : [])],
      env: environment(found.folder),
      cwd: folder,
    }),
    // The image's own script would drop rights that the copied files need.
    container: ({ folder }) => ({
      entrypoint: ['redis-server', join(folder, 'redis.conf'), ...(sentinel ? ['--sentinel'] : [])],
      files: [join(folder, 'redis.conf'), join(folder, 'users.acl'), ...(tls === undefined ? [] : [tls.ca, tls.cert, tls.key])],
    }),
    async ping({ port }) {
      await ask(port, [['PING']], 2_000)
    },
    // Connections survive it: an application learns from errors and gaps, not from a lost connection.
    async wipe({ port }) {
      await ask(
        port,
        [
          ['FLUSHALL', 'SYNC'],
          ['SCRIPT', 'FLUSH', 'SYNC'],
          ['FUNCTION', 'FLUSH', 'SYNC'],
        ],
        30_000,
      )
    },
    control: async (args, { port }) => answerText(await ask(port, [args])),
  }
}
